//! The check of a finished job's proof against what the client knows.

use super::{Trust, VerifyError};
use crate::hash::{Hash, Sha256Stream, sha256};
use crate::identity::PublicKey;
use crate::job_input::JobType;
use crate::layouts::{Assignment, JobSpec, NO_BUDGET, Outcome, Receipt};
use crate::price::budget_ms;
use crate::result_document::{FinishReason, ResultDocument};

/// The bytes of a proof as they travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProofParts<'a> {
    /// Job spec layout, 252 bytes.
    pub spec: &'a [u8],
    /// Assignment layout, 210 bytes.
    pub assignment: &'a [u8],
    /// The service key's signature over it, 64 bytes.
    pub assignment_signature: &'a [u8],
    /// Receipt layout, 392 bytes.
    pub receipt: &'a [u8],
    /// The miner's signature over it, 64 bytes.
    pub receipt_signature: &'a [u8],
    /// The service key, 32 bytes.
    pub service_key: &'a [u8],
}

/// A proof of execution; its layouts are read, nothing is checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The specification.
    pub spec: JobSpec,
    /// The newest assignment of the attempt that delivered.
    pub assignment: Assignment,
    /// The service key's signature over it.
    pub assignment_signature: [u8; 64],
    /// What the miner claims.
    pub receipt: Receipt,
    /// The miner's signature over it.
    pub receipt_signature: [u8; 64],
    /// The service key that the proof names.
    pub service_key: PublicKey,
}

impl Proof {
    /// Reads the layouts.
    pub fn decode(parts: &ProofParts<'_>) -> Result<Self, VerifyError> {
        Ok(Self {
            spec: JobSpec::decode(parts.spec)?,
            assignment: Assignment::decode(parts.assignment)?,
            assignment_signature: sized(parts.assignment_signature, "assignment's signature")?,
            receipt: Receipt::decode(parts.receipt)?,
            receipt_signature: sized(parts.receipt_signature, "receipt's signature")?,
            service_key: PublicKey(sized(parts.service_key, "service key")?),
        })
    }

    /// Whether specification, assignment and receipt belong together and are signed, for what the client knows.
    pub fn check(&self, trust: &Trust) -> Result<(), VerifyError> {
        if self.service_key != trust.service_key {
            return Err(VerifyError::ServiceKey);
        }
        self.check_spec(trust)?;
        check_assignment(
            trust,
            &self.spec,
            &self.assignment,
            &self.assignment_signature,
        )?;
        self.check_receipt()
    }

    fn check_spec(&self, trust: &Trust) -> Result<(), VerifyError> {
        if trust.spec.as_ref().is_some_and(|own| *own != self.spec) {
            return Err(VerifyError::SpecDiffers);
        }
        if self.spec.chain_id != trust.chain_id {
            return Err(VerifyError::Chain("specification"));
        }
        if self.spec.owner != trust.owner {
            return Err(VerifyError::Owner);
        }
        Ok(())
    }

    fn check_receipt(&self) -> Result<(), VerifyError> {
        let (receipt, assignment) = (&self.receipt, &self.assignment);
        if receipt.chain_id != assignment.chain_id {
            return Err(VerifyError::Chain("receipt"));
        }
        if receipt.job_id != assignment.job_id {
            return Err(VerifyError::OtherJob("receipt"));
        }
        if receipt.job_ref != assignment.job_ref {
            return Err(VerifyError::OtherSpec("receipt"));
        }
        if receipt.attempt != assignment.attempt {
            return Err(VerifyError::OtherAttempt {
                part: "receipt",
                given: receipt.attempt.into(),
                wanted: assignment.attempt.into(),
            });
        }
        if receipt.miner_key != assignment.miner_key {
            return Err(VerifyError::MinerKey);
        }
        if !receipt.verify(&assignment.miner_key, &self.receipt_signature) {
            return Err(VerifyError::ReceiptSignature);
        }
        if receipt.payee != assignment.payee {
            return Err(VerifyError::Payee);
        }
        if receipt.assignment_hash != assignment.id(&self.assignment_signature) {
            return Err(VerifyError::AssignmentHash);
        }
        if receipt.model_name_hash != self.spec.model_name_hash {
            return Err(VerifyError::ModelName);
        }
        let wanted = self.spec.model_digest;
        if wanted != Hash::default() && receipt.model_digest != wanted {
            return Err(VerifyError::ModelDigest {
                given: receipt.model_digest,
                wanted,
            });
        }
        match receipt.outcome {
            Outcome::Complete => Ok(()),
            Outcome::Budget
                if assignment.budget_ms != NO_BUDGET && receipt.work_ms >= assignment.budget_ms =>
            {
                Ok(())
            }
            Outcome::Budget => Err(VerifyError::FundsLeft),
            outcome => Err(VerifyError::Outcome(outcome)),
        }
    }

    /// [`Receipt::id`].
    #[must_use]
    pub fn receipt_id(&self) -> Hash {
        self.receipt.id(&self.receipt_signature)
    }

    /// Whether funds were locked for this work when it was assigned, or while it ran.
    #[must_use]
    pub fn is_paid(&self) -> bool {
        self.assignment.locked > 0
    }

    /// Whether this is the name of the model that the receipt is for, in its canonical form.
    pub fn check_model_name(&self, name: &str) -> Result<(), VerifyError> {
        if sha256(name.as_bytes()) == self.receipt.model_name_hash {
            return Ok(());
        }
        Err(VerifyError::ModelName)
    }

