//! Stream checkpoint v1: a miner signs its output so far, about each second.

use super::{Fields, LayoutError};
use crate::hash::{Hash, tagged};
use crate::identity::{Identity, PublicKey};
use crate::ids::JobId;

/// Stream checkpoint v1, 136 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamCheckpoint {
    /// 0.
    pub flags: u8,
    /// The attempt.
    pub attempt: u16,
    /// The chain.
    pub chain_id: Hash,
    /// The job.
    pub job_id: JobId,
    /// Hash of its specification.
    pub job_ref: Hash,
    /// Bytes of output so far.
    pub offset: u64,
    /// SHA-256 of them.
    pub hash: Hash,
    /// Tokens generated so far.
    pub tokens_out: u32,
    /// Milliseconds the model worked so far.
    pub work_ms: u64,
}

impl StreamCheckpoint {
    /// Bytes of this layout.
    pub const LEN: usize = 136;

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::LEN);
        out.extend([1, self.flags]);
        out.extend(self.attempt.to_be_bytes());
        out.extend(self.chain_id);
        out.extend(self.job_id.0);
        out.extend(self.job_ref);
        out.extend(self.offset.to_be_bytes());
        out.extend(self.hash);
        out.extend(self.tokens_out.to_be_bytes());
        out.extend(self.work_ms.to_be_bytes());
        out
    }

    /// Reads its bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut fields = Fields::new("stream checkpoint", bytes, Self::LEN)?;
        fields.version()?;
        let checkpoint = Self {
            flags: fields.u8(),
            attempt: fields.u16(),
            chain_id: fields.take(),
            job_id: JobId(fields.take()),
            job_ref: fields.take(),
            offset: fields.u64(),
            hash: fields.take(),
            tokens_out: fields.u32(),
            work_ms: fields.u64(),
        };
        fields.check(checkpoint.flags == 0, "flags", u64::from(checkpoint.flags))?;
        Ok(checkpoint)
    }

    /// The miner's signature over H("aitbc/stream/v1", the layout).
    #[must_use]
    pub fn sign(&self, miner: &Identity) -> [u8; 64] {
        miner.sign(&tagged("aitbc/stream/v1", &self.encode()))
    }

    /// Whether `signature` is `miner_key`'s over this checkpoint.
    #[must_use]
    pub fn verify(&self, miner_key: &PublicKey, signature: &[u8]) -> bool {
        miner_key.verify(&tagged("aitbc/stream/v1", &self.encode()), signature)
    }

    /// evidence_id of a checkpoint = H("aitbc/stream-id/v1", layout ‖ signature).
    #[must_use]
    pub fn id(&self, signature: &[u8]) -> Hash {
        tagged("aitbc/stream-id/v1", &[&self.encode(), signature].concat())
    }
}
