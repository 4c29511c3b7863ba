//! CompleteJob: a polled job's output, result and receipt in one call.

use std::sync::Arc;
use std::time::Duration;

use aitbc_common::identity::PublicKey;
use aitbc_common::limits::CHUNK_BYTES;
use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1::complete_job_request::Part;
use aitbc_proto::v1::{self, ErrorReason};
use tokio::sync::oneshot;
use tonic::Streaming;

use super::{Services, unexpected, validate};
use crate::engine::command::{Command, Reply};
use crate::engine::receipt_hash;
use crate::sessions::core::StreamKind;
use crate::sessions::output_buffer::Append;
use crate::sessions::said;
use crate::sessions::streams::{AttemptFacts, AttemptStream};
use crate::sessions::verify::{Delivery, Task};
use crate::unanswered::explained;

/// The next part must come within this.
const PART_WITHIN: Duration = Duration::from_secs(30);
/// The whole delivery must come within this, so that slow ones do not keep the others waiting.
const WHOLE_WITHIN: Duration = Duration::from_secs(120);
/// When a delivery may be tried again that was one too many.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Takes a delivery, verifies it and gives it to the engine. It stays in memory until it has checked, so that a refused
/// one leaves nothing behind.
pub(super) async fn complete(
    services: &Arc<Services>,
    miner: PublicKey,
    mut parts: Streaming<v1::CompleteJobRequest>,
) -> Result<v1::CompleteJobResponse, ApiError> {
    let Some(Part::Complete(complete)) = next_part(&mut parts).await? else {
        return Err(ApiError::field(
            "part",
            "the first message must be complete, the receipt",
        ));
    };
    let attempt = validate::attempt(&complete.job_id, complete.attempt)?;
    let asked = Command::GetAttempt {
        miner_key: miner,
        attempt,
        receipt: receipt_hash(&complete.receipt),
        said: said::signed_receipt(&complete).map(Box::new),
    };
    let info = match services.call(asked).await? {
        Reply::AttemptInfo(info) => info,
        // Recorded before: the answer got lost.
        Reply::Completed(status) => {
            return Ok(v1::CompleteJobResponse {
                status: status.into(),
            });
        }
        _ => return Err(unexpected()),
    };
    let facts = AttemptFacts::sign(&info, &services.context.service).map_err(|error| {
        ApiError::new(
            ErrorReason::Internal,
            format!("a stored assignment: {error}"),
        )
    })?;
    let _share = services
        .deliveries_by_identity
        .take(miner)
        .ok_or_else(too_many)?;
    let _place = services
        .deliveries
        .acquire()
        .await
        .map_err(|_| unexpected())?;
    let stream = Arc::new(AttemptStream::new(facts));
    let taken = take_parts(services, &stream, &mut parts);
    tokio::time::timeout(WHOLE_WITHIN, taken)
        .await
        .map_err(|_| too_slow())??;
    let (send, receive) = oneshot::channel();
    let recorded = Box::new(move |outcome| {
        // The caller may have gone; the delivery is recorded all the same.
        let _ = send.send(outcome);
    });
    let delivery = Delivery {
        stream,
        miner,
        complete: Box::new(complete),
        final_refusal: false,
        recorded,
    };
    let key = u64::from(attempt.job_id.0[15]);
    services
        .context
        .pool
        .submit(key, Task::Deliver(delivery))
        .await;
    match receive.await {
        Ok(outcome) => Ok(v1::CompleteJobResponse {
            status: outcome?.into(),
        }),
        Err(_) => Err(ApiError::new(
            ErrorReason::Unavailable,
            "the coordinator is stopping; deliver again",
        )),
    }
}

/// Output chunks, then result chunks.
async fn take_parts(
    services: &Services,
    stream: &AttemptStream,
    parts: &mut Streaming<v1::CompleteJobRequest>,
) -> Result<(), ApiError> {
    let mut in_result = false;
    while let Some(part) = next_part(parts).await? {
        let (kind, data) = match part {
            Part::Output(data) if !in_result => (StreamKind::Output, data),
            Part::Result(data) => (StreamKind::Result, data),
            Part::Output(_) => {
                return Err(ApiError::field("part", "output comes before the result"));
            }
            Part::Complete(_) => {
                return Err(ApiError::field("part", "complete comes only once, first"));
            }
        };
        in_result = kind == StreamKind::Result;
        if data.len() > CHUNK_BYTES {
            return Err(ApiError::field(
                "part",
                format!(
                    "has {} bytes, at most {CHUNK_BYTES} (256 KiB) are allowed",
                    data.len()
                ),
            ));
        }
        let offset = stream.with(kind, |buffer| buffer.len());
        if let Append::TooLarge { limit } =
            stream.append(kind, offset, &data, services.context.engine.now_ms())
        {
            let what = if in_result { "result" } else { "output" };
            return Err(ApiError::new(
                ErrorReason::TooLarge,
                format!("the {what} has more than {limit} bytes"),
            ));
        }
    }
    Ok(())
}

async fn next_part(
    parts: &mut Streaming<v1::CompleteJobRequest>,
) -> Result<Option<Part>, ApiError> {
    match next_message(parts, PART_WITHIN, "CompleteJob").await? {
        Some(message) => Ok(Some(message.part.ok_or_else(no_part)?)),
        None => Ok(None),
    }
}

/// The next message of what a caller of this method sends in parts; `None` at its end.
pub(super) async fn next_message<M>(
    parts: &mut Streaming<M>,
    within: Duration,
    method: &str,
) -> Result<Option<M>, ApiError> {
    match tokio::time::timeout(within, parts.message()).await {
        Ok(Ok(message)) => Ok(message),
        Ok(Err(status)) => Err(ApiError::from_status(&status)
            .or_else(|| explained(&status, method))
            .unwrap_or_else(|| {
                ApiError::new(ErrorReason::InvalidField, status.message().to_owned())
            })),
        Err(_) => {
            let message = format!("no part came for {} s; deliver again", within.as_secs());
            Err(ApiError::new(ErrorReason::Unavailable, message))
        }
    }
}

/// A message whose part this coordinator does not know.
pub(super) fn no_part() -> ApiError {
    ApiError::field("part", "is missing or of an unknown kind")
}

fn too_many() -> ApiError {
    let bound = super::DELIVERIES_PER_IDENTITY;
    ApiError::new(
        ErrorReason::RateLimited,
        format!("{bound} deliveries of this identity are under way, the bound; end one first"),
    )
    .retry_after(RETRY_AFTER)
}

fn too_slow() -> ApiError {
    let bound = WHOLE_WITHIN.as_secs();
    ApiError::new(
        ErrorReason::Unavailable,
        format!("the delivery took longer than {bound} s; deliver it again, faster"),
    )
}
