//! `aitbc wallet show`.

use aitbc_common::runtime::errors::CommandError;
use clap::Args;

use super::{Which, is_active, wallet_json};
use crate::context::Context;

const EXAMPLES: &str = "\
Examples:
  aitbc wallet show
  aitbc wallet show savings --json

No password is needed: the address is in the keystore file, and checked whenever that is opened.";

/// Which one.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    which: Which,
}

/// Prints its address and file.
pub fn run(context: &Context, arguments: &Arguments) -> Result<(), CommandError> {
    let wallet = arguments.which.select(context)?;
    let active = is_active(context, &wallet)?;
    let text = format!(
        "{}  {}{}\n  keystore  {}",
        wallet.name,
        wallet.address,
        if active { "  (active)" } else { "" },
        wallet.file.display()
    );
    context.result(&wallet_json(&wallet, active), text)
}
