//! Whether what the ledger records of a job is what its proof says.

use super::{Proof, VerifyError};
use crate::layouts::{Acknowledgement, Post, ReceiptEntry, RecordBody};
use crate::ledger::settlement::fee_of;
use crate::money::cost;
use crate::price::billed_ms;

/// Whether a record of the ledger is a POST or RECEIPT of this very receipt.
pub fn check_record(proof: &Proof, record: &RecordBody) -> Result<(), VerifyError> {
    match record {
        RecordBody::Post(post) => check_post(proof, post),
        RecordBody::Receipt(entry) => check_entry(proof, entry),
        _ => Err(VerifyError::Record("its kind")),
    }
}

fn check_entry(proof: &Proof, entry: &ReceiptEntry) -> Result<(), VerifyError> {
    let receipt = &proof.receipt;
    all(&[
        ("the receipt", entry.receipt_id == proof.receipt_id()),
        ("the job", entry.job_ref == receipt.job_ref),
        ("the attempt", entry.attempt == receipt.attempt),
        ("the miner", entry.miner == receipt.miner_key),
    ])
}

fn check_post(proof: &Proof, post: &Post) -> Result<(), VerifyError> {
    let (receipt, assignment) = (&proof.receipt, &proof.assignment);
    let input_len = proof.spec.input_len;
    let billed = billed_ms(assignment, receipt, input_len, post.observed_ms);
    all(&[
        ("the receipt", post.evidence_id == proof.receipt_id()),
        ("the job", post.job_ref == receipt.job_ref),
        ("the attempt", post.attempt == receipt.attempt),
        ("the outcome", post.outcome == receipt.outcome),
        ("the miner", post.miner == receipt.miner_key),
        ("the payee", post.payee == assignment.payee),
        ("the rate", post.rate == assignment.rate),
        ("the time worked", post.work_ms == receipt.work_ms),
        ("the time billed", post.billed_ms == billed),
        ("the price", post.posted <= cost(post.rate, billed)),
    ])
}

/// Micro-AIT that all POST records of a receipt together paid, and of that the fee, where each is of this receipt and
/// they come to no more than its work costs.
pub fn check_posts<'a>(
    proof: &Proof,
    posts: impl IntoIterator<Item = &'a Post>,
) -> Result<(u64, u64), VerifyError> {
    let (mut posted, mut fee, mut price) = (0_u64, 0_u64, 0);
    for post in posts {
        check_post(proof, post)?;
        posted = posted.saturating_add(post.posted);
        fee = fee.saturating_add(post.fee);
        price = cost(post.rate, post.billed_ms);
    }
    all(&[
        ("the price", posted <= price),
        ("the fee", fee == fee_of(posted, proof.assignment.fee_bps)),
    ])?;
    Ok((posted, fee))
}

/// What the job's owner said of this receipt.
pub fn check_acknowledgement(
    proof: &Proof,
    layout: &[u8],
    signature: &[u8],
) -> Result<Acknowledgement, VerifyError> {
    let acknowledgement = Acknowledgement::decode(layout)?;
    let is_of_it = acknowledgement.chain_id == proof.spec.chain_id
        && acknowledgement.receipt_id == proof.receipt_id()
        && acknowledgement.owner == proof.spec.owner;
    if !is_of_it || !acknowledgement.verify(signature) {
        return Err(VerifyError::Acknowledgement);
    }
    Ok(acknowledgement)
}

fn all(checks: &[(&'static str, bool)]) -> Result<(), VerifyError> {
    match checks.iter().find(|(_, holds)| !holds) {
        Some((what, _)) => Err(VerifyError::Record(what)),
        None => Ok(()),
    }
}
