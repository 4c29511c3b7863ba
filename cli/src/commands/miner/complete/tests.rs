use aitbc_common::address::Address;
use aitbc_common::ids::JobId;
use aitbc_common::layouts::NO_MAX_RATE;

use super::*;

fn polled(job_type: JobType) -> (PolledJob, Identity) {
    let (miner, service) = (Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32]));
    let job_id = JobId::new(1_000, 5, [7; 10]);
    let spec = JobSpec::decode(&spec_bytes()).unwrap();
    let assignment = Assignment {
        flags: 0,
        attempt: 3,
        chain_id: [9; 32],
        job_id,
        job_ref: spec.job_ref(),
        miner_key: miner.public(),
        payee: Address([8; 20]),
        rate: 500_000,
        fee_bps: 250,
        locked: 0,
        budget_ms: u64::MAX,
        prompt_speed: 0,
        output_speed: 0,
        issued_ms: 1_000,
        locks_hash: [0; 32],
    };
    let signature = assignment.sign(&service);
    let job = PolledJob {
        job_id: job_id.to_string(),
        attempt: 3,
        job_type: job_type.into(),
        model: "llama3:latest".into(),
        spec: hex::encode(spec.encode()),
        assignment: hex::encode(assignment.encode()),
        assignment_signature: hex::encode(signature),
        polled_ms: 1_000,
        work_ms: Some(2_140),
        seen: None,
        receipt: None,
        refused: Vec::new(),
    };
    (job, miner)
}

/// A specification of an inference job in its layout.
fn spec_bytes() -> Vec<u8> {
    let mut bytes = vec![1, 1, 0, 0];
    bytes.extend([9; 32]);
    bytes.extend([4; 32]);
    bytes.extend([5; 32]);
    bytes.extend(sha256(b"llama3:latest"));
    bytes.extend([0; 32]);
    bytes.extend(2_u64.to_be_bytes());
    bytes.extend(sha256(b"{}"));
    bytes.extend(sha256(b""));
    bytes.extend(NO_MAX_RATE.to_be_bytes());
    bytes.extend(3_600_000_u64.to_be_bytes());
    bytes
}

