//! `aitbc agent`: agents, which work on a task with tools.

mod check;
mod create;
mod delete;
mod execute;
mod executions;
mod init;
mod list;
mod logs;
mod schema;
mod show;
mod update;
pub mod watch;

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
    /// Create an agent from a config
    Create(create::Arguments),
    /// List your agents
    List(list::Arguments),
    /// Show an agent, or an earlier version of it
    Show(show::Arguments),
    /// Give an agent a new version, or another name
    Update(update::Arguments),
    /// Delete an agent
    Delete(delete::Arguments),
    /// Let an agent work on a task, and watch it
    Execute(Box<execute::Arguments>),
    /// List what your agents worked on, newest first
    Executions(executions::Arguments),
    /// Show what an agent did: its thoughts, tool calls and answer
    Logs(logs::Arguments),
}

/// Carries out a verb.
pub async fn run(context: &Context, command: Command) -> Result<(), CommandError> {
    match command {
        Command::Init(arguments) => init::run(context, &arguments),
        Command::Check(arguments) => check::run(context, &arguments),
        Command::Schema(arguments) => schema::run(context, &arguments),
        Command::Create(arguments) => create::run(context, arguments).await,
        Command::List(arguments) => list::run(context, arguments).await,
        Command::Show(arguments) => show::run(context, arguments).await,
        Command::Update(arguments) => update::run(context, arguments).await,
        Command::Delete(arguments) => delete::run(context, arguments).await,
        Command::Execute(arguments) => execute::run(context, *arguments).await,
        Command::Executions(arguments) => executions::run(context, arguments).await,
        Command::Logs(arguments) => logs::run(context, arguments).await,
    }
}

/// Reads a type of agents.
fn agent_type(name: &str) -> Result<AgentType, CommandError> {
    AgentType::from_str(name)
        .map_err(|error| CommandError::usage(error.message).with_hint(error.hint))
}

/// Reads a version of an agent: from 1.
fn version(text: &str) -> Result<u32, CommandError> {
    let version = text.parse().ok().filter(|version| *version > 0);
    version.ok_or_else(|| {
        let shown: String = text.chars().take(40).collect();
        CommandError::usage(format!("{shown:?} is no version of an agent"))
            .with_hint("versions count from 1; leave it out for the newest")
    })
}
