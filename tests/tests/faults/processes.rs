//! Processes in each other's way, and environments that lack something.

use std::time::{Duration, Instant};

use aitbc_common::token::Scope;
use aitbc_proto::v1::complete_job_request::Part;
use aitbc_proto::v1::{
    Complete, CompleteJobRequest, CompleteJobResponse, GetMinerRequest, PollJobRequest,
};
use aitbc_tests::harness::{FakeOllama, Network, Process, Script, Stream, User, wait_for};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status};

#[test]
fn two_coordinators_on_one_data_folder() {
    let network = Network::start();
    let mut second = Process::start(network.coordinator_command("127.0.0.1:0"));
    let refused = second.wait();
    refused.refuses(refused.code, "data");
    assert_ne!(refused.code, 0);
    let _first_is_well = network.user("me").types("aitbc models").succeeds();
}

#[test]
fn a_port_in_use() {
    let (network, other) = (Network::start(), Network::without_coordinator());
    let mut second = Process::start(other.coordinator_command(network.address()));
    let refused = second.wait();
    refused.refuses(refused.code, network.address());
    assert_ne!(refused.code, 0);
}

#[test]
fn a_coordinator_beyond_loopback_or_without_dev() {
    let network = Network::without_coordinator();
    let beyond = Process::start(network.coordinator_command("0.0.0.0:0")).wait();
    beyond.refuses(beyond.code, "loopback");
    let user = network.user("me");
    let standard = user.types("aitbc-coordinator --listen 127.0.0.1:0 --data-dir standard");
    standard.refuses(1, "aitbc-coordinator init");
}

#[test]
fn a_coordinator_drains() {
    let mut network = Network::start();
    let stopped = network.stop_coordinator();
    assert_eq!(stopped.code, 0, "{stopped:?}");
    network.restart_coordinator();
    let _models = network.user("me").types("aitbc models").succeeds();
}

#[test]
fn a_call_that_does_not_end_is_cut_off_when_the_coordinator_stops() {
    let mut network = Network::start_with_settings("drain_seconds = 1");
    let user = network.user("me");
    let _registered = user.types("aitbc miner register").succeeds();
    let _submitted = user
        .types("aitbc client submit --model llama3 --prompt Hi")
        .succeeds();
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let (_open, call) = runtime.block_on(slow_delivery(&user));
    let stopped = network.stop_coordinator();
    assert_eq!(stopped.code, 0, "{stopped:?}");
    assert!(stopped.stderr.contains("cut off"), "{stopped:?}");
    let ended = runtime.block_on(call).expect("the call ends");
    assert!(ended.is_err(), "{ended:?}");
}

type Delivery = JoinHandle<Result<Response<CompleteJobResponse>, Status>>;

/// A delivery that has begun at the coordinator and brings nothing more while the sender is kept.
async fn slow_delivery(user: &User) -> (mpsc::Sender<CompleteJobRequest>, Delivery) {
    let connection = user.connect_as(user.miner_identity(), Scope::Miner).await;
    let mut miners = connection.miners();
    let polled = miners.poll_job(PollJobRequest::default()).await;
    let job = polled.expect("a job waits").into_inner().job;
    let assign = job.and_then(|job| job.assign).expect("a job waits");
    let complete = Complete {
        job_id: assign.job_id,
        attempt: assign.attempt,
        ..Complete::default()
    };
    let (open, parts) = mpsc::channel(1);
    let first = CompleteJobRequest {
        part: Some(Part::Complete(complete)),
    };
    open.send(first).await.expect("the receiver is here");
    let call = tokio::spawn(async move { miners.complete_job(ReceiverStream::new(parts)).await });
    // What the connection took before this is at the coordinator once this is answered.
    drop(open.reserve().await.expect("the call goes on"));
    let mut miners = connection.miners();
    let answered = miners.get_miner(GetMinerRequest::default()).await;
    let _registered = answered.expect("it is registered");
    (open, call)
}

#[test]
fn the_coordinator_explains_a_wrong_command_line() {
    let network = Network::without_coordinator();
    let user = network.user("me");
    user.types("aitbc-coordinator --bogus")
        .refuses(2, "aitbc-coordinator --help");
    let helped = user.types("aitbc-coordinator --help").succeeds();
    assert!(helped.text().contains("--data-dir"), "{helped:?}");
}

#[test]
fn nobody_listens() {
    let network = Network::without_coordinator();
    let user = network.user("me");
    for line in [
        "aitbc models",
        "aitbc client list",
        "aitbc client submit --type inference --model llama3 --prompt Hi",
    ] {
        user.types(line).refuses(3, "aitbc-coordinator --dev");
    }
    let error = user.types("aitbc models --json").exits(3).json_error();
    assert_eq!(
        (&error["retryable"], &error["exit_code"]),
        (&true.into(), &3.into())
    );
}

