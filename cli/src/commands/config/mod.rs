//! `aitbc config`: settings.

mod set;
mod show;
mod trust;

use aitbc_common::runtime::errors::CommandError;
use clap::Subcommand;

use crate::context::Context;

/// Its verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show every setting and where it comes from
    Show(show::Arguments),
    /// Change a setting in the file
    Set(set::Arguments),
    /// Accept the network that now runs at the coordinator's address
    Trust(trust::Arguments),
}

/// Carries out a verb.
pub async fn run(context: &Context, command: Command) -> Result<(), CommandError> {
    match command {
        Command::Show(arguments) => show::run(context, &arguments),
        Command::Set(arguments) => set::run(context, &arguments),
        Command::Trust(arguments) => trust::run(context, &arguments).await,
    }
}
