//! Requests of Ollama's API and what they mean for a generation.

use super::error::ApiError;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Most stop sequences in one request.
const MAX_STOP_SEQUENCES: usize = 64;
/// llama.cpp takes this seed as "choose one at random".
const RANDOM_SEED: u32 = u32::MAX;

/// `POST /api/generate`.
#[derive(Debug, Deserialize)]
pub(super) struct GenerateRequest {
    pub model: String,
    #[serde(default)]
    pub prompt: String,
    #[serde(default)]
    pub system: String,
    #[serde(default)]
    pub suffix: String,
    #[serde(default)]
    pub template: String,
    #[serde(default)]
    pub context: Option<Vec<Value>>,
    #[serde(default)]
    pub images: Option<Vec<Value>>,
    #[serde(default)]
    pub raw: bool,
    #[serde(flatten)]
    pub common: CommonFields,
}

/// `POST /api/chat`.
#[derive(Debug, Deserialize)]
pub(super) struct ChatRequest {
    pub model: String,
    #[serde(default)]
    pub messages: Vec<Message>,
    #[serde(default)]
    pub tools: Option<Vec<Value>>,
    #[serde(flatten)]
    pub common: CommonFields,
}

/// What `/api/generate` and `/api/chat` share. `keep_alive` is accepted and means nothing: models stay loaded.
#[derive(Debug, Default, Deserialize)]
pub(super) struct CommonFields {
    #[serde(default)]
    pub stream: Option<bool>,
    #[serde(default)]
    pub format: Option<Value>,
    #[serde(default)]
    pub think: Option<Value>,
    #[serde(default)]
    pub options: Option<Options>,
}

impl CommonFields {
    /// Ollama streams unless told otherwise.
    pub fn streams(&self) -> bool {
        self.stream.unwrap_or(true)
    }

    pub fn asks_to_think(&self) -> bool {
        !matches!(self.think, None | Some(Value::Null | Value::Bool(false)))
    }
}

/// One message of a chat.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Message {
    pub role: String,
    #[serde(default)]
    pub content: String,
    #[serde(default)]
    pub images: Option<Vec<Value>>,
    #[serde(default)]
    pub tool_calls: Option<Vec<Value>>,
}

/// `POST /api/embed`.
#[derive(Debug, Deserialize)]
pub(super) struct EmbedRequest {
    pub model: String,
    #[serde(default)]
    pub input: TextOrList,
    #[serde(default)]
    pub dimensions: Option<u32>,
    #[serde(default)]
    pub options: Option<Options>,
}

/// `POST /api/show`; older clients send `name`.
#[derive(Debug, Deserialize)]
pub(super) struct ShowRequest {
    #[serde(default)]
    pub model: String,
    #[serde(default)]
    pub name: String,
}

/// A string or a list of strings.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a string or a list of strings")]
pub(super) enum TextOrList {
    Text(String),
    List(Vec<String>),
}

impl Default for TextOrList {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl TextOrList {
    pub fn into_list(self) -> Vec<String> {
        match self {
            Self::Text(text) => vec![text],
            Self::List(list) => list,
        }
    }
}

/// `options` of a request. Options of Ollama that concern loading a model are ignored, as the models are loaded.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Options {
    pub temperature: Option<f32>,
    pub top_p: Option<f32>,
    #[serde(deserialize_with = "whole_number")]
    pub top_k: Option<i64>,
    pub min_p: Option<f32>,
    #[serde(deserialize_with = "whole_number")]
    pub seed: Option<i64>,
    #[serde(deserialize_with = "whole_number")]
    pub num_predict: Option<i64>,
    #[serde(deserialize_with = "whole_number")]
    pub num_ctx: Option<i64>,
    #[serde(deserialize_with = "whole_number")]
    pub repeat_last_n: Option<i64>,
    pub repeat_penalty: Option<f32>,
    pub presence_penalty: Option<f32>,
    pub frequency_penalty: Option<f32>,
    pub stop: Option<TextOrList>,
}