#[test]
fn a_second_session_of_one_miner() {
    let network = Network::start();
    let server = FakeOllama::start(Script::Answer);
    let user = network.user("me").with("OLLAMA_HOST", server.address());
    let line = "aitbc miner mine-ollama --model llama3 --continuous";
    let mut first = user.starts(line);
    first.prints("polling");
    let ready = || user.types("aitbc miner status --json").succeeds().json()["status"] == "ready";
    wait_for("the first session", || ready().then_some(()));

    let second = user.types(line);
    assert_eq!(second.code, 1, "{second:?}");
    assert!(
        second.stderr.contains("error: ") && second.stderr.contains("--takeover"),
        "{second:?}"
    );
    let third = user.starts(&format!("{line} --takeover"));
    third.prints("polling");
    let replaced = first.wait();
    assert_ne!(replaced.code, 101, "{replaced:?}");
    let _ran = user.types("aitbc run llama3 Hi").succeeds();
}

#[test]
fn a_miner_on_a_terminal_needs_two_interrupts_at_most() {
    let network = Network::start();
    let server = FakeOllama::start(Script::Hang);
    let user = network.user("me").with("OLLAMA_HOST", server.address());
    let mut miner = user.starts("aitbc miner mine-ollama --model llama3 --continuous");
    miner.prints("polling");
    let _submitted = user
        .types("aitbc client submit --type inference --model llama3 --prompt Hi")
        .succeeds();
    miner.prints("job received");
    miner.interrupt();
    miner.prints("draining");
    // Signals that come closer together than a person can press keys count as one.
    let mut pressed = Instant::now();
    wait_for("its end at the second Ctrl-C", || {
        if pressed.elapsed() > Duration::from_millis(400) {
            pressed = Instant::now();
            miner.interrupt();
        }
        miner.has_ended()
    });
    assert_eq!(miner.wait().code, 130);
}

#[test]
fn a_closed_pipe() {
    let network = Network::start();
    let user = network.user("me");
    for line in [
        "aitbc client submit --help | head -1",
        "aitbc completions bash | head -1",
        "aitbc config show | head -1",
        "aitbc models --json | head -c 1",
    ] {
        let output = user.types(&format!(
            "{{ {}; echo code=$? >&2; }} | {}",
            line.split(" | ").next().expect("a command"),
            line.split(" | ").nth(1).expect("a reader")
        ));
        assert!(output.stderr.contains("code=0"), "{line}: {output:?}");
        assert!(!output.stderr.contains("panic"), "{line}: {output:?}");
    }
    // A reader that reads nothing at all.
    let output = user.types("{ aitbc completions bash; echo code=$? >&2; } | true");
    assert!(
        output.stderr.contains("code=0") && !output.stderr.contains("panic"),
        "{output:?}"
    );
}

#[test]
fn no_home_folder() {
    let network = Network::start();
    let user = network.user("me").without("HOME").without("AITBC_HOME");
    user.types("aitbc identity show").refuses(1, "AITBC_HOME");
    user.types("aitbc client list").refuses(1, "AITBC_HOME");
}

#[test]
fn a_home_folder_that_cannot_be_written() {
    let network = Network::start();
    // Root may write anywhere but here; and a file is no folder for anybody.
    let file = network.write("file", "");
    for home in [
        "/proc/aitbc".to_owned(),
        file.join("home").to_string_lossy().into_owned(),
    ] {
        let user = network.user("me").with("AITBC_HOME", &home);
        let refused = user.types("aitbc client list");
        refused.refuses(1, "AITBC_HOME");
        assert!(refused.stderr.contains(&home), "{refused:?}");
    }
    let user = network.user("me");
    let data = file.join("data");
    let refused = user.types(&format!(
        "aitbc-coordinator --dev --listen 127.0.0.1:0 --data-dir {}",
        data.display()
    ));
    refused.refuses(refused.code, "data");
    assert_ne!(refused.code, 0);
}

#[test]
fn an_identity_that_others_may_read() {
    let network = Network::start();
    let user = network.user("me");
    let _made = user.types("aitbc identity show").succeeds();
    let _opened = user
        .types("chmod 644 \"$AITBC_HOME/identity.key\"")
        .succeeds();
    user.types("aitbc client list").refuses(4, "chmod 600");
}

#[test]
fn an_interrupted_watcher_detaches() {
    let network = Network::start();
    let user = network.user("me");
    for stop in [Process::interrupt, Process::terminate] {
        let mut watcher = user.start(&[
            "client", "submit", "--model", "llama3", "--prompt", "Hi", "--watch", "--json",
        ]);
        watcher.wait_for(Stream::Stdout, "the job's first event", |text| {
            text.contains("queued").then_some(())
        });
        stop(&watcher);
        let stopped = watcher.wait();
        assert_eq!(stopped.code, 130, "{stopped:?}");
        assert!(stopped.stderr.contains("goes on"), "{stopped:?}");
    }
    let status = user
        .types("aitbc client status last --json")
        .succeeds()
        .json();
    assert_eq!(status["status"], "queued", "the job goes on");
}
