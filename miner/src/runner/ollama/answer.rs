//! The server's answers, as far as they are read.

use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::PullProgress;
use crate::runner::error::{RunError, shortened};

/// Reads one JSON document.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, RunError> {
    serde_json::from_slice(body).map_err(|error| {
        let begin = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
        RunError::Garbage {
            detail: shortened(&format!("{error}, in {begin:?}")),
        }
    })
}

#[derive(Deserialize)]
pub(super) struct Version {
    pub(super) version: String,
}

#[derive(Deserialize)]
pub(super) struct ModelList {
    #[serde(default)]
    pub(super) models: Vec<ListedModel>,
}

#[derive(Deserialize)]
pub(super) struct ListedModel {
    pub(super) name: String,
    #[serde(default)]
    digest: String,
    #[serde(default)]
    pub(super) size: u64,
    #[serde(default)]
    remote_host: String,
    #[serde(default)]
    remote_model: String,
}

impl ListedModel {
    pub(super) fn digest(&self) -> Option<[u8; 32]> {
        let digits = self.digest.strip_prefix("sha256:").unwrap_or(&self.digest);
        aitbc_common::names::parse_digest(&format!("sha256:{digits}")).ok()
    }

    /// Whether the server would forward its jobs to another machine.
    pub(super) fn is_remote(&self) -> bool {
        !self.remote_host.is_empty() || !self.remote_model.is_empty()
    }
}

#[derive(Deserialize)]
pub(super) struct Description {
    #[serde(default)]
    parameters: String,
    #[serde(default)]
    model_info: Map<String, Value>,
    #[serde(default)]
    pub(super) capabilities: Vec<String>,
}

impl Description {
    /// `<architecture>.context_length`, or 0.
    pub(super) fn max_context_tokens(&self) -> u32 {
        let own = self
            .model_info
            .get("general.architecture")
            .and_then(Value::as_str);
        let by_name = own.and_then(|architecture| {
            self.model_info
                .get(&format!("{architecture}.context_length"))
        });
        let any = || {
            self.model_info
                .iter()
                .find(|(key, _)| key.ends_with(".context_length"))
                .map(|(_, value)| value)
        };
        let length = by_name.or_else(any).and_then(Value::as_u64).unwrap_or(0);
        u32::try_from(length).unwrap_or(u32::MAX)
    }

    /// The line `num_ctx 4096` of the model's parameters.
    pub(super) fn configured_context_tokens(&self) -> Option<u32> {
        self.parameters.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some("num_ctx"))
                .then(|| words.next()?.parse().ok())
                .flatten()
        })
    }
}

#[derive(Deserialize)]
pub(super) struct PullStep {
    pub(super) error: Option<String>,
    #[serde(flatten)]
    pub(super) progress: PullProgress,
}

/// One line of a streamed answer, of `/api/generate` or `/api/chat`.
#[derive(Deserialize)]
pub(super) struct Record {
    pub(super) error: Option<String>,
    response: Option<String>,
    thinking: Option<String>,
    tool_calls: Option<Vec<Value>>,
    message: Option<Message>,
    #[serde(default)]
    pub(super) done: bool,
    pub(super) done_reason: Option<String>,
    #[serde(flatten)]
    pub(super) counts: Counts,
}

#[derive(Deserialize)]
struct Message {
    content: Option<String>,
    thinking: Option<String>,
    tool_calls: Option<Vec<Value>>,
}

/// What one record adds.
pub(super) struct Piece {
    pub(super) content: String,
    pub(super) thinking: String,
    pub(super) tool_calls: Vec<Value>,
}

impl Record {
    /// What it adds; nothing where it is no record of an answer at all.
    pub(super) fn piece(&mut self) -> Option<Piece> {
        let (content, thinking, tool_calls) = match self.message.take() {
            Some(message) => (message.content, message.thinking, message.tool_calls),
            None if self.response.is_some() || self.done => (
                self.response.take(),
                self.thinking.take(),
                self.tool_calls.take(),
            ),
            None => return None,
        };
        Some(Piece {
            content: content.unwrap_or_default(),
            thinking: thinking.unwrap_or_default(),
            tool_calls: tool_calls.unwrap_or_default(),
        })
    }
}

