//! `aitbc miner status`.

use aitbc_common::ids::MinerId;
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::token::Scope;
use aitbc_proto::v1::{GetMinerRequest, MinerStatus};
use clap::Args;

use super::{OwnMiner, incomplete};
use crate::context::Context;
use crate::output::miner::{miner_json, miner_text};
use crate::values;

const EXAMPLES: &str = "\
Examples:
  aitbc miner status
  aitbc miner status --miner rig-2
  aitbc miner status miner_01m83xj880es8r65rzyjka792g --json";

/// Which miner.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// A miner's id [default: your own]
    #[arg(value_parser = values::miner_id, conflicts_with = "miner")]
    miner_id: Option<MinerId>,
    #[command(flatten)]
    own: OwnMiner,
}

/// Asks and prints.
pub async fn run(context: &Context, arguments: Arguments) -> Result<(), CommandError> {
    let miner = if let Some(id) = arguments.miner_id {
        let connection = context.connect(Scope::Read).await?;
        let request = GetMinerRequest {
            miner_id: id.to_string(),
        };
        let answer = connection.miners().get_miner(request).await?.into_inner();
        answer.miner.ok_or_else(|| incomplete("the miner"))?
    } else {
        let connection = arguments.own.connect(context).await?;
        arguments.own.get(context, &connection).await?
    };
    context.result(&miner_json(&miner), miner_text(&miner))?;
    if arguments.miner_id.is_none() {
        match miner.status() {
            MinerStatus::Away => {
                context.next("aitbc miner mine-ollama --model llama3 --continuous")
            }
            MinerStatus::Paused => context.next("aitbc miner resume"),
            _ => {}
        }
    }
    Ok(())
}
