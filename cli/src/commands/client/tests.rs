//! The verbs against a coordinator that plays a script: an honest one, and every lie.

mod coordinator;

use std::path::PathBuf;

use aitbc_common::hash::sha256;
use aitbc_common::ids::JobId;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::runtime::random_bytes;
use aitbc_common::runtime::status::ApiError;
use aitbc_common::verify::ReceiptFile;
use aitbc_proto::v1::ErrorReason;
use clap::Parser;
use tonic::Status;

use coordinator::{Coordinator, OUTPUT, Say};

use super::Command;
use crate::context::Context;

#[derive(Parser)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

struct Setup {
    coordinator: Coordinator,
    context: Context,
    folder: PathBuf,
}

impl Setup {
    async fn new() -> Self {
        let folder =
            std::env::temp_dir().join(format!("aitbc-client-{}", hex::encode(random_bytes::<8>())));
        let (coordinator, address) = Coordinator::serve().await;
        let context = Context::for_test(&folder, address);
        Self {
            coordinator,
            context,
            folder,
        }
    }

    async fn run(&self, words: &[&str]) -> Result<(), CommandError> {
        let parsed = CommandLine::try_parse_from(["client"].iter().chain(words)).unwrap();
        super::run(&self.context, parsed.command).await
    }

    async fn submit(&self) -> Result<(), CommandError> {
        self.run(&["submit", "--model", "llama3", "--prompt", "Hello AITBC"])
            .await
    }

    /// Submits a job, then waits for its result while the coordinator says this, stream after stream.
    async fn wait_for(&self, streams: Vec<Vec<Say>>) -> Result<Vec<u8>, CommandError> {
        self.submit().await.unwrap();
        self.coordinator.play(streams);
        let file = self.folder.join("output");
        let path = file.to_str().unwrap();
        self.run(&["result", "last", "--wait", "--output", path])
            .await?;
        Ok(std::fs::read(file).unwrap())
    }

    async fn caught(&self, streams: Vec<Vec<Say>>) -> String {
        let error = self.wait_for(streams).await.unwrap_err();
        assert_eq!(error.exit, ExitCode::ProofFailed, "{error:?}");
        error.reason
    }
}

impl Drop for Setup {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.folder);
    }
}

#[tokio::test]
async fn an_honest_stream_is_delivered() {
    let setup = Setup::new().await;
    let output = setup
        .wait_for(vec![vec![
            Say::Start(1),
            Say::Output(0, 9),
            Say::Checkpoint(9),
            Say::Output(9, OUTPUT.len()),
            Say::Finish,
        ]])
        .await;
    assert_eq!(output.unwrap(), OUTPUT);
}

#[tokio::test]
async fn a_cut_stream_is_resumed_where_it_was_cut() {
    let setup = Setup::new().await;
    let too_slow = ApiError::new(ErrorReason::WatcherTooSlow, "too slow").into();
    let streams = vec![
        vec![
            Say::Start(1),
            Say::Output(0, 9),
            Say::Fail(Status::unavailable("stopping")),
        ],
        vec![Say::Fail(too_slow)],
        vec![Say::Start(1), Say::Output(9, OUTPUT.len()), Say::Finish],
    ];
    assert_eq!(setup.wait_for(streams).await.unwrap(), OUTPUT);
    assert_eq!(setup.coordinator.positions(), [(0, 0), (1, 9), (1, 9)]);
}

#[tokio::test]
async fn a_new_attempt_begins_anew() {
    let setup = Setup::new().await;
    let streams = vec![vec![
        Say::Start(1),
        Say::Output(0, 20),
        Say::Start(2),
        Say::Output(0, OUTPUT.len()),
        Say::Finish,
    ]];
    assert_eq!(setup.wait_for(streams).await.unwrap(), OUTPUT);
}

#[tokio::test]
async fn a_large_result_is_fetched_after_the_stream() {
    let setup = Setup::new().await;
    let streams = vec![vec![
        Say::Start(1),
        Say::Output(0, OUTPUT.len()),
        Say::FinishWithoutResult,
    ]];
    assert_eq!(setup.wait_for(streams).await.unwrap(), OUTPUT);
}

