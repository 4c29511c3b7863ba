//! A job as its owner builds it: the request, and the specification that every proof must name.

use std::time::Duration;

use aitbc_common::hash::{Hash, sha256};
use aitbc_common::ids::{ListingId, MinerId, RentalId};
use aitbc_common::job_input::JobType;
use aitbc_common::layouts::{self, NO_MAX_RATE};
use aitbc_common::limits::{DEFAULT_TIMEOUT_MS, MAX_TIMEOUT_MS, MIN_TIMEOUT_MS};
use aitbc_common::money::MicroAit;
use aitbc_common::names::parse_model;
use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::runtime::random_bytes;
use aitbc_proto::v1::{JobSpec, Requirements, SubmitJobRequest};

use crate::output::json::duration_for_request;
use crate::values;

/// A model as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// As the user wrote it, without the digest.
    pub name: String,
    /// With its tag.
    pub canonical: String,
    /// The digest it must have.
    pub digest: Option<Hash>,
}

/// Reads `NAME[@sha256:HEX]`.
pub fn model(text: &str) -> Result<Model, CommandError> {
    let (canonical, digest) = parse_model(text)
        .map_err(|error| CommandError::usage(error.to_string()).with_hint(error.hint()))?;
    let name = text.split('@').next().unwrap_or_default().to_owned();
    Ok(Model {
        name,
        canonical,
        digest,
    })
}

/// Reads a time until a job expires: 1 s to 7 days.
pub fn timeout(text: &str) -> Result<Duration, CommandError> {
    let timeout = values::duration(text)?;
    let bounds = Duration::from_millis(MIN_TIMEOUT_MS)..=Duration::from_millis(MAX_TIMEOUT_MS);
    if bounds.contains(&timeout) {
        // The specification counts whole milliseconds.
        return Ok(Duration::from_millis(
            u64::try_from(timeout.as_millis()).expect("at most 7 days"),
        ));
    }
    Err(
        CommandError::usage(format!("a job cannot time out after {text}"))
            .with_hint("give 1s to 7d, for example --timeout 10m"),
    )
}

/// What a job needs; everything but type, model and input has a default.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// What to compute.
    pub job_type: JobType,
    /// With which model.
    pub model: Model,
    /// The checked input document.
    pub input: Vec<u8>,
    /// Highest price.
    pub max_price: Option<MicroAit>,
    /// Video memory at least, in GiB; 0 = any.
    pub min_vram_gib: u32,
    /// Only this miner.
    pub miner: Option<MinerId>,
    /// Reputation at least, in millionths; 0 = any.
    pub min_reputation_ppm: u32,
    /// On this listing's miner, at its price.
    pub offer: Option<ListingId>,
    /// Under this rental.
    pub rental: Option<RentalId>,
    /// Time until it expires.
    pub timeout: Duration,
    /// Its work may be audited.
    pub allow_audit: bool,
    /// Rank among the owner's jobs.
    pub priority: i32,
    /// How often it is tried again after failures.
    pub max_retries: Option<u32>,
    /// Refuse it when nobody could run it.
    pub require_miner: bool,
    /// Keep it pending until funds are locked for it.
    pub hold: bool,
    /// Keep it pending until so much is locked for it.
    pub least_funding: Option<MicroAit>,
    /// Idempotency key; one is drawn where none is given.
    pub request_id: Option<String>,
}

impl NewJob {
    /// Of a type, model and input, all else by default.
    pub fn new(job_type: JobType, model: Model, input: Vec<u8>) -> Self {
        Self {
            job_type,
            model,
            input,
            max_price: None,
            min_vram_gib: 0,
            miner: None,
            min_reputation_ppm: 0,
            offer: None,
            rental: None,
            timeout: Duration::from_millis(DEFAULT_TIMEOUT_MS),
            allow_audit: false,
            priority: 0,
            max_retries: None,
            require_miner: false,
            hold: false,
            least_funding: None,
            request_id: None,
        }
    }

