//! How many tokens a text is, without the model's own vocabulary.

use aitbc_common::job_input::{InferenceInput, JobInput, Prompt};
use serde_json::{Map, Value};

/// Two guesses at the number of tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Estimate {
    /// No usual vocabulary needs fewer.
    pub(super) least: u32,
    /// What a usual vocabulary needs for usual text.
    pub(super) likely: u32,
}

impl Estimate {
    fn add(&mut self, other: Self) {
        self.least = self.least.saturating_add(other.least);
        self.likely = self.likely.saturating_add(other.likely);
    }
}

/// What a chat template adds to each message.
const TOKENS_PER_MESSAGE: u32 = 4;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Space,
    Word,
    Digits,
    Wide,
    Sign,
}

fn kind(c: char) -> Kind {
    match c {
        c if c.is_whitespace() => Kind::Space,
        '0'..='9' => Kind::Digits,
        c if c.is_ascii_alphabetic() => Kind::Word,
        c if c.is_alphabetic() && c < '\u{2E80}' => Kind::Word,
        c if c.is_ascii() => Kind::Sign,
        _ => Kind::Wide,
    }
}

/// Tokenizers cut a text at changes of kind, and then each piece into one token or more.
pub(super) fn text(text: &str) -> Estimate {
    let mut total = Estimate::default();
    let mut piece: Option<(Kind, u32)> = None;
    for c in text.chars() {
        let kind = kind(c);
        match &mut piece {
            Some((current, length)) if *current == kind => *length += 1,
            _ => {
                if let Some((kind, length)) = piece.replace((kind, 1)) {
                    total.add(of_piece(kind, length));
                }
            }
        }
    }
    if let Some((kind, length)) = piece {
        total.add(of_piece(kind, length));
    }
    total
}

fn of_piece(kind: Kind, length: u32) -> Estimate {
    let (least, likely) = match kind {
        // A space usually belongs to the word that follows; runs of them may be one token.
        Kind::Space => (0, length / 8),
        // Signs are often joined to their neighbours.
        Kind::Sign => (0, length.div_ceil(2)),
        Kind::Digits => (0, length.div_ceil(2)),
        Kind::Word => (length.div_ceil(32), length.div_ceil(6)),
        Kind::Wide => (length.div_ceil(16), length),
    };
    Estimate { least, likely }
}

/// All that the model has to read.
pub(super) fn input(input: &JobInput) -> Estimate {
    match input {
        // Each text has the context to itself: the longest one decides.
        JobInput::Embedding(texts) => texts
            .iter()
            .map(|item| text(item))
            .max_by_key(|one| one.likely)
            .unwrap_or_default(),
        JobInput::Inference(job) => inference(job),
    }
}

fn inference(job: &InferenceInput) -> Estimate {
    let mut total = Estimate::default();
    // Templates may leave out instructions and tools: they are likely, but not certain.
    let mut uncertain = job.system.as_deref().map(text).unwrap_or_default();
    for tool in &job.tools {
        uncertain.add(text(&tool.to_string()));
    }
    match &job.prompt {
        Prompt::Text(prompt) => total.add(text(prompt)),
        Prompt::Messages(messages) => {
            for message in messages {
                let (certain, other) = of_message(message);
                total.add(certain);
                uncertain.add(other);
            }
        }
    }
    uncertain.least = 0;
    total.add(uncertain);
    total
}

fn of_message(message: &Map<String, Value>) -> (Estimate, Estimate) {
    let content = message
        .get("content")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let mut other = Estimate {
        least: 0,
        likely: TOKENS_PER_MESSAGE,
    };
    if let Some(calls) = message.get("tool_calls") {
        other.add(text(&calls.to_string()));
    }
    // Only what a user says always reaches the model: thoughts of earlier answers are removed, and some templates
    // know no system or tool messages.
    if message.get("role").is_some_and(|role| role == "user") {
        (text(content), other)
    } else {
        other.add(text(content));
        (Estimate::default(), other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_text_is_estimated_well() {
        // 107 characters; GPT-2 needs 24 tokens, Llama 3 needs 23.
        let english = "The quick brown fox jumps over the lazy dog, and the lazy dog sleeps on because it has seen this often enough.";
        let estimate = text(english);
        assert!((18..=32).contains(&estimate.likely), "{estimate:?}");
        assert!((15..=23).contains(&estimate.least), "{estimate:?}");
    }

    #[test]
    fn the_lower_bound_is_low() {
        for (sample, tokens) in [
            ("    \n\n\n    ", 1),
            ("================", 1),
            ("internationalization", 1),
            ("1000000000000000", 1),
        ] {
            assert!(text(sample).least <= tokens, "{sample:?}");
        }
        assert_eq!(text(""), Estimate::default());
        assert!(text("你好，世界").likely >= 4);
    }

    #[test]
    fn a_conversation_is_the_sum_of_its_messages() {
        let document = br#"{"messages":[{"role":"system","content":"one two"},{"role":"user","content":"three four five"},
            {"role":"assistant","content":"<think>six</think>seven"}]}"#;
        let parsed =
            JobInput::parse(aitbc_common::job_input::JobType::Inference, document).expect("valid");
        let estimate = input(&parsed);
        assert_eq!(estimate.least, 3, "only what the user says is certain");
        assert!(estimate.likely >= 3 + 3 * TOKENS_PER_MESSAGE);
    }
}
