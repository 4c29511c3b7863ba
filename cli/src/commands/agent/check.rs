//! `aitbc agent check`.

use std::path::PathBuf;

use aitbc_common::agents::{AgentType, Definition};
use aitbc_common::hash::hash_text;
use aitbc_common::runtime::errors::CommandError;
use clap::Args;
use serde_json::json;

use super::agent_type;
use crate::agents::{CONFIG_FILE, Loaded, load};
use crate::context::Context;
use crate::output::agent::parts;

const EXAMPLES: &str = "\
Examples:
  aitbc agent check --type analysis
  aitbc agent check --type custom --config librarian.json --json

Nothing is sent. With --json: the definition with every default filled in, and its hash.";

/// What to check.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// What the agent is for: analysis, research, chat or custom
    #[arg(long = "type", value_name = "TYPE", default_value = "analysis", value_parser = agent_type)]
    agent_type: AgentType,
    /// The config
    #[arg(long, value_name = "FILE", default_value = CONFIG_FILE)]
    config: PathBuf,
}

/// Reads the config and its files.
pub fn run(context: &Context, arguments: &Arguments) -> Result<(), CommandError> {
    let Loaded { definition, files } = load(&arguments.config, arguments.agent_type)?;
    let paths: Vec<String> = files
        .iter()
        .map(|file| file.path.display().to_string())
        .collect();
    let config_hash = hash_text(&definition.config_hash());
    let document = json!({
        "config": arguments.config.display().to_string(),
        "config_hash": config_hash,
        "definition": definition,
        "file_paths": paths,
    });
    let text = format!(
        "{} is right: {}\n  hash  {config_hash}",
        arguments.config.display(),
        summary(&definition)
    );
    context.result(&document, text)
}

/// `analysis, llama3:latest, tools sql + calculator, files q3.csv`.
fn summary(definition: &Definition) -> String {
    let files: Vec<&str> = definition
        .files
        .iter()
        .map(|file| file.name.as_str())
        .collect();
    format!(
        "{}, {}, {}",
        definition.agent_type,
        definition.model,
        parts(&definition.tools, &files)
    )
}
