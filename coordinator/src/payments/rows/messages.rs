//! The rows: protobuf messages of the store's own. Tags are frozen; removed ones are never used again.

use bytes::Bytes;
use prost::Message;

#[cfg(doc)]
use crate::payments::{LockOpened, Notice, Order, RentalTerms};

/// One [`Order`].
#[derive(Clone, PartialEq, Message)]
pub struct OrderRow {
    /// A lock to return (its tx_id), with `reason`.
    #[prost(bytes = "bytes", tag = "1")]
    pub void_lock: Bytes,
    /// Why: the byte of a VOID record.
    #[prost(uint32, tag = "2")]
    pub reason: u32,
    /// A job to settle.
    #[prost(message, optional, tag = "3")]
    pub settle: Option<SettleRow>,
    /// Unpaid work to log.
    #[prost(message, optional, tag = "4")]
    pub receipt: Option<ReceiptRow>,
    /// What an owner says of a receipt.
    #[prost(message, optional, tag = "5")]
    pub acknowledgement: Option<AcknowledgementRow>,
    /// A time of a rental: `job` is the rental's id, `owner` the renter, the one lock its lock.
    #[prost(message, optional, tag = "6")]
    pub rental: Option<SettleRow>,
    /// A miner's fault.
    #[prost(message, optional, tag = "7")]
    pub fault: Option<FaultRow>,
    /// A miner's contradiction.
    #[prost(message, optional, tag = "8")]
    pub slash: Option<SlashRow>,
}

/// [`Order::Slash`].
#[derive(Clone, PartialEq, Message)]
pub struct SlashRow {
    /// The miner's key.
    #[prost(bytes = "bytes", tag = "1")]
    pub miner: Bytes,
    /// Both statements, as in a SLASH record.
    #[prost(bytes = "bytes", tag = "2")]
    pub statements: Bytes,
}

/// [`Order::LogFault`].
#[derive(Clone, PartialEq, Message)]
pub struct FaultRow {
    /// tx_id of the lock.
    #[prost(bytes = "bytes", tag = "1")]
    pub lock: Bytes,
    /// job_ref.
    #[prost(bytes = "bytes", tag = "2")]
    pub job_ref: Bytes,
    /// The attempt.
    #[prost(uint32, tag = "3")]
    pub attempt: u32,
    /// Who had it.
    #[prost(bytes = "bytes", tag = "4")]
    pub miner: Bytes,
    /// Why: the byte of an OUTCOME record.
    #[prost(uint32, tag = "5")]
    pub reason: u32,
}

/// [`Order::Settle`].
#[derive(Clone, PartialEq, Message)]
pub struct SettleRow {
    /// UUID bytes of the job's id.
    #[prost(bytes = "bytes", tag = "1")]
    pub job: Bytes,
    /// The owner's key.
    #[prost(bytes = "bytes", tag = "2")]
    pub owner: Bytes,
    /// tx_ids of the locks.
    #[prost(bytes = "bytes", repeated, tag = "3")]
    pub locks: Vec<Bytes>,
    /// job_ref.
    #[prost(bytes = "bytes", tag = "4")]
    pub job_ref: Bytes,
    /// The attempt.
    #[prost(uint32, tag = "5")]
    pub attempt: u32,
    /// The byte of the outcome.
    #[prost(uint32, tag = "6")]
    pub outcome: u32,
    /// Who ran it.
    #[prost(bytes = "bytes", tag = "7")]
    pub miner: Bytes,
    /// Who is paid.
    #[prost(bytes = "bytes", tag = "8")]
    pub payee: Bytes,
    /// Id of receipt or checkpoint.
    #[prost(bytes = "bytes", tag = "9")]
    pub evidence_id: Bytes,
    /// Hash of the GPU's name.
    #[prost(bytes = "bytes", tag = "10")]
    pub gpu: Bytes,
    /// Micro-AIT per hour.
    #[prost(uint64, tag = "11")]
    pub rate: u64,
    /// Milliseconds.
    #[prost(uint64, tag = "12")]
    pub observed_ms: u64,
    /// Milliseconds.
    #[prost(uint64, tag = "13")]
    pub work_ms: u64,
    /// Milliseconds.
    #[prost(uint64, tag = "14")]
    pub billed_ms: u64,
}

/// [`Order::LogReceipt`].
#[derive(Clone, PartialEq, Message)]
pub struct ReceiptRow {
    /// job_ref.
    #[prost(bytes = "bytes", tag = "1")]
    pub job_ref: Bytes,
    /// The attempt.
    #[prost(uint32, tag = "2")]
    pub attempt: u32,
    /// Who ran it.
    #[prost(bytes = "bytes", tag = "3")]
    pub miner: Bytes,
    /// Id of the receipt.
    #[prost(bytes = "bytes", tag = "4")]
    pub receipt_id: Bytes,
}

/// [`Order::LogAcknowledgement`].
#[derive(Clone, PartialEq, Message)]
pub struct AcknowledgementRow {
    /// Its layout.
    #[prost(bytes = "bytes", tag = "1")]
    pub layout: Bytes,
    /// The owner's signature over it.
    #[prost(bytes = "bytes", tag = "2")]
    pub signature: Bytes,
}

