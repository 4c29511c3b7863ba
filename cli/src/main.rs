//! `aitbc`: submit jobs, follow them, verify what came back; look after a miner.

mod agents;
mod arguments;
mod commands;
mod context;
mod interrupt;
mod output;
mod retries;
mod secrets;
mod siblings;
mod transactions;
mod values;

use std::ffi::OsString;
use std::process::ExitCode;

use aitbc_common::runtime::command_line;
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::runtime::telemetry;

fn main() -> ExitCode {
    command_line::main(run)
}

fn run(raw: &[OsString]) -> Result<(), CommandError> {
    if let Some(delegated) = siblings::delegated_to_miner(raw) {
        return Err(siblings::become_miner(&delegated));
    }
    let Some(cli) = command_line::parse::<arguments::Cli>(raw)? else {
        return Ok(());
    };
    telemetry::init(cli.global.verbose, cli.global.json);
    command_line::block_on(commands::run(cli))
}
