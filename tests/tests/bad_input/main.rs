//! What must be refused: each with a clear error, a hint, a fitting gRPC status and exit code; nothing panics.

mod agents;
mod command_line;
mod deliveries;
mod sessions;
mod tokens;

use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1::ErrorReason;
use tonic::{Code, Status};

/// Checks the status of a refusal and the reason in its details.
#[track_caller]
pub fn refused<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code, reason: ErrorReason) {
    let status = answer.expect_err("this should be refused");
    let error =
        ApiError::from_status(&status).unwrap_or_else(|| panic!("no details in {status:?}"));
    assert_eq!((status.code(), error.reason), (code, reason), "{status:?}");
    assert!(!status.message().is_empty());
}
