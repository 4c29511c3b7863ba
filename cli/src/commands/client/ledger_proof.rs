//! Where a result's receipt stands in the ledger, proven.

use std::time::Duration;

use aitbc_common::layouts::{Post, RecordBody};
use aitbc_common::ledger::log::TreeHead;
use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::runtime::ledger::{ProvenRecord, VerifiedLedger};
use aitbc_common::verify::{LedgerProof, Proof, check_posts, check_record};
use aitbc_proto::v1::{Job, PaymentStatus};
use serde_json::Value;

use super::delivery::{Delivery, proof_failed};
use crate::context::Context;
use crate::output::record::{decoded_json, proof_json, proof_line};

/// How long the record of a finished job may take: usually a second.
const LOGGED_WITHIN: Duration = Duration::from_secs(3);

/// The record that the ledger has of a receipt: what it paid, or that nobody paid.
#[derive(Debug, Clone)]
pub struct Logged {
    record: ProvenRecord,
    log_key: [u8; 32],
}

/// The POST or RECEIPT record of a result that checked, with exit code 8 where the ledger or its proofs contradict it or
/// the miner's own word on the ledger. None where there is none yet, or where nothing can be asked: that is said.
pub async fn logged(
    context: &Context,
    connection: &Connection,
    delivery: &Delivery,
) -> Result<Option<Logged>, CommandError> {
    match look_up(context, connection, delivery).await {
        Ok(Some(logged)) => Ok(Some(logged)),
        Ok(None) => {
            context.warn(
                "NOT_YET_LOGGED",
                format_args!(
                    "the ledger has no record of {} yet; look again in a moment",
                    delivery.job.job_id
                ),
            );
            Ok(None)
        }
        Err(error) if error.exit == ExitCode::ProofFailed => Err(error),
        Err(error) => {
            context.warn(
                "LEDGER_NOT_CHECKED",
                format_args!("the ledger was not checked: {}", error.message),
            );
            Ok(None)
        }
    }
}

async fn look_up(
    context: &Context,
    connection: &Connection,
    delivery: &Delivery,
) -> Result<Option<Logged>, CommandError> {
    let proof = &delivery.verified.proof;
    let mut ledger = VerifiedLedger::open(connection, &context.home)?;
    let seen = TreeHead {
        size: proof.receipt.seen_size,
        root: proof.receipt.seen_root,
    };
    ledger.demand(&seen, &statement(proof)).await?;
    let is_paid = matches!(
        delivery.job.payment_status(),
        PaymentStatus::Settling | PaymentStatus::Settled
    );
    let wanted = |body: &RecordBody| match body {
        RecordBody::Post(_) => true,
        RecordBody::Receipt(_) => !is_paid,
        _ => false,
    };
    let id = proof.receipt_id();
    let records = ledger.evidence(&id, LOGGED_WITHIN, wanted).await?;
    check_payment(proof, &delivery.job, &records)?;
    let record = records
        .into_iter()
        .rfind(|record| wanted(&record.record.body));
    let Some(record) = record else {
        return Ok(None);
    };
    check_record(proof, &record.record.body).map_err(|error| proof_failed(&error))?;
    Ok(Some(Logged {
        record,
        log_key: ledger.log().key.0,
    }))
}

/// What the miner signed, for those who are shown the evidence.
fn statement(proof: &Proof) -> String {
    format!(
        "receipt of {}\n{}\nsignature\n{}\n",
        proof.receipt.miner_key,
        hex::encode(proof.receipt.encode()),
        hex::encode(proof.receipt_signature)
    )
}

/// All that the receipt was paid with is no more than its price, and what the coordinator says was paid.
fn check_payment(proof: &Proof, job: &Job, records: &[ProvenRecord]) -> Result<(), CommandError> {
    let posts: Vec<&Post> = records
        .iter()
        .filter_map(|proven| match &proven.record.body {
            RecordBody::Post(post) => Some(post),
            _ => None,
        })
        .collect();
    if posts.is_empty() {
        return Ok(());
    }
    let logged = check_posts(proof, posts).map_err(|error| proof_failed(&error))?;
    let told = (job.paid_micro_ait, job.fee_micro_ait);
    if job.payment_status() == PaymentStatus::Settled && logged != told {
        return Err(CommandError::new(
            ExitCode::ProofFailed,
            "LEDGER_PAYMENT_DIFFERS",
            format!(
                "the coordinator says that {} micro-AIT were paid (fee {}), the ledger says {} (fee {})",
                told.0, told.1, logged.0, logged.1
            ),
        )
        .with_hint("do not rely on what it says of payments; tell its operator"));
    }
    Ok(())
}

impl Logged {
    /// For people.
    pub fn line(&self) -> String {
        proof_line(self.record.record.index, &self.record.head)
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let mut document = proof_json(self.record.record.index, &self.record.head);
        document["record"] = decoded_json(&self.record.record);
        document
    }

    /// For a receipt file.
    pub fn proof(&self) -> LedgerProof {
        LedgerProof {
            leaf: self.record.leaf.to_vec(),
            proof: self.record.proof.to_text(),
            log_key: self.log_key.to_vec(),
        }
    }
}
