//! Proofs and results.

use super::*;

#[test]
fn an_honest_proof_checks() {
    let delivery = Delivery::new();
    let verified = delivery.verify().unwrap();
    assert_eq!(verified.document.content.unwrap().as_bytes(), OUTPUT);
    verified.proof.check_model_name("llama3:latest").unwrap();
    assert_eq!(
        verified.proof.check_model_name("llama3"),
        Err(VerifyError::ModelName)
    );
    let without_spec = Trust {
        spec: None,
        ..delivery.trust()
    };
    delivery.verify_with(&without_spec, OUTPUT).unwrap();
}

#[test]
fn a_changed_dropped_or_added_byte_of_output_is_caught() {
    let delivery = Delivery::new();
    let trust = delivery.trust();
    let mut changed = OUTPUT.to_vec();
    changed[3] ^= 1;
    let longer = [OUTPUT, b"!"].concat();
    assert_eq!(
        delivery.verify_with(&trust, &changed).unwrap_err(),
        VerifyError::OutputHash
    );
    for output in [&OUTPUT[1..], &longer, b""] {
        let error = delivery.verify_with(&trust, output).unwrap_err();
        assert!(matches!(error, VerifyError::OutputLength { .. }));
    }
}

#[test]
fn another_result_document_is_caught() {
    let mut delivery = Delivery::new();
    delivery.result[15] ^= 1;
    assert_eq!(delivery.refused(), VerifyError::ResultHash);
}

