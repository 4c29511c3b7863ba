//! Chooses the next token.

use super::error::ApiError;
use super::request::Sampling;
use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::json_schema_to_grammar;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::sampling::LlamaSampler;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::token::data_array::LlamaTokenDataArray;
use serde_json::{Value, json};

/// The last output of the latest batch.
const LAST_OUTPUT: i32 = -1;

/// A generation's chain of samplers and, for structured output, its grammar.
pub(super) struct TokenSampler {
    chain: LlamaSampler,
    grammar: Option<LlamaSampler>,
}

impl TokenSampler {
    /// `grammar` is GBNF, from [`grammar_of`].
    pub fn new(
        model: &LlamaModel,
        sampling: &Sampling,
        grammar: Option<&str>,
    ) -> Result<Self, ApiError> {
        let grammar = match grammar {
            None => None,
            Some(grammar) => Some(LlamaSampler::grammar(model, grammar, "root").map_err(
                |error| {
                    ApiError::BadRequest(format!(
                        "format: llama.cpp cannot follow this JSON Schema: {error}"
                    ))
                },
            )?),
        };
        Ok(Self {
            chain: chain(model, sampling),
            grammar,
        })
    }

    /// Lets the penalties know the prompt.
    pub fn accept_prompt(&mut self, tokens: &[LlamaToken]) {
        self.chain.accept_many(tokens);
    }

    /// Chooses a token from the latest output of `context`.
    pub fn next(&mut self, context: &LlamaContext<'_>) -> Result<LlamaToken, ApiError> {
        let Some(grammar) = &mut self.grammar else {
            return Ok(self.chain.sample(context, LAST_OUTPUT));
        };
        // Checking one token against the grammar is far cheaper than the whole vocabulary, and the
        // likeliest token mostly fits.
        let mut candidates = context.token_data_array_ith(LAST_OUTPUT);
        candidates.apply_sampler(&mut self.chain);
        let token = match candidates.selected_token() {
            Some(token) if fits(grammar, &candidates) => token,
            _ => {
                let mut candidates = context.token_data_array_ith(LAST_OUTPUT);
                candidates.apply_sampler(grammar);
                candidates
                    .data
                    .retain(|candidate| candidate.logit().is_finite());
                candidates.apply_sampler(&mut self.chain);
                candidates
                    .selected_token()
                    .ok_or_else(|| dead_end("no token fits"))?
            }
        };
        grammar
            .try_accept(token)
            .map_err(|error| dead_end(&error.to_string()))?;
        self.chain.accept(token);
        Ok(token)
    }
}

/// Whether the grammar allows the selected candidate.
fn fits(grammar: &mut LlamaSampler, candidates: &LlamaTokenDataArray) -> bool {
    let Some(selected) = candidates
        .selected
        .and_then(|index| candidates.data.get(index))
    else {
        return false;
    };
    let mut single = LlamaTokenDataArray::new(vec![*selected], false);
    single.apply_sampler(grammar);
    single
        .data
        .first()
        .is_some_and(|candidate| candidate.logit().is_finite())
}

fn dead_end(reason: &str) -> ApiError {
    ApiError::Internal(format!(
        "the output cannot continue within the requested format: {reason}"
    ))
}

/// llama.cpp's usual order: penalties first, temperature last.
fn chain(model: &LlamaModel, sampling: &Sampling) -> LlamaSampler {
    let penalties = LlamaSampler::penalties(
        model.n_vocab(),
        sampling.repeat_last_n,
        sampling.repeat_penalty,
        sampling.frequency_penalty,
        sampling.presence_penalty,
    );
    if sampling.temperature == 0.0 {
        return LlamaSampler::chain_simple([penalties, LlamaSampler::greedy()]);
    }
    LlamaSampler::chain_simple([
        penalties,
        LlamaSampler::top_k(sampling.top_k),
        LlamaSampler::top_p(sampling.top_p, 1),
        LlamaSampler::min_p(sampling.min_p, 1),
        LlamaSampler::temp(sampling.temperature),
        LlamaSampler::dist(sampling.seed),
    ])
}

/// The GBNF grammar for a request's `format`: absent, `"json"` (any object) or a JSON Schema.
pub(super) fn grammar_of(format: Option<&Value>) -> Result<Option<String>, ApiError> {
    let schema = match format {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) if text.is_empty() => return Ok(None),
        Some(Value::String(text)) if text == "json" => json!({ "type": "object" }),
        Some(schema @ Value::Object(_)) => schema.clone(),
        Some(_) => {
            return Err(ApiError::BadRequest(
                "format: use \"json\" or a JSON Schema (an object)".into(),
            ));
        }
    };
    json_schema_to_grammar(&schema.to_string())
        .map(Some)
        .map_err(|_| {
            ApiError::BadRequest(
                "format: this JSON Schema has a part that llama.cpp cannot turn into a grammar"
                    .into(),
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_become_grammars() {
        assert_eq!(grammar_of(None).unwrap(), None);
        assert_eq!(grammar_of(Some(&json!(null))).unwrap(), None);
        assert_eq!(grammar_of(Some(&json!(""))).unwrap(), None);
        for format in [
            json!("json"),
            json!({ "type": "object", "properties": { "age": { "type": "integer" } } }),
        ] {
            let grammar = grammar_of(Some(&format)).unwrap().unwrap();
            assert!(grammar.contains("root ::="), "{grammar}");
        }
    }

    #[test]
    fn other_formats_are_refused() {
        for format in [
            json!("xml"),
            json!(7),
            json!([]),
            json!({ "type": "no such type" }),
            json!({ "$ref": "#/nowhere" }),
        ] {
            let error = grammar_of(Some(&format)).unwrap_err().to_string();
            assert!(error.starts_with("format: "), "{error}");
        }
    }
}
