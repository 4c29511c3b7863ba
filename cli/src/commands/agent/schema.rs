//! `aitbc agent schema`.

use aitbc_common::agents::CONFIG_SCHEMA;
use aitbc_common::runtime::errors::CommandError;
use clap::Args;
use serde_json::Value;

use crate::context::Context;

const EXAMPLES: &str = "\
Example:
  aitbc agent schema > agent_config.schema.json

Name it in a config, and editors complete and check it as you type: \"$schema\": \"./agent_config.schema.json\"";

/// Nothing to choose.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {}

/// Prints the schema.
pub fn run(context: &Context, _arguments: &Arguments) -> Result<(), CommandError> {
    let document: Value = serde_json::from_str(CONFIG_SCHEMA).expect("a test reads the schema");
    context.result(&document, CONFIG_SCHEMA.trim_end())
}
