//! What is kept for how long: a slow sweep over finished jobs, and the deletion of chunks that nobody needs any more.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::engine::handle::EngineHandle;
use crate::sessions::hub::Cleanup;
use crate::sessions::stored;
use crate::store::keys::{self, DAY_MS};
use crate::store::rows::{self, JobRow};
use crate::store::{Batch, Durability, Family, SHARDS, Store, StoreError};

/// Time between two steps of the sweep.
const STEP: Duration = Duration::from_secs(10);
/// Finished jobs that one step looks at.
const ROWS: usize = 500;

/// How long things are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Input, output and result of a finished job, in ms.
    pub content_ms: u64,
    /// Its history, in ms; hashes and receipt stay.
    pub summary_ms: u64,
}

/// Where the sweep is.
#[derive(Debug, Default)]
struct Sweep {
    shard: u8,
    next: Option<Bytes>,
}

/// Sweeps until shutdown, a little every 10 s.
pub async fn run(engine: EngineHandle, retention: Retention, shutdown: CancellationToken) {
    let mut sweep = Sweep::default();
    loop {
        tokio::select! {
            () = tokio::time::sleep(STEP) => {}
            () = shutdown.cancelled() => return,
        }
        let engine = engine.clone();
        let step = tokio::task::spawn_blocking(move || {
            let outcome = step(&engine, retention, &mut sweep);
            (sweep, outcome)
        });
        let Ok((back, outcome)) = step.await else {
            return;
        };
        sweep = back;
        if let Err(error) = outcome {
            tracing::warn!(%error, "the retention sweep goes on later");
        }
    }
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

fn step(engine: &EngineHandle, retention: Retention, sweep: &mut Sweep) -> Result<(), StoreError> {
    let (store, now_ms) = (engine.store(), engine.now_ms());
    let mut batch = Batch::new();
    if sweep.next.is_none() {
        forget_request_ids(&store, sweep.shard, now_ms, &mut batch)?;
    }
    let prefix = keys::archived_jobs_in(sweep.shard);
    let end = keys::prefix_end(&prefix);
    let first = sweep.next.take().unwrap_or_else(|| prefix.into());
    let page = store.scan(Family::Archive, &first..end.as_slice(), ROWS)?;
    for (key, value) in page.rows {
        age(rows::decode(value)?, key, retention, now_ms, &mut batch);
    }
    sweep.next = page.next;
    if sweep.next.is_none() {
        sweep.shard = (sweep.shard + 1) % SHARDS;
    }
    if batch.is_empty() {
        return Ok(());
    }
    store.commit(&engine.fence(), batch, Durability::Buffered)
}

/// Adds what age demands of one finished job.
fn age(mut row: JobRow, key: Bytes, retention: Retention, now_ms: u64, batch: &mut Batch) {
    let age_ms = now_ms.saturating_sub(row.finished_ms);
    if row.finished_ms == 0 || age_ms < retention.content_ms.min(retention.summary_ms) {
        return;
    }
    let mut changed = false;
    if !row.content_deleted {
        row.input = Bytes::new();
        if let Some(delivery) = &mut row.delivery {
            delivery.result = None;
        }
        row.content_deleted = true;
        changed = true;
        let outputs = keys::outputs_of_job(row.id());
        let end = keys::prefix_end(&outputs);
        batch.delete_range(Family::Output, outputs, end);
    }
    if age_ms >= retention.summary_ms {
        if row.delivery.is_none() {
            return batch.delete(Family::Archive, key);
        }
        // What the proof consists of stays: specification, assignment, receipt.
        let last = row.attempts.len().saturating_sub(1);
        changed |= last > 0;
        row.attempts.drain(..last);
    }
    if changed {
        batch.put(Family::Archive, key, row.encode_to_vec());
    }
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
mod tests {
    use super::*;
    use crate::store::Operation;
    use crate::store::rows::{AttemptRow, DeliveryRow};

    const KEPT: Retention = Retention {
        content_ms: 100,
        summary_ms: 1_000,
    };

    fn aged(row: &JobRow, now_ms: u64) -> Vec<Operation> {
        let mut batch = Batch::new();
        age(
            row.clone(),
            Bytes::from_static(b"key"),
            KEPT,
            now_ms,
            &mut batch,
        );
        batch.operations().to_vec()
    }

    fn row() -> JobRow {
        let delivery = DeliveryRow {
            result: Some(Bytes::from_static(b"{}")),
            receipt: Bytes::from_static(b"r"),
            ..DeliveryRow::default()
        };
        JobRow {
            finished_ms: 10,
            input: Bytes::from_static(b"in"),
            attempts: vec![AttemptRow::default(), AttemptRow::default()],
            delivery: Some(delivery),
            ..JobRow::default()
        }
    }

    fn put(operations: &[Operation]) -> JobRow {
        let put = operations.iter().find_map(|operation| match operation {
            Operation::Put(_, _, value) => Some(value.clone()),
            _ => None,
        });
        JobRow::decode(put.unwrap()).unwrap()
    }

    #[test]
    fn content_goes_first_and_the_proof_stays() {
        assert!(aged(&row(), 109).is_empty());
        let operations = aged(&row(), 110);
        assert!(
            operations
                .iter()
                .any(|operation| matches!(operation, Operation::DeleteRange(Family::Output, ..)))
        );
        let kept = put(&operations);
        assert!(
            kept.content_deleted
                && kept.input.is_empty()
                && kept.delivery.as_ref().unwrap().result.is_none()
        );
        assert_eq!(kept.attempts.len(), 2);
        assert!(aged(&kept, 500).is_empty(), "nothing more to do");
        let kept = put(&aged(&kept, 1_010));
        assert_eq!(
            (kept.attempts.len(), kept.delivery.unwrap().receipt),
            (1, Bytes::from_static(b"r"))
        );
    }

    #[test]
    fn a_job_without_a_receipt_goes_altogether() {
        let failed = JobRow {
            delivery: None,
            content_deleted: true,
            ..row()
        };
        assert_eq!(
            aged(&failed, 1_010),
            vec![Operation::Delete(
                Family::Archive,
                Bytes::from_static(b"key")
            )]
        );
        let live = JobRow {
            finished_ms: 0,
            ..row()
        };
        assert!(aged(&live, u64::MAX).is_empty());
    }
}
