//! The part of attempts' streams that the store has. What is not async blocks: never call that on the network's thread.

use std::sync::Arc;

use aitbc_common::limits::CHUNK_BYTES;
use aitbc_common::result_document::ResultDocument;
use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1::ErrorReason;
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::core::StreamKind;
use super::streams::{AttemptFacts, AttemptStream, Streams};
use crate::engine::command::AttemptId;
use crate::engine::handle::EngineHandle;
use crate::store::rows::JobRow;
use crate::store::{Batch, Durability, Family, Store, StoreError, keys};

/// Chunks read at once: what a reader that is slow to take them holds in memory.
const PAGE_ROWS: usize = 2;
/// Rows among which the chunk is looked for that holds an offset in its middle.
const ROWS_BEFORE: usize = 16;
/// KiB of results that may be in memory because their output can be read in no other way; see [`Archived::output`].
pub const LOADED_KIB: usize = 128 << 10;

/// Stores what is too much for memory (or `all` of it), so that it leaves memory.
pub fn spill(
    engine: &EngineHandle,
    stream: &AttemptStream,
    kind: StreamKind,
    all: bool,
) -> Result<(), StoreError> {
    let Some(spill) = stream.spill(kind, all) else {
        return Ok(());
    };
    let AttemptId { job_id, attempt } = stream.facts.attempt;
    let mut batch = Batch::new();
    let mut offset = spill.offset;
    for start in (0..spill.data.len()).step_by(CHUNK_BYTES) {
        let chunk = spill
            .data
            .slice(start..(start + CHUNK_BYTES).min(spill.data.len()));
        let end = offset + chunk.len() as u64;
        batch.put(
            Family::Output,
            keys::output(job_id, attempt, kind as u8, offset),
            chunk,
        );
        offset = end;
    }
    engine
        .store()
        .commit(&engine.fence(), batch, Durability::Buffered)?;
    stream.stored(kind, offset);
    Ok(())
}

/// Fills streams without bytes with what the store has.
pub fn restore(store: &Arc<dyn Store>, stream: &AttemptStream) -> Result<(), StoreError> {
    for kind in [StreamKind::Output, StreamKind::Result] {
        let mut offset = 0;
        loop {
            let chunks = read(store, stream.facts.attempt, kind, offset)?;
            for chunk in &chunks {
                if !stream.with(kind, |buffer| buffer.restore(offset, chunk)) {
                    return Ok(());
                }
                offset += chunk.len() as u64;
            }
            if chunks.is_empty() {
                break;
            }
        }
    }
    Ok(())
}

/// Some bytes of a stream from `offset` on, in at most two chunks of at most 256 KiB; none where the store has no more.
pub fn read(
    store: &Arc<dyn Store>,
    attempt: AttemptId,
    kind: StreamKind,
    offset: u64,
) -> Result<Vec<Bytes>, StoreError> {
    let AttemptId { job_id, attempt } = attempt;
    let key = |offset| keys::output(job_id, attempt, kind as u8, offset);
    let end = keys::prefix_end(&keys::outputs_of(job_id, attempt, kind as u8));
    let scan = |first: &[u8], rows| store.scan(Family::Output, first..end.as_slice(), rows);
    // Who reads on is where a chunk begins.
    let here = key(offset);
    let mut page = scan(&here, PAGE_ROWS)?;
    let begins_here = page.rows.first().is_some_and(|(key, _)| *key == here);
    if !begins_here && offset > 0 {
        // The chunk that holds `offset` began at most one chunk's length before it.
        let before = key(offset.saturating_sub(CHUNK_BYTES as u64));
        page = scan(&before, ROWS_BEFORE)?;
    }
    let mut chunks = Vec::new();
    let mut next = offset;
    for (key, value) in page.rows {
        let begin = keys::output_offset(&key).unwrap_or(u64::MAX);
        let end = begin.saturating_add(value.len() as u64);
        if end <= next {
            continue;
        }
        if begin > next || chunks.len() == PAGE_ROWS {
            break;
        }
        chunks.push(value.slice(usize::try_from(next - begin).unwrap_or(usize::MAX)..));
        next = end;
    }
    Ok(chunks)
}

/// A whole stream of `len` bytes.
pub fn read_all(
    store: &Arc<dyn Store>,
    attempt: AttemptId,
    kind: StreamKind,
    len: u64,
) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < len {
        let chunks = read(store, attempt, kind, bytes.len() as u64)?;
        if chunks.is_empty() {
            return Err(StoreError::Corrupt(format!(
                "{} of {len} bytes of a stream are missing",
                len - bytes.len() as u64
            )));
        }
        chunks
            .iter()
            .for_each(|chunk| bytes.extend_from_slice(chunk));
    }
    bytes.truncate(usize::try_from(len).unwrap_or(usize::MAX));
    Ok(bytes)
}

/// Deletes what the store has of a stream, or of both.
pub fn delete(
    engine: &EngineHandle,
    attempt: AttemptId,
    kinds: &[StreamKind],
) -> Result<(), StoreError> {
    let mut batch = Batch::new();
    for kind in kinds {
        let first = keys::outputs_of(attempt.job_id, attempt.attempt, *kind as u8);
        let end = keys::prefix_end(&first);
        batch.delete_range(Family::Output, first, end);
    }
    engine
        .store()
        .commit(&engine.fence(), batch, Durability::Buffered)
}