#[tokio::test]
async fn every_lie_ends_with_exit_code_8() {
    let whole = || vec![Say::Start(1), Say::Output(0, OUTPUT.len())];
    let with = |lie: Say| {
        let mut stream = whole();
        stream.push(lie);
        stream
    };
    for (stream, reason) in [
        (
            vec![
                Say::Start(1),
                Say::ChangedByte(0, OUTPUT.len()),
                Say::Finish,
            ],
            "PROOF_OUTPUT_DIFFERS",
        ),
        (
            vec![Say::Start(1), Say::ChangedByte(0, 9), Say::Checkpoint(9)],
            "PROOF_OUTPUT_DIFFERS",
        ),
        (
            vec![
                Say::Start(1),
                Say::Output(0, 9),
                Say::Output(12, OUTPUT.len()),
                Say::Finish,
            ],
            "PROOF_OUTPUT_DIFFERS",
        ),
        (
            vec![Say::Start(1), Say::Output(0, 9), Say::Finish],
            "PROOF_OUTPUT_DIFFERS",
        ),
        (
            vec![Say::Start(1), Say::Swapped(9, 12), Say::Finish],
            "PROOF_OUTPUT_DIFFERS",
        ),
        (with(Say::FinishOtherModel), "PROOF_WRONG_MODEL"),
        (with(Say::FinishOtherJob), "PROOF_WRONG_SPEC"),
        (with(Say::FinishWithoutProof), "PROOF_MISSING"),
        (with(Say::FinishChangedResult), "PROOF_RESULT_DIFFERS"),
        (vec![Say::Output(0, 9)], "PROOF_WRONG_ATTEMPT"),
    ] {
        let setup = Setup::new().await;
        let told = format!("{stream:?}");
        assert_eq!(setup.caught(vec![stream]).await, reason, "{told}");
    }
}

#[tokio::test]
async fn a_coordinator_that_understood_another_job_is_caught_at_once() {
    let setup = Setup::new().await;
    setup
        .coordinator
        .change(|script| script.wrong_job_ref = true);
    let error = setup.submit().await.unwrap_err();
    assert_eq!(
        (error.exit, error.reason.as_str()),
        (ExitCode::ProofFailed, "PROOF_WRONG_SPEC")
    );
}

#[tokio::test]
async fn a_submission_is_repeated_as_the_same_request() {
    let setup = Setup::new().await;
    setup
        .coordinator
        .change(|script| script.submits_that_fail = 2);
    setup.submit().await.unwrap();
    let requests = setup
        .coordinator
        .change(|script| std::mem::take(&mut script.submitted));
    assert_eq!(requests.len(), 3);
    assert!(requests.iter().all(|request| *request == requests[0]));

    setup
        .coordinator
        .change(|script| script.submits_that_fail = 3);
    assert_eq!(
        setup.submit().await.unwrap_err().exit,
        ExitCode::Unreachable
    );
}

#[tokio::test]
async fn the_same_key_and_request_are_one_request_in_two_commands() {
    let setup = Setup::new().await;
    let words = [
        "submit",
        "--model",
        "llama3",
        "--prompt",
        "Hello AITBC",
        "--request-id",
        "mine",
    ];
    setup.run(&words).await.unwrap();
    setup.run(&words).await.unwrap();
    let requests = setup
        .coordinator
        .change(|script| std::mem::take(&mut script.submitted));
    assert_eq!(requests[0], requests[1]);
}

#[tokio::test]
async fn a_job_that_ends_without_a_result_is_exit_code_6() {
    let setup = Setup::new().await;
    let error = setup
        .wait_for(vec![vec![Say::Start(1), Say::Output(0, 9), Say::JobFailed]])
        .await
        .unwrap_err();
    assert_eq!(error.exit, ExitCode::NoResult);
    assert_eq!(error.message, "the job failed: no token");
}

#[tokio::test]
async fn an_unfinished_result_is_exit_code_7_and_names_the_job() {
    let setup = Setup::new().await;
    setup.submit().await.unwrap();
    let error = setup.run(&["result", "last"]).await.unwrap_err();
    assert_eq!(error.exit, ExitCode::NotFinished);
    assert!(error.hint.unwrap().contains("job_"));
}

#[tokio::test]
async fn a_saved_receipt_checks_without_the_coordinator() {
    let setup = Setup::new().await;
    setup.submit().await.unwrap();
    setup.coordinator.change(|script| script.completed = true);
    let file = |name: &str| setup.folder.join(name).to_str().unwrap().to_owned();
    let (receipt, output) = (file("receipt"), file("output"));
    setup
        .run(&["result", "last", "--receipt", &receipt, "--output", &output])
        .await
        .unwrap();
    setup
        .run(&["verify", &receipt, "--output", &output])
        .await
        .unwrap();

    let read = ReceiptFile::from_bytes(&std::fs::read(&receipt).unwrap()).unwrap();
    assert_eq!(sha256(&std::fs::read(&output).unwrap()), sha256(OUTPUT));
    std::fs::write(&output, b"something else").unwrap();
    let error = setup
        .run(&["verify", &receipt, "--output", &output])
        .await
        .unwrap_err();
    assert_eq!(error.exit, ExitCode::ProofFailed);
    let mut bent = read;
    bent.receipt[200] ^= 1;
    std::fs::write(&receipt, bent.to_bytes()).unwrap();
    assert_eq!(
        setup.run(&["verify", &receipt]).await.unwrap_err().exit,
        ExitCode::ProofFailed
    );
    std::fs::write(&receipt, b"{}").unwrap();
    assert_eq!(
        setup.run(&["verify", &receipt]).await.unwrap_err().exit,
        ExitCode::Usage
    );
}