#[test]
fn the_receipt_covers_output_result_and_promise() {
    let (job, miner) = polled(JobType::Inference);
    let delivery = Delivery::build(&job, b"Hello!".to_vec(), &miner).unwrap();
    assert_eq!(delivery.result, br#"{"content":"Hello!","finish_reason":"stop","usage":{"input_tokens":0,"output_tokens":0}}"#);
    let receipt = &delivery.receipt;
    assert_eq!(
        (receipt.attempt, receipt.output_len, receipt.work_ms),
        (3, 6, 2_140)
    );
    assert_eq!(receipt.output_hash, sha256(b"Hello!"));
    assert_eq!(receipt.result_hash, sha256(&delivery.result));
    assert_eq!(receipt.model_name_hash, sha256(b"llama3:latest"));
    assert!(receipt.verify(&miner.public(), &delivery.signature));
    let again = Delivery::build(&job, b"Hello!".to_vec(), &miner).unwrap();
    assert_eq!(
        again.signature, delivery.signature,
        "a repeated delivery is the same"
    );
}

#[test]
fn a_second_receipt_is_not_signed_for_another_output() {
    let (mut job, miner) = polled(JobType::Inference);
    let folder = std::env::temp_dir().join(format!(
        "aitbc-complete-{}",
        hex::encode(aitbc_common::runtime::random_bytes::<8>())
    ));
    let jobs = PolledJobs::below(folder.clone());
    let build = |job: &PolledJob, text: &str| Delivery::build(job, text.into(), &miner).unwrap();
    let first = build(&job, "Hello!").receipt;
    sign_once(&jobs, &mut job, &first).unwrap();
    let id: JobId = job.job_id.parse().unwrap();
    let mut kept = jobs.load(JobSelector::Id(id)).unwrap();
    sign_once(&jobs, &mut kept, &build(&job, "Hello!").receipt).unwrap();
    let error = sign_once(&jobs, &mut kept, &build(&job, "Bye!").receipt).unwrap_err();
    assert_eq!(
        (error.exit, error.reason.as_str()),
        (ExitCode::Usage, "RECEIPT_SIGNED")
    );
    assert!(error.hint.is_some());
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn parts_come_in_order_and_stay_below_their_bound() {
    let (job, miner) = polled(JobType::Inference);
    let content = "x".repeat(CHUNK_BYTES + 1);
    let parts = Delivery::build(&job, content.into_bytes(), &miner)
        .unwrap()
        .into_parts(&job);
    let kinds: String = parts
        .iter()
        .map(|part| match part.part.as_ref().unwrap() {
            Part::Complete(_) => 'c',
            Part::Output(bytes) | Part::Result(bytes) if bytes.len() > CHUNK_BYTES => '!',
            Part::Output(_) => 'o',
            Part::Result(_) => 'r',
        })
        .collect();
    assert_eq!(kinds, "coorr");
    let empty = Delivery::build(&job, Vec::new(), &miner)
        .unwrap()
        .into_parts(&job);
    assert_eq!(empty.len(), 2);
}

#[test]
fn vectors_are_the_result_of_an_embedding_job() {
    let (job, miner) = polled(JobType::Embedding);
    let delivery = Delivery::build(&job, b" [[0.1,-2],[3]]\n".to_vec(), &miner).unwrap();
    assert!(delivery.output.is_empty());
    assert!(
        delivery
            .result
            .starts_with(br#"{"embeddings":[[0.1,-2],[3]],"#)
    );
    for bad in [b"text".as_slice(), b"[1]", b"[[\"x\"]]", b""] {
        assert_eq!(
            Delivery::build(&job, bad.to_vec(), &miner)
                .unwrap_err()
                .exit,
            ExitCode::Usage
        );
    }
}

#[test]
fn what_cannot_be_delivered_is_refused() {
    let (mut job, miner) = polled(JobType::Inference);
    let error = Delivery::build(&job, b"ab\xff".to_vec(), &miner).unwrap_err();
    assert!(error.message.contains("byte 2"), "{}", error.message);
    for damaged in ["", "zz", "0", "ü0"] {
        job.assignment = damaged.into();
        assert_eq!(
            Delivery::build(&job, Vec::new(), &miner)
                .unwrap_err()
                .reason,
            "POLLED_JOB_DAMAGED"
        );
    }
    assert_eq!(
        read_output(&PathBuf::from("/nonexistent"))
            .unwrap_err()
            .exit,
        ExitCode::Failed
    );
}

/// A coordinator that refuses a receipt still has it: another one of as many bytes would prove a lie.
#[test]
fn a_refused_receipt_is_never_contradicted() {
    let (mut job, miner) = polled(JobType::Inference);
    let folder = std::env::temp_dir().join(format!(
        "aitbc-refused-{}",
        hex::encode(aitbc_common::runtime::random_bytes::<8>())
    ));
    let jobs = PolledJobs::below(folder.clone());
    let build = |job: &PolledJob, text: &str| Delivery::build(job, text.into(), &miner).unwrap();
    let refused = build(&job, "Hello!").receipt;
    sign_once(&jobs, &mut job, &refused).unwrap();
    job.refused.extend(job.receipt.take());
    let [another, longer] = ["Jello!", "Hello, you"].map(|text| build(&job, text).receipt);
    let error = sign_once(&jobs, &mut job, &another).unwrap_err();
    assert_eq!(error.reason, "RECEIPT_SIGNED");
    assert!(
        error.message.contains("loses its stake"),
        "{}",
        error.message
    );
    sign_once(&jobs, &mut job, &longer).unwrap();
    std::fs::remove_dir_all(folder).unwrap();
}
