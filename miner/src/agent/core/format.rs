//! The JSON Schema that the steps of a model without tool calling follow, within what llama.cpp turns into a grammar.

use serde_json::{Map, Value, json};

use super::ToolSpec;

/// With more tools, or a longer schema, the arguments are any object: the tool checks them in any case.
const MAX_ALTERNATIVES: usize = 16;
const MAX_BYTES: usize = 32 << 10;
/// Deeper parts are any value.
const MAX_DEPTH: usize = 8;
/// More properties of one object, or values of an enum, become any of their type.
const MAX_ITEMS: usize = 64;

/// A thought, then a call or an answer; without `may_call` an answer.
pub(super) fn of_steps(tools: &[ToolSpec], may_call: bool) -> Value {
    let answer = step(json!({"answer": {"type": "string", "minLength": 1}}));
    if !may_call {
        return answer;
    }
    let exact = tools.iter().map(|tool| {
        let arguments = constrained(&tool.parameters, 0);
        let is_object = arguments["type"] == "object";
        let arguments = if is_object { arguments } else { any_object() };
        step(json!({"tool": {"const": tool.name}, "arguments": arguments}))
    });
    if tools.len() <= MAX_ALTERNATIVES {
        let all: Vec<Value> = exact.chain([answer.clone()]).collect();
        let schema = json!({"anyOf": all});
        if schema.to_string().len() <= MAX_BYTES {
            return schema;
        }
    }
    let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
    let any = step(json!({"tool": {"enum": names}, "arguments": any_object()}));
    json!({"anyOf": [any, answer]})
}

fn any_object() -> Value {
    json!({"type": "object"})
}

/// The thought comes first: what is written later depends on it.
fn step(then: Value) -> Value {
    let mut properties = Map::new();
    properties.insert("thought".to_owned(), json!({"type": "string"}));
    if let Value::Object(then) = then {
        properties.extend(then);
    }
    let required: Vec<&String> = properties.keys().collect();
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

/// The part of a schema that is followed: no references, patterns, formats and bounds, which allows more, and of an object
/// with named properties no others.
fn constrained(schema: &Value, depth: usize) -> Value {
    let any = json!({});
    let Some(schema) = schema.as_object().filter(|_| depth < MAX_DEPTH) else {
        return any;
    };
    if schema.contains_key("$ref") || schema.contains_key("allOf") {
        return any;
    }
    if let Some(value) = schema.get("const") {
        return json!({"const": value});
    }
    if let Some(values) = list(schema.get("enum")) {
        return json!({"enum": values});
    }
    if let Some(parts) = list(schema.get("anyOf").or_else(|| schema.get("oneOf"))) {
        let parts: Vec<Value> = parts
            .iter()
            .map(|part| constrained(part, depth + 1))
            .collect();
        return json!({"anyOf": parts});
    }
    match schema.get("type") {
        Some(Value::String(name)) => of_type(name, schema, depth),
        Some(Value::Array(names)) if !names.is_empty() => {
            let parts: Vec<Value> = names
                .iter()
                .map(|name| of_type(name.as_str().unwrap_or_default(), schema, depth))
                .collect();
            json!({"anyOf": parts})
        }
        _ if schema.contains_key("properties") => of_type("object", schema, depth),
        _ => any,
    }
}

fn list(value: Option<&Value>) -> Option<&Vec<Value>> {
    value?
        .as_array()
        .filter(|items| (1..=MAX_ITEMS).contains(&items.len()))
}

fn of_type(name: &str, schema: &Map<String, Value>, depth: usize) -> Value {
    match name {
        "object" => {
            let properties = schema.get("properties").and_then(Value::as_object);
            let Some(properties) = properties.filter(|all| (1..=MAX_ITEMS).contains(&all.len()))
            else {
                return any_object();
            };
            let required = schema.get("required").and_then(Value::as_array);
            let required: Vec<&str> = required
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .filter(|name| properties.contains_key(*name))
                .collect();
            let properties: Map<String, Value> = properties
                .iter()
                .map(|(name, part)| (name.clone(), constrained(part, depth + 1)))
                .collect();
            json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
        }
        "array" => match schema.get("items") {
            Some(items) => json!({"type": "array", "items": constrained(items, depth + 1)}),
            None => json!({"type": "array"}),
        },
        "string" | "integer" | "number" | "boolean" | "null" => json!({"type": name}),
        _ => json!({}),
    }
}