#[tokio::test]
async fn a_retried_job_must_ask_for_the_same() {
    let setup = Setup::new().await;
    setup.submit().await.unwrap();
    setup.run(&["retry", "last"]).await.unwrap();
    setup
        .coordinator
        .change(|script| script.retries_another = true);
    let error = setup.run(&["retry", "last"]).await.unwrap_err();
    assert_eq!(
        (error.exit, error.reason.as_str()),
        (ExitCode::ProofFailed, "PROOF_WRONG_SPEC")
    );
}

fn refused_as(answer: Result<(), CommandError>, reason: &str) {
    let error = answer.unwrap_err();
    assert_eq!(
        (error.exit, error.reason.as_str()),
        (ExitCode::ProofFailed, reason),
        "{error:?}"
    );
}

#[tokio::test]
async fn another_job_of_the_user_does_not_pass_for_the_one_asked_for() {
    let setup = Setup::new().await;
    setup.submit().await.unwrap();
    let asked = setup
        .coordinator
        .change(|script| script.job_id().to_string());
    setup.submit().await.unwrap();
    setup.coordinator.change(|script| script.completed = true);
    let answered = setup
        .coordinator
        .change(|script| script.job_id().to_string());
    let verbs = [
        &["result"][..],
        &["result", "--wait"],
        &["status"],
        &["status", "--watch"],
        &["retry"],
        &["cancel"],
    ];
    for verb in verbs {
        let words = [verb, &[asked.as_str()]].concat();
        refused_as(setup.run(&words).await, "PROOF_WRONG_JOB");
    }
    for job in ["last", &answered] {
        setup.run(&["result", job]).await.unwrap();
    }
}

#[tokio::test]
async fn a_watched_job_stays_the_one_asked_for() {
    let setup = Setup::new().await;
    setup
        .coordinator
        .change(|script| script.calls_new_jobs = Some(JobId::new(1, 2, [3; 10])));
    setup
        .coordinator
        .play(vec![vec![Say::Start(1), Say::Output(0, 9), Say::JobFailed]]);
    let words = ["submit", "--model", "llama3", "--prompt", "x", "--watch"];
    refused_as(setup.run(&words).await, "PROOF_WRONG_JOB");
}

#[tokio::test]
async fn a_new_job_does_not_replace_an_earlier_one() {
    let setup = Setup::new().await;
    setup.submit().await.unwrap();
    let earlier = setup.coordinator.change(|script| script.job_id());
    let kept = super::records::read_job(&setup.context.home, &earlier).unwrap();
    assert!(kept.is_some());
    setup
        .coordinator
        .change(|script| script.calls_new_jobs = Some(earlier));
    refused_as(setup.submit().await, "PROOF_WRONG_JOB");
    refused_as(setup.run(&["retry", "last"]).await, "PROOF_WRONG_JOB");
    assert_eq!(
        super::records::read_job(&setup.context.home, &earlier).unwrap(),
        kept
    );
}

#[tokio::test]
async fn a_foreign_receipt_must_bear_the_pinned_service_key() {
    let setup = Setup::new().await;
    setup.submit().await.unwrap();
    setup.coordinator.change(|script| script.completed = true);
    let receipt = setup.folder.join("receipt");
    let receipt = receipt.to_str().unwrap();
    setup
        .run(&["result", "last", "--receipt", receipt])
        .await
        .unwrap();
    std::fs::remove_dir_all(setup.context.home.jobs_dir()).unwrap();
    setup.run(&["verify", receipt]).await.unwrap();

    let pins = setup.context.home.data_dir().join("networks.json");
    let pinned = std::fs::read_to_string(&pins).unwrap();
    let key = setup.coordinator.service_key();
    let other = pinned.replace(&key, &"11".repeat(32));
    assert_ne!(pinned, other);
    std::fs::write(&pins, other).unwrap();
    refused_as(
        setup.run(&["verify", receipt]).await,
        "PROOF_WRONG_SERVICE_KEY",
    );
    std::fs::write(&pins, "{").unwrap();
    refused_as(setup.run(&["verify", receipt]).await, "PINS_DAMAGED");
    std::fs::remove_file(&pins).unwrap();
    setup.run(&["verify", receipt]).await.unwrap();
}

#[tokio::test]
async fn the_other_verbs_answer() {
    let setup = Setup::new().await;
    setup.submit().await.unwrap();
    for words in [
        &["status", "last"][..],
        &["list", "--status", "queued,completed"],
        &["logs", "last"],
        &["cancel", "last"],
        &["delete", "last"],
        &["submit", "--model", "llama3", "--prompt", "x", "--explain"],
    ] {
        setup.run(words).await.unwrap();
    }
}
