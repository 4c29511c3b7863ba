//! `aitbc marketplace`: list GPUs for rent, and find them.

mod gpu;
mod offers;

use aitbc_common::runtime::errors::CommandError;
use clap::Subcommand;

use crate::context::Context;

/// Its nouns.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List this machine's GPUs for rent, and look after the listings
    #[command(subcommand)]
    Gpu(gpu::Command),
    /// Find GPUs that others offer
    #[command(subcommand)]
    Offers(offers::Command),
}

/// Carries out a command.
pub async fn run(context: &Context, command: Command) -> Result<(), CommandError> {
    match command {
        Command::Gpu(command) => gpu::run(context, command).await,
        Command::Offers(command) => offers::run(context, command).await,
    }
}
