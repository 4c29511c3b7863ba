//! `aitbc completions`: completion scripts.

use aitbc_common::runtime::errors::CommandError;
use aitbc_common::runtime::terminal::print_bytes;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::arguments::Cli;

const EXAMPLES: &str = "\
Examples:
  aitbc completions bash > ~/.local/share/bash-completion/completions/aitbc
  aitbc completions zsh > ~/.zfunc/_aitbc
  aitbc completions fish > ~/.config/fish/completions/aitbc.fish";

/// Which shell.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script.
pub fn run(arguments: &Arguments) -> Result<(), CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "aitbc", &mut script);
    print_bytes(&script)
}
