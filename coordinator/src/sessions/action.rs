//! What a session's core asks of its driver.

use aitbc_common::hash::Hash;
use aitbc_common::ids::MinerId;
use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1;
use aitbc_proto::v1::coordinator_message::Message as Down;

use super::output_buffer::Append;
use crate::engine::command::{AttemptId, Command};

/// Which of an attempt's two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamKind {
    /// The text as it is generated.
    Output = 1,
    /// The result document.
    Result = 2,
}

/// How far an attempt's streams are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of output.
    pub output_len: u64,
    /// SHA-256 of them.
    pub output_hash: Hash,
    /// Bytes of the result document.
    pub result_len: u64,
    /// SHA-256 of them.
    pub result_hash: Hash,
}

/// Where a session puts what arrives for its attempts. `None` = the attempt has no streams.
pub trait AttemptStreams {
    /// Takes a chunk.
    fn append(
        &mut self,
        attempt: AttemptId,
        kind: StreamKind,
        offset: u64,
        data: &[u8],
    ) -> Option<Append>;
    /// How far both streams are.
    fn progress(&self, attempt: AttemptId) -> Option<Progress>;
}

/// What the driver does for a session.
#[derive(Debug, Clone)]
pub enum Action {
    /// Send this to the miner.
    Send(Down),
    /// Check the proof against challenge, chain and miner key, then call [`super::core::SessionCore::proof_checked`].
    CheckProof {
        /// Who it says it is.
        miner_id: MinerId,
        /// The signature.
        proof: bytes::Bytes,
    },
    /// Open it at the engine, then call [`super::core::SessionCore::opened`] with the answer.
    Open(Command),
    /// Tell the engine; the answer does not matter.
    Tell(Command),
    /// Tell the engine about a failure, then call [`super::core::SessionCore::recorded`]: with `refusal` where there
    /// is one and the engine agreed, else with its answer.
    Fail {
        /// The attempt.
        attempt: AttemptId,
        /// Why it failed.
        failure: v1::Failure,
        /// What the miner is told, where its delivery was refused.
        refusal: Option<ApiError>,
    },
    /// Verify a delivery and give it to the engine, then call [`super::core::SessionCore::recorded`].
    Complete(AttemptId, Box<v1::Complete>),
    /// Verify a checkpoint and show it to watchers.
    Checkpoint(AttemptId, v1::Checkpoint),
    /// New bytes arrived on this stream: store what is too much for memory.
    Arrived(AttemptId, StreamKind),
    /// End the stream with this error.
    Close(ApiError),
}
