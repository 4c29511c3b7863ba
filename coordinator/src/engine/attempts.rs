//! What becomes of jobs and their attempts: failure, cancellation, deletion, polling.

use aitbc_common::identity::PublicKey;
use aitbc_common::ids::{JobId, MinerId};
use aitbc_proto::v1::{self, ErrorReason, FailureReason, JobStatus};

use super::command::{AttemptId, Effect, JobChange, JobSelector, Reply};
use super::core::{EngineCore, Lease};
use super::edits::Edit;
use super::timers::Timer;
use super::turn::Turn;
use crate::jobs::lifecycle::Effect as JobEffect;
use crate::jobs::lifecycle::{Event, JobError, Millis, Phase, step};
use crate::payments::Order;
use crate::store::Reads;
use crate::store::StoreError;

impl EngineCore {
    /// One event of one job: steps its lifecycle and carries out what follows. `failure` explains an attempt's end.
    pub(super) fn advance(
        &mut self,
        turn: &mut Turn,
        job_id: JobId,
        event: Event,
        failure: Option<v1::Failure>,
    ) -> Result<JobStatus, JobError> {
        let Some(live) = self.jobs.get_mut(&job_id) else {
            return Err(JobError::Final);
        };
        let holder = live.job.phase.holder();
        let (next, effects) = step(&live.job, event, self.now, self.config.broken)?;
        self.counts.change(live.job.status(), next.status());
        live.job = next;
        let owner = live.owner;
        for effect in effects {
            self.follow(turn, job_id, owner, effect, failure.clone());
        }
        if next.phase.holder().is_none()
            && let Some(holder) = holder
        {
            self.release(
                holder,
                AttemptId {
                    job_id,
                    attempt: next.attempt,
                },
            );
        }
        Ok(next.status())
    }

    fn follow(
        &mut self,
        turn: &mut Turn,
        job_id: JobId,
        owner: PublicKey,
        effect: JobEffect,
        failure: Option<v1::Failure>,
    ) {
        let Some(live) = self.jobs.get_mut(&job_id) else {
            return;
        };
        let (now, retries_spent) = (self.now, live.job.retries_spent);
        let progress_ms = self.config.progress_ms;
        let attempt = AttemptId {
            job_id,
            attempt: live.job.attempt,
        };
        match effect {
            JobEffect::AttemptBegins => {}
            JobEffect::AttemptStarts => {
                if let Some(lease) = &mut live.lease {
                    lease.started_ms = now;
                    lease.progress_ms = now;
                }
                self.changed(turn, job_id, owner, JobStatus::Processing);
            }
            JobEffect::Dequeue => self.dequeue(turn, job_id, owner),
            JobEffect::AttemptEnds(outcome) => {
                let lease = live.lease.take();
                let started_ms = lease.as_ref().map_or(0, |lease| lease.started_ms);
                live.late_until = late_until(lease.as_deref(), now, progress_ms);
                turn.edit(
                    job_id,
                    owner,
                    Edit::End {
                        outcome,
                        failure,
                        started_ms,
                        at_ms: now,
                    },
                );
                if let Some(lease) = lease {
                    self.drop_checkpoint(turn, job_id, &lease);
                }
            }
            JobEffect::StopMiner(miner) => {
                let status = live.job.phase.status();
                self.stop_miner(turn, miner, attempt, status);
            }
            JobEffect::Exclude(miner) => self.exclude(turn, job_id, miner),
            JobEffect::Enqueue { not_before } => {
                let status = live.job.status();
                let requeue = Edit::Requeue {
                    not_before_ms: not_before,
                    retries_spent,
                };
                turn.edit(job_id, owner, requeue);
                self.enqueue(job_id);
                self.changed(turn, job_id, owner, status);
            }
            JobEffect::Finish(status) => {
                turn.edit(
                    job_id,
                    owner,
                    Edit::Finish {
                        status,
                        failure,
                        retries_spent,
                        at_ms: now,
                    },
                );
                self.end_payment(turn, job_id, owner, status);
                self.forget_job(job_id);
                self.changed(turn, job_id, owner, status);
            }
        }
    }

    pub(super) fn stop_miner(
        &self,
        turn: &mut Turn,
        miner: MinerId,
        attempt: AttemptId,
        status: JobStatus,
    ) {
        let miner = self.miners.get(&miner);
        if let Some(session) = miner.and_then(|miner| miner.session.as_ref()) {
            turn.effect(Effect::CancelAttempt {
                session: session.id,
                attempt,
                status,
                receipt: self.is_stopped(attempt),
            });
        }
    }

