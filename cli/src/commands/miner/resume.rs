//! `aitbc miner resume`.

use aitbc_common::runtime::errors::CommandError;

use super::OwnMiner;
use crate::context::Context;
use crate::output::miner::miner_json;

pub const EXAMPLES: &str = "\
Examples:
  aitbc miner resume
  aitbc miner resume --miner rig-2";

/// Asks the coordinator.
pub async fn run(context: &Context, own: OwnMiner) -> Result<(), CommandError> {
    let miner = own.set_paused(context, false).await?;
    let text = format!("Miner resumed: {} takes jobs again", miner.name);
    context.result(&miner_json(&miner), text)
}
