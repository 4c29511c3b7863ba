//! Vectors of the byte layouts.

use aitbc_common::address::Address;
use aitbc_common::hash::sha256;
use aitbc_common::identity::Identity;
use aitbc_common::ids::{JobId, MinerId};
use aitbc_common::job_input::JobType;
use aitbc_common::layouts::{
    Assignment, JobSpec, LayoutError, NO_MAX_RATE, Outcome, Receipt, Requirements, SessionProof,
    StreamCheckpoint,
};
use serde_json::{Value, json};

use super::{check, counting, number};

/// Seeds of the identities that appear in the vectors.
const OWNER_SEED: [u8; 32] = [0x11; 32];
const MINER_SEED: [u8; 32] = [0x22; 32];
const SERVICE_SEED: [u8; 32] = [0x33; 32];

fn owner() -> Identity {
    Identity::from_seed(&OWNER_SEED)
}

fn miner() -> Identity {
    Identity::from_seed(&MINER_SEED)
}

fn service() -> Identity {
    Identity::from_seed(&SERVICE_SEED)
}

fn job_id() -> JobId {
    JobId::new(1_795_428_000_000, 37, counting(0xa0))
}

fn miner_id() -> MinerId {
    MinerId::new(1_795_427_000_000, 12, counting(0xb0))
}

fn inference_spec() -> JobSpec {
    let input = br#"{"prompt":"Hello AITBC"}"#;
    JobSpec {
        job_type: JobType::Inference,
        flags: 0,
        chain_id: counting(0x01),
        owner: owner().public(),
        salt: counting(0x40),
        model_name_hash: sha256(b"llama3:latest"),
        model_digest: [0; 32],
        input_len: input.len() as u64,
        input_hash: sha256(input),
        requirements_hash: Requirements::default().hash(),
        max_rate: NO_MAX_RATE,
        deadline_ms: 3_600_000,
    }
}

fn pinned_spec() -> JobSpec {
    JobSpec {
        job_type: JobType::Embedding,
        flags: 1,
        model_digest: sha256(b"weights"),
        requirements_hash: Requirements {
            min_vram_gib: 24,
            miner: Some(miner_id()),
            ..Requirements::default()
        }
        .hash(),
        max_rate: 500_000,
        deadline_ms: 1_000,
        ..inference_spec()
    }
}

fn unpaid_assignment() -> Assignment {
    Assignment {
        flags: 0,
        attempt: 1,
        chain_id: counting(0x01),
        job_id: job_id(),
        job_ref: inference_spec().job_ref(),
        miner_key: miner().public(),
        payee: Address::dev_payee(&miner()),
        rate: 500_000,
        fee_bps: 250,
        locked: 0,
        budget_ms: u64::MAX,
        prompt_speed: 0,
        output_speed: 28_500,
        issued_ms: 1_795_428_000_004,
        locks_hash: [0; 32],
    }
}

fn raised_assignment() -> Assignment {
    Assignment {
        flags: 1,
        attempt: u16::MAX,
        rate: 1_000_000_000_000,
        locked: 10_000_000,
        budget_ms: 36,
        prompt_speed: u32::MAX,
        locks_hash: counting(0x70),
        ..unpaid_assignment()
    }
}

fn checkpoint(flags: u8, output: &[u8], tokens_out: u32, work_ms: u64) -> StreamCheckpoint {
    StreamCheckpoint {
        flags,
        attempt: 1,
        chain_id: counting(0x01),
        job_id: job_id(),
        job_ref: inference_spec().job_ref(),
        offset: output.len() as u64,
        hash: sha256(output),
        tokens_out,
        work_ms,
    }
}

fn receipt(outcome: Outcome) -> Receipt {
    let assignment = unpaid_assignment();
    let output = b"Hello! How can I help you today?";
    Receipt {
        outcome,
        attempt: 1,
        chain_id: counting(0x01),
        job_id: job_id(),
        job_ref: inference_spec().job_ref(),
        assignment_hash: assignment.id(&assignment.sign(&service())),
        miner_key: miner().public(),
        payee: assignment.payee,
        model_name_hash: sha256(b"llama3:latest"),
        model_digest: sha256(b"weights"),
        engine_hash: sha256(b"ollama/0.17.4"),
        output_len: output.len() as u64,
        output_hash: sha256(output),
        result_hash: sha256(br#"{"content":"Hello! How can I help you today?"}"#),
        tokens_in: 14,
        tokens_out: 9,
        work_ms: 2_140,
        seen_size: 0,
        seen_root: [0; 32],
    }
}

/// `bytes` with the byte at `at` replaced.
fn with_byte(bytes: &[u8], at: usize, byte: u8) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    changed[at] = byte;
    changed
}