/// Clients without integers send `42.0`.
fn whole_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let Some(number) = Option::<serde_json::Number>::deserialize(deserializer)? else {
        return Ok(None);
    };
    let whole = number.as_i64().or_else(|| {
        let float = number.as_f64()?;
        (float.fract() == 0.0 && float.abs() < 9e15).then_some(float as i64)
    });
    whole
        .map(Some)
        .ok_or_else(|| serde::de::Error::custom(format!("expected a whole number, found {number}")))
}

/// How the next token is chosen, with Ollama's defaults.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sampling {
    /// 0 takes the most likely token. Default 0.8.
    pub temperature: f32,
    /// Default 0.9.
    pub top_p: f32,
    /// Default 40; 0 considers every token.
    pub top_k: i32,
    /// Default 0.
    pub min_p: f32,
    /// Default: random.
    pub seed: u32,
    /// Tokens that penalties look back at. Default 64.
    pub repeat_last_n: i32,
    /// Default 1.1.
    pub repeat_penalty: f32,
    /// Default 0.
    pub presence_penalty: f32,
    /// Default 0.
    pub frequency_penalty: f32,
}

/// A request's options, checked.
#[derive(Debug, PartialEq)]
pub(super) struct Limits {
    pub sampling: Sampling,
    /// Prompt and answer together, in tokens: the engine's context or the smaller `num_ctx`.
    pub context_tokens: u32,
    /// Most tokens to generate; `None` until the context is full.
    pub predict_tokens: Option<u32>,
    pub stop: Vec<String>,
}

impl Options {
    /// Checks every option against its range; `context_tokens` is what the engine has.
    pub fn check(self, context_tokens: u32) -> Result<Limits, ApiError> {
        let sampling = Sampling {
            temperature: in_range("temperature", self.temperature, 0.8, 0.0, 100.0)?,
            top_p: in_range("top_p", self.top_p, 0.9, 0.0, 1.0)?,
            top_k: i32::try_from(self.top_k.unwrap_or(40).max(0)).unwrap_or(i32::MAX),
            min_p: in_range("min_p", self.min_p, 0.0, 0.0, 1.0)?,
            seed: seed(self.seed),
            repeat_last_n: self.look_back(context_tokens)?,
            repeat_penalty: in_range("repeat_penalty", self.repeat_penalty, 1.1, 0.01, 100.0)?,
            presence_penalty: in_range(
                "presence_penalty",
                self.presence_penalty,
                0.0,
                -100.0,
                100.0,
            )?,
            frequency_penalty: in_range(
                "frequency_penalty",
                self.frequency_penalty,
                0.0,
                -100.0,
                100.0,
            )?,
        };
        let stop: Vec<String> = self.stop.map(TextOrList::into_list).unwrap_or_default();
        if stop.len() > MAX_STOP_SEQUENCES {
            return Err(ApiError::BadRequest(format!(
                "option \"stop\": at most {MAX_STOP_SEQUENCES} sequences"
            )));
        }
        let context_tokens = match self.num_ctx {
            None => context_tokens,
            Some(wanted) if wanted > 0 => {
                context_tokens.min(u32::try_from(wanted).unwrap_or(u32::MAX))
            }
            Some(wanted) => return Err(out_of_range("num_ctx", wanted, "1 or more")),
        };
        let predict_tokens = match self.num_predict {
            None | Some(-2..=0) => None,
            Some(wanted) if wanted > 0 => Some(u32::try_from(wanted).unwrap_or(u32::MAX)),
            Some(wanted) => {
                return Err(out_of_range("num_predict", wanted, "-1 (no limit) or more"));
            }
        };
        Ok(Limits {
            sampling,
            context_tokens,
            predict_tokens,
            stop,
        })
    }

    fn look_back(&self, context_tokens: u32) -> Result<i32, ApiError> {
        let context = i32::try_from(context_tokens).unwrap_or(i32::MAX);
        match self.repeat_last_n.unwrap_or(64) {
            -1 => Ok(context),
            wanted if wanted >= 0 => Ok(i32::try_from(wanted).unwrap_or(i32::MAX).min(context)),
            wanted => Err(out_of_range(
                "repeat_last_n",
                wanted,
                "-1 (whole context) or more",
            )),
        }
    }
}

