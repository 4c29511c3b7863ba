//! From a request to work for a slot: everything that can be refused is refused here, before it waits.

use super::EngineState;
use super::error::ApiError;
use super::generation::Generation;
use super::model::Model;
use super::request::{ChatRequest, CommonFields, EmbedRequest, GenerateRequest, Message};
use super::sampler::grammar_of;
use super::slots::{Work, embed_context_tokens};
use serde_json::Value;

/// Work for a slot, and the place of its model.
pub(super) struct Prepared {
    pub model: usize,
    /// `None`: the request has no prompt; it only asks for the model to be loaded, which it is.
    pub work: Option<Work>,
    /// Tokens of the prompt, or of all texts to embed.
    pub prompt_tokens: usize,
}

impl EngineState {
    pub fn prepare_generate(&self, request: GenerateRequest) -> Result<Prepared, ApiError> {
        let index = self.find(&request.model)?;
        let model = &self.models[index];
        if has_items(&request.images) {
            return Err(unsupported(model, "images"));
        }
        for (name, given) in [
            ("suffix", !request.suffix.is_empty()),
            ("template", !request.template.is_empty()),
            ("context", has_items(&request.context)),
        ] {
            if given {
                return Err(ApiError::BadRequest(format!(
                    "\"{name}\" is not supported; use /api/chat or \"raw\""
                )));
            }
        }
        let (prompt, system) = (request.prompt, request.system);
        if prompt.is_empty() {
            return Ok(Prepared {
                model: index,
                work: None,
                prompt_tokens: 0,
            });
        }
        prepare(model, index, request.common, || {
            if request.raw {
                return Ok(prompt);
            }
            let mut messages = Vec::new();
            if !system.is_empty() {
                messages.push(message("system", system));
            }
            messages.push(message("user", prompt));
            model.render(&messages)
        })
    }

    pub fn prepare_chat(&self, request: ChatRequest) -> Result<Prepared, ApiError> {
        let index = self.find(&request.model)?;
        let model = &self.models[index];
        if has_items(&request.tools) {
            return Err(unsupported(model, "tools"));
        }
        for message in &request.messages {
            check_message(model, message)?;
        }
        if request.messages.is_empty() {
            return Ok(Prepared {
                model: index,
                work: None,
                prompt_tokens: 0,
            });
        }
        prepare(model, index, request.common, || {
            model.render(&request.messages)
        })
    }

    pub fn prepare_embed(&self, request: EmbedRequest) -> Result<Prepared, ApiError> {
        let index = self.find(&request.model)?;
        let model = &self.models[index];
        if request.dimensions == Some(0) {
            return Err(ApiError::BadRequest(
                "\"dimensions\" is 0; use 1 or more".into(),
            ));
        }
        let limits = request
            .options
            .unwrap_or_default()
            .check(embed_context_tokens(model))?;
        let mut texts = Vec::new();
        for text in request.input.into_list() {
            let tokens = model.tokenize(&text, limits.context_tokens)?;
            if tokens.is_empty() {
                return Err(ApiError::BadRequest("\"input\" has an empty text".into()));
            }
            texts.push(tokens);
        }
        let prompt_tokens = texts.iter().map(Vec::len).sum();
        let dimensions = request.dimensions.map(|dimensions| dimensions as usize);
        let work = (!texts.is_empty()).then_some(Work::Embed { texts, dimensions });
        Ok(Prepared {
            model: index,
            work,
            prompt_tokens,
        })
    }
}

fn prepare(
    model: &Model,
    index: usize,
    common: CommonFields,
    prompt: impl FnOnce() -> Result<String, ApiError>,
) -> Result<Prepared, ApiError> {
    if model.pools_embeddings {
        return Err(unsupported(model, "generation, only embeddings"));
    }
    if common.asks_to_think() {
        return Err(unsupported(model, "thinking"));
    }
    let limits = common
        .options
        .unwrap_or_default()
        .check(model.context_tokens)?;
    let grammar = grammar_of(common.format.as_ref())?;
    let prompt = model.tokenize(&prompt()?, limits.context_tokens)?;
    if prompt.is_empty() {
        return Err(ApiError::BadRequest("the prompt has no tokens".into()));
    }
    let prompt_tokens = prompt.len();
    let work = Work::Generate(Generation {
        prompt,
        limits,
        grammar,
    });
    Ok(Prepared {
        model: index,
        work: Some(work),
        prompt_tokens,
    })
}

fn check_message(model: &Model, message: &Message) -> Result<(), ApiError> {
    if has_items(&message.images) {
        return Err(unsupported(model, "images"));
    }
    if has_items(&message.tool_calls) || message.role == "tool" {
        return Err(unsupported(model, "tools"));
    }
    if !matches!(message.role.as_str(), "system" | "user" | "assistant") {
        let role = &message.role;
        return Err(ApiError::BadRequest(format!(
            "role {role:?} is unknown; use \"system\", \"user\" or \"assistant\""
        )));
    }
    Ok(())
}

fn message(role: &str, content: String) -> Message {
    Message {
        role: role.to_owned(),
        content,
        images: None,
        tool_calls: None,
    }
}

fn has_items(list: &Option<Vec<Value>>) -> bool {
    list.as_ref().is_some_and(|list| !list.is_empty())
}

fn unsupported(model: &Model, what: &str) -> ApiError {
    ApiError::BadRequest(format!("\"{}\" does not support {what}", model.name))
}
