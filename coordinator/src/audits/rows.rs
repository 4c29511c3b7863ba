//! What is stored of audits: rows of their own, frozen. All stand in one partition.

use aitbc_common::address::Address;
use aitbc_common::hash::Hash;
use aitbc_common::identity::PublicKey;
use aitbc_common::ids::JobId;
use aitbc_common::layouts::Receipt;
use bytes::Bytes;
use prost::Message;

use super::plan::{Run, Work};
use crate::store::rows::{DeliveryRow, JobRow, address, uuid};

/// Settled jobs that may be drawn, by time: [`crate::store::Family::Active`].
const CANDIDATE: u8 = b'Q';
/// Audits under way: [`crate::store::Family::Active`].
const AUDIT: u8 = b'A';
/// Seeds by day: [`crate::store::Family::Active`].
const SEED: u8 = b'S';
/// What was locked for audits, by day: [`crate::store::Family::Active`].
const SPENT: u8 = b'D';
/// What audits of a payer's jobs cost, by day: [`crate::store::Family::Active`].
const COST: u8 = b'B';
/// Work that was found wrong, by miner: [`crate::store::Family::Archive`].
const FINDING: u8 = b'F';

fn key(table: u8, parts: &[&[u8]]) -> Vec<u8> {
    [&[0, table], parts.concat().as_slice()].concat()
}

/// A settled job that may be drawn.
#[must_use]
pub fn candidate(settled_ms: u64, owner: &PublicKey, job: JobId) -> Vec<u8> {
    let at = settled_ms.to_be_bytes();
    key(CANDIDATE, &[&at, &owner.0, &job.0])
}

/// Prefix of all that were settled at this time or later begin after it.
#[must_use]
pub fn candidates_from(settled_ms: u64) -> Vec<u8> {
    key(CANDIDATE, &[&settled_ms.to_be_bytes()])
}

/// The end of all of them.
#[must_use]
pub fn candidates_end() -> Vec<u8> {
    key(CANDIDATE + 1, &[])
}

/// When a candidate was settled, its owner and its id.
#[must_use]
pub fn parse_candidate(key: &[u8]) -> Option<(u64, PublicKey, JobId)> {
    let (at, rest) = key.get(2..)?.split_first_chunk()?;
    let (owner, rest) = rest.split_first_chunk()?;
    let job = rest.try_into().ok()?;
    Some((u64::from_be_bytes(*at), PublicKey(*owner), JobId(job)))
}

/// An audit, by the job_ref of the work that was drawn.
#[must_use]
pub fn audit(job_ref: &Hash) -> Vec<u8> {
    key(AUDIT, &[job_ref])
}

/// Prefix of all audits.
#[must_use]
pub fn audits() -> Vec<u8> {
    key(AUDIT, &[])
}

/// The seed of a day since 1970.
#[must_use]
pub fn seed(day: u32) -> Vec<u8> {
    key(SEED, &[&day.to_be_bytes()])
}

/// Prefix of all seeds.
#[must_use]
pub fn seeds() -> Vec<u8> {
    key(SEED, &[])
}

/// The day of such a key.
#[must_use]
pub fn seed_day(key: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(key.get(2..)?.try_into().ok()?))
}

/// What was locked for audits on a day since 1970.
#[must_use]
pub fn spent(day: u32) -> Vec<u8> {
    key(SPENT, &[&day.to_be_bytes()])
}

/// What audits of a payer's jobs cost on a day since 1970.
#[must_use]
pub fn cost(payer: &[u8], day: u32) -> Vec<u8> {
    key(COST, &[payer, &day.to_be_bytes()])
}

/// Work that was found wrong.
#[must_use]
pub fn finding(miner: &PublicKey, job_ref: &Hash) -> Vec<u8> {
    key(FINDING, &[&miner.0, job_ref])
}

/// Prefix of what was found of a miner.
#[must_use]
pub fn findings_of(miner: &PublicKey) -> Vec<u8> {
    key(FINDING, &[&miner.0])
}

/// A day's seed.
#[derive(Clone, PartialEq, Message)]
pub struct SeedRow {
    /// 32 random bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub seed: Bytes,
    /// The log has its commitment: it may draw.
    #[prost(bool, tag = "2")]
    pub committed: bool,
    /// Unix time in ms since which the log has it: what was settled before is not drawn.
    #[prost(uint64, tag = "3")]
    pub committed_ms: u64,
}

/// What was locked on a day.
#[derive(Clone, PartialEq, Message)]
pub struct SpentRow {
    /// Micro-AIT.
    #[prost(uint64, tag = "1")]
    pub locked: u64,
}

/// Work that was delivered whole.
#[derive(Clone, PartialEq, Message)]
pub struct WorkRow {
    /// Receipt layout.
    #[prost(bytes = "bytes", tag = "1")]
    pub receipt: Bytes,
    /// The miner's signature over it.
    #[prost(bytes = "bytes", tag = "2")]
    pub signature: Bytes,
}

impl WorkRow {
    /// Of a delivery.
    #[must_use]
    pub fn of(delivery: &DeliveryRow) -> Self {
        Self {
            receipt: delivery.receipt.clone(),
            signature: delivery.signature.clone(),
        }
    }

