//! Errors of commands: what went wrong, what to do about it, and the exit code.

use std::fmt::Display;
use std::io;

use serde_json::json;
use tonic::{Code, Status};
use tonic_types::StatusExt;

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
        let message = match (status.message(), lost_connection(&status)) {
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
fn lost_connection(status: &Status) -> Option<String> {
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

/// Exit code and hint for a reason that the coordinator gave.
fn explain(reason: &str, code: Code) -> (ExitCode, Option<&'static str>) {
    use ExitCode::{
        Authentication, Failed, NoResult, NotFinished, NotFound, ProofFailed, Unreachable, Usage,
    };
    match reason {
        "INVALID_FIELD" => (Usage, Some("the command's --help shows what it takes")),
        "INVALID_INPUT" => (
            Usage,
            Some(
                "the job's input takes \"prompt\" or \"messages\"; see: aitbc client submit --help",
            ),
        ),
        "TOO_LARGE" => (
            Usage,
            Some("job input may have 3 MiB, output 16 MiB, one message 4 MiB"),
        ),
        "INVALID_PAGE_TOKEN" => (Usage, Some("start again without --page-token")),
        "JOB_NOT_FOUND" => (NotFound, Some("list your jobs with: aitbc client list")),
        "MINER_NOT_FOUND" => (NotFound, Some("list the miners with: aitbc miner list")),
        "MINER_NOT_REGISTERED" => (
            Failed,
            Some(
                "register first: aitbc miner register --gpus \"1x RTX 4090\" --price-per-hour 0.5",
            ),
        ),
        "NOT_FOUND" => (NotFound, None),
        "RESULT_DELETED" => (NotFound, Some("submit the job again to get a new result")),
        "REQUEST_ID_REUSED" => (
            Failed,
            Some("give another --request-id, or repeat the request exactly"),
        ),
        "WRONG_STATUS" => (
            Failed,
            Some("see where the job stands with: aitbc client status JOB_ID"),
        ),
        "STALE_ATTEMPT" => (
            Failed,
            Some("the job went to another attempt; ask for a new one with: aitbc miner poll"),
        ),
        "NOT_FINISHED" => (
            NotFinished,
            Some("wait for it with: aitbc client result JOB_ID --wait"),
        ),
        "NO_RESULT" => (
            NoResult,
            Some(
                "see why with: aitbc client status JOB_ID; try again with: aitbc client retry JOB_ID",
            ),
        ),
        "NO_MATCHING_MINER" => (
            Failed,
            Some("see which filter removed the miners: aitbc client submit … --explain"),
        ),
        "UNKNOWN_MODEL" => (Failed, Some("see what can be asked for with: aitbc models")),
        "TOKEN_INVALID" => (
            Authentication,
            Some("check which identity you use with: aitbc identity show"),
        ),
        "TOKEN_EXPIRED" => (Authentication, Some("make a new token with: aitbc token")),
        "CLOCK_SKEW" => (
            Authentication,
            Some("set this machine's clock (or the coordinator's); they may differ by 60 s"),
        ),
        "WRONG_CHAIN" => (
            Authentication,
            Some("the coordinator serves another network now; run the command again"),
        ),
        "WRONG_SCOPE" => (
            Authentication,
            Some(
                "make a token with the scope that the call needs: aitbc token --scope client|miner",
            ),
        ),
        "SESSION_PROOF_INVALID" => (
            Authentication,
            Some("check which identity the miner uses: aitbc miner status"),
        ),
        "SESSION_EXISTS" => (
            Failed,
            Some("stop the other miner, or take its place with --takeover"),
        ),
        "RECEIPT_INVALID" => (
            ProofFailed,
            Some("poll the job again and complete it with the same --miner"),
        ),
        "RATE_LIMITED" => (Failed, Some("send less at once")),
        "STORAGE_FULL" => (
            Failed,
            Some("free space on the coordinator's disk; reading goes on meanwhile"),
        ),
        "UNAVAILABLE" | "TIMEOUT" => (
            Unreachable,
            Some("try again in a moment; see whether the coordinator runs"),
        ),
        "WATCHER_TOO_SLOW" => (
            Failed,
            Some("follow it again with: aitbc client status JOB_ID --watch"),
        ),
        "UNIMPLEMENTED" => (
            Failed,
            Some("this coordinator does not offer it; a newer one may"),
        ),
        "NO_FREE_SLOT" => (
            Failed,
            Some(
                "finish a job first: aitbc miner complete JOB_ID, or aitbc miner fail JOB_ID --return",
            ),
        ),
        "MINER_PAUSED" => (Failed, Some("let it work again with: aitbc miner resume")),
        "MINER_BUSY" => (
            Failed,
            Some(
                "stop the miner (Ctrl-C drains it), or hand its jobs back: aitbc miner fail JOB_ID --return",
            ),
        ),
        "SESSION_PROTOCOL" => (
            Failed,
            Some("the versions of miner and coordinator may not fit together"),
        ),
        _ if code == Code::NotFound => (NotFound, None),
        _ if matches!(code, Code::Unauthenticated | Code::PermissionDenied) => {
            (Authentication, None)
        }
        _ => (Failed, None),
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    fn status(code: Code, reason: &str) -> Status {
        let details = ErrorDetails::with_error_info(
            reason,
            "aitbc.v1",
            [("job_id".to_owned(), "x".to_owned())],
        );
        Status::with_error_details(code, "what happened", details)
    }

    #[test]
    fn reasons_decide_exit_code_and_hint() {
        for (code, reason, exit) in [
            (Code::InvalidArgument, "INVALID_FIELD", 2),
            (Code::Unavailable, "UNAVAILABLE", 3),
            (Code::Unauthenticated, "CLOCK_SKEW", 4),
            (Code::NotFound, "JOB_NOT_FOUND", 5),
            (Code::FailedPrecondition, "NO_RESULT", 6),
            (Code::FailedPrecondition, "NOT_FINISHED", 7),
            (Code::InvalidArgument, "RECEIPT_INVALID", 8),
            (Code::ResourceExhausted, "RATE_LIMITED", 1),
        ] {
            let error = CommandError::from(status(code, reason));
            assert_eq!((error.exit.number(), error.reason.as_str()), (exit, reason));
            assert_eq!(error.message, "what happened");
            assert!(error.hint.is_some(), "{reason}");
        }
    }

    #[test]
    fn every_reason_of_the_contract_that_is_an_error_has_a_hint() {
        use aitbc_proto::v1::ErrorReason;
        let warnings = ["UNSPECIFIED", "GPU_NOT_DETECTED", "UNKNOWN_GPU", "INTERNAL"];
        for number in 0.. {
            let Ok(reason) = ErrorReason::try_from(number) else {
                break;
            };
            let name = reason.as_str_name().trim_start_matches("ERROR_REASON_");
            let hint = explain(name, Code::Internal).1;
            assert_eq!(hint.is_none(), warnings.contains(&name), "{name}");
        }
    }

    #[test]
    fn a_status_without_details_still_gets_an_exit_code() {
        assert_eq!(
            CommandError::from(Status::unavailable("gone")).exit,
            ExitCode::Unreachable
        );
        assert_eq!(
            CommandError::from(Status::unauthenticated("")).exit,
            ExitCode::Authentication
        );
        assert!(CommandError::from(Status::unavailable("gone")).retryable);
    }

    #[test]
    fn json_has_all_five_fields_on_one_line() {
        let error = CommandError::usage("no\nsuch").with_hint("h");
        let text = error.to_json();
        assert!(!text.contains('\n'));
        assert_eq!(
            text,
            r#"{"error":{"reason":"USAGE","message":"no\nsuch","hint":"h","retryable":false,"exit_code":2}}"#
        );
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let error = CommandError::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(error.is_closed_pipe());
        assert_eq!(error.exit, ExitCode::Done);
    }
}
