//! The lifecycle of a job as a pure state machine.
//!
//! ```text
//! PENDING ──enough funds──▶ QUEUED
//! QUEUED ──assign──▶ LEASED ──accept──▶ PROCESSING ──complete──▶ COMPLETED
//!    ▲  not accepted,   │                    │  lost or failed (a retry spent)
//!    └──returned ───────┴────────────────────┘
//! any of these ──▶ CANCELLED | EXPIRED | FAILED
//! QUEUED ──late completion of the last attempt──▶ COMPLETED
//! ```
//!
//! The first final phase wins; a final phase refuses every event.

use aitbc_common::ids::{JobId, MinerId};
use aitbc_proto::v1::{AttemptOutcome, FailureReason, JobStatus};

use super::retry::{FailureClass, backoff_ms, classify};

/// Times that a job may come back unspent before it has to wait.
const FREE_RETURNS: u32 = 5;

/// Unix time in milliseconds, by the engine's clock.
pub type Millis = u64;

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Waits for funds.
    Pending,
    /// Waits for a miner, not before this time.
    Queued {
        /// The end of its backoff.
        not_before: Millis,
    },
    /// A miner was given it and has not accepted.
    Leased {
        /// Which.
        miner: MinerId,
        /// Until when it must accept.
        accept_by: Millis,
    },
    /// A miner works on it.
    Processing {
        /// Which.
        miner: MinerId,
        /// The end of its lease.
        lease_until: Millis,
    },
    /// Final: done.
    Completed,
    /// Final: permanent failure, or no retry left.
    Failed,
    /// Final: its owner gave it up.
    Cancelled,
    /// Final: its deadline passed.
    Expired,
}

/// What the lifecycle needs of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// Where it stands.
    pub phase: Phase,
    /// The newest attempt; 0 before the first. Rises at each lease.
    pub attempt: u16,
    /// Who had the newest attempt.
    pub last_miner: Option<MinerId>,
    /// Failures that another attempt followed or follows.
    pub retries_spent: u32,
    /// How many of those it allows.
    pub max_retries: u32,
    /// When it expires.
    pub deadline: Millis,
    /// No miner gets it without enough funds.
    pub needs_funds: bool,
    /// Funds are locked for it.
    pub funded: bool,
    /// They are as much as its owner asked for, or any where nothing was asked.
    pub enough: bool,
}

/// What happens to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A lock was adopted for it, or ended before it did.
    Funds {
        /// Whether any is left.
        funded: bool,
        /// Whether they are enough.
        enough: bool,
    },
    /// A miner is given it, to accept in time.
    Assign {
        /// Which.
        miner: MinerId,
        /// Until when it must accept.
        accept_by: Millis,
    },
    /// A miner took it by polling: given and accepted at once.
    Take {
        /// Which.
        miner: MinerId,
        /// The end of its lease.
        lease_until: Millis,
    },
    /// The miner accepts, or renews its lease.
    Hold {
        /// Which attempt.
        attempt: u16,
        /// Which miner.
        miner: MinerId,
        /// The new end of the lease.
        lease_until: Millis,
    },
    /// A valid receipt arrived.
    Complete {
        /// Which attempt.
        attempt: u16,
        /// Which miner.
        miner: MinerId,
    },
    /// The attempt ended without a result.
    Fail {
        /// Which attempt.
        attempt: u16,
        /// Which miner.
        miner: MinerId,
        /// Why.
        reason: FailureReason,
    },
    /// Its owner gives it up.
    Cancel,
    /// Its deadline passed.
    Expire,
}

/// What is to be done after a step, beside recording the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Record a new attempt.
    AttemptBegins,
    /// Record that the newest attempt began to run.
    AttemptStarts,
    /// Record the end of the newest attempt.
    AttemptEnds(AttemptOutcome),
    /// The miner that had it shall stop.
    StopMiner(MinerId),
    /// Put it into its queue, once `not_before` has passed.
    Enqueue {
        /// The end of its backoff.
        not_before: Millis,
    },
    /// It waits for funds: no miner may find it.
    Dequeue,
    /// Prefer other miners from now on.
    Exclude(MinerId),
    /// It is final: archive it.
    Finish(JobStatus),
}

