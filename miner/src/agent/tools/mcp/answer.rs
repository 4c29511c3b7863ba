//! A server's answer as text for the model.

use rmcp::model::{CallToolResult, ContentBlock};

use super::super::ToolError;

pub(super) fn read(result: CallToolResult) -> Result<String, ToolError> {
    let parts: Vec<String> = result.content.into_iter().map(text).collect();
    let text = match result.structured_content {
        Some(value) if parts.is_empty() => value.to_string(),
        _ => parts.join("\n"),
    };
    if result.is_error == Some(true) {
        return Err(ToolError::Failed(text));
    }
    Ok(text)
}

fn text(block: ContentBlock) -> String {
    match block {
        ContentBlock::Text(text) => text.text,
        ContentBlock::Image(_) => "[an image]".to_owned(),
        ContentBlock::Audio(_) => "[a recording]".to_owned(),
        other => serde_json::to_string(&other).unwrap_or_else(|_| "[a resource]".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn answer(result: serde_json::Value) -> Result<String, ToolError> {
        read(serde_json::from_value(result).unwrap())
    }

    #[test]
    fn an_answer_is_its_text() {
        let result = json!({"content": [{"type": "text", "text": "a"}, {"type": "image", "data": "eA==", "mimeType": "image/png"}]});
        assert_eq!(answer(result), Ok("a\n[an image]".to_owned()));
        assert_eq!(
            answer(json!({"content": [], "structuredContent": {"a": 1}})),
            Ok("{\"a\":1}".to_owned())
        );
        let failed =
            json!({"content": [{"type": "text", "text": "no such zone"}], "isError": true});
        assert_eq!(answer(failed), Err(ToolError::failed("no such zone")));
    }
}