    /// `None` = damaged.
    #[must_use]
    pub fn work(&self) -> Option<Work> {
        Some(Work {
            receipt: Receipt::decode(&self.receipt).ok()?,
            signature: self.signature.as_ref().try_into().ok()?,
        })
    }
}

/// The same job again.
#[derive(Clone, PartialEq, Message)]
pub struct RunRow {
    /// Whose job it is: a key that signs nothing.
    #[prost(bytes = "bytes", tag = "1")]
    pub owner: Bytes,
    /// Its id (UUID bytes).
    #[prost(bytes = "bytes", tag = "2")]
    pub job_id: Bytes,
    /// Its specification layout.
    #[prost(bytes = "bytes", tag = "3")]
    pub spec: Bytes,
    /// Addresses (20 bytes each) at which its miner may not be paid, sorted.
    #[prost(bytes = "bytes", repeated, tag = "4")]
    pub not_paid_at: Vec<Bytes>,
    /// The wallet that pays.
    #[prost(bytes = "bytes", tag = "5")]
    pub auditor: Bytes,
    /// Transaction layout, payload and signature of its LOCK.
    #[prost(bytes = "bytes", tag = "6")]
    pub lock: Bytes,
    /// The log has the lock.
    #[prost(bool, tag = "7")]
    pub is_locked: bool,
    /// What it gave.
    #[prost(message, optional, tag = "8")]
    pub work: Option<WorkRow>,
    /// It came to nothing.
    #[prost(bool, tag = "9")]
    pub failed: bool,
    /// Micro-AIT that are locked.
    #[prost(uint64, tag = "10")]
    pub amount: u64,
    /// The miner that is asked (UUID bytes).
    #[prost(bytes = "bytes", tag = "11")]
    pub miner: Bytes,
}

impl RunRow {
    /// Its owner and its id; `None` = damaged.
    #[must_use]
    pub fn job(&self) -> Option<(PublicKey, JobId)> {
        let owner = self.owner.as_ref().try_into().ok()?;
        Some((PublicKey(owner), JobId(uuid(&self.job_id)?)))
    }

    /// Who pays.
    #[must_use]
    pub fn auditor(&self) -> Option<Address> {
        address(&self.auditor)
    }

    /// What it came to.
    #[must_use]
    pub fn run(&self) -> Run {
        match &self.work {
            _ if self.failed => Run::Failed,
            None => Run::Pending,
            Some(work) => work.work().map_or(Run::Failed, Run::Done),
        }
    }

    /// Takes over what became of its job.
    pub fn ended(&mut self, row: &JobRow) {
        match row.delivery.as_ref().filter(|_| super::is_whole(row)) {
            Some(delivery) => self.work = Some(WorkRow::of(delivery)),
            None => self.failed = true,
        }
    }
}

/// An audit.
#[derive(Clone, PartialEq, Message)]
pub struct AuditRow {
    /// Whose job was drawn.
    #[prost(bytes = "bytes", tag = "1")]
    pub owner: Bytes,
    /// Its id (UUID bytes).
    #[prost(bytes = "bytes", tag = "2")]
    pub job_id: Bytes,
    /// The work that was drawn.
    #[prost(message, optional, tag = "3")]
    pub work: Option<WorkRow>,
    /// The runs after it.
    #[prost(message, repeated, tag = "4")]
    pub runs: Vec<RunRow>,
    /// Unix time in ms of the draw.
    #[prost(uint64, tag = "5")]
    pub drawn_ms: u64,
    /// Micro-AIT that the job cost.
    #[prost(uint64, tag = "6")]
    pub paid: u64,
    /// Micro-AIT per hour that it paid.
    #[prost(uint64, tag = "7")]
    pub rate: u64,
    /// Whose money paid for it: an address.
    #[prost(bytes = "bytes", tag = "8")]
    pub payer: Bytes,
    /// Its miner's reputation when it was drawn, in millionths.
    #[prost(uint32, tag = "9")]
    pub reputation_ppm: u32,
}

impl AuditRow {
    /// Micro-AIT that its runs may cost.
    #[must_use]
    pub fn reserved(&self) -> u64 {
        self.runs.iter().map(|run| run.amount).sum()
    }

    /// The job that was drawn; `None` = damaged.
    #[must_use]
    pub fn job(&self) -> Option<(PublicKey, JobId)> {
        let owner = self.owner.as_ref().try_into().ok()?;
        Some((PublicKey(owner), JobId(uuid(&self.job_id)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_are_read_back_in_the_order_of_their_settlement() {
        let (owner, job) = (PublicKey([3; 32]), JobId([4; 16]));
        let early = candidate(5, &owner, job);
        assert_eq!(parse_candidate(&early), Some((5, owner, job)));
        assert!(early < candidate(6, &PublicKey([0; 32]), job));
        assert!(candidates_from(5) < early && candidates_from(6) > early);
        assert!(candidates_end() > candidate(u64::MAX, &owner, job));
        assert_eq!(seed_day(&seed(20_000)), Some(20_000));
    }
}
