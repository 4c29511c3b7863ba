//! Agents: a model that works in steps and may use tools between them.

mod coordinator;
mod core;
pub mod driver;
mod files;
pub mod peers;
pub mod tools;

pub use self::core::{AgentCore, ChatReply, ChatRequest, Next, Setup, ToolOutcome, ToolSpec};
