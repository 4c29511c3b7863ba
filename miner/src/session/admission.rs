//! Assignments: the miner decides by itself what it takes.

use std::time::Duration;

use aitbc_common::layouts::NO_BUDGET;
use aitbc_proto::v1::miner_message::Message;
use aitbc_proto::v1::{Accept, Assign, Failure, FailureReason, MinerModel, Reject};

use super::attempt::{Attempt, Run, failure};
use super::core::SessionCore;
use super::evidence::Promise;
use super::history::Closed;
use super::{Action, AttemptKey, JobStart, Notice};
use crate::time::positive;

/// Bytes of output and result that may wait for an acknowledgement; with more, no job is taken.
const UNACKNOWLEDGED_BYTES: usize = 256 << 20;
/// Attempts that may wait for an acknowledgement besides one per slot.
const UNACKNOWLEDGED: usize = 64;
/// A job without a time to end is given this long; the coordinator always says.
const USUAL_TIME: Duration = Duration::from_secs(3600);

impl SessionCore {
    /// Slots that could take a job now.
    pub(super) fn free_slots(&self) -> u32 {
        if self.drain_until.is_some() || self.is_full() {
            return 0;
        }
        let running = u32::try_from(self.running()).unwrap_or(u32::MAX);
        self.inventory
            .slots
            .saturating_sub(running)
            .min(self.jobs_left.unwrap_or(u32::MAX))
    }

    /// Too much waits for an acknowledgement.
    fn is_full(&self) -> bool {
        let bytes: usize = self.attempts.values().map(Attempt::bytes).sum();
        let slots = usize::try_from(self.inventory.slots).unwrap_or(usize::MAX);
        bytes > UNACKNOWLEDGED_BYTES || self.unacknowledged() > slots.saturating_add(UNACKNOWLEDGED)
    }

    pub(super) fn assign(&mut self, now: Duration, assign: Assign) {
        let Some(key) = AttemptKey::parse(&assign.job_id, assign.attempt) else {
            self.notice(Notice::Odd {
                message: "an assignment without a valid job id and attempt".to_owned(),
            });
            return;
        };
        if !self.is_open() {
            return;
        }
        match self.history.get(&key) {
            Some(Closed::Gone) => return,
            Some(Closed::Rejected(failure)) => {
                let failure = failure.clone();
                self.send_reject(now, key, failure);
                return;
            }
            None => {}
        }
        let later = AttemptKey {
            job: key.job,
            attempt: u16::MAX,
        };
        let later = (
            std::ops::Bound::Excluded(key),
            std::ops::Bound::Included(later),
        );
        if self.history.knows_later(&key) || self.attempts.range(later).next().is_some() {
            return;
        }
        let promise = match Promise::check(key, &assign, &self.config) {
            Ok(promise) => promise,
            Err(problem) => {
                let message = format!("the assignment does not hold: {problem}");
                self.reject(now, key, failure(FailureReason::Operator, message));
                return;
            }
        };
        let time_left = assign
            .time_left
            .as_ref()
            .and_then(positive)
            .unwrap_or(USUAL_TIME);
        let deadline = now.saturating_add(time_left);
        if let Some(attempt) = self.attempts.get_mut(&key) {
            attempt.renew(promise, deadline);
            self.send(now, accept(key));
            return;
        }
        match self.admit(&assign, &promise) {
            Ok(model) => self.take(now, key, assign, promise, model, deadline),
            Err(failure) => self.reject(now, key, failure),
        }
    }

    /// Whether there is room and a model for it.
    fn admit(&self, assign: &Assign, promise: &Promise) -> Result<MinerModel, Failure> {
        if self.drain_until.is_some() {
            return Err(failure(
                FailureReason::Returned,
                "the miner stops".to_owned(),
            ));
        }
        if self.free_slots() == 0 {
            return Err(failure(FailureReason::Busy, "no free slot".to_owned()));
        }
        let pinned = promise.spec.model_digest;
        let fits = |model: &&MinerModel| {
            model.name == assign.model && (pinned == [0; 32] || model.digest[..] == pinned[..])
        };
        self.inventory
            .models
            .iter()
            .find(fits)
            .cloned()
            .ok_or_else(|| {
                failure(
                    FailureReason::ModelMissing,
                    format!("{} is not offered here", assign.model),
                )
            })
    }

    fn take(
        &mut self,
        now: Duration,
        key: AttemptKey,
        assign: Assign,
        promise: Promise,
        model: MinerModel,
        deadline: Duration,
    ) {
        // The coordinator gave an earlier attempt up before it made this one.
        let earlier = AttemptKey {
            job: key.job,
            attempt: 0,
        };
        let stale: Vec<AttemptKey> = self
            .attempts
            .range(earlier..key)
            .filter(|(_, attempt)| attempt.is_running())
            .map(|(key, _)| *key)
            .collect();
        for key in stale {
            self.forget(key);
        }
        let job_type = promise.spec.job_type;
        let locked = promise.assignment.locked;
        let (budget_ms, rate) = (promise.assignment.budget_ms, promise.assignment.rate);
        let run = Run::new(
            promise,
            model.clone(),
            self.inventory.engine.clone(),
            deadline,
        );
        self.attempts.insert(key, Attempt::start(run, now));
        self.jobs_left = self.jobs_left.map(|left| left.saturating_sub(1));
        self.send(now, accept(key));
        self.notice(Notice::JobReceived {
            key,
            job_type,
            model: model.name.clone(),
            locked,
        });
        self.actions.push(Action::Start(Box::new(JobStart {
            key,
            job_type,
            model,
            input: assign.input,
            paid_for: (budget_ms != NO_BUDGET).then(|| Duration::from_millis(budget_ms)),
            rate,
        })));
    }

    fn reject(&mut self, now: Duration, key: AttemptKey, failure: Failure) {
        if failure.reason() == FailureReason::Busy {
            self.owes_heartbeat = true;
        }
        self.history.insert(key, Closed::Rejected(failure.clone()));
        self.notice(Notice::JobRejected {
            key,
            failure: failure.clone(),
        });
        self.send_reject(now, key, failure);
    }

    fn send_reject(&mut self, now: Duration, key: AttemptKey, failure: Failure) {
        let reject = Reject {
            job_id: key.job.to_string(),
            attempt: u32::from(key.attempt),
            failure: Some(failure),
        };
        self.send(now, Message::Reject(reject));
    }
}

fn accept(key: AttemptKey) -> Message {
    Message::Accept(Accept {
        job_id: key.job.to_string(),
        attempt: u32::from(key.attempt),
    })
}
