//! The command line: options that every command takes, and the commands.

use aitbc_common::runtime::command_line::GlobalOptions;
use clap::{Args, Parser, Subcommand};

use crate::commands::{
    agent, chat, client, completions, config, dev, identity, ledger, marketplace, mcp, miner,
    models, run, token, wallet,
};

const EXAMPLES: &str = "\
Examples:
  aitbc dev                                  run a network on this machine, to try things
  aitbc models                               see what can be asked for
  aitbc run llama3 \"Why is the sky blue?\"    ask, and print the answer
  aitbc client submit --type inference --model llama3 --prompt Hi
  aitbc client result last --wait            wait for the result and check its proof
  aitbc miner mine-ollama --model llama3 --continuous

Exit codes: 0 done, 1 failed, 2 usage, 3 coordinator unreachable, 4 authentication or wallet, 5 not found,
6 the job ended without a result, 7 not finished yet, 8 a proof did not check, 130 Ctrl-C.";

/// Which page of a list; of `SIZE` entries where nothing is said.
#[derive(Debug, Args)]
pub struct Page<const SIZE: u32> {
    /// Entries on one page, 1 to 1,000
    #[arg(long, value_name = "N", default_value_t = SIZE, value_parser = clap::value_parser!(u32).range(1..=1_000), allow_negative_numbers = true)]
    pub page_size: u32,
    /// The page after the one that gave this token, which must have asked for the same
    #[arg(
        long,
        value_name = "TOKEN",
        default_value = "",
        hide_default_value = true
    )]
    pub page_token: String,
}

/// AITBC: an open market for AI compute.
#[derive(Debug, Parser)]
#[command(name = "aitbc", bin_name = "aitbc", version, after_help = EXAMPLES, max_term_width = 120)]
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
    /// Ask a model and print its answer
    Run(run::Arguments),
    /// Talk with a model
    Chat(chat::Arguments),
    /// Submit jobs, follow them, fetch results
    #[command(subcommand)]
    Client(client::Command),
    /// List the models that can be asked for
    Models(models::Arguments),
    /// Look after this machine's miner, or see who mines
    #[command(subcommand)]
    Miner(miner::Command),
    /// Show who you are to the network
    #[command(subcommand)]
    Identity(identity::Command),
    /// Make and back up wallets; send, stake, follow and check money
    #[command(subcommand)]
    Wallet(wallet::Command),
    /// Check payments: records, proofs, the whole ledger
    #[command(subcommand)]
    Ledger(ledger::Command),
    /// List GPUs for rent, find offers
    #[command(subcommand)]
    Marketplace(marketplace::Command),
    /// Define agents, which work on a task with tools
    #[command(subcommand)]
    Agent(agent::Command),
    /// Serve the network to agents and editors as MCP tools, on stdin and stdout
    Mcp(mcp::Arguments),
    /// Print a bearer token for another client, such as grpcurl
    Token(token::Arguments),
    /// Show and change settings
    #[command(subcommand)]
    Config(config::Command),
    /// Run a coordinator, and a miner where there is a model, for development
    Dev(dev::Arguments),
    /// Print a completion script for a shell
    Completions(completions::Arguments),
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use aitbc_common::runtime::command_line::{parse, wants_json};
    use aitbc_common::runtime::errors::{CommandError, ExitCode};
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_examples() {
        fn visit(command: &clap::Command, path: &str) {
            for child in command.get_subcommands().filter(|c| c.get_name() != "help") {
                let path = format!("{path} {}", child.get_name());
                if child.has_subcommands() {
                    visit(child, &path);
                } else {
                    let help = child
                        .get_after_help()
                        .map(ToString::to_string)
                        .unwrap_or_default();
                    assert!(help.contains("Example"), "{path} has no examples");
                }
            }
        }
        visit(&Cli::command(), "aitbc");
    }

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
