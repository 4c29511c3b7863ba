//! `aitbc marketplace gpu list`.

use aitbc_common::runtime::errors::CommandError;
use clap::Args;

use super::own_listings;
use crate::commands::miner::OwnMiner;
use crate::context::Context;
use crate::output::json::page;
use crate::output::offer::{listing_json, offers_table};

const EXAMPLES: &str = "\
Examples:
  aitbc marketplace gpu list
  aitbc marketplace gpu list --miner rig-2 --json";

/// Whose.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    own: OwnMiner,
}

/// Asks and prints.
pub async fn run(context: &Context, arguments: Arguments) -> Result<(), CommandError> {
    let connection = arguments.own.connect(context).await?;
    let offers = own_listings(&connection).await?;
    let document = page("listings", offers.iter().map(listing_json).collect(), "");
    if offers.is_empty() {
        context.result(&document, "you list no GPU")?;
        context.next("aitbc marketplace gpu register --model \"RTX 4090\" --hourly-rate 0.5");
        return Ok(());
    }
    context.result(&document, offers_table(&offers))
}
