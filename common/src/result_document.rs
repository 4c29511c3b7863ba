//! The result document: what a job delivered, as one JSON document. It is kept and hashed as exact bytes.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::limits::RESULT_BYTES;

/// Why the output ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model ended it.
    Stop,
    /// The token limit of the job, the context or the output bound was reached.
    Length,
    /// The locked funds were used up.
    Budget,
    /// The model asks for a tool call.
    ToolCalls,
}

impl FinishReason {
    /// Its name in the document.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Budget => "budget",
            Self::ToolCalls => "tool_calls",
        }
    }
}

impl fmt::Display for FinishReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Tokens that a job used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Of the prompt.
    pub input_tokens: u32,
    /// Generated.
    pub output_tokens: u32,
}

/// What a job delivered. Either `content` or `embeddings` is there; unknown fields are ignored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ResultDocument {
    /// The text: what streamed as output, or an agent's final answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// What a thinking model thought before it answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thinking: Option<String>,
    /// Tool calls that the model asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_calls: Option<Vec<Value>>,
    /// An embedding job's vectors: a list of lists of numbers, exactly as the miner wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embeddings: Option<Box<RawValue>>,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// Tokens used.
    pub usage: Usage,
}

/// Bytes that are no result document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResultDocumentError {
    /// Over the bound.
    #[error("it has {0} bytes, at most {RESULT_BYTES} are allowed")]
    TooLarge(usize),
    /// Not JSON, or not with the fields that it must have.
    #[error("{0}")]
    Malformed(String),
    /// Neither or both of `content` and `embeddings`.
    #[error("it must have either content or embeddings")]
    Kind,
}

impl ResultDocument {
    /// Reads the exact bytes of a document, at most 20 MiB.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ResultDocumentError> {
        if bytes.len() as u64 > RESULT_BYTES {
            return Err(ResultDocumentError::TooLarge(bytes.len()));
        }
        let document: Self = serde_json::from_slice(bytes)
            .map_err(|error| ResultDocumentError::Malformed(error.to_string()))?;
        if document.content.is_some() == document.embeddings.is_some() {
            return Err(ResultDocumentError::Kind);
        }
        if let Some(embeddings) = &document.embeddings {
            serde_json::from_str::<Vec<Vec<f64>>>(embeddings.get())
                .map_err(|error| ResultDocumentError::Malformed(format!("embeddings: {error}")))?;
        }
        Ok(document)
    }

    /// Its bytes: no spaces, no line end.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a result document has only text keys")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_of_both_kinds_read_back_byte_for_byte() {
        for text in [
            r#"{"content":"Hello \"you\"\n","finish_reason":"stop","usage":{"input_tokens":14,"output_tokens":61}}"#,
            r#"{"content":"","thinking":"hm","tool_calls":[{"function":{"name":"look","arguments":{}}}],"finish_reason":"tool_calls","usage":{"input_tokens":1,"output_tokens":2}}"#,
            r#"{"embeddings":[[0.10000000149011612,-1],[2e-7]],"finish_reason":"length","usage":{"input_tokens":1,"output_tokens":0}}"#,
        ] {
            let document = ResultDocument::from_bytes(text.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(document.to_bytes()).unwrap(), text);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let usage = r#""finish_reason":"stop","usage":{"input_tokens":1,"output_tokens":2}"#;
        for text in [
            String::new(),
            "[]".to_owned(),
            "\u{0}".to_owned(),
            format!("{{{usage}}}"),
            format!(r#"{{"content":"a","embeddings":[],{usage}}}"#),
            format!(r#"{{"content":"a","content":"b",{usage}}}"#),
            format!(r#"{{"embeddings":"x",{usage}}}"#),
            format!(r#"{{"embeddings":[["x"]],{usage}}}"#),
            format!(r#"{{"content":7,{usage}}}"#),
            format!(r#"{{"content":"a",{usage}}} trailing"#),
            r#"{"content":"a","finish_reason":"bored","usage":{"input_tokens":1,"output_tokens":2}}"#.to_owned(),
            r#"{"content":"a","finish_reason":"stop","usage":{"input_tokens":-1,"output_tokens":2}}"#.to_owned(),
        ] {
            assert!(ResultDocument::from_bytes(text.as_bytes()).is_err(), "{text}");
        }
    }
}
