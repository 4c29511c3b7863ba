//! ListJobEvents: what happened to a job, from the record of its attempts.

use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1::{self, AttemptOutcome, JobLogEntry, JobStatus};

use super::{convert, validate};
use crate::engine::command::{AttemptId, JobView};
use crate::sessions::streams::Streams;
use crate::store::rows::AttemptRow;

/// One page.
pub(super) fn page(
    view: &JobView,
    streams: &Streams,
    request: &v1::ListJobEventsRequest,
) -> Result<v1::ListJobEventsResponse, ApiError> {
    let size = validate::page_size(request.page_size, 100)?;
    let start = match request.page_token.as_str() {
        "" => 0,
        token => token
            .parse::<usize>()
            .map_err(|_| validate::bad_page_token())?,
    };
    let all = entries(view, streams);
    if start > all.len() {
        return Err(validate::bad_page_token());
    }
    let end = (start + size).min(all.len());
    let next_page_token = if end < all.len() {
        end.to_string()
    } else {
        String::new()
    };
    Ok(v1::ListJobEventsResponse {
        events: all[start..end].to_vec(),
        next_page_token,
    })
}

fn entries(view: &JobView, streams: &Streams) -> Vec<JobLogEntry> {
    let row = &view.row;
    let message = match convert::job(row, view.status).retry_of {
        retried if retried.is_empty() => String::new(),
        retried => format!("retries {retried}"),
    };
    let mut entries = vec![entry(row.created_ms, "submitted", None, message)];
    for attempt in &row.attempts {
        let newest = attempt.attempt == row.attempt;
        entries.push(entry(
            attempt.assigned_ms,
            "assigned",
            Some(attempt),
            String::new(),
        ));
        let started_ms = if newest && view.started_ms > 0 {
            view.started_ms
        } else {
            attempt.started_ms
        };
        if started_ms > 0 {
            entries.push(entry(started_ms, "started", Some(attempt), String::new()));
        }
        let first_ms = if newest { first_ms(view, streams) } else { 0 };
        if first_ms > 0 {
            entries.push(entry(first_ms, "first_token", Some(attempt), String::new()));
        }
        if let Some(name) = ending(attempt) {
            let failure = attempt.failure.as_ref();
            // The reasons of those say no more than the event does.
            let named = matches!(
                attempt.outcome(),
                AttemptOutcome::Lost | AttemptOutcome::Returned
            );
            let message = failure
                .filter(|failure| !named || !failure.message.is_empty())
                .map(convert::failure_text)
                .unwrap_or_default();
            entries.push(entry(attempt.ended_ms, name, Some(attempt), message));
        }
    }
    let failure = row
        .failure
        .as_ref()
        .map(convert::failure_text)
        .unwrap_or_default();
    let ended = |event, attempt, message| entry(row.finished_ms, event, attempt, message);
    let last = row.attempts.last();
    let stopped = last.filter(|attempt| attempt.outcome() == AttemptOutcome::Stopped);
    match view.status {
        JobStatus::Cancelled => entries.push(ended("cancelled", stopped, String::new())),
        JobStatus::Expired => entries.push(ended("expired", stopped, String::new())),
        JobStatus::Failed => entries.push(ended("failed", None, failure)),
        _ => {}
    }
    entries
}

fn first_ms(view: &JobView, streams: &Streams) -> u64 {
    if let Some(delivery) = &view.row.delivery {
        return delivery.first_token_ms;
    }
    let attempt = u16::try_from(view.row.attempt).unwrap_or(u16::MAX);
    streams
        .get(AttemptId {
            job_id: view.row.id(),
            attempt,
        })
        .map_or(0, |stream| stream.first_ms())
}

fn ending(attempt: &AttemptRow) -> Option<&'static str> {
    match attempt.outcome() {
        AttemptOutcome::Completed => Some("completed"),
        AttemptOutcome::Failed => Some("failed"),
        AttemptOutcome::Lost => Some("lost"),
        AttemptOutcome::Returned => Some("returned"),
        // What stopped it has an entry of its own.
        AttemptOutcome::Stopped | AttemptOutcome::Running | AttemptOutcome::Unspecified => None,
    }
}

fn entry(ms: u64, event: &str, attempt: Option<&AttemptRow>, message: String) -> JobLogEntry {
    JobLogEntry {
        time: convert::timestamp(ms),
        event: event.into(),
        attempt: attempt.map_or(0, |attempt| attempt.attempt),
        miner_id: attempt
            .map(|attempt| attempt.miner().to_string())
            .unwrap_or_default(),
        miner_name: attempt
            .map(|attempt| attempt.miner_name.clone())
            .unwrap_or_default(),
        message,
    }
}
