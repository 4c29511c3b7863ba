//! What an agent may do besides talking: tools without ambient authority, each with a schema of its arguments, a timeout
//! and a bounded output. None can write, and none but those of MCP servers reaches a network.

mod built_in;
mod calculator;
mod datetime;
mod files;
mod json_query;
mod labels;
pub mod mcp;
mod output;
mod sql;
mod text_search;
mod tool;
mod toolbox;

pub use labels::{Labels, Refusal, admit};
pub use output::MAX_OUTPUT_BYTES;
pub use tool::{AttachedFile, DEFAULT_TIMEOUT, Stop, Tool, ToolError};
pub use toolbox::{MissingTools, Outcome, Toolbox};
