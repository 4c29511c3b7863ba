//! Measured speeds of a model on this machine.

use std::time::Duration;

use aitbc_common::job_input::{JobInput, JobType};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{LocalModel, MAX_OUTPUT_BYTES, RunError, RunRequest, RunResult, Runner};

/// Most words of the measured prompt, about as many tokens.
const PROMPT_WORDS: u32 = 256;
/// Most tokens generated.
const OUTPUT_TOKENS: u32 = 48;

/// How fast a model runs here. Zero: not measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Speeds {
    /// Reading a prompt, in thousandths of a token per second.
    pub prompt_milli_tokens_per_second: u32,
    /// Generating, in thousandths of a token per second. Zero for a model that only embeds.
    pub output_milli_tokens_per_second: u32,
    /// How long loading the model took; nearly nothing where it was loaded already.
    pub load_duration: Duration,
}

impl Speeds {
    /// Runs the model twice: once so that it is loaded and warm, once to measure.
    pub async fn measure(
        runner: &impl Runner,
        model: &LocalModel,
        context_tokens: u32,
        cancel: &CancellationToken,
    ) -> Result<Self, RunError> {
        let embeds = !model.can("completion");
        let warm_up = run(
            runner,
            model,
            context_tokens,
            &input("Hello", 1, embeds),
            cancel,
        )
        .await?;
        // A half of the context is left for the answer and the template.
        let words = PROMPT_WORDS.min(context_tokens / 4).max(1);
        let measured = run(
            runner,
            model,
            context_tokens,
            &input(&prompt(words), OUTPUT_TOKENS, embeds),
            cancel,
        )
        .await?;
        Ok(Self {
            prompt_milli_tokens_per_second: speed(
                measured.tokens_in,
                measured.prompt_eval_duration,
            ),
            // The first token comes out of reading the prompt.
            output_milli_tokens_per_second: speed(measured.tokens_out, measured.eval_duration),
            load_duration: warm_up.load_duration,
        })
    }
}

async fn run(
    runner: &impl Runner,
    model: &LocalModel,
    context_tokens: u32,
    document: &[u8],
    cancel: &CancellationToken,
) -> Result<RunResult, RunError> {
    let job_type = if model.can("completion") {
        JobType::Inference
    } else {
        JobType::Embedding
    };
    let input =
        JobInput::parse(job_type, document).expect("a document that was built here is valid");
    let request = RunRequest {
        model: model.name.clone(),
        input,
        context_tokens,
        output_limit: MAX_OUTPUT_BYTES,
    };
    let (events, mut received) = mpsc::channel(64);
    let drain = async { while received.recv().await.is_some() {} };
    let (result, ()) = tokio::join!(runner.run(request, cancel.clone(), events), drain);
    result
}

fn input(text: &str, tokens: u32, embeds: bool) -> Vec<u8> {
    let document = if embeds {
        json!({"input": text})
    } else {
        json!({"prompt": text, "options": {"temperature": 0, "num_predict": tokens}})
    };
    document.to_string().into_bytes()
}

/// Begins anew each time: a server keeps what it read before, and would not read the same beginning again.
fn prompt(words: u32) -> String {
    const WORDS: [&str; 8] = [
        "river", "stone", "market", "winter", "engine", "garden", "letter", "window",
    ];
    let mut prompt = format!("{} Continue this list of words:", rand::random::<u32>());
    for word in WORDS.iter().cycle().take(words as usize) {
        prompt.push(' ');
        prompt.push_str(word);
    }
    prompt
}

fn speed(tokens: u32, duration: Duration) -> u32 {
    let micros = duration.as_micros();
    if micros == 0 {
        return 0;
    }
    u32::try_from(u128::from(tokens) * 1_000_000_000 / micros).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_are_in_thousandths_of_a_token_per_second() {
        assert_eq!(speed(61, Duration::from_millis(2140)), 28_504);
        assert_eq!(speed(61, Duration::ZERO), 0);
        assert_eq!(speed(0, Duration::from_secs(1)), 0);
        assert_eq!(speed(u32::MAX, Duration::from_nanos(1000)), u32::MAX);
    }

    #[test]
    fn measured_prompts_differ_from_the_first_word() {
        let first_word = |prompt: String| prompt.split(' ').next().map(str::to_owned);
        assert_ne!(first_word(prompt(8)), first_word(prompt(8)));
        assert!(JobInput::parse(JobType::Inference, &input(&prompt(256), 48, false)).is_ok());
        assert!(JobInput::parse(JobType::Embedding, &input("Hello", 1, true)).is_ok());
    }
}
