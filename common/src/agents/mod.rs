//! Agents: what one is ([`Definition`]), what an execution is given ([`ExecutionInput`]) and what it puts out ([`Event`]).
//!
//! An execution is a job of type `agent`. Its input is the JSON of an [`ExecutionInput`], its output one [`Event`] a line.

mod definition;
mod event;
mod input;

#[cfg(test)]
mod tests;

pub use definition::{
    AgentType, BUILT_IN_TOOLS, Definition, FileRef, Limits, MAX_AGENT_SECONDS, MAX_AGENT_STEPS,
    MAX_AGENT_TOKENS, MAX_DEFINITION_BYTES, MAX_FILE_BYTES, MAX_FILE_NAME_BYTES, MAX_FILES,
    MAX_FILES_BYTES, MAX_SYSTEM_BYTES, MAX_TOOL_NAME_CHARS, MAX_TOOLS, McpTool,
};
pub use event::{End, Event, EventError, MAX_EVENT_BYTES};
pub use input::{ExecutionInput, MAX_EXECUTION_INPUT_BYTES, MAX_TASK_BYTES};
