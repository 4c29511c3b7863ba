//! Options of the local model server, and getting it ready.

use std::time::Duration;

use aitbc_common::names::canonical_model;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Url;
use tokio_util::sync::CancellationToken;

use super::context::Context;
use crate::model_server::{Offer, ServerKind, ServerState, ServerStatus, look};
use crate::runner::{OllamaClient, RunError, server_url};
use crate::text::plain_detail;

/// How often the progress of a download is drawn again.
const REDRAW: Duration = Duration::from_millis(200);

/// Where the model server is.
#[derive(Debug, Clone, Args)]
pub struct ServerOptions {
    /// Ollama's address (default: http://127.0.0.1:11434)
    #[arg(long, value_name = "URL", env = "OLLAMA_HOST", value_parser = parse_url)]
    pub ollama_url: Option<Url>,
    /// Context to offer, in tokens (default: the model's own setting, else 8192)
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(16..=16_777_216))]
    pub context: Option<u32>,
}

impl ServerOptions {
    /// A client of it.
    pub fn client(&self) -> OllamaClient {
        let default = || server_url("").expect("the default address is one");
        OllamaClient::new(self.ollama_url.clone().unwrap_or_else(default))
    }
}

fn parse_url(text: &str) -> Result<Url, CommandError> {
    server_url(text).map_err(|error| CommandError::usage(error.to_string()).with_hint(error.hint()))
}

/// A model's canonical name.
pub fn parse_model(text: &str) -> Result<String, CommandError> {
    canonical_model(text)
        .map_err(|error| CommandError::usage(error.to_string()).with_hint(error.hint()))
}

/// What is wrong with the model server, as a command's error.
pub fn server_error(client: &OllamaClient, error: &RunError) -> CommandError {
    let message = match error {
        RunError::ServerAway { detail } => format!(
            "no model server answers at {}: {}",
            client.url(),
            plain_detail(detail)
        ),
        other => other.to_string(),
    };
    let reason = match error.reason() {
        "CANCELLED" => return interrupted(),
        reason => reason,
    };
    let failure = CommandError::new(ExitCode::Failed, reason, message).with_hint(error.hint());
    if error.is_retryable() {
        failure.as_retryable()
    } else {
        failure
    }
}

/// Ctrl-C.
pub fn interrupted() -> CommandError {
    CommandError::new(ExitCode::Interrupted, "INTERRUPTED", "stopped")
}

/// Looks at the server; with `pull`, lets it download what it lacks.
pub async fn ready(
    context: &Context,
    client: &OllamaClient,
    offer: &Offer,
    pull: bool,
    cancel: &CancellationToken,
) -> Result<ServerState, CommandError> {
    let failed = |error: RunError| server_error(client, &error);
    let state = look(client, offer).await.map_err(failed)?;
    let ServerStatus::ModelMissing { missing } = &state.status else {
        return Ok(state);
    };
    if !pull || missing.is_empty() {
        return Err(missing_model(&state, missing));
    }
    for model in missing {
        download(context, client, model, cancel)
            .await
            .map_err(failed)?;
    }
    let state = look(client, offer).await.map_err(failed)?;
    match &state.status {
        ServerStatus::ModelMissing { missing } => Err(missing_model(&state, missing)),
        _ => Ok(state),
    }
}

fn missing_model(state: &ServerState, missing: &[String]) -> CommandError {
    let short = |name: &str| name.strip_suffix(":latest").unwrap_or(name).to_owned();
    let (message, hint) = match missing.first() {
        None => (
            format!("{} has no model", state.name()),
            "get one with: ollama pull llama3".to_owned(),
        ),
        Some(first) => {
            let hint = match state.kind {
                ServerKind::Ollama => {
                    format!("get it with: ollama pull {}, or add --pull", short(first))
                }
                ServerKind::Embedded => "name it as in --model NAME=FILE".to_owned(),
            };
            (
                format!("{} has no model {}", state.name(), missing.join(", ")),
                hint,
            )
        }
    };
    CommandError::new(ExitCode::Failed, "MODEL_MISSING", message).with_hint(hint)
}

async fn download(
    context: &Context,
    client: &OllamaClient,
    model: &str,
    cancel: &CancellationToken,
) -> Result<(), RunError> {
    context.note(format_args!("downloading {model}"));
    let bar = if context.json {
        ProgressBar::hidden()
    } else {
        ProgressBar::new(0)
    };
    bar.set_style(style());
    // Steps that come close together are not all drawn; the last one is, by this.
    bar.enable_steady_tick(REDRAW);
    let progress = |step: crate::runner::PullProgress| {
        bar.set_message(step.status);
        bar.set_length(step.total);
        bar.set_position(step.completed);
    };
    let pulled = client.pull(model, cancel, progress).await;
    bar.finish_and_clear();
    pulled
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{wide_msg} {bytes}/{total_bytes} {bytes_per_sec} {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}
