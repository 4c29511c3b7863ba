//! Finished jobs that age: the retention sweep reads them beside the engine, and the engine replaces those that nothing
//! changed since. A payment or a deletion that comes meanwhile wins; the next pass finds the job again.

use std::collections::BTreeSet;

use aitbc_common::identity::PublicKey;
use aitbc_common::ids::JobId;
use bytes::Bytes;

use super::command::Reply;
use super::core::EngineCore;
use super::turn::Turn;
use crate::store::{Batch, Family, keys};

/// Finished jobs that may change while the sweep looks at some: beyond, what it saw counts for nothing.
const CHANGES: usize = 10_000;

/// A finished job as age leaves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgedJob {
    /// The job.
    pub job: JobId,
    /// Its owner.
    pub owner: PublicKey,
    /// Its new row, encoded; `None` = it goes altogether.
    pub row: Option<Bytes>,
    /// Whether its stored chunks go.
    pub drops_output: bool,
}

/// Finished jobs that changed since the sweep began to look; `None` = it looks at none, or at too many that changed.
#[derive(Debug, Default)]
pub(super) struct Changed(Option<BTreeSet<JobId>>);

impl Changed {
    pub fn note(&mut self, job: JobId) {
        if let Some(jobs) = &mut self.0 {
            jobs.insert(job);
            if jobs.len() > CHANGES {
                self.0 = None;
            }
        }
    }
}

impl EngineCore {
    pub(super) fn begin_sweep(&mut self, turn: &mut Turn) {
        self.changed_since_sweep = Changed(Some(BTreeSet::new()));
        turn.reply(Reply::Done);
    }

    /// What changed in this very batch is known, and left out, once its rows are.
    pub(super) fn sweep(&mut self, turn: &mut Turn, jobs: Vec<AgedJob>) {
        if let Some(changed) = std::mem::take(&mut self.changed_since_sweep).0 {
            let unchanged = |aged: &AgedJob| !changed.contains(&aged.job);
            turn.aged.extend(jobs.into_iter().filter(unchanged));
        }
        turn.reply(Reply::Done);
    }
}

/// Writes what age demands of a job.
pub(super) fn put(batch: &mut Batch, aged: AgedJob) {
    if aged.drops_output {
        let outputs = keys::outputs_of_job(aged.job);
        let end = keys::prefix_end(&outputs);
        batch.delete_range(Family::Output, outputs, end);
    }
    let key = keys::archived_job(&aged.owner, aged.job);
    match aged.row {
        Some(row) => batch.put(Family::Archive, key, row),
        None => batch.delete(Family::Archive, key),
    }
}
