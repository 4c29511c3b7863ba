//! What is kept for how long: a sweep over finished jobs, and the deletion of chunks that nobody needs any more.

use std::sync::Arc;
use std::time::Duration;

use aitbc_common::identity::PublicKey;
use aitbc_common::ids::JobId;
use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1::PaymentStatus;
use bytes::Bytes;
use prost::Message;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::engine::aging::AgedJob;
use crate::engine::command::Command;
use crate::engine::handle::EngineHandle;
use crate::sessions::hub::Cleanup;
use crate::sessions::stored;
use crate::store::keys::{self, DAY_MS};
use crate::store::rows::{self, JobRow};
use crate::store::{Batch, Durability, Family, SHARDS, Store, StoreError};

/// Finished jobs that one step looks at. Its batch is small, so that the engine's commits hardly wait for it.
const ROWS: usize = 250;
/// Bytes of rows that age after which a step ends.
const STEP_BYTES: usize = 1 << 20;
/// The shortest pause after a step.
const PAUSE: Duration = Duration::from_millis(1);
/// The shortest and the longest rest after a pass over all finished jobs.
const REST: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(3_600));

/// How long things are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Input, output and result of a finished job, in ms.
    pub content_ms: u64,
    /// Its history, in ms; hashes and receipt stay.
    pub summary_ms: u64,
}

impl Retention {
    /// Age at which something first goes.
    fn first_ms(self) -> u64 {
        self.content_ms.min(self.summary_ms)
    }
}

/// Where the sweep is.
#[derive(Debug, Default)]
struct Sweep {
    shard: u8,
    next: Option<Bytes>,
}

/// Sweeps until shutdown: step after step while a pass lasts, at most half of the time, then rests.
pub async fn run(engine: EngineHandle, retention: Retention, shutdown: CancellationToken) {
    let mut sweep = Sweep::default();
    let mut wait = REST.0;
    let mut pass_began = None;
    loop {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = shutdown.cancelled() => return,
        }
        let began = Instant::now();
        let pass = *pass_began.get_or_insert(began);
        let engine = engine.clone();
        let step = tokio::task::spawn_blocking(move || {
            let outcome = sweep_on(&engine, retention, &mut sweep);
            (sweep, outcome)
        });
        let Ok((back, outcome)) = step.await else {
            return;
        };
        sweep = back;
        wait = match outcome {
            Ok(false) => began.elapsed().max(PAUSE),
            Ok(true) => {
                pass_began = None;
                pass.elapsed().clamp(REST.0, REST.1)
            }
            Err(error) => {
                tracing::warn!(error = %error.message, "the retention sweep goes on later");
                REST.0
            }
        };
    }
}

/// One step, and whether it ended a pass: reads beside the engine, and the engine writes, so that nothing it did meanwhile is
/// lost. Blocks.
fn sweep_on(
    engine: &EngineHandle,
    retention: Retention,
    sweep: &mut Sweep,
) -> Result<bool, ApiError> {
    engine.blocking_call(Command::BeginSweep)?;
    let read = step(engine, retention, sweep);
    let (aged, ended) = read.map_err(|error| stored::store_error(&error))?;
    engine.blocking_call(Command::Sweep(aged))?;
    Ok(ended)
}

/// Deletes chunks that sessions and the engine have no use for.
pub async fn clean_up(engine: EngineHandle, mut cleanups: mpsc::Receiver<Cleanup>) {
    while let Some(Cleanup { attempt, kinds }) = cleanups.recv().await {
        let engine = engine.clone();
        let deleted =
            tokio::task::spawn_blocking(move || stored::delete(&engine, attempt, &kinds)).await;
        if let Ok(Err(error)) = deleted {
            tracing::debug!(%error, "chunks are left to retention");
        }
    }
}

