//! The events of an execution as the store has them: what the next miner goes on from.

use std::time::Duration;

use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1::ErrorReason;
use bytes::Bytes;

use crate::engine::command::AttemptId;
use crate::engine::handle::EngineHandle;
use crate::sessions::core::StreamKind;
use crate::sessions::stored::{self, blocking};
use crate::sessions::streams::Streams;
use crate::store::{Batch, Durability};

/// How long bytes of output are waited for.
const CONFIRM_WITHIN: Duration = Duration::from_secs(10);

/// The newest attempt before this one whose output is stored; `None` = it is the first to put something out.
pub async fn former(
    engine: &EngineHandle,
    attempt: AttemptId,
) -> Result<Option<AttemptId>, ApiError> {
    let store = engine.store();
    blocking(move || {
        for number in (1..attempt.attempt).rev() {
            let former = AttemptId {
                attempt: number,
                ..attempt
            };
            if !stored::read(&store, former, StreamKind::Output, 0)?.is_empty() {
                return Ok(Some(former));
            }
        }
        Ok(None)
    })
    .await
}

/// The next bytes of a former attempt's output; none at its end.
pub async fn read(
    engine: &EngineHandle,
    attempt: AttemptId,
    offset: u64,
) -> Result<Vec<Bytes>, ApiError> {
    let store = engine.store();
    blocking(move || stored::read(&store, attempt, StreamKind::Output, offset)).await
}

/// Returns once so many bytes of a live attempt's output are stored for good.
pub async fn confirm(
    engine: &EngineHandle,
    streams: &Streams,
    attempt: AttemptId,
    bytes: u64,
) -> Result<(), ApiError> {
    let stored = async {
        loop {
            let Some(stream) = streams.get(attempt) else {
                let message = "the attempt's session is not open here";
                return Err(ApiError::new(ErrorReason::StaleAttempt, message));
            };
            let mut changes = stream.subscribe();
            if stream.with(StreamKind::Output, |output| output.stored()) >= bytes {
                return Ok(());
            }
            drop(stream);
            // It ends where the stream is given up: the loop looks again.
            let _changed = changes.changed().await;
        }
    };
    let stored = tokio::time::timeout(CONFIRM_WITHIN, stored).await;
    stored.unwrap_or_else(|_| {
        let message = format!("{bytes} bytes of output did not come within 10 s");
        Err(ApiError::new(ErrorReason::Unavailable, message))
    })?;
    let (store, fence) = (engine.store(), engine.fence());
    // Makes what was committed before durable.
    blocking(move || store.commit(&fence, Batch::new(), Durability::Synced)).await
}
