//! How attempts end: deliveries, failures and their acknowledgements.

use aitbc_common::layouts::Receipt;
use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1::{self, ErrorReason};

use super::{Action, AttemptStreams, REMEMBERED, SessionCore, StreamKind};
use crate::engine::command::AttemptId;
use crate::sessions::delivery::has_result;
use crate::sessions::messages;

impl SessionCore {
    pub(super) fn complete(&mut self, complete: v1::Complete, streams: &dyn AttemptStreams) {
        let Some(attempt) = self.attempt(&complete.job_id, complete.attempt) else {
            return;
        };
        if !self.may_deliver(attempt) {
            return;
        }
        let Some(progress) = streams.progress(attempt) else {
            self.held.remove(&attempt);
            return self.stale(attempt);
        };
        let receipt = match Receipt::decode(&complete.receipt) {
            Ok(receipt) => receipt,
            Err(error) => return self.invalid(attempt, error.to_string()),
        };
        let Some(held) = self.held.get_mut(&attempt) else {
            return;
        };
        let whole = progress.output_len >= receipt.output_len
            && (!has_result(&receipt) || progress.result_hash == receipt.result_hash);
        if held.stopped && !whole {
            self.held.remove(&attempt);
            let message = "the job was stopped before all of this came: its last checkpoint counts";
            return self.refuse(attempt, message);
        }
        if progress.output_len < receipt.output_len {
            return self.resend(attempt, StreamKind::Output, progress.output_len, true);
        }
        // The receipt has no length of the result: what does not hash to it is short, unless sending again adds nothing.
        if !whole && held.short_result != Some(progress.result_len) {
            held.short_result = Some(progress.result_len);
            return self.resend(attempt, StreamKind::Result, progress.result_len, true);
        }
        held.delivering = true;
        self.actions
            .push(Action::Complete(attempt, Box::new(complete)));
    }

    pub(super) fn fail(&mut self, fail: v1::Fail) {
        let Some(attempt) = self.attempt(&fail.job_id, fail.attempt) else {
            return;
        };
        if self.may_deliver(attempt) {
            self.start_fail(attempt, messages::failure(fail.failure), None);
        }
    }

    /// What arrived for an attempt cannot become a valid delivery.
    pub(super) fn invalid(&mut self, attempt: AttemptId, message: String) {
        let reason = v1::FailureReason::InvalidResult.into();
        let refusal = ApiError::new(ErrorReason::ReceiptInvalid, message.clone());
        self.start_fail(attempt, v1::Failure { reason, message }, Some(refusal));
    }

    fn start_fail(&mut self, attempt: AttemptId, failure: v1::Failure, refusal: Option<ApiError>) {
        if let Some(held) = self.held.get_mut(&attempt) {
            held.delivering = true;
            self.actions.push(Action::Fail {
                attempt,
                failure,
                refusal,
            });
        }
    }

    /// Whether a Complete or Fail of it goes on; otherwise it is answered, or its answer is under way.
    fn may_deliver(&mut self, attempt: AttemptId) -> bool {
        if let Some(held) = self.held.get(&attempt) {
            return !held.delivering;
        }
        match self.done.iter().find(|(done, _)| *done == attempt) {
            Some((_, error)) => self
                .actions
                .push(Action::Send(messages::ack(attempt, error.clone()))),
            None => self.stale(attempt),
        }
        false
    }

    /// A delivery or failure was dealt with: the miner may forget the attempt, unless the coordinator could not.
    pub fn recorded(&mut self, attempt: AttemptId, outcome: Result<(), ApiError>) {
        let error = match outcome {
            Err(error)
                if error.reason == ErrorReason::Unavailable
                    || error.reason == ErrorReason::StorageFull =>
            {
                return self.close(error);
            }
            Err(error) => Some(error.to_request_error()),
            Ok(()) => None,
        };
        self.held.remove(&attempt);
        if self.done.len() == REMEMBERED {
            self.done.remove(0);
        }
        self.done.push((attempt, error.clone()));
        if !self.is_closed() {
            self.actions
                .push(Action::Send(messages::ack(attempt, error)));
        }
    }

    fn stale(&mut self, attempt: AttemptId) {
        self.refuse(attempt, "this attempt is not the job's live one: forget it");
    }

    fn refuse(&mut self, attempt: AttemptId, message: &str) {
        let error = ApiError::new(ErrorReason::StaleAttempt, message).to_request_error();
        self.actions
            .push(Action::Send(messages::ack(attempt, Some(error))));
    }
}
