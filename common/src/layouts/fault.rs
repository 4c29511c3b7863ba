//! A miner's fault, as the log names it.

use super::{Fields, LayoutError};
use crate::address::Address;
use crate::hash::Hash;
use crate::identity::PublicKey;

/// Why a miner is to blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum FaultReason {
    /// Nothing was heard of the attempt any more.
    Lost = 1,
    /// The miner gave it up, or its model server failed.
    Failed = 2,
    /// What it delivered does not check.
    Invalid = 3,
    /// An audit found what it delivered wrong: two other miners agree on another output.
    Wrong = 4,
}

impl FaultReason {
    /// From its byte.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        [Self::Lost, Self::Failed, Self::Invalid, Self::Wrong]
            .into_iter()
            .find(|r| *r as u8 == byte)
    }
}

/// A paid attempt that failed because of its miner: its lock pays nothing for it. Or one that an audit found wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultEntry {
    /// The job.
    pub job_ref: Hash,
    /// The attempt.
    pub attempt: u16,
    /// Who had it.
    pub miner: PublicKey,
    /// Whose money was locked; of an audit, the auditor.
    pub client: Address,
    /// Why.
    pub reason: FaultReason,
    /// Micro-AIT of fee that the whole lock would bring; of an audit, [`crate::market::FULL_FEE`].
    pub weight: u64,
    /// tx_id of the lock; of an audit, its evidence ([`crate::ledger::audits::evidence`]).
    pub lock: Hash,
}

impl FaultEntry {
    /// Bytes of the body.
    const LEN: usize = 127;

    pub(super) fn decode(body: &[u8]) -> Result<Self, LayoutError> {
        let mut fields = Fields::new("outcome record", body, Self::LEN)?;
        let (job_ref, attempt) = (fields.take(), fields.u16());
        let (miner, client) = (PublicKey(fields.take()), Address(fields.take()));
        let reason = fields.u8();
        let reason = FaultReason::from_byte(reason)
            .ok_or_else(|| fields.undefined("reason", u64::from(reason)))?;
        Ok(Self {
            job_ref,
            attempt,
            miner,
            client,
            reason,
            weight: fields.u64(),
            lock: fields.take(),
        })
    }
}
