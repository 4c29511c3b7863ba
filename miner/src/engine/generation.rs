//! One generation on one context: evaluate the prompt, then choose, emit and evaluate token by token.

use super::error::ApiError;
use super::model::Model;
use super::request::Limits;
use super::sampler::TokenSampler;
use super::slots::{Event, Events};
use super::text::{Scan, StopMatcher, Utf8Buffer};
use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::token::LlamaToken;
use std::time::{Duration, Instant};

/// Tokens of a prompt evaluated at once: a cancelled request stops within one batch.
pub(super) const PROMPT_BATCH_TOKENS: u32 = 128;
/// Every context holds a single sequence.
const SEQUENCE: i32 = 0;

/// A request to generate text, checked and tokenized.
pub(super) struct Generation {
    pub prompt: Vec<LlamaToken>,
    pub limits: Limits,
    /// GBNF that the output must follow.
    pub grammar: Option<String>,
}

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DoneReason {
    /// The model ended it, or a stop sequence.
    Stop,
    /// `num_predict` or the context is reached.
    Length,
}

impl DoneReason {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
        }
    }
}

/// Counts and times of a generation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Summary {
    pub done_reason: DoneReason,
    pub prompt_tokens: usize,
    pub prompt_duration: Duration,
    /// Tokens the model chose, the one that ends its answer included.
    pub generated_tokens: usize,
    pub generation_duration: Duration,
}

/// Why a generation stops without a summary.
pub(super) enum Interruption {
    /// Nobody waits for the result any more.
    Cancelled,
    Failed(ApiError),
}

impl From<ApiError> for Interruption {
    fn from(error: ApiError) -> Self {
        Self::Failed(error)
    }
}

/// Runs a generation to its end, sending its text to `events`.
pub(super) fn generate(
    context: &mut LlamaContext<'_>,
    model: &Model,
    generation: &Generation,
    events: &Events,
) -> Result<Summary, Interruption> {
    let started = Instant::now();
    let mut sampler = TokenSampler::new(
        &model.weights,
        &generation.limits.sampling,
        generation.grammar.as_deref(),
    )?;
    let mut batch = LlamaBatch::new(PROMPT_BATCH_TOKENS as usize, 1);
    clear(context)?;
    evaluate_prompt(context, &mut batch, &generation.prompt, events)?;
    sampler.accept_prompt(&generation.prompt);
    let prompt_duration = started.elapsed();

    let started = Instant::now();
    let mut output = Output::new(generation.limits.stop.clone(), events);
    let vocabulary = model.weights.vocab();
    let mut position = generation.prompt.len();
    let mut generated_tokens = 0;
    let done_reason = loop {
        events.check()?;
        let token = sampler.next(context)?;
        generated_tokens += 1;
        if vocabulary.is_eog(token)
            || output.push(&vocabulary.token_to_piece(token, false, None))?
        {
            break DoneReason::Stop;
        }
        let limit = generation
            .limits
            .predict_tokens
            .map_or(usize::MAX, |limit| limit as usize);
        if generated_tokens >= limit || position >= generation.limits.context_tokens as usize {
            break DoneReason::Length;
        }
        batch.clear();
        add(&mut batch, token, position, true)?;
        decode(context, &mut batch)?;
        position += 1;
    };
    output.finish()?;
    Ok(Summary {
        done_reason,
        prompt_tokens: generation.prompt.len(),
        prompt_duration,
        generated_tokens,
        generation_duration: started.elapsed(),
    })
}

/// The L2-normalized embedding of a text's tokens.
pub(super) fn embed(
    context: &mut LlamaContext<'_>,
    tokens: &[LlamaToken],
    dimensions: Option<usize>,
) -> Result<Vec<f32>, ApiError> {
    clear(context)?;
    let mut batch = LlamaBatch::new(tokens.len().max(1), 1);
    for (position, &token) in tokens.iter().enumerate() {
        add(&mut batch, token, position, true)?;
    }
    decode(context, &mut batch)?;
    let embedding = context
        .embeddings_seq_ith(SEQUENCE)
        .map_err(|error| ApiError::Internal(error.to_string()))?;
    let embedding = &embedding[..dimensions.unwrap_or(embedding.len()).min(embedding.len())];
    let length = embedding
        .iter()
        .map(|value| value * value)
        .sum::<f32>()
        .sqrt();
    let scale = if length > 0.0 { length.recip() } else { 0.0 };
    Ok(embedding.iter().map(|value| value * scale).collect())
}

/// Forgets the previous request. Its data is not erased, only its cells are freed.
fn clear(context: &mut LlamaContext<'_>) -> Result<(), ApiError> {
    context
        .clear_kv_cache_seq(None, None, None)
        .map(|_| ())
        .map_err(|error| ApiError::Internal(format!("cannot clear the context: {error}")))
}

fn evaluate_prompt(
    context: &mut LlamaContext<'_>,
    batch: &mut LlamaBatch<'_>,
    prompt: &[LlamaToken],
    events: &Events,
) -> Result<(), Interruption> {
    let mut position = 0;
    for part in prompt.chunks(PROMPT_BATCH_TOKENS as usize) {
        events.check()?;
        batch.clear();
        for &token in part {
            add(batch, token, position, position + 1 == prompt.len())?;
            position += 1;
        }
        decode(context, batch)?;
    }
    Ok(())
}

fn add(
    batch: &mut LlamaBatch<'_>,
    token: LlamaToken,
    position: usize,
    output: bool,
) -> Result<(), ApiError> {
    let position = i32::try_from(position).expect("a context has fewer than 2^31 tokens");
    batch
        .add(token, position, &[SEQUENCE], output)
        .map_err(|error| ApiError::Internal(error.to_string()))
}

fn decode(context: &mut LlamaContext<'_>, batch: &mut LlamaBatch<'_>) -> Result<(), ApiError> {
    context
        .decode(batch)
        .map_err(|error| ApiError::Internal(format!("llama.cpp failed: {error}")))
}

/// The way of a token's bytes to the client.
struct Output<'a> {
    characters: Utf8Buffer,
    matcher: StopMatcher,
    stopped: bool,
    events: &'a Events,
}

impl<'a> Output<'a> {
    fn new(stops: Vec<String>, events: &'a Events) -> Self {
        Self {
            characters: Utf8Buffer::default(),
            matcher: StopMatcher::new(stops),
            stopped: false,
            events,
        }
    }

    /// Whether a stop sequence is complete.
    fn push(&mut self, bytes: &[u8]) -> Result<bool, Interruption> {
        let text = self.characters.push(bytes);
        self.scan(&text)?;
        Ok(self.stopped)
    }

    fn scan(&mut self, text: &str) -> Result<(), Interruption> {
        let text = match self.matcher.push(text) {
            Scan::Continue(text) => text,
            Scan::Stopped(text) => {
                self.stopped = true;
                text
            }
        };
        self.emit(text)
    }

    fn finish(mut self) -> Result<(), Interruption> {
        if self.stopped {
            return Ok(());
        }
        let text = self.characters.finish();
        self.scan(&text)?;
        let held = self.matcher.finish();
        self.emit(held)
    }

    fn emit(&self, text: String) -> Result<(), Interruption> {
        if text.is_empty() {
            Ok(())
        } else {
            self.events.send(Event::Text(text))
        }
    }
}
