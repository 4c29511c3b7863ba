//! A job's input document: where it comes from, and whether it is one.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use aitbc_common::job_input::{InputError, JobInput, JobType, make_auditable};
use aitbc_common::limits::INPUT_BYTES;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::runtime::terminal::{is_terminal_stdin, note_line};
use serde_json::json;

/// What the user gave.
#[derive(Debug, Clone)]
pub enum Source {
    /// `--data`: the document itself, `@FILE`, or `-` for stdin.
    Data(OsString),
    /// `--prompt`: a text that becomes a document.
    Prompt(OsString),
}

/// Reads the document and checks it as the coordinator will; its bytes are passed on unchanged, but for what audits need where
/// it lacks that.
pub fn read(job_type: JobType, source: &Source, auditable: bool) -> Result<Vec<u8>, CommandError> {
    let bytes = match source {
        Source::Prompt(text) => document_of(job_type, text)?,
        Source::Data(data) => read_data(data)?,
    };
    check(job_type, bytes, auditable)
}

/// Checks a document as the coordinator will.
pub fn check(job_type: JobType, bytes: Vec<u8>, auditable: bool) -> Result<Vec<u8>, CommandError> {
    JobInput::parse(job_type, &bytes).map_err(|error| refused(&error))?;
    if auditable {
        return make_auditable(job_type, bytes).map_err(|error| refused(&error));
    }
    Ok(bytes)
}

/// An input document that is none.
pub fn refused(error: &InputError) -> CommandError {
    CommandError::new(ExitCode::Usage, "INVALID_INPUT", error.message.clone())
        .with_hint(error.hint.clone())
}

fn document_of(job_type: JobType, text: &OsStr) -> Result<Vec<u8>, CommandError> {
    let text = text.to_str().ok_or_else(|| {
        CommandError::new(ExitCode::Usage, "INVALID_INPUT", "the prompt is not UTF-8")
            .with_hint("give UTF-8 text, or a document with --data @FILE")
    })?;
    Ok(match job_type {
        JobType::Embedding => json!({"input": text}).to_string().into_bytes(),
        JobType::Inference | JobType::Agent => JobInput::from_prompt(text),
    })
}

fn read_data(data: &OsStr) -> Result<Vec<u8>, CommandError> {
    let bytes = data.as_bytes();
    if bytes == b"-" {
        if is_terminal_stdin() {
            note_line("reading the input document from the terminal; end it with Ctrl-D");
        }
        return read_bounded(io::stdin().lock())
            .map_err(|error| CommandError::file("read stdin", &error))?
            .ok_or_else(too_large);
    }
    let Some(path) = bytes.strip_prefix(b"@") else {
        return Ok(bytes.to_vec());
    };
    let path = Path::new(OsStr::from_bytes(path));
    File::open(path)
        .and_then(read_bounded)
        .map_err(|error| {
            CommandError::file(format_args!("read {}", path.display()), &error)
                .with_hint("--data @FILE reads the input document from FILE")
        })?
        .ok_or_else(too_large)
}

/// All of it, or `None` where there is more than a job may have.
fn read_bounded(reader: impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    reader
        .take(INPUT_BYTES as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok((bytes.len() <= INPUT_BYTES).then_some(bytes))
}

fn too_large() -> CommandError {
    let message = format!("the input has more than {INPUT_BYTES} bytes (3 MiB)");
    CommandError::new(ExitCode::Usage, "TOO_LARGE", message)
        .with_hint("shorten the prompt, or split the work into several jobs")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(text: &str) -> Result<Vec<u8>, CommandError> {
        read(JobType::Inference, &Source::Data(text.into()), false)
    }

    #[test]
    fn documents_are_passed_on_unchanged() {
        let text = "{ \"prompt\" : \"Hello\"}\n";
        assert_eq!(data(text).unwrap(), text.as_bytes());
        let path = std::env::temp_dir().join(format!("aitbc-input-{}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        let read = data(&format!("@{}", path.display()));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(read.unwrap(), text.as_bytes());
    }

    #[test]
    fn a_prompt_becomes_a_document_of_its_type() {
        let source = Source::Prompt("a \"b\"".into());
        let inference = read(JobType::Inference, &source, false).unwrap();
        assert_eq!(inference, br#"{"prompt":"a \"b\""}"#);
        let embedding = read(JobType::Embedding, &source, false).unwrap();
        assert_eq!(embedding, br#"{"input":"a \"b\""}"#);
    }

    #[test]
    fn what_is_no_document_is_refused_with_a_hint() {
        for bad in ["", "{", "{\"promt\":\"x\"}", "{\"prompt\":\"\"}", "[1]"] {
            let error = data(bad).unwrap_err();
            assert_eq!(
                (error.exit, error.reason.as_str()),
                (ExitCode::Usage, "INVALID_INPUT"),
                "{bad}"
            );
            assert!(error.hint.is_some(), "{bad}");
        }
        let binary = Source::Data(OsString::from(OsStr::from_bytes(b"{\xff")));
        assert!(
            read(JobType::Inference, &binary, false)
                .unwrap_err()
                .message
                .contains("UTF-8")
        );
        let binary = Source::Prompt(OsString::from(OsStr::from_bytes(b"\xff")));
        assert!(
            read(JobType::Inference, &binary, false)
                .unwrap_err()
                .message
                .contains("UTF-8")
        );
        let missing = data("@/nonexistent/file").unwrap_err();
        assert_eq!(missing.exit, ExitCode::Failed);
        assert!(missing.message.contains("/nonexistent/file"));
    }

    #[test]
    fn one_byte_too_many_is_refused_before_the_rest_is_read() {
        assert_eq!(
            read_bounded(&vec![b'x'; INPUT_BYTES][..])
                .unwrap()
                .unwrap()
                .len(),
            INPUT_BYTES
        );
        assert_eq!(read_bounded(io::repeat(b'x')).unwrap(), None);
    }
}
