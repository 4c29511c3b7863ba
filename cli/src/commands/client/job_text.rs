//! Where a job stands, for people.

use std::fmt::Write as _;

use aitbc_common::layouts::MANUAL_ENGINE;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::runtime::status::words;
use aitbc_common::runtime::terminal::clock_ms;
use aitbc_proto::v1::{
    Attempt, AttemptOutcome, Failure, FailureReason, Job, JobStatus, PaymentStatus,
    SubmitJobResponse,
};
use prost_types::Duration;

use super::payment::job_payment;
use crate::output::json::{duration_ms, enum_value, failure_name, text_of, timestamp_ms};
use crate::output::short_id;

/// Its status in lower case.
pub fn status_name(status: i32) -> String {
    text_of(&enum_value!(JobStatus, "JOB_STATUS_", status))
}

/// Its payment's status in lower case.
pub fn payment_name(status: i32) -> String {
    text_of(&enum_value!(PaymentStatus, "PAYMENT_STATUS_", status))
}

/// `4 ms`, `2.149 s`.
pub fn elapsed(ms: u64) -> String {
    if ms < 1_000 {
        format!("{ms} ms")
    } else {
        elapsed_seconds(ms)
    }
}

/// `0.004 s`, `2.149 s`.
pub fn elapsed_seconds(ms: u64) -> String {
    format!("{}.{:03} s", ms / 1_000, ms % 1_000)
}

/// `12 s`, `3 min`: an estimate is not finer than that.
pub fn about(duration: &Duration) -> String {
    match duration_ms(duration).div_ceil(1_000) {
        seconds if seconds < 120 => format!("{seconds} s"),
        seconds => format!("{} min", seconds.div_ceil(60)),
    }
}

/// `completed, unfunded`, or while it waits `queued, position 3, about 12 s`.
pub fn state(job: &Job) -> String {
    let mut text = status_name(job.status);
    let waits = matches!(job.status(), JobStatus::Funded | JobStatus::Queued);
    if !waits {
        let _infallible = write!(text, ", {}", payment_name(job.payment_status));
        return text;
    }
    if job.payment_status() == PaymentStatus::Funded && job.status() != JobStatus::Funded {
        text.push_str(", funded");
    }
    if let Some(position) = job.queue_position {
        let _infallible = write!(text, ", position {position}");
    }
    let estimate = job.estimated_start.as_ref();
    if let Some(estimate) = estimate.filter(|estimate| duration_ms(estimate) > 0) {
        let _infallible = write!(text, ", about {}", about(estimate));
    }
    text
}

/// `queued (position 1; 1 of 3 miners matches, starts in about 2 s)`: a job that was just submitted.
pub fn submitted_state(response: &SubmitJobResponse) -> String {
    let mut details = String::new();
    if response.status() == JobStatus::Pending {
        details.push_str("waits for its pay; ");
    }
    if let Some(position) = response.queue_position {
        let _infallible = write!(details, "position {position}; ");
    }
    let (matching, known) = (response.matching_miners, response.known_miners);
    let _infallible = match (matching, known) {
        (_, 0) => write!(details, "no miner is known yet"),
        (0, _) => write!(details, "{}", none_matches(known, response.away_miners)),
        (1, 1) => write!(details, "1 of 1 miner matches"),
        (1, _) => write!(details, "1 of {known} miners matches"),
        _ => write!(details, "{matching} of {known} miners match"),
    };
    let _infallible = match &response.estimated_start {
        Some(estimate) if duration_ms(estimate) == 0 => write!(details, ", starts at once"),
        Some(estimate) => write!(details, ", starts in about {}", about(estimate)),
        None => Ok(()),
    };
    format!("{} ({details})", status_name(response.status))
}

/// Where no known miner matches, whether the reason is that they are away.
pub fn none_matches(known: u32, away: u32) -> String {
    match (known, away) {
        (1, 0) => "the one known miner does not match".to_owned(),
        (1, _) => "1 known miner, away".to_owned(),
        (_, 0) => format!("none of {known} known miners matches"),
        _ if known == away => format!("{known} known miners, all away"),
        _ => format!("none of {known} known miners matches, {away} would but are away"),
    }
}

