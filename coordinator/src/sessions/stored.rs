//! The part of attempts' streams that the store has. All of it blocks: never call it on the network's thread.

use std::sync::Arc;

use aitbc_common::limits::CHUNK_BYTES;
use bytes::Bytes;

use super::core::StreamKind;
use super::streams::AttemptStream;
use crate::engine::command::AttemptId;
use crate::engine::handle::EngineHandle;
use crate::store::{Batch, Durability, Family, Store, StoreError, keys};

/// Rows read at once.
const PAGE_ROWS: usize = 16;

/// Stores what is too much for memory (or `all` of it), so that it leaves memory.
pub fn spill(engine: &EngineHandle, stream: &AttemptStream, kind: StreamKind, all: bool) -> Result<(), StoreError> {
    let Some(spill) = stream.spill(kind, all) else { return Ok(()) };
    let AttemptId { job_id, attempt } = stream.facts.attempt;
    let mut batch = Batch::new();
    let mut offset = spill.offset;
    for start in (0..spill.data.len()).step_by(CHUNK_BYTES) {
        let chunk = spill.data.slice(start..(start + CHUNK_BYTES).min(spill.data.len()));
        let end = offset + chunk.len() as u64;
        batch.put(Family::Output, keys::output(job_id, attempt, kind as u8, offset), chunk);
        offset = end;
    }
    engine.store().commit(&engine.fence(), batch, Durability::Buffered)?;
    stream.with(kind, |buffer| buffer.confirm(offset));
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

/// Some bytes of a stream from `offset` on, in chunks of at most 256 KiB; none where the store has no more.
pub fn read(store: &Arc<dyn Store>, attempt: AttemptId, kind: StreamKind, offset: u64) -> Result<Vec<Bytes>, StoreError> {
    let AttemptId { job_id, attempt } = attempt;
    // The chunk that holds `offset` began at most one chunk's length before it.
    let first = keys::output(job_id, attempt, kind as u8, offset.saturating_sub(CHUNK_BYTES as u64));
    let end = keys::prefix_end(&keys::outputs_of(job_id, attempt, kind as u8));
    let page = store.scan(Family::Output, first.as_slice()..end.as_slice(), PAGE_ROWS)?;
    let mut chunks = Vec::new();
    let mut next = offset;
    for (key, value) in page.rows {
        let begin = keys::output_offset(&key).unwrap_or(u64::MAX);
        let end = begin.saturating_add(value.len() as u64);
        if end <= next {
            continue;
        }
        if begin > next {
            break;
        }
        chunks.push(value.slice(usize::try_from(next - begin).unwrap_or(usize::MAX)..));
        next = end;
    }
    Ok(chunks)
}

/// A whole stream of `len` bytes.
pub fn read_all(store: &Arc<dyn Store>, attempt: AttemptId, kind: StreamKind, len: u64) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < len {
        let chunks = read(store, attempt, kind, bytes.len() as u64)?;
        if chunks.is_empty() {
            return Err(StoreError::Corrupt(format!("{} of {len} bytes of a stream are missing", len - bytes.len() as u64)));
        }
        chunks.iter().for_each(|chunk| bytes.extend_from_slice(chunk));
    }
    bytes.truncate(usize::try_from(len).unwrap_or(usize::MAX));
    Ok(bytes)
}

/// Deletes what the store has of a stream, or of both.
pub fn delete(engine: &EngineHandle, attempt: AttemptId, kinds: &[StreamKind]) -> Result<(), StoreError> {
    let mut batch = Batch::new();
    for kind in kinds {
        let first = keys::outputs_of(attempt.job_id, attempt.attempt, *kind as u8);
        let end = keys::prefix_end(&first);
        batch.delete_range(Family::Output, first, end);
    }
    engine.store().commit(&engine.fence(), batch, Durability::Buffered)
}
