//! What happens when time passes. A timer that is due looks at the job as it is: most have been overtaken by then.

use aitbc_common::ids::{JobId, RentalId};
use aitbc_proto::v1::{self, FailureReason};

use super::command::AttemptId;
use super::core::{EngineConfig, EngineCore};
use super::edits::Edit;
use super::turn::Turn;
use crate::jobs::lifecycle::{Event, Millis, Phase};
use crate::jobs::matching::Requirement;
use crate::store::rows::AttemptRow;

/// Timers that fire in one batch, at most; the rest follow in the next.
const TIMERS_PER_BATCH: usize = 1_000;
/// A timer that fires later than this, in milliseconds, says that the coordinator itself stood still: its process was
/// stopped, or a commit took that long.
const OUTAGE_MS: Millis = 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The assignment must have been accepted.
    Accept(AttemptId),
    /// The lease may have ended.
    Lease(AttemptId),
    /// The job expires.
    Deadline(JobId),
    /// Its backoff is over.
    Ready(JobId),
    /// Miners that failed it may have it again, where no other serves it.
    Readmit(JobId),
    /// The receipt of a stopped job must have come.
    Receipt(JobId),
    /// Checkpoints are to be stored.
    Checkpoints,
    /// A beat of a rental is over.
    Beat(RentalId),
    /// Jobs are to be regrouped by new prices.
    Regroup,
}

impl EngineCore {
    pub(super) fn fire_timers(&mut self, turn: &mut Turn) {
        let late = |(at, _): &(Millis, Timer)| *at < self.now.saturating_sub(OUTAGE_MS);
        if self.timers.first().is_some_and(late) {
            self.forgive_outage();
        }
        for _ in 0..TIMERS_PER_BATCH {
            match self.timers.first() {
                Some((at, _)) if *at <= self.now => {}
                _ => return,
            }
            let Some((_, timer)) = self.timers.pop_first() else {
                return;
            };
            match timer {
                Timer::Accept(attempt) => self.accept_due(turn, attempt),
                Timer::Lease(attempt) => self.lease_due(turn, attempt),
                Timer::Deadline(job) => {
                    self.stop_job(turn, job, Event::Expire);
                }
                Timer::Ready(job) => self.ready(job),
                Timer::Readmit(job) => self.readmit(turn, job),
                Timer::Receipt(job) => self.receipt_due(turn, job),
                Timer::Checkpoints => self.save_checkpoints(turn),
                Timer::Beat(rental) => self.rental_beat(turn, rental),
                Timer::Regroup => self.regroup_due(),
            }
        }
    }

    /// This coordinator stood still, and what miners said meanwhile waits to be read: whoever owes it a word has the whole
    /// time for it again.
    fn forgive_outage(&mut self) {
        let accept_by = self.now.saturating_add(self.config.accept_ms);
        for live in self.jobs.values_mut() {
            let Some(lease) = &live.lease else { continue };
            match &mut live.job.phase {
                Phase::Processing { lease_until, .. } => {
                    let length = lease_length(&self.config, &lease.attempt);
                    *lease_until = (*lease_until).max(self.now.saturating_add(length));
                }
                Phase::Leased { accept_by: by, .. } => *by = accept_by,
                _ => {}
            }
        }
        let waits =
            |(_, timer): &(Millis, Timer)| matches!(timer, Timer::Accept(_) | Timer::Receipt(_));
        let owed: Vec<_> = self.timers.iter().copied().filter(waits).collect();
        for (at, timer) in owed {
            let until = match timer {
                Timer::Accept(_) => accept_by,
                _ => self.now.saturating_add(self.config.receipt_ms),
            };
            if let Timer::Receipt(job) = timer
                && let Some(stopped) = self.stopped.get_mut(&job)
            {
                stopped.until = until;
            }
            self.timers.remove(&(at, timer));
            self.timers.insert((until, timer));
        }
    }

    fn accept_due(&mut self, turn: &mut Turn, attempt: AttemptId) {
        let Some(live) = self.jobs.get(&attempt.job_id) else {
            return;
        };
        let Phase::Leased { miner, .. } = live.job.phase else {
            return;
        };
        if live.job.attempt != attempt.attempt {
            return;
        }
        self.suspend(turn, miner);
        self.end_attempt(
            turn,
            attempt,
            miner,
            failure(
                FailureReason::NotAccepted,
                "the miner did not accept in time",
            ),
        );
    }

    fn lease_due(&mut self, turn: &mut Turn, attempt: AttemptId) {
        let Some(live) = self.jobs.get(&attempt.job_id) else {
            return;
        };
        let Phase::Processing { miner, lease_until } = live.job.phase else {
            return;
        };
        if live.job.attempt != attempt.attempt {
            return;
        }
        if lease_until > self.now {
            self.timers.insert((lease_until, Timer::Lease(attempt)));
            return;
        }
        self.end_attempt(
            turn,
            attempt,
            miner,
            failure(
                FailureReason::Lost,
                "the miner was not heard of until the lease ended",
            ),
        );
    }

    fn ready(&mut self, job: JobId) {
        let waits = self.jobs.get(&job).is_some_and(|live| {
            live.class.is_none() && matches!(live.job.phase, Phase::Queued { .. })
        });
        if waits {
            self.enqueue(job);
        }
    }

    fn readmit(&mut self, turn: &mut Turn, job: JobId) {
        let Some(live) = self.jobs.get_mut(&job) else {
            return;
        };
        let Some(class) = live.class.filter(|_| !live.requirement.excluded.is_empty()) else {
            return;
        };
        if self.queue.serving(class) > 0 {
            self.timers
                .insert((self.now + self.config.exclusion_ms, Timer::Readmit(job)));
            return;
        }
        self.queue.remove(class, live.owner, live.priority, job);
        live.class = None;
        self.requirements.remove(&live.owner, &live.requirement);
        live.requirement = self.queue.shared(Requirement {
            excluded: Vec::new(),
            ..(*live.requirement).clone()
        });
        self.requirements.add(live.owner, &live.requirement);
        turn.edit(job, live.owner, Edit::Readmit);
        self.enqueue(job);
    }
}

pub(super) fn failure(reason: FailureReason, message: &str) -> v1::Failure {
    v1::Failure {
        reason: reason.into(),
        message: message.into(),
    }
}

/// How long the lease of a live attempt is.
pub(super) fn lease_length(config: &EngineConfig, attempt: &AttemptRow) -> Millis {
    match (attempt.polled, attempt.poll_lease_ms) {
        (false, _) => config.lease_ms,
        (true, 0) => config.poll_lease_ms,
        (true, length) => length,
    }
}
