//! Verbs that the miner's own program carries out. Its options are not repeated here: everything after the verb goes
//! to it unread.

use std::ffi::OsString;

use aitbc_common::runtime::errors::CommandError;
use clap::Args;

use crate::siblings::become_miner;

pub const REGISTER: &str = "\
Examples:
  aitbc miner register
  aitbc miner register --gpus \"1x RTX 4090\" --price-per-hour 0.5

All options: aitbc miner register --help";

pub const MINE: &str = "\
Example:
  aitbc miner mine --model llama3=llama3.gguf --continuous

All options: aitbc miner mine --help";

pub const MINE_OLLAMA: &str = "\
Example:
  aitbc miner mine-ollama --model llama3 --continuous

All options: aitbc miner mine-ollama --help";

pub const TEST: &str = "\
Example:
  aitbc miner test --model llama3

All options: aitbc miner test --help";

/// What comes after such a verb.
#[derive(Debug, Args)]
pub struct Options {
    /// Options of aitbc-miner's verb of the same name
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "OPTIONS"
    )]
    arguments: Vec<OsString>,
}

/// Becomes the miner's program; returns only if that fails.
pub fn run(verb: &str, options: Options) -> CommandError {
    let arguments: Vec<OsString> = std::iter::once(OsString::from(verb))
        .chain(options.arguments)
        .collect();
    become_miner(&arguments)
}
