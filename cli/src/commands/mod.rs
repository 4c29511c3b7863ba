//! The commands: one folder per noun, one file per verb.
//!
//! Each has `Arguments` (or a `Command` of verbs) and `run`, which returns an error for every exit code but 0.

pub mod agent;
pub mod chat;
pub mod client;
pub mod completions;
pub mod config;
pub mod dev;
pub mod identity;
pub mod ledger;
pub mod marketplace;
pub mod mcp;
pub mod miner;
pub mod models;
pub mod run;
pub mod token;
pub mod wallet;

use aitbc_common::runtime::errors::CommandError;

use crate::arguments::{Cli, Command};
use crate::context::Context;

/// Carries out a command line.
pub async fn run(cli: Cli) -> Result<(), CommandError> {
    if let Command::Completions(arguments) = &cli.command {
        return completions::run(arguments);
    }
    let context = &Context::new(&cli.global)?;
    match cli.command {
        Command::Run(arguments) => run::run(context, arguments).await,
        Command::Chat(arguments) => chat::run(context, arguments).await,
        Command::Client(command) => client::run(context, command).await,
        Command::Models(arguments) => models::run(context, arguments).await,
        Command::Miner(command) => miner::run(context, command).await,
        Command::Identity(command) => identity::run(context, command),
        Command::Wallet(command) => wallet::run(context, command).await,
        Command::Ledger(command) => ledger::run(context, command).await,
        Command::Marketplace(command) => marketplace::run(context, command).await,
        Command::Agent(command) => agent::run(context, command).await,
        Command::Mcp(arguments) => mcp::run(context, arguments).await,
        Command::Token(arguments) => token::run(context, arguments).await,
        Command::Config(command) => config::run(context, command).await,
        Command::Dev(arguments) => dev::run(context, arguments).await,
        Command::Completions(arguments) => completions::run(&arguments),
    }
}
