//! What the coordinator says, but for assignments.

use std::time::Duration;

use aitbc_common::layouts::SessionProof;
use aitbc_proto::v1::coordinator_message::Message as FromCoordinator;
use aitbc_proto::v1::miner_message::Message;
use aitbc_proto::v1::{
    Ack, Cancel, Challenge, Drain, ErrorReason, Hello, JobStatus, OutputKind, Renew, Resend,
    ResumeAction, Welcome,
};
use bytes::Bytes;

use super::attempt::Stage;
use super::core::{Open, Phase, SessionCore};
use super::{AttemptKey, End, Notice};
use crate::runner::FinishReason;
use crate::time::positive;

/// Bounds of what Welcome may ask for, and what holds where it says nothing.
const HEARTBEAT_INTERVAL: (Duration, Duration, Duration) = (
    Duration::from_millis(100),
    Duration::from_secs(10),
    Duration::from_secs(60),
);
/// The lease where the coordinator does not say, or not yet.
pub(super) const USUAL_LEASE: Duration = Duration::from_secs(30);
const LEASE: (Duration, Duration, Duration) = (
    Duration::from_millis(300),
    USUAL_LEASE,
    Duration::from_secs(600),
);
/// Welcome must come within this after Hello.
const WELCOME_TIME: Duration = Duration::from_secs(15);
/// A refused but repeatable Complete or Fail is sent again after this, where the coordinator does not say when.
const REPEAT_TIME: Duration = Duration::from_secs(1);

impl SessionCore {
    pub(super) fn message(&mut self, now: Duration, message: FromCoordinator) {
        match message {
            FromCoordinator::Challenge(challenge) => self.challenge(now, &challenge),
            FromCoordinator::Welcome(welcome) => self.welcome(now, &welcome),
            FromCoordinator::Assign(assign) => self.assign(now, assign),
            FromCoordinator::Cancel(cancel) => self.cancel(now, &cancel),
            FromCoordinator::Renew(renew) => self.renew(&renew),
            FromCoordinator::Resend(resend) => self.resend(&resend),
            FromCoordinator::Ack(ack) => self.ack(now, &ack),
            FromCoordinator::Heartbeat(echo) => {
                if let Phase::Open(open) = &mut self.phase
                    && echo.sequence <= open.sequence
                {
                    open.heard = now;
                }
                self.see(&echo.checkpoint);
            }
            FromCoordinator::GoingAway(going_away) => {
                let reason = going_away.reason();
                let was_open = self.disconnected(now, reason);
                let retry_after = going_away.retry_after.as_ref().and_then(positive);
                self.refused(now, was_open, reason, going_away.message, retry_after);
            }
        }
    }

    fn challenge(&mut self, now: Duration, message: &Challenge) {
        if !matches!(self.phase, Phase::Connected { .. }) {
            return;
        }
        let Ok(challenge) = <[u8; 32]>::try_from(&message.challenge[..]) else {
            self.close(
                now,
                None,
                "the coordinator's challenge is malformed".to_owned(),
            );
            return;
        };
        if message.chain_id[..] != self.config.chain_id[..] {
            self.end(End::WrongChain);
            return;
        }
        let proof = SessionProof {
            chain_id: self.config.chain_id,
            challenge,
            miner_id: self.config.miner_id,
        };
        let (running, finished): (Vec<_>, Vec<_>) = self
            .attempts
            .iter()
            .partition(|(_, attempt)| attempt.is_running());
        let hello = Hello {
            miner_id: self.config.miner_id.to_string(),
            proof: Bytes::copy_from_slice(&proof.sign(&self.config.identity)),
            running: running
                .into_iter()
                .map(|(key, attempt)| attempt.introduce(*key, now))
                .collect(),
            spooled: finished
                .into_iter()
                .map(|(key, attempt)| attempt.introduce(*key, now))
                .collect(),
            takeover: self.config.takeover,
            version: self.config.version.clone(),
        };
        self.phase = Phase::Greeted {
            until: now.saturating_add(WELCOME_TIME),
        };
        self.waiting.push_back(Message::Hello(hello));
    }

    fn welcome(&mut self, now: Duration, welcome: &Welcome) {
        if !matches!(self.phase, Phase::Greeted { .. }) {
            return;
        }
        let bounded = |given: Option<&prost_types::Duration>,
                       (least, usual, most): (Duration, Duration, Duration)| {
            given.and_then(positive).unwrap_or(usual).clamp(least, most)
        };
        let heartbeat_interval = bounded(welcome.heartbeat_interval.as_ref(), HEARTBEAT_INTERVAL);
        self.phase = Phase::Open(Open {
            heartbeat_interval,
            lease: bounded(welcome.lease.as_ref(), LEASE).max(heartbeat_interval * 2),
            next_heartbeat: now.saturating_add(heartbeat_interval),
            heard: now,
            sequence: 0,
        });
        // It was asked for once; a session lost later is not taken back from whoever has it then.
        self.config.takeover = false;
        self.own_session_until = None;
        self.see(&welcome.checkpoint);
        // What the coordinator does not mention is sent from the beginning.
        for attempt in self.attempts.values_mut() {
            attempt.rewind(Some(0), Some(0));
        }
        for answer in &welcome.attempts {
            let Some(key) = AttemptKey::parse(&answer.job_id, answer.attempt) else {
                continue;
            };
            if answer.action() == ResumeAction::Abandon {
                self.stopped(now, key, self.why_abandoned(key));
            } else if let Some(attempt) = self.attempts.get_mut(&key) {
                attempt.rewind(Some(answer.output_offset), Some(answer.result_offset));
            }
        }
        self.send(now, Message::Inventory(self.announced()));
        self.heartbeat(now);
        if self.drain_until.is_some() {
            self.send(now, Message::Drain(Drain {}));
        }
        self.notice(Notice::Polling {
            free_slots: self.free_slots(),
        });
    }

