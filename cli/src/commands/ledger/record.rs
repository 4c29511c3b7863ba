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
    #[arg(value_parser = index, allow_hyphen_values = true)]
    index: u64,
}

fn index(text: &str) -> Result<u64, CommandError> {
    text.parse().map_err(|_| {
        let shown: String = text.chars().take(40).collect();
        CommandError::usage(format!("{shown:?} is no record's place in the log"))
            .with_hint("give a whole number from 0 on; a transaction is found by its hash with: aitbc ledger tx 0x…")
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_named_by_its_place() {
        assert_eq!(index("0"), Ok(0));
        assert_eq!(index("18446744073709551615"), Ok(u64::MAX));
        for bad in ["", "x", "-1", "1.0", "1e3", "18446744073709551616", "0x5c"] {
            let error = index(bad).unwrap_err();
            assert!(error.hint.is_some() && error.exit.number() == 2, "{bad}");
        }
    }
}
