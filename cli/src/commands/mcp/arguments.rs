//! What the tools take: their schemas, and the values in them read as the command line reads them.

use std::borrow::Cow;
use std::time::Duration;

use aitbc_common::job_input::JobType;
use aitbc_common::limits::MAX_VRAM_GIB;
use aitbc_common::runtime::errors::CommandError;
use rmcp::model::JsonObject;
use rmcp::schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Number, Value, json};

use crate::commands::client::input;
use crate::commands::marketplace::pricing::MOST_DAYS;

/// Seconds that a call waits for a job where nothing is said: clients often give up after 60.
const WAIT_SECONDS: u64 = 45;
/// Seconds that a call waits at most.
const MOST_WAIT_SECONDS: u64 = 600;
/// Bytes of output in one answer where nothing is said.
const OUTPUT_BYTES: usize = 64 << 10;
/// Bytes of output in one answer at most.
const MOST_OUTPUT_BYTES: usize = 1 << 20;
/// Entries on a page where nothing is said.
const PAGE_SIZE: u32 = 50;
/// Characters of an error about arguments.
const ERROR_CHARS: usize = 300;

/// Money as text, so that no digit is lost; a number is taken too.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Ait {
    /// `"0.5"`
    Text(String),
    /// `0.5`
    Number(Number),
}

impl Ait {
    /// Reads it with one of the functions of the command line.
    pub fn read<T>(&self, read: fn(&str) -> Result<T, CommandError>) -> Result<T, CommandError> {
        match self {
            Self::Text(text) => read(text),
            Self::Number(number) => read(&number.to_string()),
        }
    }
}

impl JsonSchema for Ait {
    fn schema_name() -> Cow<'static, str> {
        "Ait".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^[0-9]+(\\.[0-9]{1,6})?$"})
    }
}

/// What a job computes.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(crate = "rmcp::schemars", inline)]
pub enum Kind {
    /// Text from a prompt or messages.
    #[default]
    Inference,
    /// Vectors from texts.
    Embedding,
}

impl From<Kind> for JobType {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Inference => Self::Inference,
            Kind::Embedding => Self::Embedding,
        }
    }
}

/// Of `submit`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "rmcp::schemars")]
pub struct Submit {
    /// The model, as the tool models lists it; with @sha256:HEX where it must have that digest
    #[schemars(length(max = 400))]
    pub model: String,
    /// What to compute
    #[serde(default, rename = "type")]
    pub kind: Kind,
    /// The input as a text. Give one of prompt, messages and data
    pub prompt: Option<String>,
    /// The input as a conversation: objects with role and content
    #[schemars(length(min = 1))]
    pub messages: Option<Vec<Map<String, Value>>>,
    /// The whole input document, for what has no field of its own: format, tools, images, think; for embedding {"input": [texts]}
    pub data: Option<Map<String, Value>>,
    /// Instructions to the model, beside prompt or messages
    pub system: Option<String>,
    /// The model's options, beside prompt or messages: temperature, num_predict, seed and others of Ollama
    pub options: Option<Map<String, Value>>,
    /// The highest price in AIT per hour of work
    pub max_price: Option<Ait>,
    /// Lock so much for the job, in AIT: the most that it may cost; what it does not use returns. Without it the job is unpaid,
    /// which development networks alone run
    pub pay: Option<Ait>,
    /// Time until the job expires, 1s to 7d, 1h where nothing is said; for example 10m
    #[schemars(length(max = 64))]
    pub timeout: Option<String>,
    /// Whether to wait for the result; else the answer is the job's id
    #[serde(default = "yes")]
    pub wait: bool,
    /// Seconds to wait for the result; where it takes longer, the answer is the job's id and the tool result fetches it
    #[serde(default = "wait_seconds")]
    #[schemars(range(max = MOST_WAIT_SECONDS))]
    pub wait_seconds: u64,
    /// Idempotency key, 1 to 64 characters: the same request under the same key makes one job, and pays once
    #[schemars(length(min = 1, max = 64))]
    pub request_id: Option<String>,
    /// Bytes of output in the answer
    #[serde(default = "output_bytes")]
    #[schemars(range(min = 1, max = MOST_OUTPUT_BYTES))]
    pub max_output_bytes: usize,
}

