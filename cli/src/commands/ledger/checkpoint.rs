//! `aitbc ledger checkpoint`.

use aitbc_common::hash::hash_text;
use aitbc_common::runtime::errors::CommandError;
use clap::Args;
use serde_json::json;

use super::open;
use crate::context::Context;

const EXAMPLES: &str = "\
Examples:
  aitbc ledger checkpoint
  aitbc ledger checkpoint --json

Compare it with another user's: two checkpoints of one size must be the same. The text is a signed note as of
c2sp.org/tlog-checkpoint.";

/// Nothing to choose.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {}

/// Checks and prints it.
pub async fn run(context: &Context, _arguments: &Arguments) -> Result<(), CommandError> {
    let mut ledger = open(context).await?;
    let (checkpoint, _) = ledger.checkpoint().await?;
    let document = json!({
        "chain_id": hash_text(&ledger.log().chain_id),
        "log_key": ledger.log().key.to_string(),
        "size": checkpoint.head.size,
        "root": hash_text(&checkpoint.head.root),
        "checkpoint": checkpoint.text,
    });
    context.result(&document, checkpoint.text.trim_end_matches('\n'))
}
