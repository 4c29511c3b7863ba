//! Submitting: once, however often the network fails, and never without keeping what was asked for.

use aitbc_common::ids::JobId;
use aitbc_common::layouts::JobSpec;
use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::runtime::{random_bytes, unix_ms};
use aitbc_common::verify::{JobRecord, Trust};
use aitbc_proto::v1::SubmitJobResponse;

use super::new_job::{NewJob, random_request_id};
use super::records;
use crate::context::Context;
use crate::retries::with_retries;

/// A job that the coordinator accepted, and that is the one that was sent.
#[derive(Debug, Clone)]
pub struct Submitted {
    /// What the coordinator answered.
    pub response: SubmitJobResponse,
    /// What the user knows of the job.
    pub trust: Trust,
}

/// Puts the job's id into hints that speak of `JOB_ID`.
pub fn about(job: impl std::fmt::Display) -> impl Fn(CommandError) -> CommandError {
    let job = job.to_string();
    move |mut error| {
        error.hint = error.hint.map(|hint| hint.replace("JOB_ID", &job));
        error
    }
}

/// Submits a job. What was asked for is on disk before it is sent, and under the job's id afterwards.
pub async fn submit(
    context: &Context,
    connection: &Connection,
    job: &NewJob,
) -> Result<Submitted, CommandError> {
    let now_ms = unix_ms();
    let request_id = job.request_id.clone().unwrap_or_else(random_request_id);
    let mut spec = job.layout(connection, random_bytes());
    if job.request_id.is_some()
        && let Some(salt) = records::earlier_salt(&context.home, &request_id, &spec, now_ms)
    {
        spec.salt = salt;
    }
    let record = JobRecord::new(&spec, connection.service_key(), &request_id, now_ms);
    records::keep_request(&context.home, &record)?;

    let request = job.request(spec.salt, &request_id);
    let sent = with_retries(connection.jobs(), request, |mut jobs, request| async move {
        jobs.submit_job(request).await
    })
    .await;
    let response = match sent {
        Ok(response) => response,
        Err(error) => {
            // Where it may have arrived, the record stays; a refused request made no job.
            if !error.retryable && job.request_id.is_none() {
                records::forget_request(&context.home, &request_id);
            }
            return Err(error);
        }
    };
    context.done(format_args!("{} is submitted", response.job_id));
    let trust = accept(context, connection, &response, spec, &record)?;
    match job.request_id {
        Some(_) => records::replace_request(&context.home, &record)?,
        None => records::forget_request(&context.home, &request_id),
    }
    Ok(Submitted { response, trust })
}

/// Compares the coordinator's answer with what was sent, and keeps the job under its id.
pub fn accept(
    context: &Context,
    connection: &Connection,
    response: &SubmitJobResponse,
    spec: JobSpec,
    record: &JobRecord,
) -> Result<Trust, CommandError> {
    let job_id: JobId = response.job_id.parse().map_err(|_| {
        CommandError::new(
            ExitCode::Failed,
            "INTERNAL",
            format!(
                "the coordinator answered with {:?} instead of a job's id",
                response.job_id
            ),
        )
        .with_hint("the versions of this command and the coordinator may not fit together")
    })?;
    if response.job_ref[..] != spec.job_ref() {
        return Err(CommandError::new(
            ExitCode::ProofFailed,
            "PROOF_WRONG_SPEC",
            format!(
                "the coordinator understood another job than the one that was sent (as {job_id})"
            ),
        )
        .with_hint(format!(
            "do not use its result; cancel it with: aitbc client cancel {job_id}"
        )));
    }
    records::keep_job(&context.home, &job_id, record)?;
    Ok(Trust {
        chain_id: *connection.chain_id(),
        service_key: *connection.service_key(),
        owner: connection.identity.public(),
        job_id: Some(job_id),
        spec: Some(spec),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_name_the_job() {
        let error = CommandError::usage("x").with_hint("wait: aitbc client result JOB_ID --wait");
        assert_eq!(
            about("last")(error).hint.unwrap(),
            "wait: aitbc client result last --wait"
        );
    }
}
