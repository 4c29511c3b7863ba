//! From rows and views to messages.

use aitbc_common::identity::Identity;
use aitbc_common::ids::{AgentId, JobId, MinerId};
use aitbc_common::layouts::{Assignment, JobSpec, Receipt, Verdict};
use aitbc_common::names::DEFAULT_TAG;
use aitbc_common::runtime::status::words;
use aitbc_proto::v1::{self, JobStatus, PaymentStatus};
use bytes::Bytes;

use crate::engine::command::{AttemptId, AttemptInfo, JobView, Submitted};
use crate::engine::{acknowledgements, payment};
use crate::sessions::hub::Change;
use crate::sessions::messages::{self, duration};
use crate::sessions::streams::{SignedCheckpoint, Streams};
use crate::store::rows::{AttemptRow, DeliveryRow, JobRow, uuid};

/// A time from Unix ms; 0 = unset.
#[must_use]
pub fn timestamp(ms: u64) -> Option<prost_types::Timestamp> {
    let seconds = i64::try_from(ms / 1_000).ok()?;
    let nanos = i32::try_from(ms % 1_000 * 1_000_000).ok()?;
    (ms > 0).then_some(prost_types::Timestamp { seconds, nanos })
}

/// Whether nothing more can happen to a job.
#[must_use]
pub fn is_final(status: JobStatus) -> bool {
    matches!(
        status,
        JobStatus::Completed | JobStatus::Failed | JobStatus::Cancelled | JobStatus::Expired
    )
}

fn miner_text(miner_id: &Bytes) -> String {
    uuid(miner_id).map_or_else(String::new, |bytes| MinerId(bytes).to_string())
}

/// The name as it is usually asked for: without the tag that every name without one has.
fn asked_model(canonical: &str) -> String {
    let short = canonical
        .strip_suffix(DEFAULT_TAG)
        .and_then(|name| name.strip_suffix(':'));
    short.unwrap_or(canonical).to_owned()
}

/// Bytes of a delivered output.
#[must_use]
pub fn output_len(delivery: &DeliveryRow) -> u64 {
    Receipt::decode(&delivery.receipt).map_or(0, |receipt| receipt.output_len)
}

fn attempt(row: &AttemptRow) -> v1::Attempt {
    v1::Attempt {
        attempt: row.attempt,
        miner_id: miner_text(&row.miner_id),
        miner_name: row.miner_name.clone(),
        outcome: row.outcome,
        failure: row.failure.clone(),
        assigned_at: timestamp(row.assigned_ms),
        ended_at: timestamp(row.ended_ms),
    }
}

/// Why something failed; the reason's name in words where there is no message, or nothing where there is no reason.
#[must_use]
pub fn failure_text(failure: &v1::Failure) -> String {
    match (failure.message.as_str(), failure.reason()) {
        ("", v1::FailureReason::Unspecified) => String::new(),
        ("", reason) => words(reason.as_str_name().trim_start_matches("FAILURE_REASON_")),
        (message, _) => message.to_owned(),
    }
}

