//! Errors of commands: what went wrong, what to do about it, and the exit code.

mod reasons;

use std::fmt::Display;
use std::io;

use serde_json::json;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use self::reasons::explain;
use super::terminal::{escape, is_terminal_stderr, note_line};

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ExitCode {
    /// It did what was asked.
    Done = 0,
    /// The request failed.
    Failed = 1,
    /// It was called in a way that makes no sense.
    Usage = 2,
    /// The coordinator cannot be reached.
    Unreachable = 3,
    /// Authentication, wallet or funds.
    Authentication = 4,
    /// Not found, or not the caller's.
    NotFound = 5,
    /// The job ended without a result.
    NoResult = 6,
    /// Not finished yet.
    NotFinished = 7,
    /// A proof, signature or ledger check failed.
    ProofFailed = 8,
    /// Stopped by Ctrl-C.
    Interrupted = 130,
}

impl ExitCode {
    /// Its number.
    #[must_use]
    pub fn number(self) -> u8 {
        self as u8
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code.number())
    }
}

/// Why a command failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CommandError {
    /// How the command ends.
    pub exit: ExitCode,
    /// The kind of error, UPPER_SNAKE, for programs.
    pub reason: String,
    /// What went wrong, for people.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Whether the same command may succeed later.
    pub retryable: bool,
}

const CLOSED_PIPE: &str = "CLOSED_PIPE";

impl CommandError {
    /// An error without a hint that a retry does not help.
    pub fn new(exit: ExitCode, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            exit,
            reason: reason.into(),
            message: message.into(),
            hint: None,
            retryable: false,
        }
    }

    /// A request that makes no sense as it was given: exit code 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(ExitCode::Usage, "USAGE", message)
    }

    /// A file that could not be used: exit code 1.
    pub fn file(doing: impl Display, error: &io::Error) -> Self {
        Self::new(
            ExitCode::Failed,
            "FILE_ERROR",
            format!("cannot {doing}: {}", plain_io_error(error)),
        )
    }

    /// With a hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// As one that a retry may help.
    #[must_use]
    pub fn as_retryable(mut self) -> Self {
        self.retryable = true;
        self
    }

    /// Whether it is no failure at all: the reader of stdout went away.
    #[must_use]
    pub fn is_closed_pipe(&self) -> bool {
        self.reason == CLOSED_PIPE
    }

    /// The line for programs: `{"error":{"reason","message","hint","retryable","exit_code"}}`.
    #[must_use]
    pub fn to_json(&self) -> String {
        json!({"error": {
            "reason": self.reason,
            "message": self.message,
            "hint": self.hint,
            "retryable": self.retryable,
            "exit_code": self.exit.number(),
        }})
        .to_string()
    }

    /// Says it on stderr: `error: …` and `hint: …`, or one line of JSON. A closed pipe is not mentioned.
    pub fn print(&self, json: bool) {
        if self.is_closed_pipe() {
            return;
        }
        if json {
            note_line(self.to_json());
            return;
        }
        let clean = |text: &str| {
            if is_terminal_stderr() {
                escape(text).into_owned()
            } else {
                text.to_owned()
            }
        };
        note_line(format_args!("error: {}", clean(&self.message)));
        if let Some(hint) = &self.hint {
            note_line(format_args!("hint: {}", clean(hint)));
        }
    }
}

/// An I/O error without its number: `permission denied` rather than `Permission denied (os error 13)`.
#[must_use]
pub fn plain_io_error(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => "unknown error".to_owned(),
    }
}

impl From<io::Error> for CommandError {
    /// For writes to stdout; name the file otherwise ([`CommandError::file`]).
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::new(
                ExitCode::Done,
                CLOSED_PIPE,
                "the reader of the output went away",
            );
        }
        Self::new(
            ExitCode::Failed,
            "OUTPUT_ERROR",
            format!("cannot write the output: {}", plain_io_error(&error)),
        )
    }
}

impl From<Status> for CommandError {
    fn from(status: Status) -> Self {
        let reason = status
            .get_details_error_info()
            .map_or_else(|| code_reason(status.code()).to_owned(), |info| info.reason);
        let retry_delay = status
            .get_details_retry_info()
            .and_then(|info| info.retry_delay);
        let (exit, hint) = explain(&reason, status.code());
        let lost = lost_connection(&status);
        let message = match (status.message(), &lost) {
            (_, Some(cause)) => format!("the connection to the coordinator was lost: {cause}"),
            ("", None) => format!("the coordinator answered: {}", status.code().description()),
            (message, None) => message.to_owned(),
        };
        let hint = match (hint, retry_delay) {
            (hint, Some(delay)) if !delay.is_zero() && reason == "RATE_LIMITED" => Some(format!(
                "{}; try again in {:.1} s",
                hint.unwrap_or_default(),
                delay.as_secs_f64()
            )),
            (hint, _) => hint.map(ToOwned::to_owned),
        };
        let retryable = retry_delay.is_some()
            || lost.is_some()
            || matches!(
                status.code(),
                Code::Unavailable | Code::Aborted | Code::DeadlineExceeded
            );
        Self {
            exit,
            reason,
            message,
            hint,
            retryable,
        }
    }
}

/// The innermost cause, where the status was made on this side because the transport failed.
pub(super) fn lost_connection(status: &Status) -> Option<String> {
    let mut cause = std::error::Error::source(status)?;
    while let Some(next) = cause.source() {
        cause = next;
    }
    Some(match cause.downcast_ref::<io::Error>() {
        Some(error) => plain_io_error(error),
        None => cause.to_string(),
    })
}

/// The reason of a status that names none: one that a proxy or the transport made.
fn code_reason(code: Code) -> &'static str {
    match code {
        Code::Unavailable | Code::Unknown | Code::Cancelled => "UNAVAILABLE",
        Code::DeadlineExceeded => "TIMEOUT",
        Code::Unauthenticated | Code::PermissionDenied => "TOKEN_INVALID",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::ResourceExhausted | Code::OutOfRange => "TOO_LARGE",
        Code::InvalidArgument => "INVALID_FIELD",
        Code::NotFound => "NOT_FOUND",
        _ => "INTERNAL",
    }
}

#[cfg(test)]
mod tests;
