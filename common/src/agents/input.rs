//! What an execution is given.

use serde::{Deserialize, Serialize};

use super::definition::{is_lower_hash, not_a_hash, too_long};
use crate::hash::{Hash, parse_hash_text};
use crate::ids::{AgentId, IdError};
use crate::job_input::InputError;

/// Most bytes of the text that an execution is given: 64 KiB.
pub const MAX_TASK_BYTES: usize = 64 << 10;

/// Most bytes of the JSON of an [`ExecutionInput`]: 400 KiB, a task of [`MAX_TASK_BYTES`] with every byte escaped.
pub const MAX_EXECUTION_INPUT_BYTES: usize = 400 << 10;

/// The input of an agent's job; the job's `input_hash` covers its compact JSON with the fields in this order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecutionInput {
    /// The agent's id: `agent_` and 26 characters.
    pub agent_id: String,
    /// Which version of it, from 1.
    pub version: u32,
    /// SHA-256 of that version's definition: `sha256:` and 64 lower-case hexadecimal digits.
    pub config_hash: String,
    /// The task, in the user's words: 1 to [`MAX_TASK_BYTES`] bytes, not white space alone.
    pub input: String,
}

impl ExecutionInput {
    /// Reads and checks the bytes of a job's input, at most [`MAX_EXECUTION_INPUT_BYTES`].
    pub fn read(bytes: &[u8]) -> Result<Self, InputError> {
        if bytes.len() > MAX_EXECUTION_INPUT_BYTES {
            return Err(too_long(
                "the input",
                bytes.len(),
                MAX_EXECUTION_INPUT_BYTES,
            ));
        }
        let input: Self = serde_json::from_slice(bytes).map_err(|error| {
            InputError::document(
                format!("the input is not that of an agent's execution: {error}"),
                "run agents with: aitbc agent execute AGENT_ID --input TEXT",
            )
        })?;
        input.validate()?;
        Ok(input)
    }

    /// The bytes of the job's input: compact JSON, fields in their order.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts and numbers always serialize")
    }

    /// Checks every bound that the fields name.
    pub fn validate(&self) -> Result<(), InputError> {
        self.agent()?;
        if self.version == 0 {
            return Err(InputError::at("version", "is 0", "versions count from 1"));
        }
        if !is_lower_hash(&self.config_hash) {
            return Err(not_a_hash("config_hash"));
        }
        let hint = "say what the agent shall do, for example: Analyze Q3 financial data";
        if self.input.trim().is_empty() {
            return Err(InputError::at("input", "is empty", hint));
        }
        if self.input.len() > MAX_TASK_BYTES {
            return Err(InputError::at(
                "input",
                &format!(
                    "has {} bytes, at most {MAX_TASK_BYTES} (64 KiB) are allowed",
                    self.input.len()
                ),
                "shorten it, or attach long texts as files of the agent",
            ));
        }
        Ok(())
    }

    /// The agent's id.
    pub fn agent(&self) -> Result<AgentId, InputError> {
        self.agent_id
            .parse()
            .map_err(|error: IdError| InputError::at("agent_id", &error.to_string(), error.hint()))
    }

    /// The hash of the definition, of an input that is valid.
    #[must_use]
    pub fn definition_hash(&self) -> Option<Hash> {
        parse_hash_text(&self.config_hash)
    }
}
