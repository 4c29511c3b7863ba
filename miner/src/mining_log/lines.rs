//! The lines of the log.

use aitbc_common::ids::JobId;
use aitbc_common::money::MicroAit;
use aitbc_proto::v1::Failure;
use serde_json::{Map, Value, json};

use crate::session::{AttemptKey, Summary};

/// One line, in both forms.
pub(super) struct Line {
    pub(super) event: String,
    pub(super) label: String,
    pub(super) text: String,
    pub(super) fields: Value,
}

impl Line {
    pub(super) fn new(label: impl Into<String>, text: impl Into<String>, fields: Value) -> Self {
        let label = label.into();
        Self {
            event: label.replace(' ', "_"),
            label,
            text: text.into(),
            fields,
        }
    }
}

pub(super) fn inference(key: AttemptKey, summary: &Summary) -> Line {
    let speed = speed(summary.output_tokens, seconds(summary.work_ms));
    let text = format!(
        "{} tokens in, {} out, {speed:.1}/s",
        summary.input_tokens, summary.output_tokens
    );
    let fields = json!({
        "input_tokens": summary.input_tokens,
        "output_tokens": summary.output_tokens,
        "tokens_per_second": (speed * 10.0).round() / 10.0,
    });
    Line::new("inference", text, with_key(key, fields))
}

pub(super) fn submitted(key: AttemptKey, summary: &Summary) -> Line {
    let price = MicroAit(summary.cost);
    let seconds = seconds(summary.work_ms);
    let speed = speed(summary.output_tokens, seconds);
    let text = format!(
        "{}, {seconds:.3} s, {price} AIT, acknowledged",
        short(&key.job)
    );
    let fields = json!({
        "output_tokens": summary.output_tokens,
        "tokens_per_second": (speed * 10.0).round() / 10.0,
        "work_seconds": seconds,
        "cost_ait": price.six_decimals(),
    });
    Line::new("result submitted", text, with_key(key, fields))
}

pub(super) fn failed(label: &str, key: AttemptKey, failure: &Failure) -> Line {
    let reason = failure
        .reason()
        .as_str_name()
        .trim_start_matches("FAILURE_REASON_");
    let text = format!("{}: {}", short(&key.job), failure.message);
    Line::new(
        label,
        text,
        with_key(key, json!({"reason": reason, "message": failure.message})),
    )
}

/// A finished run's result that is not delivered.
pub(super) fn not_wanted(key: AttemptKey, reason: &str) -> Line {
    Line::new(
        "result not wanted",
        format!("{}: {reason}", short(&key.job)),
        with_key(key, json!({"message": reason})),
    )
}

pub(super) fn with_key(key: AttemptKey, fields: Value) -> Value {
    let mut document = Map::new();
    document.insert("job_id".to_owned(), key.job.to_string().into());
    document.insert("attempt".to_owned(), key.attempt.into());
    if let Value::Object(fields) = fields {
        document.extend(fields);
    }
    Value::Object(document)
}

/// `job_01m8…ekf4`.
pub(super) fn short(id: &JobId) -> String {
    let id = id.to_string();
    match (
        id.get(..8),
        id.len().checked_sub(4).and_then(|at| id.get(at..)),
    ) {
        (Some(begin), Some(end)) => format!("{begin}…{end}"),
        _ => id,
    }
}

pub(super) fn plain(model: &str) -> &str {
    model.strip_suffix(":latest").unwrap_or(model)
}

pub(super) fn speed(tokens: u32, seconds: f64) -> f64 {
    if seconds > 0.0 {
        f64::from(tokens) / seconds
    } else {
        0.0
    }
}

fn seconds(ms: u64) -> f64 {
    std::time::Duration::from_millis(ms).as_secs_f64()
}

pub(super) fn rounded(seconds: f64) -> f64 {
    (seconds * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use aitbc_common::layouts::Outcome;
    use aitbc_proto::v1::FailureReason;

    use super::*;

    fn key() -> AttemptKey {
        let job = "job_01m83xj880emq8k9w39qsaekf4".parse().unwrap();
        AttemptKey { job, attempt: 1 }
    }

    fn summary() -> Summary {
        Summary {
            outcome: Outcome::Complete,
            input_tokens: 14,
            output_tokens: 61,
            work_ms: 2140,
            cost: 298,
        }
    }

    #[test]
    fn a_finished_job_reads_as_documented() {
        let line = inference(key(), &summary());
        assert_eq!(line.text, "14 tokens in, 61 out, 28.5/s");
        let line = submitted(key(), &summary());
        assert_eq!(
            line.text,
            "job_01m8…ekf4, 2.140 s, 0.000298 AIT, acknowledged"
        );
        assert_eq!(line.event, "result_submitted");
        assert_eq!(
            line.fields.to_string(),
            r#"{"job_id":"job_01m83xj880emq8k9w39qsaekf4","attempt":1,"output_tokens":61,"tokens_per_second":28.5,"work_seconds":2.14,"cost_ait":"0.000298"}"#
        );
    }

    #[test]
    fn a_result_that_nobody_waits_for_was_not_stopped() {
        let line = not_wanted(key(), "it was recorded before");
        assert_eq!(line.text, "job_01m8…ekf4: it was recorded before");
        assert_eq!(line.event, "result_not_wanted");
    }

    #[test]
    fn a_failure_names_its_class() {
        let failure = Failure {
            reason: FailureReason::StreamCut as i32,
            message: "the answer broke off".to_owned(),
        };
        let line = failed("job failed", key(), &failure);
        assert_eq!(line.text, "job_01m8…ekf4: the answer broke off");
        assert_eq!(line.fields["reason"], "STREAM_CUT");
    }
}
