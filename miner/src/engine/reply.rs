//! Answers to `/api/generate` and `/api/chat`: one JSON object, or a stream of one per line.

use super::error::ApiError;
use super::generation::Summary;
use super::slots::Event;
use axum::Json;
use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Whose answer it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    Generate,
    Chat,
}

/// What every object of an answer repeats.
#[derive(Debug)]
pub(super) struct Reply {
    pub route: Route,
    /// The model's name as the request has it.
    pub model: String,
    /// When the request arrived.
    pub received: Instant,
}

impl Reply {
    /// Waits for the first event, so that a failure before the first token has its own status, then
    /// answers in one piece or as a stream.
    pub async fn respond(
        self,
        mut events: mpsc::Receiver<Event>,
        streams: bool,
    ) -> Result<Response, ApiError> {
        let first = match events.recv().await.unwrap_or_else(slot_lost) {
            Event::Failed(error) => return Err(error),
            event => event,
        };
        if streams {
            return Ok(self.stream(first, events));
        }
        let mut text = String::new();
        let mut next = first;
        loop {
            match next {
                Event::Text(part) => text.push_str(&part),
                Event::Done {
                    summary,
                    load_duration,
                } => {
                    return Ok(Json(self.last(&text, summary, load_duration)).into_response());
                }
                Event::Failed(error) => return Err(error),
                Event::Embedded { .. } => {
                    return Err(ApiError::Internal(
                        "embeddings where text was asked for".into(),
                    ));
                }
            }
            next = events.recv().await.unwrap_or_else(slot_lost);
        }
    }

    /// Dropping the response's body drops `events`, which cancels the generation.
    fn stream(self, first: Event, events: mpsc::Receiver<Event>) -> Response {
        let lines = stream::unfold(Some((Some(first), events, self)), |state| async {
            let (first, mut events, reply) = state?;
            let event = match first {
                Some(event) => event,
                None => events.recv().await.unwrap_or_else(slot_lost),
            };
            let (object, goes_on) = match event {
                Event::Text(text) => (reply.part(&text), true),
                Event::Done {
                    summary,
                    load_duration,
                } => (reply.last("", summary, load_duration), false),
                Event::Failed(error) => (error.body(), false),
                Event::Embedded { .. } => (ApiError::Internal("not a text".into()).body(), false),
            };
            let line = Bytes::from(format!("{object}\n"));
            Some((
                Ok::<_, Infallible>(line),
                goes_on.then_some((None, events, reply)),
            ))
        });
        (
            [(CONTENT_TYPE, "application/x-ndjson")],
            Body::from_stream(lines),
        )
            .into_response()
    }

    fn part(&self, text: &str) -> Value {
        let mut object = json!({ "model": self.model, "created_at": Timestamp::now().to_string() });
        match self.route {
            Route::Generate => object["response"] = json!(text),
            Route::Chat => object["message"] = json!({ "role": "assistant", "content": text }),
        }
        object["done"] = json!(false);
        object
    }

    /// The last object of an answer; durations are in nanoseconds.
    fn last(&self, text: &str, summary: Summary, load_duration: Duration) -> Value {
        let mut object = self.part(text);
        object["done"] = json!(true);
        object["done_reason"] = json!(summary.done_reason.as_str());
        object["total_duration"] = json!(nanoseconds(self.received.elapsed()));
        object["load_duration"] = json!(nanoseconds(load_duration));
        object["prompt_eval_count"] = json!(summary.prompt_tokens);
        object["prompt_eval_duration"] = json!(nanoseconds(summary.prompt_duration));
        object["eval_count"] = json!(summary.generated_tokens);
        object["eval_duration"] = json!(nanoseconds(summary.generation_duration));
        object
    }

    /// The answer to a request without a prompt: the model is loaded.
    pub fn loaded(&self) -> Value {
        let mut object = self.part("");
        object["done"] = json!(true);
        object["done_reason"] = json!("load");
        object
    }
}

/// A slot that panicked leaves its request without a last event.
fn slot_lost() -> Event {
    Event::Failed(ApiError::Internal(
        "the engine failed while it served this request".into(),
    ))
}

/// Saturates after 584 years.
pub(super) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
