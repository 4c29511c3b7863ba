//! `aitbc miner complete`: deliver a polled job's output with a signed receipt.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use aitbc_common::hash::{Hash, sha256};
use aitbc_common::identity::Identity;
use aitbc_common::layouts::{Assignment, JobSpec, MANUAL_ENGINE, Outcome, Receipt};
use aitbc_common::limits::{CHUNK_BYTES, OUTPUT_BYTES};
use aitbc_common::result_document::{FinishReason, ResultDocument, Usage};
use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::runtime::ledger::VerifiedLedger;
use aitbc_common::runtime::unix_ms;
use aitbc_proto::v1::complete_job_request::Part;
use aitbc_proto::v1::{Complete, CompleteJobRequest, JobType};
use bytes::Bytes;
use clap::Args;
use serde_json::json;
use serde_json::value::RawValue;

use super::OwnMiner;
use super::polled::{PolledJob, PolledJobs};
use crate::context::Context;
use crate::output::json::{enum_value, hex_or_null, seconds_of_ms, text_of};
use crate::values::JobSelector;

const EXAMPLES: &str = "\
Examples:
  aitbc miner complete last --output answer.txt
  echo -n \"Hello!\" | aitbc miner complete job_01m83xj880emq8k9w39qsaekf4 --output -

An embedding job's output is a JSON list of lists of numbers.";

/// Answers after which a delivery certainly was not recorded, so that another output may be signed.
const REFUSED: [&str; 4] = [
    "RECEIPT_INVALID",
    "INVALID_FIELD",
    "INVALID_INPUT",
    "TOO_LARGE",
];

/// Refused receipts of one attempt, at most.
const MOST_REFUSED: usize = 16;

/// Which job, and its output.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// A job that was polled here, or "last"
    job: JobSelector,
    /// File with the output, exactly these bytes (UTF-8, at most 16 MiB); "-" reads stdin
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    own: OwnMiner,
}

/// Builds result and receipt, delivers them and forgets the job.
pub async fn run(context: &Context, arguments: Arguments) -> Result<(), CommandError> {
    let jobs = PolledJobs::of(context, &arguments.own.name(context)?);
    let mut job = jobs.load(arguments.job)?;
    let content = read_output(&arguments.output)?;
    let connection = arguments.own.connect(context).await?;
    if job.work_ms.is_none() {
        job.work_ms = Some(unix_ms().saturating_sub(job.polled_ms));
        job.seen = seen(context, &connection).await?;
        jobs.save(&job)?;
    }
    let delivery = Delivery::build(&job, content, &connection.identity)?;
    sign_once(&jobs, &mut job, &delivery.receipt)?;
    let work_ms = delivery.receipt.work_ms;
    let receipt_id = delivery.receipt.id(&delivery.signature);
    let parts = tokio_stream::iter(delivery.into_parts(&job));
    let answer = connection.miners().complete_job(parts).await;
    let answer = match answer {
        Ok(answer) => answer.into_inner(),
        Err(status) => {
            let error = jobs.explain(&job.job_id, status);
            if REFUSED.contains(&error.reason.as_str()) {
                job.refused.extend(job.receipt.take());
                jobs.save(&job)?;
            }
            return Err(error);
        }
    };
    jobs.remove(&job.job_id);
    let status = enum_value!(JobStatus, "JOB_STATUS_", answer.status);
    let document = json!({
        "job_id": job.job_id,
        "attempt": job.attempt,
        "status": status,
        "work_seconds": seconds_of_ms(work_ms),
        "receipt_id": hex_or_null(&receipt_id),
    });
    let text = format!(
        "{}  {}, attempt {}, receipt signed",
        job.job_id,
        text_of(&status),
        job.attempt
    );
    context.result(&document, text)
}

/// The ledger's newest checkpoint, for the receipt; none where there is no ledger to ask.
async fn seen(
    context: &Context,
    connection: &Connection,
) -> Result<Option<(u64, String)>, CommandError> {
    let mut ledger = VerifiedLedger::open(connection, &context.home)?;
    match ledger.checkpoint().await {
        Ok((checkpoint, _)) => Ok(Some((
            checkpoint.head.size,
            hex::encode(checkpoint.head.root),
        ))),
        Err(error) if error.exit == ExitCode::ProofFailed => Err(error),
        Err(_) => Ok(None),
    }
}

/// Whether a receipt that was signed before and this one give the same number of bytes different hashes.
fn contradicts(old: &str, new: &Receipt) -> bool {
    let old = hex::decode(old).ok();
    let old = old.and_then(|bytes| Receipt::decode(&bytes).ok());
    // What cannot be read may have said anything.
    old.is_none_or(|old| old.output_len == new.output_len && old.output_hash != new.output_hash)
}

/// Keeps the receipt before it is sent. Its answer may get lost: the job may then be completed with this receipt, and no
/// other one may exist.
fn sign_once(
    jobs: &PolledJobs,
    job: &mut PolledJob,
    receipt: &Receipt,
) -> Result<(), CommandError> {
    let new = hex::encode(receipt.encode());
    if job.refused.iter().any(|old| contradicts(old, receipt)) || job.refused.len() >= MOST_REFUSED
    {
        return Err(CommandError::new(
            ExitCode::Usage,
            "RECEIPT_SIGNED",
            format!(
                "a receipt for another output of {} was signed already; with two that differ a miner loses its stake",
                job.job_id
            ),
        )
        .with_hint(format!(
            "give the job up: aitbc miner fail {}",
            job.job_id
        )));
    }
    match &job.receipt {
        Some(signed) if *signed == new => Ok(()),
        Some(_) => Err(CommandError::new(
            ExitCode::Usage,
            "RECEIPT_SIGNED",
            format!(
                "a receipt for another output of {} was signed already, and may have arrived",
                job.job_id
            ),
        )
        .with_hint("deliver the output of the first time again: --output FILE")),
        None => {
            job.receipt = Some(new);
            jobs.save(job)
        }
    }
}

