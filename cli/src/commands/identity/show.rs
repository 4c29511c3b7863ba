//! `aitbc identity show`.

use aitbc_common::address::Address;
use aitbc_common::runtime::errors::CommandError;
use clap::Args;
use serde_json::json;

use crate::context::Context;

const EXAMPLES: &str = "\
Examples:
  aitbc identity show
  aitbc identity show --miner rig-1

The file is the identity: back it up, and show it to nobody.";

/// Whose identity.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Of this miner of yours, not of the client
    #[arg(long, value_name = "NAME")]
    miner: Option<String>,
}

/// Prints the public key, the file and the development payee.
pub fn run(context: &Context, arguments: &Arguments) -> Result<(), CommandError> {
    let (identity, file) = match &arguments.miner {
        Some(name) => (
            context.home.miner_identity(name)?,
            context.home.miner_dir(name).join("identity.key"),
        ),
        None => (context.home.identity()?, context.home.identity_file()),
    };
    let document = json!({
        "identity": identity.public().to_string(),
        "miner": arguments.miner,
        "file": file.display().to_string(),
        "development_payee": Address::dev_payee(&identity).to_string(),
    });
    let text = format!("{}\n  file  {}", identity.public(), file.display());
    context.result(&document, text)
}