    /// Whether these are the bytes of output that the receipt covers, by their length and hash.
    pub fn check_output(&self, output: &Sha256Stream) -> Result<(), VerifyError> {
        if output.len() != self.receipt.output_len {
            return Err(VerifyError::OutputLength {
                received: output.len(),
                signed: self.receipt.output_len,
            });
        }
        if output.digest() != self.receipt.output_hash {
            return Err(VerifyError::OutputHash);
        }
        Ok(())
    }

    /// Whether these are the bytes of the result document that the receipt covers, and agree with it and the output.
    pub fn check_result(
        &self,
        result: &[u8],
        output: &Sha256Stream,
    ) -> Result<ResultDocument, VerifyError> {
        check_document(
            &self.spec,
            &self.receipt,
            result,
            (output.len(), &output.digest()),
        )
    }
}

/// Whether these are the bytes of the result document that the receipt covers, and agree with it, the job and the
/// streamed output (its length and SHA-256). Coordinator and client ask the same question, so that what one takes the other does not refuse.
pub fn check_document(
    spec: &JobSpec,
    receipt: &Receipt,
    result: &[u8],
    output: (u64, &Hash),
) -> Result<ResultDocument, VerifyError> {
    if sha256(result) != receipt.result_hash {
        return Err(VerifyError::ResultHash);
    }
    let document = ResultDocument::from_bytes(result)?;
    match (spec.job_type, &document.content) {
        (JobType::Inference, Some(content)) if sha256(content.as_bytes()) != *output.1 => {
            return Err(VerifyError::ContentDiffers);
        }
        (JobType::Embedding, None) if output.0 > 0 => {
            return Err(VerifyError::ContentDiffers);
        }
        // An agent's output is its events; its content is the last of them.
        (JobType::Inference | JobType::Agent, Some(_)) | (JobType::Embedding, None) => {}
        _ => return Err(VerifyError::DocumentKind),
    }
    let usage = &document.usage;
    if (usage.input_tokens, usage.output_tokens) != (receipt.tokens_in, receipt.tokens_out) {
        return Err(VerifyError::DocumentDisagrees("the tokens used"));
    }
    let by_budget = document.finish_reason == FinishReason::Budget;
    if by_budget != (receipt.outcome == Outcome::Budget) {
        return Err(VerifyError::DocumentDisagrees("why the output ended"));
    }
    Ok(document)
}

/// Whether the coordinator assigned this very job of the client.
pub(super) fn check_assignment(
    trust: &Trust,
    spec: &JobSpec,
    assignment: &Assignment,
    signature: &[u8],
) -> Result<(), VerifyError> {
    check_assigned(trust, assignment, signature)?;
    if assignment.job_ref != spec.job_ref() {
        return Err(VerifyError::OtherSpec("assignment"));
    }
    if assignment.rate > spec.max_rate {
        return Err(VerifyError::Price {
            rate: assignment.rate,
            max_rate: spec.max_rate,
        });
    }
    Ok(())
}

/// What can be said of an assignment without the specification.
pub(super) fn check_assigned(
    trust: &Trust,
    assignment: &Assignment,
    signature: &[u8],
) -> Result<(), VerifyError> {
    if assignment.chain_id != trust.chain_id {
        return Err(VerifyError::Chain("assignment"));
    }
    if !assignment.verify(&trust.service_key, signature) {
        return Err(VerifyError::AssignmentSignature);
    }
    if trust.job_id.is_some_and(|own| own != assignment.job_id) {
        return Err(VerifyError::OtherJob("assignment"));
    }
    if !budget_holds(assignment) {
        return Err(VerifyError::Budget);
    }
    Ok(())
}

/// Whether an assignment's budget is what its locks pay for; without locks there is none.
#[must_use]
pub fn budget_holds(assignment: &Assignment) -> bool {
    let locks = assignment.locks_hash != Hash::default();
    if assignment.locked == 0 {
        return !locks && assignment.flags == 0 && assignment.budget_ms == NO_BUDGET;
    }
    locks && assignment.budget_ms == budget_ms(assignment.locked, assignment.rate)
}

fn sized<const N: usize>(bytes: &[u8], part: &'static str) -> Result<[u8; N], VerifyError> {
    bytes.try_into().map_err(|_| VerifyError::PartSize(part))
}

/// What was delivered, to be held against a proof.
#[derive(Debug, Clone, Copy)]
pub struct Delivered<'a> {
    /// Length and hash of the output.
    pub output: &'a Sha256Stream,
    /// The bytes of the result document.
    pub result: &'a [u8],
}

/// A proof that checked, with the result it is for.
#[derive(Debug, Clone)]
pub struct Verified {
    /// The proof.
    pub proof: Proof,
    /// The result.
    pub document: ResultDocument,
}

/// Checks everything: signatures, that all parts are for this job, and that output and result are the signed ones.
pub fn verify_proof(
    trust: &Trust,
    parts: &ProofParts<'_>,
    delivered: Delivered<'_>,
) -> Result<Verified, VerifyError> {
    let proof = Proof::decode(parts)?;
    proof.check(trust)?;
    proof.check_output(delivered.output)?;
    let document = proof.check_result(delivered.result, delivered.output)?;
    Ok(Verified { proof, document })
}