/// Why an event is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// Another attempt is the live one, or none is.
    #[error("attempt {given} is not live: the newest is {newest}")]
    StaleAttempt {
        /// What was named.
        given: u16,
        /// The job's newest.
        newest: u16,
    },
    /// The job is final.
    #[error("the job is final")]
    Final,
    /// The job is not waiting.
    #[error("the job is not waiting for a miner")]
    NotQueued,
    /// The job may not run without funds.
    #[error("the job waits for funds")]
    NotFunded,
}

/// Test-only switches that break a rule, to show that the simulator notices.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BrokenRules {
    /// Take a result of any attempt.
    pub skip_attempt_check: bool,
    /// Never put a lost attempt's job back into the queue.
    pub no_requeue_on_loss: bool,
    /// Take locks for a specification that is paid as another job.
    pub fund_again: bool,
    /// Pay the payee of a job's first attempt, whichever is paid.
    pub pay_first_payee: bool,
    /// Rent a GPU to whoever pays, though somebody has it.
    pub rent_again: bool,
    /// Let anybody's jobs run on a rented GPU.
    pub serve_strangers: bool,
    /// Count each beat of a rental, whether the provider is there or not.
    pub count_every_beat: bool,
    /// Keep what a rental's last payment leaves of its lock.
    pub keep_rest: bool,
}

impl Phase {
    /// Whether nothing more can happen.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Completed | Self::Failed | Self::Cancelled | Self::Expired
        )
    }

    /// The miner that holds the live attempt.
    #[must_use]
    pub fn holder(&self) -> Option<MinerId> {
        match self {
            Self::Leased { miner, .. } | Self::Processing { miner, .. } => Some(*miner),
            _ => None,
        }
    }

    /// The status that users see.
    #[must_use]
    pub fn status(&self) -> JobStatus {
        match self {
            Self::Pending => JobStatus::Pending,
            Self::Queued { .. } | Self::Leased { .. } => JobStatus::Queued,
            Self::Processing { .. } => JobStatus::Processing,
            Self::Completed => JobStatus::Completed,
            Self::Failed => JobStatus::Failed,
            Self::Cancelled => JobStatus::Cancelled,
            Self::Expired => JobStatus::Expired,
        }
    }
}

impl Job {
    /// The status that users see: waiting for a miner and paid is "funded".
    #[must_use]
    pub fn status(&self) -> JobStatus {
        match self.phase.status() {
            JobStatus::Queued if self.funded => JobStatus::Funded,
            status => status,
        }
    }
}

/// The job after `event` at `now`, and what is to be done. A refused event changes nothing.
pub fn step(
    job: &Job,
    event: Event,
    now: Millis,
    broken: BrokenRules,
) -> Result<(Job, Vec<Effect>), JobError> {
    if job.phase.is_final() {
        return Err(JobError::Final);
    }
    let mut next = *job;
    let effects = match event {
        Event::Funds { funded, enough } => {
            (next.funded, next.enough) = (funded, funded && enough);
            funds(&mut next, now)
        }
        Event::Assign { miner, accept_by } => {
            begin(&mut next, miner)?;
            next.phase = Phase::Leased { miner, accept_by };
            vec![Effect::AttemptBegins]
        }
        Event::Take { miner, lease_until } => {
            begin(&mut next, miner)?;
            next.phase = Phase::Processing { miner, lease_until };
            vec![Effect::AttemptBegins, Effect::AttemptStarts]
        }
        Event::Hold {
            attempt,
            miner,
            lease_until,
        } => {
            holds(job, attempt, miner)?;
            next.phase = Phase::Processing { miner, lease_until };
            let starts = matches!(job.phase, Phase::Leased { .. });
            if starts {
                vec![Effect::AttemptStarts]
            } else {
                Vec::new()
            }
        }
        Event::Complete { attempt, miner } => {
            let late = matches!(job.phase, Phase::Queued { .. })
                && job.attempt == attempt
                && job.last_miner == Some(miner);
            if !late && !broken.skip_attempt_check {
                holds(job, attempt, miner)?;
            }
            next.phase = Phase::Completed;
            vec![
                Effect::AttemptEnds(AttemptOutcome::Completed),
                Effect::Finish(JobStatus::Completed),
            ]
        }
        Event::Fail {
            attempt,
            miner,
            reason,
        } => {
            holds(job, attempt, miner)?;
            fail(&mut next, miner, reason, now, broken)
        }
        Event::Cancel => stop(&mut next, Phase::Cancelled),
        Event::Expire => stop(&mut next, Phase::Expired),
    };
    Ok((next, effects))
}

