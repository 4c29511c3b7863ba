//! `aitbc-miner`: mines, and serves models behind Ollama's API.

use std::process::ExitCode;

fn main() -> ExitCode {
    aitbc_miner::commands::main()
}
