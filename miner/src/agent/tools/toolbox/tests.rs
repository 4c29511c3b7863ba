//! Calls of tools that do every wrong thing.

use super::*;
use crate::agent::tools::files::tests::Folder;
use crate::agent::tools::{Labels, MAX_OUTPUT_BYTES};
use futures_util::future::BoxFuture;
use serde_json::json;

/// What a scripted tool does when it is called.
#[derive(Clone, Copy)]
enum Does {
    Answer(&'static str),
    Fail,
    Flood,
    Hang,
}

struct Scripted {
    name: &'static str,
    labels: Labels,
    does: Does,
    parameters: Value,
}

impl Tool for Scripted {
    fn name(&self) -> &str {
        self.name
    }
    fn description(&self) -> &str {
        "scripted"
    }
    fn parameters(&self) -> &Value {
        &self.parameters
    }
    fn labels(&self) -> Labels {
        self.labels
    }
    fn call<'a>(&'a self, _: &'a Value, _: Stop) -> BoxFuture<'a, Result<String, ToolError>> {
        let does = self.does;
        Box::pin(async move {
            match does {
                Does::Answer(text) => Ok(text.to_owned()),
                Does::Fail => Err(ToolError::failed("it did not work")),
                Does::Flood => Ok("x".repeat(10 * MAX_OUTPUT_BYTES)),
                Does::Hang => std::future::pending().await,
            }
        })
    }
}

fn scripted(name: &'static str, egress: bool, reads_untrusted: bool, does: Does) -> Arc<dyn Tool> {
    Arc::new(Scripted {
        name,
        labels: Labels {
            egress,
            reads_untrusted,
        },
        does,
        parameters: json!({
            "type": "object",
            "properties": {"word": {"type": "string"}},
            "additionalProperties": false,
        }),
    })
}

fn peers() -> Vec<Arc<dyn Tool>> {
    vec![
        scripted("mcp:web/fetch", false, true, Does::Answer("a page")),
        scripted("mcp:web/broken", false, true, Does::Fail),
        scripted("mcp:mail/send", true, false, Does::Answer("sent")),
        scripted("mcp:web2/flood", false, false, Does::Flood),
        scripted("mcp:web2/hang", false, false, Does::Hang),
    ]
}

fn toolbox(names: &[&str], egress_after_untrusted: bool) -> Toolbox {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    Toolbox::new(&names, &[], &peers(), egress_after_untrusted).unwrap()
}

async fn call(toolbox: &Toolbox, name: &str) -> Outcome {
    toolbox
        .call(name, &json!({}), &CancellationToken::new())
        .await
}

#[test]
fn a_server_stands_for_all_of_its_tools_and_no_others() {
    let toolbox = toolbox(&["mcp:web", "mcp:web/fetch", "calculator"], false);
    let names: Vec<&str> = toolbox.tools().map(Tool::name).collect();
    assert_eq!(names, ["mcp:web/fetch", "mcp:web/broken", "calculator"]);
}

#[test]
fn what_the_miner_lacks_is_named() {
    let names = ["mcp:webb", "calculator", "shell"].map(str::to_owned);
    let Err(missing) = Toolbox::new(&names, &[], &peers(), false) else {
        panic!("tools that are nowhere were found");
    };
    assert_eq!(
        missing.to_string(),
        "this miner does not offer mcp:webb, shell"
    );
}

#[tokio::test]
async fn an_unknown_tool_is_answered_with_the_nearest() {
    let toolbox = toolbox(&["calculator"], false);
    let outcome = call(&toolbox, "calculater").await;
    assert!(!outcome.ok);
    assert!(
        outcome.output.contains("did you mean \"calculator\"?"),
        "{}",
        outcome.output
    );
    let outcome = call(&toolbox, "bash").await;
    assert!(outcome.output.ends_with("the tools are: calculator"));
}

#[tokio::test]
async fn arguments_are_checked_before_the_call() {
    let toolbox = toolbox(&["mcp:web/fetch"], false);
    let arguments = json!({"word": 7, "extra": "x".repeat(100_000)});
    let outcome = toolbox
        .call("mcp:web/fetch", &arguments, &CancellationToken::new())
        .await;
    assert!(!outcome.ok && outcome.output.len() < 2000);
    assert!(
        outcome
            .output
            .contains("/word: 7 is not of type \"string\""),
        "{}",
        outcome.output
    );
}

#[tokio::test]
async fn nothing_is_sent_once_untrusted_text_was_read() {
    for reader in ["mcp:web/fetch", "mcp:web/broken"] {
        let toolbox = toolbox(&["mcp:web", "mcp:mail"], false);
        assert!(call(&toolbox, "mcp:mail/send").await.ok);
        call(&toolbox, reader).await;
        let outcome = call(&toolbox, "mcp:mail/send").await;
        assert!(!outcome.ok && outcome.output.starts_with("refused: "));
        assert_eq!(call(&toolbox, "mcp:web/fetch").await.output, "a page");
    }
    let allowed = toolbox(&["mcp:web", "mcp:mail"], true);
    call(&allowed, "mcp:web/fetch").await;
    assert!(call(&allowed, "mcp:mail/send").await.ok);
}

#[tokio::test]
async fn a_miner_that_takes_over_sends_nothing() {
    for (allowed, sends) in [(false, false), (true, true)] {
        let toolbox = toolbox(&["mcp:mail"], allowed);
        toolbox.read_untrusted();
        assert_eq!(call(&toolbox, "mcp:mail/send").await.ok, sends);
    }
}

#[tokio::test]
async fn a_flood_is_cut_and_says_so() {
    let toolbox = toolbox(&["mcp:web2/flood"], false);
    let outcome = call(&toolbox, "mcp:web2/flood").await;
    assert!(outcome.ok && outcome.truncated && outcome.output.len() <= MAX_OUTPUT_BYTES);
}

#[tokio::test(start_paused = true)]
async fn a_tool_that_hangs_ends_at_its_timeout() {
    let toolbox = toolbox(&["mcp:web2/hang"], false);
    let outcome = call(&toolbox, "mcp:web2/hang").await;
    assert_eq!(outcome.output, "the call took longer than 30 s");
    assert!(!outcome.ok);
}

#[tokio::test]
async fn a_cancelled_execution_waits_for_no_tool() {
    let toolbox = toolbox(&["mcp:web2/hang"], false);
    let cancel = CancellationToken::new();
    cancel.cancel();
    let outcome = toolbox.call("mcp:web2/hang", &json!({}), &cancel).await;
    assert_eq!(outcome.output, "the execution was cancelled");
}

#[tokio::test]
async fn the_miners_own_tools_answer_by_their_schemas() {
    let folder = Folder::new();
    let files = [
        folder.file("q3.csv", "month,revenue\nJuly,0.1\nAugust,0.2\n"),
        folder.file("orders.json", "{\"total\": 1.50}"),
    ];
    let names = ["sql", "calculator", "datetime", "json_query", "text_search"].map(str::to_owned);
    let toolbox = Toolbox::new(&names, &files, &[], false).unwrap();
    let cancel = CancellationToken::new();
    for (name, arguments, expected) in [
        (
            "sql",
            json!({"query": "SELECT SUM(revenue) s FROM q3"}),
            "s\n0.3\n(1 row)",
        ),
        ("calculator", json!({"expression": "0.1 + 0.2"}), "0.3"),
        (
            "datetime",
            json!({"operation": "difference", "from": "2026-07-01", "to": "2026-09-30"}),
            "2 months, 29 days\n91 days",
        ),
        ("json_query", json!({"path": "$.total"}), "1 result\n1.5"),
        (
            "text_search",
            json!({"pattern": "July"}),
            "1 line matches\nq3.csv:2: July,0.1",
        ),
    ] {
        let outcome = toolbox.call(name, &arguments, &cancel).await;
        assert_eq!(
            (outcome.ok, outcome.output.as_str()),
            (true, expected),
            "{name}"
        );
        let outcome = toolbox.call(name, &json!({"unknown": 1}), &cancel).await;
        assert!(
            outcome.output.starts_with("the arguments do not fit: "),
            "{name}: {outcome:?}"
        );
    }
    assert!(
        toolbox
            .tools()
            .all(|tool| !tool.labels().egress && tool.description().len() < 1500)
    );
}
