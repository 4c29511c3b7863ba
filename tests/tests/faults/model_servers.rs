//! Model servers that are away, hang, or answer what none should. The miner stays up, says so, and the job is retried.

use std::time::Duration;

use aitbc_tests::harness::{FakeOllama, Network, Ollama, Output, Process, Script, Stream, User};
use serde_json::Value;

struct Lab {
    miner: Process,
    server: FakeOllama,
    user: User,
    _network: Network,
}

fn lab(script: Script) -> Lab {
    let network = Network::start();
    let server = FakeOllama::start(script);
    let user = network.user("me").with("OLLAMA_HOST", server.address());
    let miner = user.starts("aitbc miner mine-ollama --model llama3 --continuous");
    miner.prints("polling");
    Lab {
        miner,
        server,
        user,
        _network: network,
    }
}

impl Lab {
    fn submit(&self, options: &str) -> String {
        let line = format!(
            "aitbc client submit --type inference --model llama3 --prompt Hello --json {options}"
        );
        let submitted = self.user.types(&line).succeeds().json();
        submitted["job_id"].as_str().expect("a job id").to_owned()
    }

    fn status(&self, job: &str) -> Value {
        self.user
            .run(&["client", "status", job, "--json"])
            .succeeds()
            .json()
    }

    fn result(&self, job: &str) -> Output {
        self.user
            .start(&["client", "result", job, "--wait"])
            .wait_at_most(Duration::from_secs(150))
    }

    /// The job fails for good; gives the error of its first attempt.
    fn fails(&self, job: &str) -> String {
        self.result(job).refuses(6, "");
        let status = self.status(job);
        assert_eq!(status["status"], "failed");
        let error = status["attempts"][0]["error"].to_string();
        assert_ne!(error, "null", "{status}");
        error
    }

    /// The same miner goes on as soon as its server is well.
    fn recovers(mut self) {
        self.server.plays(Script::Answer);
        let job = self.submit("");
        assert_eq!(self.result(&job).succeeds().stdout, b"Hello there");
        self.miner.terminate();
        let _drained = self.miner.wait().succeeds();
    }
}

#[test]
fn a_server_that_answers_500() {
    let lab = lab(Script::Fail);
    let job = lab.submit("--max-retries 0");
    let error = lab.fails(&job);
    assert!(error.contains("terminated"), "{error}");
    lab.recovers();
}

#[test]
fn a_server_that_answers_garbage() {
    let lab = lab(Script::Garbage);
    let job = lab.submit("--max-retries 0");
    let error = lab.fails(&job);
    assert!(error.contains("garbage"), "{error}");
    lab.recovers();
}

#[test]
fn a_server_that_dies_in_mid_stream() {
    let lab = lab(Script::Cut);
    let job = lab.submit("--max-retries 0");
    let error = lab.fails(&job);
    assert!(
        error.contains("stream_cut") || error.contains("broke off"),
        "{error}"
    );
    lab.recovers();
}

#[test]
fn a_failure_is_retried() {
    let lab = lab(Script::Fail);
    let job = lab.submit("");
    lab.miner.prints("fail");
    lab.server.plays(Script::Answer);
    assert_eq!(lab.result(&job).succeeds().stdout, b"Hello there");
    let status = lab.status(&job);
    assert_eq!(status["retries_spent"], 1, "{status}");
    assert_eq!(status["attempts"].as_array().map(Vec::len), Some(2));
}

#[test]
fn a_server_that_hangs_is_left_by_a_cancel() {
    let lab = lab(Script::Hang);
    let job = lab.submit("");
    lab.miner.prints("job received");
    let _cancelled = lab
        .user
        .types(&format!("aitbc client cancel {job}"))
        .succeeds();
    lab.result(&job).refuses(6, "cancelled");
    lab.recovers();
}

#[test]
fn a_server_that_stalls_in_mid_stream() {
    let lab = lab(Script::HangInMidStream);
    let job = lab.submit("");
    // No token for 60 s.
    lab.miner
        .wait_for(Stream::Stdout, "the first token", |text| {
            text.contains("job received").then_some(())
        });
    aitbc_tests::harness::wait_within(Duration::from_secs(90), "the stall", || {
        lab.miner.stdout().contains("stall").then_some(())
    });
    lab.server.plays(Script::Answer);
    assert_eq!(lab.result(&job).succeeds().stdout, b"Hello there");
}

#[test]
fn no_server_and_no_model() {
    let network = Network::start();
    let user = network.user("me").with("OLLAMA_HOST", "127.0.0.1:1");
    let once = user.types("aitbc miner mine-ollama --model llama3");
    once.refuses(once.code, "llama");
    assert_ne!(once.code, 0);

    let ollama = Ollama::start_empty();
    let user = network.user("me").with("OLLAMA_HOST", ollama.address());
    let missing = user.types("aitbc miner mine-ollama --model llama3");
    assert!(missing.stderr.contains("ollama pull llama3"), "{missing:?}");
    missing.refuses(missing.code, "ollama pull");
}

#[test]
fn a_prompt_longer_than_the_context() {
    let network = Network::start();
    let ollama = Ollama::start();
    let user = network.user("me").with("OLLAMA_HOST", ollama.address());
    let miner = user.starts("aitbc miner mine-ollama --model llama3 --continuous");
    miner.prints("polling");
    let long = "word ".repeat(30_000);
    let file = network.write("long.json", serde_json::json!({"prompt": long}).to_string());
    let line = format!(
        "aitbc client submit --type inference --model llama3 --data @{} --json",
        file.display()
    );
    let submitted = user.types(&line).succeeds().json();
    let job = submitted["job_id"].as_str().expect("a job id");
    let result = user.types(&format!("aitbc client result {job} --wait"));
    result.refuses(6, "context exceeded");
    let status = user
        .types(&format!("aitbc client status {job} --json"))
        .succeeds()
        .json();
    assert_eq!(
        (
            &status["status"],
            &status["attempts"].as_array().map(Vec::len)
        ),
        (&"failed".into(), &Some(1)),
        "another miner would not help"
    );
}

#[test]
fn a_model_that_the_server_lacks_is_downloaded_where_that_is_asked_for() {
    let network = Network::start();
    let server = FakeOllama::start(Script::Download);
    let user = network
        .user("me")
        .with("OLLAMA_HOST", server.address())
        .with("TERM", "xterm");
    let line = "aitbc miner mine-ollama --model llama3 --continuous";
    user.types(line).refuses(1, "--pull");
    assert!(server.pulled().is_empty());
    // On a terminal, where progress is drawn.
    let miner = user.starts(&format!("script -qefc '{line} --pull' /dev/null"));
    miner.prints("downloading llama3");
    miner.prints("400 B/");
    let asked: Value = serde_json::from_str(&server.pulled().concat()).expect("one request");
    assert_eq!(asked["model"], "llama3:latest");
    server.plays(Script::Answer);
    miner.prints("polling");
    let _ran = user.types("aitbc run llama3 Hi").succeeds();
}
