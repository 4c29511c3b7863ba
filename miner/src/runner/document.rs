//! The result document: what the client gets, hashed as exact bytes.

use aitbc_common::result_document::{FinishReason as Reason, ResultDocument, Usage};
use serde_json::value::to_raw_value;

use super::{FinishReason, RunResult};

/// One JSON document: `content` (with `thinking` and `tool_calls` where there are any) or `embeddings`; then
/// `finish_reason` and `usage`.
pub fn result_document(result: &RunResult) -> Vec<u8> {
    let embeddings = result
        .embeddings
        .as_ref()
        .map(|vectors| to_raw_value(vectors).expect("numbers are always JSON"));
    let document = ResultDocument {
        content: embeddings.is_none().then(|| result.content.clone()),
        thinking: (!result.thinking.is_empty()).then(|| result.thinking.clone()),
        tool_calls: (!result.tool_calls.is_empty()).then(|| result.tool_calls.clone()),
        embeddings,
        finish_reason: match result.finish_reason {
            FinishReason::Stop => Reason::Stop,
            FinishReason::ToolCalls => Reason::ToolCalls,
            FinishReason::Budget => Reason::Budget,
            // Whether a cancel or the deadline cut it is the receipt's outcome.
            FinishReason::Length | FinishReason::Cancelled | FinishReason::Deadline => {
                Reason::Length
            }
        },
        usage: Usage {
            input_tokens: result.tokens_in,
            output_tokens: result.tokens_out,
        },
    };
    document.to_bytes()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn result() -> RunResult {
        RunResult {
            content: "Hello \"you\"\n".to_owned(),
            thinking: String::new(),
            tool_calls: Vec::new(),
            embeddings: None,
            finish_reason: FinishReason::Stop,
            tokens_in: 14,
            tokens_out: 61,
            prompt_eval_duration: Duration::ZERO,
            eval_duration: Duration::ZERO,
            load_duration: Duration::ZERO,
        }
    }

    fn text(result: &RunResult) -> String {
        String::from_utf8(result_document(result)).expect("UTF-8")
    }

    #[test]
    fn a_plain_answer() {
        assert_eq!(
            text(&result()),
            r#"{"content":"Hello \"you\"\n","finish_reason":"stop","usage":{"input_tokens":14,"output_tokens":61}}"#
        );
    }

    #[test]
    fn thoughts_and_tool_calls() {
        let mut result = result();
        result.thinking = "hm".to_owned();
        result.tool_calls = vec![json!({"function": {"name": "look", "arguments": {}}})];
        assert!(text(&result).contains(
            r#""thinking":"hm","tool_calls":[{"function":{"name":"look","arguments":{}}}],"finish_reason""#
        ));
    }

    #[test]
    fn embeddings_have_no_content() {
        let result = RunResult {
            embeddings: Some(vec![vec![0.5, -0.25]]),
            content: String::new(),
            ..result()
        };
        assert!(text(&result).starts_with(r#"{"embeddings":[[0.5,-0.25]],"finish_reason""#));
    }

    #[test]
    fn every_end_reads_back() {
        for finish_reason in [
            FinishReason::Stop,
            FinishReason::Length,
            FinishReason::ToolCalls,
            FinishReason::Budget,
            FinishReason::Cancelled,
            FinishReason::Deadline,
        ] {
            let bytes = result_document(&RunResult {
                finish_reason,
                ..result()
            });
            let document = ResultDocument::from_bytes(&bytes).expect("valid");
            assert_eq!(document.content.as_deref(), Some("Hello \"you\"\n"));
            assert_eq!(document.usage.output_tokens, 61);
        }
    }
}
