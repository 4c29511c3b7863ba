//! Miners that sign two different outputs of one attempt: the attempt fails, and the ledger burns what is staked on them.

use aitbc_common::hash::Hash;
use aitbc_common::identity::PublicKey;
use aitbc_common::layouts::{Contradiction, Receipt, SignedStatement, StreamCheckpoint};
use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1::{ErrorReason, FailureReason};

use super::command::{AttemptId, Completion, Reply};
use super::core::EngineCore;
use super::timers::failure;
use super::turn::Turn;
use crate::payments::Order;
use crate::store::Reads;
use crate::store::rows::{DeliveryRow, JobRow, decode};
use crate::store::{Family, StoreError, keys};

/// What a miner is told, and its operator reads.
pub const CONTRADICTED: &str = "the miner signed two different outputs of this attempt: the attempt failed, and what is staked on the miner is slashed";

impl EngineCore {
    /// A miner contradicted itself, as its signatures prove.
    pub(super) fn contradicted(
        &mut self,
        turn: &mut Turn,
        attempt: AttemptId,
        evidence: Contradiction,
    ) {
        let key = evidence.miner;
        self.order_slash(turn, attempt, evidence);
        if let Some(miner) = self.miner_keys.get(&key).copied() {
            if self.stopped_of(attempt, miner).is_some() {
                self.pay_nothing(turn, attempt.job_id);
            }
            let reason = failure(FailureReason::InvalidResult, CONTRADICTED);
            if let Some(status) = self.end_attempt(turn, attempt, miner, reason) {
                self.stop_miner(turn, miner, attempt, status);
                // Nor is it waited for, as for what was lost.
                if let Some(live) = self.jobs.get_mut(&attempt.job_id) {
                    live.late_until = 0;
                }
            }
        }
        turn.reply(Reply::Refused(refused()));
    }

    /// Whether a delivery is refused because its miner contradicts itself, or did in this attempt.
    pub(super) fn refuse_contradiction(
        &mut self,
        turn: &mut Turn,
        completion: &Completion,
    ) -> bool {
        if let Some(evidence) = self.contradiction_in(completion) {
            self.contradicted(turn, completion.attempt, evidence);
            return true;
        }
        let known = self.contradicted.get(&completion.attempt) == Some(&completion.miner_key);
        if known {
            turn.reply(Reply::Refused(refused()));
        }
        known
    }

    /// What a delivery contradicts of what is kept of the attempt's newest checkpoint.
    fn contradiction_in(&self, completion: &Completion) -> Option<Contradiction> {
        let attempt = completion.attempt;
        let live = self.jobs.get(&attempt.job_id);
        let lease = live.and_then(|live| live.lease.as_ref());
        let of_lease = lease.and_then(|lease| lease.checkpoint.as_deref().cloned());
        let of_stopped = self.stopped.get(&attempt.job_id).and_then(|stopped| {
            let layout = StreamCheckpoint::decode(&stopped.row.checkpoint).ok()?;
            let signature = stopped.row.checkpoint_signature.as_ref().try_into().ok()?;
            Some((layout, signature))
        });
        let (checkpoint, signature) = of_lease.or(of_stopped)?;
        let known = SignedStatement::Checkpoint(Box::new(checkpoint), signature);
        Contradiction::between(completion.miner_key, known, statement(completion))
            .filter(Contradiction::verify)
    }

    /// A delivery of an attempt that was delivered before, with another receipt: it is compared with the one that counts.
    pub(super) fn compare(
        &mut self,
        turn: &mut Turn,
        (attempt, miner): (AttemptId, PublicKey),
        said: &SignedStatement,
        (counts, receipt): (Hash, Hash),
        reads: &dyn Reads,
    ) -> Result<(), StoreError> {
        if counts == receipt {
            return Ok(());
        }
        let Some(owner) = self.ended.get(&attempt.job_id).copied() else {
            return Ok(());
        };
        let key = keys::archived_job(&owner, attempt.job_id);
        let stored = reads.get_many(&[(Family::Archive, &key)])?;
        let Some(row) = stored.into_iter().next().flatten() else {
            return Ok(());
        };
        let row: JobRow = decode(row)?;
        let recorded = row.delivery.as_ref().and_then(recorded);
        let found = recorded
            .and_then(|recorded| Contradiction::between(miner, recorded, said.clone()))
            .filter(Contradiction::verify);
        if let Some(evidence) = found {
            self.order_slash(turn, attempt, evidence);
        }
        Ok(())
    }

    /// Once for an attempt: the ledger takes no second one, and a miner may repeat itself.
    fn order_slash(&mut self, turn: &mut Turn, attempt: AttemptId, evidence: Contradiction) {
        if self.contradicted.get(&attempt) != Some(&evidence.miner) {
            self.contradicted.insert(attempt, evidence.miner);
            turn.outbox.orders.push(Order::Slash(Box::new(evidence)));
        }
    }
}

/// The answer to what contradicts itself.
fn refused() -> ApiError {
    ApiError::new(ErrorReason::ReceiptInvalid, CONTRADICTED)
}

/// The receipt of a delivery, as its miner signed it.
pub(super) fn statement(completion: &Completion) -> SignedStatement {
    SignedStatement::Receipt(Box::new(completion.receipt.clone()), completion.signature)
}

fn recorded(delivery: &DeliveryRow) -> Option<SignedStatement> {
    let receipt = Receipt::decode(&delivery.receipt).ok()?;
    let signature = delivery.signature.as_ref().try_into().ok()?;
    Some(SignedStatement::Receipt(Box::new(receipt), signature))
}
