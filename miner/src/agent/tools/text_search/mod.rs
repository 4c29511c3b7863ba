//! `text_search`: lines of the attached files that have a text or match a pattern.

use regex::bytes::{Regex, RegexBuilder};
use serde::Deserialize;
use serde_json::json;
use std::io::{BufRead, BufReader, Read};

use super::built_in::BuiltIn;
use super::{AttachedFile, Labels, Stop, ToolError, files};

/// Most characters of a pattern.
const MAX_PATTERN_CHARS: usize = 1000;
/// Most bytes of a compiled pattern: what a byte of text costs at worst grows with it.
const MAX_COMPILED_BYTES: usize = 256 * 1024;
/// Longer lines are searched in pieces of this many bytes.
const MAX_LINE_BYTES: usize = 64 * 1024;
/// Most lines that are shown.
const MAX_SHOWN: usize = 200;
/// Lines that are shown unless the call says otherwise.
const DEFAULT_SHOWN: usize = 50;
/// Bytes of a line that are shown, around what was found.
const SHOWN_BYTES: usize = 300;
/// A file with a zero byte among the first of this many is no text.
const LOOK_BYTES: usize = 8 * 1024;

#[derive(Deserialize)]
struct Arguments {
    pattern: String,
    #[serde(default)]
    regex: bool,
    #[serde(default)]
    ignore_case: bool,
    file: Option<String>,
    most: Option<usize>,
}

pub(super) fn tool(attached: &[AttachedFile]) -> BuiltIn {
    let attached = attached.to_vec();
    BuiltIn::new(
        "text_search",
        format!(
            "Finds lines in the attached text files, by a literal text or a regular expression (no look-around or \
             back-references), and shows them as FILE:LINE: TEXT. Files: {}",
            files::listed(attached.iter())
        ),
        json!({
            "type": "object",
            "properties": {
                "pattern": {"type": "string", "minLength": 1, "maxLength": MAX_PATTERN_CHARS},
                "regex": {"type": "boolean", "description": "whether the pattern is a regular expression; false if absent"},
                "ignore_case": {"type": "boolean", "description": "false if absent"},
                "file": {"type": "string", "description": "one file alone; all if absent"},
                "most": {"type": "integer", "minimum": 1, "maximum": MAX_SHOWN, "description": "lines to show; 50 if absent"},
            },
            "required": ["pattern"],
            "additionalProperties": false,
        }),
        Labels {
            egress: false,
            reads_untrusted: true,
        },
        move |arguments: Arguments, stop: &Stop| search(&attached, &arguments, stop),
    )
}

/// What was found so far.
#[derive(Default)]
struct Found {
    shown: Vec<String>,
    lines: usize,
    files: usize,
    no_text: Vec<String>,
}

fn search(
    attached: &[AttachedFile],
    arguments: &Arguments,
    stop: &Stop,
) -> Result<String, ToolError> {
    let pattern = compile(arguments)?;
    let chosen: Vec<&AttachedFile> = match &arguments.file {
        Some(name) => vec![files::find(attached, name)?],
        None => attached.iter().collect(),
    };
    let most = arguments.most.unwrap_or(DEFAULT_SHOWN);
    let mut found = Found::default();
    for file in chosen {
        search_file(file, &pattern, most, &mut found, stop)?;
    }
    Ok(found.told())
}

fn compile(arguments: &Arguments) -> Result<Regex, ToolError> {
    let pattern = if arguments.regex {
        arguments.pattern.clone()
    } else {
        regex::escape(&arguments.pattern)
    };
    RegexBuilder::new(&pattern)
        .case_insensitive(arguments.ignore_case)
        .size_limit(MAX_COMPILED_BYTES)
        .dfa_size_limit(MAX_COMPILED_BYTES)
        .build()
        .map_err(|error| ToolError::failed(format!("the pattern cannot be used: {error}")))
}

fn search_file(
    file: &AttachedFile,
    pattern: &Regex,
    most: usize,
    found: &mut Found,
    stop: &Stop,
) -> Result<(), ToolError> {
    let failed = |error: std::io::Error| files::unreadable(file, &error);
    let mut reader = BufReader::with_capacity(LOOK_BYTES, files::open(file)?);
    if reader.fill_buf().map_err(failed)?.contains(&0) {
        found.no_text.push(file.name.clone());
        return Ok(());
    }
    let before = found.lines;
    let (mut line, mut number, mut told) = (Vec::new(), 1, 0);
    loop {
        stop.check()?;
        line.clear();
        let read = (&mut reader)
            .take(MAX_LINE_BYTES as u64)
            .read_until(b'\n', &mut line);
        if read.map_err(failed)? == 0 {
            break;
        }
        let ends = line.ends_with(b"\n");
        let text = line.trim_ascii_end();
        // A line in pieces counts once.
        if told != number
            && let Some(place) = pattern.find(text)
        {
            told = number;
            found.lines += 1;
            if found.shown.len() < most {
                let text = around(text, place.start(), place.end());
                found.shown.push(format!("{}:{number}: {text}", file.name));
            }
        }
        number += usize::from(ends);
    }
    found.files += usize::from(found.lines > before);
    Ok(())
}

/// The part of a line that is shown.
fn around(line: &[u8], start: usize, end: usize) -> String {
    if line.len() <= SHOWN_BYTES {
        return String::from_utf8_lossy(line).into_owned();
    }
    let room = SHOWN_BYTES.saturating_sub(end - start) / 2;
    let from = start.saturating_sub(room);
    let to = (from + SHOWN_BYTES).min(line.len());
    let mark = |cut: bool| if cut { "…" } else { "" };
    format!(
        "{}{}{}",
        mark(from > 0),
        String::from_utf8_lossy(&line[from..to]),
        mark(to < line.len())
    )
}

impl Found {
    fn told(mut self) -> String {
        let mut lines = vec![match (self.lines, self.files) {
            (0, _) => "no line matches".to_owned(),
            (1, _) => "1 line matches".to_owned(),
            (lines, 1) => format!("{lines} lines match"),
            (lines, files) => format!("{lines} lines match in {files} files"),
        }];
        let more = self.lines - self.shown.len();
        lines.append(&mut self.shown);
        if more > 0 {
            lines.push(format!("[{more} more are not shown]"));
        }
        if !self.no_text.is_empty() {
            lines.push(format!(
                "[not searched, as they are no text: {}]",
                self.no_text.join(", ")
            ));
        }
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests;
