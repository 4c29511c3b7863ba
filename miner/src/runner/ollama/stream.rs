//! Runs a job on the server and follows its answer.

use std::time::Instant;

use aitbc_common::job_input::InferenceInput;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::answer::{Embeddings, Piece, Record, parse};
use super::progress::{Progress, nothing_yet};
use super::{OllamaClient, request};
use crate::runner::error::is_input_too_long;
use crate::runner::estimate::Estimate;
use crate::runner::lines::{Lines, read_all};
use crate::runner::{FinishReason, RunError, RunEvent, RunRequest, RunResult};

impl OllamaClient {
    pub(super) async fn generate(
        &self,
        job: &RunRequest,
        input: &InferenceInput,
        estimate: Estimate,
        cancel: &CancellationToken,
        events: &mpsc::Sender<RunEvent>,
    ) -> Result<RunResult, RunError> {
        let (path, body) = request::inference(job, input);
        let mut progress = Progress::new(job.output_limit);
        let cancelled = |progress: Progress| {
            Err(RunError::Cancelled(Box::new(
                progress.ended_here(FinishReason::Cancelled, estimate),
            )))
        };
        let started = Instant::now();
        let first_token = self.patience.first_token;
        let response = tokio::select! {
            biased;
            () = cancel.cancelled() => return cancelled(progress),
            () = events.closed() => return cancelled(progress),
            response = self.start(path, &body, &job.model, first_token) => response.map_err(|error| fitting(error, estimate, job))?,
        };
        drop(body);
        let mut lines = Lines::new(response);
        loop {
            let patience = match progress.first_token() {
                None => first_token.saturating_sub(started.elapsed()),
                Some(_) => self.patience.next_token,
            };
            let line = tokio::select! {
                biased;
                () = cancel.cancelled() => return cancelled(progress),
                () = events.closed() => return cancelled(progress),
                line = timeout(patience, lines.next()) => line,
            };
            let line = line.map_err(|_| self.stall(progress.first_token().is_none()))??;
            let Some(line) = line else {
                if progress.repeats_itself() {
                    return Ok(progress.ended_here(FinishReason::Length, estimate));
                }
                return Err(RunError::StreamCut {
                    detail: "it ended without a last record".to_owned(),
                });
            };
            let (record, piece) = read_record(&line, job, estimate)?;
            // A place first: what was taken has then also been sent, whenever a cancel comes.
            let place = tokio::select! {
                biased;
                () = cancel.cancelled() => return cancelled(progress),
                place = events.reserve() => place,
            };
            let Ok(place) = place else {
                return cancelled(progress);
            };
            let (event, full) = progress.take(piece);
            if let Some(event) = event {
                place.send(event);
            }
            if full {
                return Ok(progress.ended_here(FinishReason::Length, estimate));
            }
            if record.done {
                request::check_read(record.counts.tokens_in(), estimate, job.context_tokens)?;
                return Ok(progress.ended_by(&record, estimate));
            }
        }
    }

    fn stall(&self, first_token: bool) -> RunError {
        let waited = if first_token {
            self.patience.first_token
        } else {
            self.patience.next_token
        };
        RunError::Stall {
            waited,
            first_token,
        }
    }

    pub(super) async fn embed(
        &self,
        job: &RunRequest,
        texts: &[String],
        estimate: Estimate,
        cancel: &CancellationToken,
    ) -> Result<RunResult, RunError> {
        let body = request::embedding(job, texts);
        let patience = self.patience.first_token;
        let exchange = async {
            let response = self.start("api/embed", &body, &job.model, patience).await?;
            read_all(response, job.output_limit).await
        };
        let answer = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(RunError::Cancelled(Box::new(nothing_yet()))),
            answer = timeout(patience, exchange) => answer,
        };
        let answer = answer
            .unwrap_or_else(|_| Err(self.stall(true)))
            .map_err(|error| fitting(error, estimate, job))?;
        let Some(answer) = answer else {
            let detail = format!(
                "the embeddings of {} texts have more than {} bytes",
                texts.len(),
                job.output_limit
            );
            return Err(RunError::Refused { detail });
        };
        let Embeddings { embeddings, counts } = parse(&answer)?;
        if embeddings.len() != texts.len() || embeddings.iter().any(Vec::is_empty) {
            return Err(RunError::Garbage {
                detail: format!("{} embeddings of {} texts", embeddings.len(), texts.len()),
            });
        }
        Ok(RunResult {
            embeddings: Some(embeddings),
            finish_reason: FinishReason::Stop,
            tokens_in: counts.tokens_in().unwrap_or(estimate.likely),
            prompt_eval_duration: counts.total_without_load(),
            load_duration: counts.load(),
            ..nothing_yet()
        })
    }
}

fn read_record(
    line: &[u8],
    job: &RunRequest,
    estimate: Estimate,
) -> Result<(Record, Piece), RunError> {
    let mut record: Record = parse(line)?;
    if let Some(message) = &record.error {
        let error = RunError::from_answer(200, message, &job.model, true);
        return Err(fitting(error, estimate, job));
    }
    match record.piece() {
        Some(piece) => Ok((record, piece)),
        None => Err(RunError::Garbage {
            detail: "a record without an answer".to_owned(),
        }),
    }
}

/// Names the numbers, where a server says only that the prompt is too long.
fn fitting(error: RunError, estimate: Estimate, job: &RunRequest) -> RunError {
    match &error {
        RunError::Refused { detail }
        | RunError::ServerFailed { detail }
        | RunError::StreamCut { detail }
            if is_input_too_long(detail) =>
        {
            request::too_long(estimate, job.context_tokens)
        }
        _ => error,
    }
}
