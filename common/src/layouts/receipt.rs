//! Receipt v1: a miner claims the output it delivered. It does not prove that the model ran or that counts are true.

use super::{Fields, LayoutError};
use crate::address::Address;
use crate::hash::{Hash, sha256, tagged};
use crate::identity::{Identity, PublicKey};
use crate::ids::JobId;

/// How the attempt ended; in a ledger's payment also whether a rental goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Outcome {
    /// The whole answer.
    Complete = 1,
    /// The locked funds were used up.
    Budget = 2,
    /// The owner cancelled it.
    Cancelled = 3,
    /// The deadline passed.
    Deadline = 4,
    /// A rental goes on; never in a receipt.
    Rental = 5,
    /// A rental is over; never in a receipt.
    RentalEnd = 6,
}

impl Outcome {
    /// From its byte.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        [
            Self::Complete,
            Self::Budget,
            Self::Cancelled,
            Self::Deadline,
            Self::Rental,
            Self::RentalEnd,
        ]
        .into_iter()
        .find(|o| *o as u8 == byte)
    }

    /// Whether it is a rental's, not a job's.
    #[must_use]
    pub fn is_rental(self) -> bool {
        matches!(self, Self::Rental | Self::RentalEnd)
    }
}

/// The model server that a receipt names where a person did the work.
pub const MANUAL_ENGINE: &str = "manual";

/// Receipt v1, 392 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// How the attempt ended.
    pub outcome: Outcome,
    /// The attempt.
    pub attempt: u16,
    /// The chain.
    pub chain_id: Hash,
    /// The job.
    pub job_id: JobId,
    /// Hash of its specification.
    pub job_ref: Hash,
    /// [`super::Assignment::id`] of the newest assignment received for this attempt.
    pub assignment_hash: Hash,
    /// Who ran it.
    pub miner_key: PublicKey,
    /// Who is paid.
    pub payee: Address,
    /// SHA-256 of the served model's canonical name.
    pub model_name_hash: Hash,
    /// SHA-256 of the served model.
    pub model_digest: Hash,
    /// SHA-256 of the model server's name and version, such as `ollama/0.17.4`.
    pub engine_hash: Hash,
    /// Bytes of output.
    pub output_len: u64,
    /// SHA-256 of them.
    pub output_hash: Hash,
    /// SHA-256 of the result document.
    pub result_hash: Hash,
    /// Tokens of the prompt.
    pub tokens_in: u32,
    /// Tokens generated.
    pub tokens_out: u32,
    /// Milliseconds the model worked: prompt and generation.
    pub work_ms: u64,
    /// Size of the last ledger checkpoint that the miner saw; 0 = none.
    pub seen_size: u64,
    /// Root of it; zero = none.
    pub seen_root: Hash,
}

impl Receipt {
    /// Bytes of this layout.
    pub const LEN: usize = 392;

    /// Whether it says that a person did the work, not a model server.
    #[must_use]
    pub fn is_manual(&self) -> bool {
        self.engine_hash == sha256(MANUAL_ENGINE.as_bytes())
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::LEN);
        out.extend([1, self.outcome as u8]);
        out.extend(self.attempt.to_be_bytes());
        out.extend(self.chain_id);
        out.extend(self.job_id.0);
        out.extend(self.job_ref);
        out.extend(self.assignment_hash);
        out.extend(self.miner_key.0);
        out.extend(self.payee.0);
        out.extend(self.model_name_hash);
        out.extend(self.model_digest);
        out.extend(self.engine_hash);
        out.extend(self.output_len.to_be_bytes());
        out.extend(self.output_hash);
        out.extend(self.result_hash);
        out.extend(self.tokens_in.to_be_bytes());
        out.extend(self.tokens_out.to_be_bytes());
        out.extend(self.work_ms.to_be_bytes());
        out.extend(self.seen_size.to_be_bytes());
        out.extend(self.seen_root);
        out
    }

    /// Reads its bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut fields = Fields::new("receipt", bytes, Self::LEN)?;
        fields.version()?;
        let outcome = fields.u8();
        Ok(Self {
            outcome: Outcome::from_byte(outcome)
                .filter(|outcome| !outcome.is_rental())
                .ok_or(LayoutError::Value {
                    layout: "receipt",
                    field: "outcome",
                    value: u64::from(outcome),
                })?,
            attempt: fields.u16(),
            chain_id: fields.take(),
            job_id: JobId(fields.take()),
            job_ref: fields.take(),
            assignment_hash: fields.take(),
            miner_key: PublicKey(fields.take()),
            payee: Address(fields.take()),
            model_name_hash: fields.take(),
            model_digest: fields.take(),
            engine_hash: fields.take(),
            output_len: fields.u64(),
            output_hash: fields.take(),
            result_hash: fields.take(),
            tokens_in: fields.u32(),
            tokens_out: fields.u32(),
            work_ms: fields.u64(),
            seen_size: fields.u64(),
            seen_root: fields.take(),
        })
    }

    /// The miner's signature over H("aitbc/receipt/v1", the layout).
    #[must_use]
    pub fn sign(&self, miner: &Identity) -> [u8; 64] {
        miner.sign(&tagged("aitbc/receipt/v1", &self.encode()))
    }

    /// Whether `signature` is `miner_key`'s over this receipt.
    #[must_use]
    pub fn verify(&self, miner_key: &PublicKey, signature: &[u8]) -> bool {
        miner_key.verify(&tagged("aitbc/receipt/v1", &self.encode()), signature)
    }

    /// Receipt id = H("aitbc/receipt-id/v1", layout ‖ signature).
    #[must_use]
    pub fn id(&self, signature: &[u8]) -> Hash {
        tagged("aitbc/receipt-id/v1", &[&self.encode(), signature].concat())
    }
}
