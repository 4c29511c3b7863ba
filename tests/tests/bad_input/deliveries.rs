//! Deliveries of polled jobs that are not what was promised.

use aitbc_common::hash::tagged;
use aitbc_common::identity::Identity;
use aitbc_common::layouts::Receipt;
use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1::complete_job_request::Part;
use aitbc_proto::v1::{
    Assign, CompleteJobRequest, ErrorReason, ExtendLeaseRequest, FailJobRequest, Failure,
    FailureReason, JobStatus, PollJobRequest,
};
use aitbc_tests::harness::{Delivery, HandMiner, Network, User};
use tonic::Code;

use super::refused;

const REGISTER: &str = "aitbc miner register";

async fn give_back(miner: &HandMiner, assign: &Assign) {
    let failure = Failure {
        reason: FailureReason::Returned.into(),
        message: String::new(),
    };
    let request = FailJobRequest {
        job_id: assign.job_id.clone(),
        attempt: assign.attempt,
        failure: Some(failure),
    };
    let given = miner.connection.miners().fail_job(request).await;
    given.expect("its own attempt");
}

fn submit(user: &User) -> String {
    let submitted = user
        .types("aitbc client submit --model llama3 --prompt Hello --json")
        .succeeds()
        .json();
    submitted["job_id"].as_str().expect("a job id").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_that_do_not_fit() {
    let network = Network::start();
    let (client, user) = (network.user("client"), network.user("miner"));
    let job = submit(&client);
    let miner = HandMiner::register(&user, REGISTER).await;
    let assign = miner.poll().await;
    let with = |change: &dyn Fn(&mut Receipt)| Delivery::new(&assign, &miner.identity, change);

    let wrong: Vec<(&str, Delivery)> = vec![
        ("output_hash", with(&|receipt| receipt.output_hash[0] ^= 1)),
        ("output_len", with(&|receipt| receipt.output_len += 1)),
        ("result_hash", with(&|receipt| receipt.result_hash[0] ^= 1)),
        ("chain_id", with(&|receipt| receipt.chain_id[0] ^= 1)),
        ("job_ref", with(&|receipt| receipt.job_ref[0] ^= 1)),
        ("job_id", with(&|receipt| receipt.job_id.0[15] ^= 1)),
        (
            "assignment_hash",
            with(&|receipt| receipt.assignment_hash[0] ^= 1),
        ),
        ("payee", with(&|receipt| receipt.payee.0[0] ^= 1)),
        (
            "model_name_hash",
            with(&|receipt| receipt.model_name_hash[0] ^= 1),
        ),
        ("engine_hash", with(&|receipt| receipt.engine_hash[0] ^= 1)),
        ("attempt", with(&|receipt| receipt.attempt += 1)),
        (
            "signed by another key",
            Delivery::new(&assign, &Identity::from_seed(&[9; 32]), |_| ()),
        ),
    ];
    for (what, delivery) in wrong {
        let status = miner.deliver(delivery).await.expect_err(what);
        let error = ApiError::from_status(&status).unwrap_or_else(|| panic!("{what}: {status:?}"));
        assert_eq!(
            error.reason,
            ErrorReason::ReceiptInvalid,
            "{what}: {status:?}"
        );
    }
    let mut cut = with(&|_| ());
    cut.complete.receipt = cut.complete.receipt.slice(..391);
    refused(
        miner.deliver(cut).await,
        Code::InvalidArgument,
        ErrorReason::ReceiptInvalid,
    );

    // None of this ended the attempt.
    let answer = miner
        .deliver(with(&|_| ()))
        .await
        .expect("an honest delivery")
        .into_inner();
    assert_eq!(answer.status(), JobStatus::Completed);
    let result = client
        .types(&format!("aitbc client result {job}"))
        .succeeds();
    assert_eq!(result.text(), Delivery::OUTPUT);
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_twice_late_or_for_others() {
    let network = Network::start();
    let (client, one, two) = (
        network.user("client"),
        network.user("one"),
        network.user("two"),
    );
    let job = submit(&client);
    let (one, two) = (
        HandMiner::register(&one, REGISTER).await,
        HandMiner::register(&two, REGISTER).await,
    );

    let first = one.poll().await;
    give_back(&one, &first).await;
    let second = two.poll().await;
    assert_eq!((second.job_id.as_str(), second.attempt), (job.as_str(), 2));

    // Another's job, with another's key and with one's own.
    let stolen = Delivery::new(&second, &one.identity, |receipt| {
        receipt.miner_key = one.identity.public()
    });
    let status = one.deliver(stolen).await.expect_err("another's job");
    assert!(
        [
            Code::FailedPrecondition,
            Code::NotFound,
            Code::InvalidArgument
        ]
        .contains(&status.code()),
        "{status:?}"
    );
    let extend = ExtendLeaseRequest {
        job_id: job.clone(),
        attempt: 2,
        lease: None,
    };
    let status = one
        .connection
        .miners()
        .extend_lease(extend)
        .await
        .expect_err("another's job");
    assert!(
        [Code::FailedPrecondition, Code::NotFound].contains(&status.code()),
        "{status:?}"
    );

    // An attempt that is over.
    let late = Delivery::new(&first, &one.identity, |_| ());
    refused(
        one.deliver(late).await,
        Code::FailedPrecondition,
        ErrorReason::StaleAttempt,
    );

    // The same delivery twice is one; a different one after it changes nothing, and does not look as if it had.
    let of = |work_ms| Delivery::new(&second, &two.identity, |receipt| receipt.work_ms = work_ms);
    for work_ms in [1, 1] {
        let answer = two.deliver(of(work_ms)).await;
        let answer = answer.expect("its own attempt, idempotent").into_inner();
        assert_eq!(answer.status(), JobStatus::Completed);
    }
    refused(
        two.deliver(of(2)).await,
        Code::FailedPrecondition,
        ErrorReason::StaleAttempt,
    );
    let proof = client
        .types(&format!("aitbc client result {job} --json"))
        .succeeds()
        .json();
    assert_eq!(proof["receipt"]["attempt"], 2);
    assert_eq!(proof["receipt"]["work_seconds"], 0.001);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_any_bytes() {
    let network = Network::start();
    let user = network.user("miner");
    let miner = HandMiner::register(&user, REGISTER).await;
    let mut miners = miner.connection.miners();
    for job_id in ["", "job_", "last", "\u{202e}", &"x".repeat(10_000)] {
        let extend = ExtendLeaseRequest {
            job_id: job_id.into(),
            attempt: u32::MAX,
            lease: None,
        };
        let status = miners
            .extend_lease(extend)
            .await
            .expect_err("no job has this id");
        assert!(
            [
                Code::InvalidArgument,
                Code::NotFound,
                Code::FailedPrecondition
            ]
            .contains(&status.code()),
            "{status:?}"
        );
    }
    let long = PollJobRequest {
        wait: Some(prost_types::Duration {
            seconds: i64::MAX,
            nanos: -1,
        }),
        ..PollJobRequest::default()
    };
    refused(
        miners.poll_job(long).await,
        Code::InvalidArgument,
        ErrorReason::InvalidField,
    );
    let nothing: Vec<CompleteJobRequest> = Vec::new();
    let status = miners
        .complete_job(tokio_stream::iter(nothing))
        .await
        .expect_err("no parts");
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let junk = tagged("junk", b"").repeat(100_000);
    let parts = vec![CompleteJobRequest {
        part: Some(Part::Output(junk.into())),
    }];
    let status = miners
        .complete_job(tokio_stream::iter(parts))
        .await
        .expect_err("no header");
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
}
