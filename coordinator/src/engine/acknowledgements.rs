//! What owners say of receipts. The first word stands; no payment waits for it.

use aitbc_common::hash::Hash;
use aitbc_common::identity::PublicKey;
use aitbc_common::layouts::{Acknowledgement, Receipt};
use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1::ErrorReason;
use bytes::Bytes;

use super::command::{JobSelector, Reply};
use super::core::EngineCore;
use super::edits::Edit;
use super::outbox::Outbox;
use super::queries::not_found;
use super::turn::Turn;
use crate::payments::Order;
use crate::store::Reads;
use crate::store::StoreError;
use crate::store::rows::{DeliveryRow, JobRow};

impl EngineCore {
    pub(super) fn acknowledge(
        &mut self,
        turn: &mut Turn,
        job: JobSelector,
        acknowledgement: Acknowledgement,
        signature: [u8; 64],
        reads: &dyn Reads,
    ) -> Result<(), StoreError> {
        let owner = acknowledgement.owner;
        let Some(id) = self.select(turn, owner, job, reads)? else {
            turn.reply(not_found(job));
            return Ok(());
        };
        let edit = Edit::Acknowledge(Box::new(acknowledgement.clone()), signature);
        turn.edit_any(id, owner, edit);
        turn.reply_later([(id, owner)], move |core, rows| {
            let Some(row) = rows.owned(&id, &owner) else {
                return not_found(job);
            };
            match refusal(row, &acknowledgement) {
                Some(error) => Reply::Refused(error),
                None => Reply::Job(Box::new(core.view(row.clone()))),
            }
        });
        Ok(())
    }
}

/// The acknowledgement that stands.
pub(crate) fn standing(delivery: &DeliveryRow) -> Option<Acknowledgement> {
    Acknowledgement::decode(&delivery.acknowledgement).ok()
}

fn receipt_id(delivery: &DeliveryRow) -> Option<Hash> {
    let receipt = Receipt::decode(&delivery.receipt).ok()?;
    Some(receipt.id(&delivery.signature))
}

/// Why this acknowledgement is not the one that stands, or says as much.
fn refusal(row: &JobRow, acknowledgement: &Acknowledgement) -> Option<ApiError> {
    let job = row.id();
    let wrong = |message| Some(ApiError::new(ErrorReason::WrongStatus, message));
    let Some(delivery) = &row.delivery else {
        return wrong(format!("{job} has no receipt to acknowledge"));
    };
    if receipt_id(delivery) != Some(acknowledgement.receipt_id) {
        let message = format!("names another receipt than that of {job}");
        return Some(ApiError::field("acknowledgement", message));
    }
    match standing(delivery) {
        Some(standing) if standing.verdict == acknowledgement.verdict => None,
        _ => wrong(format!("{job} was acknowledged with another verdict")),
    }
}

/// Keeps the first acknowledgement of a job's receipt by its owner, and has it logged.
pub(super) fn keep(
    row: &mut JobRow,
    owner: PublicKey,
    acknowledgement: Acknowledgement,
    signature: [u8; 64],
    outbox: &mut Outbox,
) {
    let Some(delivery) = &mut row.delivery else {
        return;
    };
    // A caller that is not the owner may name the job in the same batch.
    let is_owners = acknowledgement.owner == owner;
    let is_first = delivery.acknowledgement.is_empty();
    if !is_owners || !is_first || receipt_id(delivery) != Some(acknowledgement.receipt_id) {
        return;
    }
    delivery.acknowledgement = acknowledgement.encode().into();
    delivery.acknowledgement_signature = Bytes::copy_from_slice(&signature);
    outbox
        .orders
        .push(Order::LogAcknowledgement(acknowledgement, signature));
}
