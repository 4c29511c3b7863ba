//! What is said where the ledger does not check: exit code 8, and what to do about it.

use std::path::PathBuf;

use super::Checkpoint;
use super::kept::Kept;
use crate::ledger::checkpoint::{CheckpointError, Violation};
use crate::runtime::errors::{CommandError, ExitCode};

const DISTRUST: &str =
    "pay nothing to this coordinator; show the evidence to its operator and to its other users";

fn failed(reason: &str, message: impl Into<String>) -> CommandError {
    CommandError::new(ExitCode::ProofFailed, reason, message)
}

/// A proof that does not hold, or an answer that is not what was asked for.
pub(super) fn proof(what: impl std::fmt::Display) -> CommandError {
    failed(
        "LEDGER_PROOF_INVALID",
        format!("the coordinator proves nothing: {what}"),
    )
    .with_hint("do not rely on what it says; try again, and tell its operator if it stays so")
}

/// A record that the coordinator should show and does not.
pub(super) fn withheld(what: impl std::fmt::Display) -> CommandError {
    failed(
        "LEDGER_RECORD_WITHHELD",
        format!("the coordinator withholds a record: {what}"),
    )
    .with_hint(
        "try again; if it stays so, keep the transaction's hash and its answer, and tell its operator",
    )
}

/// A checkpoint that must not be gone on with; both texts are kept.
pub(super) fn violation(
    kept: &Kept,
    violation: &Violation,
    seen: Option<&Checkpoint>,
    shown: &str,
) -> CommandError {
    let (kind, reason) = match violation {
        Violation::Checkpoint(CheckpointError::WrongKey(_) | CheckpointError::BadSignature(_)) => {
            ("key", "LEDGER_KEY_CHANGED")
        }
        Violation::Checkpoint(_) => ("checkpoint", "LEDGER_CHECKPOINT_INVALID"),
        Violation::Rollback { .. } => ("rollback", "LEDGER_ROLLBACK"),
        Violation::Fork { .. } => ("fork", "LEDGER_FORK"),
        Violation::Inconsistent { .. } => ("inconsistent", "LEDGER_INCONSISTENT"),
    };
    let seen = seen.map(|seen| seen.text.as_str());
    let evidence = match kept.keep_evidence(kind, seen, shown) {
        Ok(paths) => format!("evidence: {}", list(&paths)),
        Err(error) => format!("the evidence could not be kept: {error}"),
    };
    failed(reason, format!("{violation}; {evidence}")).with_hint(DISTRUST)
}

/// Somebody signed to have seen another log than the coordinator shows; both texts are kept.
pub(super) fn contradiction(
    kept: &Kept,
    seen: &str,
    statement: &str,
    problem: &str,
) -> CommandError {
    let evidence = match kept.keep_evidence("witness", Some(seen), statement) {
        Ok(paths) => format!("evidence: {}", list(&paths)),
        Err(error) => format!("the evidence could not be kept: {error}"),
    };
    failed(
        "LEDGER_WITNESS_CONTRADICTS",
        format!("the miner's receipt contradicts the coordinator's ledger: {problem}; {evidence}"),
    )
    .with_hint(
        "one of both lies: show the evidence to the coordinator's operator and to its other users",
    )
}

fn list(paths: &[PathBuf]) -> String {
    let paths: Vec<String> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    paths.join(" and ")
}
