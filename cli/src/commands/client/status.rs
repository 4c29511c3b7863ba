//! `aitbc client status`: where a job stands.

use aitbc_common::ids::JobId;
use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::runtime::terminal::print_line;
use aitbc_common::token::Scope;
use aitbc_proto::v1::{GetJobRequest, Job, JobStatus};
use clap::Args;

use super::delivery::other_job;
use super::follow::{Followed, Target, Watcher, follow};
use super::submission::about;
use super::watchers::{JsonLines, StatusLines};
use super::{job_text, records};
use crate::context::Context;
use crate::interrupt::Interrupt;
use crate::output::job::job_json;
use crate::retries::with_retries;
use crate::values::JobSelector;

const EXAMPLES: &str = "\
Examples:
  aitbc client status last
  aitbc client status job_01m83xj880emq8k9w39qsaekf4 --json
  aitbc client status last --watch";

/// Which job.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Its id, or last for your newest
    #[arg(value_name = "JOB_ID")]
    job: JobSelector,
    /// Follow it until it ends
    #[arg(long)]
    watch: bool,
}

/// Asks and prints.
pub async fn run(context: &Context, arguments: Arguments) -> Result<(), CommandError> {
    let scope = if arguments.watch {
        Scope::Client
    } else {
        Scope::Read
    };
    let connection = context.connect(scope).await?;
    let job = get(&connection, &arguments.job).await?;
    if !arguments.watch {
        return context.result(&job_json(&job), job_text::job_text(&job));
    }
    if is_final(&job) {
        return print_end(context, &job);
    }
    let trust = records::trust(context, &connection, id_of(&job)?)?;
    let target = Target {
        job_id: job.job_id.clone(),
        trust,
        interrupt: Interrupt::listen(false),
    };
    let (mut lines, mut json_lines) = (StatusLines::default(), JsonLines::new(false));
    let watcher: &mut (dyn Watcher + Send) = if context.json {
        &mut json_lines
    } else {
        &mut lines
    };
    let job = match follow(&connection, target, watcher).await? {
        Followed::Completed(delivery) => delivery.job,
        Followed::Ended(job) => *job,
    };
    if context.json {
        Ok(())
    } else {
        print_end(context, &job)
    }
}

fn print_end(context: &Context, job: &Job) -> Result<(), CommandError> {
    if context.json {
        return print_line(super::watchers::event("status", job_json(job)));
    }
    context.result(&job_json(job), job_text::job_text(job))
}

/// The job as it is now; where an id was asked for, the job with that id.
pub async fn get(connection: &Connection, job: &JobSelector) -> Result<Job, CommandError> {
    let request = GetJobRequest {
        job_id: job.to_string(),
    };
    let answer = with_retries(connection.jobs(), request, |mut jobs, request| async move {
        jobs.get_job(request).await
    })
    .await
    .map_err(about(job))?;
    let found = answer.job.ok_or_else(|| empty_answer("a job"))?;
    check_asked(job, &found.job_id)?;
    Ok(found)
}

/// Whether the job that an answer is about is the one that was asked for; exit code 8 where it is not.
pub fn check_asked(asked: &JobSelector, answered: &str) -> Result<(), CommandError> {
    match asked {
        JobSelector::Id(id) if answered.parse::<JobId>().ok() != Some(*id) => {
            Err(other_job(id, answered))
        }
        JobSelector::Id(_) | JobSelector::Last => Ok(()),
    }
}

/// An answer without what it should carry.
pub fn empty_answer(what: &str) -> CommandError {
    use aitbc_common::runtime::errors::ExitCode;
    CommandError::new(
        ExitCode::Failed,
        "INTERNAL",
        format!("the coordinator answered without {what}"),
    )
    .with_hint("the versions of this command and the coordinator may not fit together")
}

/// The job's id as the coordinator gives it.
pub fn id_of(job: &Job) -> Result<JobId, CommandError> {
    job.job_id.parse().map_err(|_| empty_answer("a job's id"))
}

/// Whether nothing more happens to it.
pub fn is_final(job: &Job) -> bool {
    matches!(
        job.status(),
        JobStatus::Completed | JobStatus::Failed | JobStatus::Cancelled | JobStatus::Expired
    )
}
