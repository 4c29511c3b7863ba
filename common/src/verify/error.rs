//! Every way in which a result can fail its check, each with a plain sentence.

use crate::hash::{Hash, hash_text};
use crate::layouts::{LayoutError, Outcome};
use crate::ledger::tlog_proof::TlogProofError;
use crate::result_document::ResultDocumentError;

/// Why a stream, a proof or a result does not check.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// Bytes that are not the layout they should be.
    #[error("the proof is damaged: {0}")]
    Layout(#[from] LayoutError),
    /// A part of the proof that does not have its size.
    #[error("the proof is damaged: its {0} has the wrong size")]
    PartSize(&'static str),
    /// For another chain.
    #[error("the {0} is for another network")]
    Chain(&'static str),
    /// Another service key than the pinned one.
    #[error("the proof names another service key than this network's")]
    ServiceKey,
    /// The coordinator's copy of the specification is not what was submitted.
    #[error("the coordinator's copy of the job's specification is not what was submitted")]
    SpecDiffers,
    /// The specification belongs to another identity.
    #[error("the job's specification belongs to another identity")]
    Owner,
    /// About another job.
    #[error("the {0} is for another job")]
    OtherJob(&'static str),
    /// About the right job id, but another specification.
    #[error("the {0} is for another specification than the job's")]
    OtherSpec(&'static str),
    /// The service key's signature does not verify.
    #[error("the assignment's signature is not the coordinator's")]
    AssignmentSignature,
    /// The miner was promised more than the job allows.
    #[error(
        "the assignment's price of {rate} micro-AIT per hour is above the job's highest of {max_rate}"
    )]
    Price {
        /// Promised.
        rate: u64,
        /// Allowed.
        max_rate: u64,
    },
    /// What the assignment says of locked funds contradicts itself.
    #[error("the assignment's budget is not what its locked funds pay for")]
    Budget,
    /// The miner stopped for want of funds, and there were some left.
    #[error("the receipt says that the locked funds were used up, and they were not")]
    FundsLeft,
    /// Another attempt than the one it belongs to.
    #[error("the {part} is for attempt {given}, not for attempt {wanted}")]
    OtherAttempt {
        /// What it is.
        part: &'static str,
        /// Its attempt.
        given: u32,
        /// The attempt it should be for.
        wanted: u32,
    },
    /// The stream went back to an attempt that is over.
    #[error("the stream went back from attempt {current} to attempt {given}")]
    StaleAttempt {
        /// The attempt that runs.
        current: u32,
        /// The attempt that was begun again.
        given: u32,
    },
    /// Output before any attempt began.
    #[error("output arrived before its attempt began")]
    NoAttempt,
    /// Output is missing.
    #[error("output is missing: {expected} bytes arrived, the next chunk begins at byte {given}")]
    Gap {
        /// Bytes so far.
        expected: u64,
        /// Where the chunk says it begins.
        given: u64,
    },
    /// Output that was there already.
    #[error("output was repeated: {expected} bytes arrived, the next chunk begins at byte {given}")]
    Replay {
        /// Bytes so far.
        expected: u64,
        /// Where the chunk says it begins.
        given: u64,
    },
    /// More output than any job may have.
    #[error("the output is longer than 16 MiB")]
    OutputTooLong,
    /// The miner's signature over a checkpoint does not verify.
    #[error("a checkpoint's signature is not the miner's")]
    CheckpointSignature,
    /// A checkpoint covers output that did not arrive.
    #[error("output is missing: {received} bytes arrived, the miner signed {signed}")]
    CheckpointAhead {
        /// Bytes so far.
        received: u64,
        /// Bytes that the checkpoint covers.
        signed: u64,
    },
    /// The output so far is not what the miner signed.
    #[error("the first {offset} bytes of output are not what the miner signed")]
    CheckpointHash {
        /// Bytes that the checkpoint covers.
        offset: u64,
    },
    /// The miner's signature over the receipt does not verify.
    #[error("the receipt's signature is not the miner's")]
    ReceiptSignature,
    /// Signed by another miner than the assigned one.
    #[error("the receipt is another miner's than the one that was assigned")]
    MinerKey,
    /// Pays another address than the assignment promised.
    #[error("the receipt pays another address than the assignment")]
    Payee,
    /// The receipt does not name the newest assignment.
    #[error("the receipt does not name the assignment that the miner was given last")]
    AssignmentHash,
    /// The proof carries an older assignment than the stream did.
    #[error("the proof carries an older assignment than the one seen while the job ran")]
    OldAssignment,
    /// Another model's name.
    #[error("the receipt names another model than the one asked for")]
    ModelName,
    /// Another model's digest than the pinned one.
    #[error("the model that ran has the digest {}, asked for was {}", hash_text(.given), hash_text(.wanted))]
    ModelDigest {
        /// The receipt's.
        given: Hash,
        /// The pinned one.
        wanted: Hash,
    },
    /// The receipt is not for a finished result.
    #[error("the receipt is not for a completed job (its outcome is {0:?})")]
    Outcome(Outcome),
    /// The length of the output is not the receipt's.
    #[error("the output has {received} bytes, the receipt says {signed}")]
    OutputLength {
        /// Bytes received.
        received: u64,
        /// Bytes signed.
        signed: u64,
    },
    /// The output's bytes are not the receipt's.
    #[error("the output is not what the miner signed")]
    OutputHash,
    /// The result document is not the receipt's.
    #[error("the result document is not what the miner signed")]
    ResultHash,
    /// The result document does not read.
    #[error("the result document is malformed: {0}")]
    Document(#[from] ResultDocumentError),
    /// The result document and the streamed output differ.
    #[error("the result document's content is not the output that was streamed")]
    ContentDiffers,
    /// The result document does not fit the type of the job.
    #[error("the result document does not fit the type of the job")]
    DocumentKind,
    /// The result document and the receipt contradict each other.
    #[error("the result document and the receipt disagree on {0}")]
    DocumentDisagrees(&'static str),
    /// The ledger's record is not of this receipt.
    #[error("the ledger records something else than the receipt: {0} differs")]
    Record(&'static str),
    /// The proof that the record is in the ledger does not hold.
    #[error("the record is not shown to be in the ledger: {0}")]
    Ledger(#[from] TlogProofError),
    /// Another log key than the network's.
    #[error("the proof names another log key than this network's")]
    LogKey,
    /// Not the owner's word on this receipt.
    #[error("the acknowledgement is not the owner's word on this receipt")]
    Acknowledgement,
}

impl VerifyError {
    /// The kind of error, UPPER_SNAKE, for programs.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Layout(_) | Self::PartSize(_) => "PROOF_DAMAGED",
            Self::Chain(_) => "PROOF_WRONG_CHAIN",
            Self::ServiceKey => "PROOF_WRONG_SERVICE_KEY",
            Self::SpecDiffers | Self::OtherSpec(_) | Self::Owner => "PROOF_WRONG_SPEC",
            Self::OtherJob(_) => "PROOF_WRONG_JOB",
            Self::AssignmentSignature | Self::CheckpointSignature | Self::ReceiptSignature => {
                "PROOF_SIGNATURE_INVALID"
            }
            Self::Price { .. } => "PROOF_PRICE_TOO_HIGH",
            Self::OtherAttempt { .. } | Self::StaleAttempt { .. } | Self::NoAttempt => {
                "PROOF_WRONG_ATTEMPT"
            }
            Self::Gap { .. }
            | Self::Replay { .. }
            | Self::OutputTooLong
            | Self::CheckpointAhead { .. }
            | Self::CheckpointHash { .. }
            | Self::OutputLength { .. }
            | Self::OutputHash => "PROOF_OUTPUT_DIFFERS",
            Self::MinerKey => "PROOF_WRONG_MINER",
            Self::Payee => "PROOF_WRONG_PAYEE",
            Self::AssignmentHash | Self::OldAssignment | Self::Budget => "PROOF_WRONG_ASSIGNMENT",
            Self::FundsLeft => "PROOF_WRONG_OUTCOME",
            Self::ModelName | Self::ModelDigest { .. } => "PROOF_WRONG_MODEL",
            Self::Outcome(_) => "PROOF_WRONG_OUTCOME",
            Self::ResultHash
            | Self::Document(_)
            | Self::ContentDiffers
            | Self::DocumentKind
            | Self::DocumentDisagrees(_) => "PROOF_RESULT_DIFFERS",
            Self::Record(_) => "LEDGER_RECORD_DIFFERS",
            Self::Ledger(_) => "LEDGER_PROOF_INVALID",
            Self::LogKey => "LEDGER_KEY_CHANGED",
            Self::Acknowledgement => "PROOF_WRONG_ACKNOWLEDGEMENT",
        }
    }
}
