//! `aitbc agent init`.

use std::path::PathBuf;

use aitbc_common::agents::AgentType;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::runtime::files::{PLAIN_MODE, write_atomic, write_new};
use clap::Args;
use serde_json::json;

use super::agent_type;
use crate::agents::{CONFIG_FILE, template};
use crate::context::Context;

const EXAMPLES: &str = "\
Examples:
  aitbc agent init
  aitbc agent init --type research --output librarian.json

Types: analysis (data in files), research (what texts say), chat, custom (no prompt and no tools of its own).";

/// What to write, and where.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// What the agent is for: analysis, research, chat or custom
    #[arg(long = "type", value_name = "TYPE", default_value = "analysis", value_parser = agent_type)]
    agent_type: AgentType,
    /// The file to write
    #[arg(long, value_name = "FILE", default_value = CONFIG_FILE)]
    output: PathBuf,
    /// Replace a file that is there already
    #[arg(long)]
    force: bool,
}

/// Writes the file.
pub fn run(context: &Context, arguments: &Arguments) -> Result<(), CommandError> {
    let (file, agent_type) = (&arguments.output, arguments.agent_type);
    let text = template::config(agent_type);
    if arguments.force {
        write_atomic(file, text.as_bytes(), PLAIN_MODE)?;
    } else if !write_new(file, text.as_bytes(), PLAIN_MODE)? {
        let message = format!("{} is there already", file.display());
        return Err(CommandError::new(ExitCode::Failed, "FILE_EXISTS", message)
            .with_hint("name another with --output FILE, or replace it with --force"));
    }
    let shown = file.display().to_string();
    let document = json!({"file": shown, "type": agent_type.as_str()});
    context.result(
        &document,
        format!("{shown} written, an agent of type {agent_type}"),
    )?;
    let option = if shown == CONFIG_FILE {
        String::new()
    } else {
        format!(" --config {shown}")
    };
    context.next(format_args!(
        "aitbc agent create --name NAME --type {agent_type}{option}"
    ));
    Ok(())
}
