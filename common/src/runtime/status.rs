//! Errors of the services: `google.rpc.Status` with exactly one `ErrorInfo`, `BadRequest` for fields and `RetryInfo`
//! where a retry helps.

use std::collections::HashMap;
use std::time::Duration;

use aitbc_proto::v1::{ErrorReason, RequestError};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// The domain of every `ErrorInfo`.
pub const DOMAIN: &str = "aitbc.v1";

/// A refusal, as it travels.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// The gRPC status.
    pub code: Code,
    /// Its kind.
    pub reason: ErrorReason,
    /// For people: what was wrong and, where it helps, what to do.
    pub message: String,
    /// Offending fields with what is wrong about each.
    pub fields: Vec<(String, String)>,
    /// When a retry may help.
    pub retry_after: Option<Duration>,
}

impl ApiError {
    /// A refusal of this kind; its gRPC status follows from the reason.
    #[must_use]
    pub fn new(reason: ErrorReason, message: impl Into<String>) -> Self {
        Self {
            code: code_of(reason),
            reason,
            message: message.into(),
            fields: Vec::new(),
            retry_after: None,
        }
    }

    /// A malformed field.
    #[must_use]
    pub fn field(name: &str, problem: impl Into<String>) -> Self {
        let problem = problem.into();
        let mut error = Self::new(ErrorReason::InvalidField, format!("{name}: {problem}"));
        error.fields.push((name.into(), problem));
        error
    }

    /// The same, to be tried again after `delay`.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// The reason without its prefix, such as `JOB_NOT_FOUND`.
    #[must_use]
    pub fn reason_name(&self) -> &'static str {
        reason_name(self.reason)
    }

    /// Reads a status that carries our details; `None` where it does not.
    #[must_use]
    pub fn from_status(status: &Status) -> Option<Self> {
        let details = status.get_error_details();
        let info = details.error_info().filter(|info| info.domain == DOMAIN)?;
        let reason = ErrorReason::from_str_name(&format!("ERROR_REASON_{}", info.reason))?;
        let violations = details
            .bad_request()
            .map(|b| b.field_violations.as_slice())
            .unwrap_or_default();
        Some(Self {
            code: status.code(),
            reason,
            message: status.message().to_owned(),
            fields: violations
                .iter()
                .map(|v| (v.field.clone(), v.description.clone()))
                .collect(),
            retry_after: details.retry_info().and_then(|r| r.retry_delay),
        })
    }

    /// As part of a response that carries several results.
    #[must_use]
    pub fn to_request_error(&self) -> RequestError {
        RequestError {
            code: self.code as i32,
            reason: self.reason.into(),
            message: self.message.clone(),
            retry_after: self.retry_after.and_then(|d| d.try_into().ok()),
        }
    }
}

impl From<&RequestError> for ApiError {
    fn from(error: &RequestError) -> Self {
        Self {
            code: Code::from_i32(error.code),
            reason: error.reason(),
            message: error.message.clone(),
            fields: Vec::new(),
            retry_after: error.retry_after.and_then(|d| d.try_into().ok()),
        }
    }
}

impl From<ApiError> for Status {
    fn from(error: ApiError) -> Self {
        let mut details = ErrorDetails::new();
        details.set_error_info(error.reason_name(), DOMAIN, HashMap::new());
        for (field, problem) in &error.fields {
            details.add_bad_request_violation(field, problem);
        }
        if let Some(delay) = error.retry_after {
            details.set_retry_info(Some(delay));
        }
        Status::with_error_details(error.code, error.message, details)
    }
}

/// A reason's name without its prefix, such as `JOB_NOT_FOUND`.
#[must_use]
pub fn reason_name(reason: ErrorReason) -> &'static str {
    reason.as_str_name().trim_start_matches("ERROR_REASON_")
}

/// A constant's name as words: `NO_SUCH_FILE` is `no such file`.
#[must_use]
pub fn words(name: &str) -> String {
    name.to_lowercase().replace('_', " ")
}

/// The gRPC status of a reason.
#[must_use]
pub fn code_of(reason: ErrorReason) -> Code {
    use ErrorReason as R;
    match reason {
        R::InvalidField
        | R::InvalidInput
        | R::TooLarge
        | R::SessionProtocol
        | R::ReceiptInvalid
        | R::InvalidPageToken
        | R::TransactionInvalid => Code::InvalidArgument,
        R::JobNotFound
        | R::MinerNotFound
        | R::ResultDeleted
        | R::RecordNotFound
        | R::ListingNotFound
        | R::AgentNotFound
        | R::RentalNotFound => Code::NotFound,
        R::RequestIdReused | R::AgentExists => Code::AlreadyExists,
        R::MinerNotRegistered
        | R::WrongStatus
        | R::StaleAttempt
        | R::NotFinished
        | R::NoResult
        | R::NoMatchingMiner
        | R::UnknownModel
        | R::SessionExists
        | R::NoFreeSlot
        | R::MinerPaused
        | R::MinerBusy
        | R::Nonce
        | R::InsufficientFunds
        | R::TransactionRefused
        | R::FaucetEmpty
        | R::PayeeBound
        | R::MinerNotBound
        | R::GpuContradicted
        | R::TooManyListings
        | R::FileMissing
        | R::TooManyAgents
        | R::NotAvailable
        | R::PriceBelowMarket
        | R::GpuNotDetected
        | R::UnknownGpu => Code::FailedPrecondition,
        R::TokenInvalid
        | R::ClockSkew
        | R::TokenExpired
        | R::WrongChain
        | R::SessionProofInvalid => Code::Unauthenticated,
        R::WrongScope => Code::PermissionDenied,
        R::RateLimited | R::StorageFull => Code::ResourceExhausted,
        R::Unavailable => Code::Unavailable,
        R::WatcherTooSlow => Code::Aborted,
        R::Unimplemented => Code::Unimplemented,
        R::Internal | R::Unspecified => Code::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_survive_the_wire_form() {
        let error =
            ApiError::field("spec.model", "is empty").retry_after(Duration::from_millis(1500));
        let status = Status::from(error.clone());
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(ApiError::from_status(&status), Some(error));
        assert_eq!(ApiError::from_status(&Status::internal("x")), None);
    }
}