/// The whole state in a few lines.
pub fn job_text(job: &Job) -> String {
    let mut text = format!("{}  {}\n", job.job_id, state(job));
    let _infallible = writeln!(text, "  miner   {}      model  {}", miner(job), model(job));
    let _infallible = write!(text, "  times   {}", times(job));
    for attempt in job
        .attempts
        .iter()
        .filter(|attempt| attempt.failure.is_some())
    {
        let _infallible = write!(text, "\n  before  {}", failed_attempt(attempt));
    }
    if let Some(payment) = job_payment(job) {
        let _infallible = write!(text, "\n  payment {payment}");
    }
    if let Some(failure) = &job.failure {
        let _infallible = write!(text, "\n  reason  {}", failure_text(failure));
    }
    if !job.retry_of.is_empty() {
        let _infallible = write!(text, "\n  retries {}", job.retry_of);
    }
    text
}

fn miner(job: &Job) -> String {
    let retries = format!("{} of {} retries spent", job.retries_spent, job.max_retries);
    if job.miner_id.is_empty() {
        let none = if job.finished_at.is_some() {
            "none"
        } else {
            "none yet"
        };
        return format!("{none}, {retries}");
    }
    format!(
        "{} ({}), attempt {}, {retries}",
        job.miner_name,
        short_id(&job.miner_id),
        job.attempt
    )
}

fn model(job: &Job) -> String {
    let mut text = job.model.clone();
    if !job.served_model.is_empty() {
        let _infallible = write!(text, " = {}", job.served_model);
    }
    if by_hand(job) {
        text.push_str(", manual (by hand)");
    } else if job.model_digest.iter().any(|byte| *byte != 0) {
        let _infallible = write!(text, " {}", short_digest(&job.model_digest));
    }
    text
}

/// Whether a person made the result: then no model counted tokens.
fn by_hand(job: &Job) -> bool {
    job.engine == MANUAL_ENGINE
}

/// `sha256:365c0bd3c000`.
pub fn short_digest(digest: &[u8]) -> String {
    let digits = hex::encode(digest);
    format!("sha256:{}", digits.get(..12).unwrap_or(&digits))
}

fn times(job: &Job) -> String {
    let Some(created) = &job.created_at else {
        return "–".to_owned();
    };
    let created = timestamp_ms(created);
    let mut text = format!("submitted {}", clock_ms(created));
    let steps = [
        ("assigned", &job.assigned_at),
        ("started", &job.started_at),
        ("first token", &job.first_token_at),
        (
            if job.status() == JobStatus::Completed {
                "finished"
            } else {
                "ended"
            },
            &job.finished_at,
        ),
    ];
    for (name, time) in steps {
        if let Some(time) = time {
            let after = timestamp_ms(time).saturating_sub(created);
            let _infallible = write!(text, ", {name} +{}", elapsed(after));
        }
    }
    if by_hand(job) {
        return text;
    }
    if let (Some(input), Some(output)) = (job.input_tokens, job.output_tokens) {
        let _infallible = write!(text, "; {input} tokens in, {output} out");
        if let Some(speed) = tokens_per_second(output, job.work_time.as_ref()) {
            let _infallible = write!(text, ", {speed:.1}/s");
        }
    } else if let (None, Some(deadline)) = (&job.finished_at, &job.deadline) {
        let _infallible = write!(text, "; expires {}", clock_ms(timestamp_ms(deadline)));
    }
    text
}

fn tokens_per_second(tokens: u32, work: Option<&Duration>) -> Option<f64> {
    let ms = work.map(duration_ms).filter(|ms| *ms > 0)?;
    Some(f64::from(tokens) * 1_000.0 / ms as f64)
}