/// A store's failure as callers see it.
#[must_use]
pub fn store_error(error: &StoreError) -> ApiError {
    tracing::error!(%error, hint = error.hint(), "the store failed");
    let retry = std::time::Duration::from_secs(1);
    match error {
        StoreError::Full(_) => ApiError::new(
            ErrorReason::StorageFull,
            "the coordinator's disk is full; reads go on",
        )
        .retry_after(retry * 30),
        StoreError::Corrupt(_) => ApiError::new(
            ErrorReason::Internal,
            "stored data is damaged; the operator must look at the log",
        ),
        _ => ApiError::new(
            ErrorReason::Unavailable,
            "the coordinator's store is unavailable for a moment; try again",
        )
        .retry_after(retry),
    }
}

/// Runs what blocks off the network's thread.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, ApiError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(store_error(&error)),
        Err(_) => Err(ApiError::new(
            ErrorReason::Unavailable,
            "the coordinator is stopping; try again",
        )),
    }
}

/// The streams of a running attempt: those that are there, or what the store has of it after a restart.
pub async fn resume(
    store: &Arc<dyn Store>,
    streams: &Streams,
    facts: AttemptFacts,
) -> Result<Arc<AttemptStream>, ApiError> {
    if let Some(stream) = streams.get(facts.attempt)
        && stream.facts.epoch >= facts.epoch
    {
        stream.renew(&facts);
        return Ok(stream);
    }
    let (store, stream) = (Arc::clone(store), AttemptStream::new(facts));
    let stream = blocking(move || restore(&store, &stream).map(|()| stream)).await?;
    let stream = streams.insert(stream);
    stream.resume();
    Ok(stream)
}

/// The output or the result document of a completed job.
#[derive(Debug, Clone)]
pub enum Archived {
    /// All of it, from the job's row.
    Whole(Bytes),
    /// All of it, loaded, with its share of the memory that all such readers have together.
    Loaded(Bytes, Arc<OwnedSemaphorePermit>),
    /// In the store, in chunks.
    Chunks(AttemptId, StreamKind),
}

impl Archived {
    /// A completed job's result document.
    #[must_use]
    pub fn result(row: &JobRow) -> Self {
        match row
            .delivery
            .as_ref()
            .and_then(|delivery| delivery.result.clone())
        {
            Some(result) => Self::Whole(result),
            None => Self::Chunks(delivered_attempt(row), StreamKind::Result),
        }
    }

    /// A completed job's output. Where it can only be read out of a result that is kept in chunks, as rows of earlier
    /// versions have it, that takes a share of `loads` (in KiB), and is refused while others have taken it all.
    pub async fn output(
        store: &Arc<dyn Store>,
        loads: &Arc<Semaphore>,
        row: &JobRow,
    ) -> Result<Self, ApiError> {
        let Some(delivery) = row
            .delivery
            .as_ref()
            .filter(|delivery| delivery.output_in_result)
        else {
            return Ok(Self::Chunks(delivered_attempt(row), StreamKind::Output));
        };
        if let Some(result) = &delivery.result {
            return Ok(Self::Whole(content(result).map_err(|e| store_error(&e))?));
        }
        let (attempt, len, store) = (
            delivered_attempt(row),
            delivery.result_len,
            Arc::clone(store),
        );
        // The document and what is read out of it.
        let mut share = Arc::clone(loads)
            .try_acquire_many_owned(kib(2 * len))
            .map_err(|_| too_many_loads())?;
        let load = move || content(&read_all(&store, attempt, StreamKind::Result, len)?);
        let output = blocking(load).await?;
        let unused = share
            .num_permits()
            .saturating_sub(kib(output.len() as u64) as usize);
        drop(share.split(unused));
        Ok(Self::Loaded(output, Arc::new(share)))
    }

    /// Some bytes from `offset` on, in chunks of at most 256 KiB; none at the end.
    pub async fn read(&self, store: &Arc<dyn Store>, offset: u64) -> Result<Vec<Bytes>, ApiError> {
        match self {
            Self::Whole(bytes) | Self::Loaded(bytes, _) => {
                let start = usize::try_from(offset)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                let end = (start + CHUNK_BYTES).min(bytes.len());
                Ok(if start == end {
                    Vec::new()
                } else {
                    vec![bytes.slice(start..end)]
                })
            }
            Self::Chunks(attempt, kind) => {
                let (store, attempt, kind) = (Arc::clone(store), *attempt, *kind);
                blocking(move || read(&store, attempt, kind, offset)).await
            }
        }
    }
}

/// The output out of a result document.
fn content(result: &[u8]) -> Result<Bytes, StoreError> {
    let document = ResultDocument::from_bytes(result);
    let document =
        document.map_err(|error| StoreError::Corrupt(format!("a result document: {error}")))?;
    Ok(document.content.unwrap_or_default().into_bytes().into())
}

fn kib(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(u32::MAX)
}

fn too_many_loads() -> ApiError {
    let message = "too many large results are being read at once; try again in a moment";
    ApiError::new(ErrorReason::RateLimited, message).retry_after(std::time::Duration::from_secs(1))
}

/// The attempt that completed a job: always its newest.
#[must_use]
pub fn delivered_attempt(row: &JobRow) -> AttemptId {
    AttemptId {
        job_id: row.id(),
        attempt: u16::try_from(row.attempt).unwrap_or(u16::MAX),
    }
}

#[cfg(test)]
#[path = "stored_tests.rs"]
mod tests;
