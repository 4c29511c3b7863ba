//! What the tables hold: protobuf messages of the store's own. Tags are frozen; removed ones are never used again.

use aitbc_common::address::Address;
use aitbc_common::hash::Hash;
use aitbc_common::ids::{JobId, MinerId};
use aitbc_proto::v1;
use bytes::Bytes;
use prost::Message;

use super::StoreError;
use crate::payments::rows::OrderRow;

/// A job, live or finished: one row with everything, so that a step is one write.
#[derive(Clone, PartialEq, Message)]
pub struct JobRow {
    /// UUID bytes of its id.
    #[prost(bytes = "bytes", tag = "1")]
    pub job_id: Bytes,
    /// Job spec layout, 252 bytes.
    #[prost(bytes = "bytes", tag = "2")]
    pub spec: Bytes,
    /// Canonical model name.
    #[prost(string, tag = "3")]
    pub model: String,
    /// The client's idempotency key.
    #[prost(string, tag = "4")]
    pub request_id: String,
    /// Rank among its owner's jobs.
    #[prost(sint32, tag = "5")]
    pub priority: i32,
    /// Failed attempts it allows.
    #[prost(uint32, tag = "6")]
    pub max_retries: u32,
    /// Unix time in ms of acceptance.
    #[prost(uint64, tag = "7")]
    pub created_ms: u64,
    /// Unix time in ms when it expires.
    #[prost(uint64, tag = "8")]
    pub deadline_ms: u64,
    /// Fair-queueing tag.
    #[prost(uint64, tag = "9")]
    pub tag: u64,
    /// The job it retries (UUID bytes), or empty.
    #[prost(bytes = "bytes", tag = "10")]
    pub retry_of: Bytes,
    /// Least video memory in GiB.
    #[prost(uint32, tag = "11")]
    pub min_vram_gib: u32,
    /// The one miner that may run it (UUID bytes), or empty.
    #[prost(bytes = "bytes", tag = "12")]
    pub only_miner: Bytes,
    /// `v1::JobStatus` as stored: queued (also while leased), or final.
    #[prost(enumeration = "v1::JobStatus", tag = "13")]
    pub status: i32,
    /// Failures that another attempt followed or follows.
    #[prost(uint32, tag = "14")]
    pub retries_spent: u32,
    /// Every attempt, oldest first; the last is live while `leased` is set.
    #[prost(message, repeated, tag = "15")]
    pub attempts: Vec<AttemptRow>,
    /// Whether the last attempt holds a lease.
    #[prost(bool, tag = "16")]
    pub leased: bool,
    /// Not leased again before this Unix time in ms.
    #[prost(uint64, tag = "17")]
    pub not_before_ms: u64,
    /// Miners that failed it (UUID bytes each).
    #[prost(bytes = "bytes", repeated, tag = "18")]
    pub excluded: Vec<Bytes>,
    /// Number of the engine's change that wrote this row; rises with every change.
    #[prost(uint64, tag = "19")]
    pub change: u64,
    /// Unix time in ms when it became final; 0 before.
    #[prost(uint64, tag = "20")]
    pub finished_ms: u64,
    /// Receipt layout and what came with it, where it completed.
    #[prost(message, optional, tag = "21")]
    pub delivery: Option<DeliveryRow>,
    /// The failure that ended it.
    #[prost(message, optional, tag = "22")]
    pub failure: Option<v1::Failure>,
    /// The input document; empty once deleted.
    #[prost(bytes = "bytes", tag = "23")]
    pub input: Bytes,
    /// Input, output and result were deleted.
    #[prost(bool, tag = "24")]
    pub content_deleted: bool,
    /// Number of the newest attempt, ever (attempts in the history may be dropped).
    #[prost(uint32, tag = "25")]
    pub attempt: u32,
    /// Locks that were adopted for it, in log order; at most 16.
    #[prost(message, repeated, tag = "26")]
    pub locks: Vec<LockRow>,
    /// Where its payment stands; unset = unfunded.
    #[prost(enumeration = "v1::PaymentStatus", tag = "27")]
    pub payment: i32,
    /// Micro-AIT paid, fee included.
    #[prost(uint64, tag = "28")]
    pub paid: u64,
    /// Micro-AIT of that which are the market's fee.
    #[prost(uint64, tag = "29")]
    pub fee: u64,
    /// Micro-AIT that went back to the payers.
    #[prost(uint64, tag = "30")]
    pub returned: u64,
    /// No miner gets it without funds.
    #[prost(bool, tag = "31")]
    pub needs_funds: bool,
    /// Receipt (392 bytes) or checkpoint layout (136 bytes) that the payment of a stopped job rests on.
    #[prost(bytes = "bytes", tag = "32")]
    pub evidence: Bytes,
    /// The miner's signature over it.
    #[prost(bytes = "bytes", tag = "33")]
    pub evidence_signature: Bytes,
    /// Micro-AIT that must be locked before it starts; 0 = any lock starts it.
    #[prost(uint64, tag = "34")]
    pub least_funding: u64,
    /// Least reputation in millionths.
    #[prost(uint32, tag = "40")]
    pub min_reputation_ppm: u32,
    /// The listing whose price it pays (UUID bytes), or empty.
    #[prost(bytes = "bytes", tag = "41")]
    pub offer: Bytes,
    /// The rental that it is part of (UUID bytes), or empty.
    #[prost(bytes = "bytes", tag = "42")]
    pub rental: Bytes,
    /// The miner of that listing or rental (UUID bytes), or empty.
    #[prost(bytes = "bytes", tag = "43")]
    pub agreed_miner: Bytes,
    /// The price that was agreed with it, in micro-AIT per hour.
    #[prost(uint64, tag = "44")]
    pub agreed_rate: u64,
    /// Addresses (20 bytes each) at which its miner may not be paid, sorted.
    #[prost(bytes = "bytes", repeated, tag = "45")]
    pub not_paid_at: Vec<Bytes>,
    /// The agent whose execution it is (UUID bytes), or empty.
    #[prost(bytes = "bytes", tag = "46")]
    pub agent: Bytes,
    /// The agent's version.
    #[prost(uint32, tag = "47")]
    pub agent_version: u32,
    /// The tools that it may use, sorted.
    #[prost(string, repeated, tag = "48")]
    pub tools: Vec<String>,
}

