//! Reads a miner's stream without ever waiting for the session behind it, so that the connection's frames never pile up.

use std::sync::Arc;
use std::time::Duration;

use aitbc_proto::v1::OpenSessionRequest;
use prost::Message;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tonic::Streaming;

/// KiB of batches that may wait for the session or the engine behind it, at least one for each; beyond it the miner is
/// slowed down by flow control.
const BUDGET_KIB: u32 = 8 << 10;
/// Bytes that a message takes in memory besides those that it has on the wire, about.
const MESSAGE_BYTES: usize = 256;
/// A session that does not take what waits for this long is closed.
const PATIENCE: Duration = Duration::from_secs(10);

/// A batch of messages with its share of the budget, which returns when it is dropped.
pub(super) type Batch = (OpenSessionRequest, Share);
/// A share of the budget.
pub(super) type Share = OwnedSemaphorePermit;

/// Starts the reader. The channel ends with the stream, or when the session falls behind.
pub(super) fn start(stream: Streaming<OpenSessionRequest>) -> mpsc::Receiver<Batch> {
    let (send, receive) = mpsc::channel(BUDGET_KIB as usize);
    tokio::spawn(read(stream, send));
    receive
}

async fn read(mut stream: Streaming<OpenSessionRequest>, inbox: mpsc::Sender<Batch>) {
    let budget = Arc::new(Semaphore::new(BUDGET_KIB as usize));
    loop {
        let batch = tokio::select! {
            batch = stream.message() => batch,
            () = inbox.closed() => return,
        };
        let Ok(Some(batch)) = batch else { return };
        let bytes = batch.encoded_len() + MESSAGE_BYTES * batch.messages.len();
        let kib = u32::try_from(bytes >> 10)
            .unwrap_or(u32::MAX)
            .saturating_add(1)
            .min(BUDGET_KIB);
        let share = match Arc::clone(&budget).try_acquire_many_owned(kib) {
            Ok(share) => share,
            Err(_) => {
                match tokio::time::timeout(PATIENCE, Arc::clone(&budget).acquire_many_owned(kib))
                    .await
                {
                    Ok(Ok(share)) => share,
                    _ => return,
                }
            }
        };
        if inbox.try_send((batch, share)).is_err() {
            tracing::warn!("a session fell behind its miner's messages and is closed");
            return;
        }
    }
}
