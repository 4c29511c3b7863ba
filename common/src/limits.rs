//! Bounds that both sides keep.

/// Bytes of a job's input document.
pub const INPUT_BYTES: usize = 3 << 20;
/// Bytes of an attempt's output; beyond it a run ends with finish reason `length`.
pub const OUTPUT_BYTES: u64 = 16 << 20;
/// Bytes of a result document: the output with JSON's escapes.
pub const RESULT_BYTES: u64 = 20 << 20;
/// Bytes of one gRPC message, in both directions.
pub const MESSAGE_BYTES: usize = 4 << 20;
/// Bytes of one chunk of output or result.
pub const CHUNK_BYTES: usize = 256 << 10;
/// Bytes of a batch of waiting session messages, unless one alone is larger.
pub const SESSION_BATCH_BYTES: usize = 256 << 10;
/// Bytes of a batch of waiting watch events, unless one alone is larger.
pub const WATCH_BATCH_BYTES: usize = 64 << 10;
/// Jobs in one SubmitJobs.
pub const JOBS_PER_BATCH: usize = 1_000;
/// Characters of a request id.
pub const REQUEST_ID_CHARS: usize = 64;
/// Slots of one miner.
pub const MINER_SLOTS: u32 = 256;
/// Models of one miner.
pub const MINER_MODELS: usize = 256;
/// Kinds of GPU of one miner.
pub const MINER_GPUS: usize = 16;
/// Characters of a miner's name.
pub const NAME_CHARS: usize = 64;
/// Bytes of a failure's message.
pub const FAILURE_MESSAGE_BYTES: usize = 1_024;
/// GiB of video memory that a job may ask for.
pub const MAX_VRAM_GIB: u32 = 4_096;
/// Failed attempts that a job may allow.
pub const MAX_RETRIES: u32 = 20;
/// How often a job is tried again after failures, where its owner does not say.
pub const DEFAULT_RETRIES: u32 = 3;
/// Highest rank of a job among its owner's; the lowest is its negative.
pub const MAX_PRIORITY: i32 = 100;
/// Shortest time from acceptance to a job's deadline, in milliseconds: 1 s.
pub const MIN_TIMEOUT_MS: u64 = 1_000;
/// Longest time from acceptance to a job's deadline, in milliseconds: 7 days.
pub const MAX_TIMEOUT_MS: u64 = 7 * 24 * 3_600_000;
/// Shortest lease of a polled job, in milliseconds: 10 s.
pub const MIN_POLL_LEASE_MS: u64 = 10_000;
/// Longest lease of a polled job, in milliseconds: 1 hour.
pub const MAX_POLL_LEASE_MS: u64 = 3_600_000;

/// A job has at most this many locks.
pub const MAX_LOCKS: usize = 16;

/// The last of a job's [`MAX_LOCKS`] places, which are kept for its owner: whoever else pays for it never takes them.
pub const OWNERS_LOCKS: usize = 4;
/// Time from acceptance to a job's deadline where its owner does not say, in milliseconds: 1 hour.
pub const DEFAULT_TIMEOUT_MS: u64 = 3_600_000;
