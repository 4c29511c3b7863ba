//! Agents: a model that works in steps and may use tools between them.

mod core;

pub use self::core::{AgentCore, ChatReply, ChatRequest, Next, Setup, ToolOutcome, ToolSpec};
