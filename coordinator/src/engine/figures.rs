//! How much there is of what, for gauges: kept up to date as it changes, so that looking costs nothing.

use aitbc_proto::v1::JobStatus;

use super::core::EngineCore;

/// Statuses of a live job, and of one that is over.
const LIVE: [JobStatus; 4] = [
    JobStatus::Pending,
    JobStatus::Queued,
    JobStatus::Funded,
    JobStatus::Processing,
];
const FINAL: [JobStatus; 4] = [
    JobStatus::Completed,
    JobStatus::Failed,
    JobStatus::Cancelled,
    JobStatus::Expired,
];

/// Jobs by their status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JobCounts {
    live: [u64; 4],
    finished: [u64; 4],
}

impl JobCounts {
    /// A job is there now with this status.
    pub(super) fn enter(&mut self, status: JobStatus) {
        if let Some(count) = self.count(status) {
            *count += 1;
        }
    }

    /// A live job's status changed.
    pub(super) fn change(&mut self, from: JobStatus, to: JobStatus) {
        if let Some(count) = self.count(from) {
            *count = count.saturating_sub(1);
        }
        self.enter(to);
    }

    /// Live jobs.
    pub fn live(&self) -> impl Iterator<Item = (JobStatus, u64)> {
        LIVE.into_iter().zip(self.live)
    }

    /// Jobs that ended so since the engine started or recovered.
    pub fn finished(&self) -> impl Iterator<Item = (JobStatus, u64)> {
        FINAL.into_iter().zip(self.finished)
    }

    fn count(&mut self, status: JobStatus) -> Option<&mut u64> {
        let place = |all: [JobStatus; 4]| all.iter().position(|known| *known == status);
        match (place(LIVE), place(FINAL)) {
            (Some(place), _) => self.live.get_mut(place),
            (None, place) => self.finished.get_mut(place?),
        }
    }
}

/// What an engine has, as of its last turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Jobs by status.
    pub jobs: JobCounts,
    /// Registered miners.
    pub miners: usize,
    /// Proven sessions.
    pub sessions: usize,
    /// Final jobs whose stopped attempt may still bring a receipt.
    pub stopped: usize,
    /// Number of the newest order to the ledger.
    pub orders: u64,
    /// Number of the newest notice of the ledger that was applied.
    pub notices: u64,
    /// Whether there is room on the disk for new jobs.
    pub has_room: bool,
}

impl EngineCore {
    /// What it has.
    #[must_use]
    pub fn figures(&self) -> Figures {
        Figures {
            jobs: self.counts,
            miners: self.miners.len(),
            sessions: self.sessions.len(),
            stopped: self.stopped.len(),
            orders: self.orders,
            notices: self.notices,
            has_room: self.has_room,
        }
    }

    /// Whether the counts are those of the jobs.
    pub(super) fn check_counts(&self) -> Result<(), String> {
        let mut counted = JobCounts::default();
        for live in self.jobs.values() {
            counted.enter(live.job.status());
        }
        if counted.live == self.counts.live {
            return Ok(());
        }
        Err(format!(
            "live jobs are counted as {:?} and are {:?}",
            self.counts.live, counted.live
        ))
    }
}
