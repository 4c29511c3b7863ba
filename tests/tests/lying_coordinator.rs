//! A coordinator that lies: every lie is caught, with exit code 8.

use aitbc_tests::harness::{FakeOllama, Network, Ollama, Process, Script, User};
use aitbc_tests::lying_proxy::{Lie, LyingProxy};

struct Lab {
    client: User,
    proxy: LyingProxy,
    _miner: Process,
    _ollama: Ollama,
    _network: Network,
}

fn lab() -> Lab {
    let network = Network::start();
    let ollama = Ollama::start();
    let miner = network
        .user("miner")
        .with("OLLAMA_HOST", ollama.address())
        .starts("aitbc miner mine-ollama --model llama3 --continuous");
    miner.prints("polling");
    let proxy = LyingProxy::start(network.address());
    let client = network
        .user("client")
        .with("AITBC_COORDINATOR", proxy.address());
    Lab {
        client,
        proxy,
        _miner: miner,
        _ollama: ollama,
        _network: network,
    }
}

const LIES: [Lie; 9] = [
    Lie::ByteChanged,
    Lie::ChunkDropped,
    Lie::ChunksSwapped,
    Lie::Truncated,
    Lie::ResultChanged,
    Lie::DigestChanged,
    Lie::ReceiptOfAnotherJob,
    Lie::AnotherJob,
    Lie::InventedJob,
];

const SUBMIT: &str = r#"aitbc client submit --type inference --model llama3 --data '{"prompt":"Tell me a story about a fox.","options":{"num_predict":60}}'"#;

fn submit(client: &User) -> String {
    let submitted = client.types(&format!("{SUBMIT} --json")).succeeds().json();
    submitted["job_id"].as_str().expect("a job id").to_owned()
}

/// Exit code 8, an error that says why, and not a byte of the output on stdout.
fn caught(lie: Lie, output: &aitbc_tests::harness::Output) {
    assert_eq!(output.code, 8, "{lie:?} was not caught: {output:?}");
    assert!(output.stderr.contains("error"), "{lie:?}: {output:?}");
}

#[test]
fn lies_about_a_fetched_result() {
    let lab = lab();
    let (first, second) = (submit(&lab.client), submit(&lab.client));
    for job in [&first, &second] {
        let _honest = lab
            .client
            .types(&format!("aitbc client result {job} --wait"))
            .succeeds();
    }
    for lie in LIES {
        lab.proxy.tells(lie);
        let output = lab.client.types(&format!("aitbc client result {second}"));
        caught(lie, &output);
        assert!(
            output.stdout.is_empty(),
            "{lie:?}: a pipe gets only what checked: {output:?}"
        );
        let error = lab
            .client
            .types(&format!("aitbc client result {second} --json"));
        caught(lie, &error);
        assert_eq!(error.json_error()["exit_code"], 8);
    }
    lab.proxy.tells(Lie::None);
    let _honest = lab
        .client
        .types(&format!("aitbc client result {second}"))
        .succeeds();
}

#[test]
fn lies_about_which_job_it_is() {
    let lab = lab();
    let (first, second) = (submit(&lab.client), submit(&lab.client));
    for job in [&first, &second] {
        let _honest = lab
            .client
            .types(&format!("aitbc client result {job} --wait"))
            .succeeds();
    }
    for lie in [Lie::AnotherJob, Lie::InventedJob] {
        lab.proxy.tells(lie);
        for verb in ["result --wait", "status", "status --watch", "retry"] {
            let output = lab.client.types(&format!("aitbc client {verb} {second}"));
            caught(lie, &output);
            assert!(output.stdout.is_empty(), "{lie:?}, {verb}: {output:?}");
        }
    }
    lab.proxy.tells(Lie::None);
    let newest = lab.client.types("aitbc client result last").succeeds();
    assert!(
        newest.stderr.starts_with(&second),
        "the user sees which job is the newest: {newest:?}"
    );
}

#[test]
fn lies_about_a_watched_job() {
    let lab = lab();
    let _honest = lab.client.types(&format!("{SUBMIT} --watch")).succeeds();
    for lie in LIES {
        lab.proxy.tells(lie);
        caught(lie, &lab.client.types(&format!("{SUBMIT} --watch")));
    }
    lab.proxy.tells(Lie::ByteChanged);
    caught(
        Lie::ByteChanged,
        &lab.client
            .types("aitbc run llama3 'Tell me a story about a fox.'"),
    );
    caught(
        Lie::ByteChanged,
        &lab.client.types(&format!("{SUBMIT} --watch --json")),
    );
}

#[test]
fn a_pinned_model_that_is_not_passed_on() {
    let network = Network::start();
    let server = FakeOllama::start(Script::Answer);
    let miner = network
        .user("miner")
        .with("OLLAMA_HOST", server.address())
        .starts("aitbc miner mine-ollama --model llama3 --continuous");
    miner.prints("polling");
    let proxy = LyingProxy::start(network.address());
    let client = network
        .user("client")
        .with("AITBC_COORDINATOR", proxy.address());
    proxy.tells(Lie::SpecUnpinned);
    let digest = "11".repeat(32);
    let output = client.types(&format!(
        "aitbc client submit --model llama3@sha256:{digest} --prompt Hi"
    ));
    caught(Lie::SpecUnpinned, &output);
}
