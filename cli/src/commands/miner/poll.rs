//! `aitbc miner poll`: take one job to work it by hand.

use std::time::{Duration, Instant};

use aitbc_common::names::DEFAULT_TAG;
use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::runtime::terminal::clock_s;
use aitbc_proto::v1::{PollJobRequest, PolledJob as PolledAnswer};
use clap::Args;
use serde_json::{Value, json};

use super::polled::{OpenPoll, PolledJob, PolledJobs};
use super::{OwnMiner, incomplete};
use crate::commands::client::new_job::random_request_id;
use crate::context::Context;
use crate::interrupt::{Interrupt, interrupted};
use crate::output::json::{duration_for_request, enum_value, text_of, time, timestamp_ms};
use crate::output::short_id;
use crate::retries::with_retries;
use crate::values;

const EXAMPLES: &str = "\
Examples:
  aitbc miner poll
  aitbc miner poll --wait 5m --lease 30m
  aitbc miner complete last --output answer.txt";

/// The longest that one request may wait.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// How to poll.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Wait for a job: until one comes, or for this long
    #[arg(long, value_name = "DURATION", num_args = 0..=1, value_parser = values::duration)]
    wait: Option<Option<Duration>>,
    /// How long the job is yours, 10 s to 1 hour [default: 10m]
    #[arg(long, value_name = "DURATION", value_parser = values::lease, allow_hyphen_values = true)]
    lease: Option<Duration>,
    #[command(flatten)]
    own: OwnMiner,
}

/// Takes a job, keeps its assignment and prints it.
pub async fn run(context: &Context, arguments: Arguments) -> Result<(), CommandError> {
    let connection = arguments.own.connect(context).await?;
    let jobs = PolledJobs::of(context, &arguments.own.name(context)?);
    let mut request = jobs.take_poll().unwrap_or_else(|| arguments.new_poll());
    let polling = poll(&connection, &arguments, &mut request);
    let mut interrupt = Interrupt::listen(false);
    let answer = tokio::select! {
        answer = polling => answer,
        () = interrupt.received() => {
            Err(interrupted("stopped waiting for a job"))
        }
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            // The coordinator may have given a job all the same: the next poll fetches it.
            if matches!(error.exit, ExitCode::Unreachable | ExitCode::Interrupted) {
                jobs.keep_poll(&request)?;
            }
            return Err(arguments.own.explain(context, error));
        }
    };
    let Some(answer) = answer else {
        return context.result(
            &json!({"job": null, "message": "no jobs in queue"}),
            "no jobs in queue",
        );
    };
    let assign = answer
        .assign
        .as_ref()
        .ok_or_else(|| incomplete("the assignment"))?;
    let job = PolledJob::from_assign(assign, answer.r#type(), &connection)?;
    jobs.save(&job)?;
    // Only a line for people needs it; the job is taken either way.
    let miner_id = match arguments.own.get(context, &connection).await {
        Ok(miner) => miner.miner_id,
        Err(_) => "you".to_owned(),
    };
    context.result(&document(&answer, &assign.input), text(&answer, &miner_id))?;
    context.next(format_args!(
        "aitbc miner complete {} --output FILE",
        assign.job_id
    ));
    Ok(())
}

