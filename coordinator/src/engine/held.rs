//! What a miner says of an attempt that it has.

use super::command::AttemptId;

/// An attempt that a miner says it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldAttempt {
    /// The attempt.
    pub attempt: AttemptId,
    /// Bytes of output so far.
    pub output_bytes: u64,
    /// Tokens so far, also those that are no output; 0 = not known.
    pub output_tokens: u64,
    /// Milliseconds since it accepted it, where it says so.
    pub accepted_ago_ms: Option<u64>,
    /// Milliseconds since its first output, where it says so.
    pub first_output_ago_ms: Option<u64>,
}
