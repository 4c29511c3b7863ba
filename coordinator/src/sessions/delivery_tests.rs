//! Every field of a delivery matters.

use aitbc_common::address::Address;
use aitbc_common::hash::sha256;
use aitbc_common::identity::Identity;
use aitbc_common::ids::{JobId, shard_of};
use aitbc_common::job_input::JobType;
use aitbc_common::layouts::{Assignment, JobSpec, NO_MAX_RATE, Outcome, Receipt, Requirements};
use aitbc_common::price::budget_ms;
use aitbc_proto::v1;

use super::core::Progress;
use super::delivery::{Checked, check};
use super::streams::AttemptFacts;
use crate::engine::command::{AttemptId, AttemptInfo};

const OUTPUT: &[u8] = b"Hello!";
const RESULT: &[u8] =
    br#"{"content":"Hello!","finish_reason":"stop","usage":{"input_tokens":3,"output_tokens":2}}"#;

/// What the refusal names, and what is wrong.
type Change = (&'static str, fn(&mut Case));

struct Case {
    facts: AttemptFacts,
    miner: Identity,
    receipt: Receipt,
    complete: v1::Complete,
    result: Vec<u8>,
}

fn spec_of(owner: &Identity, digest: [u8; 32]) -> JobSpec {
    JobSpec {
        job_type: JobType::Inference,
        flags: 0,
        chain_id: [9; 32],
        owner: owner.public(),
        salt: [8; 32],
        model_name_hash: sha256(b"llama3:latest"),
        model_digest: digest,
        input_len: 10,
        input_hash: [7; 32],
        requirements_hash: Requirements::default().hash(),
        max_rate: NO_MAX_RATE,
        deadline_ms: 1_000,
    }
}

fn assignment_of(spec: &JobSpec, miner: &Identity) -> Assignment {
    Assignment {
        flags: 0,
        attempt: 1,
        chain_id: [9; 32],
        job_id: JobId::new(1, shard_of(&spec.owner), [5; 10]),
        job_ref: spec.job_ref(),
        miner_key: miner.public(),
        payee: Address([6; 20]),
        rate: 1,
        fee_bps: 250,
        locked: 0,
        budget_ms: u64::MAX,
        prompt_speed: 0,
        output_speed: 0,
        issued_ms: 1,
        locks_hash: [0; 32],
    }
}

fn receipt_of(facts: &AttemptFacts) -> Receipt {
    Receipt {
        outcome: Outcome::Complete,
        attempt: 1,
        chain_id: [9; 32],
        job_id: facts.assignment.job_id,
        job_ref: facts.spec.job_ref(),
        assignment_hash: facts.assignment.id(&facts.signature),
        miner_key: facts.assignment.miner_key,
        payee: Address([6; 20]),
        model_name_hash: sha256(b"llama3:latest"),
        model_digest: [4; 32],
        engine_hash: sha256(b"ollama/0.17.4"),
        output_len: OUTPUT.len() as u64,
        output_hash: sha256(OUTPUT),
        result_hash: sha256(RESULT),
        tokens_in: 3,
        tokens_out: 2,
        work_ms: 5,
        seen_size: 0,
        seen_root: [0; 32],
    }
}

fn case(digest: [u8; 32]) -> Case {
    let [service, miner, owner] = [1, 2, 3].map(|seed| Identity::from_seed(&[seed; 32]));
    let spec = spec_of(&owner, digest);
    let assignment = assignment_of(&spec, &miner);
    let info = AttemptInfo {
        attempt: AttemptId {
            job_id: assignment.job_id,
            attempt: 1,
        },
        spec: spec.encode().into(),
        assignment: assignment.encode().into(),
        earlier: Vec::new(),
        model: "llama3:latest".into(),
        input: bytes::Bytes::new(),
        deadline_ms: 0,
        owner: owner.public(),
        epoch: 1,
    };
    let facts = AttemptFacts::sign(&info, &service).unwrap();
    let complete = v1::Complete {
        served_model: "llama3:latest".into(),
        engine: "ollama/0.17.4".into(),
        ..v1::Complete::default()
    };
    Case {
        receipt: receipt_of(&facts),
        facts,
        miner,
        complete,
        result: RESULT.to_vec(),
    }
}

/// What was promised for some attempt.
pub(super) fn facts() -> AttemptFacts {
    case([0; 32]).facts
}

/// Who holds it.
pub(super) fn miner() -> Identity {
    case([0; 32]).miner
}

fn outcome(mut case: Case) -> Result<Checked, String> {
    case.complete.receipt = case.receipt.encode().into();
    case.complete.signature = case.receipt.sign(&case.miner).to_vec().into();
    let progress = Progress {
        output_len: OUTPUT.len() as u64,
        output_hash: sha256(OUTPUT),
        result_len: case.result.len() as u64,
        result_hash: sha256(&case.result),
    };
    let miner = case.miner.public();
    let promise = (&case.facts, &case.facts.issued[..]);
    check(promise, &miner, &case.complete, &progress, &case.result)
}

#[test]
fn a_correct_delivery_passes() {
    for digest in [[0; 32], [4; 32]] {
        let checked = outcome(case(digest)).unwrap();
        assert!(checked.output_in_result);
        assert_eq!(checked.finish_reason, v1::FinishReason::Stop);
    }
}

#[test]
fn any_other_field_is_refused() {
    let changes: [Change; 19] = [
        ("outcome", |c| c.receipt.outcome = Outcome::Budget),
        ("attempt", |c| c.receipt.attempt = 2),
        ("chain_id", |c| c.receipt.chain_id[0] ^= 1),
        ("job_id", |c| c.receipt.job_id.0[15] ^= 1),
        ("job_ref", |c| c.receipt.job_ref[0] ^= 1),
        ("assignment_hash", |c| c.receipt.assignment_hash[0] ^= 1),
        ("miner_key", |c| c.miner = Identity::from_seed(&[7; 32])),
        ("miner_key", |c| c.receipt.miner_key.0[0] ^= 1),
        ("payee", |c| c.receipt.payee.0[0] ^= 1),
        ("model_name_hash", |c| c.receipt.model_name_hash[0] ^= 1),
        ("served_model", |c| {
            c.complete.served_model = "llama3".into()
        }),
        ("asks for", |c| {
            c.complete.served_model = "other:latest".into();
            c.receipt.model_name_hash = sha256(b"other:latest");
        }),
        ("model_digest", |c| c.receipt.model_digest[0] ^= 1),
        ("engine_hash", |c| c.complete.engine = "ollama/0.1".into()),
        ("output_len", |c| c.receipt.output_len += 1),
        ("output_hash", |c| c.receipt.output_hash[0] ^= 1),
        ("result_hash", |c| c.receipt.result_hash[0] ^= 1),
        ("tokens", |c| c.receipt.tokens_out = u32::MAX),
        ("content", |c| {
            c.result = String::from_utf8_lossy(RESULT)
                .replace("Hello!", "Hullo!")
                .into_bytes();
            c.receipt.result_hash = sha256(&c.result);
        }),
    ];
    for (what, change) in changes {
        let mut case = case([4; 32]);
        change(&mut case);
        let problem = outcome(case).unwrap_err();
        assert!(problem.contains(what), "{what}: {problem}");
    }
}

/// 1,000 micro-AIT are locked at 360,000 an hour, after the attempt began: 10 s.
fn paid() -> Case {
    let mut case = case([0; 32]);
    let service = Identity::from_seed(&[1; 32]);
    let old = case.facts.assignment.clone();
    let mut new = Assignment {
        flags: 1,
        rate: 360_000,
        locked: 1_000,
        issued_ms: 2,
        locks_hash: [1; 32],
        ..old.clone()
    };
    new.budget_ms = budget_ms(new.locked, new.rate);
    let info = AttemptInfo {
        attempt: case.facts.attempt,
        spec: case.facts.spec_bytes.clone(),
        assignment: new.encode().into(),
        earlier: vec![old.encode().into()],
        model: "llama3:latest".into(),
        input: bytes::Bytes::new(),
        deadline_ms: 0,
        owner: case.facts.owner,
        epoch: case.facts.epoch,
    };
    case.facts = AttemptFacts::sign(&info, &service).unwrap();
    case.receipt = receipt_of(&case.facts);
    case
}

#[test]
fn a_receipt_may_name_any_assignment_of_its_attempt() {
    let mut case = paid();
    case.receipt.assignment_hash = case.facts.issued[0].hash;
    assert!(outcome(case).is_ok());
    assert!(outcome(paid()).is_ok());
}

#[test]
fn funds_are_used_up_only_after_the_work_that_they_pay_for() {
    let with = |work_ms, named: usize| {
        let mut case = paid();
        case.result = String::from_utf8_lossy(RESULT)
            .replace("stop", "budget")
            .into_bytes();
        case.receipt.result_hash = sha256(&case.result);
        case.receipt.outcome = Outcome::Budget;
        case.receipt.work_ms = work_ms;
        case.receipt.assignment_hash = case.facts.issued[named].hash;
        outcome(case)
    };
    assert_eq!(
        with(10_000, 1).unwrap().finish_reason,
        v1::FinishReason::Budget
    );
    assert!(with(9_999, 1).unwrap_err().contains("outcome"));
    assert!(with(u64::MAX, 0).unwrap_err().contains("outcome"));
}

#[test]
fn a_stopped_job_has_a_receipt_without_a_result_where_it_is_paid() {
    for stopped in [Outcome::Cancelled, Outcome::Deadline] {
        let bare = |mut case: Case| {
            case.receipt.outcome = stopped;
            case.result = Vec::new();
            case.receipt.result_hash = sha256(b"");
            case
        };
        assert!(outcome(bare(paid())).is_ok());
        assert!(
            outcome(bare(case([0; 32])))
                .unwrap_err()
                .contains("outcome")
        );
        let mut bent = bare(paid());
        bent.receipt.result_hash = sha256(RESULT);
        assert!(outcome(bent).unwrap_err().contains("result_hash"));
        let mut bent = bare(paid());
        bent.receipt.tokens_out = u32::MAX;
        assert!(outcome(bent).unwrap_err().contains("tokens"));
    }
}

#[test]
fn a_forged_signature_and_a_broken_document_are_refused() {
    let mut forged = case([0; 32]);
    forged.complete.receipt = forged.receipt.encode().into();
    forged.complete.signature = vec![1; 64].into();
    let progress = Progress {
        output_len: OUTPUT.len() as u64,
        output_hash: sha256(OUTPUT),
        result_len: RESULT.len() as u64,
        result_hash: sha256(RESULT),
    };
    let miner = forged.miner.public();
    let problem = check(
        (&forged.facts, &forged.facts.issued[..]),
        &miner,
        &forged.complete,
        &progress,
        RESULT,
    )
    .unwrap_err();
    assert!(problem.contains("signature"), "{problem}");
    for document in [&b""[..], b"{}", b"[1]", b"\xff"] {
        let mut broken = case([0; 32]);
        broken.result = document.to_vec();
        broken.receipt.result_hash = sha256(document);
        assert!(outcome(broken).unwrap_err().contains("result document"));
    }
}
