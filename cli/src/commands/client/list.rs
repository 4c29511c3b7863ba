//! `aitbc client list`: your jobs.

use aitbc_common::money::MicroAit;
use aitbc_common::nearest::nearest;
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::runtime::terminal::rfc3339_ms;
use aitbc_common::token::Scope;
use aitbc_proto::v1::{Job, JobStatus, ListJobsRequest};
use clap::Args;
use serde_json::Value;

use super::job_text::{listed_payment, status_name};
use crate::arguments::Page;
use crate::context::Context;
use crate::output::job::job_json;
use crate::output::json::{page, timestamp_ms};
use crate::output::table;
use crate::retries::with_retries;

const EXAMPLES: &str = "\
Examples:
  aitbc client list
  aitbc client list --status queued,processing
  aitbc client list --json --page-size 1000";

const STATUSES: [(&str, JobStatus); 8] = [
    ("pending", JobStatus::Pending),
    ("funded", JobStatus::Funded),
    ("queued", JobStatus::Queued),
    ("processing", JobStatus::Processing),
    ("completed", JobStatus::Completed),
    ("failed", JobStatus::Failed),
    ("cancelled", JobStatus::Cancelled),
    ("expired", JobStatus::Expired),
];

/// Which of them.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Only jobs with this status; several with commas
    #[arg(long, value_name = "STATUS", value_delimiter = ',', value_parser = status)]
    status: Vec<JobStatus>,
    #[command(flatten)]
    page: Page<50>,
}

fn status(text: &str) -> Result<JobStatus, CommandError> {
    if let Some((_, status)) = STATUSES.iter().find(|(name, _)| *name == text) {
        return Ok(*status);
    }
    let names = STATUSES.map(|(name, _)| name);
    let hint = match nearest(text, names) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("there are: {}", names.join(", ")),
    };
    let shown: String = text.chars().take(40).collect();
    Err(CommandError::usage(format!("no job has the status {shown:?}")).with_hint(hint))
}

/// Asks and prints.
pub async fn run(context: &Context, arguments: Arguments) -> Result<(), CommandError> {
    let connection = context.connect(Scope::Read).await?;
    let request = ListJobsRequest {
        page_size: arguments.page.page_size,
        page_token: arguments.page.page_token,
        statuses: arguments
            .status
            .iter()
            .map(|status| *status as i32)
            .collect(),
    };
    let answer = with_retries(connection.jobs(), request, |mut jobs, request| async move {
        jobs.list_jobs(request).await
    })
    .await?;
    let document = page(
        "jobs",
        answer.jobs.iter().map(listed).collect(),
        &answer.next_page_token,
    );
    if answer.jobs.is_empty() {
        context.result(&document, "no jobs")?;
        context.next("aitbc client submit --type inference --model llama3 --prompt \"Hello\"");
        return Ok(());
    }
    let header = [
        "JOB",
        "STATUS",
        "TYPE",
        "MODEL",
        "MINER",
        "SUBMITTED",
        ">TOKENS",
        ">COST",
        "PAYMENT",
    ];
    context.result(
        &document,
        table::render(&header, answer.jobs.iter().map(row).collect()),
    )?;
    if !answer.next_page_token.is_empty() {
        context.next(format_args!(
            "aitbc client list --page-token {}",
            answer.next_page_token
        ));
    }
    Ok(())
}

/// A job of a list, which knows no attempts.
pub fn listed(job: &Job) -> Value {
    let mut document = job_json(job);
    document["attempts"] = Value::Null;
    document
}

fn row(job: &Job) -> Vec<String> {
    let unknown = || "–".to_owned();
    let named = |text: &str| {
        if text.is_empty() {
            unknown()
        } else {
            text.to_owned()
        }
    };
    vec![
        job.job_id.clone(),
        status_name(job.status),
        job.r#type()
            .as_str_name()
            .trim_start_matches("JOB_TYPE_")
            .to_lowercase(),
        job.model.clone(),
        named(&job.miner_name),
        job.created_at
            .as_ref()
            .map_or_else(unknown, |time| rfc3339_ms(timestamp_ms(time))),
        job.output_tokens
            .map_or_else(unknown, |tokens| tokens.to_string()),
        job.cost_micro_ait
            // A job that was stopped was paid for what it had, and has no cost of its own.
            .or(Some(job.paid_micro_ait).filter(|paid| *paid > 0))
            .map_or_else(unknown, |cost| format!("{} AIT", MicroAit(cost))),
        listed_payment(job),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listed_job_does_not_deny_its_attempts() {
        let job = Job {
            attempt: 2,
            ..Job::default()
        };
        assert_eq!(listed(&job)["attempts"], Value::Null);
        assert_eq!(listed(&job)["attempt"], 2);
    }

    #[test]
    fn statuses_have_names() {
        for (name, wanted) in STATUSES {
            assert_eq!(status(name).unwrap(), wanted);
            assert_eq!(status_name(wanted as i32), name);
        }
        assert!(
            status("compleeted")
                .unwrap_err()
                .hint
                .unwrap()
                .contains("completed")
        );
        assert!(status("").unwrap_err().hint.unwrap().contains("queued"));
    }
}
