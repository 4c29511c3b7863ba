//! `aitbc ledger record`.

use aitbc_common::runtime::errors::{CommandError, ExitCode};
use clap::Args;

use super::open;
use crate::context::Context;
use crate::output::record::{proof_line, record_json, record_text};

const EXAMPLES: &str = "\
Examples:
  aitbc ledger record 0             the genesis file
  aitbc ledger record 40 --json";

/// Which one.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Its place in the log, from 0
    index: u64,
}

/// Proves and prints it.
pub async fn run(context: &Context, arguments: &Arguments) -> Result<(), CommandError> {
    let mut ledger = open(context).await?;
    let (checkpoint, records) = ledger.checkpoint().await?;
    let records = records.max(checkpoint.head.size);
    if arguments.index >= records {
        let message = format!(
            "there is no record {}: the ledger has {records}",
            arguments.index
        );
        return Err(
            CommandError::new(ExitCode::NotFound, "RECORD_NOT_FOUND", message).with_hint(format!(
                "the newest is: aitbc ledger record {}",
                records.saturating_sub(1)
            )),
        );
    }
    let proven = ledger.record(arguments.index).await?;
    let text = format!(
        "{}\n  {}",
        record_text(&proven.record),
        proof_line(arguments.index, &proven.head)
    );
    context.result(&record_json(&proven), text)
}
