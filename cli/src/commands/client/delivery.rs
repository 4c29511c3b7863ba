//! A result that checked, and how it is shown.

use std::borrow::Cow;
use std::io::Write as _;

use aitbc_common::job_input::JobType;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::runtime::terminal::{StreamEscaper, is_terminal_stdout, print_bytes};
use aitbc_common::verify::{ProofParts, Verified, VerifyError};
use aitbc_proto::v1::{ExecutionProof, Job};

use crate::agents::execution::Execution;

/// Characters of an unexpected id that an error shows, at most.
const SHOWN_ID_CHARS: usize = 40;

/// A completed job's result, checked against its proof.
#[derive(Debug)]
pub struct Delivery {
    /// The job.
    pub job: Job,
    /// The proof as it came.
    pub proof: ExecutionProof,
    /// The proof as it checked, with the result document.
    pub verified: Verified,
    /// The output, byte for byte.
    pub output: Vec<u8>,
}

impl Delivery {
    /// What the job was for: the output, an embedding job's vectors as JSON, or an execution's answer.
    pub fn content(&self) -> Cow<'_, [u8]> {
        if let Some(embeddings) = &self.verified.document.embeddings {
            return Cow::Borrowed(embeddings.get().as_bytes());
        }
        match self.execution() {
            Some(Ok(execution)) => Cow::Owned(execution.answer.into_bytes()),
            _ => Cow::Borrowed(&self.output),
        }
    }

    /// The execution of an agent that it is the result of; or why its output is none.
    pub fn execution(&self) -> Option<Result<Execution, String>> {
        let is_one = self.verified.proof.spec.job_type == JobType::Agent;
        is_one.then(|| Execution::read(&self.output))
    }
}

/// The parts of a proof that travelled.
pub fn proof_parts(proof: &ExecutionProof) -> ProofParts<'_> {
    ProofParts {
        spec: &proof.spec,
        assignment: &proof.assignment,
        assignment_signature: &proof.assignment_signature,
        receipt: &proof.receipt,
        receipt_signature: &proof.receipt_signature,
        service_key: &proof.service_key,
    }
}

/// Whether the model's name beside the receipt is the one in it.
pub fn check_model_name(verified: &Verified, proof: &ExecutionProof) -> Result<(), VerifyError> {
    verified.proof.check_model_name(&proof.served_model)
}

/// A check that failed: exit code 8.
pub fn proof_failed(error: &VerifyError) -> CommandError {
    CommandError::new(ExitCode::ProofFailed, error.reason(), error.to_string())
        .with_hint("do not use this result: it was changed on its way, or its signer lies")
}

/// A completed job without what proves it: exit code 8.
pub fn missing_proof() -> CommandError {
    CommandError::new(
        ExitCode::ProofFailed,
        "PROOF_MISSING",
        "the coordinator sent a result without its proof",
    )
    .with_hint("do not use this result")
}

/// An answer about another job than the one that was asked for: exit code 8.
pub fn other_job(asked: impl std::fmt::Display, answered: &str) -> CommandError {
    let answered: String = answered.chars().take(SHOWN_ID_CHARS).collect();
    CommandError::new(
        ExitCode::ProofFailed,
        "PROOF_WRONG_JOB",
        format!("asked for {asked}, the coordinator answered about {answered:?}"),
    )
    .with_hint("do not use this answer; the coordinator, or something on the way to it, lies")
}

/// Prints what a job was for: exact bytes into a pipe or file; on a terminal harmless, with a line end.
pub fn print_delivery(delivery: &Delivery) -> Result<(), CommandError> {
    print_content(&delivery.content())
}

/// Prints bytes: exactly those into a pipe or file; on a terminal harmless, with a line end.
pub fn print_content(content: &[u8]) -> Result<(), CommandError> {
    if !is_terminal_stdout() {
        return print_bytes(content);
    }
    let mut escaper = StreamEscaper::default();
    let mut text = escaper.push(content);
    text.push_str(&escaper.finish());
    if !text.ends_with('\n') {
        text.push('\n');
    }
    print_bytes(text.as_bytes())
}

/// Writes a file that the user named; whole or not at all.
pub fn write_file(path: &std::path::Path, bytes: &[u8]) -> Result<(), CommandError> {
    let failed = |error: std::io::Error| {
        CommandError::file(format_args!("write {}", path.display()), &error)
            .with_hint("name another file, or make its folder first")
    };
    // What is no plain file (a pipe, /dev/stdout) cannot be replaced, only written to.
    let special = std::fs::metadata(path).is_ok_and(|meta| !meta.is_file());
    if special {
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .open(path)
            .map_err(failed)?;
        return file.write_all(bytes).map_err(failed);
    }
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent
        && !parent.is_dir()
    {
        return Err(failed(std::io::ErrorKind::NotFound.into()));
    }
    let path = std::path::absolute(path).map_err(failed)?;
    aitbc_common::runtime::files::write_atomic(
        &path,
        bytes,
        aitbc_common::runtime::files::PLAIN_MODE,
    )
}