/// Bytes that must be refused, with the reason that the Rust code gives.
pub fn invalid<T: std::fmt::Debug>(
    good: &[u8],
    decode: impl Fn(&[u8]) -> Result<T, LayoutError>,
    undefined: &[(&str, usize, u8)],
) -> Vec<Value> {
    let mut cases = vec![
        ("empty", Vec::new()),
        ("one byte short", good[..good.len() - 1].to_vec()),
        ("one byte long", [good, &[0]].concat()),
    ];
    cases.extend(
        undefined
            .iter()
            .map(|(name, at, byte)| (*name, with_byte(good, *at, *byte))),
    );
    cases
        .into_iter()
        .map(|(name, bytes)| {
            let error = decode(&bytes).expect_err(name);
            json!({"name": name, "bytes": hex::encode(bytes), "error": error.to_string()})
        })
        .collect()
}

fn spec_vector(name: &str, spec: &JobSpec) -> Value {
    assert_eq!(JobSpec::decode(&spec.encode()).as_ref(), Ok(spec));
    json!({
        "name": name,
        "fields": {
            "version": 1,
            "type": spec.job_type as u8,
            "flags": spec.flags,
            "chain_id": hex::encode(spec.chain_id),
            "owner": hex::encode(spec.owner.0),
            "salt": hex::encode(spec.salt),
            "model_name_hash": hex::encode(spec.model_name_hash),
            "model_digest": hex::encode(spec.model_digest),
            "input_len": number(spec.input_len),
            "input_hash": hex::encode(spec.input_hash),
            "requirements_hash": hex::encode(spec.requirements_hash),
            "max_rate": number(spec.max_rate),
            "deadline_ms": number(spec.deadline_ms),
        },
        "bytes": hex::encode(spec.encode()),
        "job_ref": hex::encode(spec.job_ref()),
    })
}

#[test]
fn job_spec() {
    check(
        "job_spec.json",
        &json!({
            "layout": "job spec v1",
            "length": JobSpec::LEN,
            "owner_seed": hex::encode(OWNER_SEED),
            "vectors": [spec_vector("inference", &inference_spec()), spec_vector("pinned embedding", &pinned_spec())],
            "invalid": invalid(&inference_spec().encode(), JobSpec::decode, &[
                ("version 0", 0, 0), ("version 2", 0, 2), ("undefined type", 1, 4), ("undefined flags", 3, 2),
            ]),
        }),
    );
}

fn assignment_vector(name: &str, assignment: &Assignment) -> Value {
    assert_eq!(
        Assignment::decode(&assignment.encode()).as_ref(),
        Ok(assignment)
    );
    let signature = assignment.sign(&service());
    assert!(assignment.verify(&service().public(), &signature));
    json!({
        "name": name,
        "fields": {
            "version": 1,
            "flags": assignment.flags,
            "attempt": assignment.attempt,
            "chain_id": hex::encode(assignment.chain_id),
            "job_id": hex::encode(assignment.job_id.0),
            "job_ref": hex::encode(assignment.job_ref),
            "miner_key": hex::encode(assignment.miner_key.0),
            "payee": hex::encode(assignment.payee.0),
            "rate": number(assignment.rate),
            "fee_bps": assignment.fee_bps,
            "locked": number(assignment.locked),
            "budget_ms": number(assignment.budget_ms),
            "prompt_speed": assignment.prompt_speed,
            "output_speed": assignment.output_speed,
            "issued_ms": number(assignment.issued_ms),
            "locks_hash": hex::encode(assignment.locks_hash),
        },
        "bytes": hex::encode(assignment.encode()),
        "signature": hex::encode(signature),
        "assignment_hash": hex::encode(assignment.id(&signature)),
    })
}

#[test]
fn assignment() {
    let vectors = [
        assignment_vector("unpaid", &unpaid_assignment()),
        assignment_vector("budget raised", &raised_assignment()),
    ];
    check(
        "assignment.json",
        &json!({
            "layout": "assignment v1",
            "length": Assignment::LEN,
            "signer_seed": hex::encode(SERVICE_SEED),
            "signer_key": hex::encode(service().public().0),
            "vectors": vectors,
            "invalid": invalid(&unpaid_assignment().encode(), Assignment::decode, &[
                ("version 2", 0, 2), ("undefined flags", 1, 2),
            ]),
        }),
    );
}

fn checkpoint_vector(name: &str, checkpoint: &StreamCheckpoint) -> Value {
    assert_eq!(
        StreamCheckpoint::decode(&checkpoint.encode()).as_ref(),
        Ok(checkpoint)
    );
    json!({
        "name": name,
        "fields": {
            "version": 1,
            "flags": checkpoint.flags,
            "attempt": checkpoint.attempt,
            "chain_id": hex::encode(checkpoint.chain_id),
            "job_id": hex::encode(checkpoint.job_id.0),
            "job_ref": hex::encode(checkpoint.job_ref),
            "offset": number(checkpoint.offset),
            "hash": hex::encode(checkpoint.hash),
            "tokens_out": checkpoint.tokens_out,
            "work_ms": number(checkpoint.work_ms),
        },
        "bytes": hex::encode(checkpoint.encode()),
        "signature": hex::encode(checkpoint.sign(&miner())),
    })
}

