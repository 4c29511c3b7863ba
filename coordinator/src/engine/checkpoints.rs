//! The newest checkpoints of running paid attempts: what is paid where the attempt is stopped and its miner never speaks
//! again. They are stored every few seconds, all in one batch, so that a restart of the coordinator loses little of them.

use aitbc_common::ids::JobId;
use aitbc_common::layouts::StreamCheckpoint;
use bytes::Bytes;

use super::command::{AttemptId, Reply};
use super::core::{EngineCore, Lease};
use super::timers::Timer;
use super::turn::Turn;
use crate::jobs::lifecycle::Millis;
use crate::store::rows::{self, CheckpointRow};
use crate::store::{StoreError, keys};

/// A checkpoint is stored at most this long after it came, in milliseconds: a crash costs a miner at most this much of a
/// run that is stopped before it is heard of again.
const SAVE_MS: Millis = 2_000;
/// Checkpoints that one batch stores, at most: about a quarter of a megabyte.
const SAVED_AT_ONCE: usize = 1_000;

impl EngineCore {
    /// The newest checkpoint of a running paid attempt.
    pub(super) fn checkpointed(
        &mut self,
        turn: &mut Turn,
        attempt: AttemptId,
        checkpoint: StreamCheckpoint,
        signature: [u8; 64],
    ) {
        let live = self.jobs.get_mut(&attempt.job_id);
        let lease = live
            .filter(|live| live.job.attempt == attempt.attempt)
            .and_then(|live| live.lease.as_mut());
        if let Some(lease) = lease {
            lease.checkpoint = Some(Box::new((checkpoint, signature)));
            if self.unsaved_checkpoints.is_empty() {
                self.timers.insert((self.now + SAVE_MS, Timer::Checkpoints));
            }
            self.unsaved_checkpoints.insert(attempt.job_id);
        }
        turn.reply(Reply::Done);
    }

    /// Stores those that came since the last time.
    pub(super) fn save_checkpoints(&mut self, turn: &mut Turn) {
        for _ in 0..SAVED_AT_ONCE {
            let Some(job) = self.unsaved_checkpoints.pop_first() else {
                return;
            };
            let Some(live) = self.jobs.get_mut(&job) else {
                continue;
            };
            let (owner, attempt) = (live.owner, live.job.attempt);
            let Some(lease) = &mut live.lease else {
                continue;
            };
            if let Some(row) = row(lease, attempt) {
                lease.checkpoint_stored = true;
                turn.outbox.checkpoints.push((owner, job, Some(row)));
            }
        }
        if !self.unsaved_checkpoints.is_empty() {
            // The very next batch, not this one.
            self.timers.insert((self.now + 1, Timer::Checkpoints));
        }
    }

    /// An attempt ended: its checkpoint has done its service, or went to the row of the stopped job.
    pub(super) fn drop_checkpoint(&mut self, turn: &mut Turn, job: JobId, lease: &Lease) {
        self.unsaved_checkpoints.remove(&job);
        if lease.checkpoint_stored
            && let Some(live) = self.jobs.get(&job)
        {
            turn.outbox.checkpoints.push((live.owner, job, None));
        }
    }

    pub(super) fn restore_checkpoint(
        &mut self,
        key: Bytes,
        value: Bytes,
    ) -> Result<(), StoreError> {
        let row: CheckpointRow = rows::decode(value)?;
        let damaged = || StoreError::Corrupt("the row of a checkpoint is damaged".into());
        let (_, job) = keys::parse_job(&key).ok_or_else(damaged)?;
        let live = self.jobs.get_mut(&job);
        let lease = live
            .filter(|live| u32::from(live.job.attempt) == row.attempt)
            .and_then(|live| live.lease.as_mut());
        // It was deleted in the batch that ended its attempt.
        let lease = lease.ok_or_else(damaged)?;
        let checkpoint = StreamCheckpoint::decode(&row.checkpoint).map_err(|_| damaged())?;
        let signature = row.signature.as_ref().try_into().map_err(|_| damaged())?;
        lease.checkpoint = Some(Box::new((checkpoint, signature)));
        lease.checkpoint_stored = true;
        lease.started_ms = lease.started_ms.max(row.started_ms);
        Ok(())
    }
}

fn row(lease: &Lease, attempt: u16) -> Option<CheckpointRow> {
    let (checkpoint, signature) = lease.checkpoint.as_deref()?;
    Some(CheckpointRow {
        attempt: attempt.into(),
        checkpoint: checkpoint.encode().into(),
        signature: Bytes::copy_from_slice(signature),
        started_ms: lease.started_ms,
    })
}
