//! What a miner checks before it works, and what it signs about its work.

use aitbc_common::hash::{Hash, Sha256Stream, sha256};
use aitbc_common::identity::Identity;
use aitbc_common::layouts::{Assignment, JobSpec, Outcome, Receipt, StreamCheckpoint};
use aitbc_common::price::price;
use aitbc_proto::v1::{Assign, Checkpoint, Complete, MinerModel, Renew};
use bytes::Bytes;

use super::{AttemptKey, CoreConfig};
use crate::runner::{FinishReason, RunResult};

/// Who signs, and what it has seen of the ledger.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signer<'a> {
    pub(super) identity: &'a Identity,
    /// Size and root of the newest checkpoint; zeros = none.
    pub(super) seen: (u64, Hash),
}

/// A verified assignment of one attempt.
#[derive(Debug, Clone)]
pub(super) struct Promise {
    pub(super) assignment: Assignment,
    /// [`Assignment::id`].
    pub(super) hash: Hash,
    pub(super) spec: JobSpec,
}

impl Promise {
    /// Checks that the pinned coordinator promised exactly this job to this miner.
    pub(super) fn check(
        key: AttemptKey,
        assign: &Assign,
        config: &CoreConfig,
    ) -> Result<Self, String> {
        let text = |error: aitbc_common::layouts::LayoutError| error.to_string();
        let assignment = Assignment::decode(&assign.assignment).map_err(text)?;
        let spec = JobSpec::decode(&assign.spec).map_err(text)?;
        let facts = [
            (
                assignment.chain_id == config.chain_id && spec.chain_id == config.chain_id,
                "it is for another chain",
            ),
            (
                assignment.job_id == key.job && assignment.attempt == key.attempt,
                "it names another attempt",
            ),
            (
                assignment.miner_key == config.identity.public(),
                "it is for another miner",
            ),
            (
                assignment.job_ref == spec.job_ref(),
                "its job_ref is not that of the job's specification",
            ),
            (
                assignment.rate <= spec.max_rate,
                "its rate is higher than the job allows",
            ),
            (
                spec.model_name_hash == sha256(assign.model.as_bytes()),
                "the model is not the one in the job's specification",
            ),
            (
                spec.input_len == assign.input.len() as u64,
                "the input's length is not the one in the job's specification",
            ),
            (
                spec.input_hash == sha256(&assign.input),
                "the input is not the one in the job's specification",
            ),
        ];
        if let Some((_, problem)) = facts.iter().find(|(holds, _)| !holds) {
            return Err((*problem).to_owned());
        }
        if !assignment.verify(&config.service_key, &assign.assignment_signature) {
            return Err("its signature is not the coordinator's".to_owned());
        }
        let hash = assignment.id(&assign.assignment_signature);
        Ok(Self {
            assignment,
            hash,
            spec,
        })
    }

    /// The same promise with a newer budget, if the pinned coordinator made it.
    pub(super) fn renewed(&self, renew: &Renew, config: &CoreConfig) -> Result<Self, String> {
        let assignment =
            Assignment::decode(&renew.assignment).map_err(|error| error.to_string())?;
        if !assignment.differs_only_in_locks(&self.assignment) {
            return Err("it changes more than the budget".to_owned());
        }
        if !assignment.verify(&config.service_key, &renew.assignment_signature) {
            return Err("its signature is not the coordinator's".to_owned());
        }
        Ok(Self {
            hash: assignment.id(&renew.assignment_signature),
            assignment,
            spec: self.spec.clone(),
        })
    }

    pub(super) fn checkpoint(
        &self,
        identity: &Identity,
        output: &Sha256Stream,
        tokens_out: u32,
        work_ms: u64,
    ) -> Checkpoint {
        let layout = StreamCheckpoint {
            flags: 0,
            attempt: self.assignment.attempt,
            chain_id: self.assignment.chain_id,
            job_id: self.assignment.job_id,
            job_ref: self.assignment.job_ref,
            offset: output.len(),
            hash: output.digest(),
            tokens_out,
            work_ms,
        };
        Checkpoint {
            job_id: self.assignment.job_id.to_string(),
            attempt: u32::from(self.assignment.attempt),
            checkpoint: layout.encode().into(),
            signature: Bytes::copy_from_slice(&layout.sign(identity)),
        }
    }

    /// The signed receipt over output and result document, and the micro-AIT that it is worth at most.
    pub(super) fn complete(
        &self,
        signer: Signer<'_>,
        served: (&MinerModel, &str),
        output: &Sha256Stream,
        document: &[u8],
        result: &RunResult,
    ) -> (Complete, u64) {
        let (model, engine) = served;
        let receipt = Receipt {
            outcome: outcome(result.finish_reason),
            attempt: self.assignment.attempt,
            chain_id: self.assignment.chain_id,
            job_id: self.assignment.job_id,
            job_ref: self.assignment.job_ref,
            assignment_hash: self.hash,
            miner_key: self.assignment.miner_key,
            payee: self.assignment.payee,
            model_name_hash: sha256(model.name.as_bytes()),
            model_digest: <[u8; 32]>::try_from(&model.digest[..]).unwrap_or_default(),
            engine_hash: sha256(engine.as_bytes()),
            output_len: output.len(),
            output_hash: output.digest(),
            result_hash: sha256(document),
            tokens_in: result.tokens_in,
            tokens_out: result.tokens_out,
            work_ms: u64::try_from(result.work_duration().as_millis()).unwrap_or(u64::MAX),
            seen_size: signer.seen.0,
            seen_root: signer.seen.1,
        };
        let complete = Complete {
            job_id: self.assignment.job_id.to_string(),
            attempt: u32::from(self.assignment.attempt),
            receipt: receipt.encode().into(),
            signature: Bytes::copy_from_slice(&receipt.sign(signer.identity)),
            served_model: model.name.clone(),
            engine: engine.to_owned(),
        };
        (complete, self.worth(&receipt))
    }

    /// The price of the work, and no more than the locks hold. The coordinator may have seen less work than the receipt
    /// says: then it is less.
    fn worth(&self, receipt: &Receipt) -> u64 {
        let worth = price(&self.assignment, receipt, self.spec.input_len, u64::MAX);
        match self.assignment.locked {
            0 => worth,
            locked => worth.min(locked),
        }
    }
}

pub(super) fn outcome(finish_reason: FinishReason) -> Outcome {
    match finish_reason {
        FinishReason::Budget => Outcome::Budget,
        FinishReason::Cancelled => Outcome::Cancelled,
        FinishReason::Deadline => Outcome::Deadline,
        _ => Outcome::Complete,
    }
}
