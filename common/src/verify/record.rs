//! What a client keeps of a job it submitted, so that it need not take the coordinator's word for it later.

use serde::{Deserialize, Serialize};

use super::Trust;
use super::receipt_file::base64_bytes;
use crate::hash::{Hash, hash_text, parse_hash_text};
use crate::identity::PublicKey;
use crate::ids::JobId;
use crate::layouts::JobSpec;

/// A submitted job as its owner keeps it: JSON, the specification in base64. Unknown fields are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRecord {
    /// The job's id; null until the coordinator answered.
    pub job_id: Option<String>,
    /// The idempotency key it was submitted with.
    pub request_id: String,
    /// The chain: `sha256:…`.
    pub chain_id: String,
    /// The service key of that chain: 64 hexadecimal digits.
    pub service_key: String,
    /// When it was submitted: Unix time in milliseconds.
    pub submitted_ms: u64,
    /// Job spec layout, 252 bytes.
    #[serde(with = "base64_bytes")]
    pub spec: Vec<u8>,
}

/// Bytes that are no record of a job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a job's record: {0}")]
pub struct JobRecordError(String);

impl JobRecord {
    /// Of a job that is about to be submitted at `now_ms` (Unix time).
    #[must_use]
    pub fn new(spec: &JobSpec, service_key: &PublicKey, request_id: &str, now_ms: u64) -> Self {
        Self {
            job_id: None,
            request_id: request_id.to_owned(),
            chain_id: hash_text(&spec.chain_id),
            service_key: hex::encode(service_key.0),
            submitted_ms: now_ms,
            spec: spec.encode(),
        }
    }

    /// Reads a record's bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, JobRecordError> {
        serde_json::from_slice(bytes).map_err(|error| JobRecordError(error.to_string()))
    }

    /// Its bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("a record has only text keys");
        bytes.push(b'\n');
        bytes
    }

    /// The specification; it is for the record's chain.
    pub fn spec(&self) -> Result<JobSpec, JobRecordError> {
        let spec = JobSpec::decode(&self.spec).map_err(|e| JobRecordError(e.to_string()))?;
        if hash_text(&spec.chain_id) != self.chain_id {
            return Err(JobRecordError("its chain ids differ".to_owned()));
        }
        Ok(spec)
    }

    /// What the client knows of the job by this record alone.
    pub fn trust(&self) -> Result<Trust, JobRecordError> {
        let spec = self.spec()?;
        let service_key: Hash = parse_hash_text(&self.service_key)
            .ok_or_else(|| JobRecordError("its service key is damaged".to_owned()))?;
        let job_id: Option<JobId> = match &self.job_id {
            Some(id) => Some(
                id.parse()
                    .map_err(|_| JobRecordError("its job id is damaged".to_owned()))?,
            ),
            None => None,
        };
        Ok(Trust {
            chain_id: spec.chain_id,
            service_key: PublicKey(service_key),
            owner: spec.owner,
            job_id,
            spec: Some(spec),
        })
    }
}