    /// A miner has one attempt less.
    fn release(&mut self, miner: MinerId, attempt: AttemptId) {
        if let Some(miner) = self.miners.get_mut(&miner) {
            miner.held.remove(&attempt);
        }
        self.refresh_load(miner);
    }

    /// A final job leaves memory.
    fn forget_job(&mut self, job_id: JobId) {
        let Some(live) = self.jobs.remove(&job_id) else {
            return;
        };
        self.ended.insert(job_id, live.owner);
        if let Some(class) = live.class {
            self.queue.remove(class, live.owner, live.priority, job_id);
        }
        self.requirements.remove(&live.owner, &live.requirement);
        self.timers
            .remove(&(live.job.deadline, Timer::Deadline(job_id)));
        if let Some(jobs) = self.owners.get_mut(&live.owner) {
            jobs.remove(&job_id);
            if jobs.is_empty() {
                self.owners.remove(&live.owner);
            }
        }
    }

    /// Tells watchers, once it is durable.
    pub(super) fn changed(
        &mut self,
        turn: &mut Turn,
        job_id: JobId,
        owner: PublicKey,
        status: JobStatus,
    ) {
        let at_ms = self.now;
        self.change += 1;
        let change = self.change;
        turn.changes.insert(job_id, change);
        let keeps_attempt = self.stopped.contains_key(&job_id);
        let started = self
            .jobs
            .get(&job_id)
            .and_then(|live| live.lease.as_ref())
            .filter(|_| status == JobStatus::Processing);
        let started = started.map(|lease| (lease.attempt.clone(), lease.request_id.clone()));
        let oldest_live = self
            .owners
            .get(&owner)
            .and_then(|jobs| jobs.first().copied());
        turn.effect_later(move |_, rows| {
            let row = rows.get(&job_id);
            let started = row
                .and_then(|row| row.live_attempt())
                .filter(|_| status == JobStatus::Processing)
                .map(|attempt| (attempt.clone(), String::new()))
                .or(started);
            let request_id = row
                .map(|row| row.request_id.clone())
                .or_else(|| started.as_ref().map(|(_, id)| id.clone()));
            let attempt = row
                .map(|row| row.attempt)
                .or_else(|| started.as_ref().map(|(attempt, _)| attempt.attempt));
            Some(Effect::Changed(Box::new(JobChange {
                change,
                owner,
                job_id,
                request_id: request_id.unwrap_or_default(),
                status,
                attempt: attempt.unwrap_or_default(),
                at_ms,
                started: started.map(|(attempt, _)| Box::new(attempt)),
                // An earlier change of the batch that ends the job comes without the final row.
                row: row
                    .filter(|row| row.finished_ms > 0 && row.status() == status)
                    .cloned()
                    .map(Box::new),
                keeps_attempt,
                oldest_live,
            })))
        });
    }

    /// The newest attempt ended without a result.
    pub(super) fn end_attempt(
        &mut self,
        turn: &mut Turn,
        attempt: AttemptId,
        miner: MinerId,
        failure: v1::Failure,
    ) -> Option<JobStatus> {
        let reason = failure.reason();
        let event = Event::Fail {
            attempt: attempt.attempt,
            miner,
            reason,
        };
        let faults = self.faults(attempt, miner, reason);
        let status = self
            .advance(turn, attempt.job_id, event, Some(failure))
            .ok()?;
        // Named before the locks return, where this was the last attempt.
        turn.outbox.orders.extend(faults);
        if crate::jobs::retry::classify(reason) == crate::jobs::retry::FailureClass::Miner
            && let Some(miner) = self.miners.get_mut(&miner)
        {
            miner.record.failed_jobs += 1;
            self.unsaved_miners.insert(miner.id);
        }
        Some(status)
    }

    /// What the ledger is told of a paid attempt that failed because of its miner: each lock names it once.
    fn faults(&self, attempt: AttemptId, miner: MinerId, reason: FailureReason) -> Vec<Order> {
        let live = self.jobs.get(&attempt.job_id);
        let locks = live.and_then(|live| Some((live, live.paid.as_ref()?)));
        let (Some((live, paid)), Some(miner), Some(reason)) = (
            locks,
            self.miners.get(&miner),
            crate::jobs::retry::fault(reason),
        ) else {
            return Vec::new();
        };
        let open = paid.locks.iter().filter(|lock| !lock.returned);
        let named = open.map(|lock| Order::LogFault {
            lock: lock.id(),
            job_ref: live.job_ref,
            attempt: attempt.attempt,
            miner: miner.key,
            reason,
        });
        named.collect()
    }