#[test]
fn a_miner_that_signs_a_result_unlike_its_output_is_caught() {
    let mut delivery = Delivery::new();
    delivery.replace_result(&RESULT.replace("CONTENT", "other text"));
    assert_eq!(delivery.refused(), VerifyError::ContentDiffers);
    delivery.replace_result(r#"{"embeddings":[[1]],"finish_reason":"stop","usage":{"input_tokens":14,"output_tokens":61}}"#);
    assert_eq!(delivery.refused(), VerifyError::DocumentKind);
    delivery.replace_result("{}");
    assert!(matches!(delivery.refused(), VerifyError::Document(_)));
    let content = std::str::from_utf8(OUTPUT).unwrap();
    delivery.replace_result(&RESULT.replace("CONTENT", content).replace("61", "62"));
    assert_eq!(
        delivery.refused(),
        VerifyError::DocumentDisagrees("the tokens used")
    );
    delivery.replace_result(&RESULT.replace("CONTENT", content).replace("stop", "budget"));
    assert_eq!(
        delivery.refused(),
        VerifyError::DocumentDisagrees("why the output ended")
    );
}

#[test]
fn paid_work_checks_and_a_budget_that_its_locks_do_not_pay_for_is_caught() {
    let mut delivery = Delivery::new();
    delivery.pay(10_000_000);
    assert!(delivery.verify().unwrap().proof.is_paid());
    delivery.assignment.flags = 1;
    delivery.sign();
    assert!(delivery.verify().is_ok());
    type Bend = fn(&mut Assignment);
    let lies: [Bend; 6] = [
        |a| a.budget_ms += 1,
        |a| a.budget_ms = u64::MAX,
        |a| a.locked += 1_000_000,
        |a| a.locked = 0,
        |a| a.locks_hash = Hash::default(),
        |a| {
            a.locked = 0;
            a.budget_ms = u64::MAX;
            a.locks_hash = Hash::default();
        },
    ];
    for lie in lies {
        let mut lied = delivery.clone();
        lie(&mut lied.assignment);
        lied.sign();
        assert_eq!(lied.refused(), VerifyError::Budget);
    }
}

#[test]
fn a_run_ends_for_want_of_funds_only_where_they_are_used_up() {
    let mut delivery = Delivery::new();
    // 2,140 ms at 500,000 an hour cost 298; 297 pay for 2,138 of them.
    delivery.pay(297);
    delivery.receipt.outcome = Outcome::Budget;
    let content = std::str::from_utf8(OUTPUT).unwrap();
    delivery.replace_result(&RESULT.replace("CONTENT", content).replace("stop", "budget"));
    assert!(delivery.verify().is_ok());
    delivery.pay(298);
    assert_eq!(delivery.refused(), VerifyError::FundsLeft);
    let mut unpaid = Delivery::new();
    unpaid.receipt.outcome = Outcome::Budget;
    unpaid.sign_receipt();
    assert_eq!(unpaid.refused(), VerifyError::FundsLeft);
}

#[test]
fn another_networks_or_coordinators_proof_is_caught() {
    let delivery = Delivery::new();
    let other_key = Trust {
        service_key: identity(7).public(),
        ..delivery.trust()
    };
    assert_eq!(
        delivery.verify_with(&other_key, OUTPUT).unwrap_err(),
        VerifyError::ServiceKey
    );
    let other_chain = Trust {
        chain_id: [1; 32],
        spec: None,
        ..delivery.trust()
    };
    assert_eq!(
        delivery.verify_with(&other_chain, OUTPUT).unwrap_err(),
        VerifyError::Chain("specification")
    );
    let mut forged = Delivery::new();
    forged.assignment_signature = forged.assignment.sign(&identity(7)).to_vec();
    assert_eq!(forged.refused(), VerifyError::AssignmentSignature);
    let mut relocated = Delivery::new();
    relocated.assignment.chain_id = [1; 32];
    relocated.sign();
    assert_eq!(relocated.refused(), VerifyError::Chain("assignment"));
}

#[test]
fn another_jobs_proof_is_caught() {
    // All of it, honestly signed, for another job of the same owner.
    let other = Delivery::of(
        JobSpec {
            salt: [4; 32],
            ..spec()
        },
        job(2),
        1,
    );
    assert_eq!(other.refused(), VerifyError::SpecDiffers);
    let without_spec = Trust {
        spec: None,
        ..other.trust()
    };
    assert_eq!(
        other.verify_with(&without_spec, OUTPUT).unwrap_err(),
        VerifyError::OtherJob("assignment")
    );
    // Its receipt under this job's assignment.
    let mut mixed = Delivery::new();
    mixed.receipt = other.receipt.clone();
    mixed.receipt_signature = other.receipt_signature.clone();
    assert_eq!(mixed.refused(), VerifyError::OtherJob("receipt"));
    // The right id, another specification.
    let mut renamed = Delivery::of(
        JobSpec {
            salt: [4; 32],
            ..spec()
        },
        job(1),
        1,
    );
    renamed.spec = spec();
    assert_eq!(renamed.refused(), VerifyError::OtherSpec("assignment"));
    let mut half = Delivery::new();
    half.receipt.job_ref = [0; 32];
    half.sign_receipt();
    assert_eq!(half.refused(), VerifyError::OtherSpec("receipt"));
    let foreign = Delivery::of(
        JobSpec {
            owner: identity(9).public(),
            ..spec()
        },
        job(1),
        1,
    );
    assert_eq!(
        foreign.verify_with(&without_spec, OUTPUT).unwrap_err(),
        VerifyError::Owner
    );
}

#[test]
fn another_model_is_caught() {
    let mut delivery = Delivery::new();
    delivery.receipt.model_digest = [7; 32];
    delivery.sign_receipt();
    let digests = VerifyError::ModelDigest {
        given: [7; 32],
        wanted: [6; 32],
    };
    assert_eq!(delivery.refused(), digests);
    assert!(digests.to_string().contains("sha256:0707"));
    let mut renamed = Delivery::new();
    renamed.receipt.model_name_hash = sha256(b"llama3");
    renamed.sign_receipt();
    assert_eq!(
        renamed.refused(),
        VerifyError::ModelName,
        "names are hashed in their canonical form"
    );
    let any = JobSpec {
        model_digest: Hash::default(),
        ..spec()
    };
    let mut unpinned = Delivery::of(any.clone(), job(1), 1);
    unpinned.receipt.model_digest = [7; 32];
    unpinned.sign_receipt();
    unpinned
        .verify_with(
            &Trust {
                spec: Some(any),
                ..unpinned.trust()
            },
            OUTPUT,
        )
        .unwrap();
}

#[test]
fn a_receipt_that_does_not_fit_its_assignment_is_caught() {
    let bend = |change: fn(&mut Receipt)| {
        let mut delivery = Delivery::new();
        change(&mut delivery.receipt);
        delivery.sign_receipt();
        delivery.refused()
    };
    assert_eq!(
        bend(|r| r.assignment_hash[0] ^= 1),
        VerifyError::AssignmentHash
    );
    assert_eq!(bend(|r| r.payee = Address([1; 20])), VerifyError::Payee);
    assert_eq!(
        bend(|r| r.miner_key = identity(9).public()),
        VerifyError::MinerKey
    );
    assert_eq!(
        bend(|r| r.chain_id = [1; 32]),
        VerifyError::Chain("receipt")
    );
    let other_attempt = VerifyError::OtherAttempt {
        part: "receipt",
        given: 2,
        wanted: 1,
    };
    assert_eq!(bend(|r| r.attempt = 2), other_attempt);
    assert_eq!(
        bend(|r| r.outcome = Outcome::Cancelled),
        VerifyError::Outcome(Outcome::Cancelled)
    );
    let mut stranger = Delivery::new();
    stranger.receipt_signature = stranger.receipt.sign(&identity(9)).to_vec();
    assert_eq!(stranger.refused(), VerifyError::ReceiptSignature);
    let limited = JobSpec {
        max_rate: 499_999,
        ..spec()
    };
    let dear = Delivery::of(limited.clone(), job(1), 1);
    let error = dear
        .verify_with(
            &Trust {
                spec: Some(limited),
                ..dear.trust()
            },
            OUTPUT,
        )
        .unwrap_err();
    assert_eq!(
        error,
        VerifyError::Price {
            rate: 500_000,
            max_rate: 499_999
        }
    );
}
