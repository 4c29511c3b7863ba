//! What the runs report, and their ends.

use std::time::Duration;

use aitbc_common::limits::OUTPUT_BYTES;
use aitbc_proto::v1::Failure;

use super::attempt::{Attempt, Stage};
use super::core::SessionCore;
use super::evidence::Signer;
use super::{Action, AttemptKey, Notice};
use crate::runner::{FinishReason, RunResult};

impl SessionCore {
    pub(super) fn output(
        &mut self,
        now: Duration,
        key: AttemptKey,
        data: &[u8],
        output_tokens: u32,
    ) {
        let Some(attempt) = self
            .attempts
            .get_mut(&key)
            .filter(|attempt| attempt.is_running())
        else {
            return;
        };
        let room = usize::try_from(OUTPUT_BYTES).unwrap_or(usize::MAX) - attempt.output_bytes();
        if data.len() <= room {
            attempt.append(now, data, output_tokens);
            return;
        }
        let cut =
            std::str::from_utf8(&data[..room]).map_or_else(|error| error.valid_up_to(), str::len);
        attempt.append(now, &data[..cut], output_tokens);
        self.end_early(now, key, FinishReason::Length);
    }

    pub(super) fn finished(&mut self, now: Duration, key: AttemptKey, result: &RunResult) {
        let Some(attempt) = self
            .attempts
            .get_mut(&key)
            .filter(|attempt| attempt.is_running())
        else {
            return;
        };
        let signer = Signer {
            identity: &self.config.identity,
            seen: self.witness.seen(),
        };
        match attempt.finish(key, signer, result) {
            Ok(record) => {
                if let Stage::Storing { summary, .. } = &attempt.stage {
                    let summary = *summary;
                    self.actions
                        .push(Action::Notice(Notice::Inference { key, summary }));
                }
                self.actions.push(Action::Store(Box::new(record)));
                self.slot_freed(now);
            }
            Err(failure) => self.conclude_failed(key, failure),
        }
    }

    pub(super) fn failed(&mut self, key: AttemptKey, failure: Failure) {
        if self.attempts.get(&key).is_some_and(Attempt::is_running) {
            self.conclude_failed(key, failure);
        }
    }

    pub(super) fn conclude_failed(&mut self, key: AttemptKey, failure: Failure) {
        if let Some(attempt) = self.attempts.get_mut(&key) {
            attempt.fail(failure.clone());
            self.jobs_failed = self.jobs_failed.saturating_add(1);
            self.notice(Notice::JobFailed { key, failure });
        }
    }

    /// Ends a run with what it has produced so far.
    pub(super) fn end_early(
        &mut self,
        now: Duration,
        key: AttemptKey,
        finish_reason: FinishReason,
    ) {
        if let Some(attempt) = self.attempts.get(&key) {
            let result = attempt.partial_result(now, finish_reason);
            self.actions.push(Action::Stop(key));
            self.finished(now, key, &result);
        }
    }

    /// Ends a run that was stopped, so that what it did until then is paid. False = it does not run.
    pub(super) fn end_stopped(
        &mut self,
        now: Duration,
        key: AttemptKey,
        reason: FinishReason,
        limit: u64,
    ) -> bool {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let attempt = self.attempts.get_mut(&key);
        let signer = Signer {
            identity: &self.config.identity,
            seen: self.witness.seen(),
        };
        let record =
            attempt.and_then(|attempt| attempt.finish_stopped(now, key, signer, reason, limit));
        let Some(record) = record else {
            return false;
        };
        self.actions.push(Action::Stop(key));
        self.actions.push(Action::Store(Box::new(record)));
        true
    }

    pub(super) fn tick_attempt(&mut self, now: Duration, key: AttemptKey) {
        let Some(attempt) = self.attempts.get_mut(&key) else {
            return;
        };
        let Some(run) = attempt.run() else { return };
        if now >= run.ends_at() && run.promise.assignment.locked > 0 {
            self.end_stopped(now, key, FinishReason::Deadline, u64::MAX);
            self.slot_freed(now);
        } else if now >= run.ends_at() {
            self.end_early(now, key, FinishReason::Deadline);
        } else if run.budget_end().is_some_and(|end| now >= end) {
            self.end_early(now, key, FinishReason::Budget);
        } else if attempt.tick_checkpoint(now, &self.config.identity)
            && let Some(run) = attempt.run()
        {
            let (output_tokens, generating) = (run.output_tokens(), run.generating(now));
            self.notice(Notice::Progress {
                key,
                output_tokens,
                generating,
            });
        }
    }
}
