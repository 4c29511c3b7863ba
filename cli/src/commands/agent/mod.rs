//! `aitbc agent`: agents, which work on a task with tools.

mod check;
mod init;
mod schema;

use std::str::FromStr;

use aitbc_common::agents::AgentType;
use aitbc_common::runtime::errors::CommandError;
use clap::Subcommand;

use crate::context::Context;

/// Its verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a config to start from
    Init(init::Arguments),
    /// Check a config and the files that it names, and show what it means
    Check(check::Arguments),
    /// Print the JSON Schema of configs
    Schema(schema::Arguments),
}

/// Carries out a verb.
pub fn run(context: &Context, command: Command) -> Result<(), CommandError> {
    match command {
        Command::Init(arguments) => init::run(context, &arguments),
        Command::Check(arguments) => check::run(context, &arguments),
        Command::Schema(arguments) => schema::run(context, &arguments),
    }
}

/// Reads a type of agents.
fn agent_type(name: &str) -> Result<AgentType, CommandError> {
    AgentType::from_str(name)
        .map_err(|error| CommandError::usage(error.message).with_hint(error.hint))
}
