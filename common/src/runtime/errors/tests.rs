use tonic_types::ErrorDetails;

use super::*;

fn status(code: Code, reason: &str) -> Status {
    let details =
        ErrorDetails::with_error_info(reason, "aitbc.v1", [("job_id".to_owned(), "x".to_owned())]);
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
    let warnings = ["UNSPECIFIED", "GPU_NOT_DETECTED", "UNKNOWN_GPU"];
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