/// A lock that a job adopted.
#[derive(Clone, PartialEq, Message)]
pub struct LockRow {
    /// tx_id.
    #[prost(bytes = "bytes", tag = "1")]
    pub lock: Bytes,
    /// Whose money it is: the wallet's address.
    #[prost(bytes = "bytes", tag = "2")]
    pub payer: Bytes,
    /// Micro-AIT.
    #[prost(uint64, tag = "3")]
    pub amount: u64,
    /// Ledger time, Unix ms.
    #[prost(uint64, tag = "4")]
    pub expires_at: u64,
    /// Micro-AIT per hour and slot.
    #[prost(uint64, tag = "5")]
    pub max_rate: u64,
    /// Hundredths of a percent.
    #[prost(uint32, tag = "6")]
    pub max_fee_bps: u32,
    /// The one miner it pays (its key); empty = any.
    #[prost(bytes = "bytes", tag = "7")]
    pub miner_key: Bytes,
    /// Index of its record.
    #[prost(uint64, tag = "8")]
    pub log_index: u64,
    /// It returned whole before the job was settled.
    #[prost(bool, tag = "9")]
    pub returned: bool,
}

/// Orders to the ledger that one batch decided.
#[derive(Clone, PartialEq, Message)]
pub struct OrdersRow {
    /// In the order of their numbers; the row's key has the last.
    #[prost(message, repeated, tag = "1")]
    pub orders: Vec<OrderRow>,
}

/// A final job with locks, whose miner may still send a receipt for what it did until the job was stopped.
#[derive(Clone, PartialEq, Message)]
pub struct StoppedRow {
    /// The attempt.
    #[prost(uint32, tag = "1")]
    pub attempt: u32,
    /// Its miner (UUID bytes).
    #[prost(bytes = "bytes", tag = "2")]
    pub miner_id: Bytes,
    /// The byte of the outcome that is paid: cancelled or deadline.
    #[prost(uint32, tag = "3")]
    pub outcome: u32,
    /// From its start until it was stopped, in ms.
    #[prost(uint64, tag = "4")]
    pub observed_ms: u64,
    /// Its newest checkpoint until then, or empty.
    #[prost(bytes = "bytes", tag = "5")]
    pub checkpoint: Bytes,
    /// The miner's signature over it.
    #[prost(bytes = "bytes", tag = "6")]
    pub checkpoint_signature: Bytes,
    /// The job's status.
    #[prost(enumeration = "v1::JobStatus", tag = "7")]
    pub status: i32,
    /// The job's deadline in Unix ms; 0 = not known.
    #[prost(uint64, tag = "8")]
    pub deadline_ms: u64,
}

