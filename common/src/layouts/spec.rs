//! Job spec v1: what a client asks for. Every proof names its hash, the job_ref.

use super::{Fields, LayoutError};
use crate::hash::{Hash, sha256, tagged};
use crate::identity::PublicKey;
use crate::ids::{ListingId, MinerId, RentalId};
use crate::job_input::JobType;

/// `max_rate` of a job without a highest price.
pub const NO_MAX_RATE: u64 = u64::MAX;

/// Bit 0 of a specification's flags: its work may be audited.
pub const AUDIT_ALLOWED: u16 = 1;

/// Job spec v1, 252 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSpec {
    /// What to compute: 1 inference, 2 embedding, 3 agent.
    pub job_type: JobType,
    /// Bit 0: its work may be audited; the others are 0.
    pub flags: u16,
    /// The chain it is for.
    pub chain_id: Hash,
    /// Who asks.
    pub owner: PublicKey,
    /// 32 random bytes of the client.
    pub salt: [u8; 32],
    /// SHA-256 of the canonical model name.
    pub model_name_hash: Hash,
    /// SHA-256 that the served model must have; zero = any.
    pub model_digest: Hash,
    /// Bytes of the input document.
    pub input_len: u64,
    /// SHA-256 of the input document.
    pub input_hash: Hash,
    /// Hash of the requirements: [`Requirements::hash`].
    pub requirements_hash: Hash,
    /// Highest accepted price in micro-AIT per hour; [`NO_MAX_RATE`] = any.
    pub max_rate: u64,
    /// Milliseconds from acceptance until it expires.
    pub deadline_ms: u64,
}

impl JobSpec {
    /// Bytes of this layout.
    pub const LEN: usize = 252;

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::LEN);
        out.extend([1, self.job_type as u8]);
        out.extend(self.flags.to_be_bytes());
        out.extend(self.chain_id);
        out.extend(self.owner.0);
        out.extend(self.salt);
        out.extend(self.model_name_hash);
        out.extend(self.model_digest);
        out.extend(self.input_len.to_be_bytes());
        out.extend(self.input_hash);
        out.extend(self.requirements_hash);
        out.extend(self.max_rate.to_be_bytes());
        out.extend(self.deadline_ms.to_be_bytes());
        out
    }

    /// Reads its bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut fields = Fields::new("job spec", bytes, Self::LEN)?;
        fields.version()?;
        let job_type = fields.u8();
        let spec = Self {
            job_type: JobType::try_from(job_type).map_err(|_| LayoutError::Value {
                layout: "job spec",
                field: "type",
                value: u64::from(job_type),
            })?,
            flags: fields.u16(),
            chain_id: fields.take(),
            owner: PublicKey(fields.take()),
            salt: fields.take(),
            model_name_hash: fields.take(),
            model_digest: fields.take(),
            input_len: fields.u64(),
            input_hash: fields.take(),
            requirements_hash: fields.take(),
            max_rate: fields.u64(),
            deadline_ms: fields.u64(),
        };
        fields.check(spec.flags <= 1, "flags", u64::from(spec.flags))?;
        Ok(spec)
    }

    /// Whether its work may be audited.
    #[must_use]
    pub fn allows_audit(&self) -> bool {
        self.flags & AUDIT_ALLOWED != 0
    }

    /// H("aitbc/spec/v1", the layout).
    #[must_use]
    pub fn job_ref(&self) -> Hash {
        tagged("aitbc/spec/v1", &self.encode())
    }
}

/// Which miners may run a job.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Requirements {
    /// Video memory of the largest GPU in GiB, at least; 0 = any.
    pub min_vram_gib: u32,
    /// Only this miner.
    pub miner: Option<MinerId>,
    /// Reputation in millionths, at least; 0 = any.
    pub min_reputation_ppm: u32,
    /// At this listing's price, on its miner.
    pub offer: Option<ListingId>,
    /// Under this rental, on its miner.
    pub rental: Option<RentalId>,
}

impl Requirements {
    /// SHA-256 of the sorted `key=value\n` lines of those that are set (of nothing if none); decimal integers, full ids.
    #[must_use]
    pub fn hash(&self) -> Hash {
        let mut lines = String::new();
        if self.min_reputation_ppm > 0 {
            lines.push_str(&format!("min_reputation_ppm={}\n", self.min_reputation_ppm));
        }
        if self.min_vram_gib > 0 {
            lines.push_str(&format!("min_vram_gib={}\n", self.min_vram_gib));
        }
        if let Some(miner) = self.miner {
            lines.push_str(&format!("miner={miner}\n"));
        }
        if let Some(offer) = self.offer {
            lines.push_str(&format!("offer={offer}\n"));
        }
        if let Some(rental) = self.rental {
            lines.push_str(&format!("rental={rental}\n"));
        }
        sha256(lines.as_bytes())
    }
}
