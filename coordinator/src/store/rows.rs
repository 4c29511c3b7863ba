//! What the tables hold: protobuf messages of the store's own. Tags are frozen; removed ones are never used again.

use aitbc_common::ids::{JobId, MinerId};
use aitbc_proto::v1;
use bytes::Bytes;
use prost::Message;

use super::StoreError;

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
    /// Failed attempts so far.
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

/// A UUID stored as bytes; `None` where it is empty or damaged.
#[must_use]
pub fn uuid(bytes: &Bytes) -> Option<[u8; 16]> {
    bytes.as_ref().try_into().ok()
}

impl JobRow {
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

impl AttemptRow {
    /// Its miner.
    #[must_use]
    pub fn miner(&self) -> MinerId {
        MinerId(uuid(&self.miner_id).unwrap_or_default())
    }
}
