//! `aitbc-miner mine`.

use aitbc_common::runtime::command_line::GlobalOptions;
use aitbc_common::runtime::errors::CommandError;
use clap::Args;

use super::context::Context;
use super::engine_process::EngineProcess;
use super::mining::{MiningOptions, mine};
use crate::engine::ModelFile;
use crate::model_server::{Offer, ServerKind};
use crate::runner::OllamaClient;
use crate::speeds::SpeedStore;

/// Options of `mine`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  aitbc miner mine --model llama3=llama3.gguf --continuous
  aitbc miner mine --model SmolLM2-135M-Instruct.Q4_1.gguf

The models run in a process of their own; a crash there fails the job, never the miner.")]
pub struct Arguments {
    /// GGUF file to offer, under a name (default: the file's name without its extension); repeatable
    #[arg(long = "model", value_name = "[NAME=]FILE", required = true)]
    models: Vec<ModelFile>,
    /// Context to offer, in tokens (default: 8192, or less if the model was trained with less)
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(16..=16_777_216))]
    context: Option<u32>,
    /// Threads per job (default: the processor's cores, divided by --slots)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    #[command(flatten)]
    mining: MiningOptions,
}

/// Runs the command.
pub async fn run(global: &GlobalOptions, arguments: Arguments) -> Result<(), CommandError> {
    let Arguments {
        models,
        context: context_tokens,
        threads,
        mining,
    } = arguments;
    let context = Context::new(global, mining.miner.clone())?;
    for model in &models {
        std::fs::File::open(&model.path).map_err(|error| {
            CommandError::file(
                format_args!("read the model {}", model.path.display()),
                &error,
            )
            .with_hint("name a GGUF file: --model NAME=/path/to/file.gguf")
        })?;
    }
    if mining.slots > 64 {
        return Err(
            CommandError::usage("the embedded engine runs at most 64 jobs at once")
                .with_hint("give fewer --slots"),
        );
    }
    context.note("loading the model");
    let engine = EngineProcess::start(&models, mining.slots, context_tokens, threads).await?;
    let offer = Offer {
        kind: ServerKind::Embedded,
        models: models.into_iter().map(|model| model.name).collect(),
        slots: mining.slots,
        context: context_tokens,
        speeds: SpeedStore::open(&context.folder()),
        tools: Vec::new(),
    };
    let mined = mine(
        &context,
        OllamaClient::new(engine.url().clone()),
        offer,
        false,
        &mining,
    )
    .await;
    engine.stop().await;
    mined
}
