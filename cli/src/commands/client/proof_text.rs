//! A checked proof, for people and for programs.

use std::fmt::Write as _;

use aitbc_common::hash::hash_text;
use aitbc_common::layouts::Receipt;
use aitbc_common::money::{MicroAit, cost};
use aitbc_common::verify::Proof;
use serde_json::{Value, json};

use super::delivery::Delivery;
use super::job_text::{elapsed_seconds, payment_name, short_digest, status_name};
use super::ledger_proof::Logged;
use crate::output::job::add_payment;
use crate::output::json::{ait, digest_or_null, seconds_of_ms, text_or_null};

/// `proof ✓ signed by rig-1: attempt 1, llama3:latest sha256:365c0bd3c000, 2.140 s, 0.000298 AIT (unfunded)`.
pub fn proof_line(delivery: &Delivery) -> String {
    let receipt = &delivery.verified.proof.receipt;
    format!(
        "proof ✓ signed by {miner}: attempt {attempt}, {model} {digest}, {work}, {cost} AIT ({payment})",
        miner = signer(delivery),
        attempt = receipt.attempt,
        model = delivery.proof.served_model,
        digest = digest_text(receipt),
        work = elapsed_seconds(receipt.work_ms),
        cost = MicroAit(cost_of(delivery)),
        payment = payment_name(delivery.job.payment_status),
    )
}

/// The model's digest, or that no model did it.
pub fn digest_text(receipt: &Receipt) -> String {
    if receipt.is_manual() {
        "manual (by hand)".to_owned()
    } else {
        short_digest(&receipt.model_digest)
    }
}

/// The miner's name, or its key where the coordinator gives none.
fn signer(delivery: &Delivery) -> String {
    match delivery.job.miner_name.as_str() {
        "" => delivery.verified.proof.receipt.miner_key.to_string(),
        name => name.to_owned(),
    }
}

/// The coordinator's figure, but never more than the work that the receipt claims costs.
pub fn cost_of(delivery: &Delivery) -> u64 {
    let proof = &delivery.verified.proof;
    let most = cost(proof.assignment.rate, proof.receipt.work_ms);
    delivery
        .job
        .cost_micro_ait
        .map_or(most, |given| given.min(most))
}

/// A receipt; the names that are not in it are given beside.
pub fn receipt_json(proof: &Proof, miner_id: &str, model: &str) -> Value {
    let receipt = &proof.receipt;
    json!({
        "attempt": receipt.attempt,
        "miner_id": text_or_null(miner_id),
        "miner_key": receipt.miner_key.to_string(),
        "payee": receipt.payee.to_string(),
        "job_ref": hash_text(&receipt.job_ref),
        "output_hash": hash_text(&receipt.output_hash),
        "result_hash": hash_text(&receipt.result_hash),
        "model": text_or_null(model),
        "model_digest": digest_or_null(&receipt.model_digest),
        "manual": receipt.is_manual(),
        "input_tokens": receipt.tokens_in,
        "output_tokens": receipt.tokens_out,
        "work_seconds": seconds_of_ms(receipt.work_ms),
        "signature": format!("0x{}", hex::encode(proof.receipt_signature)),
    })
}

/// The output, or an execution's answer.
fn output_text(delivery: &Delivery) -> String {
    let output = match delivery.execution() {
        Some(Ok(execution)) => return execution.answer,
        _ => &delivery.output,
    };
    String::from_utf8_lossy(output).into_owned()
}

/// A result as one JSON document, of an execution with its answer as the output; an embedding job's vectors exactly as the miner signed them. With its place in the
/// ledger, where there is one and it was asked for.
pub fn result_json(delivery: &Delivery, logged: Option<&Logged>) -> String {
    let verified = &delivery.verified;
    let mut document = json!({
        "job_id": delivery.job.job_id,
        "status": status_name(delivery.job.status),
        "output": output_text(delivery),
        "finish_reason": verified.document.finish_reason.as_str(),
        "receipt": receipt_json(&verified.proof, &delivery.job.miner_id, &delivery.proof.served_model),
        "proof": {"signature": "valid", "output": "matches", "ledger": logged.map(Logged::json)},
        "cost_ait": ait(cost_of(delivery)),
        "payment_status": payment_name(delivery.job.payment_status),
        "thinking": verified.document.thinking,
        "tool_calls": verified.document.tool_calls,
    });
    add_payment(&mut document, &delivery.job);
    // The last one, so that the vectors can be written in its place.
    document["embeddings"] = Value::Null;
    let mut text = document.to_string();
    if let Some(embeddings) = &verified.document.embeddings {
        let nothing = "null}";
        text.truncate(text.len() - nothing.len());
        let _infallible = write!(text, "{}}}", embeddings.get());
    }
    text
}
