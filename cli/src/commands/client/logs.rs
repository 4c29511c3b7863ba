//! `aitbc client logs`: what happened to a job.

use aitbc_common::runtime::errors::CommandError;
use aitbc_common::runtime::terminal::clock_ms;
use aitbc_common::token::Scope;
use aitbc_proto::v1::{JobLogEntry, ListJobEventsRequest};
use clap::Args;
use serde_json::{Value, json};

use super::submission::about;
use crate::context::Context;
use crate::output::json::{page, text_or_null, time, timestamp_ms};
use crate::retries::with_retries;
use crate::values::JobSelector;

const EXAMPLES: &str = "\
Examples:
  aitbc client logs last
  aitbc client logs job_01m83xj880emq8k9w39qsaekf4 --json";

/// Which job.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Its id, or last for your newest
    #[arg(value_name = "JOB_ID")]
    job: JobSelector,
    /// Steps on one page, 1 to 1,000
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    page_size: u32,
    /// The page after the one that gave this token
    #[arg(
        long,
        value_name = "TOKEN",
        default_value = "",
        hide_default_value = true
    )]
    page_token: String,
}

/// Asks and prints.
pub async fn run(context: &Context, arguments: Arguments) -> Result<(), CommandError> {
    let connection = context.connect(Scope::Read).await?;
    let request = ListJobEventsRequest {
        job_id: arguments.job.to_string(),
        page_size: arguments.page_size,
        page_token: arguments.page_token,
    };
    let answer = with_retries(connection.jobs(), request, |mut jobs, request| async move {
        jobs.list_job_events(request).await
    })
    .await
    .map_err(about(arguments.job))?;
    let document = page(
        "events",
        answer.events.iter().map(entry_json).collect(),
        &answer.next_page_token,
    );
    let lines: Vec<String> = answer.events.iter().map(line).collect();
    context.result(
        &document,
        if lines.is_empty() {
            "no events".to_owned()
        } else {
            lines.join("\n")
        },
    )?;
    if !answer.next_page_token.is_empty() {
        context.next(format_args!(
            "aitbc client logs {} --page-token {}",
            arguments.job, answer.next_page_token
        ));
    }
    Ok(())
}

fn entry_json(entry: &JobLogEntry) -> Value {
    json!({
        "time": time(entry.time.as_ref()),
        "event": entry.event,
        "attempt": if entry.attempt == 0 { Value::Null } else { entry.attempt.into() },
        "miner_id": text_or_null(&entry.miner_id),
        "miner_name": text_or_null(&entry.miner_name),
        "message": text_or_null(&entry.message),
    })
}

fn line(entry: &JobLogEntry) -> String {
    let at = entry
        .time
        .as_ref()
        .map_or_else(|| "–".to_owned(), |time| clock_ms(timestamp_ms(time)));
    let who = if entry.attempt == 0 {
        String::new()
    } else {
        format!("attempt {}, {}  ", entry.attempt, entry.miner_name)
    };
    format!("{at}  {:<12} {who}{}", entry.event, entry.message)
        .trim_end()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_names_attempt_and_miner() {
        let entry = JobLogEntry {
            time: Some(prost_types::Timestamp {
                seconds: 1_795_428_000,
                nanos: 0,
            }),
            event: "assigned".into(),
            attempt: 1,
            miner_name: "rig-1".into(),
            ..Default::default()
        };
        assert_eq!(line(&entry), "10:00:00.000Z  assigned     attempt 1, rig-1");
        assert_eq!(entry_json(&entry)["message"], Value::Null);
    }
}
