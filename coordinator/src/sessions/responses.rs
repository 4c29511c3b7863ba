//! The sending side of a server's stream: slow readers are dropped with an error that says so.

use std::time::Duration;

use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1::ErrorReason;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// Responses that may wait for the connection.
const WAITING: usize = 2;
/// A watcher that takes nothing for this long is dropped: 10 s.
pub const WATCHER_PATIENCE: Duration = Duration::from_secs(10);

/// What a handler returns.
pub type ResponseStream<T> = ReceiverStream<Result<T, Status>>;

/// Sends responses. Room for the final error is kept, so that even a reader that stalls gets it.
pub struct Responses<T> {
    sender: mpsc::Sender<Result<T, Status>>,
    last: mpsc::OwnedPermit<Result<T, Status>>,
    patience: Duration,
}

impl<T: Send + 'static> Responses<T> {
    /// Both ends of a stream whose reader is dropped when it takes nothing for `patience`.
    #[must_use]
    pub fn new(patience: Duration) -> (Self, ResponseStream<T>) {
        let (sender, receiver) = mpsc::channel(WAITING + 1);
        let last = sender
            .clone()
            .try_reserve_owned()
            .expect("the channel is new and has room");
        (
            Self {
                sender,
                last,
                patience,
            },
            ReceiverStream::new(receiver),
        )
    }

    /// Sends one response, waiting for the reader while the patience lasts.
    pub async fn send(&self, response: T) -> Result<(), ApiError> {
        match tokio::time::timeout(self.patience, self.sender.send(Ok(response))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(ApiError::new(
                ErrorReason::Unavailable,
                "the reader has gone",
            )),
            Err(_) => Err(ApiError::new(
                ErrorReason::WatcherTooSlow,
                format!(
                    "nothing was read for {} s; call again and go on from the last offset or cursor",
                    self.patience.as_secs()
                ),
            )),
        }
    }

    /// Ends when the reader has gone.
    pub async fn closed(&self) {
        self.sender.closed().await;
    }

    /// Ends the stream: with trailers that say OK, or why not.
    pub fn end(self, outcome: Result<(), ApiError>) {
        if let Err(error) = outcome {
            self.last.send(Err(error.into()));
        }
    }
}