/// The newest checkpoint of a running paid attempt that was stored.
#[derive(Clone, PartialEq, Message)]
pub struct CheckpointRow {
    /// The attempt.
    #[prost(uint32, tag = "1")]
    pub attempt: u32,
    /// The checkpoint's layout.
    #[prost(bytes = "bytes", tag = "2")]
    pub checkpoint: Bytes,
    /// The miner's signature over it.
    #[prost(bytes = "bytes", tag = "3")]
    pub signature: Bytes,
    /// When the miner accepted the attempt, in Unix ms; 0 = not known.
    #[prost(uint64, tag = "4")]
    pub started_ms: u64,
}

/// The wallet that an identity is bound to, as the ledger told it.
#[derive(Clone, PartialEq, Message)]
pub struct BindingRow {
    /// The identity's key.
    #[prost(bytes = "bytes", tag = "1")]
    pub identity: Bytes,
    /// The wallet's address.
    #[prost(bytes = "bytes", tag = "2")]
    pub wallet: Bytes,
}

/// What a miner earned with one model on one day.
#[derive(Clone, PartialEq, Message)]
pub struct EarningsRow {
    /// Canonical name.
    #[prost(string, tag = "1")]
    pub model: String,
    /// Jobs that were settled.
    #[prost(uint64, tag = "2")]
    pub jobs: u64,
    /// Micro-AIT paid, fee included.
    #[prost(uint64, tag = "3")]
    pub paid: u64,
    /// Micro-AIT of that which are the market's fee.
    #[prost(uint64, tag = "4")]
    pub fee: u64,
}

/// The job of an open lock.
#[derive(Clone, PartialEq, Message)]
pub struct LockedJobRow {
    /// UUID bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub job_id: Bytes,
    /// Its owner's key.
    #[prost(bytes = "bytes", tag = "2")]
    pub owner: Bytes,
}

/// One attempt.
#[derive(Clone, PartialEq, Message)]
pub struct AttemptRow {
    /// Its number.
    #[prost(uint32, tag = "1")]
    pub attempt: u32,
    /// The miner (UUID bytes).
    #[prost(bytes = "bytes", tag = "2")]
    pub miner_id: Bytes,
    /// The miner's name then.
    #[prost(string, tag = "3")]
    pub miner_name: String,
    /// How it ended.
    #[prost(enumeration = "v1::AttemptOutcome", tag = "4")]
    pub outcome: i32,
    /// Why it failed.
    #[prost(message, optional, tag = "5")]
    pub failure: Option<v1::Failure>,
    /// Unix time in ms.
    #[prost(uint64, tag = "6")]
    pub assigned_ms: u64,
    /// Unix time in ms; 0 = live.
    #[prost(uint64, tag = "7")]
    pub ended_ms: u64,
    /// Assignment layout, 210 bytes; its signature is derived again (Ed25519 is deterministic).
    #[prost(bytes = "bytes", tag = "8")]
    pub assignment: Bytes,
    /// Unix time in ms when the miner accepted it; 0 = not known.
    #[prost(uint64, tag = "9")]
    pub started_ms: u64,
    /// It was taken by PollJob: no session, a longer lease.
    #[prost(bool, tag = "10")]
    pub polled: bool,
    /// Assignment layouts before the newest, oldest first: its budget was raised since.
    #[prost(bytes = "bytes", repeated, tag = "11")]
    pub earlier: Vec<Bytes>,
    /// The length of the lease where it was polled, in milliseconds; 0 = the usual one.
    #[prost(uint64, tag = "12")]
    pub poll_lease_ms: u64,
}

/// What a miner delivered.
#[derive(Clone, PartialEq, Message)]
pub struct DeliveryRow {
    /// Receipt layout, 392 bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub receipt: Bytes,
    /// The miner's signature.
    #[prost(bytes = "bytes", tag = "2")]
    pub signature: Bytes,
    /// Canonical name of the served model.
    #[prost(string, tag = "3")]
    pub served_model: String,
    /// Model server and version.
    #[prost(string, tag = "4")]
    pub engine: String,
    /// Why the output ended.
    #[prost(enumeration = "v1::FinishReason", tag = "5")]
    pub finish_reason: i32,
    /// The result document where it is small; else its chunks are in the output table.
    #[prost(bytes = "bytes", optional, tag = "6")]
    pub result: Option<Bytes>,
    /// Bytes of the result document.
    #[prost(uint64, tag = "7")]
    pub result_len: u64,
    /// From accept to complete by the coordinator's monotonic clock.
    #[prost(uint64, tag = "8")]
    pub observed_ms: u64,
    /// Unix time in ms of the first output; 0 = none.
    #[prost(uint64, tag = "9")]
    pub first_token_ms: u64,
    /// The whole streamed output is the result document's `content`.
    #[prost(bool, tag = "10")]
    pub output_in_result: bool,
    /// Acknowledgement layout of the job's owner; empty = none.
    #[prost(bytes = "bytes", tag = "11")]
    pub acknowledgement: Bytes,
    /// The owner's signature over it.
    #[prost(bytes = "bytes", tag = "12")]
    pub acknowledgement_signature: Bytes,
}