/// Of `result`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "rmcp::schemars")]
pub struct Fetch {
    /// The job's id, or "last" for the newest of this identity
    pub job_id: String,
    /// Seconds to wait for the job's end, where it has not ended
    #[serde(default = "wait_seconds")]
    #[schemars(range(max = MOST_WAIT_SECONDS))]
    pub wait_seconds: u64,
    /// Bytes of output to leave out, for one that is longer than an answer
    #[serde(default)]
    pub output_offset: usize,
    /// Bytes of output in the answer
    #[serde(default = "output_bytes")]
    #[schemars(range(min = 1, max = MOST_OUTPUT_BYTES))]
    pub max_output_bytes: usize,
}

/// Of `status` and `cancel`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "rmcp::schemars")]
pub struct OneJob {
    /// The job's id, or "last" for the newest of this identity
    pub job_id: String,
}

/// Of `models`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "rmcp::schemars")]
pub struct Models {
    /// Models on one page
    #[serde(default = "page_size")]
    #[schemars(range(min = 1, max = 1_000))]
    pub page_size: u32,
    /// next_page_token of the page before
    #[serde(default)]
    pub page_token: String,
}

/// Of `offers`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "rmcp::schemars")]
pub struct Offers {
    /// Only GPUs of this model, in any known spelling
    #[serde(default)]
    pub gpu_model: String,
    /// Only GPUs with at least this video memory in GiB
    #[serde(default)]
    #[schemars(range(max = MAX_VRAM_GIB))]
    pub min_vram_gib: u32,
    /// Only those that cost at most this in AIT per hour
    pub max_price: Option<Ait>,
    /// Only those in this region
    #[serde(default)]
    pub region: String,
    /// Only those that can be rented now
    #[serde(default)]
    pub available: bool,
    /// Offers on one page
    #[serde(default = "page_size")]
    #[schemars(range(min = 1, max = 1_000))]
    pub page_size: u32,
    /// next_page_token of the page before, which must have been asked for the same
    #[serde(default)]
    pub page_token: String,
}

/// Of `pricing`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "rmcp::schemars")]
pub struct Pricing {
    /// The GPU, in any known spelling, for example RTX 4090
    pub gpu_model: String,
    /// Look at payments of the last days
    #[serde(default = "window_days")]
    #[schemars(range(min = 1, max = MOST_DAYS))]
    pub window_days: u32,
}

/// Of `balance`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "rmcp::schemars")]
pub struct Nothing {}

fn yes() -> bool {
    true
}

fn wait_seconds() -> u64 {
    WAIT_SECONDS
}

fn output_bytes() -> usize {
    OUTPUT_BYTES
}

fn page_size() -> u32 {
    PAGE_SIZE
}

fn window_days() -> u32 {
    30
}

/// Reads a tool's arguments.
pub fn read<T: DeserializeOwned>(given: Option<JsonObject>) -> Result<T, CommandError> {
    serde_path_to_error::deserialize(Value::Object(given.unwrap_or_default())).map_err(|error| {
        let why: String = error.to_string().chars().take(ERROR_CHARS).collect();
        CommandError::usage(format!("the arguments do not fit: {why}"))
            .with_hint("give what the tool's schema names, and nothing else")
    })
}

/// A number within bounds.
pub fn bounded<T: PartialOrd + std::fmt::Display>(
    name: &str,
    value: T,
    lowest: T,
    highest: T,
) -> Result<T, CommandError> {
    if (&lowest..=&highest).contains(&&value) {
        return Ok(value);
    }
    Err(CommandError::usage(format!("{name} cannot be {value}"))
        .with_hint(format!("give {lowest} to {highest}")))
}

/// Seconds to wait.
pub fn wait(seconds: u64) -> Result<Duration, CommandError> {
    bounded("wait_seconds", seconds, 0, MOST_WAIT_SECONDS).map(Duration::from_secs)
}

/// Bytes of output in one answer.
pub fn output_limit(bytes: usize) -> Result<usize, CommandError> {
    bounded("max_output_bytes", bytes, 1, MOST_OUTPUT_BYTES)
}