/// What a row alone tells about a job.
#[must_use]
pub fn job(row: &JobRow, status: JobStatus) -> v1::Job {
    let spec = JobSpec::decode(&row.spec).ok();
    let last = row.attempts.last();
    let newest = last.filter(|_| row.leased || row.finished_ms > 0);
    let mut job = v1::Job {
        job_id: row.id().to_string(),
        job_ref: spec
            .as_ref()
            .map(|spec| spec.job_ref().to_vec().into())
            .unwrap_or_default(),
        status: status.into(),
        payment_status: payment_status(row).into(),
        locked_micro_ait: row.locked(),
        least_funding_micro_ait: row.least_funding,
        audit_allowed: spec.as_ref().is_some_and(JobSpec::allows_audit),
        paid_micro_ait: row.paid,
        fee_micro_ait: row.fee,
        returned_micro_ait: row.returned,
        r#type: spec.as_ref().map_or(0, |spec| spec.job_type as i32),
        model: asked_model(&row.model),
        served_model: newest.map(|_| row.model.clone()).unwrap_or_default(),
        miner_id: newest
            .map(|attempt| miner_text(&attempt.miner_id))
            .unwrap_or_default(),
        miner_name: newest
            .map(|attempt| attempt.miner_name.clone())
            .unwrap_or_default(),
        attempt: row.attempt,
        retries_spent: row.retries_spent,
        max_retries: row.max_retries,
        created_at: timestamp(row.created_ms),
        assigned_at: newest.and_then(|attempt| timestamp(attempt.assigned_ms)),
        started_at: newest.and_then(|attempt| timestamp(attempt.started_ms)),
        finished_at: timestamp(row.finished_ms),
        deadline: timestamp(row.deadline_ms),
        attempts: row.attempts.iter().map(attempt).collect(),
        failure: row.failure.clone(),
        retry_of: uuid(&row.retry_of)
            .map(|bytes| JobId(bytes).to_string())
            .unwrap_or_default(),
        priority: row.priority,
        request_id: row.request_id.clone(),
        agent_id: uuid(&row.agent)
            .map(|id| AgentId(id).to_string())
            .unwrap_or_default(),
        agent_version: row.agent_version,
        ..v1::Job::default()
    };
    if let Some(delivery) = &row.delivery {
        add_delivery(&mut job, row, delivery);
    }
    job
}

/// Where a job's payment stands.
fn payment_status(row: &JobRow) -> v1::PaymentStatus {
    match row.payment() {
        v1::PaymentStatus::Unspecified => v1::PaymentStatus::Unfunded,
        status => status,
    }
}

fn add_delivery(job: &mut v1::Job, row: &JobRow, delivery: &DeliveryRow) {
    let Ok(receipt) = Receipt::decode(&delivery.receipt) else {
        return;
    };
    job.served_model.clone_from(&delivery.served_model);
    job.engine.clone_from(&delivery.engine);
    job.model_digest = receipt.model_digest.to_vec().into();
    job.first_token_at = timestamp(delivery.first_token_ms);
    job.input_tokens = Some(receipt.tokens_in);
    job.output_tokens = Some(receipt.tokens_out);
    job.work_time = Some(duration(receipt.work_ms));
    job.finish_reason = delivery.finish_reason;
    job.output_bytes = receipt.output_len;
    job.cost_micro_ait = payment::cost(row);
    if let Some(standing) = acknowledgements::standing(delivery) {
        job.verdict = verdict(standing.verdict).into();
        job.acknowledged_at = timestamp(standing.time_ms);
    }
}

fn verdict(verdict: Verdict) -> v1::ReceiptVerdict {
    match verdict {
        Verdict::Matches => v1::ReceiptVerdict::Matches,
        Verdict::Disputed => v1::ReceiptVerdict::Disputed,
    }
}

/// A job with what only memory knows of it.
#[must_use]
pub fn job_view(view: &JobView, streams: &Streams) -> v1::Job {
    let mut job = job(&view.row, view.status);
    job.queue_position = view.queue_position;
    job.missing_micro_ait = view.missing;
    job.estimated_start = view.estimated_start_ms.map(duration);
    if is_final(view.status) {
        return job;
    }
    if view.started_ms > 0 {
        job.started_at = timestamp(view.started_ms);
    }
    add_live(&mut job, &view.row, streams);
    job
}

fn add_live(job: &mut v1::Job, row: &JobRow, streams: &Streams) {
    let live = newest_attempt(row).filter(|_| row.leased);
    if let Some(stream) = live.and_then(|attempt| streams.get(attempt)) {
        job.first_token_at = timestamp(stream.first_ms());
        job.output_bytes = stream.output_len();
    }
}

