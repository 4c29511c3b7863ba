//! Verbs that the miner's own program carries out. Its options are not repeated here: everything after the verb goes
//! to it unread.

use std::ffi::OsString;

use aitbc_common::runtime::errors::CommandError;
use clap::Args;

use crate::siblings::become_miner;

/// `aitbc miner register`.
#[derive(Debug, Args)]
#[command(
    disable_help_flag = true,
    after_help = "\
Examples:
  aitbc miner register
  aitbc miner register --gpus \"1x RTX 4090\" --price-per-hour 0.5

All options: aitbc miner register --help"
)]
pub struct Register {
    /// Options of aitbc-miner register
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "OPTIONS"
    )]
    pub arguments: Vec<OsString>,
}

/// `aitbc miner mine`.
#[derive(Debug, Args)]
#[command(
    disable_help_flag = true,
    after_help = "\
Example:
  aitbc miner mine --model llama3=llama3.gguf --continuous

All options: aitbc miner mine --help"
)]
pub struct Mine {
    /// Options of aitbc-miner mine
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "OPTIONS"
    )]
    pub arguments: Vec<OsString>,
}

/// `aitbc miner mine-ollama`.
#[derive(Debug, Args)]
#[command(
    disable_help_flag = true,
    after_help = "\
Example:
  aitbc miner mine-ollama --model llama3 --continuous

All options: aitbc miner mine-ollama --help"
)]
pub struct MineOllama {
    /// Options of aitbc-miner mine-ollama
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "OPTIONS"
    )]
    pub arguments: Vec<OsString>,
}

/// `aitbc miner test`.
#[derive(Debug, Args)]
#[command(
    disable_help_flag = true,
    after_help = "\
Example:
  aitbc miner test --model llama3

All options: aitbc miner test --help"
)]
pub struct Test {
    /// Options of aitbc-miner test
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "OPTIONS"
    )]
    pub arguments: Vec<OsString>,
}

/// Becomes the miner's program; returns only if that fails.
pub fn run(verb: &str, arguments: Vec<OsString>) -> CommandError {
    let arguments: Vec<OsString> = std::iter::once(OsString::from(verb))
        .chain(arguments)
        .collect();
    become_miner(&arguments)
}
