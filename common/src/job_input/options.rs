//! Options of an inference job: how a model samples, and how long it stays loaded.

use serde_json::{Map, Value};

use super::InputError;
use super::check::{integer, join, known_keys, number, object, wrong_type};

/// Most stop texts.
const MAX_STOPS: usize = 16;
/// Longest time that a job may ask to keep a model loaded, in seconds.
const MAX_KEEP_ALIVE_SECONDS: f64 = 3600.0;

pub(super) fn check_keep_alive(keep_alive: Value) -> Result<Value, InputError> {
    let hint = "seconds from 0 to 3600, or a duration such as \"5m\" or \"1h\"";
    let seconds = match &keep_alive {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => duration_seconds(text),
        other => return Err(wrong_type("keep_alive", other, "a number or a text", hint)),
    };
    match seconds {
        Some(seconds) if (0.0..=MAX_KEEP_ALIVE_SECONDS).contains(&seconds) => Ok(keep_alive),
        Some(_) => Err(InputError::at("keep_alive", "is out of range", hint)),
        None => Err(InputError::at("keep_alive", "is not a duration", hint)),
    }
}

/// A sum of numbers with units, as `1h30m` or `500ms`.
fn duration_seconds(text: &str) -> Option<f64> {
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit_length = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        total += number
            * match &rest[..unit_length] {
                "ms" => 0.001,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
        rest = &rest[unit_length..];
    }
    (!text.is_empty()).then_some(total)
}

/// Reads model options: known names, each in its range; a single `stop` becomes a list.
pub fn check_options(options: Value) -> Result<Map<String, Value>, InputError> {
    const KNOWN: [&str; 11] = [
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "seed",
        "num_predict",
        "stop",
        "num_ctx",
        "repeat_penalty",
        "presence_penalty",
        "frequency_penalty",
    ];
    let mut options = object("options", options, r#"for example {"temperature":0.2}"#)?;
    known_keys("options", &options, &KNOWN)?;
    for (key, value) in &options {
        let path = join("options", key);
        match key.as_str() {
            "temperature" => number(&path, value, 0.0, 5.0)?,
            "top_p" | "min_p" => number(&path, value, 0.0, 1.0)?,
            "top_k" => integer(&path, value, 0, 1_000_000)?,
            "seed" => integer(&path, value, i64::from(i32::MIN), i64::from(u32::MAX))?,
            "num_predict" => integer(&path, value, -2, 1_000_000)?,
            "num_ctx" => integer(&path, value, 1, 16_777_216)?,
            "repeat_penalty" => number(&path, value, 0.0, 10.0)?,
            "presence_penalty" | "frequency_penalty" => number(&path, value, -2.0, 2.0)?,
            _ => check_stop(&path, value)?,
        }
    }
    if let Some(stop) = options.get_mut("stop").filter(|stop| stop.is_string()) {
        *stop = Value::Array(vec![stop.take()]);
    }
    Ok(options)
}

fn check_stop(path: &str, stop: &Value) -> Result<(), InputError> {
    let hint = "a text or a list of at most 16 texts of at most 256 bytes";
    let fits = |text: &str| (1..=256).contains(&text.len());
    match stop {
        Value::String(text) if fits(text) => Ok(()),
        Value::Array(texts) if (1..=MAX_STOPS).contains(&texts.len()) => {
            match texts
                .iter()
                .position(|text| !text.as_str().is_some_and(fits))
            {
                None => Ok(()),
                Some(index) => Err(InputError::at(
                    format!("{path}[{index}]"),
                    "is no such text",
                    hint,
                )),
            }
        }
        _ => Err(InputError::at(path, "is not understood", hint)),
    }
}