fn newest_attempt(row: &JobRow) -> Option<AttemptId> {
    Some(AttemptId {
        job_id: row.id(),
        attempt: u16::try_from(row.attempt).ok()?,
    })
}

/// The status of a stored row as users see it.
#[must_use]
pub fn row_status(row: &JobRow, streams: &Streams) -> JobStatus {
    let accepted = || {
        row.live_attempt().is_some_and(|live| {
            let stream = newest_attempt(row).and_then(|attempt| streams.get(attempt));
            live.polled || live.started_ms > 0 || stream.is_some_and(|stream| stream.accepted())
        })
    };
    match row.status() {
        JobStatus::Queued | JobStatus::Unspecified if accepted() => JobStatus::Processing,
        JobStatus::Queued | JobStatus::Unspecified if row.payment() == PaymentStatus::Funded => {
            JobStatus::Funded
        }
        JobStatus::Unspecified => JobStatus::Queued,
        status => status,
    }
}

/// A job of a list: without its attempts.
#[must_use]
pub fn listed_job(row: &JobRow, status: JobStatus, streams: &Streams) -> v1::Job {
    let mut job = job(row, status);
    job.attempts.clear();
    if !is_final(status) {
        add_live(&mut job, row, streams);
    }
    job
}

/// The page token of what follows a model.
#[must_use]
pub fn model_token(model: &v1::ModelSummary) -> String {
    format!("{}:{}", hex::encode(&model.digest), model.name)
}

/// A submission's answer.
#[must_use]
pub fn submitted(submitted: &Submitted) -> v1::SubmitJobResponse {
    let view = &submitted.view;
    let spec = JobSpec::decode(&view.row.spec).ok();
    v1::SubmitJobResponse {
        job_id: view.row.id().to_string(),
        job_ref: spec
            .map(|spec| spec.job_ref().to_vec().into())
            .unwrap_or_default(),
        status: view.status.into(),
        payment_status: payment_status(&view.row).into(),
        queue_position: view.queue_position,
        matching_miners: submitted.matching_miners,
        known_miners: submitted.known_miners,
        away_miners: submitted.away_miners,
        missing_micro_ait: view.missing,
        least_funding_micro_ait: view.row.least_funding,
        estimated_start: view.estimated_start_ms.map(duration),
        created_at: timestamp(view.row.created_ms),
        deadline: timestamp(view.row.deadline_ms),
        warnings: submitted.warnings.clone(),
    }
}

fn assignment_signature(assignment: &Bytes, known: Option<[u8; 64]>, service: &Identity) -> Bytes {
    // Ed25519 is deterministic: signing again gives the signature that the miner got.
    let signature = known.or_else(|| Some(Assignment::decode(assignment).ok()?.sign(service)));
    signature
        .map(|signature| signature.to_vec().into())
        .unwrap_or_default()
}

/// The assignment that a receipt names: the newest, unless a raise of the budget crossed the receipt. With its signature
/// where that is known.
fn named_assignment(
    row: &JobRow,
    delivery: &DeliveryRow,
    signature: Option<[u8; 64]>,
    service: &Identity,
) -> (Bytes, Option<[u8; 64]>) {
    let Some(attempt) = row.attempts.last() else {
        return (Bytes::new(), None);
    };
    if !attempt.earlier.is_empty()
        && let Ok(receipt) = Receipt::decode(&delivery.receipt)
    {
        for layout in attempt.earlier.iter().rev() {
            let Ok(assignment) = Assignment::decode(layout) else {
                continue;
            };
            let signature = assignment.sign(service);
            if assignment.id(&signature) == receipt.assignment_hash {
                return (layout.clone(), Some(signature));
            }
        }
        return (attempt.assignment.clone(), None);
    }
    (attempt.assignment.clone(), signature)
}