/// A registered miner.
#[derive(Clone, PartialEq, Message)]
pub struct MinerRow {
    /// Registration and counters; status, running jobs and last_seen_at are left unset.
    #[prost(message, optional, tag = "1")]
    pub miner: Option<v1::Miner>,
    /// Number of the engine's change that wrote this row.
    #[prost(uint64, tag = "2")]
    pub change: u64,
}

/// The engine's own row, written with every batch.
#[derive(Clone, PartialEq, Message)]
pub struct EngineRow {
    /// Number of the newest change.
    #[prost(uint64, tag = "1")]
    pub change: u64,
    /// The engine's time then: Unix ms.
    #[prost(uint64, tag = "2")]
    pub now_ms: u64,
    /// Number of the newest notice of the ledger that was applied; 0 = none.
    #[prost(uint64, tag = "3")]
    pub notices: u64,
    /// Number of the newest order to the ledger; 0 = none.
    #[prost(uint64, tag = "4")]
    pub orders: u64,
    /// Orders up to this number are applied and deleted.
    #[prost(uint64, tag = "5")]
    pub trimmed: u64,
}

/// A used idempotency key.
#[derive(Clone, PartialEq, Message)]
pub struct RequestRow {
    /// SHA-256 of the request's body.
    #[prost(bytes = "bytes", tag = "1")]
    pub body_hash: Bytes,
    /// The job it created or was about (UUID bytes).
    #[prost(bytes = "bytes", tag = "2")]
    pub job_id: Bytes,
    /// Unix time in ms.
    #[prost(uint64, tag = "3")]
    pub created_ms: u64,
    /// The attempt that it leased or delivered; 0 for one that made a job.
    #[prost(uint32, tag = "4")]
    pub attempt: u32,
}

/// Decodes a row; bytes that do not parse are damaged data.
pub fn decode<R: Message + Default>(bytes: Bytes) -> Result<R, StoreError> {
    R::decode(bytes).map_err(|error| StoreError::Corrupt(format!("a row does not parse: {error}")))
}

/// A wallet's address stored as bytes; `None` where it is empty or damaged.
#[must_use]
pub fn address(bytes: &Bytes) -> Option<Address> {
    bytes.as_ref().try_into().ok().map(Address)
}

/// A UUID stored as bytes; `None` where it is empty or damaged.
#[must_use]
pub fn uuid(bytes: &Bytes) -> Option<[u8; 16]> {
    bytes.as_ref().try_into().ok()
}

impl JobRow {
    /// The price in micro-AIT per hour that was agreed for it, where it names a listing or a rental.
    #[must_use]
    pub fn agreed_price(&self) -> Option<u64> {
        (!self.agreed_miner.is_empty()).then_some(self.agreed_rate)
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> JobId {
        JobId(uuid(&self.job_id).unwrap_or_default())
    }

    /// The live attempt.
    #[must_use]
    pub fn live_attempt(&self) -> Option<&AttemptRow> {
        self.attempts.last().filter(|_| self.leased)
    }
}

impl JobRow {
    /// Micro-AIT that payers locked for it, in all.
    #[must_use]
    pub fn locked(&self) -> u64 {
        self.locks
            .iter()
            .fold(0, |sum, lock| sum.saturating_add(lock.amount))
    }

    /// Locks that did not return by themselves, in log order.
    pub fn open_locks(&self) -> impl Iterator<Item = &LockRow> {
        self.locks.iter().filter(|lock| !lock.returned)
    }
}

impl LockRow {
    /// tx_id.
    #[must_use]
    pub fn id(&self) -> Hash {
        self.lock.as_ref().try_into().unwrap_or_default()
    }
}

impl AttemptRow {
    /// Its miner.
    #[must_use]
    pub fn miner(&self) -> MinerId {
        MinerId(uuid(&self.miner_id).unwrap_or_default())
    }
}
