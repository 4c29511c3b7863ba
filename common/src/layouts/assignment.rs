//! Assignment v1: the coordinator promises a job, a payee and a rate to one attempt.

use super::{Fields, LayoutError};
use crate::address::Address;
use crate::hash::{Hash, tagged};
use crate::identity::{Identity, PublicKey};
use crate::ids::JobId;

/// budget_ms of an assignment without a budget.
pub const NO_BUDGET: u64 = u64::MAX;

/// Assignment v1, 210 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// 1 = the budget was raised; else 0.
    pub flags: u8,
    /// The attempt, from 1.
    pub attempt: u16,
    /// The chain.
    pub chain_id: Hash,
    /// The job.
    pub job_id: JobId,
    /// Hash of its specification.
    pub job_ref: Hash,
    /// Who runs it.
    pub miner_key: PublicKey,
    /// Who is paid.
    pub payee: Address,
    /// Micro-AIT per hour.
    pub rate: u64,
    /// The market's fee in hundredths of a percent.
    pub fee_bps: u16,
    /// Micro-AIT locked for it; 0 = unpaid.
    pub locked: u64,
    /// Milliseconds that the locks pay for; 2^64 − 1 = no budget.
    pub budget_ms: u64,
    /// Measured prompt speed in milli-tokens per second; 0 = not measured.
    pub prompt_speed: u32,
    /// Measured generation speed in milli-tokens per second; 0 = not measured.
    pub output_speed: u32,
    /// When it was issued: Unix time in milliseconds.
    pub issued_ms: u64,
    /// Hash of the locks; zero = none.
    pub locks_hash: Hash,
}

impl Assignment {
    /// Bytes of this layout.
    pub const LEN: usize = 210;

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::LEN);
        out.extend([1, self.flags]);
        out.extend(self.attempt.to_be_bytes());
        out.extend(self.chain_id);
        out.extend(self.job_id.0);
        out.extend(self.job_ref);
        out.extend(self.miner_key.0);
        out.extend(self.payee.0);
        out.extend(self.rate.to_be_bytes());
        out.extend(self.fee_bps.to_be_bytes());
        out.extend(self.locked.to_be_bytes());
        out.extend(self.budget_ms.to_be_bytes());
        out.extend(self.prompt_speed.to_be_bytes());
        out.extend(self.output_speed.to_be_bytes());
        out.extend(self.issued_ms.to_be_bytes());
        out.extend(self.locks_hash);
        out
    }

    /// Reads its bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut fields = Fields::new("assignment", bytes, Self::LEN)?;
        fields.version()?;
        let assignment = Self {
            flags: fields.u8(),
            attempt: fields.u16(),
            chain_id: fields.take(),
            job_id: JobId(fields.take()),
            job_ref: fields.take(),
            miner_key: PublicKey(fields.take()),
            payee: Address(fields.take()),
            rate: fields.u64(),
            fee_bps: fields.u16(),
            locked: fields.u64(),
            budget_ms: fields.u64(),
            prompt_speed: fields.u32(),
            output_speed: fields.u32(),
            issued_ms: fields.u64(),
            locks_hash: fields.take(),
        };
        fields.check(assignment.flags <= 1, "flags", u64::from(assignment.flags))?;
        Ok(assignment)
    }

    /// Whether another assignment promises the same but for what was locked when each was issued.
    #[must_use]
    pub fn differs_only_in_locks(&self, other: &Self) -> bool {
        let without = |assignment: &Self| Self {
            flags: 0,
            locked: 0,
            budget_ms: 0,
            issued_ms: 0,
            locks_hash: Hash::default(),
            ..assignment.clone()
        };
        without(self) == without(other)
    }

    /// The service key's signature over H("aitbc/assign/v1", the layout).
    #[must_use]
    pub fn sign(&self, service: &Identity) -> [u8; 64] {
        service.sign(&tagged("aitbc/assign/v1", &self.encode()))
    }

    /// Whether `signature` is `service_key`'s over this assignment.
    #[must_use]
    pub fn verify(&self, service_key: &PublicKey, signature: &[u8]) -> bool {
        service_key.verify(&tagged("aitbc/assign/v1", &self.encode()), signature)
    }

    /// assignment_hash = H("aitbc/assign-id/v1", layout ‖ signature).
    #[must_use]
    pub fn id(&self, signature: &[u8]) -> Hash {
        tagged("aitbc/assign-id/v1", &[&self.encode(), signature].concat())
    }
}

/// locks_hash of an assignment = H("aitbc/locks/v1", transaction ids in log order); zero where there are none.
#[must_use]
pub fn locks_hash(locks: &[Hash]) -> Hash {
    if locks.is_empty() {
        return Hash::default();
    }
    tagged("aitbc/locks/v1", &locks.concat())
}
