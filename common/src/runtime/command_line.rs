//! Reading a command line, with errors as every other error: reason, message, hint, exit code 2.

use std::error::Error as _;
use std::ffi::OsString;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Parser};

use super::errors::CommandError;
use super::terminal::{note_line, print_bytes};

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
    /// The authority (PEM) that signed the coordinator's certificate, where the system does not know it [env: AITBC_CA_CERTIFICATE]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        help_heading = "Global options"
    )]
    pub ca_certificate: Option<PathBuf>,
    /// Log more to stderr; repeat for still more
    #[arg(long, short, global = true, action = clap::ArgAction::Count, help_heading = "Global options")]
    pub verbose: u8,
}

/// A whole program: runs it with its arguments, prints its error, and gives its exit code.
pub fn main(run: impl FnOnce(&[OsString]) -> Result<(), CommandError>) -> process::ExitCode {
    let raw: Vec<OsString> = std::env::args_os().collect();
    match run(&raw) {
        Ok(()) => process::ExitCode::SUCCESS,
        Err(error) => {
            error.print(wants_json(&raw));
            error.exit.into()
        }
    }
}

/// Runs a command to its end. A read of stdin that was given up cannot be interrupted; the process ends all the same.
pub fn block_on(
    command: impl Future<Output = Result<(), CommandError>>,
) -> Result<(), CommandError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| CommandError::file("start the runtime", &error))?;
    let outcome = runtime.block_on(command);
    runtime.shutdown_background();
    outcome
}

/// Whether errors are to be JSON, known before the command line parses.
#[must_use]
pub fn wants_json(raw: &[OsString]) -> bool {
    raw.iter()
        .skip(1)
        .take_while(|a| *a != "--")
        .any(|a| a == "--json")
}

/// Reads the command line. `None`: help or the version was asked for, and printed.
pub fn parse<C: Parser>(raw: &[OsString]) -> Result<Option<C>, CommandError> {
    let error = match C::try_parse_from(raw) {
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
            Err(CommandError::usage("a command is missing").with_hint(see_help::<C>(raw)))
        }
        _ => Err(explain::<C>(&error, raw)),
    }
}

fn explain<C: Parser>(error: &clap::Error, raw: &[OsString]) -> CommandError {
    let help = see_help::<C>(raw);
    let rendered = error.render().to_string();
    let message = rendered.split("\n\n").next().unwrap_or_default();
    let message = message
        .trim_start_matches("error: ")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    let message = plain_range(&message).unwrap_or(message);
    let own = error
        .source()
        .and_then(|source| source.downcast_ref::<CommandError>());
    let hint = match (own.and_then(|e| e.hint.clone()), suggestion(error)) {
        (Some(hint), _) => hint,
        (None, Some(near)) => format!("did you mean {near}? {help}"),
        (None, None) => help,
    };
    CommandError::usage(message).with_hint(hint)
}

/// `…: 0 is not in 1..=256` as people say it: `…: must be 1 to 256`.
fn plain_range(message: &str) -> Option<String> {
    let (before, range) = message.rsplit_once(" is not in ")?;
    let (lowest, highest) = range.split_once("..=")?;
    let (option, _value) = before.rsplit_once(": ")?;
    Some(format!("{option}: must be {lowest} to {highest}"))
}

fn suggestion(error: &clap::Error) -> Option<String> {
    let kinds = [
        ContextKind::SuggestedArg,
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedValue,
    ];
    let value = kinds.into_iter().find_map(|kind| error.get(kind))?;
    match value {
        ContextValue::String(near) => Some(near.clone()),
        // The most similar comes last.
        ContextValue::Strings(near) => near.last().cloned(),
        _ => None,
    }
}

/// What the user typed, without its folder.
fn program_name(program: &OsString) -> String {
    let name = Path::new(program).file_name().unwrap_or(program);
    name.to_string_lossy().into_owned()
}

/// Where help is to be had about the command, as far as it was recognised.
fn see_help<C: Parser>(raw: &[OsString]) -> String {
    let mut root = C::command();
    root.build();
    let mut path = raw.first().map_or_else(String::new, program_name);
    let mut command = &root;
    for argument in raw.iter().skip(1).filter_map(|a| a.to_str()) {
        let Some(child) = command.find_subcommand(argument) else {
            continue;
        };
        path.push(' ');
        path.push_str(child.get_name());
        command = child;
    }
    format!("see: {path} --help")
}
