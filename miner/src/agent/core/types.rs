//! What the loop is given, and what it asks for.

use aitbc_common::agents::{Definition, ExecutionInput};
use serde_json::{Map, Value};

#[cfg(doc)]
use super::AgentCore;

/// A tool that the model may call.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolSpec {
    /// The name that the model uses.
    pub name: String,
    /// What it does, for the model.
    pub description: String,
    /// The JSON Schema of its arguments, an object.
    pub parameters: Value,
}

/// What does not change during an execution.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The agent, valid.
    pub definition: Definition,
    /// What the execution is given, valid.
    pub input: ExecutionInput,
    /// The tools, resolved; none: the model answers in words.
    pub tools: Vec<ToolSpec>,
    /// Whether the model has tool calling of its own; otherwise its steps are JSON that a schema constrains.
    pub native: bool,
    /// The model's context, prompt and answer together, in tokens.
    pub context_tokens: u32,
}

/// What to do next. The new events belong into the output before it is done, most of all before a tool is called.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// Ask the model; then [`AgentCore::chat_answered`] or [`AgentCore::context_exceeded`].
    Chat(ChatRequest),
    /// Call a tool; then [`AgentCore::tool_answered`].
    Call {
        /// `seq` of its action.
        action: u64,
        /// The tool, one of the setup's.
        tool: String,
        /// The arguments, an object; not yet checked against the tool's schema.
        arguments: Value,
    },
    /// The last event is an answer; nothing follows.
    Done,
}

/// A request for Ollama's `/api/chat`, less what is the server's affair.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatRequest {
    /// The conversation.
    pub messages: Vec<Value>,
    /// Tools for a model's own tool calling; may be empty.
    pub tools: Vec<Value>,
    /// The JSON Schema of the reply, for a model without tool calling.
    pub format: Option<Value>,
    /// The definition's options; `num_predict` and `num_ctx` are always there.
    pub options: Map<String, Value>,
}

/// What the model replied.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ChatReply {
    /// Its words.
    pub content: String,
    /// Its thoughts, if the server keeps them apart.
    pub thinking: String,
    /// Its tool calls, as `/api/chat` has them: `{"function": {"name": …, "arguments": {…}}}`.
    pub tool_calls: Vec<Value>,
    /// Tokens that it read.
    pub tokens_in: u64,
    /// Tokens that it wrote.
    pub tokens_out: u64,
}

/// How a tool's call went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolOutcome {
    /// Whether it did what it was asked.
    pub ok: bool,
    /// What it answered, or why it did not.
    pub output: String,
    /// Whether the answer was longer and was cut.
    pub truncated: bool,
    /// How long it ran, in milliseconds.
    pub elapsed_ms: u64,
}