/// A negative seed means a random one, as in Ollama; larger ones keep their low 32 bits.
fn seed(wanted: Option<i64>) -> u32 {
    match wanted.and_then(|seed| u64::try_from(seed).ok()) {
        None => RANDOM_SEED,
        Some(seed) => match (seed & u64::from(u32::MAX)) as u32 {
            RANDOM_SEED => 0,
            seed => seed,
        },
    }
}

fn in_range(
    name: &str,
    wanted: Option<f32>,
    default: f32,
    low: f32,
    high: f32,
) -> Result<f32, ApiError> {
    let value = wanted.unwrap_or(default);
    if (low..=high).contains(&value) {
        return Ok(value);
    }
    Err(out_of_range(name, value, &format!("{low} to {high}")))
}

fn out_of_range(name: &str, value: impl std::fmt::Display, range: &str) -> ApiError {
    ApiError::BadRequest(format!("option \"{name}\" is {value}; use {range}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(options: Value) -> Result<Limits, String> {
        let options: Options =
            serde_json::from_value(options).map_err(|error| error.to_string())?;
        options.check(8192).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_ollamas() {
        let limits = check(json!({})).unwrap();
        assert_eq!(limits.context_tokens, 8192);
        assert_eq!(limits.predict_tokens, None);
        assert_eq!(limits.sampling.temperature, 0.8);
        assert_eq!(limits.sampling.top_k, 40);
        assert_eq!(limits.sampling.seed, RANDOM_SEED);
        assert!(limits.stop.is_empty());
    }

    #[test]
    fn numbers_and_stops_come_in_several_forms() {
        let limits = check(json!({
            "temperature": 1, "seed": 42.0, "top_k": -1, "num_predict": 16, "num_ctx": 512, "stop": "END", "num_gpu": 4
        }));
        let limits = limits.unwrap();
        assert_eq!((limits.sampling.seed, limits.sampling.top_k), (42, 0));
        assert_eq!(
            (limits.predict_tokens, limits.context_tokens),
            (Some(16), 512)
        );
        assert_eq!(limits.stop, ["END"]);
        assert_eq!(
            check(json!({ "stop": ["a", "b"] })).unwrap().stop,
            ["a", "b"]
        );
    }

    #[test]
    fn the_context_is_never_larger_than_the_engines() {
        assert_eq!(
            check(json!({ "num_ctx": 1_000_000 }))
                .unwrap()
                .context_tokens,
            8192
        );
    }

    #[test]
    fn a_given_seed_is_never_the_random_one() {
        assert_eq!(seed(Some(i64::from(u32::MAX))), 0);
        assert_eq!(seed(Some(-1)), RANDOM_SEED);
        assert_eq!(seed(Some(7)), 7);
    }

    #[test]
    fn bad_values_are_named() {
        for (options, expected) in [
            (json!({ "temperature": -1 }), "temperature"),
            (json!({ "top_p": 1.5 }), "top_p"),
            (json!({ "num_ctx": 0 }), "num_ctx"),
            (json!({ "num_predict": -7 }), "num_predict"),
            (json!({ "repeat_penalty": 0 }), "repeat_penalty"),
            (json!({ "seed": 1.5 }), "whole number"),
            (json!({ "stop": 5 }), "list of strings"),
            (json!({ "stop": vec!["x"; 65] }), "at most 64"),
        ] {
            let error = check(options).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn thinking_is_asked_for_by_anything_but_false() {
        for (think, expected) in [
            (json!(null), false),
            (json!(false), false),
            (json!(true), true),
            (json!("high"), true),
        ] {
            let request: ChatRequest =
                serde_json::from_value(json!({ "model": "m", "think": think })).unwrap();
            assert_eq!(request.common.asks_to_think(), expected);
        }
    }
}
