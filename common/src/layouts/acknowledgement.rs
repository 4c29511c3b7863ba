//! Acknowledgement v1: a job's owner says what became of the result.

use super::{Fields, LayoutError};
use crate::hash::{Hash, tagged};
use crate::identity::{Identity, PublicKey};

/// What the owner says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Verdict {
    /// The receipt matches what arrived.
    Matches = 1,
    /// It does not.
    Disputed = 2,
}

/// Acknowledgement v1, 106 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledgement {
    /// What the owner says.
    pub verdict: Verdict,
    /// The chain.
    pub chain_id: Hash,
    /// [`super::Receipt::id`].
    pub receipt_id: Hash,
    /// The owner.
    pub owner: PublicKey,
    /// Unix time in ms by the owner's clock.
    pub time_ms: u64,
}

impl Acknowledgement {
    /// Bytes of this layout.
    pub const LEN: usize = 106;

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![1, self.verdict as u8];
        out.extend(self.chain_id);
        out.extend(self.receipt_id);
        out.extend(self.owner.0);
        out.extend(self.time_ms.to_be_bytes());
        out
    }

    /// Reads its bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut fields = Fields::new("acknowledgement", bytes, Self::LEN)?;
        fields.version()?;
        let verdict = match fields.u8() {
            1 => Verdict::Matches,
            2 => Verdict::Disputed,
            other => return Err(fields.undefined("verdict", u64::from(other))),
        };
        Ok(Self {
            verdict,
            chain_id: fields.take(),
            receipt_id: fields.take(),
            owner: PublicKey(fields.take()),
            time_ms: fields.u64(),
        })
    }

    /// The owner's signature over H("aitbc/ack/v1", the layout).
    #[must_use]
    pub fn sign(&self, owner: &Identity) -> [u8; 64] {
        owner.sign(&tagged("aitbc/ack/v1", &self.encode()))
    }

    /// Whether `signature` is the owner's.
    #[must_use]
    pub fn verify(&self, signature: &[u8]) -> bool {
        self.owner
            .verify(&tagged("aitbc/ack/v1", &self.encode()), signature)
    }
}