#[test]
fn stream_checkpoint() {
    let (empty, some) = (
        checkpoint(0, b"", 0, 0),
        checkpoint(0, b"Hello! How", 3, 1_024),
    );
    check(
        "stream_checkpoint.json",
        &json!({
            "layout": "stream checkpoint v1",
            "length": StreamCheckpoint::LEN,
            "signer_seed": hex::encode(MINER_SEED),
            "signer_key": hex::encode(miner().public().0),
            "vectors": [checkpoint_vector("nothing yet", &empty), checkpoint_vector("three tokens", &some)],
            "invalid": invalid(&some.encode(), StreamCheckpoint::decode, &[
                ("version 2", 0, 2), ("undefined flags", 1, 1),
            ]),
        }),
    );
}

fn receipt_vector(name: &str, receipt: &Receipt) -> Value {
    assert_eq!(Receipt::decode(&receipt.encode()).as_ref(), Ok(receipt));
    let signature = receipt.sign(&miner());
    json!({
        "name": name,
        "fields": {
            "version": 1,
            "outcome": receipt.outcome as u8,
            "attempt": receipt.attempt,
            "chain_id": hex::encode(receipt.chain_id),
            "job_id": hex::encode(receipt.job_id.0),
            "job_ref": hex::encode(receipt.job_ref),
            "assignment_hash": hex::encode(receipt.assignment_hash),
            "miner_key": hex::encode(receipt.miner_key.0),
            "payee": hex::encode(receipt.payee.0),
            "model_name_hash": hex::encode(receipt.model_name_hash),
            "model_digest": hex::encode(receipt.model_digest),
            "engine_hash": hex::encode(receipt.engine_hash),
            "output_len": number(receipt.output_len),
            "output_hash": hex::encode(receipt.output_hash),
            "result_hash": hex::encode(receipt.result_hash),
            "tokens_in": receipt.tokens_in,
            "tokens_out": receipt.tokens_out,
            "work_ms": number(receipt.work_ms),
            "seen_size": number(receipt.seen_size),
            "seen_root": hex::encode(receipt.seen_root),
        },
        "bytes": hex::encode(receipt.encode()),
        "signature": hex::encode(signature),
        "receipt_id": hex::encode(receipt.id(&signature)),
    })
}

#[test]
fn receipt_of_each_outcome() {
    let vectors: Vec<Value> = [
        ("complete", Outcome::Complete),
        ("budget", Outcome::Budget),
        ("cancelled", Outcome::Cancelled),
        ("deadline", Outcome::Deadline),
    ]
    .into_iter()
    .map(|(name, outcome)| receipt_vector(name, &receipt(outcome)))
    .collect();
    check(
        "receipt.json",
        &json!({
            "layout": "receipt v1",
            "length": Receipt::LEN,
            "signer_seed": hex::encode(MINER_SEED),
            "signer_key": hex::encode(miner().public().0),
            "vectors": vectors,
            "invalid": invalid(&receipt(Outcome::Complete).encode(), Receipt::decode, &[
                ("version 2", 0, 2), ("outcome 0", 1, 0), ("undefined outcome", 1, 5),
            ]),
        }),
    );
}

#[test]
fn session_proof() {
    let proof = SessionProof {
        chain_id: counting(0x01),
        challenge: counting(0xc0),
        miner_id: miner_id(),
    };
    assert_eq!(SessionProof::decode(&proof.encode()).as_ref(), Ok(&proof));
    check(
        "session_proof.json",
        &json!({
            "layout": "session proof",
            "length": SessionProof::LEN,
            "signer_seed": hex::encode(MINER_SEED),
            "signer_key": hex::encode(miner().public().0),
            "vectors": [{
                "name": "one challenge",
                "fields": {
                    "chain_id": hex::encode(proof.chain_id),
                    "challenge": hex::encode(proof.challenge),
                    "miner_id": hex::encode(proof.miner_id.0),
                },
                "bytes": hex::encode(proof.encode()),
                "signature": hex::encode(proof.sign(&miner())),
            }],
            "invalid": invalid(&proof.encode(), SessionProof::decode, &[]),
        }),
    );
}

#[test]
fn a_changed_byte_breaks_every_signature() {
    let (assignment, receipt) = (unpaid_assignment(), receipt(Outcome::Complete));
    let signature = assignment.sign(&service());
    for at in 2..Assignment::LEN {
        let changed = with_byte(&assignment.encode(), at, assignment.encode()[at] ^ 1);
        let changed = Assignment::decode(&changed).expect("every later field takes any value");
        assert!(
            !changed.verify(&service().public(), &signature),
            "byte {at}"
        );
    }
    let signature = receipt.sign(&miner());
    for at in 2..Receipt::LEN {
        let changed = with_byte(&receipt.encode(), at, receipt.encode()[at] ^ 1);
        let changed = Receipt::decode(&changed).expect("every later field takes any value");
        assert!(!changed.verify(&miner().public(), &signature), "byte {at}");
    }
}
