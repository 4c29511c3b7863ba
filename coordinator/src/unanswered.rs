//! Calls that no handler sees, because the message does not parse, is too large or no method has that name: tonic answers
//! them with a bare status. Here they get a reason and a text, as every other refusal.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1::ErrorReason;
use http::{Request, Response};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

/// How tonic and prost begin what they say about a message that does not parse.
const MALFORMED: [&str; 4] = [
    "failed to decode Protobuf message",
    "protocol error",
    "Missing request message",
    "Unexpected EOF decoding stream",
];
/// How tonic begins what it says about a message that is too large; the size and the bound follow.
const TOO_LARGE: &str = "Error, decoded message length too large: ";

/// Adds [`Unanswered`] to a service.
#[derive(Debug, Clone, Copy)]
pub struct UnansweredLayer;

impl<S> Layer<S> for UnansweredLayer {
    type Service = Unanswered<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Unanswered { inner }
    }
}

/// Gives bare statuses the details that a handler's have.
#[derive(Debug, Clone)]
pub struct Unanswered<S> {
    inner: S,
}

impl<S> Service<Request<Body>> for Unanswered<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let uri = request.uri().clone();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = answer.await?;
            // Only a call that was refused at once has its status among the headers.
            let refused = response.headers().contains_key(Status::GRPC_STATUS);
            let status = refused.then(|| Status::from_header_map(response.headers()));
            match status.flatten().and_then(|s| explained(&s, uri.path())) {
                Some(error) => Ok(Status::from(error).into_http()),
                None => Ok(response),
            }
        })
    }
}

/// What a bare status of tonic's own means; `None` for every other one.
pub fn explained(status: &Status, method: &str) -> Option<ApiError> {
    if !status.details().is_empty() {
        return None;
    }
    let text = status.message();
    match status.code() {
        Code::Internal if MALFORMED.iter().any(|begin| text.starts_with(begin)) => {
            Some(ApiError::new(
                ErrorReason::InvalidField,
                format!("the request does not parse: {text}"),
            ))
        }
        Code::OutOfRange => text.strip_prefix(TOO_LARGE).map(|sizes| {
            ApiError::new(
                ErrorReason::TooLarge,
                format!("the message is too large: {sizes}"),
            )
        }),
        Code::Unimplemented if text.is_empty() => Some(ApiError::new(
            ErrorReason::Unimplemented,
            format!("this coordinator has no method {method}"),
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A real service's answer to these bytes.
    async fn answer(method: &str, body: &str) -> Status {
        let (_, health) = tonic_health::server::health_reporter();
        let request = Request::post(format!("/grpc.health.v1.Health/{method}"))
            .header("content-type", "application/grpc")
            .body(Body::new(body.to_owned()))
            .expect("a request");
        let mut service = UnansweredLayer.layer(health);
        let response = service.call(request).await.expect("infallible");
        Status::from_header_map(response.headers()).expect("refused at once")
    }

    #[tokio::test]
    async fn what_no_handler_sees_is_refused_with_a_reason() {
        let cases = [
            // A number where the service's name belongs.
            (
                "Check",
                "\0\0\0\0\x02\x08\x01",
                Code::InvalidArgument,
                ErrorReason::InvalidField,
                "does not parse",
            ),
            (
                "Check",
                "\x07\0\0\0\0",
                Code::InvalidArgument,
                ErrorReason::InvalidField,
                "compression flag",
            ),
            (
                "Check",
                "",
                Code::InvalidArgument,
                ErrorReason::InvalidField,
                "Missing request message",
            ),
            // 5 MiB are announced.
            (
                "Check",
                "\0\0\x50\0\0",
                Code::InvalidArgument,
                ErrorReason::TooLarge,
                "4194304 bytes",
            ),
            (
                "Nope",
                "\0\0\0\0\0",
                Code::Unimplemented,
                ErrorReason::Unimplemented,
                "/grpc.health.v1.Health/Nope",
            ),
        ];
        for (method, body, code, reason, part) in cases {
            let status = answer(method, body).await;
            let error = ApiError::from_status(&status);
            let error = error.unwrap_or_else(|| panic!("no details in {status:?}"));
            assert_eq!((error.code, error.reason), (code, reason), "{status:?}");
            assert!(error.message.contains(part), "{status:?}");
        }
    }

    #[tokio::test]
    async fn other_statuses_stay_as_they_are() {
        // A service that health does not know.
        let status = answer("Check", "\0\0\0\0\x03\x0a\x01x").await;
        assert_eq!(status.code(), Code::NotFound);
        let ours = Status::from(ApiError::field("model", "is empty"));
        assert_eq!(explained(&ours, "/x"), None);
        assert_eq!(explained(&Status::internal("a broken handler"), "/x"), None);
    }
}
