//! The command line.

use std::error::Error as _;
use std::ffi::OsString;
use std::process::ExitCode;

use aitbc_common::runtime::errors::CommandError;
use aitbc_common::runtime::telemetry;
use aitbc_common::runtime::terminal::{note_line, print_bytes};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, Parser, Subcommand};

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

/// Options that every command takes, before or after the verb.
#[derive(Debug, Clone, Args)]
pub struct GlobalOptions {
    /// Print JSON: one document, or one per line for streams
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,
    /// The coordinator: HOST:PORT or http(s)://HOST:PORT [env: AITBC_COORDINATOR] [default: 127.0.0.1:50051]
    #[arg(
        long,
        global = true,
        value_name = "URL",
        help_heading = "Global options"
    )]
    pub coordinator: Option<String>,
    /// Log more to stderr; repeat for still more
    #[arg(long, short, global = true, action = clap::ArgAction::Count, help_heading = "Global options")]
    pub verbose: u8,
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
    let raw: Vec<OsString> = std::env::args_os().collect();
    let json = wants_json(&raw);
    match run(&raw) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error.print(json);
            error.exit.into()
        }
    }
}

fn run(raw: &[OsString]) -> Result<(), CommandError> {
    let Some(cli) = parse(raw)? else {
        return Ok(());
    };
    telemetry::init(cli.global.verbose, cli.global.json);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| CommandError::file("start the runtime", &error))?;
    let global = &cli.global;
    let outcome = runtime.block_on(async {
        match cli.command {
            Command::Register(arguments) => register::run(global, arguments).await,
            Command::MineOllama(arguments) => mine_ollama::run(global, arguments).await,
            #[cfg(feature = "engine")]
            Command::Mine(arguments) => mine::run(global, arguments).await,
            #[cfg(feature = "engine")]
            Command::Engine(arguments) => engine::run(arguments).await,
            Command::Test(arguments) => test::run(global, arguments).await,
        }
    });
    runtime.shutdown_background();
    outcome
}

/// Whether errors are to be JSON, known before the command line parses.
fn wants_json(raw: &[OsString]) -> bool {
    raw.iter()
        .skip(1)
        .take_while(|argument| *argument != "--")
        .any(|argument| argument == "--json")
}

/// Reads the command line. `None`: help or the version was asked for, and printed.
pub fn parse(raw: &[OsString]) -> Result<Option<Cli>, CommandError> {
    let error = match Cli::try_parse_from(raw) {
        Ok(cli) => return Ok(Some(cli)),
        Err(error) => error,
    };
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            print_bytes(error.render().to_string().as_bytes())?;
            Ok(None)
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            if !wants_json(raw) {
                note_line(error.render().to_string().trim_end());
            }
            Err(CommandError::usage("a command is missing").with_hint("see: aitbc-miner --help"))
        }
        _ => Err(explain(&error, raw)),
    }
}

fn explain(error: &clap::Error, raw: &[OsString]) -> CommandError {
    let rendered = error.render().to_string();
    let message = rendered
        .split("\n\n")
        .next()
        .unwrap_or_default()
        .trim_start_matches("error: ");
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    let own = error
        .source()
        .and_then(|source| source.downcast_ref::<CommandError>());
    let help = format!("see: {} --help", command_path(raw));
    let hint = match (own.and_then(|error| error.hint.clone()), suggestion(error)) {
        (Some(hint), _) => hint,
        (None, Some(near)) => format!("did you mean {near}? {help}"),
        (None, None) => help,
    };
    CommandError::usage(message).with_hint(hint)
}

fn suggestion(error: &clap::Error) -> Option<String> {
    let kinds = [
        ContextKind::SuggestedArg,
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedValue,
    ];
    match kinds.into_iter().find_map(|kind| error.get(kind))? {
        ContextValue::String(near) => Some(near.clone()),
        // The most similar one comes last.
        ContextValue::Strings(near) => near.last().cloned(),
        _ => None,
    }
}

/// The program and the command as far as it was recognised.
fn command_path(raw: &[OsString]) -> String {
    let root = Cli::command();
    let verb = raw
        .iter()
        .skip(1)
        .filter_map(|argument| argument.to_str())
        .find_map(|a| root.find_subcommand(a));
    verb.map_or_else(
        || "aitbc-miner".to_owned(),
        |verb| format!("aitbc-miner {}", verb.get_name()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(words: &[&str]) -> CommandError {
        let raw: Vec<OsString> = std::iter::once("aitbc-miner")
            .chain(words.iter().copied())
            .map(OsString::from)
            .collect();
        parse(&raw).unwrap_err()
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
    fn bad_values_are_usage_errors_with_a_hint() {
        for (words, part) in [
            (&["register", "--price-per-hour", "-1"][..], "negative"),
            (&["register", "--price-per-hour", "NaN"], "not an amount"),
            (&["register", "--price-per-hour", "1e9"], "not an amount"),
            (&["register", "--price-per-hour", "1000001"], "too much"),
            (&["register", "--price-per-hour", "0.1234567"], "6 decimals"),
            (&["register", "--gpus", "RTX 4090"], "at character 1"),
            (&["register", "--slots", "0"], "1..=256"),
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
