//! `aitbc client delete`: delete a finished job's content.

use aitbc_common::runtime::errors::CommandError;
use aitbc_common::token::Scope;
use aitbc_proto::v1::DeleteJobRequest;
use clap::Args;
use serde_json::json;

use super::status::check_asked;
use super::submission::{about, with_retries};
use crate::context::Context;
use crate::values::JobSelector;

const EXAMPLES: &str = "\
Examples:
  aitbc client delete job_01m83xj880emq8k9w39qsaekf4
  aitbc client delete last --json

Input, output and result are deleted; hashes and the receipt stay.";

/// Which job.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Its id, or last for your newest
    #[arg(value_name = "JOB_ID")]
    job: JobSelector,
}

/// Deletes and says so.
pub async fn run(context: &Context, arguments: Arguments) -> Result<(), CommandError> {
    let connection = context.connect(Scope::Client).await?;
    let request = DeleteJobRequest {
        job_id: arguments.job.to_string(),
    };
    let jobs = connection.jobs();
    let answer = with_retries(|| {
        let (mut jobs, request) = (jobs.clone(), request.clone());
        async move { jobs.delete_job(request).await }
    })
    .await
    .map_err(about(&arguments.job))?;
    check_asked(&arguments.job, &answer.job_id)?;
    let text = format!(
        "{}: input, output and result are deleted; the receipt stays",
        answer.job_id
    );
    context.result(&json!({"job_id": answer.job_id, "deleted": true}), text)
}
