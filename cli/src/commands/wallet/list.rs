//! `aitbc wallet list`.

use aitbc_common::runtime::errors::CommandError;
use clap::Args;

use super::wallet_json;
use crate::context::Context;
use crate::output::json::page;
use crate::output::table;

const EXAMPLES: &str = "\
Example:
  aitbc wallet list";

/// Nothing to choose.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {}

/// Prints them. A file that cannot be read is warned about and left out.
pub fn run(context: &Context, _arguments: &Arguments) -> Result<(), CommandError> {
    let wallets = context.home.wallets();
    let active = wallets.active()?;
    let (mut documents, mut rows) = (Vec::new(), Vec::new());
    let names = wallets.names()?;
    for name in &names {
        match wallets.get(name) {
            Ok(wallet) => {
                let is_active = active.as_deref() == Some(name);
                documents.push(wallet_json(&wallet, is_active));
                let state = if is_active { "active" } else { "" };
                rows.push(vec![
                    name.clone(),
                    wallet.address.to_string(),
                    state.to_owned(),
                ]);
            }
            Err(error) => context.warn(&error.reason, &error.message),
        }
    }
    let document = page("wallets", documents, "");
    if names.is_empty() {
        context.result(&document, "no wallet")?;
        context.next("aitbc wallet create --name my_wallet");
        return Ok(());
    }
    context.result(
        &document,
        table::render(&["WALLET", "ADDRESS", "STATE"], rows),
    )
}
