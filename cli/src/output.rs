//! Output: results as JSON or text, values as both sides read them.

pub mod agent;
pub mod job;
pub mod json;
pub mod miner;
pub mod offer;
pub mod pricing;
pub mod record;
pub mod rental;
pub mod table;

use std::borrow::Cow;
use std::fmt::Display;

use aitbc_common::runtime::errors::CommandError;
use aitbc_common::runtime::terminal::{escape, is_terminal_stderr, is_terminal_stdout, print_line};
use serde_json::Value;

/// Prints a result to stdout: one JSON document, or text for people.
pub fn result(json: bool, document: &Value, text: impl Display) -> Result<(), CommandError> {
    if json {
        print_line(document)
    } else {
        print_line(clean(&text.to_string()))
    }
}

/// Text for stdout: on a terminal, what peers wrote cannot control it.
pub fn clean(text: &str) -> Cow<'_, str> {
    if is_terminal_stdout() {
        escape(text)
    } else {
        Cow::Borrowed(text)
    }
}

/// Text for stderr: on a terminal, what peers wrote cannot control it.
pub fn clean_err(text: &str) -> Cow<'_, str> {
    if is_terminal_stderr() {
        escape(text)
    } else {
        Cow::Borrowed(text)
    }
}

/// An id without its middle, for narrow places: `job_01m8…ekf4`.
pub fn short_id(id: &str) -> String {
    let Some((prefix, suffix)) = id.split_once('_') else {
        return id.to_owned();
    };
    match (
        suffix.get(..4),
        suffix.len().checked_sub(4).and_then(|at| suffix.get(at..)),
    ) {
        (Some(first), Some(last)) if suffix.len() > 8 => format!("{prefix}_{first}…{last}"),
        _ => id.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_shortened_in_the_middle() {
        assert_eq!(short_id("job_01m83xj880emq8k9w39qsaekf4"), "job_01m8…ekf4");
        assert_eq!(short_id("job_12345678"), "job_12345678");
        assert_eq!(short_id("job_ééééé"), "job_éé…éé");
        assert_eq!(short_id("plain"), "plain");
    }
}
