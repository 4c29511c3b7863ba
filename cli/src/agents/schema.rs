//! The rules of `agent_config.json`, from its published schema, as errors that people understand.

use std::sync::LazyLock;

use aitbc_common::agents::CONFIG_SCHEMA;
use aitbc_common::job_input::type_name;
use aitbc_common::nearest::nearest;
use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, ValidationError, Validator};
use serde_json::Value;

use super::document::{Document, Mistake};

static SCHEMA: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(CONFIG_SCHEMA).expect("a test reads the schema"));

static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| {
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .build(&SCHEMA)
        .expect("a test builds the schema")
});

/// Checks a document; of several mistakes the first in the text is told, and a missing key last: it may be misspelt.
pub fn check(document: &Document<'_>) -> Result<(), Mistake> {
    VALIDATOR
        .iter_errors(document.value())
        .map(|error| {
            let is_missing = matches!(error.kind(), ValidationErrorKind::Required { .. });
            (is_missing, explain(document, &error))
        })
        .min_by_key(|(is_missing, mistake)| (*is_missing, mistake.offset))
        .map_or(Ok(()), |(_, mistake)| Err(mistake))
}

fn explain(document: &Document<'_>, error: &ValidationError<'_>) -> Mistake {
    let segments: Vec<String> = error
        .instance_path()
        .as_str()
        .split('/')
        .skip(1)
        .map(|segment| segment.replace("~1", "/").replace("~0", "~"))
        .collect();
    let path: Vec<&str> = segments.iter().map(String::as_str).collect();
    let (offset, place) = document.locate(&path);
    let rule = rule_of(error);
    let description = rule["description"].as_str().unwrap_or_default();
    let named = |field: &str, problem: &str| match field {
        "" => problem.to_owned(),
        field => format!("{field}: {problem}"),
    };
    let child = |key: &str| match place.as_str() {
        "" => key.to_owned(),
        place => format!("{place}.{key}"),
    };
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            let found = unexpected
                .iter()
                .filter_map(|key| document.locate_key(&path, key).map(|at| (at, key)))
                .min();
            let (at, key) = found.map_or((offset, ""), |(at, key)| (at, key.as_str()));
            let shown: String = key.chars().take(64).collect();
            Mistake::at(
                at,
                named(&child(&shown), "unknown key"),
                allowed(rule, key, child),
            )
        }
        ValidationErrorKind::Required { property } => {
            let key = property.as_str().unwrap_or_default();
            let hint = rule["properties"][key]["description"].as_str();
            Mistake::at(
                offset,
                format!("{} is missing", child(key)),
                hint.unwrap_or(description),
            )
        }
        ValidationErrorKind::Pattern { .. } => {
            let given = error.instance().as_str().unwrap_or_default();
            let examples = rule["examples"].as_array().into_iter().flatten();
            let hint = match nearest(given, examples.filter_map(Value::as_str)) {
                Some(near) => format!("did you mean {near:?}?"),
                None => description.to_owned(),
            };
            Mistake::at(offset, named(&place, &problem(error, rule)), hint)
        }
        _ => Mistake::at(offset, named(&place, &problem(error, rule)), description),
    }
}

/// The part of the schema that a document broke.
fn rule_of(error: &ValidationError<'_>) -> &'static Value {
    let path = error.schema_path().as_str();
    let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    SCHEMA.pointer(parent).unwrap_or(&SCHEMA)
}

fn allowed(rule: &Value, key: &str, child: impl Fn(&str) -> String) -> String {
    let known = || {
        rule["properties"]
            .as_object()
            .into_iter()
            .flat_map(|p| p.keys().map(String::as_str))
    };
    match nearest(key, known()) {
        Some(near) => format!("did you mean {}?", child(near)),
        None => format!("allowed here: {}", known().collect::<Vec<_>>().join(", ")),
    }
}

fn problem(error: &ValidationError<'_>, rule: &Value) -> String {
    let instance = error.instance();
    let shown: String = instance.to_string().chars().take(64).collect();
    match error.kind() {
        ValidationErrorKind::Type { .. } => {
            format!(
                "is {}, must be {}",
                type_name(instance),
                types(&rule["type"])
            )
        }
        ValidationErrorKind::Minimum { .. } | ValidationErrorKind::Maximum { .. } => {
            format!("{shown} is out of range")
        }
        ValidationErrorKind::Pattern { .. } => format!("{shown} is not allowed"),
        ValidationErrorKind::MinLength { .. } | ValidationErrorKind::MinItems { .. } => {
            "is empty".to_owned()
        }
        ValidationErrorKind::MaxLength { limit } => {
            let length = instance.as_str().map_or(0, |text| text.chars().count());
            format!("has {length} characters, at most {limit} are allowed")
        }
        ValidationErrorKind::MaxItems { limit } => {
            let length = instance.as_array().map_or(0, Vec::len);
            format!("has {length} items, at most {limit} are allowed")
        }
        ValidationErrorKind::UniqueItems => "has the same item twice".to_owned(),
        _ => error.masked().to_string(),
    }
}

/// The types that a schema allows, as people call them.
fn types(allowed: &Value) -> String {
    let one = |name: &Value| match name.as_str() {
        Some("object") => "an object",
        Some("array") => "a list",
        Some("string") => "a text",
        Some("integer") => "a whole number",
        Some("number") => "a number",
        Some("boolean") => "true or false",
        _ => "null",
    };
    match allowed {
        Value::Array(several) => several.iter().map(one).collect::<Vec<_>>().join(" or "),
        single => one(single).to_owned(),
    }
}
