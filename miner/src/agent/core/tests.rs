//! Every branch of the loop, by scripted replies.

mod context;
mod handover;
mod limits;
mod replies;

use aitbc_common::agents::{AgentType, Definition, ExecutionInput, Limits};
use serde_json::Map;

use super::*;

pub(super) fn tool(name: &str) -> ToolSpec {
    ToolSpec {
        name: name.to_owned(),
        description: format!("Does {name}."),
        parameters: json!({"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}),
    }
}

pub(super) fn setup(native: bool, steps: u32) -> Setup {
    Setup {
        definition: Definition {
            agent_type: AgentType::Analysis,
            model: "llama3:latest".to_owned(),
            model_digest: None,
            system: "You are an analyst.".to_owned(),
            tools: vec!["sql".to_owned(), "calculator".to_owned()],
            files: Vec::new(),
            limits: Limits {
                steps,
                ..Limits::default()
            },
            options: Map::new(),
            egress_after_untrusted: false,
        },
        input: ExecutionInput {
            agent_id: "agent_01jz0000000000000000000000".to_owned(),
            version: 1,
            config_hash: format!("sha256:{}", "00".repeat(32)),
            input: "Analyze Q3 financial data".to_owned(),
        },
        tools: vec![tool("sql"), tool("calculator")],
        native,
        context_tokens: 8192,
    }
}

pub(super) fn words(content: &str) -> ChatReply {
    ChatReply {
        content: content.to_owned(),
        tokens_in: 10,
        tokens_out: 5,
        ..ChatReply::default()
    }
}

/// A reply of a model with tool calling.
pub(super) fn calls(content: &str, made: &[(&str, Value)]) -> ChatReply {
    ChatReply {
        tool_calls: made
            .iter()
            .map(|(name, arguments)| json!({"function": {"name": name, "arguments": arguments}}))
            .collect(),
        ..words(content)
    }
}

pub(super) fn outcome(output: &str) -> ToolOutcome {
    ToolOutcome {
        ok: true,
        output: output.to_owned(),
        truncated: false,
        elapsed_ms: 3,
    }
}

/// Asks for the next thing, which must be a chat.
pub(super) fn chat(core: &mut AgentCore) -> ChatRequest {
    match core.next(0) {
        Next::Chat(request) => request,
        other => panic!("no chat: {other:?}"),
    }
}

/// Asks for the next thing, which must be a call.
pub(super) fn called(core: &mut AgentCore) -> (u64, String, Value) {
    match core.next(0) {
        Next::Call {
            action,
            tool,
            arguments,
        } => (action, tool, arguments),
        other => panic!("no call: {other:?}"),
    }
}

pub(super) fn lines(events: &[Event]) -> Vec<u8> {
    events
        .iter()
        .flat_map(|event| event.to_line().unwrap())
        .collect()
}

/// The text of an output, for comparison.
fn told(events: &[Event]) -> String {
    String::from_utf8(lines(events)).unwrap()
}

/// One step: the chat is answered with `reply`, each of its calls with `output`.
fn step(core: &mut AgentCore, reply: &ChatReply, output: &str) {
    chat(core);
    core.chat_answered(reply);
    while let State::Deciding = core.state {
        match core.next(0) {
            Next::Call { .. } => core.tool_answered(outcome(output)),
            _ => break,
        }
    }
}

fn ended(core: &mut AgentCore) -> (String, End) {
    assert_eq!(core.next(0), Next::Done);
    let events = core.take_events();
    match events.last() {
        Some(Event::Answer { text, end, .. }) => (text.clone(), *end),
        other => panic!("no answer: {other:?}"),
    }
}

fn query(text: &str) -> Value {
    json!({ "query": text })
}