/// One [`Notice`].
#[derive(Clone, PartialEq, Message)]
pub struct NoticeRow {
    /// A new lock.
    #[prost(message, optional, tag = "1")]
    pub locked: Option<LockRow>,
    /// A job that was settled.
    #[prost(message, optional, tag = "2")]
    pub settled: Option<SettledRow>,
    /// A lock that returned.
    #[prost(message, optional, tag = "3")]
    pub returned: Option<ReturnedRow>,
    /// An identity whose payee was bound.
    #[prost(message, optional, tag = "4")]
    pub bound: Option<BoundRow>,
    /// A time of a rental that was paid for.
    #[prost(message, optional, tag = "5")]
    pub rental: Option<RentalPaidRow>,
}

/// [`Notice::RentalPaid`].
#[derive(Clone, PartialEq, Message)]
pub struct RentalPaidRow {
    /// UUID bytes of the rental's id.
    #[prost(bytes = "bytes", tag = "1")]
    pub rental: Bytes,
    /// The renter's key.
    #[prost(bytes = "bytes", tag = "2")]
    pub renter: Bytes,
    /// tx_id of the lock.
    #[prost(bytes = "bytes", tag = "3")]
    pub lock: Bytes,
    /// Number of the payment.
    #[prost(uint32, tag = "4")]
    pub number: u32,
    /// Micro-AIT.
    #[prost(uint64, tag = "5")]
    pub posted: u64,
    /// Micro-AIT.
    #[prost(uint64, tag = "6")]
    pub fee: u64,
    /// Micro-AIT.
    #[prost(uint64, tag = "7")]
    pub returned: u64,
}

/// [`RentalTerms`].
#[derive(Clone, PartialEq, Message)]
pub struct RentalTermsRow {
    /// UUID bytes of the id for a new rental.
    #[prost(bytes = "bytes", tag = "1")]
    pub new_id: Bytes,
    /// UUID bytes of the rental that is prolonged, or empty.
    #[prost(bytes = "bytes", tag = "2")]
    pub extends: Bytes,
    /// UUID bytes of the listing's id.
    #[prost(bytes = "bytes", tag = "3")]
    pub listing: Bytes,
    /// The renter's key.
    #[prost(bytes = "bytes", tag = "4")]
    pub renter: Bytes,
    /// Random bytes.
    #[prost(bytes = "bytes", tag = "5")]
    pub salt: Bytes,
    /// Milliseconds.
    #[prost(uint64, tag = "6")]
    pub term_ms: u64,
    /// Micro-AIT per hour.
    #[prost(uint64, tag = "7")]
    pub rate: u64,
}

/// [`LockOpened`].
#[derive(Clone, PartialEq, Message)]
pub struct LockRow {
    /// tx_id.
    #[prost(bytes = "bytes", tag = "1")]
    pub lock: Bytes,
    /// job_ref or rental_ref.
    #[prost(bytes = "bytes", tag = "2")]
    pub target: Bytes,
    /// The byte of the purpose.
    #[prost(uint32, tag = "3")]
    pub purpose: u32,
    /// Whose money it is.
    #[prost(bytes = "bytes", tag = "4")]
    pub payer: Bytes,
    /// Micro-AIT.
    #[prost(uint64, tag = "5")]
    pub amount: u64,
    /// Unix ms.
    #[prost(uint64, tag = "6")]
    pub expires_at: u64,
    /// Micro-AIT per hour.
    #[prost(uint64, tag = "7")]
    pub max_rate: u64,
    /// Hundredths of a percent.
    #[prost(uint32, tag = "8")]
    pub max_fee_bps: u32,
    /// The one miner; 32 zero bytes = any.
    #[prost(bytes = "bytes", tag = "9")]
    pub miner_key: Bytes,
    /// Index of its record.
    #[prost(uint64, tag = "10")]
    pub log_index: u64,
    /// UUID bytes of the job's id, or empty.
    #[prost(bytes = "bytes", tag = "11")]
    pub job: Bytes,
    /// The owner's key, or empty.
    #[prost(bytes = "bytes", tag = "12")]
    pub owner: Bytes,
    /// The log has paid for this target before.
    #[prost(bool, tag = "13")]
    pub target_is_paid: bool,
    /// The rental that the payer wants.
    #[prost(message, optional, tag = "15")]
    pub rental: Option<RentalTermsRow>,
    /// The identity that locks it, or empty.
    #[prost(bytes = "bytes", tag = "14")]
    pub by: Bytes,
}

/// [`Notice::Settled`].
#[derive(Clone, PartialEq, Message)]
pub struct SettledRow {
    /// UUID bytes of the job's id.
    #[prost(bytes = "bytes", tag = "1")]
    pub job: Bytes,
    /// The owner's key.
    #[prost(bytes = "bytes", tag = "2")]
    pub owner: Bytes,
    /// Micro-AIT.
    #[prost(uint64, tag = "3")]
    pub posted: u64,
    /// Micro-AIT.
    #[prost(uint64, tag = "4")]
    pub fee: u64,
    /// Micro-AIT.
    #[prost(uint64, tag = "5")]
    pub returned: u64,
}

/// [`Notice::Bound`].
#[derive(Clone, PartialEq, Message)]
pub struct BoundRow {
    /// The identity's key.
    #[prost(bytes = "bytes", tag = "1")]
    pub identity: Bytes,
    /// The wallet's address, or empty.
    #[prost(bytes = "bytes", tag = "2")]
    pub wallet: Bytes,
}

/// [`Notice::Returned`].
#[derive(Clone, PartialEq, Message)]
pub struct ReturnedRow {
    /// tx_id.
    #[prost(bytes = "bytes", tag = "1")]
    pub lock: Bytes,
    /// job_ref.
    #[prost(bytes = "bytes", tag = "2")]
    pub target: Bytes,
    /// Micro-AIT.
    #[prost(uint64, tag = "3")]
    pub amount: u64,
}
