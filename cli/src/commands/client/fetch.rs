//! Fetching a result: proof, output, result document.

use aitbc_common::hash::Sha256Stream;
use aitbc_common::limits::{OUTPUT_BYTES, RESULT_BYTES};
use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::verify::{Delivered, Trust, verify_proof};
use aitbc_proto::v1::get_result_response::Part;
use aitbc_proto::v1::{GetResultRequest, ResultHeader};
use tonic::Status;

use super::delivery::{
    Delivery, check_model_name, missing_proof, other_job, proof_failed, proof_parts,
};
use crate::retries::{TRIES, is_away, pauses};

/// Everything that one GetResult brought.
#[derive(Debug, Default)]
struct Parts {
    header: Option<ResultHeader>,
    output: Vec<u8>,
    result: Vec<u8>,
}

/// Fetches a completed job's result and checks it against its proof and what the user knows (`trust`, asked for only
/// when there is a result).
pub async fn delivery(
    connection: &Connection,
    job_id: &str,
    trust: impl FnOnce() -> Result<Trust, CommandError>,
) -> Result<Delivery, CommandError> {
    let parts = fetch(connection, job_id, 0).await?;
    let trust = trust()?;
    let Some(ResultHeader {
        job: Some(job),
        proof: Some(proof),
        ..
    }) = parts.header
    else {
        return Err(missing_proof());
    };
    if job.job_id != job_id {
        return Err(other_job(job_id, &job.job_id));
    }
    let mut hash = Sha256Stream::default();
    hash.update(&parts.output);
    let delivered = Delivered {
        output: &hash,
        result: &parts.result,
    };
    let verified = verify_proof(&trust, &proof_parts(&proof), delivered)
        .and_then(|verified| check_model_name(&verified, &proof).map(|()| verified))
        .map_err(|error| proof_failed(&error))?;
    Ok(Delivery {
        job,
        proof,
        verified,
        output: parts.output,
    })
}

/// Fetches a completed job's result document alone; `output_bytes` of output are skipped.
pub async fn result_document(
    connection: &Connection,
    job_id: &str,
    output_bytes: u64,
) -> Result<Vec<u8>, CommandError> {
    Ok(fetch(connection, job_id, output_bytes).await?.result)
}

async fn fetch(
    connection: &Connection,
    job_id: &str,
    output_offset: u64,
) -> Result<Parts, CommandError> {
    let mut pauses = pauses();
    let mut tries = 0;
    loop {
        tries += 1;
        let request = GetResultRequest {
            job_id: job_id.to_owned(),
            output_offset,
        };
        match read(connection, request).await {
            Ok(parts) => return Ok(parts),
            Err(Failure::Call(status)) if is_away(&status) && tries < TRIES => pauses.wait().await,
            Err(Failure::Call(status)) => return Err(status.into()),
            Err(Failure::TooLarge(what)) => {
                let message = format!("the coordinator sent more {what} than a job can have");
                return Err(CommandError::new(
                    ExitCode::ProofFailed,
                    "PROOF_OUTPUT_DIFFERS",
                    message,
                )
                .with_hint("do not use this result"));
            }
        }
    }
}

enum Failure {
    Call(Status),
    TooLarge(&'static str),
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Call(status)
    }
}

async fn read(connection: &Connection, request: GetResultRequest) -> Result<Parts, Failure> {
    let mut stream = connection.jobs().get_result(request).await?.into_inner();
    let mut parts = Parts::default();
    while let Some(message) = stream.message().await? {
        match message.part {
            Some(Part::Header(header)) => parts.header = Some(header),
            Some(Part::Output(bytes)) => append(&mut parts.output, &bytes, OUTPUT_BYTES, "output")?,
            Some(Part::Result(bytes)) => append(&mut parts.result, &bytes, RESULT_BYTES, "result")?,
            None => {}
        }
    }
    Ok(parts)
}

fn append(to: &mut Vec<u8>, bytes: &[u8], bound: u64, what: &'static str) -> Result<(), Failure> {
    if (to.len() + bytes.len()) as u64 > bound {
        return Err(Failure::TooLarge(what));
    }
    to.extend_from_slice(bytes);
    Ok(())
}
