//! From a reply of the model to a step.

use aitbc_common::agents::Event;
use serde_json::{Deserializer, Map, Value, json};

use super::ChatReply;

/// Most calls in one reply.
const MAX_CALLS: usize = 16;

/// A call that the model asks for; `arguments` is an object, and its action's event fits a line.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ToolCall {
    pub(super) tool: String,
    pub(super) arguments: Value,
}

/// A valid step: calls, or else an answer.
#[derive(Debug, PartialEq)]
pub(super) struct Reading {
    pub(super) thought: Option<String>,
    pub(super) calls: Vec<ToolCall>,
    pub(super) answer: Option<String>,
}

/// No valid step.
#[derive(Debug, PartialEq)]
pub(super) struct Malformed {
    /// What is wrong, for the model.
    pub(super) problem: String,
    /// The reply.
    pub(super) said: String,
    /// What of it a person can read; may be empty.
    pub(super) words: String,
}

/// Reads a reply. `constrained`: a model without tool calling of its own, whose steps are JSON.
pub(super) fn read(
    reply: &ChatReply,
    constrained: bool,
    may_call: bool,
    tools: &[&str],
) -> Result<Reading, Malformed> {
    let (thinking, content) = apart(reply);
    let result = if !reply.tool_calls.is_empty() {
        native(reply, &thinking, content, may_call)
    } else if content.trim().is_empty() {
        Err("the reply was empty".to_owned())
    } else if constrained {
        json_step(content, &thinking, may_call)
    } else {
        match text_call(content, tools).filter(|_| may_call) {
            Some(call) => Ok(calls(filled(&thinking), vec![call])),
            None => Ok(answer(filled(&thinking), content.to_owned())),
        }
    };
    result.map_err(|problem| Malformed {
        problem,
        said: said(reply, content),
        words: match first_object(content) {
            Ok(step) => step_thought(&step).unwrap_or_default(),
            Err(_) => content.to_owned(),
        },
    })
}

fn calls(thought: Option<String>, calls: Vec<ToolCall>) -> Reading {
    Reading {
        thought,
        calls,
        answer: None,
    }
}

fn answer(thought: Option<String>, text: String) -> Reading {
    Reading {
        thought,
        calls: Vec::new(),
        answer: Some(text),
    }
}

/// Thoughts and words; some servers leave the thoughts in the words.
fn apart(reply: &ChatReply) -> (String, &str) {
    let content = reply.content.as_str();
    let inside = content
        .trim_start()
        .strip_prefix("<think>")
        .and_then(|rest| rest.split_once("</think>"));
    match inside {
        Some((thinking, rest)) => (
            format!("{}{}", reply.thinking, thinking.trim()),
            rest.trim_start(),
        ),
        None => (reply.thinking.clone(), content),
    }
}

fn said(reply: &ChatReply, content: &str) -> String {
    if content.trim().is_empty() && !reply.tool_calls.is_empty() {
        return json!(reply.tool_calls).to_string();
    }
    content.to_owned()
}

fn filled(text: &str) -> Option<String> {
    (!text.trim().is_empty()).then(|| text.to_owned())
}

fn native(
    reply: &ChatReply,
    thinking: &str,
    content: &str,
    may_call: bool,
) -> Result<Reading, String> {
    if !may_call {
        return match filled(content) {
            Some(text) => Ok(answer(filled(thinking), text)),
            None => Err("no tool can be called now".to_owned()),
        };
    }
    if reply.tool_calls.len() > MAX_CALLS {
        return Err(format!(
            "{} calls in one reply, at most {MAX_CALLS} are allowed",
            reply.tool_calls.len()
        ));
    }
    let made: Result<Vec<ToolCall>, String> = reply
        .tool_calls
        .iter()
        .map(|call| {
            let function = &call["function"];
            let name = function["name"].as_str().unwrap_or_default();
            checked(name, function["arguments"].clone())
        })
        .collect();
    Ok(calls(filled(content).or_else(|| filled(thinking)), made?))
}

fn json_step(content: &str, thinking: &str, may_call: bool) -> Result<Reading, String> {
    let object = first_object(content)?;
    let thought = step_thought(&object).or_else(|| filled(thinking));
    let tool = object.get("tool").filter(|tool| !tool.is_null());
    if let Some(tool) = tool.filter(|tool| *tool != "answer") {
        if !may_call {
            return Err("no tool can be called now".to_owned());
        }
        let name = tool.as_str().unwrap_or_default();
        let arguments = object.get("arguments").cloned().unwrap_or_default();
        return Ok(calls(thought, vec![checked(name, arguments)?]));
    }
    let text = match object.get("answer") {
        None => return Err("it has neither \"tool\" nor \"answer\"".to_owned()),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) => String::new(),
        Some(other) => other.to_string(),
    };
    if text.trim().is_empty() {
        return Err("its answer is empty".to_owned());
    }
    Ok(answer(thought, text))
}

fn step_thought(step: &Map<String, Value>) -> Option<String> {
    step.get("thought")?.as_str().and_then(filled)
}

/// The object that a text begins with, or that stands in it; what follows is not the step.
fn first_object(text: &str) -> Result<Map<String, Value>, String> {
    let none = || "it holds no JSON object".to_owned();
    let begin = text.find('{').ok_or_else(none)?;
    match Deserializer::from_str(&text[begin..]).into_iter().next() {
        Some(Ok(Value::Object(object))) => Ok(object),
        Some(Err(error)) if error.is_eof() => Err("its JSON object has no end".to_owned()),
        Some(Err(error)) => Err(format!("its JSON object is not valid: {error}")),
        _ => Err(none()),
    }
}

/// A call that a model with tool calling wrote down as text: small ones do.
fn text_call(content: &str, tools: &[&str]) -> Option<ToolCall> {
    let text = content.trim();
    let text = text
        .strip_prefix("```json")
        .or_else(|| text.strip_prefix("```"))
        .and_then(|text| text.strip_suffix("```"))
        .unwrap_or(text);
    let object: Map<String, Value> = serde_json::from_str(text).ok()?;
    let name = object
        .get("name")
        .or_else(|| object.get("tool"))?
        .as_str()?;
    let arguments = object
        .get("arguments")
        .or_else(|| object.get("parameters"))
        .filter(|arguments| arguments.is_object())?;
    let known = tools.contains(&name);
    known
        .then(|| checked(name, arguments.clone()).ok())
        .flatten()
}

fn checked(name: &str, arguments: Value) -> Result<ToolCall, String> {
    if name.trim().is_empty() {
        return Err("a call names no tool".to_owned());
    }
    let arguments = match arguments {
        Value::Null => Value::Object(Map::new()),
        Value::String(text) => serde_json::from_str(&text).unwrap_or(Value::String(text)),
        arguments => arguments,
    };
    if !arguments.is_object() {
        return Err("the arguments of a call are no JSON object".to_owned());
    }
    let longest = Event::Action {
        seq: u64::MAX,
        step: u32::MAX,
        tool: name.to_owned(),
        arguments,
    };
    let readable = longest
        .to_line()
        .and_then(|line| Event::read_line(1, &line));
    match (readable, longest) {
        (
            Ok(_),
            Event::Action {
                tool, arguments, ..
            },
        ) => Ok(ToolCall { tool, arguments }),
        _ => Err("the arguments of a call are too long or too deep".to_owned()),
    }
}
