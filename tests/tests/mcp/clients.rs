//! Clients that leave, and what no client should send: without a client library between.

use std::io::Write;
use std::path::Path;
use std::process::ChildStdin;

use aitbc_tests::harness::{McpClient, Network, Process, Script, Stream, User, program, wait_for};
use serde_json::{Value, json};

use super::market;
use super::money::{allow, available, payer};

/// A server whose client is this test.
struct Raw {
    process: Process,
    stdin: Option<ChildStdin>,
}

impl Raw {
    fn start(user: &User) -> Self {
        Self::start_with(user, &[])
    }

    fn start_with(user: &User, arguments: &[&str]) -> Self {
        let all = [&["mcp"], arguments].concat();
        let command = user.command(&program("aitbc"), &all);
        let (process, stdin) = Process::start_with_stdin(command);
        let mut raw = Self {
            process,
            stdin: Some(stdin),
        };
        raw.says(
            &json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": {"name": "test", "version": "1"},
            }}),
        );
        let info = raw.hears(0);
        assert_eq!(info["result"]["serverInfo"]["name"], "aitbc", "{info}");
        raw.says(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        raw
    }

    fn says(&mut self, message: &Value) {
        self.sends(&format!("{message}\n"));
    }

    fn sends(&mut self, bytes: &str) {
        let stdin = self.stdin.as_mut().expect("it is open");
        stdin.write_all(bytes.as_bytes()).expect("the server reads");
    }

    fn calls(&mut self, id: u64, tool: &str, arguments: &Value) {
        let params = json!({"name": tool, "arguments": arguments});
        self.says(&json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}));
    }

    /// The answer with this id. Everything on stdout is the protocol.
    fn hears(&self, id: u64) -> Value {
        self.process.wait_for(Stream::Stdout, "answer", |text| {
            let whole = text
                .split_inclusive('\n')
                .filter(|line| line.ends_with('\n'));
            let mut messages = whole.map(|line| {
                let message: Value = serde_json::from_str(line).expect("a line is a message");
                assert_eq!(message["jsonrpc"], "2.0");
                message
            });
            messages.find(|message| message["id"] == id)
        })
    }
}

fn status(user: &User) -> Value {
    let shown = user.types("aitbc client status last --json").succeeds();
    shown.json()["status"].clone()
}

/// Waits until the user has a job.
fn submits(user: &User) {
    wait_for("a job", || {
        let shown = user.types("aitbc client status last --json");
        (shown.code == 0).then_some(())
    });
}

#[test]
fn a_server_ends_with_its_client_and_the_job_goes_on() {
    let market = market(Script::Hang, "auto", &[]);
    let user = market.network.user("another");
    let mut raw = Raw::start(&user);
    raw.calls(1, "submit", &json!({"model": "llama3", "prompt": "Hello"}));
    submits(&user);
    drop(raw.stdin.take());
    // The call that waits is answered: its reader may still be there.
    let answer = raw.hears(1);
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    let _ended = raw.process.wait().succeeds();
    assert_ne!(status(&user), "cancelled");
}

#[test]
fn a_signal_ends_it_cleanly() {
    let market = market(Script::Hang, "auto", &[]);
    for interrupt in [true, false] {
        let user = market.network.user(&format!("user-{interrupt}"));
        let mut raw = Raw::start(&user);
        raw.calls(1, "submit", &json!({"model": "llama3", "prompt": "Hello"}));
        submits(&user);
        if interrupt {
            raw.process.interrupt();
        } else {
            raw.process.terminate();
        }
        let ended = raw.process.wait().succeeds();
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
        assert_ne!(status(&user), "cancelled");
    }
}