    /// Its specification on the connection's chain.
    pub fn layout(&self, connection: &Connection, salt: [u8; 32]) -> layouts::JobSpec {
        let requirements = layouts::Requirements {
            min_vram_gib: self.min_vram_gib,
            miner: self.miner,
            min_reputation_ppm: self.min_reputation_ppm,
            offer: self.offer,
            rental: self.rental,
        };
        layouts::JobSpec {
            job_type: self.job_type,
            flags: u16::from(self.allow_audit) * layouts::AUDIT_ALLOWED,
            chain_id: *connection.chain_id(),
            owner: connection.identity.public(),
            salt,
            model_name_hash: sha256(self.model.canonical.as_bytes()),
            model_digest: self.model.digest.unwrap_or_default(),
            input_len: self.input.len() as u64,
            input_hash: sha256(&self.input),
            requirements_hash: requirements.hash(),
            max_rate: self.max_price.map_or(NO_MAX_RATE, |price| price.0),
            deadline_ms: u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// Its specification as it travels.
    pub fn spec(&self, salt: [u8; 32]) -> JobSpec {
        JobSpec {
            r#type: self.job_type as i32,
            model: self.model.name.clone(),
            model_digest: self
                .model
                .digest
                .map_or_else(Vec::new, |digest| digest.to_vec())
                .into(),
            input: self.input.clone().into(),
            requirements: Some(Requirements {
                min_vram_gib: self.min_vram_gib,
                miner_id: self.miner.map(|miner| miner.to_string()),
                min_reputation_ppm: self.min_reputation_ppm,
                listing_id: self.offer.map(|offer| offer.to_string()),
                rental_id: self.rental.map(|rental| rental.to_string()),
            }),
            max_price_per_hour_micro_ait: self.max_price.map(|price| price.0),
            timeout: Some(duration_for_request(self.timeout)),
            salt: salt.to_vec().into(),
            allow_audit: self.allow_audit,
        }
    }

    /// The request that submits it.
    pub fn request(&self, salt: [u8; 32], request_id: &str) -> SubmitJobRequest {
        SubmitJobRequest {
            request_id: request_id.to_owned(),
            spec: Some(self.spec(salt)),
            priority: self.priority,
            max_retries: self.max_retries,
            require_miner: self.require_miner,
            hold: self.hold,
            least_funding_micro_ait: self.least_funding.map_or(0, |least| least.0),
        }
    }
}

/// A random idempotency key.
pub fn random_request_id() -> String {
    hex::encode(random_bytes::<16>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_keeps_the_name_it_was_given() {
        let plain = model("llama3").unwrap();
        assert_eq!(
            (plain.name.as_str(), plain.canonical.as_str()),
            ("llama3", "llama3:latest")
        );
        let pinned = model(&format!("llama3:8b@sha256:{}", "0a".repeat(32))).unwrap();
        assert_eq!(
            (pinned.name.as_str(), pinned.digest),
            ("llama3:8b", Some([10; 32]))
        );
        assert!(model("llama3@sha256:12").unwrap_err().hint.is_some());
    }

    #[test]
    fn timeouts_are_bounded() {
        assert_eq!(timeout("1.0005").unwrap(), Duration::from_millis(1_000));
        assert_eq!(timeout("7d").unwrap().as_secs(), 604_800);
        for bad in ["0", "999ms", "8d", "-5s", "NaN", "1e3"] {
            assert!(timeout(bad).unwrap_err().hint.is_some(), "{bad}");
        }
    }

    #[test]
    fn the_request_says_what_the_layout_hashes() {
        let mut job = NewJob::new(JobType::Embedding, model("m").unwrap(), b"{}".to_vec());
        job.max_price = Some(MicroAit(7));
        job.min_vram_gib = 24;
        let request = job.request([1; 32], "r");
        let spec = request.spec.unwrap();
        assert_eq!(spec.r#type, 2);
        assert_eq!(spec.max_price_per_hour_micro_ait, Some(7));
        assert_eq!(spec.requirements.unwrap().min_vram_gib, 24);
        assert_eq!(spec.timeout.unwrap().seconds, 3_600);
        assert_eq!(random_request_id().len(), 32);
    }
}
