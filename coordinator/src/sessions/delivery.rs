//! Checks a delivery against what was promised for its attempt. Pure.

use aitbc_common::hash::sha256;
use aitbc_common::identity::PublicKey;
use aitbc_common::layouts::{Outcome, Receipt};
use aitbc_common::names::canonical_model;
use aitbc_common::result_document::FinishReason;
use aitbc_common::verify::check_document;
use aitbc_proto::v1;

use super::core::Progress;
use super::streams::{AttemptFacts, Issued};

/// Tokens beyond one per byte that templates and special tokens may add.
const EXTRA_TOKENS: u64 = 131_072;
/// Bytes of the model server's name.
const ENGINE_BYTES: usize = 64;

/// A delivery that checked.
#[derive(Debug)]
pub struct Checked {
    /// The receipt.
    pub receipt: Receipt,
    /// The miner's signature over it.
    pub signature: [u8; 64],
    /// Why the output ended.
    pub finish_reason: v1::FinishReason,
    /// The output is the result's `content`.
    pub output_in_result: bool,
}

/// Whether a delivery with this receipt has a result document: not for a job that was stopped.
#[must_use]
pub fn has_result(receipt: &Receipt) -> bool {
    matches!(receipt.outcome, Outcome::Complete | Outcome::Budget)
}

/// Checks receipt, signature, hashes and the result document (its exact bytes; none for a stopped job) of a delivery by
/// `miner`, against what was promised and all assignments that were issued for the attempt.
pub fn check(
    (facts, issued): (&AttemptFacts, &[Issued]),
    miner: &PublicKey,
    complete: &v1::Complete,
    progress: &Progress,
    result: &[u8],
) -> Result<Checked, String> {
    let receipt = Receipt::decode(&complete.receipt).map_err(|error| error.to_string())?;
    let signature: [u8; 64] = complete
        .signature
        .as_ref()
        .try_into()
        .map_err(|_| "the signature has not 64 bytes")?;
    check_promise(facts, issued, miner, &receipt)?;
    check_model(facts, complete, &receipt)?;
    let equal = |is: bool, what: &str| {
        if is {
            Ok(())
        } else {
            Err(format!("the receipt's {what} is not what arrived"))
        }
    };
    equal(receipt.output_len == progress.output_len, "output_len")?;
    equal(receipt.output_hash == progress.output_hash, "output_hash")?;
    equal(receipt.result_hash == progress.result_hash, "result_hash")?;
    if !has_result(&receipt) {
        equal(receipt.result_hash == sha256(result), "result_hash")?;
        check_tokens(facts, &receipt, progress.output_len)?;
        check_signature(&receipt, miner, &signature)?;
        return Ok(Checked {
            finish_reason: v1::FinishReason::Unspecified,
            output_in_result: false,
            receipt,
            signature,
        });
    }
    let output = (progress.output_len, &progress.output_hash);
    let document =
        check_document(&facts.spec, &receipt, result, output).map_err(|error| error.to_string())?;
    check_tokens(facts, &receipt, result.len() as u64)?;
    check_signature(&receipt, miner, &signature)?;
    Ok(Checked {
        finish_reason: finish_reason(document.finish_reason),
        output_in_result: document.content.is_some(),
        receipt,
        signature,
    })
}

fn check_signature(
    receipt: &Receipt,
    miner: &PublicKey,
    signature: &[u8; 64],
) -> Result<(), String> {
    if receipt.verify(miner, signature) {
        return Ok(());
    }
    Err("the receipt's signature is not its miner's".into())
}

fn check_promise(
    facts: &AttemptFacts,
    issued: &[Issued],
    miner: &PublicKey,
    receipt: &Receipt,
) -> Result<(), String> {
    let assignment = &facts.assignment;
    let equal = |is: bool, what: &str| {
        if is {
            Ok(())
        } else {
            Err(format!("the receipt's {what} is not the assignment's"))
        }
    };
    equal(
        assignment.miner_key == *miner && receipt.miner_key == *miner,
        "miner_key",
    )?;
    equal(receipt.chain_id == assignment.chain_id, "chain_id")?;
    equal(receipt.job_id == assignment.job_id, "job_id")?;
    equal(receipt.attempt == assignment.attempt, "attempt")?;
    equal(receipt.job_ref == assignment.job_ref, "job_ref")?;
    equal(receipt.payee == assignment.payee, "payee")?;
    let named = issued
        .iter()
        .find(|issued| issued.hash == receipt.assignment_hash)
        .ok_or("the receipt's assignment_hash is not the assignment's")?;
    match receipt.outcome {
        Outcome::Complete => Ok(()),
        Outcome::Budget if named.is_used_up(receipt.work_ms) => Ok(()),
        Outcome::Cancelled | Outcome::Deadline if issued.iter().any(|issued| issued.paid) => Ok(()),
        other => Err(format!(
            "the receipt's outcome is {other:?} instead of Complete"
        )),
    }
}

fn check_model(
    facts: &AttemptFacts,
    complete: &v1::Complete,
    receipt: &Receipt,
) -> Result<(), String> {
    let served = &complete.served_model;
    if canonical_model(served).as_ref() != Ok(served) {
        return Err("served_model is not a canonical model name, such as llama3:latest".into());
    }
    if sha256(served.as_bytes()) != receipt.model_name_hash {
        return Err("the receipt's model_name_hash is not that of served_model".into());
    }
    if sha256(served.as_bytes()) != facts.spec.model_name_hash {
        return Err(format!(
            "served_model {served} is not {}, which the job asks for",
            facts.model
        ));
    }
    if facts.spec.model_digest != [0; 32] && facts.spec.model_digest != receipt.model_digest {
        return Err("the receipt's model_digest is not the one that the job pins".into());
    }
    if complete.engine.len() > ENGINE_BYTES
        || sha256(complete.engine.as_bytes()) != receipt.engine_hash
    {
        return Err("the receipt's engine_hash is not that of engine (at most 64 bytes)".into());
    }
    Ok(())
}

fn check_tokens(facts: &AttemptFacts, receipt: &Receipt, result_len: u64) -> Result<(), String> {
    let plausible =
        |tokens: u32, bytes: u64| u64::from(tokens) <= bytes.saturating_add(EXTRA_TOKENS);
    if !plausible(receipt.tokens_in, facts.spec.input_len)
        || !plausible(receipt.tokens_out, result_len)
    {
        return Err("the receipt counts more tokens than its bytes can be".into());
    }
    Ok(())
}

fn finish_reason(reason: FinishReason) -> v1::FinishReason {
    match reason {
        FinishReason::Stop => v1::FinishReason::Stop,
        FinishReason::Length => v1::FinishReason::Length,
        FinishReason::Budget => v1::FinishReason::Budget,
        FinishReason::ToolCalls => v1::FinishReason::ToolCalls,
    }
}
