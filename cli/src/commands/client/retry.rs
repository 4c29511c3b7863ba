//! `aitbc client retry`: a finished job once more, as a new job.

use aitbc_common::layouts::JobSpec;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::runtime::terminal::print_line;
use aitbc_common::runtime::{random_bytes, unix_ms};
use aitbc_common::token::Scope;
use aitbc_common::verify::JobRecord;
use aitbc_proto::v1::RetryJobRequest;
use clap::Args;

use super::new_job::random_request_id;
use super::show::{self, Telling};
use super::status::{empty_answer, get, id_of};
use super::submission::{Submitted, about, accept};
use super::watchers::event;
use super::{job_text, records, submit};
use crate::context::Context;
use crate::interrupt::Interrupt;
use crate::retries::with_retries;
use crate::values::JobSelector;

const EXAMPLES: &str = "\
Examples:
  aitbc client retry last
  aitbc client retry job_01m83xj880emq8k9w39qsaekf4 --watch";

/// Which job.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Its id, or last for your newest
    #[arg(value_name = "JOB_ID")]
    job: JobSelector,
    /// Follow the new job and print its output as it comes
    #[arg(long)]
    watch: bool,
    /// With --watch: Ctrl-C cancels the job instead of leaving it
    #[arg(long, requires = "watch")]
    cancel_on_interrupt: bool,
}

/// Submits a new job from the stored input of an old one.
pub async fn run(context: &Context, arguments: Arguments) -> Result<(), CommandError> {
    let connection = context.connect(Scope::Client).await?;
    let old = id_of(&get(&connection, &arguments.job).await?)?;
    if matches!(arguments.job, JobSelector::Last) {
        // Only the coordinator knows which one that is: the user is to see it.
        context.note(format_args!("once more: {old}"));
    }
    let (salt, request_id): ([u8; 32], String) = (random_bytes(), random_request_id());
    let request = RetryJobRequest {
        request_id: request_id.clone(),
        job_id: old.to_string(),
        salt: salt.to_vec().into(),
    };
    let answer = with_retries(connection.jobs(), request, |mut jobs, request| async move {
        jobs.retry_job(request).await
    })
    .await
    .map_err(about(old))?;
    let response = answer
        .submitted
        .ok_or_else(|| empty_answer("the new job"))?;

    let other_job = || {
        CommandError::new(
            ExitCode::ProofFailed,
            "PROOF_WRONG_SPEC",
            format!("{} does not ask for what {old} did", response.job_id),
        )
        .with_hint(format!(
            "do not use its result; cancel it with: aitbc client cancel {}",
            response.job_id
        ))
    };
    let spec = JobSpec::decode(&answer.spec).map_err(|_| other_job())?;
    let ours = spec.salt == salt
        && spec.owner == connection.identity.public()
        && spec.chain_id == *connection.chain_id();
    let known = records::read_job(&context.home, &old)?.and_then(|record| record.spec().ok());
    let same = known.is_none_or(|known| JobSpec { salt, ..known } == spec);
    if !ours || !same {
        return Err(other_job());
    }
    let record = JobRecord::new(&spec, connection.service_key(), &request_id, unix_ms());
    let trust = accept(context, &connection, &response, spec, &record)?;
    submit::warn(context, &response);
    if !arguments.watch {
        return submit::print(context, "Job submitted again", &response);
    }
    let interrupt = Interrupt::listen(arguments.cancel_on_interrupt);
    if context.json {
        print_line(event("submitted", submit::submitted_json(&response)))?;
    } else {
        context.note(format_args!(
            "{}  {}",
            response.job_id,
            job_text::submitted_state(&response)
        ));
    }
    let submitted = Submitted { response, trust };
    show::submitted(
        context,
        &connection,
        submitted,
        interrupt,
        Telling::Everything,
    )
    .await?;
    Ok(())
}
