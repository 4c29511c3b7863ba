//! Bounds the time until a call is answered; streams may then go on as long as they like.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1::ErrorReason;
use http::{Request, Response};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

/// A delivery may take longer than other calls: it bounds the time between its parts itself.
const EXEMPT: &str = "/aitbc.v1.MinerService/CompleteJob";

/// Adds [`UnaryTimeout`] to a service.
#[derive(Debug, Clone, Copy)]
pub struct UnaryTimeoutLayer(pub Duration);

impl<S> Layer<S> for UnaryTimeoutLayer {
    type Service = UnaryTimeout<S>;

    fn layer(&self, inner: S) -> Self::Service {
        UnaryTimeout {
            inner,
            after: self.0,
        }
    }
}

/// Answers UNAVAILABLE when the inner service does not answer in time.
#[derive(Debug, Clone)]
pub struct UnaryTimeout<S> {
    inner: S,
    after: Duration,
}

impl<S> Service<Request<Body>> for UnaryTimeout<S>
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
        let exempt = request.uri().path() == EXEMPT;
        let (answer, after) = (self.inner.call(request), self.after);
        Box::pin(async move {
            if exempt {
                return answer.await;
            }
            match tokio::time::timeout(after, answer).await {
                Ok(answer) => answer,
                Err(_) => {
                    let message = format!("no answer within {} s; try again", after.as_secs());
                    let error = ApiError::new(ErrorReason::Unavailable, message)
                        .retry_after(Duration::from_secs(1));
                    Ok(Status::from(error).into_http())
                }
            }
        })
    }
}
