//! `aitbc miner deregister`.

use aitbc_common::runtime::errors::CommandError;
use aitbc_proto::v1::DeregisterMinerRequest;
use clap::Args;
use serde_json::json;

use super::OwnMiner;
use crate::context::Context;

const EXAMPLES: &str = "\
Examples:
  aitbc miner deregister
  aitbc miner deregister --miner rig-2

Its key stays on this machine: registering again brings the same miner back.";

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
    let miner = arguments.own.get(context, &connection).await?;
    let request = DeregisterMinerRequest {
        miner_id: miner.miner_id.clone(),
    };
    connection.miners().deregister_miner(request).await?;
    let document = json!({"miner_id": miner.miner_id, "name": miner.name, "deregistered": true});
    context.result(
        &document,
        format_args!("Miner deregistered: {} ({})", miner.miner_id, miner.name),
    )
}
