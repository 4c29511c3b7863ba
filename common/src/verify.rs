//! Proof of execution: whether a result is what its miner signed for this very job, whoever carried it here.
//!
//! The coordinator between client and miner need not be trusted. The client knows its own job specification, the chain
//! and the coordinator's service key (pinned at first contact); everything else is checked against those by hash and
//! signature. A receipt proves *who* claims these bytes; not that the model ran or that token counts are true.

mod error;
mod logged;
mod proof;
mod receipt_file;
mod record;
mod stream;
#[cfg(test)]
mod tests;

pub use error::VerifyError;
pub use logged::{check_acknowledgement, check_posts, check_record};
pub use proof::{
    Delivered, Proof, ProofParts, Verified, budget_holds, check_document, verify_proof,
};
pub use receipt_file::{
    LedgerProof, Logged, ReceiptFile, ReceiptFileError, verify_logged, verify_receipt_file,
};
pub use record::{JobRecord, JobRecordError};
pub use stream::{AttemptStart, CheckpointCheck, StreamVerifier};

use crate::hash::Hash;
use crate::identity::PublicKey;
use crate::ids::JobId;
use crate::layouts::JobSpec;

/// What a client knows by itself, before it believes anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// The chain it uses.
    pub chain_id: Hash,
    /// The key that signs assignments on it.
    pub service_key: PublicKey,
    /// Who asked for the job.
    pub owner: PublicKey,
    /// The job; `None` where the client does not know its id.
    pub job_id: Option<JobId>,
    /// The specification as the client built it; `None` where it has only the coordinator's copy.
    pub spec: Option<JobSpec>,
}
