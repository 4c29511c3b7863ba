//! `aitbc identity`: who this user is.

mod show;

use aitbc_common::runtime::errors::CommandError;
use clap::Subcommand;

use crate::context::Context;

/// Its verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the public key that names you, and where the secret one is
    Show(show::Arguments),
}

/// Carries out a verb.
pub fn run(context: &Context, command: Command) -> Result<(), CommandError> {
    match command {
        Command::Show(arguments) => show::run(context, &arguments),
    }
}
