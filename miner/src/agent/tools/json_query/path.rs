//! A JSONPath, and walking a document along it.

use jsonpath_rust::parser::model::{
    Comparable, Comparison, Filter, FilterAtom, JpQuery, Segment, Selector, SingularQuery, Test,
};
use jsonpath_rust::parser::parse_json_path;
use jsonpath_rust::query::js_path_process;
use serde_json::Value;

use super::super::output::excerpt;
use super::super::{Stop, ToolError};

/// Most characters of a path.
pub(super) const MAX_PATH_CHARS: usize = 500;
/// Most brackets and parentheses that are open at once: what the parser takes grows fast with them.
const MAX_DEPTH: usize = 6;
/// Most values that a segment may select.
const MAX_SELECTED: usize = 100_000;
/// Most bytes of the parser's explanation.
const MAX_REASON_BYTES: usize = 500;

/// A JSONPath whose evaluation takes time and memory in proportion to the document's size, for each segment.
pub(super) struct Path {
    segments: Vec<Step>,
}

struct Step {
    descends: bool,
    selectors: Vec<JpQuery>,
}

impl Path {
    pub fn read(text: &str) -> Result<Self, ToolError> {
        let text = text.trim();
        if text.chars().count() > MAX_PATH_CHARS || depth(text) > MAX_DEPTH {
            return Err(ToolError::failed(format!(
                "the path is too long or nested too deep: at most {MAX_PATH_CHARS} characters and {MAX_DEPTH} levels"
            )));
        }
        let query = parse_json_path(text).map_err(|error| {
            let reason = excerpt(&error.to_string(), MAX_REASON_BYTES);
            ToolError::failed(format!("the path is no JSONPath: {reason}"))
        })?;
        let segments = query
            .segments
            .into_iter()
            .map(step)
            .collect::<Result<_, _>>()?;
        Ok(Self { segments })
    }

    /// The values that the path selects.
    pub fn select<'a>(
        &self,
        document: &'a Value,
        stop: &Stop,
    ) -> Result<Vec<&'a Value>, ToolError> {
        let mut selected = vec![document];
        for step in &self.segments {
            let mut next = Vec::new();
            for value in selected {
                if step.descends {
                    descend(step, value, &mut next, stop)?;
                } else {
                    apply(step, value, &mut next, stop)?;
                }
            }
            selected = next;
        }
        Ok(selected)
    }
}

fn step(segment: Segment) -> Result<Step, ToolError> {
    let (descends, segment) = match segment {
        Segment::Descendant(inner) => (true, *inner),
        other => (false, other),
    };
    let selectors = match segment {
        Segment::Selector(selector) => vec![selector],
        Segment::Selectors(selectors) => selectors,
        Segment::Descendant(_) => return Err(ToolError::failed("the path is no JSONPath")),
    };
    for selector in &selectors {
        if let Selector::Filter(filter) = selector
            && !is_plain(filter)
        {
            return Err(ToolError::failed(
                "a filter may compare values and paths such as @.a.b[0], and test whether they are there; functions, other \
                 paths and $ are not offered in it",
            ));
        }
    }
    let alone = |selector| JpQuery::new(vec![Segment::Selector(selector)]);
    Ok(Step {
        descends,
        selectors: selectors.into_iter().map(alone).collect(),
    })
}

/// A value and all below it, in the document's order.
fn descend<'a>(
    step: &Step,
    value: &'a Value,
    found: &mut Vec<&'a Value>,
    stop: &Stop,
) -> Result<(), ToolError> {
    let mut waiting = vec![value];
    while let Some(value) = waiting.pop() {
        apply(step, value, found, stop)?;
        match value {
            Value::Array(items) => waiting.extend(items.iter().rev()),
            Value::Object(members) => waiting.extend(members.values().rev()),
            _ => {}
        }
    }
    Ok(())
}

fn apply<'a>(
    step: &Step,
    value: &'a Value,
    found: &mut Vec<&'a Value>,
    stop: &Stop,
) -> Result<(), ToolError> {
    if !value.is_array() && !value.is_object() {
        return Ok(());
    }
    for selector in &step.selectors {
        stop.check()?;
        let selected = js_path_process(selector, value)
            .map_err(|error| ToolError::failed(excerpt(&error.to_string(), MAX_REASON_BYTES)))?;
        found.extend(selected.into_iter().map(|reference| reference.val()));
        if found.len() > MAX_SELECTED {
            return Err(ToolError::failed(format!(
                "the path selects more than {MAX_SELECTED} values; narrow it"
            )));
        }
    }
    Ok(())
}

/// Whether a filter takes the same time for every value: each is evaluated for its value alone, out of the document.
fn is_plain(filter: &Filter) -> bool {
    match filter {
        Filter::Or(filters) | Filter::And(filters) => filters.iter().all(is_plain),
        Filter::Atom(FilterAtom::Filter { expr, .. }) => is_plain(expr),
        Filter::Atom(FilterAtom::Test { expr, .. }) => match expr.as_ref() {
            Test::RelQuery(segments) => segments.iter().all(|segment| {
                matches!(
                    segment,
                    Segment::Selector(Selector::Name(_) | Selector::Index(_))
                )
            }),
            Test::AbsQuery(_) | Test::Function(_) => false,
        },
        Filter::Atom(FilterAtom::Comparison(comparison)) => {
            let (left, right) = Comparison::vals(comparison);
            [left, right].into_iter().all(|side| {
                matches!(
                    side,
                    Comparable::Literal(_) | Comparable::SingularQuery(SingularQuery::Current(_))
                )
            })
        }
    }
}

/// How many brackets, parentheses and negations are open at once, at most; those in texts count too.
fn depth(text: &str) -> usize {
    let (mut now, mut most) = (0_usize, 0);
    for c in text.chars() {
        match c {
            '(' | '[' | '{' => now += 1,
            ')' | ']' | '}' => now = now.saturating_sub(1),
            _ => {}
        }
        most = most.max(now);
    }
    most
}
