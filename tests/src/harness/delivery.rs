//! A delivery of a polled job, made by hand.

use aitbc_common::hash::{Hash, sha256};
use aitbc_common::identity::Identity;
use aitbc_common::layouts::{Assignment, JobSpec, Outcome, Receipt};
use aitbc_proto::v1::complete_job_request::Part;
use aitbc_proto::v1::{Assign, Complete, CompleteJobRequest};

/// The parts of a delivery.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The receipt, signed.
    pub complete: Complete,
    /// The output: [`Delivery::OUTPUT`].
    pub output: Vec<u8>,
    /// The result document.
    pub result: Vec<u8>,
}

impl Delivery {
    /// Every delivery's output.
    pub const OUTPUT: &str = "Hello";

    /// What an honest miner delivers, after `change` had its way with the receipt. The result says the receipt's tokens.
    #[must_use]
    pub fn new(assign: &Assign, miner: &Identity, change: impl Fn(&mut Receipt)) -> Self {
        let spec = JobSpec::decode(&assign.spec).expect("a specification");
        let assignment = Assignment::decode(&assign.assignment).expect("an assignment");
        let mut receipt = Receipt {
            outcome: Outcome::Complete,
            attempt: assignment.attempt,
            chain_id: assignment.chain_id,
            job_id: assignment.job_id,
            job_ref: assignment.job_ref,
            assignment_hash: assignment.id(&assign.assignment_signature),
            miner_key: assignment.miner_key,
            payee: assignment.payee,
            model_name_hash: spec.model_name_hash,
            model_digest: spec.model_digest,
            engine_hash: sha256(b"manual"),
            output_len: Self::OUTPUT.len() as u64,
            output_hash: sha256(Self::OUTPUT.as_bytes()),
            result_hash: Hash::default(),
            tokens_in: 0,
            tokens_out: 0,
            work_ms: 1,
            seen_size: 0,
            seen_root: [0; 32],
        };
        let mut wanted = receipt.clone();
        change(&mut wanted);
        let result = format!(
            r#"{{"content":"{}","finish_reason":"stop","usage":{{"input_tokens":{},"output_tokens":{}}}}}"#,
            Self::OUTPUT,
            wanted.tokens_in,
            wanted.tokens_out
        );
        receipt.result_hash = sha256(result.as_bytes());
        change(&mut receipt);
        let complete = Complete {
            job_id: assign.job_id.clone(),
            attempt: assign.attempt,
            receipt: receipt.encode().into(),
            signature: receipt.sign(miner).to_vec().into(),
            served_model: assign.model.clone(),
            engine: "manual".into(),
        };
        Self {
            complete,
            output: Self::OUTPUT.into(),
            result: result.into_bytes(),
        }
    }

    /// As the call takes them.
    #[must_use]
    pub fn parts(self) -> Vec<CompleteJobRequest> {
        [
            Part::Complete(self.complete),
            Part::Output(self.output.into()),
            Part::Result(self.result.into()),
        ]
        .map(|part| CompleteJobRequest { part: Some(part) })
        .into()
    }
}
