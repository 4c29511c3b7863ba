//! Reading the command line, with errors as every other error: reason, message, hint, exit code 2.

use std::error::Error as _;
use std::ffi::OsString;

use aitbc_common::runtime::errors::CommandError;
use aitbc_common::runtime::terminal::{note_line, print_bytes};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser};

use crate::arguments::Cli;

/// Whether errors are to be JSON, known before the command line parses.
pub fn wants_json(raw: &[OsString]) -> bool {
    raw.iter()
        .skip(1)
        .take_while(|a| *a != "--")
        .any(|a| a == "--json")
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
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand if !wants_json(raw) => {
            note_line(error.render().to_string().trim_end());
            Err(CommandError::usage("a command is missing").with_hint("see: aitbc --help"))
        }
        _ => Err(explain(&error, raw)),
    }
}

fn explain(error: &clap::Error, raw: &[OsString]) -> CommandError {
    let help = format!("see: {} --help", command_path(raw));
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return CommandError::usage("a command is missing").with_hint(help);
    }
    let rendered = error.render().to_string();
    let message = rendered.split("\n\n").next().unwrap_or_default();
    let message = message
        .trim_start_matches("error: ")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
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

/// `aitbc` and the command as far as it was recognised.
fn command_path(raw: &[OsString]) -> String {
    let mut path = String::from("aitbc");
    let mut root = Cli::command();
    root.build();
    let mut command = &root;
    for argument in raw.iter().skip(1).filter_map(|a| a.to_str()) {
        let Some(child) = command.find_subcommand(argument) else {
            continue;
        };
        path.push(' ');
        path.push_str(child.get_name());
        command = child;
    }
    path
}

#[cfg(test)]
mod tests {
    use aitbc_common::runtime::errors::ExitCode;

    use super::*;

    fn parse_words(words: &str) -> Result<Option<Cli>, CommandError> {
        let raw: Vec<OsString> = std::iter::once("aitbc")
            .chain(words.split_whitespace())
            .map(OsString::from)
            .collect();
        parse(&raw)
    }

    fn refusal(words: &str) -> CommandError {
        let error = parse_words(words).unwrap_err();
        assert_eq!(
            (error.exit, error.reason.as_str()),
            (ExitCode::Usage, "USAGE"),
            "{words}"
        );
        error
    }

    #[test]
    fn global_options_stand_before_or_after_the_verb() {
        for words in [
            "--json --coordinator localhost:1 models",
            "models --json --coordinator=localhost:1",
            "miner --json list --coordinator localhost:1",
        ] {
            let cli = parse_words(words).unwrap().unwrap();
            assert!(cli.global.json, "{words}");
            assert_eq!(cli.global.coordinator.as_deref(), Some("localhost:1"));
        }
    }

    #[test]
    fn unknown_commands_and_options_name_the_nearest() {
        let error = refusal("modles");
        assert!(error.message.contains("modles"), "{error:?}");
        assert!(error.hint.unwrap().contains("models"));
        let error = refusal("miner poll --leese 5m");
        assert!(error.message.contains("--leese"), "{error:?}");
        let hint = error.hint.unwrap();
        assert!(
            hint.contains("--lease") && hint.contains("aitbc miner poll --help"),
            "{hint}"
        );
    }

    #[test]
    fn messages_are_one_line_and_hints_are_always_there() {
        for words in [
            "",
            "miner",
            "miner complete",
            "token --scope god",
            "miner poll --lease nonsense",
            "miner status not-an-id",
            "models extra",
            "\u{0}",
        ] {
            let error = refusal(words);
            assert!(
                !error.message.is_empty() && !error.message.contains('\n'),
                "{words}: {error:?}"
            );
            assert!(!error.message.contains("Usage:"), "{words}: {error:?}");
            assert!(error.hint.is_some(), "{words}");
        }
    }

    #[test]
    fn a_value_brings_its_own_hint() {
        let error = refusal("miner fail job_123");
        assert!(error.hint.unwrap().contains("26 characters"));
    }

    #[test]
    fn an_option_whose_value_may_be_missing_leaves_the_next_option_alone() {
        let cli = parse_words("miner poll --wait --json").unwrap().unwrap();
        assert!(cli.global.json);
        refusal("miner poll --wait -5");
    }

    #[test]
    fn json_is_recognised_in_a_command_line_that_does_not_parse() {
        let raw = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        assert!(wants_json(&raw(&["aitbc", "nonsense", "--json"])));
        assert!(!wants_json(&raw(&["aitbc", "run", "--", "--json"])));
    }
}
