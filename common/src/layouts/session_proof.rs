//! Session proof: a miner answers the coordinator's challenge.

use super::{Fields, LayoutError};
use crate::hash::{Hash, tagged};
use crate::identity::{Identity, PublicKey};
use crate::ids::MinerId;

/// Session proof, 80 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionProof {
    /// The chain.
    pub chain_id: Hash,
    /// What the coordinator sent.
    pub challenge: [u8; 32],
    /// The miner that opens the session.
    pub miner_id: MinerId,
}

impl SessionProof {
    /// Bytes of this layout.
    pub const LEN: usize = 80;

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        [&self.chain_id[..], &self.challenge, &self.miner_id.0].concat()
    }

    /// Reads its bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut fields = Fields::new("session proof", bytes, Self::LEN)?;
        Ok(Self {
            chain_id: fields.take(),
            challenge: fields.take(),
            miner_id: MinerId(fields.take()),
        })
    }

    /// The miner's signature over H("aitbc/session/v1", the layout).
    #[must_use]
    pub fn sign(&self, miner: &Identity) -> [u8; 64] {
        miner.sign(&tagged("aitbc/session/v1", &self.encode()))
    }

    /// Whether `signature` is `miner_key`'s over this proof.
    #[must_use]
    pub fn verify(&self, miner_key: &PublicKey, signature: &[u8]) -> bool {
        miner_key.verify(&tagged("aitbc/session/v1", &self.encode()), signature)
    }
}
