//! The input document of a job (`--data`): what is allowed in it, and errors that show where it is wrong.

mod auditable;
mod check;
mod inference;
mod json;
mod options;

use std::str::FromStr;

use serde_json::{Map, Value};
use thiserror::Error;

use crate::nearest::nearest;

pub use auditable::{AUDIT_SEED, check_auditable, make_auditable};
pub use check::type_name;
pub use inference::{InferenceInput, Prompt};
pub use options::check_options;

/// Most bytes of a job's input: 3 MiB.
pub const MAX_INPUT_BYTES: usize = crate::limits::INPUT_BYTES;

/// Most texts of one embedding job.
pub const MAX_EMBEDDING_TEXTS: usize = 2048;

/// What kind of work a job is. The numbers are those of the signed job spec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum JobType {
    /// A prompt goes in, text comes out.
    Inference = 1,
    /// Texts go in, vectors come out.
    Embedding = 2,
    /// An agent works on a task with tools.
    Agent = 3,
}

impl JobType {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Inference, Self::Embedding, Self::Agent];

    /// The name, as `--type` takes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inference => "inference",
            Self::Embedding => "embedding",
            Self::Agent => "agent",
        }
    }
}

impl std::fmt::Display for JobType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// No job type has this name or number.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("no job type is called {given:?}")]
pub struct UnknownJobType {
    /// What was given.
    pub given: String,
    /// What to write instead.
    pub hint: String,
}

impl UnknownJobType {
    fn new(given: String) -> Self {
        let hint = match nearest(&given, JobType::ALL.map(JobType::as_str)) {
            Some(near) => format!("did you mean {near}?"),
            None => format!(
                "job types: {}",
                JobType::ALL.map(JobType::as_str).join(", ")
            ),
        };
        Self { given, hint }
    }
}

impl FromStr for JobType {
    type Err = UnknownJobType;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|job_type| job_type.as_str() == name)
            .ok_or_else(|| UnknownJobType::new(name.chars().take(64).collect()))
    }
}

impl TryFrom<u8> for JobType {
    type Error = UnknownJobType;

    fn try_from(number: u8) -> Result<Self, Self::Error> {
        Self::ALL
            .into_iter()
            .find(|job_type| *job_type as u8 == number)
            .ok_or_else(|| UnknownJobType::new(number.to_string()))
    }
}

/// Why an input document was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct InputError {
    /// What is wrong, and where.
    pub message: String,
    /// What to write instead.
    pub hint: String,
    /// The JSON path of the wrong value, as `options.top_k` or `messages[2].role`; absent where it is the document itself.
    pub field: Option<String>,
}

impl InputError {
    pub(crate) fn document(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: hint.into(),
            field: None,
        }
    }

    pub(crate) fn at(field: impl Into<String>, problem: &str, hint: impl Into<String>) -> Self {
        let field = field.into();
        Self {
            message: format!("{field}: {problem}"),
            hint: hint.into(),
            field: Some(field),
        }
    }
}

/// A checked input document.
#[derive(Debug, Clone, PartialEq)]
pub enum JobInput {
    /// For [`JobType::Inference`].
    Inference(InferenceInput),
    /// For [`JobType::Embedding`]: the texts to embed, at least one.
    Embedding(Vec<String>),
}

impl JobInput {
    /// Reads and checks the exact bytes of a job's input.
    ///
    /// Strict: UTF-8, one JSON object, no key twice, no unknown key, every value of its type and in its range, at most
    /// [`MAX_INPUT_BYTES`].
    pub fn parse(job_type: JobType, bytes: &[u8]) -> Result<Self, InputError> {
        if bytes.len() > MAX_INPUT_BYTES {
            return Err(InputError::document(
                format!(
                    "the input has {} bytes, at most {MAX_INPUT_BYTES} (3 MiB) are allowed",
                    bytes.len()
                ),
                "shorten the prompt, or split the work into several jobs",
            ));
        }
        let example = example(job_type);
        let text = std::str::from_utf8(bytes).map_err(|error| {
            InputError::document(
                format!(
                    "the input is not UTF-8: byte {} does not belong there",
                    error.valid_up_to() + 1
                ),
                "save the file as UTF-8; binary data goes into `images` as base64",
            )
        })?;
        if text.trim().is_empty() {
            return Err(InputError::document(
                "the input is empty",
                format!("write for example {example}"),
            ));
        }
        let document = json::parse_object(text, example)?;
        match job_type {
            JobType::Inference => inference::check(document).map(Self::Inference),
            JobType::Embedding => check_embedding(document).map(Self::Embedding),
            JobType::Agent => Err(InputError::document(
                "an agent is not run with an input document",
                "run it with: aitbc agent execute AGENT_ID --input TEXT",
            )),
        }
    }

    /// The most tokens that it lets a miner generate; `None` where it sets no bound.
    #[must_use]
    pub fn most_output_tokens(&self) -> Option<u64> {
        match self {
            Self::Inference(input) => input
                .options
                .get("num_predict")
                .and_then(Value::as_u64)
                .filter(|tokens| *tokens > 0),
            Self::Embedding(_) => Some(0),
        }
    }

    /// The input document of a bare prompt: `{"prompt":…}`.
    pub fn from_prompt(prompt: &str) -> Vec<u8> {
        let mut document = Map::new();
        document.insert("prompt".to_owned(), Value::from(prompt));
        Value::Object(document).to_string().into_bytes()
    }
}

fn example(job_type: JobType) -> &'static str {
    match job_type {
        JobType::Embedding => r#"{"input":"Hello AITBC"}"#,
        JobType::Inference | JobType::Agent => r#"{"prompt":"Hello AITBC"}"#,
    }
}

fn check_embedding(mut document: Map<String, Value>) -> Result<Vec<String>, InputError> {
    check::known_keys("", &document, &["input"])?;
    let hint = "`input` is a text or a list of texts";
    match document.remove("input") {
        None => Err(InputError::at("input", "is missing", hint)),
        Some(Value::String(text)) => Ok(vec![check::not_empty("input", text, hint)?]),
        Some(Value::Array(texts)) if texts.is_empty() => {
            Err(InputError::at("input", "is an empty list", hint))
        }
        Some(Value::Array(texts)) if texts.len() > MAX_EMBEDDING_TEXTS => Err(InputError::at(
            "input",
            &format!(
                "has {} texts, at most {MAX_EMBEDDING_TEXTS} are allowed",
                texts.len()
            ),
            "split the texts into several jobs",
        )),
        Some(Value::Array(texts)) => texts
            .into_iter()
            .enumerate()
            .map(|(index, text)| {
                let path = format!("input[{index}]");
                check::not_empty(&path, check::text(&path, text, hint)?, hint)
            })
            .collect(),
        Some(other) => Err(check::wrong_type(
            "input",
            &other,
            "a text or a list of texts",
            hint,
        )),
    }
}

#[cfg(test)]
mod tests;
