//! `aitbc-miner test`.

use aitbc_common::hash::hash_text;
use aitbc_common::runtime::command_line::GlobalOptions;
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::runtime::terminal::print_line;
use clap::Args;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::context::Context;
use super::server::{ServerOptions, parse_model, ready, server_error};
use super::signals::Signals;
use crate::model_server::{Offer, ServerKind, ServerState};
use crate::runner::{LocalModel, OllamaClient, Speeds};
use crate::speeds::SpeedStore;

/// Options of `test`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  aitbc miner test
  aitbc miner test --model llama3

The speeds are kept and announced when this miner mines.")]
pub struct Arguments {
    /// Model to test (default: the first local one)
    #[arg(long, value_name = "MODEL", value_parser = parse_model)]
    model: Option<String>,
    /// The miner's name (default: rig-1)
    #[arg(long, value_name = "NAME")]
    miner: Option<String>,
    #[command(flatten)]
    server: ServerOptions,
}

/// Runs the command.
pub async fn run(global: &GlobalOptions, arguments: Arguments) -> Result<(), CommandError> {
    let context = Context::new(global, arguments.miner)?;
    let client = arguments.server.client();
    let offer = Offer {
        kind: ServerKind::Ollama,
        models: arguments.model.into_iter().collect(),
        slots: 1,
        context: arguments.server.context,
        speeds: SpeedStore::open(&context.folder()),
        tools: Vec::new(),
    };
    let mut signals = Signals::listen()?;
    let stop = CancellationToken::new();
    signals
        .guard(&stop, test(&context, &client, &offer, &stop))
        .await
}

async fn test(
    context: &Context,
    client: &OllamaClient,
    offer: &Offer,
    stop: &CancellationToken,
) -> Result<(), CommandError> {
    let state = ready(context, client, offer, false, stop).await?;
    let Some(model) = state.models.first() else {
        return Ok(());
    };
    context.note(format_args!("testing {}", model.name));
    let measured = Speeds::measure(client, model, model.context_tokens(offer.context), stop).await;
    let speeds = measured.map_err(|error| server_error(client, &error))?;
    offer.speeds.put(&model.digest, &speeds)?;
    if context.json {
        return print_line(document(&state, model, &speeds));
    }
    print_line(format_args!(
        "{} on {}: reads {:.1} tokens/s, generates {:.1} tokens/s, loaded in {:.1} s",
        model.name,
        state.name(),
        per_second(speeds.prompt_milli_tokens_per_second),
        per_second(speeds.output_milli_tokens_per_second),
        speeds.load_duration.as_secs_f64(),
    ))
}

fn document(state: &ServerState, model: &LocalModel, speeds: &Speeds) -> Value {
    json!({
        "model": model.name,
        "digest": hash_text(&model.digest),
        "engine": state.inventory.engine,
        "context_tokens": state.inventory.models.first().map(|model| model.context_tokens),
        "prompt_tokens_per_second": per_second(speeds.prompt_milli_tokens_per_second),
        "output_tokens_per_second": per_second(speeds.output_milli_tokens_per_second),
        "load_seconds": speeds.load_duration.as_secs_f64(),
    })
}

fn per_second(milli_tokens: u32) -> f64 {
    f64::from(milli_tokens) / 1_000.0
}
