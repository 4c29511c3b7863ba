//! `aitbc miner extend`.

use std::time::Duration;

use aitbc_common::runtime::errors::CommandError;
use aitbc_common::runtime::terminal::clock_s;
use aitbc_proto::v1::ExtendLeaseRequest;
use clap::Args;
use serde_json::json;

use super::OwnMiner;
use super::polled::PolledJobs;
use crate::context::Context;
use crate::output::json::{duration_for_request, time, timestamp_ms};
use crate::values::{self, JobSelector};

const EXAMPLES: &str = "\
Examples:
  aitbc miner extend last
  aitbc miner extend job_01m83xj880emq8k9w39qsaekf4 --lease 1h";

/// Which job, and for how long.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// A job that was polled here, or "last"
    job: JobSelector,
    /// How long it is yours from now, 10 s to 1 hour [default: 10m]
    #[arg(long, value_name = "DURATION", value_parser = values::lease, allow_hyphen_values = true)]
    lease: Option<Duration>,
    #[command(flatten)]
    own: OwnMiner,
}

/// Asks the coordinator.
pub async fn run(context: &Context, arguments: Arguments) -> Result<(), CommandError> {
    let jobs = PolledJobs::of(context, &arguments.own.name(context)?);
    let job = jobs.load(arguments.job)?;
    let connection = arguments.own.connect(context).await?;
    let request = ExtendLeaseRequest {
        job_id: job.job_id.clone(),
        attempt: job.attempt,
        lease: arguments.lease.map(duration_for_request),
    };
    let answer = connection.miners().extend_lease(request).await;
    let lease_until = answer
        .map_err(|status| jobs.explain(&job.job_id, status))?
        .into_inner()
        .lease_until;
    let document = json!({"job_id": job.job_id, "attempt": job.attempt, "lease_until": time(lease_until.as_ref())});
    let until = lease_until
        .as_ref()
        .map_or_else(|| "–".to_owned(), |time| clock_s(timestamp_ms(time)));
    context.result(
        &document,
        format_args!(
            "{}  attempt {}, yours until {until}",
            job.job_id, job.attempt
        ),
    )
}
