//! What the jobs and the ledger tell each other. Both sides keep what they have to say in an outbox with dense sequence
//! numbers, written in the batch that decided it; the receiver stores the last number it applied in the batch that applies
//! it. So nothing is lost and nothing is done twice, whoever crashes when.

pub mod outbox;
pub mod rows;

use aitbc_common::address::Address;
use aitbc_common::hash::Hash;
use aitbc_common::identity::PublicKey;
use aitbc_common::ids::{JobId, ListingId, RentalId};
use aitbc_common::layouts::{
    Acknowledgement, Contradiction, FaultReason, LockPurpose, ReceiptEntry, VoidReason, rental_ref,
};
use aitbc_common::ledger::settlement::Work;

/// From the jobs to the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// A lock returns whole to its payer.
    Void {
        /// tx_id of the lock.
        lock: Hash,
        /// Why.
        reason: VoidReason,
    },
    /// A job's locks pay for work, in the order of the log; what they do not pay returns.
    Settle {
        /// The job.
        job: JobId,
        /// Its owner.
        owner: PublicKey,
        /// The work.
        work: Work,
        /// tx_ids of all its open locks, in log order.
        locks: Vec<Hash>,
    },
    /// A time of a rental is paid for from its lock; with the last payment what is left returns.
    PayRental {
        /// The rental.
        rental: RentalId,
        /// Who has it.
        renter: PublicKey,
        /// tx_id of the lock.
        lock: Hash,
        /// The time: `attempt` is the payment's number, `outcome` whether it goes on.
        work: Work,
    },
    /// A miner failed an attempt that a lock would have paid.
    LogFault {
        /// tx_id of the lock; one that is not open any more is passed over.
        lock: Hash,
        /// The job.
        job_ref: Hash,
        /// The attempt.
        attempt: u16,
        /// Who had it.
        miner: PublicKey,
        /// Why.
        reason: FaultReason,
    },
    /// A miner contradicted itself, with valid signatures: what is staked on it is burned, unless it was for this attempt.
    Slash(Box<Contradiction>),
    /// A receipt of unpaid work is logged.
    LogReceipt(ReceiptEntry),
    /// What a job's owner says of a receipt is logged, with the owner's signature.
    LogAcknowledgement(Acknowledgement, [u8; 64]),
}

/// From the ledger to the jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A lock was recorded. The jobs answer it once: they adopt it, or order it void.
    Locked(LockOpened),
    /// Locks of a job were paid out.
    Settled {
        /// The job.
        job: JobId,
        /// Its owner.
        owner: PublicKey,
        /// Micro-AIT paid, fee included.
        posted: u64,
        /// Micro-AIT of it that are the market's fee.
        fee: u64,
        /// Micro-AIT that went back to the payers.
        returned: u64,
    },
    /// A time of a rental was paid for, or could not be: then its lock returned.
    RentalPaid {
        /// The rental.
        rental: RentalId,
        /// Who has it.
        renter: PublicKey,
        /// tx_id of the lock.
        lock: Hash,
        /// Number of the payment.
        number: u16,
        /// Micro-AIT paid, fee included.
        posted: u64,
        /// Micro-AIT of it that are the market's fee.
        fee: u64,
        /// Micro-AIT that went back to the payer.
        returned: u64,
    },
    /// An identity's payee was bound.
    Bound {
        /// The identity.
        identity: PublicKey,
        /// The wallet that it is paid at; `None` = it was released.
        wallet: Option<Address>,
    },
    /// A lock ended by its own time, or could not be settled as ordered and returned whole.
    Returned {
        /// tx_id of the lock.
        lock: Hash,
        /// job_ref.
        target: Hash,
        /// Micro-AIT.
        amount: u64,
    },
}

/// A new lock, and where its job may be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockOpened {
    /// tx_id.
    pub lock: Hash,
    /// job_ref or rental_ref: decides what it is for.
    pub target: Hash,
    /// What it is for.
    pub purpose: LockPurpose,
    /// Whose money it is.
    pub payer: Address,
    /// Micro-AIT.
    pub amount: u64,
    /// When it returns by itself: ledger time, Unix ms.
    pub expires_at: u64,
    /// Highest rate it pays: micro-AIT per hour and slot.
    pub max_rate: u64,
    /// Highest fee it pays, in hundredths of a percent.
    pub max_fee_bps: u16,
    /// The one miner it pays; zero = any.
    pub miner_key: PublicKey,
    /// Index of its record: the order of a job's locks.
    pub log_index: u64,
    /// The job that the payer named: a hint, not signed.
    pub job: Option<JobId>,
    /// That job's owner: a hint, not signed.
    pub owner: Option<PublicKey>,
    /// The identity that locks it, proven: its allowance signed it, or its token came with it.
    pub by: Option<PublicKey>,
    /// Whether the log has paid for this target before: it does so once.
    pub target_is_paid: bool,
    /// The rental that the payer wants: not signed, but the target is the hash of its terms.
    pub rental: Option<RentalTerms>,
}

/// What a rental_ref is the hash of, and which rental it is to be or to prolong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RentalTerms {
    /// Id for a new rental.
    pub new_id: RentalId,
    /// The rental that is prolonged.
    pub extends: Option<RentalId>,
    /// The listing.
    pub listing: ListingId,
    /// Who is to have it.
    pub renter: PublicKey,
    /// Random bytes of the renter.
    pub salt: [u8; 32],
    /// Milliseconds.
    pub term_ms: u64,
    /// Micro-AIT per hour.
    pub rate: u64,
}

impl RentalTerms {
    /// rental_ref on this chain.
    #[must_use]
    pub fn reference(&self, chain_id: &Hash) -> Hash {
        rental_ref(
            chain_id,
            &self.listing,
            &self.renter,
            &self.salt,
            self.term_ms,
            self.rate,
        )
    }
}
