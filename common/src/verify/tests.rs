//! An honest delivery checks; every lie between miner and client is caught.

use super::*;
use crate::address::Address;
use crate::hash::{Sha256Stream, sha256};
use crate::identity::Identity;
use crate::job_input::JobType;
use crate::layouts::{
    Assignment, NO_MAX_RATE, Outcome, Receipt, Requirements, StreamCheckpoint, locks_hash,
};
use crate::price::budget_ms;

mod files;
mod ledger;
mod proofs;
mod properties;
mod streams;

const CHAIN: Hash = [9; 32];
const OUTPUT: &[u8] = "Hello! Ünïted we stand. How can I help you today?".as_bytes();
const RESULT: &str = r#"{"content":"CONTENT","finish_reason":"stop","usage":{"input_tokens":14,"output_tokens":61}}"#;

fn identity(n: u8) -> Identity {
    Identity::from_seed(&[n; 32])
}

fn service() -> Identity {
    identity(1)
}

fn miner() -> Identity {
    identity(2)
}

fn owner() -> Identity {
    identity(3)
}

fn job(n: u8) -> JobId {
    JobId::new(1_000, 7, [n; 10])
}

fn spec() -> JobSpec {
    JobSpec {
        job_type: JobType::Inference,
        flags: 0,
        chain_id: CHAIN,
        owner: owner().public(),
        salt: [5; 32],
        model_name_hash: sha256(b"llama3:latest"),
        model_digest: [6; 32],
        input_len: 20,
        input_hash: sha256(b"{\"prompt\":\"Hello AITBC\"}"),
        requirements_hash: Requirements::default().hash(),
        max_rate: NO_MAX_RATE,
        deadline_ms: 3_600_000,
    }
}

/// Everything that an honest network delivers; the parts can be bent before they are signed.
#[derive(Clone)]
struct Delivery {
    spec: JobSpec,
    assignment: Assignment,
    assignment_signature: Vec<u8>,
    receipt: Receipt,
    receipt_signature: Vec<u8>,
    result: Vec<u8>,
}

impl Delivery {
    fn new() -> Self {
        Self::of(spec(), job(1), 1)
    }

    fn of(spec: JobSpec, job_id: JobId, attempt: u16) -> Self {
        let assignment = Assignment {
            flags: 0,
            attempt,
            chain_id: spec.chain_id,
            job_id,
            job_ref: spec.job_ref(),
            miner_key: miner().public(),
            payee: Address([8; 20]),
            rate: 500_000,
            fee_bps: 250,
            locked: 0,
            budget_ms: u64::MAX,
            prompt_speed: 0,
            output_speed: 0,
            issued_ms: 1_000,
            locks_hash: Hash::default(),
        };
        let result = RESULT
            .replace("CONTENT", std::str::from_utf8(OUTPUT).unwrap())
            .into_bytes();
        let receipt = Receipt {
            outcome: Outcome::Complete,
            attempt,
            chain_id: spec.chain_id,
            job_id,
            job_ref: assignment.job_ref,
            assignment_hash: Hash::default(),
            miner_key: miner().public(),
            payee: assignment.payee,
            model_name_hash: spec.model_name_hash,
            model_digest: spec.model_digest,
            engine_hash: sha256(b"ollama/0.17.4"),
            output_len: OUTPUT.len() as u64,
            output_hash: sha256(OUTPUT),
            result_hash: sha256(&result),
            tokens_in: 14,
            tokens_out: 61,
            work_ms: 2_140,
            seen_size: 0,
            seen_root: Hash::default(),
        };
        let (assignment_signature, receipt_signature) = (Vec::new(), Vec::new());
        let mut delivery = Self {
            spec,
            assignment,
            assignment_signature,
            receipt,
            receipt_signature,
            result,
        };
        delivery.sign();
        delivery
    }

    /// Funds are locked for it: the assignment says so, and what they pay for.
    fn pay(&mut self, locked: u64) {
        self.assignment.locked = locked;
        self.assignment.budget_ms = budget_ms(locked, self.assignment.rate);
        self.assignment.locks_hash = locks_hash(&[[7; 32]]);
        self.sign();
    }

    /// Signs assignment and receipt as they are now; the receipt names this assignment.
    fn sign(&mut self) {
        self.assignment_signature = self.assignment.sign(&service()).to_vec();
        self.receipt.assignment_hash = self.assignment.id(&self.assignment_signature);
        self.sign_receipt();
    }

    fn sign_receipt(&mut self) {
        self.receipt_signature = self.receipt.sign(&miner()).to_vec();
    }

    fn replace_result(&mut self, result: &str) {
        self.result = result.as_bytes().to_vec();
        self.receipt.result_hash = sha256(&self.result);
        self.sign_receipt();
    }

    fn trust(&self) -> Trust {
        Trust {
            chain_id: CHAIN,
            service_key: service().public(),
            owner: owner().public(),
            job_id: Some(job(1)),
            spec: Some(spec()),
        }
    }

    fn file(&self) -> ReceiptFile {
        let service_key = service().public().0;
        let (spec, assignment, receipt) = (
            self.spec.encode(),
            self.assignment.encode(),
            self.receipt.encode(),
        );
        ReceiptFile::new(&ProofParts {
            spec: &spec,
            assignment: &assignment,
            assignment_signature: &self.assignment_signature,
            receipt: &receipt,
            receipt_signature: &self.receipt_signature,
            service_key: &service_key,
        })
    }

    fn verify_with(&self, trust: &Trust, output: &[u8]) -> Result<Verified, VerifyError> {
        let mut stream = Sha256Stream::default();
        stream.update(output);
        verify_proof(
            trust,
            &self.file().parts(),
            Delivered {
                output: &stream,
                result: &self.result,
            },
        )
    }

    fn verify(&self) -> Result<Verified, VerifyError> {
        self.verify_with(&self.trust(), OUTPUT)
    }

    fn refused(&self) -> VerifyError {
        self.verify().expect_err("a lie")
    }

    fn start(&self, stream: &mut StreamVerifier) -> Result<AttemptStart, VerifyError> {
        stream.start(
            self.assignment.attempt.into(),
            &self.assignment.encode(),
            &self.assignment_signature,
        )
    }

    fn started(&self) -> StreamVerifier {
        let mut stream = StreamVerifier::new(self.trust());
        assert_eq!(self.start(&mut stream), Ok(AttemptStart::First));
        stream
    }

    fn checkpoint(&self, offset: usize) -> StreamCheckpoint {
        StreamCheckpoint {
            flags: 0,
            attempt: self.assignment.attempt,
            chain_id: CHAIN,
            job_id: self.assignment.job_id,
            job_ref: self.assignment.job_ref,
            offset: offset as u64,
            hash: sha256(&OUTPUT[..offset]),
            tokens_out: 3,
            work_ms: 900,
        }
    }
}

fn check(
    stream: &mut StreamVerifier,
    checkpoint: &StreamCheckpoint,
) -> Result<CheckpointCheck, VerifyError> {
    let signature = checkpoint.sign(&miner());
    stream.checkpoint(checkpoint.attempt.into(), &checkpoint.encode(), &signature)
}