/// Goes on a little: what ages, and whether that ended a pass over all shards.
fn step(
    engine: &EngineHandle,
    retention: Retention,
    sweep: &mut Sweep,
) -> Result<(Vec<AgedJob>, bool), StoreError> {
    let (store, now_ms) = (engine.store(), engine.now_ms());
    let (mut batch, mut aged) = (Batch::new(), Vec::new());
    let (mut looked_at, mut bytes, mut ended) = (0, 0, false);
    while looked_at < ROWS && bytes < STEP_BYTES && !ended {
        if sweep.next.is_none() {
            forget_request_ids(&store, sweep.shard, now_ms, &mut batch)?;
        }
        let prefix = keys::archived_jobs_in(sweep.shard);
        let end = keys::prefix_end(&prefix);
        let first = sweep.next.take().unwrap_or_else(|| prefix.into());
        let page = store.scan(Family::Archive, &first..end.as_slice(), ROWS - looked_at)?;
        looked_at += page.rows.len();
        let next = page.next;
        sweep.next = match (next, page.rows.last()) {
            (Some(next), Some((last, _))) => Some(behind_young(next, last, retention, now_ms)),
            (next, _) => next,
        };
        for (key, value) in page.rows {
            let Some((owner, _)) = keys::parse_job(&key) else {
                continue;
            };
            let row = rows::decode(value)?;
            let next = age(row, owner, retention, now_ms, |row| has_chunks(&store, row))?;
            bytes += next
                .iter()
                .flat_map(|next| &next.row)
                .map(Bytes::len)
                .sum::<usize>();
            aged.extend(next);
        }
        if sweep.next.is_none() {
            sweep.shard = (sweep.shard + 1) % SHARDS;
            ended = sweep.shard == 0;
        }
    }
    if !batch.is_empty() {
        store.commit(&engine.fence(), batch, Durability::Buffered)?;
    }
    Ok((aged, ended))
}

/// Where to go on after `last`: an owner's newest jobs come first, and those that are too young are skipped.
fn behind_young(next: Bytes, last: &[u8], retention: Retention, now_ms: u64) -> Bytes {
    let due_ms = now_ms.saturating_sub(retention.first_ms());
    match keys::parse_job(last) {
        Some((owner, id)) if id.created_ms() > due_ms => {
            let oldest_young = JobId::new(due_ms, u8::MAX, [u8::MAX; 10]);
            next.max(keys::archived_job(&owner, oldest_young).into())
        }
        _ => next,
    }
}

/// Whether the store may have chunks of a job. Each range that is deleted makes reads slower: most jobs have none.
fn has_chunks(store: &Arc<dyn Store>, row: &JobRow) -> Result<bool, StoreError> {
    let outputs = keys::outputs_of_job(row.id());
    let end = keys::prefix_end(&outputs);
    let page = store.scan(Family::Output, outputs.as_slice()..end.as_slice(), 1)?;
    Ok(!page.rows.is_empty())
}

/// What age makes of one finished job, if anything.
fn age(
    mut row: JobRow,
    owner: PublicKey,
    retention: Retention,
    now_ms: u64,
    has_chunks: impl FnOnce(&JobRow) -> Result<bool, StoreError>,
) -> Result<Option<AgedJob>, StoreError> {
    let age_ms = now_ms.saturating_sub(row.finished_ms);
    if row.finished_ms == 0 || age_ms < retention.first_ms() {
        return Ok(None);
    }
    let job = row.id();
    let mut changed = false;
    let mut drops_output = false;
    if !row.content_deleted {
        drops_output = has_chunks(&row)?;
        row.input = Bytes::new();
        if let Some(delivery) = &mut row.delivery {
            delivery.result = None;
        }
        row.content_deleted = true;
        changed = true;
    }
    // What the proof consists of stays: specification, assignment, receipt or checkpoint. So does what is not paid out yet.
    let proves = row.delivery.is_some() || !row.evidence.is_empty();
    let settling = row.payment() == PaymentStatus::Settling;
    if age_ms >= retention.summary_ms && !settling {
        if !proves {
            return Ok(Some(AgedJob {
                job,
                owner,
                row: None,
                drops_output,
            }));
        }
        let last = row.attempts.len().saturating_sub(1);
        changed |= last > 0;
        row.attempts.drain(..last);
    }
    Ok(changed.then(|| AgedJob {
        job,
        owner,
        row: Some(row.encode_to_vec().into()),
        drops_output,
    }))
}

/// Idempotency keys of the day before yesterday and older.
fn forget_request_ids(
    store: &Arc<dyn Store>,
    shard: u8,
    now_ms: u64,
    batch: &mut Batch,
) -> Result<(), StoreError> {
    let first = keys::request_ids_on(shard, 0);
    let end = keys::request_ids_on(shard, (now_ms / DAY_MS).saturating_sub(1));
    let page = store.scan(Family::Archive, first.as_slice()..end.as_slice(), 1)?;
    if !page.rows.is_empty() {
        batch.delete_range(Family::Archive, first, end);
    }
    Ok(())
}

#[cfg(test)]
#[path = "retention_tests.rs"]
mod tests;
