//! `aitbc`: submit jobs, follow them, verify what came back; look after a miner.

mod arguments;
mod commands;
mod context;
mod output;
mod secrets;
mod siblings;
mod usage;
mod values;

use std::ffi::OsString;
use std::process::ExitCode;

use aitbc_common::runtime::errors::CommandError;
use aitbc_common::runtime::telemetry;

fn main() -> ExitCode {
    let raw: Vec<OsString> = std::env::args_os().collect();
    let json = usage::wants_json(&raw);
    let outcome = run(&raw);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error.print(json);
            error.exit.into()
        }
    }
}

fn run(raw: &[OsString]) -> Result<(), CommandError> {
    if let Some(delegated) = siblings::delegated_to_miner(raw) {
        return Err(siblings::become_miner(&delegated));
    }
    let Some(cli) = usage::parse(raw)? else {
        return Ok(());
    };
    telemetry::init(cli.global.verbose, cli.global.json);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| CommandError::file("start the runtime", &error))?;
    let outcome = runtime.block_on(commands::run(cli));
    // A read of stdin that was given up cannot be interrupted; the process ends all the same.
    runtime.shutdown_background();
    outcome
}
