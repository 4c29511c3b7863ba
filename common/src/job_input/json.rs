//! Strict JSON: a key may stand only once, and an error shows its line and column.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::InputError;
use super::check::type_name;

/// Reads one JSON object that fills the whole text.
pub(super) fn parse_object(text: &str, example: &str) -> Result<Map<String, Value>, InputError> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Strict
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value));
    match value {
        Ok(Value::Object(document)) => Ok(document),
        Ok(other) => Err(InputError::document(
            format!("the input is {}, not a JSON object", type_name(&other)),
            format!("write for example {example}"),
        )),
        Err(error) => Err(InputError::document(
            describe(text, &error),
            format!("write for example {example}"),
        )),
    }
}

/// The parser counts bytes; people count characters.
fn describe(text: &str, error: &serde_json::Error) -> String {
    let (line, byte_column) = (error.line().max(1), error.column());
    let in_line = text.split('\n').nth(line - 1).unwrap_or_default();
    let column = in_line
        .char_indices()
        .take_while(|(at, _)| *at < byte_column.saturating_sub(1))
        .count()
        + 1;
    let shown = error.to_string();
    let suffix = format!(" at line {} column {byte_column}", error.line());
    let problem = shown.strip_suffix(&suffix).unwrap_or(&shown);
    format!("the input is not valid JSON: {problem}, at line {line}, column {column}")
}

/// Deserializes a [`Value`], refusing an object that has a key twice.
struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Strict)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if object.contains_key(&key) {
                return Err(A::Error::custom(format_args!(
                    "the key {key:?} stands twice"
                )));
            }
            object.insert(key, entries.next_value_seed(Strict)?);
        }
        Ok(Value::Object(object))
    }
}
