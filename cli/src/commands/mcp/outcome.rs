//! A job's result as an answer: the output in parts, so that none is too long for its reader.

use aitbc_common::runtime::errors::{CommandError, ExitCode};
use serde_json::{Value, json};

use super::answer::Answer;
use crate::commands::client::delivery::Delivery;
use crate::commands::client::job_payment;
use crate::commands::client::ledger_proof::Logged;
use crate::commands::client::proof_text::{proof_line, result_json};

/// Which part of an output.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// Bytes before it.
    pub offset: usize,
    /// Bytes of it at most.
    pub limit: usize,
}

/// A result that checked.
pub fn completed(
    delivery: &Delivery,
    logged: Option<&Logged>,
    part: Part,
) -> Result<Answer, CommandError> {
    let mut document: Value =
        serde_json::from_str(&result_json(delivery, logged)).map_err(|error| unreadable(&error))?;
    let output = match &document["output"] {
        Value::String(text) => text.clone(),
        _ => String::new(),
    };
    let (shown, next) = cut(&output, part);
    document["output"] = json!(shown);
    document["output_bytes"] = json!(output.len());
    document["next_output_offset"] = json!(next);
    let mut notes = vec![format!("{} completed", delivery.job.job_id)];
    if let Some(next) = next {
        notes.push(format!(
            "the output goes on: {next} of {} bytes are behind you; the tool result with output_offset {next} has the next part",
            output.len()
        ));
    }
    if let Some(calls) = &delivery.verified.document.tool_calls {
        notes.push(format!(
            "the model asks for {} tool calls: see tool_calls",
            calls.len()
        ));
    }
    notes.push(proof_line(delivery));
    notes.extend(logged.map(Logged::line));
    notes.extend(job_payment(&delivery.job).map(|payment| format!("payment {payment}")));
    let text = match delivery.verified.document.embeddings {
        Some(_) => "the vectors are in embeddings".to_owned(),
        None => shown.to_owned(),
    };
    Ok(Answer::new(document, text).with_text(notes.join("\n")))
}

/// Vectors that are nested deeper than any program reads.
fn unreadable(error: &serde_json::Error) -> CommandError {
    CommandError::new(
        ExitCode::Failed,
        "RESULT_UNREADABLE",
        format!("the result cannot be shown: {error}"),
    )
    .with_hint("fetch it with: aitbc client result JOB_ID --output FILE")
}

/// A part of a text, in whole characters, and where the next one begins.
fn cut(text: &str, part: Part) -> (&str, Option<usize>) {
    let mut start = part.offset.min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let mut end = start.saturating_add(part.limit).min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    // A character that is longer than the limit still comes.
    if end == start && start < text.len() {
        end += text[start..].chars().next().map_or(0, char::len_utf8);
    }
    (&text[start..end], (end < text.len()).then_some(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_follow_each_other_in_whole_characters() {
        let text = "aé漢字b";
        for limit in 1..12 {
            let (mut all, mut offset) = (String::new(), Some(0));
            while let Some(at) = offset {
                let (shown, next) = cut(text, Part { offset: at, limit });
                assert!(!shown.is_empty() && shown.len() <= limit.max(3));
                all.push_str(shown);
                offset = next;
            }
            assert_eq!(all, text, "{limit}");
        }
        assert_eq!(
            cut(
                text,
                Part {
                    offset: 2,
                    limit: 2
                }
            ),
            ("é", Some(3))
        );
        assert_eq!(
            cut(
                text,
                Part {
                    offset: 99,
                    limit: 1
                }
            ),
            ("", None)
        );
        assert_eq!(
            cut(
                "",
                Part {
                    offset: 0,
                    limit: 9
                }
            ),
            ("", None)
        );
    }
}
