//! `aitbc miner pause`.

use aitbc_common::runtime::errors::CommandError;

use super::OwnMiner;
use crate::context::Context;
use crate::output::miner::miner_json;

pub const EXAMPLES: &str = "\
Examples:
  aitbc miner pause
  aitbc miner pause --miner rig-2";

/// Asks the coordinator.
pub async fn run(context: &Context, own: OwnMiner) -> Result<(), CommandError> {
    let miner = own.set_paused(context, true).await?;
    let text = format!(
        "Miner paused: {} takes no new jobs; running ones go on",
        miner.name
    );
    context.result(&miner_json(&miner), text)?;
    context.next("aitbc miner resume");
    Ok(())
}
