//! The command line: options that every command takes, and the commands.

use clap::{Args, Parser, Subcommand};

use crate::commands::{
    chat, client, completions, config, dev, identity, miner, models, run, token, wallet,
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
    /// Make, import and back up wallets
    #[command(subcommand)]
    Wallet(wallet::Command),
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
}
