//! `aitbc ledger tx`.

use aitbc_common::hash::Hash;
use aitbc_common::runtime::errors::CommandError;
use clap::Args;

use super::{fate, open};
use crate::context::Context;
use crate::output::record::{proof_line, record_text};
use crate::values::transaction_id;

const EXAMPLES: &str = "\
Examples:
  aitbc ledger tx 0x5c1e9a07c0ffee5c1e9a07c0ffee5c1e9a07c0ffee5c1e9a07c0ffee5c1e9a07
  aitbc ledger tx 0x5c1e… --json

What it means for a wallet: aitbc wallet verify HASH";

/// Which one.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Its hash: 0x and 64 hexadecimal digits
    #[arg(value_name = "HASH", value_parser = transaction_id)]
    hash: Hash,
}

/// Proves and prints it, and the record that resolved it.
pub async fn run(context: &Context, arguments: &Arguments) -> Result<(), CommandError> {
    let mut ledger = open(context).await?;
    let (transaction, fate) = fate::look_up(&mut ledger, &arguments.hash).await?;
    let proven = [Some(&transaction.record), transaction.resolution.as_ref()];
    let texts: Vec<String> = proven
        .into_iter()
        .flatten()
        .map(|proven| {
            let line = proof_line(proven.record.index, &proven.head);
            format!("{}\n  {line}", record_text(&proven.record))
        })
        .collect();
    context.result(&fate::document(&transaction, &fate), texts.join("\n"))
}
