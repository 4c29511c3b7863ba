//! What happens when time passes. A timer that is due looks at the job as it is: most have been overtaken by then.

use aitbc_common::ids::JobId;
use aitbc_proto::v1::{self, FailureReason};

use super::command::AttemptId;
use super::core::EngineCore;
use super::edits::Edit;
use super::turn::Turn;
use crate::jobs::lifecycle::{Event, Phase};
use crate::jobs::matching::Requirement;

/// Timers that fire in one batch, at most; the rest follow in the next.
const TIMERS_PER_BATCH: usize = 1_000;

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
}

impl EngineCore {
    pub(super) fn fire_timers(&mut self, turn: &mut Turn) {
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
            }
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
