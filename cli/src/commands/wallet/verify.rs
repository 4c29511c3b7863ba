//! `aitbc wallet verify`.

use aitbc_common::hash::Hash;
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::runtime::terminal::rfc3339_ms;
use clap::Args;

use crate::commands::ledger::{self, fate};
use crate::context::Context;
use crate::values::transaction_id;

const EXAMPLES: &str = "\
Examples:
  aitbc wallet verify 0x5c1e9a07c0ffee5c1e9a07c0ffee5c1e9a07c0ffee5c1e9a07c0ffee5c1e9a07
  aitbc wallet verify 0x5c1e… --json

Needs no password and no wallet: anyone can check any transaction. All its fields: aitbc ledger tx HASH";

/// Which transaction.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Its hash: 0x and 64 hexadecimal digits
    #[arg(value_name = "TX", value_parser = transaction_id)]
    transaction: Hash,
}

/// Proves that it is in the ledger, and says what it did and what became of it.
pub async fn run(context: &Context, arguments: &Arguments) -> Result<(), CommandError> {
    let mut ledger = ledger::open(context).await?;
    let (transaction, fate) = fate::look_up(&mut ledger, &arguments.transaction).await?;
    let record = &transaction.record;
    let text = format!(
        "✓ 0x{hash} is in the ledger: leaf {index}, checkpoint of {size}\n  \
         recorded  {time}\n  \
         did       {deed}\n  \
         became    {outcome}",
        hash = hex::encode(arguments.transaction),
        index = record.record.index,
        size = record.head.size,
        time = rfc3339_ms(record.record.time_ms),
        deed = fate::deed(&transaction),
        outcome = fate::outcome(&transaction, &fate),
    );
    context.result(&fate::document(&transaction, &fate), text)
}