/// Counts and times of an answer; times in nanoseconds.
#[derive(Deserialize, Default)]
pub(super) struct Counts {
    total_duration: Option<i64>,
    load_duration: Option<i64>,
    prompt_eval_count: Option<u32>,
    prompt_eval_duration: Option<i64>,
    eval_count: Option<u32>,
    eval_duration: Option<i64>,
}

fn nanos(value: Option<i64>) -> Duration {
    Duration::from_nanos(
        value
            .and_then(|value| u64::try_from(value).ok())
            .unwrap_or(0),
    )
}

impl Counts {
    pub(super) fn tokens_in(&self) -> Option<u32> {
        self.prompt_eval_count.filter(|count| *count > 0)
    }

    pub(super) fn tokens_out(&self) -> Option<u32> {
        self.eval_count.filter(|count| *count > 0)
    }

    pub(super) fn load(&self) -> Duration {
        nanos(self.load_duration)
    }

    pub(super) fn prompt_eval(&self) -> Duration {
        nanos(self.prompt_eval_duration)
    }

    pub(super) fn eval(&self) -> Duration {
        nanos(self.eval_duration)
    }

    /// An embedding's answer has no time of its own for reading.
    pub(super) fn total_without_load(&self) -> Duration {
        nanos(self.total_duration).saturating_sub(self.load())
    }
}

#[derive(Deserialize)]
pub(super) struct Embeddings {
    pub(super) embeddings: Vec<Vec<f32>>,
    #[serde(flatten)]
    pub(super) counts: Counts,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_states_contexts() {
        let description: Description = parse(
            br#"{"parameters":"stop \"<|im_end|>\"\nnum_ctx                        4096\ntemperature 0.2",
                "model_info":{"general.architecture":"llama","clip.context_length":77,"llama.context_length":8192},
                "capabilities":["completion"],"license":"..."}"#,
        )
        .expect("valid");
        assert_eq!(description.max_context_tokens(), 8192);
        assert_eq!(description.configured_context_tokens(), Some(4096));
        let empty: Description = parse(b"{}").expect("valid");
        assert_eq!(
            (
                empty.max_context_tokens(),
                empty.configured_context_tokens()
            ),
            (0, None)
        );
    }

    #[test]
    fn digests_come_with_and_without_prefix() {
        let digits = "0a".repeat(32);
        for digest in [digits.clone(), format!("sha256:{digits}")] {
            let listed: ListedModel =
                parse(format!(r#"{{"name":"a","digest":"{digest}"}}"#).as_bytes()).expect("valid");
            assert_eq!(listed.digest(), Some([10; 32]));
            assert!(!listed.is_remote());
        }
        let listed: ListedModel =
            parse(br#"{"name":"a","digest":"xyz","remote_host":"https://ollama.com"}"#)
                .expect("valid");
        assert_eq!(listed.digest(), None);
        assert!(listed.is_remote());
    }

    #[test]
    fn records_are_of_two_kinds() {
        let mut generate: Record = parse(br#"{"response":"a","done":false}"#).expect("valid");
        assert_eq!(generate.piece().expect("a record").content, "a");
        let mut chat: Record =
            parse(br#"{"message":{"role":"assistant","content":"b","thinking":"c"},"done":false}"#)
                .expect("valid");
        let piece = chat.piece().expect("a record");
        assert_eq!(
            (piece.content.as_str(), piece.thinking.as_str()),
            ("b", "c")
        );
        let mut neither: Record = parse(br#"{"hello":"world"}"#).expect("an object");
        assert!(neither.piece().is_none());
        assert!(parse::<Record>(b"<html>").is_err());
    }
}
