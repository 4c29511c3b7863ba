//! `aitbc wallet use`.

use aitbc_common::runtime::errors::CommandError;
use aitbc_common::runtime::wallets::WALLET_VARIABLE;
use clap::Args;

use super::wallet_json;
use crate::context::Context;

const EXAMPLES: &str = "\
Example:
  aitbc wallet use savings

Commands use the active wallet where none is named; AITBC_WALLET names another one for one shell.";

/// Which one.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The wallet
    name: String,
}

/// Makes it the active one.
pub fn run(context: &Context, arguments: &Arguments) -> Result<(), CommandError> {
    let wallets = context.home.wallets();
    let wallet = wallets.get(&arguments.name)?;
    wallets.activate(&wallet.name)?;
    let text = format!("Wallet active: {}  {}", wallet.name, wallet.address);
    context.result(&wallet_json(&wallet, true), text)?;
    let variable = std::env::var(WALLET_VARIABLE).unwrap_or_default();
    if !variable.is_empty() && variable != wallet.name {
        context.warn(
            "SETTING_OVERRIDDEN",
            format_args!("the environment variable {WALLET_VARIABLE} still wins: {variable}"),
        );
    }
    Ok(())
}