impl Submit {
    /// The checked input document. Nothing in it names a file or stdin, as `--data` does.
    pub fn document(&mut self) -> Result<Vec<u8>, CommandError> {
        let (prompt, messages, data) = (self.prompt.take(), self.messages.take(), self.data.take());
        let mut document = match (prompt, messages, data) {
            (Some(prompt), None, None) => match self.kind {
                Kind::Inference => Map::from_iter([("prompt".to_owned(), Value::from(prompt))]),
                Kind::Embedding => Map::from_iter([("input".to_owned(), Value::from(prompt))]),
            },
            (None, Some(messages), None) => {
                Map::from_iter([("messages".to_owned(), json!(messages))])
            }
            (None, None, Some(data)) if self.system.is_none() && self.options.is_none() => data,
            (None, None, Some(_)) => {
                return Err(CommandError::usage("data is the whole input already")
                    .with_hint("give system and options in data"));
            }
            _ => {
                return Err(CommandError::usage("the input is given in one way")
                    .with_hint("give one of prompt, messages and data"));
            }
        };
        if let Some(system) = self.system.take() {
            document.insert("system".to_owned(), system.into());
        }
        if let Some(options) = self.options.take() {
            document.insert("options".to_owned(), options.into());
        }
        let bytes = Value::Object(document).to_string().into_bytes();
        input::check(self.kind.into(), bytes, false)
    }
}

#[cfg(test)]
mod tests {
    use crate::values;

    use super::*;

    fn submit(given: Value) -> Result<Vec<u8>, CommandError> {
        let Value::Object(given) = given else {
            panic!("an object")
        };
        read::<Submit>(Some(given))?.document()
    }

    #[test]
    fn an_input_is_a_prompt_messages_or_a_document() {
        let text = |given| String::from_utf8(submit(given).unwrap()).unwrap();
        assert_eq!(
            text(json!({"model": "m", "prompt": "a \"b\"", "options": {"seed": 1}})),
            r#"{"prompt":"a \"b\"","options":{"seed":1}}"#
        );
        assert_eq!(
            text(
                json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}], "system": "s"})
            ),
            r#"{"messages":[{"role":"user","content":"Hi"}],"system":"s"}"#
        );
        assert_eq!(
            text(json!({"model": "m", "type": "embedding", "prompt": "x"})),
            r#"{"input":"x"}"#
        );
        assert_eq!(
            text(json!({"model": "m", "data": {"prompt": "@/etc/passwd"}})),
            r#"{"prompt":"@/etc/passwd"}"#
        );
    }

    #[test]
    fn what_does_not_fit_is_refused_with_a_hint() {
        for bad in [
            json!({}),
            json!({"model": "m"}),
            json!({"model": "m", "prompt": "a", "messages": []}),
            json!({"model": "m", "promt": "a"}),
            json!({"model": 1, "prompt": "a"}),
            json!({"model": "m", "data": "@/etc/passwd"}),
            json!({"model": "m", "data": {"prompt": "a"}, "system": "s"}),
            json!({"model": "m", "data": {"nonsense": 1}}),
            json!({"model": "m", "type": "agent", "prompt": "a"}),
            json!({"model": "m", "prompt": "a", "wait_seconds": -1}),
            json!({"model": "m", "prompt": "x".repeat(4 << 20)}),
        ] {
            let error = submit(bad).unwrap_err();
            assert!(
                error.hint.is_some() && error.message.len() < 600,
                "{error:?}"
            );
        }
        assert!(wait(601).is_err() && output_limit(0).is_err());
    }

    #[test]
    fn money_is_text_or_a_number() {
        for (given, micro) in [
            (json!("0.5"), 500_000),
            (json!(0.5), 500_000),
            (json!(2), 2_000_000),
        ] {
            let ait: Ait = serde_json::from_value(given).unwrap();
            assert_eq!(ait.read(values::amount).unwrap().0, micro);
        }
        for bad in [
            json!("-1"),
            json!(-1),
            json!(1e-7),
            json!("1e3"),
            json!("0.0000001"),
        ] {
            let ait: Ait = serde_json::from_value(bad).unwrap();
            assert!(ait.read(values::amount).unwrap_err().hint.is_some());
        }
    }
}
