//! `aitbc miner fail`.

use aitbc_common::limits::FAILURE_MESSAGE_BYTES;
use aitbc_common::runtime::errors::CommandError;
use aitbc_proto::v1::{FailJobRequest, Failure, FailureReason};
use clap::Args;
use serde_json::json;

use super::OwnMiner;
use super::polled::PolledJobs;
use crate::context::Context;
use crate::output::json::{enum_value, text_of};
use crate::values::JobSelector;

const EXAMPLES: &str = "\
Examples:
  aitbc miner fail last --return
  aitbc miner fail job_01m83xj880emq8k9w39qsaekf4 --message \"out of disk\"

A failed job is tried elsewhere and one of its attempts is spent; a returned one spends none.";

/// Which job, and why.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// A job that was polled here, or "last"
    job: JobSelector,
    /// Hand it back: no attempt is spent, and you may get it again
    #[arg(long = "return")]
    give_back: bool,
    /// Why, for its owner; at most 1,024 bytes
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    message: String,
    #[command(flatten)]
    own: OwnMiner,
}

/// Tells the coordinator and forgets the job.
pub async fn run(context: &Context, arguments: Arguments) -> Result<(), CommandError> {
    if arguments.message.len() > FAILURE_MESSAGE_BYTES {
        let message = format!(
            "the message has {} bytes; {FAILURE_MESSAGE_BYTES} are allowed",
            arguments.message.len()
        );
        return Err(CommandError::usage(message).with_hint("say it in fewer words"));
    }
    let jobs = PolledJobs::of(context, &arguments.own.name(context)?);
    let job = jobs.load(arguments.job)?;
    let connection = arguments.own.connect(context).await?;
    let reason = if arguments.give_back {
        FailureReason::Returned
    } else {
        FailureReason::Operator
    };
    let request = FailJobRequest {
        job_id: job.job_id.clone(),
        attempt: job.attempt,
        failure: Some(Failure {
            reason: reason.into(),
            message: arguments.message,
        }),
    };
    let answer = connection.miners().fail_job(request).await;
    let answer = answer
        .map_err(|status| jobs.explain(&job.job_id, status))?
        .into_inner();
    jobs.remove(&job.job_id);
    let status = enum_value!(JobStatus, "JOB_STATUS_", answer.status);
    let document = json!({
        "job_id": job.job_id,
        "attempt": job.attempt,
        "returned": arguments.give_back,
        "status": status,
    });
    let what = if arguments.give_back {
        "handed back"
    } else {
        "given up"
    };
    context.result(
        &document,
        format_args!("{}  {what}, now {}", job.job_id, text_of(&status)),
    )
}
