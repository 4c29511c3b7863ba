//! Checks that several parts of an input document share.

use serde_json::{Map, Value};

use super::InputError;
use crate::nearest::nearest;

/// `path.key`, or `key` at the top.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// Refuses keys that are not in `known`, with the nearest one that is.
pub(super) fn known_keys(
    path: &str,
    object: &Map<String, Value>,
    known: &[&str],
) -> Result<(), InputError> {
    match object.keys().find(|key| !known.contains(&key.as_str())) {
        None => Ok(()),
        Some(unknown) => {
            let hint = match nearest(unknown, known.iter().copied()) {
                Some(near) => format!("did you mean {}?", join(path, near)),
                None => format!("allowed here: {}", known.join(", ")),
            };
            let shown: String = unknown.chars().take(64).collect();
            Err(InputError::at(join(path, &shown), "unknown field", hint))
        }
    }
}

/// What JSON calls the type of a value.
#[must_use]
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

pub(super) fn wrong_type(path: &str, value: &Value, wanted: &str, hint: &str) -> InputError {
    InputError::at(
        path,
        &format!("is {}, must be {wanted}", type_name(value)),
        hint,
    )
}

pub(super) fn text(path: &str, value: Value, hint: &str) -> Result<String, InputError> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(wrong_type(path, &other, "a text", hint)),
    }
}

pub(super) fn not_empty(path: &str, text: String, hint: &str) -> Result<String, InputError> {
    if text.is_empty() {
        Err(InputError::at(path, "is empty", hint))
    } else {
        Ok(text)
    }
}

/// A list of at least one and at most `most` items.
pub(super) fn list(
    path: &str,
    value: Value,
    most: usize,
    hint: &str,
) -> Result<Vec<Value>, InputError> {
    match value {
        Value::Array(items) if items.is_empty() => {
            Err(InputError::at(path, "is an empty list", hint))
        }
        Value::Array(items) if items.len() > most => Err(InputError::at(
            path,
            &format!("has {} items, at most {most} are allowed", items.len()),
            hint,
        )),
        Value::Array(items) => Ok(items),
        other => Err(wrong_type(path, &other, "a list", hint)),
    }
}

pub(super) fn object(
    path: &str,
    value: Value,
    hint: &str,
) -> Result<Map<String, Value>, InputError> {
    match value {
        Value::Object(object) => Ok(object),
        other => Err(wrong_type(path, &other, "an object", hint)),
    }
}

/// A number between two bounds, both included.
pub(super) fn number(path: &str, value: &Value, least: f64, most: f64) -> Result<(), InputError> {
    let hint = format!("from {least} to {most}");
    match value.as_f64() {
        None => Err(wrong_type(path, value, "a number", &hint)),
        Some(number) if (least..=most).contains(&number) => Ok(()),
        Some(number) => Err(InputError::at(
            path,
            &format!("{number} is out of range"),
            hint,
        )),
    }
}

/// A whole number between two bounds, both included.
pub(super) fn integer(path: &str, value: &Value, least: i64, most: i64) -> Result<(), InputError> {
    let hint = format!("a whole number from {least} to {most}");
    match value {
        Value::Number(number) => match number.as_i64() {
            Some(integer) if (least..=most).contains(&integer) => Ok(()),
            _ => Err(InputError::at(
                path,
                &format!("{number} is out of range or not whole"),
                hint,
            )),
        },
        other => Err(wrong_type(path, other, "a whole number", &hint)),
    }
}