impl Arguments {
    fn new_poll(&self) -> OpenPoll {
        OpenPoll {
            request_id: random_request_id(),
            lease_ms: self
                .lease
                .map(|lease| u64::try_from(lease.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

/// Polls until there is a job or the time is over; `open` may be an earlier command's poll.
async fn poll(
    connection: &Connection,
    arguments: &Arguments,
    open: &mut OpenPoll,
) -> Result<Option<PolledAnswer>, CommandError> {
    let start = Instant::now();
    let mut renewed = false;
    loop {
        let left = match arguments.wait {
            None => Duration::ZERO,
            Some(None) => LONGEST_WAIT,
            Some(Some(wait)) => whole_ms(wait.saturating_sub(start.elapsed())),
        };
        let request = PollJobRequest {
            lease: open
                .lease_ms
                .map(|lease| duration_for_request(Duration::from_millis(lease))),
            wait: (!left.is_zero()).then(|| duration_for_request(left.min(LONGEST_WAIT))),
            request_id: open.request_id.clone(),
        };
        let answer = with_retries(
            connection.miners(),
            request,
            |mut miners, request| async move { miners.poll_job(request).await },
        );
        match answer.await {
            Ok(answer) if answer.job.is_some() || left.is_zero() => return Ok(answer.job),
            Ok(_) => {}
            // The job of an earlier command's poll is not this miner's any more.
            Err(error) if error.reason == "STALE_ATTEMPT" && !renewed => {
                *open = arguments.new_poll();
                renewed = true;
            }
            Err(error) => return Err(error),
        }
    }
}

fn whole_ms(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// The model's name as people write it: without the tag that is understood.
fn model_name(canonical: &str) -> &str {
    canonical
        .strip_suffix(DEFAULT_TAG)
        .and_then(|name| name.strip_suffix(':'))
        .unwrap_or(canonical)
}

fn type_name(answer: &PolledAnswer) -> Value {
    enum_value!(JobType, "JOB_TYPE_", answer.r#type)
}

fn document(answer: &PolledAnswer, input: &[u8]) -> Value {
    let assign = answer.assign.clone().unwrap_or_default();
    let payload = serde_json::from_slice(input)
        .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(input)));
    json!({"job": {
        "job_id": assign.job_id,
        "status": "processing",
        "type": type_name(answer),
        "model": model_name(&assign.model),
        "payload": payload,
        "attempt": assign.attempt,
        "lease_until": time(answer.lease_until.as_ref()),
    }})
}

fn text(answer: &PolledAnswer, miner_id: &str) -> String {
    let assign = answer.assign.clone().unwrap_or_default();
    let until = answer
        .lease_until
        .as_ref()
        .map_or_else(|| "–".to_owned(), |time| clock_s(timestamp_ms(time)));
    format!(
        "{}  processing by {}, attempt {}, yours until {until}\n  type  {}   model  {}   payload  {}",
        assign.job_id,
        short_id(miner_id),
        assign.attempt,
        text_of(&type_name(answer)),
        model_name(&assign.model),
        String::from_utf8_lossy(&assign.input),
    )
}

#[cfg(test)]
mod tests {
    use aitbc_proto::v1::{Assign, JobType};
    use prost_types::Timestamp;

    use super::*;

    fn answer(input: &'static [u8]) -> PolledAnswer {
        let assign = Assign {
            job_id: "job_01m83xj880emq8k9w39qsaekf4".into(),
            attempt: 1,
            model: "llama3:latest".into(),
            input: input.into(),
            ..Default::default()
        };
        PolledAnswer {
            assign: Some(assign),
            r#type: JobType::Inference.into(),
            lease_until: Some(Timestamp {
                seconds: 1_795_428_600,
                nanos: 0,
            }),
        }
    }

    #[test]
    fn a_polled_job_reads_as_its_sample() {
        let input = br#"{"prompt":"Hello AITBC"}"#;
        assert_eq!(
            text(&answer(input), "miner_01m83xj880es8r65rzyjka792g"),
            "job_01m83xj880emq8k9w39qsaekf4  processing by miner_01m8…792g, attempt 1, yours until 10:10:00Z\n  \
             type  inference   model  llama3   payload  {\"prompt\":\"Hello AITBC\"}"
        );
        assert_eq!(
            document(&answer(input), input).to_string(),
            r#"{"job":{"job_id":"job_01m83xj880emq8k9w39qsaekf4","status":"processing","type":"inference","model":"llama3","payload":{"prompt":"Hello AITBC"},"attempt":1,"lease_until":"2026-11-23T10:10:00.000Z"}}"#
        );
    }

    #[test]
    fn odd_models_and_payloads_are_shown_as_they_are() {
        assert_eq!(model_name("llama3:8b"), "llama3:8b");
        assert_eq!(model_name("mylatest"), "mylatest");
        assert_eq!(
            document(&answer(b"\xff{"), b"\xff{")["job"]["payload"],
            "\u{fffd}{"
        );
    }
}