    /// Cancels or expires a job.
    pub(super) fn stop_job(&mut self, turn: &mut Turn, job_id: JobId, event: Event) -> bool {
        self.await_receipt(job_id);
        self.advance(turn, job_id, event, None).is_ok()
    }

    pub(super) fn fail(
        &mut self,
        turn: &mut Turn,
        miner_key: PublicKey,
        attempt: AttemptId,
        failure: v1::Failure,
    ) {
        let Some(miner) = self.miner_keys.get(&miner_key).copied() else {
            return turn.refuse(
                ErrorReason::MinerNotRegistered,
                "this identity has no registered miner",
            );
        };
        if matches!(
            failure.reason(),
            FailureReason::Returned | FailureReason::Busy
        ) && self.holds(attempt, miner)
        {
            self.suspend_quietly(miner);
        }
        match self.end_attempt(turn, attempt, miner, failure) {
            Some(status) => turn.reply(Reply::Failed(status)),
            None => turn.refuse(
                ErrorReason::StaleAttempt,
                "this attempt is not live: it ended, or another miner has the job",
            ),
        }
    }

    pub(super) fn holds(&self, attempt: AttemptId, miner: MinerId) -> bool {
        self.miners
            .get(&miner)
            .is_some_and(|miner| miner.held.contains(&attempt))
    }

    pub(super) fn cancel(
        &mut self,
        turn: &mut Turn,
        owner: PublicKey,
        job: JobSelector,
        reads: &dyn Reads,
    ) -> Result<(), StoreError> {
        let Some(job_id) = self.select(turn, owner, job, reads)? else {
            turn.refuse(ErrorReason::JobNotFound, super::queries::no_job(job));
            return Ok(());
        };
        if self
            .jobs
            .get(&job_id)
            .is_some_and(|live| live.owner == owner)
        {
            self.stop_job(turn, job_id, Event::Cancel);
        }
        turn.reply_later([(job_id, owner)], move |core, rows| {
            match rows.owned(&job_id, &owner) {
                None => super::queries::not_found(job),
                Some(row) => {
                    let view = core.view(row.clone());
                    let cancelled = view.status == JobStatus::Cancelled;
                    Reply::Cancelled(Box::new(view), cancelled)
                }
            }
        });
        Ok(())
    }

    pub(super) fn delete(
        &mut self,
        turn: &mut Turn,
        owner: PublicKey,
        job: JobSelector,
        reads: &dyn Reads,
    ) -> Result<(), StoreError> {
        let selected = self.select(turn, owner, job, reads)?;
        let Some(job_id) = selected else {
            turn.refuse(ErrorReason::JobNotFound, super::queries::no_job(job));
            return Ok(());
        };
        if self
            .jobs
            .get(&job_id)
            .is_some_and(|live| live.owner == owner)
        {
            turn.refuse(
                ErrorReason::WrongStatus,
                format!("{job_id} is not final; cancel it first"),
            );
            return Ok(());
        }
        let key = crate::store::keys::archived_job(&owner, job_id);
        let stored = reads.get_many(&[(crate::store::Family::Archive, &key)])?;
        if stored.iter().all(Option::is_none) && !turn.touches(job_id, owner) {
            turn.refuse(ErrorReason::JobNotFound, super::queries::no_job(job));
            return Ok(());
        }
        turn.edit(job_id, owner, Edit::DeleteContent);
        turn.dropped_outputs.push(job_id);
        turn.reply(Reply::Deleted(job_id));
        Ok(())
    }

    /// Whether the live attempt's phase is still "leased".
    pub(super) fn is_leased(&self, attempt: AttemptId) -> bool {
        let live = self
            .jobs
            .get(&attempt.job_id)
            .filter(|live| live.job.attempt == attempt.attempt);
        live.is_some_and(|live| matches!(live.job.phase, Phase::Leased { .. }))
    }
}

/// How an attempt ends that its miner does not know any more.
pub(super) fn lost_outcome(started: bool) -> (FailureReason, &'static str) {
    if started {
        (
            FailureReason::Lost,
            "the miner came back without this attempt",
        )
    } else {
        (
            FailureReason::NotAccepted,
            "the assignment never reached the miner",
        )
    }
}

/// Until when a lost attempt is waited for: not at all where it stalled.
fn late_until(lease: Option<&Lease>, now: Millis, progress_ms: u64) -> Millis {
    let stalled = lease.is_some_and(|lease| now.saturating_sub(lease.progress_ms) > progress_ms);
    if stalled { 0 } else { now + progress_ms }
}
