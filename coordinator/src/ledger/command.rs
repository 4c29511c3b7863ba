//! What the ledger is asked and what it answers.

use aitbc_common::address::Address;
use aitbc_common::hash::Hash;
use aitbc_common::identity::PublicKey;
use aitbc_common::ids::JobId;
use aitbc_common::layouts::{FaultEntry, InvalidTransaction, SignedTransaction};
use aitbc_common::ledger::violation::Violation;

use super::core::BrokenRules;
use crate::payments::{Order, RentalTerms};

/// Identities that one wallet gives allowances to, at most: their entries stay in the state for ever. What is decided in one
/// batch may go beyond it.
pub const MAX_ALLOWANCES: usize = 1_000;

/// Something to do. Every command gets exactly one [`Reply`], after the commit that made it durable.
#[derive(Debug, Clone)]
pub enum Command {
    /// Records a transaction whose signature was verified → [`Reply::Recorded`], also for one that is recorded already.
    Submit(Box<Submission>),
    /// Makes money of a development network → [`Reply::Given`].
    Faucet {
        /// For whom.
        account: Address,
        /// Micro-AIT.
        amount: u64,
    },
    /// What the jobs decided → [`Reply::Applied`]. Numbers that were applied before are passed over.
    Orders {
        /// Number of the first.
        first_sequence: u64,
        /// In order, without gaps.
        orders: Vec<Order>,
    },
    /// The jobs have applied notices up to and with this number → [`Reply::Done`].
    TrimNotices {
        /// The number.
        through: u64,
    },
    /// All orders that were decided before this time have been applied: what expired may return → [`Reply::Done`].
    ExpireUntil {
        /// Ledger time, Unix ms.
        until_ms: u64,
    },
    /// Records what the coordinator's auditors have to say → [`Reply::Audited`].
    Audit(AuditRecord),
}

/// A record of the audits of work.
#[derive(Debug, Clone)]
pub enum AuditRecord {
    /// A commitment to the seed that draws a day's audits.
    Commit {
        /// The day, since 1970.
        day: u32,
        /// [`aitbc_common::ledger::audits::commitment`] of it.
        commitment: Hash,
    },
    /// The seed itself, when its day is long over.
    Reveal {
        /// The day.
        day: u32,
        /// The seed.
        seed: Hash,
    },
    /// Work that was found wrong.
    Found(FaultEntry),
}

/// Verifies all that can be told of a transaction without the ledger: chain, payload, account and signature. About 0.1 ms.
/// Nothing else may go into a [`Submission`].
pub fn admit(
    signed: SignedTransaction,
    chain_id: &Hash,
    broken: BrokenRules,
) -> Result<SignedTransaction, InvalidTransaction> {
    if !broken.skip_signatures {
        signed.verify(chain_id)?;
    }
    Ok(signed)
}

/// A transaction and a hint about the job it pays for.
#[derive(Debug, Clone)]
pub struct Submission {
    /// The transaction, as [`admit`] gave it.
    pub signed: SignedTransaction,
    /// The job that a lock is for.
    pub job: Option<JobId>,
    /// Its owner.
    pub owner: Option<PublicKey>,
    /// The rental that a lock is for.
    pub rental: Option<RentalTerms>,
    /// Whose token came with it.
    pub caller: Option<PublicKey>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Nothing to say.
    Done,
    /// To Submit.
    Recorded {
        /// tx_id.
        id: Hash,
        /// Index of its record.
        index: u64,
        /// Ledger time of its record.
        time_ms: u64,
    },
    /// To Audit: index of its record.
    Audited(u64),
    /// To Faucet: index of its record.
    Given(u64),
    /// To Orders: the number of the last one applied.
    Applied(u64),
    /// To Submit and Audit: a rule refuses it.
    Refused(Violation),
    /// To Faucet: how much more the address may have, in micro-AIT; `None` = there is no faucet.
    Empty(Option<u64>),
    /// To Submit: one more allowance of this wallet than [`MAX_ALLOWANCES`].
    TooManyAllowances,
    /// The disk is nearly full.
    Full,
}

/// What is to be done after the commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// There are notices for the jobs.
    NoticesPending,
    /// A checkpoint may be shown.
    Released {
        /// Its text.
        checkpoint: String,
        /// Records that it covers.
        size: u64,
    },
    /// Locks or stakes have come to their end: ask for [`Command::ExpireUntil`] once all orders before now are applied.
    ExpiryDue {
        /// Ledger time, Unix ms.
        until_ms: u64,
    },
    /// Records so far.
    Appended {
        /// Index of the next one.
        next: u64,
    },
}
