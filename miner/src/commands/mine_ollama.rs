//! `aitbc-miner mine-ollama`.

use aitbc_common::runtime::command_line::GlobalOptions;
use aitbc_common::runtime::errors::CommandError;
use clap::Args;

use super::context::Context;
use super::mining::{MiningOptions, mine};
use super::server::{ServerOptions, parse_model};
use crate::model_server::{Offer, ServerKind};
use crate::speeds::SpeedStore;

/// Options of `mine-ollama`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  aitbc miner mine-ollama --model llama3                 one job, then exit
  aitbc miner mine-ollama --model llama3 --continuous    until Ctrl-C, which lets running jobs finish
  aitbc miner mine-ollama --continuous                   with every local model

The miner registers by itself where it is not registered yet, at price 0 on a development network.")]
pub struct Arguments {
    /// Model to offer; repeatable (default: every local model)
    #[arg(long = "model", value_name = "MODEL", value_parser = parse_model)]
    models: Vec<String>,
    /// Let Ollama download the models that it lacks
    #[arg(long, requires = "models")]
    pull: bool,
    #[command(flatten)]
    server: ServerOptions,
    #[command(flatten)]
    mining: MiningOptions,
}

/// Runs the command.
pub async fn run(global: &GlobalOptions, arguments: Arguments) -> Result<(), CommandError> {
    let Arguments {
        mut models,
        pull,
        server,
        mining,
    } = arguments;
    let context = Context::new(global, mining.miner.clone())?;
    models.sort();
    models.dedup();
    let offer = Offer {
        kind: ServerKind::Ollama,
        models,
        slots: mining.slots,
        context: server.context,
        speeds: SpeedStore::open(&context.folder()),
        tools: Vec::new(),
    };
    mine(&context, server.client(), offer, pull, &mining).await
}
