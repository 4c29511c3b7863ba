//! Ledger record v1: a leaf of the log. version u8, type u8, index u64, time_ms u64, body.

use super::{Acknowledgement, FaultEntry, Fields, LayoutError, Outcome, SignedTransaction, Slash};
use crate::address::Address;
use crate::hash::Hash;
use crate::identity::PublicKey;

/// Most bytes of a genesis file.
pub const MAX_GENESIS: usize = 1 << 20;

/// A leaf of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place, from 0.
    pub index: u64,
    /// Ledger time in Unix ms; never decreases.
    pub time_ms: u64,
    /// What happened.
    pub body: RecordBody,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordBody {
    /// Type 1, only at index 0: the genesis file, byte for byte.
    Genesis(Vec<u8>),
    /// Type 2.
    Transaction(SignedTransaction),
    /// Type 3: a lock pays for a job, or for a time of a rental.
    Post(Post),
    /// Type 4: a lock returns whole.
    Void {
        /// tx_id of the lock.
        lock: Hash,
        /// Why.
        reason: VoidReason,
    },
    /// Type 5: time is up.
    Expire {
        /// tx_id of the lock or the unstaking.
        lock: Hash,
        /// Why.
        reason: ExpireReason,
    },
    /// Type 6: a miner failed a paid attempt.
    Fault(FaultEntry),
    /// Type 7: unpaid work.
    Receipt(ReceiptEntry),
    /// Type 8: new money.
    Mint {
        /// Whose it is.
        account: Address,
        /// Micro-AIT.
        amount: u64,
        /// Why.
        reason: MintReason,
    },
    /// Type 9: a miner contradicted itself; what was staked on it is burned.
    Slash(Box<Slash>),
    /// Type 10: what a job's owner says of a receipt, and the owner's signature.
    Acknowledgement(Acknowledgement, [u8; 64]),
    /// Type 12.
    Seal(Seal),
    /// Type 13: a day's audits are drawn by the seed of this commitment.
    AuditCommit {
        /// Days since 1970-01-01 UTC.
        day: u32,
        /// [`crate::ledger::audits::commitment`].
        commitment: Hash,
    },
    /// Type 14: the seed that drew a day's audits.
    AuditReveal {
        /// Days since 1970-01-01 UTC.
        day: u32,
        /// 32 random bytes, not all zero.
        seed: Hash,
    },
}

/// What a lock paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    /// tx_id of the lock.
    pub lock: Hash,
    /// The job.
    pub job_ref: Hash,
    /// The attempt that is paid.
    pub attempt: u16,
    /// How it ended.
    pub outcome: Outcome,
    /// Who ran it.
    pub miner: PublicKey,
    /// Who is paid.
    pub payee: Address,
    /// [`super::Receipt::id`], or [`super::StreamCheckpoint::id`] where there is no receipt.
    pub evidence_id: Hash,
    /// SHA-256 of the GPU's catalogue name; zero = none.
    pub gpu: Hash,
    /// Micro-AIT per hour.
    pub rate: u64,
    /// Milliseconds from acceptance to completion, by the coordinator's clock.
    pub observed_ms: u64,
    /// Milliseconds by the receipt.
    pub work_ms: u64,
    /// Milliseconds paid for.
    pub billed_ms: u64,
    /// Micro-AIT that this lock pays, fee included.
    pub posted: u64,
    /// Micro-AIT of it that are the market's fee.
    pub fee: u64,
}

/// Why a lock returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum VoidReason {
    /// No live job of this id is known, nor a finished one of the owner that was named.
    UnknownJob = 1,
    /// The job is finished and takes no payment.
    Finished = 2,
    /// For something that is no job.
    WrongTarget = 3,
    /// The job has its 16 locks, or the last 4, which are kept for its owner, are all that is left.
    TooManyLocks = 4,
    /// The job failed.
    Failed = 5,
    /// The job was cancelled before work that could be paid.
    Cancelled = 6,
    /// The job's deadline passed before work that could be paid.
    Deadline = 7,
    /// The lock's terms do not allow the rate, the fee or the miner.
    Terms = 8,
    /// The lock's amount is too small for the job.
    TooSmall = 9,
    /// The listing cannot be had: it is rented, withdrawn, changed or its miner is away.
    NotAvailable = 10,
}

impl VoidReason {
    const ALL: [Self; 10] = [
        Self::UnknownJob,
        Self::Finished,
        Self::WrongTarget,
        Self::TooManyLocks,
        Self::Failed,
        Self::Cancelled,
        Self::Deadline,
        Self::Terms,
        Self::TooSmall,
        Self::NotAvailable,
    ];

    /// From its byte.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|r| *r as u8 == byte)
    }
}

/// Why time was up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExpireReason {
    /// A lock was not resolved until its own end.
    Lock = 1,
    /// Money leaves a stake after seven days.
    Unstaked = 2,
    /// What was leaving a stake and was slashed since goes nowhere.
    Forfeited = 3,
}

