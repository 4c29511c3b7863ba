//! What came of an answer so far.

use std::time::{Duration, Instant};

use aitbc_common::limits::RESULT_BYTES;
use bytes::Bytes;

use super::answer::{Piece, Record};
use crate::runner::estimate::Estimate;
use crate::runner::{FinishReason, RunEvent, RunResult};

/// Ollama ends an answer without a last record when a model repeats one token more than 30 times. A few of them may not
/// have been sent one by one.
const REPEATS_BEFORE_AN_END: u32 = 24;

/// Bytes of a result document beside the text in it.
const DOCUMENT_FRAME_BYTES: usize = 4096;

/// A result of nothing.
pub(super) fn nothing_yet() -> RunResult {
    RunResult {
        content: String::new(),
        thinking: String::new(),
        tool_calls: Vec::new(),
        embeddings: None,
        finish_reason: FinishReason::Cancelled,
        tokens_in: 0,
        tokens_out: 0,
        prompt_eval_duration: Duration::ZERO,
        eval_duration: Duration::ZERO,
        load_duration: Duration::ZERO,
    }
}

pub(super) struct Progress {
    result: RunResult,
    /// Bytes of output that may still come.
    output_room: usize,
    /// Bytes that the result document may still grow by: text stands in it with JSON's escapes.
    document_room: usize,
    first_token: Option<Instant>,
    last_token: String,
    repeated: u32,
}

impl Progress {
    pub(super) fn new(output_limit: usize) -> Self {
        Self {
            result: nothing_yet(),
            output_room: output_limit,
            document_room: usize::try_from(RESULT_BYTES).unwrap_or(usize::MAX)
                - DOCUMENT_FRAME_BYTES,
            first_token: None,
            last_token: String::new(),
            repeated: 0,
        }
    }

    pub(super) fn first_token(&self) -> Option<Instant> {
        self.first_token
    }

    /// Whether the server ended the answer because the model repeated itself.
    pub(super) fn repeats_itself(&self) -> bool {
        self.repeated >= REPEATS_BEFORE_AN_END
    }

    /// Takes a piece of the answer. The event to send, if any, and whether the output is full.
    pub(super) fn take(&mut self, piece: Piece) -> (Option<RunEvent>, bool) {
        let Piece {
            content,
            thinking,
            tool_calls,
        } = piece;
        if content.is_empty() && thinking.is_empty() && tool_calls.is_empty() {
            return (None, false);
        }
        self.first_token.get_or_insert_with(Instant::now);
        self.result.tokens_out = self.result.tokens_out.saturating_add(1);
        self.watch_repetition(if content.is_empty() {
            &thinking
        } else {
            &content
        });
        let thought = self.fitting(&thinking, usize::MAX);
        self.result.thinking.push_str(&thinking[..thought]);
        let mut full = thought < thinking.len();
        for call in tool_calls {
            let text = call.to_string();
            if text.len() > self.document_room {
                full = true;
            } else {
                self.document_room -= text.len();
                self.result.tool_calls.push(call);
            }
        }
        let fitting = self.fitting(&content, self.output_room);
        self.output_room -= fitting;
        full |= fitting < content.len();
        let accepted = &content[..fitting];
        self.result.content.push_str(accepted);
        let output_tokens = self.result.tokens_out;
        let event = if accepted.is_empty() {
            RunEvent::Progress { output_tokens }
        } else {
            let bytes = Bytes::copy_from_slice(accepted.as_bytes());
            RunEvent::Text {
                bytes,
                output_tokens,
            }
        };
        (Some(event), full)
    }

    /// How many bytes of a text still fit, whole characters only; takes the document's room for them.
    fn fitting(&mut self, text: &str, room: usize) -> usize {
        for (at, c) in text.char_indices() {
            let escaped = escaped_length(c);
            if at + c.len_utf8() > room || escaped > self.document_room {
                return at;
            }
            self.document_room -= escaped;
        }
        text.len()
    }

    fn watch_repetition(&mut self, token: &str) {
        let token = token.trim();
        if token == self.last_token {
            self.repeated += 1;
        } else {
            self.last_token = token.to_owned();
            self.repeated = 0;
        }
    }

    /// Ends an answer that has no last record, with counts of our own.
    pub(super) fn ended_here(
        mut self,
        finish_reason: FinishReason,
        estimate: Estimate,
    ) -> RunResult {
        self.result.finish_reason = finish_reason;
        if let Some(first_token) = self.first_token {
            self.result.tokens_in = estimate.likely;
            self.result.eval_duration = first_token.elapsed();
        }
        self.result
    }

    /// Ends an answer with the counts of its last record.
    pub(super) fn ended_by(mut self, record: &Record, estimate: Estimate) -> RunResult {
        let counts = &record.counts;
        self.result.finish_reason = match record.done_reason.as_deref() {
            Some("length") => FinishReason::Length,
            _ if !self.result.tool_calls.is_empty() => FinishReason::ToolCalls,
            _ => FinishReason::Stop,
        };
        self.result.tokens_in = counts.tokens_in().unwrap_or(estimate.likely);
        self.result.tokens_out = counts.tokens_out().unwrap_or(self.result.tokens_out);
        self.result.prompt_eval_duration = counts.prompt_eval();
        self.result.eval_duration = counts.eval();
        self.result.load_duration = counts.load();
        self.result
    }
}

/// Bytes of a character inside a JSON text.
fn escaped_length(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        c if c < ' ' => 6,
        c => c.len_utf8(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::result_document;

    fn piece(content: &str) -> Piece {
        Piece {
            content: content.to_owned(),
            thinking: String::new(),
            tool_calls: Vec::new(),
        }
    }

    #[test]
    fn whole_characters_fill_the_output() {
        let mut progress = Progress::new(4);
        assert!(!progress.take(piece("ab")).1);
        let (event, full) = progress.take(piece("cé"));
        assert!(full);
        assert_eq!(
            event,
            Some(RunEvent::Text {
                bytes: Bytes::from("c"),
                output_tokens: 2
            })
        );
    }

    #[test]
    fn the_result_document_keeps_its_bound() {
        let mut progress = Progress::new(usize::MAX);
        let worst = piece(&"\u{1}".repeat(1024 * 1024));
        while !progress
            .take(Piece {
                content: worst.content.clone(),
                ..piece("")
            })
            .1
        {}
        let result = progress.ended_here(FinishReason::Length, Estimate::default());
        let length = result_document(&result).len() as u64;
        assert!(
            length <= RESULT_BYTES && length > RESULT_BYTES - 8192,
            "{length}"
        );
    }

    #[test]
    fn escapes_are_counted_as_they_are_written() {
        for c in ('\0'..'\u{300}').chain(['\u{2028}', '\u{1F600}']) {
            let written = serde_json::to_string(&c.to_string()).expect("a text").len() - 2;
            assert_eq!(escaped_length(c), written, "{c:?}");
        }
    }
}
