//! `aitbc miner pause`.

use aitbc_common::runtime::errors::CommandError;
use aitbc_proto::v1::Miner;
use clap::Args;

use super::{OwnMiner, change};
use crate::context::Context;
use crate::output::miner::miner_json;

const EXAMPLES: &str = "\
Examples:
  aitbc miner pause
  aitbc miner pause --miner rig-2";

/// Which miner.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    own: OwnMiner,
}

/// Asks the coordinator.
pub async fn run(context: &Context, arguments: Arguments) -> Result<(), CommandError> {
    let connection = arguments.own.connect(context).await?;
    let wanted = Miner {
        paused: true,
        ..Default::default()
    };
    let miner = change(&connection, wanted, &["paused"])
        .await
        .map_err(|error| arguments.own.explain(context, error))?;
    context.result(
        &miner_json(&miner),
        format_args!(
            "Miner paused: {} takes no new jobs; running ones go on",
            miner.name
        ),
    )?;
    context.next("aitbc miner resume");
    Ok(())
}