impl ExpireReason {
    /// From its byte.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        [Self::Lock, Self::Unstaked, Self::Forfeited]
            .into_iter()
            .find(|reason| *reason as u8 == byte)
    }
}

/// Why money was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum MintReason {
    /// The genesis file says so.
    Genesis = 1,
    /// A development network's faucet.
    Faucet = 2,
}

/// Unpaid work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptEntry {
    /// The job.
    pub job_ref: Hash,
    /// The attempt.
    pub attempt: u16,
    /// Who ran it.
    pub miner: PublicKey,
    /// [`super::Receipt::id`].
    pub receipt_id: Hash,
}

/// What the state is after all records before this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// Seals before this one.
    pub height: u64,
    /// Index of the first record since the seal before.
    pub first: u64,
    /// Records since the seal before.
    pub count: u32,
    /// Root of the state.
    pub state_root: Hash,
    /// Micro-AIT ever made.
    pub minted: u128,
    /// Micro-AIT ever burned.
    pub burned: u128,
}

impl Record {
    /// Bytes before the body.
    const HEADER: usize = 18;

    /// Its bytes: a leaf of the log.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![1, self.body.type_byte()];
        out.extend(self.index.to_be_bytes());
        out.extend(self.time_ms.to_be_bytes());
        self.body.encode(&mut out);
        out
    }

    /// Reads its bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, LayoutError> {
        let (header, body) = bytes
            .split_at_checked(Self::HEADER)
            .ok_or(LayoutError::Length {
                layout: "record",
                given: bytes.len(),
                wanted: Self::HEADER,
            })?;
        let mut fields = Fields::new("record", header, Self::HEADER)?;
        fields.version()?;
        let kind = fields.u8();
        Ok(Self {
            index: fields.u64(),
            time_ms: fields.u64(),
            body: RecordBody::decode(kind, body)?,
        })
    }
}

impl RecordBody {
    /// The receipt or stream checkpoint that it rests on; none for records of other kinds.
    #[must_use]
    pub fn evidence_id(&self) -> Option<&Hash> {
        match self {
            Self::Post(post) => (!post.outcome.is_rental()).then_some(&post.evidence_id),
            Self::Receipt(entry) => Some(&entry.receipt_id),
            Self::Acknowledgement(acknowledgement, _) => Some(&acknowledgement.receipt_id),
            _ => None,
        }
    }

    fn type_byte(&self) -> u8 {
        match self {
            Self::Genesis(_) => 1,
            Self::Transaction(_) => 2,
            Self::Post(_) => 3,
            Self::Void { .. } => 4,
            Self::Expire { .. } => 5,
            Self::Fault(_) => 6,
            Self::Receipt(_) => 7,
            Self::Mint { .. } => 8,
            Self::Slash(_) => 9,
            Self::Acknowledgement(..) => 10,
            Self::Seal(_) => 12,
            Self::AuditCommit { .. } => 13,
            Self::AuditReveal { .. } => 14,
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Genesis(file) => out.extend(file),
            Self::Transaction(transaction) => out.extend(transaction.encode()),
            Self::Post(post) => post.encode(out),
            Self::Void { lock, reason } => {
                out.extend(lock);
                out.push(*reason as u8);
            }
            Self::Expire { lock, reason } => {
                out.extend(lock);
                out.push(*reason as u8);
            }
            Self::Fault(fault) => {
                out.extend(fault.job_ref);
                out.extend(fault.attempt.to_be_bytes());
                out.extend(fault.miner.0);
                out.extend(fault.client.0);
                out.push(fault.reason as u8);
                out.extend(fault.weight.to_be_bytes());
                out.extend(fault.lock);
            }
            Self::Receipt(entry) => {
                out.extend(entry.job_ref);
                out.extend(entry.attempt.to_be_bytes());
                out.extend(entry.miner.0);
                out.extend(entry.receipt_id);
            }
            Self::Mint {
                account,
                amount,
                reason,
            } => {
                out.extend(account.0);
                out.extend(amount.to_be_bytes());
                out.push(*reason as u8);
            }
            Self::Slash(slash) => slash.encode(out),
            Self::Acknowledgement(acknowledgement, signature) => {
                out.extend(acknowledgement.encode());
                out.extend(signature);
            }
            Self::Seal(seal) => {
                out.extend(seal.height.to_be_bytes());
                out.extend(seal.first.to_be_bytes());
                out.extend(seal.count.to_be_bytes());
                out.extend(seal.state_root);
                out.extend(seal.minted.to_be_bytes());
                out.extend(seal.burned.to_be_bytes());
            }
            Self::AuditCommit {
                day,
                commitment: hash,
            }
            | Self::AuditReveal { day, seed: hash } => {
                out.extend(day.to_be_bytes());
                out.extend(hash);
            }
        }
    }

