//! The command line.

use std::ffi::OsString;
use std::process::ExitCode;

use aitbc_common::runtime::command_line::{self, GlobalOptions};
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::runtime::telemetry;
use clap::{Parser, Subcommand};

#[cfg(feature = "engine")]
use super::{engine, mine};
use super::{mine_ollama, register, test};

/// The AITBC miner: takes jobs from a coordinator and runs them on a local model server.
#[derive(Debug, Parser)]
#[command(name = "aitbc-miner", version, max_term_width = 120)]
pub struct Cli {
    /// Options that every command takes.
    #[command(flatten)]
    pub global: GlobalOptions,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Register this machine as a miner, or bring its registration up to date
    Register(register::Arguments),
    /// Mine with the models of a running Ollama
    MineOllama(mine_ollama::Arguments),
    /// Mine with GGUF files on the embedded engine: nothing else to install
    #[cfg(feature = "engine")]
    Mine(mine::Arguments),
    /// Serve GGUF files behind Ollama's HTTP API
    #[cfg(feature = "engine")]
    Engine(engine::Arguments),
    /// Run one local inference and measure its speeds; needs no coordinator
    Test(test::Arguments),
}

/// Runs a command line, from its arguments to its exit code.
pub fn main() -> ExitCode {
    command_line::main(run)
}

fn run(raw: &[OsString]) -> Result<(), CommandError> {
    let Some(cli) = command_line::parse::<Cli>(raw)? else {
        return Ok(());
    };
    telemetry::init(cli.global.verbose, cli.global.json);
    let global = &cli.global;
    command_line::block_on(async {
        match cli.command {
            Command::Register(arguments) => register::run(global, arguments).await,
            Command::MineOllama(arguments) => mine_ollama::run(global, arguments).await,
            #[cfg(feature = "engine")]
            Command::Mine(arguments) => mine::run(global, arguments).await,
            #[cfg(feature = "engine")]
            Command::Engine(arguments) => engine::run(arguments).await,
            Command::Test(arguments) => test::run(global, arguments).await,
        }
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn failure(words: &[&str]) -> CommandError {
        let raw: Vec<OsString> = std::iter::once("aitbc-miner")
            .chain(words.iter().copied())
            .map(OsString::from)
            .collect();
        command_line::parse::<Cli>(&raw).unwrap_err()
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
        for command in Cli::command().get_subcommands() {
            let help = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(
                help.contains("Example"),
                "{} has no examples",
                command.get_name()
            );
        }
    }

    #[test]
    fn the_program_is_named_as_it_was_started() {
        for name in ["aitbc-miner", "aitbc miner"] {
            let raw = [name, "register", "--nonsense"].map(OsString::from);
            let hint = command_line::parse::<Cli>(&raw).unwrap_err().hint.unwrap();
            assert_eq!(hint, format!("see: {name} register --help"));
        }
    }

    #[test]
    fn bad_values_are_usage_errors_with_a_hint() {
        for (words, part) in [
            (&["register", "--price-per-hour", "-1"][..], "negative"),
            (&["register", "--price-per-hour", "NaN"], "not an amount"),
            (&["register", "--price-per-hour", "1e9"], "not an amount"),
            (&["register", "--price-per-hour", "1000001"], "too much"),
            (&["register", "--price-per-hour", "0.1234567"], "6 decimals"),
            (&["register", "--gpus", "RTX 4090"], "at character 1"),
            (&["register", "--gpus", "-1x RTX 4090"], "at character 1"),
            (&["register", "--slots", "0"], "must be 1 to 256"),
            (&["register", "--payout", "0x12"], "address"),
            (&["mine-ollama", "--model", "lla ma"], "at character 4"),
            (
                &["mine-ollama", "--ollama-url", "ftp://x"],
                "no address of a model server",
            ),
            (&["mine-olama"], "mine-olama"),
        ] {
            let error = failure(words);
            assert_eq!(error.exit.number(), 2, "{words:?}");
            assert!(error.message.contains(part), "{words:?}: {}", error.message);
            assert!(error.hint.is_some(), "{words:?}");
        }
        assert!(
            failure(&["mine-olama"])
                .hint
                .unwrap()
                .contains("mine-ollama")
        );
    }
}
