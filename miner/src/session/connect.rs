//! Opens the stream to the coordinator.

use std::sync::Arc;
use std::time::Duration;

use aitbc_common::identity::Identity;
use aitbc_common::runtime::channel::{Connection, CoordinatorUrl};
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::token::Scope;
use aitbc_proto::v1::{ErrorReason, MinerMessage, OpenSessionRequest, OpenSessionResponse};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{self, OwnedPermit};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::Event;

/// Batches to the coordinator that may wait.
const OUTGOING: usize = 4;
/// Batches from the coordinator that may wait; with more, the miner does not keep up and the stream is given up.
const INCOMING: usize = 1024;
/// How long the rest of a stream is read after it was given up.
const REST_TIME: Duration = Duration::from_secs(2);
/// Opening a stream, once connected, may take this long.
const OPEN_TIME: Duration = Duration::from_secs(15);

/// An open stream.
pub(super) struct Live {
    outgoing: mpsc::Sender<OpenSessionRequest>,
    permit: Option<OwnedPermit<OpenSessionRequest>>,
    incoming: mpsc::Receiver<Result<OpenSessionResponse, Status>>,
    reader: tokio::task::JoinHandle<()>,
}

/// What happened on a stream.
pub(super) enum Incident {
    Received(OpenSessionResponse),
    /// A batch can be sent.
    Writable,
    Ended(Event),
}

impl Live {
    /// Connects and opens a stream. The error is an [`Event::Disconnected`].
    pub(super) async fn open(url: CoordinatorUrl, identity: Arc<Identity>) -> Result<Self, Event> {
        let connection = Connection::open(&url, identity, Scope::Miner)
            .await
            .map_err(|error| lost(&error))?;
        let (outgoing, batches) = mpsc::channel(OUTGOING);
        let mut miners = connection.miners();
        let opening = miners.open_session(ReceiverStream::new(batches));
        let stream = match timeout(OPEN_TIME, opening).await {
            Ok(Ok(response)) => response.into_inner(),
            Ok(Err(status)) => return Err(refused(status)),
            Err(_) => {
                return Err(plain(
                    ErrorReason::Unspecified,
                    "the coordinator does not answer".to_owned(),
                ));
            }
        };
        let (sender, incoming) = mpsc::channel(INCOMING);
        let reader = tokio::spawn(read(stream, sender));
        Ok(Self {
            outgoing,
            permit: None,
            incoming,
            reader,
        })
    }

    /// The next incident. Nothing is lost when it is given up.
    pub(super) async fn next(&mut self) -> Incident {
        tokio::select! {
            received = self.incoming.recv() => match received {
                Some(Ok(batch)) => Incident::Received(batch),
                Some(Err(status)) => Incident::Ended(refused(status)),
                None => Incident::Ended(plain(ErrorReason::Unspecified, "the stream ended".to_owned())),
            },
            permit = self.outgoing.clone().reserve_owned(), if self.permit.is_none() => match permit {
                Ok(permit) => {
                    self.permit = Some(permit);
                    Incident::Writable
                }
                // The reader says why.
                Err(_) => match self.incoming.recv().await {
                    Some(Ok(batch)) => Incident::Received(batch),
                    Some(Err(status)) => Incident::Ended(refused(status)),
                    None => Incident::Ended(plain(ErrorReason::Unspecified, "the stream ended".to_owned())),
                },
            },
        }
    }

    pub(super) fn is_writable(&self) -> bool {
        self.permit.is_some()
    }

    /// Sends a batch, if [`Live::is_writable`].
    pub(super) fn send(&mut self, messages: Vec<MinerMessage>) {
        if let Some(permit) = self.permit.take() {
            self.permit = None;
            permit.send(OpenSessionRequest { messages });
        }
    }

    /// Ends the stream on this side, and gives the other 2 s to end it too: a stream that is cut instead costs the whole
    /// connection on a busy coordinator.
    pub(super) async fn close(self) {
        let Self {
            outgoing,
            permit,
            incoming,
            reader,
        } = self;
        drop((outgoing, permit, incoming));
        let _panicked = timeout(REST_TIME * 2, reader).await;
    }
}

/// Reads without ever waiting for who handles what is read.
async fn read(
    mut stream: Streaming<OpenSessionResponse>,
    sender: mpsc::Sender<Result<OpenSessionResponse, Status>>,
) {
    loop {
        let (next, last) = match stream.message().await {
            Ok(Some(batch)) => (Ok(batch), false),
            Ok(None) => return,
            Err(status) => (Err(status), true),
        };
        match sender.try_send(next) {
            Ok(()) if last => return,
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return,
            Err(TrySendError::Closed(_)) => break,
        }
    }
    let rest = async { while let Ok(Some(_)) = stream.message().await {} };
    let _still_open = timeout(REST_TIME, rest).await;
}

fn plain(reason: ErrorReason, message: String) -> Event {
    Event::Disconnected {
        reason,
        message,
        retry_after: None,
    }
}

fn refused(status: Status) -> Event {
    let stated = aitbc_common::runtime::status::ApiError::from_status(&status);
    let retry_after = stated.as_ref().and_then(|stated| stated.retry_after);
    let reason = stated.map_or(ErrorReason::Unspecified, |stated| stated.reason);
    Event::Disconnected {
        reason,
        message: CommandError::from(status).message,
        retry_after,
    }
}

fn lost(error: &CommandError) -> Event {
    let reason = ErrorReason::from_str_name(&format!("ERROR_REASON_{}", error.reason));
    // "cannot reach the coordinator at 127.0.0.1:50051: connection refused": the address is known.
    let message = error
        .message
        .rsplit(": ")
        .next()
        .unwrap_or(&error.message)
        .to_owned();
    plain(reason.unwrap_or(ErrorReason::Unspecified), message)
}