    fn decode(kind: u8, body: &[u8]) -> Result<Self, LayoutError> {
        Ok(match kind {
            1 if body.len() <= MAX_GENESIS => Self::Genesis(body.to_vec()),
            1 => {
                return Err(LayoutError::Length {
                    layout: "genesis record",
                    given: body.len(),
                    wanted: MAX_GENESIS,
                });
            }
            2 => Self::Transaction(SignedTransaction::decode(body)?),
            3 => Self::Post(Post::decode(body)?),
            4 => {
                let mut fields = Fields::new("void record", body, 33)?;
                let lock = fields.take();
                let reason = fields.u8();
                let reason = VoidReason::from_byte(reason)
                    .ok_or_else(|| fields.undefined("reason", u64::from(reason)))?;
                Self::Void { lock, reason }
            }
            5 => {
                let mut fields = Fields::new("expire record", body, 33)?;
                let lock = fields.take();
                let reason = fields.u8();
                let reason = ExpireReason::from_byte(reason)
                    .ok_or_else(|| fields.undefined("reason", u64::from(reason)))?;
                Self::Expire { lock, reason }
            }
            6 => Self::Fault(FaultEntry::decode(body)?),
            7 => {
                let mut fields = Fields::new("receipt record", body, 98)?;
                Self::Receipt(ReceiptEntry {
                    job_ref: fields.take(),
                    attempt: fields.u16(),
                    miner: PublicKey(fields.take()),
                    receipt_id: fields.take(),
                })
            }
            8 => decode_mint(body)?,
            9 => Self::Slash(Box::new(Slash::decode(body)?)),
            10 => {
                let mut fields =
                    Fields::new("acknowledgement record", body, Acknowledgement::LEN + 64)?;
                let acknowledgement =
                    Acknowledgement::decode(&fields.take::<{ Acknowledgement::LEN }>())?;
                Self::Acknowledgement(acknowledgement, fields.take())
            }
            12 => Self::Seal(Seal::decode(body)?),
            13 => {
                let (day, commitment) = of_day("audit commit record", body)?;
                Self::AuditCommit { day, commitment }
            }
            14 => {
                let (day, seed) = of_day("audit reveal record", body)?;
                Self::AuditReveal { day, seed }
            }
            other => {
                return Err(LayoutError::Value {
                    layout: "record",
                    field: "type",
                    value: u64::from(other),
                });
            }
        })
    }
}

fn decode_mint(body: &[u8]) -> Result<RecordBody, LayoutError> {
    let mut fields = Fields::new("mint record", body, 29)?;
    let (account, amount) = (Address(fields.take()), fields.u64());
    let reason = match fields.u8() {
        1 => MintReason::Genesis,
        2 => MintReason::Faucet,
        other => return Err(fields.undefined("reason", u64::from(other))),
    };
    Ok(RecordBody::Mint {
        account,
        amount,
        reason,
    })
}

/// A day and a hash.
fn of_day(layout: &'static str, body: &[u8]) -> Result<(u32, Hash), LayoutError> {
    let mut fields = Fields::new(layout, body, 36)?;
    Ok((fields.u32(), fields.take()))
}

impl Seal {
    fn decode(body: &[u8]) -> Result<Self, LayoutError> {
        let mut fields = Fields::new("seal record", body, 84)?;
        Ok(Self {
            height: fields.u64(),
            first: fields.u64(),
            count: fields.u32(),
            state_root: fields.take(),
            minted: fields.u128(),
            burned: fields.u128(),
        })
    }
}

impl Post {
    /// Bytes of the body.
    const LEN: usize = 231;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.lock);
        out.extend(self.job_ref);
        out.extend(self.attempt.to_be_bytes());
        out.push(self.outcome as u8);
        out.extend(self.miner.0);
        out.extend(self.payee.0);
        out.extend(self.evidence_id);
        out.extend(self.gpu);
        for number in [
            self.rate,
            self.observed_ms,
            self.work_ms,
            self.billed_ms,
            self.posted,
            self.fee,
        ] {
            out.extend(number.to_be_bytes());
        }
    }

    fn decode(body: &[u8]) -> Result<Self, LayoutError> {
        let mut fields = Fields::new("post record", body, Self::LEN)?;
        let (lock, job_ref, attempt, outcome) =
            (fields.take(), fields.take(), fields.u16(), fields.u8());
        let outcome = Outcome::from_byte(outcome)
            .ok_or_else(|| fields.undefined("outcome", u64::from(outcome)))?;
        Ok(Self {
            lock,
            job_ref,
            attempt,
            outcome,
            miner: PublicKey(fields.take()),
            payee: Address(fields.take()),
            evidence_id: fields.take(),
            gpu: fields.take(),
            rate: fields.u64(),
            observed_ms: fields.u64(),
            work_ms: fields.u64(),
            billed_ms: fields.u64(),
            posted: fields.u64(),
            fee: fields.u64(),
        })
    }
}
