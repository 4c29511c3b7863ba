//! Agents' tools of MCP servers: real ones, and one that does every wrong thing.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aitbc_miner::agent::tools::mcp::{Server, ServerConfig};
use aitbc_miner::agent::tools::{MAX_OUTPUT_BYTES, Outcome, Tool, Toolbox};
use aitbc_tests::harness::tool;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

fn script(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("agent_tools")
        .join(name);
    path.to_str().expect("paths here are UTF-8").to_owned()
}

fn python(arguments: &[&str]) -> ServerConfig {
    let python = tool("AITBC_TEST_PYTHON");
    ServerConfig {
        command: Some(python.to_str().expect("paths here are UTF-8").to_owned()),
        args: arguments
            .iter()
            .map(|&argument| argument.to_owned())
            .collect(),
        timeout_seconds: Some(20),
        ..ServerConfig::default()
    }
}

fn hostile(mode: &str) -> ServerConfig {
    ServerConfig {
        timeout_seconds: Some(3),
        ..python(&[&script("hostile_mcp.py"), mode])
    }
}

struct Started {
    server: Arc<Server>,
    toolbox: Toolbox,
}

async fn start(config: ServerConfig) -> Started {
    let server = Server::start("s", config).await.expect("the server starts");
    let toolbox = Toolbox::new(&["mcp:s".to_owned()], &[], &server.tools(), true)
        .expect("the server has tools");
    Started { server, toolbox }
}

impl Started {
    async fn call(&self, tool: &str, arguments: Value) -> Outcome {
        let name = format!("mcp:s/{tool}");
        self.toolbox
            .call(&name, &arguments, &CancellationToken::new())
            .await
    }

    async fn fails(&self, tool: &str, expected: &str) {
        let outcome = self.call(tool, json!({})).await;
        assert!(
            !outcome.ok && outcome.output.contains(expected),
            "{tool}: {outcome:?}"
        );
    }

