//! `aitbc client cancel`: stop a job and its bill.

use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::token::Scope;
use aitbc_proto::v1::CancelJobRequest;
use serde_json::{Value, json};

use super::OneJob;
use super::job_text::status_name;
use super::status::{check_asked, empty_answer};
use super::submission::about;
use crate::context::Context;
use crate::retries::with_retries;
use crate::values::JobSelector;

pub const EXAMPLES: &str = "\
Examples:
  aitbc client cancel last
  aitbc client cancel job_01m83xj880emq8k9w39qsaekf4 --json";

/// Cancels and says what the job is now; no error if it had ended.
pub async fn run(context: &Context, arguments: OneJob) -> Result<(), CommandError> {
    let connection = context.connect(Scope::Client).await?;
    let (document, text) = cancel(&connection, &arguments.job).await?;
    context.result(&document, text)
}

/// Cancels; what the job is now, for programs and for people.
pub async fn cancel(
    connection: &Connection,
    job: &JobSelector,
) -> Result<(Value, String), CommandError> {
    let request = CancelJobRequest {
        job_id: job.to_string(),
    };
    let answer = with_retries(connection.jobs(), request, |mut jobs, request| async move {
        jobs.cancel_job(request).await
    })
    .await
    .map_err(about(job))?;
    let found = answer.job.ok_or_else(|| empty_answer("the job"))?;
    check_asked(job, &found.job_id)?;
    let status = status_name(found.status);
    let text = if answer.cancelled {
        format!("{} is cancelled", found.job_id)
    } else {
        format!("{} had ended already: {status}", found.job_id)
    };
    let document = json!({"job_id": found.job_id, "status": status, "cancelled": answer.cancelled});
    Ok((document, text))
}
