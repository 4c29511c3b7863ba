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
}

impl FaultReason {
    /// From its byte.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        [Self::Lost, Self::Failed, Self::Invalid]
            .into_iter()
            .find(|r| *r as u8 == byte)
    }
}

/// A paid attempt that failed because of its miner: its lock pays nothing for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultEntry {
    /// The job.
    pub job_ref: Hash,
    /// The attempt.
    pub attempt: u16,
    /// Who had it.
    pub miner: PublicKey,
    /// Whose money was locked.
    pub client: Address,
    /// Why.
    pub reason: FaultReason,
    /// Micro-AIT of fee that the whole lock would bring.
    pub weight: u64,
    /// tx_id of the lock.
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
