//! Errors of the engine's HTTP API: `{"error": "..."}` with a fitting status, as Ollama answers.

use aitbc_common::runtime::errors::{CommandError, ExitCode};
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Why the engine cannot start, with what to do about it: exit code 1.
pub(super) fn failure(
    reason: &str,
    message: impl Into<String>,
    hint: impl Into<String>,
) -> anyhow::Error {
    CommandError::new(ExitCode::Failed, reason, message)
        .with_hint(hint)
        .into()
}

/// Why a request cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ApiError {
    /// The request is malformed or asks for something this model cannot do.
    #[error("{0}")]
    BadRequest(String),
    #[error("model \"{0}\" not found")]
    ModelNotFound(String),
    /// Nothing is ever cut from a prompt to make it fit.
    #[error("context exceeded: {prompt} of {context} tokens")]
    ContextExceeded { prompt: usize, context: u32 },
    #[error("the request body is larger than {0} bytes")]
    BodyTooLarge(usize),
    #[error("the engine is busy: {0} requests are waiting already; try again later")]
    Busy(usize),
    #[error("the engine is stopping")]
    Stopping,
    #[error("{0}")]
    NotImplemented(String),
    #[error("{0}")]
    NotFound(String),
    #[error("method not allowed")]
    MethodNotAllowed,
    /// llama.cpp failed.
    #[error("{0}")]
    Internal(String),
}

impl ApiError {
    fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) | Self::ContextExceeded { .. } => StatusCode::BAD_REQUEST,
            Self::ModelNotFound(_) | Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::BodyTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Busy(_) | Self::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            Self::NotImplemented(_) => StatusCode::NOT_IMPLEMENTED,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The body, also the last line of a stream that fails after it began.
    pub fn body(&self) -> serde_json::Value {
        json!({ "error": self.to_string() })
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status(), Json(self.body())).into_response()
    }
}