/// A completed job's proof.
#[must_use]
pub fn proof(row: &JobRow, signature: Option<[u8; 64]>, service: &Identity) -> v1::ExecutionProof {
    let delivery = row.delivery.clone().unwrap_or_default();
    let (assignment, signature) = named_assignment(row, &delivery, signature, service);
    v1::ExecutionProof {
        spec: row.spec.clone(),
        assignment_signature: assignment_signature(&assignment, signature, service),
        assignment,
        receipt: delivery.receipt,
        receipt_signature: delivery.signature,
        service_key: service.public().0.to_vec().into(),
        served_model: delivery.served_model,
        acknowledgement: delivery.acknowledgement,
        acknowledgement_signature: delivery.acknowledgement_signature,
    }
}

/// The beginning of an attempt.
#[must_use]
pub fn attempt_started(
    row: &AttemptRow,
    signature: Option<[u8; 64]>,
    service: &Identity,
) -> v1::AttemptStarted {
    v1::AttemptStarted {
        attempt: row.attempt,
        miner_id: miner_text(&row.miner_id),
        miner_name: row.miner_name.clone(),
        assignment: row.assignment.clone(),
        assignment_signature: assignment_signature(&row.assignment, signature, service),
    }
}

/// A checkpoint for watchers.
#[must_use]
pub fn checkpoint(attempt: u32, checkpoint: SignedCheckpoint) -> v1::OutputCheckpoint {
    v1::OutputCheckpoint {
        attempt,
        checkpoint: checkpoint.layout,
        signature: checkpoint.signature,
    }
}

fn add_result(
    event: &mut v1::JobEvent,
    row: &JobRow,
    inline: u64,
    signature: Option<[u8; 64]>,
    service: &Identity,
) {
    event.failure.clone_from(&row.failure);
    let Some(delivery) = row.delivery.as_ref().filter(|_| inline > 0) else {
        return;
    };
    event.proof = Some(proof(row, signature, service));
    if delivery.result_len <= inline {
        event.result.clone_from(&delivery.result);
    }
}

/// A change for a follower of all jobs, with a result of at most `inline` bytes.
#[must_use]
pub fn job_event(change: &Change, inline: u64, service: &Identity) -> v1::JobEvent {
    let signature = change.signature;
    let change = &change.change;
    let mut event = v1::JobEvent {
        job_id: change.job_id.to_string(),
        request_id: change.request_id.clone(),
        status: change.status.into(),
        attempt: change.attempt,
        changed_at: timestamp(change.at_ms),
        ..v1::JobEvent::default()
    };
    if let Some(row) = &change.row {
        add_result(&mut event, row, inline, signature, service);
    }
    event
}

/// The newest change of a stored job.
#[must_use]
pub fn job_event_of_row(
    row: &JobRow,
    inline: u64,
    service: &Identity,
    streams: &Streams,
) -> v1::JobEvent {
    let status = row_status(row, streams);
    let last = row.attempts.last();
    let changed_ms = last.map_or(row.created_ms, |attempt| {
        attempt.assigned_ms.max(attempt.ended_ms)
    });
    let mut event = v1::JobEvent {
        job_id: row.id().to_string(),
        request_id: row.request_id.clone(),
        status: status.into(),
        attempt: row.attempt,
        changed_at: timestamp(row.finished_ms.max(changed_ms)),
        ..v1::JobEvent::default()
    };
    if is_final(status) {
        add_result(&mut event, row, inline, None, service);
    }
    event
}

/// A polled job.
#[must_use]
pub fn polled(
    info: AttemptInfo,
    signature: [u8; 64],
    lease_until_ms: u64,
    now_ms: u64,
) -> v1::PolledJob {
    let job_type = JobSpec::decode(&info.spec).map_or(0, |spec| spec.job_type as i32);
    let time_left_ms = info.deadline_ms.saturating_sub(now_ms);
    v1::PolledJob {
        assign: Some(messages::assign(info, signature, time_left_ms)),
        r#type: job_type,
        lease_until: timestamp(lease_until_ms),
    }
}
