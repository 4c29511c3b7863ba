//! A miner that polls and signs by hand, and its deliveries.

use aitbc_common::hash::{Hash, sha256};
use aitbc_common::identity::Identity;
use aitbc_common::layouts::{Assignment, JobSpec, Outcome, Receipt};
use aitbc_common::runtime::channel::Connection;
use aitbc_common::token::Scope;
use aitbc_proto::v1::complete_job_request::Part;
use aitbc_proto::v1::{Assign, Complete, CompleteJobRequest, CompleteJobResponse, PollJobRequest};
use tonic::{Response, Status};

use super::User;

/// A registered miner without a session.
#[derive(Debug)]
pub struct HandMiner {
    /// As the miner.
    pub connection: Connection,
    /// Its key.
    pub identity: Identity,
}

impl HandMiner {
    /// The user's miner, registered by this command.
    pub async fn register(user: &User, command: &str) -> Self {
        let _registered = user.types(command).succeeds();
        Self {
            connection: user.connect_as(user.miner_identity(), Scope::Miner).await,
            identity: user.miner_identity(),
        }
    }

    /// Takes a job that waits, or comes within 20 s.
    pub async fn poll(&self) -> Assign {
        let request = PollJobRequest {
            wait: Some(prost_types::Duration {
                seconds: 20,
                nanos: 0,
            }),
            ..PollJobRequest::default()
        };
        let polled = self.connection.miners().poll_job(request).await;
        let job = polled.expect("a poll").into_inner().job;
        job.and_then(|job| job.assign).expect("a job waits")
    }

    /// Sends a delivery.
    pub async fn deliver(
        &self,
        delivery: Delivery,
    ) -> Result<Response<CompleteJobResponse>, Status> {
        let parts = tokio_stream::iter(delivery.parts());
        self.connection.miners().complete_job(parts).await
    }
}

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
