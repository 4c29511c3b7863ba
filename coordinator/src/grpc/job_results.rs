//! GetResult: a completed job's proof, output and result document.

use std::time::Duration;

use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1::get_result_response::Part;
use aitbc_proto::v1::{self, ErrorReason, GetResultResponse, JobStatus};

use super::convert;
use crate::engine::command::JobView;
use crate::sessions::driver::SessionContext;
use crate::sessions::responses::{ResponseStream, Responses};
use crate::sessions::stored::Archived;

/// A reader that takes nothing for this long is dropped.
const PATIENCE: Duration = Duration::from_secs(60);

/// Streams a result, without the first `skip` bytes of its output.
pub(super) async fn start(
    context: &SessionContext,
    view: JobView,
    skip: u64,
) -> Result<ResponseStream<GetResultResponse>, ApiError> {
    let row = &view.row;
    check_status(&view)?;
    let delivery = row
        .delivery
        .as_ref()
        .ok_or_else(|| ApiError::new(ErrorReason::Internal, "the job has no delivery"))?;
    let (output_bytes, result_bytes) = (convert::output_len(delivery), delivery.result_len);
    if skip > output_bytes {
        return Err(ApiError::field(
            "output_offset",
            format!("is {skip}, the output has {output_bytes} bytes"),
        ));
    }
    let header = v1::ResultHeader {
        job: Some(convert::job(row, view.status)),
        proof: Some(convert::proof(row, None, &context.service)),
        output_bytes,
        result_bytes,
    };
    let output = Archived::output(&context.engine.store(), &context.loads, row).await?;
    let result = Archived::result(row);
    let (responses, stream) = Responses::new(PATIENCE);
    let context = context.clone();
    tokio::spawn(async move {
        let outcome = async {
            responses
                .send(GetResultResponse {
                    part: Some(Part::Header(header)),
                })
                .await?;
            send(
                &context,
                &responses,
                &output,
                (skip, output_bytes),
                Part::Output,
            )
            .await?;
            send(
                &context,
                &responses,
                &result,
                (0, result_bytes),
                Part::Result,
            )
            .await
        }
        .await;
        responses.end(outcome);
    });
    Ok(stream)
}

fn check_status(view: &JobView) -> Result<(), ApiError> {
    let id = view.row.id();
    match view.status {
        JobStatus::Completed if view.row.content_deleted => Err(ApiError::new(
            ErrorReason::ResultDeleted,
            format!("the result of {id} was deleted; its proof stays: see its status"),
        )),
        JobStatus::Completed => Ok(()),
        JobStatus::Failed | JobStatus::Cancelled | JobStatus::Expired => {
            let how = match view.status {
                JobStatus::Failed => "failed",
                JobStatus::Cancelled => "was cancelled",
                _ => "expired",
            };
            let why = view
                .row
                .failure
                .as_ref()
                .map(convert::failure_text)
                .filter(|why| !why.is_empty())
                .map(|why| format!(": {why}"))
                .unwrap_or_default();
            Err(ApiError::new(
                ErrorReason::NoResult,
                format!("{id} {how} and has no result{why}"),
            ))
        }
        _ => {
            let status = view
                .status
                .as_str_name()
                .trim_start_matches("JOB_STATUS_")
                .to_lowercase();
            Err(ApiError::new(
                ErrorReason::NotFinished,
                format!("{id} is {status}: its result is not there yet"),
            ))
        }
    }
}

async fn send(
    context: &SessionContext,
    responses: &Responses<GetResultResponse>,
    source: &Archived,
    (mut offset, end): (u64, u64),
    part: fn(bytes::Bytes) -> Part,
) -> Result<(), ApiError> {
    let store = context.engine.store();
    while offset < end {
        let chunks = source.read(&store, offset).await?;
        if chunks.is_empty() {
            let message = "the stored result ended early: it was deleted meanwhile, or is damaged";
            return Err(ApiError::new(ErrorReason::ResultDeleted, message));
        }
        for mut chunk in chunks {
            chunk.truncate(usize::try_from(end - offset).unwrap_or(usize::MAX));
            offset += chunk.len() as u64;
            if !chunk.is_empty() {
                responses
                    .send(GetResultResponse {
                        part: Some(part(chunk)),
                    })
                    .await?;
            }
        }
    }
    Ok(())
}
