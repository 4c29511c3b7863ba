//! What a tool of a server says about itself: looked through once, then kept.

use serde_json::Value;

use super::super::toolbox::validator;

/// Most bytes of a tool's schema.
const MAX_SCHEMA_BYTES: usize = 64 * 1024;
/// Deepest nesting of a schema.
const MAX_SCHEMA_DEPTH: usize = 32;
/// Most bytes of a tool's description.
const MAX_DESCRIPTION_BYTES: usize = 4 * 1024;
/// Most characters of a tool's name.
const MAX_NAME_CHARS: usize = 64;
/// Keywords that name another schema.
const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];

/// A tool as its server described it at first.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pin {
    pub name: String,
    pub description: String,
    pub schema: Value,
}

impl Pin {
    pub fn of(tool: &rmcp::model::Tool) -> Self {
        Self {
            name: tool.name.to_string(),
            description: tool.description.as_deref().unwrap_or_default().to_owned(),
            schema: Value::Object(tool.input_schema.as_ref().clone()),
        }
    }

    /// Why this tool is not offered, if so.
    pub fn problem(&self) -> Option<String> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if self.name.is_empty() || self.name.len() > MAX_NAME_CHARS || !self.name.chars().all(fits)
        {
            return Some("its name is not 1 to 64 letters, digits, -, _ or .".to_owned());
        }
        if self.description.len() > MAX_DESCRIPTION_BYTES {
            return Some("its description is larger than 4 KiB".to_owned());
        }
        if self.schema.to_string().len() > MAX_SCHEMA_BYTES {
            return Some("its schema is larger than 64 KiB".to_owned());
        }
        if let Some(problem) = look_through(&self.schema, MAX_SCHEMA_DEPTH) {
            return Some(problem);
        }
        let problem = validator(&self.schema).err()?;
        Some(format!("its schema cannot be used: {problem}"))
    }
}

fn look_through(schema: &Value, depth: usize) -> Option<String> {
    let below = |value| match depth {
        0 => Some("its schema is nested deeper than 32 levels".to_owned()),
        _ => look_through(value, depth - 1),
    };
    match schema {
        Value::Array(items) => items.iter().find_map(below),
        Value::Object(members) => members.iter().find_map(|(key, value)| match value {
            Value::String(target)
                if REFERENCES.contains(&key.as_str()) && !target.starts_with('#') =>
            {
                Some("its schema refers to another document".to_owned())
            }
            _ => below(value),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn problem(schema: Value) -> Option<String> {
        Pin {
            name: "tool".to_owned(),
            description: String::new(),
            schema,
        }
        .problem()
    }

    #[test]
    fn schemas_within_bounds_are_taken() {
        assert_eq!(problem(json!({"type": "object"})), None);
        let local = json!({"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"type": "string"}}});
        assert_eq!(problem(local), None);
    }

    #[test]
    fn others_are_refused() {
        let deep = (0..40).fold(json!({}), |inner, _| json!({"not": inner}));
        for (schema, expected) in [
            (
                json!({"properties": {"a": {"$ref": "http://127.0.0.1:1/schema"}}}),
                "another document",
            ),
            (
                json!({"allOf": [{"$ref": "file:///etc/passwd"}]}),
                "another document",
            ),
            (json!({"$dynamicRef": "other.json"}), "another document"),
            (deep, "deeper than 32"),
            (
                json!({"description": "x".repeat(70_000)}),
                "larger than 64 KiB",
            ),
            (json!({"type": "nonsense"}), "cannot be used"),
            (
                json!({"$schema": "http://127.0.0.1:1/meta"}),
                "cannot be used",
            ),
            (json!({"$ref": "#/nowhere"}), "cannot be used"),
            (
                json!({"pattern": "(a{1000}){1000}{1000}"}),
                "cannot be used",
            ),
        ] {
            let told = problem(schema.clone()).unwrap_or_default();
            assert!(told.contains(expected), "{schema:.100}: {told}");
        }
        for name in ["", "a b", "a/b", "ü", &"x".repeat(65)] {
            let pin = Pin {
                name: name.to_owned(),
                description: String::new(),
                schema: json!({}),
            };
            assert!(pin.problem().is_some(), "{name}");
        }
    }
}