fn failed_attempt(attempt: &Attempt) -> String {
    let outcome = match attempt.outcome() {
        AttemptOutcome::Returned => "was handed back".to_owned(),
        _ => text_of(&enum_value!(
            AttemptOutcome,
            "ATTEMPT_OUTCOME_",
            attempt.outcome
        )),
    };
    let failure = attempt
        .failure
        .as_ref()
        // The names of those say no more than the outcome does.
        .filter(|failure| {
            let named = matches!(
                failure.reason(),
                FailureReason::Returned | FailureReason::Lost
            );
            !named || !failure.message.is_empty()
        })
        .map_or_else(String::new, |failure| {
            format!(": {}", failure_text(failure))
        });
    format!(
        "attempt {} on {} {outcome}{failure}",
        attempt.attempt, attempt.miner_name
    )
}

/// `no token for 60 s`; the reason's name in words where there is no message.
fn failure_text(failure: &Failure) -> String {
    match failure.message.as_str() {
        "" => words(failure_name(failure.reason())),
        message => message.to_owned(),
    }
}

/// One line of a status that is followed: `10:00:00.004Z  processing, unfunded  rig-1, attempt 1`.
pub fn change(job: &Job, now_ms: u64) -> String {
    let at = match job.status() {
        JobStatus::Processing => job.started_at.as_ref(),
        _ => job.finished_at.as_ref(),
    };
    let who = if job.miner_id.is_empty() {
        String::new()
    } else {
        format!("  {}, attempt {}", job.miner_name, job.attempt)
    };
    format!(
        "{}  {}{who}",
        clock_ms(at.map_or(now_ms, timestamp_ms)),
        state(job)
    )
}

/// How a command ends for a job that ended without a result: exit code 6.
pub fn no_result(job: &Job) -> CommandError {
    let message = match (&job.failure, job.status()) {
        (Some(failure), _) => format!("the job {}: {}", verb(job), failure_text(failure)),
        (None, JobStatus::Expired) => "the job expired before a miner finished it".to_owned(),
        (None, _) => format!("the job {}", verb(job)),
    };
    let id = &job.job_id;
    let hint =
        format!("see what happened: aitbc client status {id}; once more: aitbc client retry {id}");
    CommandError::new(ExitCode::NoResult, "NO_RESULT", message).with_hint(hint)
}

