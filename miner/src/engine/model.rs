//! A loaded model: its weights, identity, chat template and context.

use super::error::{ApiError, failure};
use super::request::Message;
use super::{gguf, load_log};
use aitbc_common::hash::{Sha256Stream, hash_text};
use aitbc_common::names::canonical_model;
use aitbc_common::runtime::errors::CommandError;
use anyhow::Context;
use jiff::Timestamp;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::model::{LlamaChatMessage, LlamaChatTemplate, LlamaModel};
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::{LogOptions, send_logs_to_tracing};
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// llama.cpp's name of the template that is used where a model brings none that llama.cpp knows.
const FALLBACK_TEMPLATE: &str = "chatml";
/// Context of a model by default, in tokens, unless it was trained with less.
const DEFAULT_CONTEXT_TOKENS: u32 = 8192;

/// A model file, ready to run.
pub(super) struct Model {
    /// Name with tag.
    pub name: String,
    pub weights: LlamaModel,
    /// Size of the file in bytes.
    pub size: u64,
    pub modified_at: Timestamp,
    /// SHA-256 of the file, in hex.
    pub digest: String,
    pub details: Value,
    pub model_info: Map<String, Value>,
    /// Prompt and answer together, in tokens.
    pub context_tokens: u32,
    /// How the model's own training pools embeddings, if it was trained for them.
    pub pools_embeddings: bool,
    /// The template as the file has it; empty if it has none.
    pub template_source: String,
    template: LlamaChatTemplate,
}

/// llama.cpp, started once per process.
pub(super) fn backend() -> &'static LlamaBackend {
    static BACKEND: OnceLock<LlamaBackend> = OnceLock::new();
    BACKEND.get_or_init(|| {
        send_logs_to_tracing(LogOptions::default());
        LlamaBackend::init().expect("llama.cpp is started only here")
    })
}

impl Model {
    /// Loads a GGUF file and hashes it meanwhile. `context_tokens`: the smaller of 8,192 and what the
    /// model was trained with by default.
    pub fn load(name: &str, path: &Path, context_tokens: Option<u32>) -> anyhow::Result<Self> {
        gguf::check_file(path)?;
        let (weights, digest) = std::thread::scope(|scope| {
            let digest = scope.spawn(|| sha256(path));
            (
                load_weights(path),
                digest.join().expect("hashing does not panic"),
            )
        });
        let weights = weights?;
        let digest = digest.with_context(|| format!("cannot read {}", path.display()))?;
        let metadata = path
            .metadata()
            .with_context(|| format!("cannot read {}", path.display()))?;
        let model_info = gguf::model_info(path, &weights)?;
        let trained_tokens = weights.n_ctx_train();
        let wanted_tokens = context_tokens.unwrap_or(DEFAULT_CONTEXT_TOKENS);
        if context_tokens.is_some() && wanted_tokens > trained_tokens {
            tracing::warn!(
                model = name,
                "context of {wanted_tokens} tokens lowered to the model's {trained_tokens}"
            );
        }
        let context_tokens = wanted_tokens.min(trained_tokens);
        let (template, template_source) = chat_template(name, &weights);
        let pooling_key = format!("{}.pooling_type", gguf::architecture(&model_info));
        Ok(Self {
            name: name.to_owned(),
            size: metadata.len(),
            modified_at: metadata
                .modified()
                .ok()
                .and_then(|time| time.try_into().ok())
                .unwrap_or_default(),
            digest,
            details: gguf::details(&model_info, weights.n_params(), context_tokens),
            pools_embeddings: model_info.contains_key(&pooling_key),
            model_info,
            context_tokens,
            template,
            template_source,
            weights,
        })
    }

    /// The prompt for a chat, by the model's template, up to where the assistant's answer begins.
    pub fn render(&self, messages: &[Message]) -> Result<String, ApiError> {
        let messages: Result<Vec<_>, _> = messages
            .iter()
            .map(|message| LlamaChatMessage::new(message.role.clone(), message.content.clone()))
            .collect();
        let messages = messages
            .map_err(|_| ApiError::BadRequest("a message contains a NUL character".into()))?;
        self.weights
            .apply_chat_template(&self.template, &messages, true)
            .map_err(|error| {
                ApiError::Internal(format!("the chat template of the model failed: {error}"))
            })
    }

    /// The tokens of a prompt; one that does not fit is an error, it is never cut.
    pub fn tokenize(&self, prompt: &str, context_tokens: u32) -> Result<Vec<LlamaToken>, ApiError> {
        let tokens = self.weights.vocab().tokenize(prompt.as_bytes(), true, true);
        if tokens.len() > context_tokens as usize {
            return Err(ApiError::ContextExceeded {
                prompt: tokens.len(),
                context: context_tokens,
            });
        }
        Ok(tokens)
    }