fn funds(job: &mut Job, now: Millis) -> Vec<Effect> {
    match job.phase {
        Phase::Pending if job.enough => {
            job.phase = Phase::Queued { not_before: now };
            vec![Effect::Enqueue { not_before: now }]
        }
        Phase::Queued { .. } if job.needs_funds && !job.enough => {
            job.phase = Phase::Pending;
            vec![Effect::Dequeue]
        }
        _ => Vec::new(),
    }
}

/// Where a job waits that has no miner any more.
fn wait(job: &mut Job, not_before: Millis) -> Effect {
    if job.needs_funds && !job.enough {
        job.phase = Phase::Pending;
        return Effect::Dequeue;
    }
    job.phase = Phase::Queued { not_before };
    Effect::Enqueue { not_before }
}

fn begin(job: &mut Job, miner: MinerId) -> Result<(), JobError> {
    if job.needs_funds && !job.enough {
        return Err(JobError::NotFunded);
    }
    if !matches!(job.phase, Phase::Queued { .. }) {
        return Err(JobError::NotQueued);
    }
    job.attempt = job.attempt.saturating_add(1);
    job.last_miner = Some(miner);
    Ok(())
}

fn holds(job: &Job, attempt: u16, miner: MinerId) -> Result<(), JobError> {
    if job.attempt == attempt && job.phase.holder() == Some(miner) {
        Ok(())
    } else {
        Err(JobError::StaleAttempt {
            given: attempt,
            newest: job.attempt,
        })
    }
}

fn fail(
    job: &mut Job,
    miner: MinerId,
    reason: FailureReason,
    now: Millis,
    broken: BrokenRules,
) -> Vec<Effect> {
    let class = classify(reason);
    let outcome = match (class, reason) {
        (FailureClass::Nobody, _) => AttemptOutcome::Returned,
        (_, FailureReason::Lost) => AttemptOutcome::Lost,
        _ => AttemptOutcome::Failed,
    };
    let mut effects = vec![Effect::AttemptEnds(outcome)];
    // Attempt numbers never restart, so the last one ends the job, however often it was returned.
    let last = job.attempt == u16::MAX;
    if class == FailureClass::Nobody && !last {
        let not_before = now + return_delay_ms(job);
        effects.push(wait(job, not_before));
        return effects;
    }
    let exhausted = job.retries_spent >= job.max_retries || last;
    if class == FailureClass::Job || exhausted {
        job.phase = Phase::Failed;
        effects.push(Effect::Finish(JobStatus::Failed));
        return effects;
    }
    job.retries_spent = job.retries_spent.saturating_add(1);
    let not_before = now + backoff_ms(job.id, job.retries_spent);
    effects.push(Effect::Exclude(miner));
    let waits = wait(job, not_before);
    if !(broken.no_requeue_on_loss && reason == FailureReason::Lost) {
        effects.push(waits);
    }
    effects
}

/// A job that comes back again and again must not go round at full speed: from the sixth time on it waits.
fn return_delay_ms(job: &Job) -> u64 {
    let returned = u32::from(job.attempt).saturating_sub(job.retries_spent);
    match returned.checked_sub(FREE_RETURNS) {
        None | Some(0) => 0,
        Some(times) => backoff_ms(job.id, times),
    }
}

fn stop(job: &mut Job, phase: Phase) -> Vec<Effect> {
    let mut effects = Vec::new();
    if let Some(miner) = job.phase.holder() {
        effects.push(Effect::AttemptEnds(AttemptOutcome::Stopped));
        effects.push(Effect::StopMiner(miner));
    }
    job.phase = phase;
    effects.push(Effect::Finish(phase.status()));
    effects
}

#[cfg(test)]
#[path = "lifecycle_tests.rs"]
mod tests;
