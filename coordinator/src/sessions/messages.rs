//! Reads and builds the messages of a miner's stream.

use std::time::Duration;

use aitbc_common::limits::FAILURE_MESSAGE_BYTES;
use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1;
use aitbc_proto::v1::coordinator_message::Message as Down;

use super::core::{ACCEPT_WITHIN_MS, HEARTBEAT_MS, LEASE_MS, Progress, StreamKind};
use crate::engine::command::{AttemptId, AttemptInfo, Command, HeldAttempt, SessionId};
use crate::grpc::{validate, validate_miner};

/// A duration of whole milliseconds on the wire.
#[must_use]
pub fn duration(ms: u64) -> prost_types::Duration {
    Duration::from_millis(ms).try_into().unwrap_or_default()
}

/// A duration on the wire in whole milliseconds; `None` for a negative one.
fn whole_ms(duration: &prost_types::Duration) -> Option<u64> {
    let duration = Duration::try_from(*duration).ok()?;
    u64::try_from(duration.as_millis()).ok()
}

/// An attempt from its two fields.
#[must_use]
pub fn attempt(job_id: &str, attempt: u32) -> Option<AttemptId> {
    let attempt = u16::try_from(attempt).ok().filter(|attempt| *attempt > 0)?;
    Some(AttemptId {
        job_id: job_id.parse().ok()?,
        attempt,
    })
}

/// The attempts that a miner says it has; those it cannot have are left out. At most 1,024.
#[must_use]
pub fn held_attempts(running: &[v1::RunningAttempt]) -> Vec<HeldAttempt> {
    let read = |held: &v1::RunningAttempt| {
        Some(HeldAttempt {
            attempt: attempt(&held.job_id, held.attempt)?,
            output_bytes: held.output_bytes,
            output_tokens: held.output_tokens,
            accepted_ago_ms: held.accepted_ago.as_ref().and_then(whole_ms),
            first_output_ago_ms: held.first_output_ago.as_ref().and_then(whole_ms),
        })
    };
    running.iter().take(1_024).filter_map(read).collect()
}

/// A failure with a bounded message; none given = the miner's fault, not said which.
#[must_use]
pub fn failure(failure: Option<v1::Failure>) -> v1::Failure {
    let mut failure = failure.unwrap_or_default();
    if v1::FailureReason::try_from(failure.reason).is_err() {
        failure.reason = v1::FailureReason::Unspecified.into();
    }
    let end = failure.message.floor_char_boundary(FAILURE_MESSAGE_BYTES);
    failure.message.truncate(end);
    failure
}

/// What a miner can run.
pub fn inventory(session: SessionId, inventory: v1::Inventory) -> Result<Command, ApiError> {
    let models = validate_miner::miner_models(inventory.models)?;
    let slots = validate_miner::inventory_slots(inventory.slots)?;
    let engine = validate::short_text("engine", inventory.engine, validate_miner::ENGINE_BYTES)?;
    Ok(Command::Inventory {
        session,
        models,
        slots,
        engine,
        tools: validate_miner::tools(inventory.tools)?,
    })
}

/// The answer for one attempt named in Hello.
#[must_use]
pub fn resume(attempt: AttemptId, progress: Option<&Progress>) -> v1::ResumeAttempt {
    let action = if progress.is_some() {
        v1::ResumeAction::Continue
    } else {
        v1::ResumeAction::Abandon
    };
    v1::ResumeAttempt {
        job_id: attempt.job_id.to_string(),
        attempt: attempt.attempt.into(),
        action: action.into(),
        output_offset: progress.map_or(0, |p| p.output_len),
        result_offset: progress.map_or(0, |p| p.result_len),
    }
}

/// The session is open.
#[must_use]
pub fn welcome(session_id: SessionId, attempts: Vec<v1::ResumeAttempt>) -> Down {
    Down::Welcome(v1::Welcome {
        session_id,
        attempts,
        heartbeat_interval: Some(duration(HEARTBEAT_MS)),
        lease: Some(duration(LEASE_MS)),
        accept_within: Some(duration(ACCEPT_WITHIN_MS)),
        checkpoint: String::new(),
    })
}

/// A job to run.
#[must_use]
pub fn assign(info: AttemptInfo, signature: [u8; 64], time_left_ms: u64) -> v1::Assign {
    v1::Assign {
        job_id: info.attempt.job_id.to_string(),
        attempt: info.attempt.attempt.into(),
        assignment: info.assignment,
        assignment_signature: signature.to_vec().into(),
        spec: info.spec,
        model: info.model,
        input: info.input,
        time_left: Some(duration(time_left_ms)),
    }
}

/// A newer assignment of a running attempt.
#[must_use]
pub fn renew(info: &AttemptInfo, signature: [u8; 64]) -> v1::Renew {
    v1::Renew {
        job_id: info.attempt.job_id.to_string(),
        attempt: info.attempt.attempt.into(),
        assignment: info.assignment.clone(),
        assignment_signature: signature.to_vec().into(),
    }
}

/// Stop an attempt. `receipt` = a receipt is wanted, over at most so many bytes of output.
#[must_use]
pub fn cancel(attempt: AttemptId, status: v1::JobStatus, receipt: Option<u64>) -> Down {
    Down::Cancel(v1::Cancel {
        job_id: attempt.job_id.to_string(),
        attempt: attempt.attempt.into(),
        status: status.into(),
        receipt_wanted: receipt.is_some(),
        output_bytes: receipt.unwrap_or(0),
    })
}

/// Send a stream again.
#[must_use]
pub fn resend(attempt: AttemptId, kind: StreamKind, offset: u64) -> Down {
    let kind = match kind {
        StreamKind::Output => v1::OutputKind::Output,
        StreamKind::Result => v1::OutputKind::Result,
    };
    Down::Resend(v1::Resend {
        job_id: attempt.job_id.to_string(),
        attempt: attempt.attempt.into(),
        kind: kind.into(),
        offset,
    })
}

/// A delivery or failure was dealt with.
#[must_use]
pub fn ack(attempt: AttemptId, error: Option<v1::RequestError>) -> Down {
    Down::Ack(v1::Ack {
        job_id: attempt.job_id.to_string(),
        attempt: attempt.attempt.into(),
        error,
    })
}

/// The session ends.
#[must_use]
pub fn going_away(error: &ApiError) -> Down {
    Down::GoingAway(v1::GoingAway {
        reason: error.reason.into(),
        message: error.message.clone(),
        retry_after: error.retry_after.and_then(|delay| delay.try_into().ok()),
    })
}

/// Bytes of a message on the wire, about.
#[must_use]
pub fn encoded_len(message: &v1::CoordinatorMessage) -> usize {
    prost::Message::encoded_len(message) + 8
}
