//! `aitbc client delete`: delete a finished job's content.

use aitbc_common::runtime::errors::CommandError;
use aitbc_common::token::Scope;
use aitbc_proto::v1::DeleteJobRequest;
use serde_json::json;

use super::OneJob;
use super::status::check_asked;
use super::submission::about;
use crate::context::Context;
use crate::retries::with_retries;

pub const EXAMPLES: &str = "\
Examples:
  aitbc client delete job_01m83xj880emq8k9w39qsaekf4
  aitbc client delete last --json

Input, output and result are deleted; hashes stay, and the receipt if there is one.";

/// Deletes and says so.
pub async fn run(context: &Context, arguments: OneJob) -> Result<(), CommandError> {
    let connection = context.connect(Scope::Client).await?;
    let request = DeleteJobRequest {
        job_id: arguments.job.to_string(),
    };
    let answer = with_retries(connection.jobs(), request, |mut jobs, request| async move {
        jobs.delete_job(request).await
    })
    .await
    .map_err(about(&arguments.job))?;
    check_asked(&arguments.job, &answer.job_id)?;
    let text = format!(
        "{}: input, output and result are deleted; hashes stay, and the receipt if there is one",
        answer.job_id
    );
    context.result(&json!({"job_id": answer.job_id, "deleted": true}), text)
}
