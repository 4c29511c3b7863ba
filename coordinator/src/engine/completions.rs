//! Completions: recorded once, and answered the same however often the same receipt comes.

use std::time::Duration;

use aitbc_common::hash::{Hash, sha256};
use aitbc_common::identity::PublicKey;
use aitbc_common::ids::MinerId;
use aitbc_common::layouts::SignedStatement;
use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1::{ErrorReason, JobStatus};
use bytes::Bytes;

use super::command::{AttemptId, Completion, Reply};
use super::contradictions::statement;
use super::core::EngineCore;
use super::edits::Edit;
use super::turn::{RequestKey, Turn};
use crate::jobs::lifecycle::{Event, Millis};
use crate::store::Reads;
use crate::store::StoreError;
use crate::store::keys::Method;
use crate::store::rows::{DeliveryRow, RequestRow};

/// When a delivery may be made again that arrived before the engine recovered.
const AGAIN: Duration = Duration::from_secs(1);

impl EngineCore {
    /// What became of the job by this miner's delivery of this attempt, and the hash of its receipt.
    fn delivered_by(&self, attempt: AttemptId, miner: MinerId) -> Option<(JobStatus, Hash)> {
        let (by, done) = self.done.get(&attempt)?;
        (*by == miner).then_some(*done)
    }

    pub(super) fn complete(
        &mut self,
        turn: &mut Turn,
        completion: Completion,
        reads: &dyn Reads,
    ) -> Result<(), StoreError> {
        let attempt = completion.attempt;
        let miner_key = completion.miner_key;
        let Some(miner) = self.miner_keys.get(&miner_key).copied() else {
            turn.refuse(
                ErrorReason::MinerNotRegistered,
                "this identity has no registered miner",
            );
            return Ok(());
        };
        let receipt = receipt_hash(&completion.receipt.encode());
        if let Some(done) = self.delivered_by(attempt, miner) {
            let said = statement(&completion);
            self.compare(turn, (attempt, miner_key), &said, (done.1, receipt), reads)?;
            turn.reply(answer_again(done, receipt));
            return Ok(());
        }
        if completion.epoch != self.epoch {
            let message = "the coordinator recovered since this arrived; deliver it again";
            let error = ApiError::new(ErrorReason::Unavailable, message);
            turn.reply(Reply::Refused(error.retry_after(AGAIN)));
            return Ok(());
        }
        if self.refuse_contradiction(turn, &completion) {
            return Ok(());
        }
        let Some(completion) = self.complete_stopped(turn, completion, miner, receipt) else {
            return Ok(());
        };
        let live = self.jobs.get(&attempt.job_id);
        let lease = live.and_then(|live| live.lease.as_ref());
        let started = lease.map_or(0, |lease| match lease.started_ms {
            0 => lease.attempt.assigned_ms,
            started_ms => started_ms,
        });
        let in_session = lease.is_some_and(|lease| !lease.attempt.polled);
        let owner = live.map(|live| live.owner);
        let event = Event::Complete {
            attempt: attempt.attempt,
            miner,
        };
        match (self.advance(turn, attempt.job_id, event, None), owner) {
            (Ok(status), Some(owner)) => {
                let observed_ms = if started == 0 {
                    0
                } else {
                    self.now.saturating_sub(started)
                };
                turn.edit(
                    attempt.job_id,
                    owner,
                    Edit::Deliver(Box::new(delivery(completion, observed_ms))),
                );
                self.done.insert(attempt, (miner, (status, receipt)));
                // A session that comes back is told what to forget; a repeated call must find its answer.
                if !in_session {
                    turn.use_request(
                        delivery_key(miner_key, attempt),
                        delivered(attempt, receipt, self.now),
                    );
                }
                if let Some(miner) = self.miners.get_mut(&miner) {
                    miner.record.completed_jobs += 1;
                    self.unsaved_miners.insert(miner.id);
                }
                turn.reply(Reply::Completed(status));
            }
            _ => self.not_live(turn, miner_key, attempt, (receipt, None), reads)?,
        }
        Ok(())
    }

    /// Answers a delivery of an attempt that is not live: as before, where this receipt was recorded. Another one is compared
    /// with the recorded one first: a polled delivery comes no further than here.
    pub(super) fn not_live(
        &mut self,
        turn: &mut Turn,
        miner_key: PublicKey,
        attempt: AttemptId,
        (receipt, said): (Hash, Option<&SignedStatement>),
        reads: &dyn Reads,
    ) -> Result<(), StoreError> {
        let miner = self.miner_keys.get(&miner_key).copied();
        let remembered = miner.and_then(|miner| self.delivered_by(attempt, miner));
        let key = delivery_key(miner_key, attempt);
        if miner.is_some() && remembered.is_none() {
            turn.load_requests([key.clone()], reads)?;
        }
        let recorded = turn.used_request(&key).map(|row| {
            // Rows of before receipts were compared have no hash.
            let known = Hash::try_from(row.body_hash.as_ref()).unwrap_or(receipt);
            (JobStatus::Completed, known)
        });
        if let Some(done) = remembered.or(recorded) {
            if let Some(said) = said {
                self.compare(turn, (attempt, miner_key), said, (done.1, receipt), reads)?;
            }
            turn.reply(answer_again(done, receipt));
        } else {
            turn.refuse(
                ErrorReason::StaleAttempt,
                "this attempt is not live: it ended, or another miner has the job",
            );
        }
        Ok(())
    }
}

/// What tells one receipt of an attempt from another.
#[must_use]
pub fn receipt_hash(encoded: &[u8]) -> Hash {
    sha256(encoded)
}

/// The same receipt gets the same answer; another one comes too late, and must not look accepted.
fn answer_again((status, recorded): (JobStatus, Hash), receipt: Hash) -> Reply {
    if recorded == receipt {
        return Reply::Completed(status);
    }
    Reply::Refused(ApiError::new(
        ErrorReason::StaleAttempt,
        "this attempt was delivered already, with another receipt; that one counts",
    ))
}

/// The idempotency key of a delivery: its attempt.
fn delivery_key(miner: PublicKey, attempt: AttemptId) -> RequestKey {
    let id = format!("{}/{}", attempt.job_id, attempt.attempt);
    (miner, Method::CompleteJob, id)
}

/// That it was recorded, as that key's row.
fn delivered(attempt: AttemptId, receipt: Hash, now: Millis) -> RequestRow {
    RequestRow {
        body_hash: Bytes::copy_from_slice(&receipt),
        job_id: Bytes::copy_from_slice(&attempt.job_id.0),
        created_ms: now,
        attempt: attempt.attempt.into(),
    }
}

fn delivery(completion: Completion, observed_ms: u64) -> DeliveryRow {
    DeliveryRow {
        receipt: completion.receipt.encode().into(),
        signature: Bytes::copy_from_slice(&completion.signature),
        served_model: completion.served_model,
        engine: completion.engine,
        finish_reason: completion.finish_reason.into(),
        result: completion.result,
        result_len: completion.result_len,
        observed_ms,
        first_token_ms: completion.first_token_ms,
        output_in_result: completion.output_in_result,
        ..DeliveryRow::default()
    }
}
