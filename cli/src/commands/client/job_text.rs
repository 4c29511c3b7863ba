//! Where a job stands, for people.

use std::fmt::Write as _;

use aitbc_common::layouts::MANUAL_ENGINE;
use aitbc_common::money::MicroAit;
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
        text.push_str(&lacks(job));
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
    text.push_str(&lacks(job));
    text
}

/// `, waits for 5 AIT more`, where that is so.
fn lacks(job: &Job) -> String {
    let more = if job.locked_micro_ait > job.returned_micro_ait {
        " more"
    } else {
        ""
    };
    job.missing_micro_ait.map_or_else(String::new, |missing| {
        format!(", waits for {} AIT{more}", MicroAit(missing))
    })
}

/// What a list says of a job's payment: `funded, lacks 5 AIT`.
pub fn listed_payment(job: &Job) -> String {
    let mut text = payment_name(job.payment_status);
    if let Some(missing) = job.missing_micro_ait {
        let _infallible = write!(text, ", lacks {} AIT", MicroAit(missing));
    }
    text
}

/// `queued (position 1; 1 of 3 miners matches, starts in about 2 s)`: a job that was just submitted.
pub fn submitted_state(response: &SubmitJobResponse) -> String {
    let mut details = String::new();
    if response.status() == JobStatus::Pending {
        match response.missing_micro_ait {
            Some(missing) => {
                let _infallible = write!(details, "waits for {} AIT; ", MicroAit(missing));
            }
            None => details.push_str("waits for its pay; "),
        }
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
    if !job.agent_id.is_empty() {
        let (agent, version) = (&job.agent_id, job.agent_version);
        let _infallible = write!(text, "\n  agent   {agent} v{version}");
    }
    if !job.retry_of.is_empty() {
        let _infallible = write!(text, "\n  retries {}", job.retry_of);
    }
    if job.audit_allowed {
        text.push_str("\n  audit   its work may be audited");
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
mod tests;
