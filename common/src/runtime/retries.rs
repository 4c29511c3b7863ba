//! Repeating calls while the coordinator is away.

use std::future::Future;
use std::time::Duration;

use aitbc_proto::v1::ErrorReason;
use tonic::{Code, Response, Status};

use super::backoff::FullJitter;
use super::errors::CommandError;
use super::status::ApiError;

/// Tries of one call while the coordinator is away.
pub const TRIES: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// The pauses between them.
#[must_use]
pub fn pauses() -> FullJitter {
    FullJitter::new(FIRST_PAUSE, FIRST_PAUSE * 8)
}

/// Whether the coordinator is away or stopping, so that the same call may succeed in a moment: it said so, or the
/// connection to it failed.
#[must_use]
pub fn is_away(status: &Status) -> bool {
    match ApiError::from_status(status) {
        Some(error) => error.reason == ErrorReason::Unavailable,
        None => {
            let by_transport = std::error::Error::source(status).is_some();
            status.code() == Code::Unavailable || by_transport
        }
    }
}

/// Sends an idempotent request, repeated while the coordinator is away: three times in all.
pub async fn with_retries<C, R, T, F>(
    client: C,
    request: R,
    call: impl Fn(C, R) -> F,
) -> Result<T, CommandError>
where
    C: Clone,
    R: Clone,
    F: Future<Output = Result<Response<T>, Status>>,
{
    let mut pauses = pauses();
    let mut tries = 0;
    loop {
        tries += 1;
        match call(client.clone(), request.clone()).await {
            Ok(response) => return Ok(response.into_inner()),
            Err(status) if is_away(&status) && tries < TRIES => pauses.wait().await,
            Err(status) if is_away(&status) => {
                return Err(CommandError::from(status).as_retryable());
            }
            Err(status) => return Err(status.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn calls_are_repeated_only_while_the_coordinator_is_away() {
        let calls = Cell::new(0);
        let succeeds_at_third = |(), ()| {
            calls.set(calls.get() + 1);
            let now = calls.get();
            async move {
                match now {
                    3 => Ok(Response::new(now)),
                    _ => Err(Status::unavailable("away")),
                }
            }
        };
        assert_eq!(with_retries((), (), succeeds_at_third).await, Ok(3));
        for (status, tries) in [
            (Status::unavailable("away"), TRIES),
            (Status::invalid_argument("no"), 1),
        ] {
            calls.set(0);
            let fails = |(), ()| {
                calls.set(calls.get() + 1);
                let status = status.clone();
                async move { Err::<Response<()>, _>(status) }
            };
            let error = with_retries((), (), fails).await.unwrap_err();
            assert_eq!((calls.get(), error.retryable), (tries, tries == TRIES));
        }
    }
}