fn verb(job: &Job) -> &'static str {
    match job.status() {
        JobStatus::Cancelled => "was cancelled",
        JobStatus::Expired => "expired",
        _ => "failed",
    }
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::*;

    fn at(ms: i64) -> Option<Timestamp> {
        let ms = 1_795_428_000_000 + ms;
        Some(Timestamp {
            seconds: ms / 1_000,
            nanos: i32::try_from(ms % 1_000 * 1_000_000).unwrap(),
        })
    }

    fn completed() -> Job {
        Job {
            job_id: "job_01m83xj880emq8k9w39qsaekf4".into(),
            status: JobStatus::Completed.into(),
            payment_status: PaymentStatus::Unfunded.into(),
            model: "llama3".into(),
            served_model: "llama3:latest".into(),
            model_digest: vec![0x36, 0x5c, 0x0b, 0xd3, 0xc0, 0x00, 0x11].into(),
            miner_id: "miner_01m83xj880es8r65rzyjka792g".into(),
            miner_name: "rig-1".into(),
            attempt: 1,
            max_retries: 3,
            created_at: at(0),
            assigned_at: at(4),
            started_at: at(9),
            first_token_at: at(380),
            finished_at: at(2_149),
            input_tokens: Some(14),
            output_tokens: Some(61),
            work_time: Some(Duration {
                seconds: 2,
                nanos: 140_000_000,
            }),
            ..Default::default()
        }
    }

    #[test]
    fn a_completed_job_reads_as_documented() {
        let expected = "\
job_01m83xj880emq8k9w39qsaekf4  completed, unfunded
  miner   rig-1 (miner_01m8…792g), attempt 1, 0 of 3 retries spent      model  llama3 = llama3:latest sha256:365c0bd3c000
  times   submitted 10:00:00.000Z, assigned +4 ms, started +9 ms, first token +380 ms, finished +2.149 s; 14 tokens in, 61 out, 28.5/s";
        assert_eq!(job_text(&completed()), expected);
    }

    #[test]
    fn work_by_hand_does_not_look_like_a_models() {
        let job = Job {
            engine: "manual".into(),
            model_digest: vec![0; 32].into(),
            input_tokens: Some(0),
            output_tokens: Some(0),
            ..completed()
        };
        let text = job_text(&job);
        assert!(text.contains("llama3:latest, manual (by hand)"), "{text}");
        assert!(!text.contains("sha256") && !text.contains("/s"), "{text}");
        let document = crate::output::job::job_json(&job);
        assert_eq!(document["model_digest"], serde_json::Value::Null);
        assert_eq!(document["manual"], true);
        let served = crate::output::job::job_json(&completed());
        assert_eq!(served["manual"], false);
    }

    #[test]
    fn a_waiting_job_says_how_long() {
        let job = Job {
            status: JobStatus::Queued.into(),
            queue_position: Some(3),
            estimated_start: Some(Duration {
                seconds: 11,
                nanos: 5,
            }),
            finished_at: None,
            miner_id: String::new(),
            ..completed()
        };
        assert_eq!(state(&job), "queued, position 3, about 11 s");
        assert!(job_text(&job).contains("none yet, 0 of 3 retries spent"));
        assert_eq!(
            about(&Duration {
                seconds: 125,
                nanos: 0
            }),
            "3 min"
        );
    }

    #[test]
    fn a_failed_job_says_why_and_each_attempt_too() {
        let failure = Some(Failure {
            reason: FailureReason::Stalled.into(),
            message: "no token for 60 s".into(),
        });
        let attempt = Attempt {
            attempt: 1,
            miner_name: "rig-1".into(),
            outcome: AttemptOutcome::Failed.into(),
            failure: failure.clone(),
            ..Default::default()
        };
        let job = Job {
            status: JobStatus::Failed.into(),
            attempts: vec![attempt],
            failure,
            ..completed()
        };
        let text = job_text(&job);
        assert!(
            text.contains("attempt 1 on rig-1 failed: no token for 60 s"),
            "{text}"
        );
        assert!(text.contains("ended +2.149 s"));
        let error = no_result(&job);
        assert_eq!(error.exit, ExitCode::NoResult);
        assert_eq!(error.message, "the job failed: no token for 60 s");
    }

    #[test]
    fn an_attempt_handed_back_says_no_more_than_that() {
        let attempt = Attempt {
            attempt: 1,
            miner_name: "rig-1".into(),
            outcome: AttemptOutcome::Returned.into(),
            failure: Some(Failure {
                reason: FailureReason::Returned.into(),
                message: String::new(),
            }),
            ..Default::default()
        };
        assert_eq!(
            failed_attempt(&attempt),
            "attempt 1 on rig-1 was handed back"
        );
    }

    #[test]
    fn a_submission_counts_its_miners() {
        let mut response = SubmitJobResponse {
            status: JobStatus::Queued.into(),
            queue_position: Some(1),
            matching_miners: 1,
            known_miners: 3,
            estimated_start: Some(Duration {
                seconds: 2,
                nanos: 0,
            }),
            ..Default::default()
        };
        assert_eq!(
            submitted_state(&response),
            "queued (position 1; 1 of 3 miners matches, starts in about 2 s)"
        );
        response.estimated_start = Some(Duration::default());
        assert!(submitted_state(&response).ends_with("matches, starts at once)"));
        response.estimated_start = None;
        response.matching_miners = 2;
        assert_eq!(
            submitted_state(&response),
            "queued (position 1; 2 of 3 miners match)"
        );
        (response.matching_miners, response.known_miners) = (0, 0);
        assert_eq!(
            submitted_state(&response),
            "queued (position 1; no miner is known yet)"
        );
    }

    #[test]
    fn miners_that_are_away_are_not_said_to_be_unfit() {
        let said = |known, away| none_matches(known, away);
        assert_eq!(said(1, 1), "1 known miner, away");
        assert_eq!(said(1, 0), "the one known miner does not match");
        assert_eq!(said(3, 3), "3 known miners, all away");
        assert!(said(3, 2).ends_with("2 would but are away"));
        assert_eq!(said(3, 0), "none of 3 known miners matches");
    }
}