#[test]
fn a_killed_client_leaves_no_server() {
    let market = market(Script::Hang, "auto", &[]);
    let user = market.network.user("another");
    let pid = market.network.folder().join("pid");
    let server = format!("echo $$ >{}; exec aitbc mcp", pid.display());
    let mut client = McpClient::start_command(&user, "auto", &["/bin/sh", "-c", &server]);
    client.begin(&json!({"tool": "submit", "arguments": {"model": "llama3", "prompt": "Hello"}}));
    submits(&user);
    let pid = std::fs::read_to_string(&pid).expect("the server wrote it");
    let process = Path::new("/proc").join(pid.trim());
    assert!(process.exists());
    client.kill();
    wait_for("the server's end", || {
        let state = std::fs::read_to_string(process.join("stat")).unwrap_or_default();
        (state.is_empty() || state.contains(") Z ")).then_some(())
    });
    assert_ne!(status(&user), "cancelled");
}

#[test]
fn the_same_request_twice_at_a_time_is_paid_once() {
    let network = Network::start();
    let ((payer, address), agent) = (payer(&network), network.user("agent"));
    allow(&payer, &agent, "10");
    let limits = ["--allowance", &address, "--max-spend", "9"];
    let mut raw = Raw::start_with(&agent, &limits);
    let asked = json!({"model": "llama3", "prompt": "Hello", "pay": "2", "wait": false, "request_id": "once"});
    for id in 1..=4 {
        raw.calls(id, "submit", &asked);
    }
    let jobs = (1..=4).map(|id| raw.hears(id)["result"]["structuredContent"]["job_id"].clone());
    let jobs: Vec<Value> = jobs.collect();
    assert!(jobs.iter().all(|job| job.is_string() && *job == jobs[0]));
    assert_eq!(available(&payer), "98.000000");
    // By another server too, which knows nothing of the first one's payments.
    let mut raw = Raw::start_with(&agent, &limits);
    raw.calls(1, "submit", &asked);
    let again = raw.hears(1);
    let job = &again["result"]["structuredContent"]["job_id"];
    assert_eq!(job, &jobs[0], "{again}");
    assert_eq!(available(&payer), "98.000000");
}

#[test]
fn what_is_no_message_is_dropped() {
    let network = Network::start();
    let mut raw = Raw::start(&network.user("agent"));
    raw.sends("{nonsense\n\u{1b}[2J\n\n[]\n");
    // One line of 17 MiB: more than any job has.
    let huge = json!({"model": "llama3", "prompt": "x".repeat(17 << 20)});
    raw.calls(1, "submit", &huge);
    raw.calls(2, "models", &json!({}));
    let models = raw.hears(2);
    assert_eq!(
        models["result"]["structuredContent"]["models"],
        json!([]),
        "{models}"
    );
    drop(raw.stdin.take());
    let ended = raw.process.wait().succeeds();
    assert!(!ended.text().contains(r#""id":1"#), "{}", ended.text());
    assert!(
        ended.stderr.contains("maximum line length"),
        "{}",
        ended.stderr
    );
    assert!(!ended.stderr.contains('\u{1b}'), "{}", ended.stderr);
}

#[test]
fn what_is_no_client_is_told_so() {
    let network = Network::start();
    let user = network.user("agent");
    let _nothing = user.types("aitbc mcp").succeeds();
    let other = r#"printf '{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}\n' | aitbc mcp; true"#;
    let said = user.types(other).succeeds();
    assert!(!said.stderr.contains("panicked"), "{}", said.stderr);
}

#[test]
fn calls_at_a_time_are_bounded() {
    let network = Network::start();
    let mut raw = Raw::start(&network.user("agent"));
    // Nobody mines: each call waits.
    for id in 1..=24 {
        let asked = json!({"model": "llama3", "prompt": "Hello"});
        raw.calls(id, "submit", &asked);
    }
    let refused = |text: &str| text.matches(r#""reason":"TOO_MANY_CALLS""#).count();
    let more = |text: &str| (refused(text) >= 8).then_some(());
    raw.process
        .wait_for(Stream::Stdout, "refusals of 8 calls", more);
    drop(raw.stdin.take());
    let ended = raw.process.wait().succeeds();
    assert_eq!(refused(&ended.text()), 8);
}
