//! `json_query`: RFC 9535 JSONPath over an attached JSON file or a document in the call.
//!
//! JSONPath because it is a standard that models know, and because it only selects: numbers come out as they stand in the
//! document. The parser and the filters are a library's; segments are walked here, as only so a query can be stopped and
//! kept from multiplying its results.

mod path;

use serde::Deserialize;
use serde_json::{Value, json};
use std::io::{Read, Write};

use super::built_in::BuiltIn;
use super::{AttachedFile, Labels, MAX_OUTPUT_BYTES, Stop, ToolError, files};

/// Most bytes of a document: what an agent may attach.
const MAX_DOCUMENT_BYTES: u64 = 32 << 20;
/// Most values in a document. One takes up to about 200 bytes of memory while its query runs.
const MAX_VALUES: usize = 1_000_000;
/// Values between two looks at the clock.
const LOOK_EVERY: usize = 1 << 16;

#[derive(Deserialize)]
struct Arguments {
    path: String,
    file: Option<String>,
    document: Option<Value>,
}

pub(super) fn tool(attached: &[AttachedFile]) -> BuiltIn {
    let attached: Vec<AttachedFile> = attached
        .iter()
        .filter(|file| file.name.to_lowercase().ends_with(".json"))
        .cloned()
        .collect();
    BuiltIn::new(
        "json_query",
        format!(
            "Selects values of a JSON document by a JSONPath (RFC 9535), such as $.orders[?@.total > 100].id or $..name; one \
             result a line. Filters compare values and singular paths from @. Files: {}",
            files::listed(attached.iter())
        ),
        json!({
            "type": "object",
            "properties": {
                "path": {"type": "string", "minLength": 1, "maxLength": path::MAX_PATH_CHARS, "description": "begins with $"},
                "file": {"type": "string", "description": "an attached .json file; may be absent if there is but one"},
                "document": {"description": "in place of a file: the document itself, or a string that holds it"},
            },
            "required": ["path"],
            "additionalProperties": false,
        }),
        Labels {
            egress: false,
            reads_untrusted: true,
        },
        move |arguments: Arguments, stop: &Stop| query(&attached, arguments, stop),
    )
}

fn query(
    attached: &[AttachedFile],
    arguments: Arguments,
    stop: &Stop,
) -> Result<String, ToolError> {
    let path = path::Path::read(&arguments.path)?;
    let document = match (arguments.file, arguments.document) {
        (None, Some(Value::String(text))) => parse("the document", text.as_bytes(), stop)?,
        (None, Some(document)) => document,
        (Some(name), None) => load(files::find(attached, &name)?, stop)?,
        (None, None) if attached.len() == 1 => load(&attached[0], stop)?,
        (None, None) => return Err(ToolError::failed("name a file, or give a document")),
        (Some(_), Some(_)) => {
            return Err(ToolError::failed(
                "name a file or give a document, not both",
            ));
        }
    };
    let results = path.select(&document, stop)?;
    Ok(told(&results))
}

fn load(file: &AttachedFile, stop: &Stop) -> Result<Value, ToolError> {
    let mut bytes = Vec::new();
    files::open(file)?
        .take(MAX_DOCUMENT_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| files::unreadable(file, &error))?;
    if bytes.len() as u64 > MAX_DOCUMENT_BYTES {
        return Err(ToolError::failed(format!(
            "{} is larger than 32 MiB",
            file.name
        )));
    }
    parse(&file.name, &bytes, stop)
}

fn parse(name: &str, bytes: &[u8], stop: &Stop) -> Result<Value, ToolError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if at_most_values(bytes, stop)? > MAX_VALUES {
        return Err(ToolError::failed(format!(
            "{name} has more than {MAX_VALUES} values; an array of objects that large can be queried with the tool sql"
        )));
    }
    serde_json::from_slice(bytes)
        .map_err(|error| ToolError::failed(format!("{name} is no JSON: {error}")))
}

/// An upper bound of a document's values, without parsing it: each but the first stands behind one of these marks.
fn at_most_values(bytes: &[u8], stop: &Stop) -> Result<usize, ToolError> {
    let (mut count, mut in_text, mut escaped) = (1, false, false);
    for chunk in bytes.chunks(LOOK_EVERY) {
        stop.check()?;
        for byte in chunk {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if in_text => escaped = true,
                b'"' => in_text = !in_text,
                b',' | b'[' | b'{' if !in_text => count += 1,
                _ => {}
            }
        }
    }
    Ok(count)
}

/// The results, one a line; more than a model may see is not written out.
fn told(results: &[&Value]) -> String {
    let count = match results.len() {
        0 => return "no results".to_owned(),
        1 => "1 result".to_owned(),
        count => format!("{count} results"),
    };
    let mut output = Bounded(count.into_bytes());
    for result in results {
        // An error says that the output is full.
        let written = output
            .write_all(b"\n")
            .and_then(|()| serde_json::to_writer(&mut output, result).map_err(Into::into));
        if written.is_err() {
            break;
        }
    }
    String::from_utf8_lossy(&output.0).into_owned()
}

/// Takes a little more than a model may see.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let room = (MAX_OUTPUT_BYTES + 64).saturating_sub(self.0.len());
        self.0.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if room < bytes.len() {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
