//! A job as the CLI's JSON shows it.

use aitbc_common::layouts::MANUAL_ENGINE;
use aitbc_proto::v1::{Attempt, Job, ReceiptVerdict};
use serde_json::{Value, json};

use super::json::{
    ait, digest_or_null, enum_value, failure, hash_or_null, seconds, text_or_null, time,
};

/// The whole job, every field that the coordinator sent.
pub fn job_json(job: &Job) -> Value {
    let mut document = json!({
        "job_id": job.job_id,
        "status": enum_value!(JobStatus, "JOB_STATUS_", job.status),
        "payment_status": enum_value!(PaymentStatus, "PAYMENT_STATUS_", job.payment_status),
        "type": enum_value!(JobType, "JOB_TYPE_", job.r#type),
        "model": job.model,
        "served_model": text_or_null(&job.served_model),
        "model_digest": digest_or_null(&job.model_digest),
        "manual": job.engine == MANUAL_ENGINE,
        "miner_id": text_or_null(&job.miner_id),
        "miner_name": text_or_null(&job.miner_name),
        "attempt": job.attempt,
        "retries_spent": job.retries_spent,
        "max_retries": job.max_retries,
        "queue_position": job.queue_position,
        "estimated_start_seconds": seconds(job.estimated_start.as_ref()),
        "created_at": time(job.created_at.as_ref()),
        "assigned_at": time(job.assigned_at.as_ref()),
        "started_at": time(job.started_at.as_ref()),
        "first_token_at": time(job.first_token_at.as_ref()),
        "finished_at": time(job.finished_at.as_ref()),
        "deadline": time(job.deadline.as_ref()),
        "input_tokens": job.input_tokens,
        "output_tokens": job.output_tokens,
        "output_bytes": job.output_bytes,
        "work_seconds": seconds(job.work_time.as_ref()),
        "cost_ait": job.cost_micro_ait.map(ait),
        "finish_reason": enum_value!(FinishReason, "FINISH_REASON_", job.finish_reason),
        "failure": failure(job.failure.as_ref()),
        "attempts": job.attempts.iter().map(attempt_json).collect::<Value>(),
        "retry_of": text_or_null(&job.retry_of),
        "audit_allowed": job.audit_allowed,
        "priority": job.priority,
        "request_id": text_or_null(&job.request_id),
        "job_ref": hash_or_null(&job.job_ref),
    });
    if !job.agent_id.is_empty() {
        document["agent_id"] = job.agent_id.clone().into();
        document["agent_version"] = job.agent_version.into();
    }
    add_payment(&mut document, job);
    if job.verdict() != ReceiptVerdict::Unspecified {
        document["verdict"] = enum_value!(ReceiptVerdict, "RECEIPT_VERDICT_", job.verdict);
        document["acknowledged_at"] = time(job.acknowledged_at.as_ref());
    }
    document
}

/// Adds what was locked for a job and what became of it, and what it waits for; nothing for a job that nobody paid or has to.
pub fn add_payment(document: &mut Value, job: &Job) {
    if job.least_funding_micro_ait > 0 {
        document["min_funding_ait"] = ait(job.least_funding_micro_ait);
    }
    if let Some(missing) = job.missing_micro_ait {
        document["missing_ait"] = ait(missing);
    }
    if job.locked_micro_ait == 0 && job.returned_micro_ait == 0 {
        return;
    }
    for (name, micro) in [
        ("locked_ait", job.locked_micro_ait),
        ("paid_ait", job.paid_micro_ait),
        ("fee_ait", job.fee_micro_ait),
        ("returned_ait", job.returned_micro_ait),
    ] {
        document[name] = ait(micro);
    }
}

fn attempt_json(attempt: &Attempt) -> Value {
    json!({
        "attempt": attempt.attempt,
        "miner_id": text_or_null(&attempt.miner_id),
        "miner_name": text_or_null(&attempt.miner_name),
        "outcome": enum_value!(AttemptOutcome, "ATTEMPT_OUTCOME_", attempt.outcome),
        "error": failure(attempt.failure.as_ref()),
        "assigned_at": time(attempt.assigned_at.as_ref()),
        "ended_at": time(attempt.ended_at.as_ref()),
    })
}

#[cfg(test)]
mod tests {
    use aitbc_proto::v1::{JobStatus, JobType};

    use super::*;

    #[test]
    fn an_empty_job_has_nulls_where_nothing_is_known() {
        let document = job_json(&Job::default());
        for absent in [
            "miner_id",
            "queue_position",
            "finished_at",
            "cost_ait",
            "work_seconds",
            "failure",
            "job_ref",
            "finish_reason",
        ] {
            assert_eq!(document[absent], Value::Null, "{absent}");
        }
        assert_eq!(document["attempts"], json!([]));
    }

    #[test]
    fn a_paid_job_says_what_became_of_the_money() {
        assert!(job_json(&Job::default()).get("locked_ait").is_none());
        let job = Job {
            locked_micro_ait: 10_000_000,
            paid_micro_ait: 298,
            fee_micro_ait: 8,
            returned_micro_ait: 9_999_702,
            ..Job::default()
        };
        let document = job_json(&job);
        assert_eq!(document["locked_ait"], "10.000000");
        assert_eq!(document["paid_ait"], "0.000298");
        assert_eq!(document["fee_ait"], "0.000008");
        assert_eq!(document["returned_ait"], "9.999702");
    }

    #[test]
    fn a_job_shows_its_values() {
        let job = Job {
            job_id: "job_x".into(),
            status: JobStatus::Completed.into(),
            r#type: JobType::Inference.into(),
            cost_micro_ait: Some(298),
            attempts: vec![Attempt {
                attempt: 1,
                outcome: 2,
                ..Default::default()
            }],
            ..Default::default()
        };
        let document = job_json(&job);
        assert_eq!(document["status"], "completed");
        assert_eq!(document["type"], "inference");
        assert_eq!(document["cost_ait"], "0.000298");
        assert_eq!(document["attempts"][0]["outcome"], "completed");
    }
}
