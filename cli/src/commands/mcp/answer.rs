//! What a tool answers: a document for programs, text for people and models.

use aitbc_common::runtime::errors::CommandError;
use aitbc_common::runtime::terminal::escape;
use rmcp::model::{CallToolResult, ContentBlock};
use serde_json::{Value, json};

use crate::context::Context;

/// A tool's answer.
#[derive(Debug)]
pub struct Answer {
    document: Value,
    texts: Vec<String>,
}

impl Answer {
    /// The document of `--json`, and the same for people.
    pub fn new(document: Value, text: impl Into<String>) -> Self {
        Self {
            document,
            texts: vec![text.into()],
        }
    }

    /// With one more text behind the others.
    #[must_use]
    pub fn with_text(mut self, text: impl Into<String>) -> Self {
        self.texts.push(text.into());
        self
    }

    /// As it travels: what peers and models wrote cannot control a terminal that shows the text. The document is exact.
    pub fn into_result(mut self, context: &Context) -> CallToolResult {
        let warnings = context.warnings();
        for warning in &warnings {
            let message = warning["message"].as_str().unwrap_or_default();
            self.texts.push(format!("warning: {message}"));
        }
        if !warnings.is_empty() {
            self.document["server_warnings"] = Value::from(warnings);
        }
        let texts = self.texts.iter();
        let mut result =
            CallToolResult::success(texts.map(|text| ContentBlock::text(escape(text))).collect());
        result.structured_content = Some(self.document);
        result
    }
}

/// An error as a tool's answer: the CLI's document, message and hint.
pub fn refusal(error: &CommandError) -> CallToolResult {
    let mut text = format!("error: {}", error.message);
    if let Some(hint) = &error.hint {
        text.push_str(&format!("\nhint: {hint}"));
    }
    let mut result = CallToolResult::error(vec![ContentBlock::text(escape(&text))]);
    let document = serde_json::from_str(&error.to_json());
    result.structured_content = Some(document.unwrap_or_else(|_| json!({})));
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_harmless_and_the_document_exact() {
        let red = "\u{1b}[31mred";
        let context = Context::for_test(
            std::path::Path::new("/nonexistent"),
            ([127, 0, 0, 1], 1).into(),
        );
        let result = Answer::new(json!({"output": red}), red).into_result(&context);
        let text = result.content[0].as_text().unwrap();
        assert_eq!(text.text, "\\u{1b}[31mred");
        assert_eq!(result.structured_content.unwrap()["output"], red);
        let refused = refusal(&CommandError::usage(red).with_hint("do"));
        assert_eq!(refused.is_error, Some(true));
        assert_eq!(
            refused.content[0].as_text().unwrap().text,
            "error: \\u{1b}[31mred\nhint: do"
        );
        assert_eq!(
            refused.structured_content.unwrap()["error"]["reason"],
            "USAGE"
        );
    }

    #[test]
    fn warnings_are_part_of_the_answer() {
        let context = Context::for_test(
            std::path::Path::new("/nonexistent"),
            ([127, 0, 0, 1], 1).into(),
        )
        .for_request();
        context.warn("LITTLE_FUNDS", "too little");
        let result = Answer::new(json!({}), "text").into_result(&context);
        assert_eq!(result.content.len(), 2);
        let document = result.structured_content.unwrap();
        assert_eq!(document["server_warnings"][0]["reason"], "LITTLE_FUNDS");
    }
}