fn read_output(path: &PathBuf) -> Result<Vec<u8>, CommandError> {
    let mut content = Vec::new();
    let read = if path.as_os_str() == "-" {
        io::stdin()
            .lock()
            .take(OUTPUT_BYTES + 1)
            .read_to_end(&mut content)
    } else {
        File::open(path).and_then(|file| file.take(OUTPUT_BYTES + 1).read_to_end(&mut content))
    };
    read.map_err(|error| {
        CommandError::file(format_args!("read {}", path.display()), &error)
            .with_hint("check the path of --output")
    })?;
    if content.len() as u64 > OUTPUT_BYTES {
        return Err(CommandError::new(
            ExitCode::Usage,
            "TOO_LARGE",
            format!("the output has more than {OUTPUT_BYTES} bytes"),
        )
        .with_hint("an output may have 16 MiB"));
    }
    Ok(content)
}

/// What is handed in for a job.
#[derive(Debug)]
struct Delivery {
    output: Vec<u8>,
    result: Vec<u8>,
    receipt: Receipt,
    signature: [u8; 64],
}

impl Delivery {
    fn build(job: &PolledJob, content: Vec<u8>, miner: &Identity) -> Result<Self, CommandError> {
        let (spec, assignment, assignment_signature) = promises(job).ok_or_else(|| {
            CommandError::new(
                ExitCode::Failed,
                "POLLED_JOB_DAMAGED",
                format!("what was kept of {} is damaged", job.job_id),
            )
            .with_hint("poll the job again once its lease has ended")
        })?;
        let (output, document) = document(job, content)?;
        let result = document.to_bytes();
        let (seen_size, seen_root) = seen_in(job).unwrap_or_default();
        let receipt = Receipt {
            outcome: Outcome::Complete,
            attempt: assignment.attempt,
            chain_id: assignment.chain_id,
            job_id: assignment.job_id,
            job_ref: assignment.job_ref,
            assignment_hash: assignment.id(&assignment_signature),
            miner_key: miner.public(),
            payee: assignment.payee,
            model_name_hash: spec.model_name_hash,
            model_digest: spec.model_digest,
            engine_hash: sha256(MANUAL_ENGINE.as_bytes()),
            output_len: output.len() as u64,
            output_hash: sha256(&output),
            result_hash: sha256(&result),
            tokens_in: 0,
            tokens_out: 0,
            work_ms: job.work_ms.unwrap_or_default(),
            seen_size,
            seen_root,
        };
        let signature = receipt.sign(miner);
        Ok(Self {
            output,
            result,
            receipt,
            signature,
        })
    }

    fn into_parts(self, job: &PolledJob) -> Vec<CompleteJobRequest> {
        let complete = Complete {
            job_id: job.job_id.clone(),
            attempt: job.attempt,
            receipt: self.receipt.encode().into(),
            signature: self.signature.to_vec().into(),
            served_model: job.model.clone(),
            engine: MANUAL_ENGINE.to_owned(),
        };
        let output = chunks(self.output.into()).map(Part::Output);
        let result = chunks(self.result.into()).map(Part::Result);
        let parts = std::iter::once(Part::Complete(complete))
            .chain(output)
            .chain(result);
        parts
            .map(|part| CompleteJobRequest { part: Some(part) })
            .collect()
    }
}

fn chunks(mut bytes: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        (!bytes.is_empty()).then(|| bytes.split_to(bytes.len().min(CHUNK_BYTES)))
    })
}

fn seen_in(job: &PolledJob) -> Option<(u64, Hash)> {
    let (size, root) = job.seen.as_ref()?;
    let mut hash = Hash::default();
    hex::decode_to_slice(root, &mut hash).ok()?;
    Some((*size, hash))
}

fn promises(job: &PolledJob) -> Option<(JobSpec, Assignment, Vec<u8>)> {
    let spec = JobSpec::decode(&hex::decode(&job.spec).ok()?).ok()?;
    let assignment = Assignment::decode(&hex::decode(&job.assignment).ok()?).ok()?;
    Some((
        spec,
        assignment,
        hex::decode(&job.assignment_signature).ok()?,
    ))
}

/// The bytes that stream as output, and the result document.
fn document(job: &PolledJob, content: Vec<u8>) -> Result<(Vec<u8>, ResultDocument), CommandError> {
    let refuse = |what: String, hint: &str| {
        CommandError::new(ExitCode::Usage, "INVALID_OUTPUT", what).with_hint(hint)
    };
    let text = String::from_utf8(content).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        refuse(
            format!("the output is not UTF-8: byte {at} does not fit"),
            "give text, or encode bytes as base64 first",
        )
    })?;
    let usage = Usage {
        input_tokens: 0,
        output_tokens: 0,
    };
    let mut document = ResultDocument {
        content: None,
        thinking: None,
        tool_calls: None,
        embeddings: None,
        finish_reason: FinishReason::Stop,
        usage,
    };
    if job.job_type != i32::from(JobType::Embedding) {
        document.content = Some(text.clone());
        return Ok((text.into_bytes(), document));
    }
    let hint = "an embedding job's output is a JSON list of lists of numbers, one for each text";
    serde_json::from_str::<Vec<Vec<f64>>>(&text)
        .map_err(|error| refuse(format!("the output is no list of vectors: {error}"), hint))?;
    let vectors: Box<RawValue> =
        serde_json::from_str(text.trim()).map_err(|error| refuse(error.to_string(), hint))?;
    document.embeddings = Some(vectors);
    Ok((Vec::new(), document))
}

#[cfg(test)]
mod tests;