    /// Calls until the server is back from its pause.
    async fn echoes_again(&self) {
        let started = Instant::now();
        loop {
            let outcome = self.call("echo", json!({"text": "here"})).await;
            if outcome.ok {
                return assert_eq!(outcome.output, "here");
            }
            assert!(outcome.output.contains("starts again in"), "{outcome:?}");
            assert!(
                started.elapsed() < Duration::from_secs(30),
                "the server does not come back"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test]
async fn a_server_from_pypi_serves() {
    let time = start(python(&["-m", "mcp_server_time"])).await;
    assert_eq!(time.server.refused(), []);
    let names: Vec<&str> = time.toolbox.tools().map(Tool::name).collect();
    assert_eq!(names, ["mcp:s/get_current_time", "mcp:s/convert_time"]);
    let outcome = time
        .call(
            "convert_time",
            json!({"source_timezone": "Europe/Berlin", "time": "12:00", "target_timezone": "Asia/Kolkata"}),
        )
        .await;
    assert!(
        outcome.ok && outcome.output.contains("Asia/Kolkata"),
        "{outcome:?}"
    );
    let outcome = time
        .call("get_current_time", json!({"timezone": "Mars/Olympus"}))
        .await;
    assert!(
        !outcome.ok && outcome.output.contains("Mars/Olympus"),
        "{outcome:?}"
    );
    let outcome = time.call("get_current_time", json!({"zone": "UTC"})).await;
    assert!(
        outcome
            .output
            .contains("\"timezone\" is a required property"),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_server_over_http_serves() {
    let mut process = Command::new(tool("AITBC_TEST_PYTHON"))
        .arg(script("http_mcp.py"))
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let port = lines.next_line().await.unwrap().expect("a port");
    let sums = start(ServerConfig {
        url: Some(format!("http://127.0.0.1:{port}/mcp")),
        timeout_seconds: Some(20),
        ..ServerConfig::default()
    })
    .await;
    let outcome = sums.call("add", json!({"a": 2, "b": 40})).await;
    assert_eq!((outcome.ok, outcome.output.as_str()), (true, "42"));
    let outcome = sums.call("large", json!({})).await;
    assert!(!outcome.ok, "{}", outcome.output.len());
}

#[tokio::test]
async fn only_what_is_allowed_and_sound_is_offered() {
    let bad = start(hostile("bad")).await;
    let names: Vec<&str> = bad.toolbox.tools().map(Tool::name).collect();
    assert_eq!(names, ["mcp:s/echo"]);
    let refused: Vec<(&str, &str)> = bad
        .server
        .refused()
        .iter()
        .map(|refused| (refused.name.as_str(), refused.reason.as_str()))
        .collect();
    assert_eq!(
        refused,
        [
            ("remote", "its schema refers to another document"),
            ("deep", "its schema is nested deeper than 32 levels"),
            ("large", "its schema is larger than 64 KiB"),
            (
                "bad name",
                "its name is not 1 to 64 letters, digits, -, _ or ."
            ),
            ("wordy", "its description is larger than 4 KiB"),
            ("echo", "there are two of this name"),
        ]
    );
    let few = ServerConfig {
        tools: Some(vec!["hang".to_owned(), "gone".to_owned()]),
        ..hostile("good")
    };
    let few = start(few).await;
    let names: Vec<&str> = few.toolbox.tools().map(Tool::name).collect();
    assert_eq!(names, ["mcp:s/hang"]);
    assert_eq!(
        few.server.refused()[0].reason,
        "the server has no such tool"
    );
}

#[tokio::test]
async fn a_server_that_cannot_be_used_does_not_start() {
    for (config, expected) in [
        (hostile("many"), "more than 64 tools"),
        (hostile("pages"), "more than 16 pages"),
        (
            hostile("silent"),
            "did not start and list its tools within 3 s",
        ),
        (python(&["-c", "raise SystemExit(3)"]), "the MCP server s: "),
        (
            ServerConfig {
                command: Some("/nowhere/mcp".to_owned()),
                ..ServerConfig::default()
            },
            "/nowhere/mcp cannot be started: No such file",
        ),
    ] {
        let started = Instant::now();
        let error = Server::start("s", config).await.err().unwrap();
        assert!(error.contains(expected), "{error}");
        assert!(started.elapsed() < Duration::from_secs(15), "{error}");
    }
}

#[tokio::test]
async fn a_server_gets_its_own_environment_and_no_other() {
    let mut config = hostile("good");
    config.env.insert("TOKEN".to_owned(), "for it".to_owned());
    let server = start(config).await;
    let outcome = server.call("environment", json!({})).await;
    let mut environment: Value = serde_json::from_str(&outcome.output).unwrap();
    // Python sets this one for itself.
    environment.as_object_mut().unwrap().remove("LC_CTYPE");
    assert_eq!(environment, json!({"TOKEN": "for it"}));
}

#[tokio::test]
async fn a_server_that_hangs_is_killed_and_started_again() {
    let server = start(hostile("good")).await;
    let child: u32 = server
        .call("child", json!({}))
        .await
        .output
        .parse()
        .unwrap();
    server.fails("hang", "took longer than 3 s").await;
    server.fails("echo", "starts again in").await;
    // Its children go with it.
    let started = Instant::now();
    while std::fs::read_to_string(format!("/proc/{child}/stat"))
        .is_ok_and(|stat| !stat.contains(") Z "))
    {
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "{child} still runs"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.echoes_again().await;
}

#[tokio::test]
async fn a_flood_ends_the_server_and_not_the_miner() {
    for kind in ["flood", "chatter", "die"] {
        let server = start(hostile("good")).await;
        server.fails(kind, "").await;
        server.echoes_again().await;
    }
}

#[tokio::test]
async fn a_server_that_changes_a_tool_is_not_called_any_more() {
    let server = start(hostile("good")).await;
    assert_eq!(server.call("change", json!({})).await.output, "changed");
    server
        .fails("echo", "changed its tool echo after it was started")
        .await;
    server
        .fails("hang", "changed its tool echo after it was started")
        .await;

    let folder = tempfile::tempdir().unwrap();
    let mut config = hostile("turncoat");
    config
        .args
        .push(folder.path().join("starts").to_str().unwrap().to_owned());
    let server = start(config).await;
    server.fails("die", "").await;
    let started = Instant::now();
    loop {
        let outcome = server.call("echo", json!({})).await;
        assert!(!outcome.ok, "{outcome:?}");
        if outcome.output.contains("changed its tool echo") {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "{outcome:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let description = server.toolbox.tools().next().unwrap().description();
    assert_eq!(description, "does something");
}

#[tokio::test]
async fn a_long_answer_is_cut_and_complaints_do_not_block() {
    let server = start(ServerConfig {
        timeout_seconds: Some(20),
        ..hostile("good")
    })
    .await;
    let outcome = server
        .call("echo", json!({"text": "x".repeat(1 << 20)}))
        .await;
    assert!(outcome.ok && outcome.truncated && outcome.output.len() <= MAX_OUTPUT_BYTES);
    assert_eq!(
        server.call("complain", json!({})).await.output,
        "complained"
    );
}

#[tokio::test]
async fn tools_of_servers_send_and_read_unless_the_operator_says_otherwise() {
    let server = Server::start("s", hostile("good")).await.unwrap();
    let names = ["mcp:s/echo".to_owned()];
    let cancel = CancellationToken::new();
    let toolbox = Toolbox::new(&names, &[], &server.tools(), false).unwrap();
    assert!(toolbox.call("mcp:s/echo", &json!({}), &cancel).await.ok);
    let outcome = toolbox.call("mcp:s/echo", &json!({}), &cancel).await;
    assert!(outcome.output.starts_with("refused: "), "{outcome:?}");

    let harmless = ServerConfig {
        egress: false,
        ..hostile("good")
    };
    let server = Server::start("s", harmless).await.unwrap();
    let toolbox = Toolbox::new(&names, &[], &server.tools(), false).unwrap();
    for _ in 0..2 {
        assert!(toolbox.call("mcp:s/echo", &json!({}), &cancel).await.ok);
    }
}