    /// What the model can be asked for, in Ollama's words.
    pub fn capabilities(&self) -> &'static [&'static str] {
        if self.pools_embeddings {
            &["embedding"]
        } else {
            &["completion"]
        }
    }
}

fn load_weights(path: &Path) -> anyhow::Result<LlamaModel> {
    if path.to_str().is_none() {
        let message = format!("the path {} is not valid UTF-8", path.display());
        return Err(failure(
            "MODEL_FILE",
            message,
            "rename the file or its folder",
        ));
    }
    let backend = backend();
    let parameters = LlamaModelParams::default();
    let (model, log) = load_log::capture(|| LlamaModel::load_from_file(backend, path, &parameters));
    model.map_err(|error| {
        let reason = if log.is_empty() { error.to_string() } else { log };
        failure(
            "MODEL_FILE",
            format!("cannot load the model file {}: {reason}", path.display()),
            "the file may be damaged or incomplete, or need a newer llama.cpp; compare its SHA-256 with the \
             publisher's, or download it again",
        )
    })
}

/// SHA-256 of a file in hex, without a prefix, as in Ollama's list of models.
fn sha256(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut stream = Sha256Stream::default();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => {
                return Ok(hash_text(&stream.digest())
                    .trim_start_matches("sha256:")
                    .to_owned());
            }
            length => stream.update(&buffer[..length]),
        }
    }
}

/// The model's template if llama.cpp knows how to apply it, else the most common one.
fn chat_template(name: &str, weights: &LlamaModel) -> (LlamaChatTemplate, String) {
    let fallback = || LlamaChatTemplate::new(FALLBACK_TEMPLATE).expect("no NUL in the name");
    let Ok(template) = weights.chat_template(None) else {
        tracing::warn!(
            model = name,
            "the file has no chat template: {FALLBACK_TEMPLATE} is used"
        );
        return (fallback(), String::new());
    };
    let source = template.to_string().unwrap_or_default();
    let probe = LlamaChatMessage::new("user".into(), "hello".into()).expect("no NUL in the text");
    match weights.apply_chat_template(&template, &[probe], true) {
        Ok(_) => (template, source),
        Err(error) => {
            tracing::warn!(model = name, %error, "unknown chat template: {FALLBACK_TEMPLATE} is used");
            (fallback(), source)
        }
    }
}

/// A model to load, as given on the command line: `[NAME=]FILE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFile {
    /// Name with tag: `llama3` is `llama3:latest`. Default: the file's stem.
    pub name: String,
    /// A GGUF file.
    pub path: PathBuf,
}

impl std::str::FromStr for ModelFile {
    type Err = CommandError;

    fn from_str(text: &str) -> Result<Self, CommandError> {
        if let Some((name, path)) = text.split_once('=') {
            match canonical_model(name) {
                Ok(_) if path.is_empty() => {
                    return Err(CommandError::usage(format!("no file after {text}")));
                }
                Ok(name) => {
                    let path = path.into();
                    return Ok(Self { name, path });
                }
                Err(error) if !name.contains('/') => {
                    return Err(CommandError::usage(format!("{name:?}: {error}"))
                        .with_hint("write NAME=FILE; a file with = in its own name: NAME=./FILE"));
                }
                // A path with = in it.
                Err(_) => {}
            }
        }
        let path = PathBuf::from(text);
        let stem = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default();
        let name = canonical_model(stem).map_err(|error| {
            CommandError::usage(format!("{error}; give the model a name: NAME={text}"))
        })?;
        Ok(Self { name, path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<(String, String), String> {
        let file: ModelFile = text
            .parse()
            .map_err(|error: CommandError| error.to_string())?;
        Ok((file.name, file.path.display().to_string()))
    }

    #[test]
    fn models_are_named_by_hand_or_by_their_file() {
        for (text, name, path) in [
            ("llama3=/m/x.gguf", "llama3:latest", "/m/x.gguf"),
            ("llama3:8b=x.gguf", "llama3:8b", "x.gguf"),
            ("hub/llama3=x.gguf", "hub/llama3:latest", "x.gguf"),
            (
                "/m/SmolLM2-Q4_1.gguf",
                "SmolLM2-Q4_1:latest",
                "/m/SmolLM2-Q4_1.gguf",
            ),
            ("/m/a=b.d/x.gguf", "x:latest", "/m/a=b.d/x.gguf"),
        ] {
            assert_eq!(parse(text), Ok((name.into(), path.into())));
        }
    }

    #[test]
    fn names_that_cannot_be_used_are_refused() {
        for (text, expected) in [
            ("llama3=", "no file"),
            ("/m/my model.gguf", "NAME="),
            ("", "NAME="),
            ("=x y.gguf", "\"\": "),
            ("a b=x.gguf", "\"a b\": "),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
