//! JSON with comments that remembers where everything stands.

use std::collections::BTreeSet;

use aitbc_common::agents::MAX_CONFIG_DEPTH;
use aitbc_common::job_input::InputError;
use jsonc_parser::ast;
use jsonc_parser::common::Ranged;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};
use serde_json::{Map, Number, Value};

/// JSON as every parser reads it, but for comments.
const STRICT: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_loose_object_property_names: false,
    allow_trailing_commas: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

/// Something wrong, and at which byte of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where it is: a byte of the text.
    pub offset: usize,
    /// What is wrong.
    pub problem: String,
    /// What to write instead.
    pub hint: String,
}

impl Mistake {
    /// At a byte of the text.
    pub fn at(offset: usize, problem: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            offset,
            problem: problem.into(),
            hint: hint.into(),
        }
    }
}

/// Line and column of a byte of a text, both from 1; columns count characters.
pub fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(offset)];
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

/// A document of JSON with comments.
#[derive(Debug)]
pub struct Document<'a> {
    root: ast::Value<'a>,
    value: Value,
}

impl<'a> Document<'a> {
    /// Reads it: every key once, at most [`MAX_CONFIG_DEPTH`] levels.
    pub fn parse(text: &'a str) -> Result<Self, Mistake> {
        let parsed = parse_to_ast(text, &CollectOptions::default(), &STRICT).map_err(|error| {
            let problem = error.kind().to_string();
            Mistake::at(
                error.range().start,
                format!("not valid JSON: {}", lower_first(&problem)),
                "write JSON; comments begin with // or stand between /* and */",
            )
        })?;
        let root = parsed.value.ok_or_else(|| {
            Mistake::at(
                0,
                "there is no document",
                "write for example {\"model\":\"llama3\"}",
            )
        })?;
        let value = plain(&root, 1)?;
        Ok(Self { root, value })
    }

    /// What it says, without comments.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Where the value at a path stands, or the deepest one that there is on the way to it; and the path as people write it.
    pub fn locate(&self, path: &[&str]) -> (usize, String) {
        let (mut node, mut name) = (&self.root, String::new());
        for segment in path {
            let child = match node {
                ast::Value::Object(object) => {
                    let found = object
                        .properties
                        .iter()
                        .find(|p| p.name.as_str() == *segment);
                    let dot = if name.is_empty() { "" } else { "." };
                    found.map(|p| (&p.value, format!("{dot}{segment}")))
                }
                ast::Value::Array(list) => {
                    let found = segment
                        .parse()
                        .ok()
                        .and_then(|i: usize| list.elements.get(i));
                    found.map(|element| (element, format!("[{segment}]")))
                }
                _ => None,
            };
            let Some((child, step)) = child else { break };
            (node, name) = (child, name + &step);
        }
        (node.range().start, name)
    }

    /// Where a key of the object at a path stands.
    pub fn locate_key(&self, path: &[&str], key: &str) -> Option<usize> {
        let mut node = &self.root;
        for segment in path {
            node = match node {
                ast::Value::Object(object) => {
                    let found = object
                        .properties
                        .iter()
                        .find(|p| p.name.as_str() == *segment);
                    &found?.value
                }
                ast::Value::Array(list) => list.elements.get(segment.parse::<usize>().ok()?)?,
                _ => return None,
            };
        }
        let properties = &node.as_object()?.properties;
        let found = properties.iter().find(|p| p.name.as_str() == key)?;
        Some(found.range.start)
    }

    /// The mistake that a check of the value found.
    pub fn mistake(&self, error: InputError) -> Mistake {
        let field = error.field.unwrap_or_default().replace(']', "");
        let path: Vec<&str> = field.split(['.', '[']).filter(|s| !s.is_empty()).collect();
        Mistake::at(self.locate(&path).0, error.message, error.hint)
    }
}

fn lower_first(text: &str) -> String {
    let mut rest = text.chars();
    let first = rest.next().map(|c| c.to_ascii_lowercase());
    first.into_iter().chain(rest).collect()
}

/// The value without places.
fn plain(node: &ast::Value<'_>, depth: usize) -> Result<Value, Mistake> {
    let at = node.range().start;
    let is_nested = matches!(node, ast::Value::Object(_) | ast::Value::Array(_));
    if is_nested && depth > MAX_CONFIG_DEPTH {
        return Err(Mistake::at(
            at,
            format!("more than {MAX_CONFIG_DEPTH} levels deep"),
            "no part of the config needs more than 3",
        ));
    }
    Ok(match node {
        ast::Value::NullKeyword(_) => Value::Null,
        ast::Value::BooleanLit(boolean) => Value::Bool(boolean.value),
        ast::Value::StringLit(text) => Value::String(text.value.clone().into_owned()),
        ast::Value::NumberLit(number) => {
            let read: Number = serde_json::from_str(number.value).map_err(|_| {
                let shown: String = number.value.chars().take(40).collect();
                Mistake::at(
                    at,
                    format!("{shown} is no number that fits"),
                    "write a smaller one",
                )
            })?;
            Value::Number(read)
        }
        ast::Value::Array(list) => {
            let items = list.elements.iter().map(|item| plain(item, depth + 1));
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        ast::Value::Object(object) => {
            let (mut map, mut seen) = (Map::new(), BTreeSet::new());
            for property in &object.properties {
                let key = property.name.as_str();
                if !seen.insert(key) {
                    let shown: String = key.chars().take(64).collect();
                    return Err(Mistake::at(
                        property.range.start,
                        format!("the key {shown:?} stands twice"),
                        "leave one of them out",
                    ));
                }
                map.insert(key.to_owned(), plain(&property.value, depth + 1)?);
            }
            Value::Object(map)
        }
    })
}