    /// The coordinator says only that it does not wait for the attempt: it may have recorded its result before.
    fn why_abandoned(&self, key: AttemptKey) -> &'static str {
        let stage = self.attempts.get(&key).map(|attempt| &attempt.stage);
        match stage {
            Some(Stage::Storing { .. } | Stage::Done { .. }) => {
                "it was recorded before, or the job has ended or is elsewhere"
            }
            _ => "the job has ended or is elsewhere",
        }
    }

    /// The coordinator tells how far the ledger is; one without a ledger tells nothing.
    fn see(&mut self, checkpoint: &str) {
        if checkpoint.is_empty() {
            return;
        }
        if let Err(problem) = self.witness.see(checkpoint) {
            self.notice(Notice::Odd {
                message: format!("the coordinator's ledger contradicts itself: {problem}"),
            });
        }
    }

    fn cancel(&mut self, now: Duration, cancel: &Cancel) {
        let Some(key) = AttemptKey::parse(&cancel.job_id, cancel.attempt) else {
            return;
        };
        let reason = match cancel.status() {
            JobStatus::Cancelled => "cancelled by its owner",
            JobStatus::Expired => "its deadline passed",
            JobStatus::Failed => "it failed",
            JobStatus::Completed => "it was completed elsewhere",
            _ => "it is elsewhere",
        };
        if cancel.receipt_wanted && self.deliver_stopped(now, key, cancel) {
            return;
        }
        self.stopped(now, key, reason);
    }

    /// Funds are locked for a job that was stopped: a receipt for what was done is wanted. False = there is nothing to
    /// deliver.
    fn deliver_stopped(&mut self, now: Duration, key: AttemptKey, cancel: &Cancel) -> bool {
        let (finish_reason, reason) = match cancel.status() {
            JobStatus::Expired => (FinishReason::Deadline, "its deadline passed"),
            _ => (FinishReason::Cancelled, "cancelled by its owner"),
        };
        if self.end_stopped(now, key, finish_reason, cancel.output_bytes) {
            self.notice(Notice::JobStopped { key, reason });
            self.slot_freed(now);
            self.notice_waiting();
            return true;
        }
        let stage = self.attempts.get(&key).map(|attempt| &attempt.stage);
        matches!(stage, Some(Stage::Storing { .. } | Stage::Done { .. }))
    }

    fn renew(&mut self, renew: &Renew) {
        let Some(key) = AttemptKey::parse(&renew.job_id, renew.attempt) else {
            return;
        };
        let attempt = self.attempts.get_mut(&key);
        let raised = attempt.map_or(Ok(()), |attempt| attempt.raise(renew, &self.config));
        if let Err(problem) = raised {
            self.notice(Notice::Odd {
                message: format!("a newer assignment of {key:?} does not hold: {problem}"),
            });
        }
    }

    /// Drops an attempt. One that is not known yet is remembered: its assignment may still be on the way.
    fn stopped(&mut self, now: Duration, key: AttemptKey, reason: &'static str) {
        let known = self
            .attempts
            .get(&key)
            .map(super::attempt::Attempt::is_running);
        self.forget(key);
        match known {
            None => {}
            Some(false) => self.notice(Notice::NotWanted { key, reason }),
            Some(true) => {
                self.notice(Notice::JobStopped { key, reason });
                self.slot_freed(now);
                self.notice_waiting();
            }
        }
    }

    fn resend(&mut self, resend: &Resend) {
        let Some(key) = AttemptKey::parse(&resend.job_id, resend.attempt) else {
            return;
        };
        if let Some(attempt) = self.attempts.get_mut(&key) {
            match resend.kind() {
                OutputKind::Output => attempt.rewind(Some(resend.offset), None),
                OutputKind::Result => attempt.rewind(None, Some(resend.offset)),
                OutputKind::Unspecified => {}
            }
        }
    }

    fn ack(&mut self, now: Duration, ack: &Ack) {
        let Some(key) = AttemptKey::parse(&ack.job_id, ack.attempt) else {
            return;
        };
        let Some(attempt) = self.attempts.get_mut(&key) else {
            return;
        };
        let Some(error) = &ack.error else {
            let summary = match &attempt.stage {
                Stage::Done { summary, .. } => Some(*summary),
                Stage::Failed(_) => None,
                // Nothing was delivered yet: this answers something else.
                Stage::Running(_) | Stage::Storing { .. } => return,
            };
            self.forget(key);
            if let Some(summary) = summary {
                self.notice(Notice::Submitted { key, summary });
            }
            self.notice_waiting();
            return;
        };
        let repeatable = matches!(
            error.reason(),
            ErrorReason::Unavailable
                | ErrorReason::RateLimited
                | ErrorReason::StorageFull
                | ErrorReason::Internal
        );
        if repeatable {
            let pause = error
                .retry_after
                .as_ref()
                .and_then(positive)
                .unwrap_or(REPEAT_TIME);
            attempt.postpone(now.saturating_add(pause));
            return;
        }
        if !matches!(attempt.stage, Stage::Failed(_)) {
            self.jobs_failed = self.jobs_failed.saturating_add(1);
            self.notice(Notice::Refused {
                key,
                message: error.message.clone(),
            });
        }
        self.forget(key);
        self.slot_freed(now);
        self.notice_waiting();
    }

    fn notice_waiting(&mut self) {
        if self.running() == 0 && self.drain_until.is_none() && self.jobs_left != Some(0) {
            self.notice(Notice::Waiting);
        }
    }
}
