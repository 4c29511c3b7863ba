//! `aitbc wallet unstake`.

use aitbc_common::layouts::TransactionKind;
use aitbc_common::runtime::errors::CommandError;
use clap::Args;

use super::stake::Change;
use crate::context::Context;

const EXAMPLES: &str = "\
Examples:
  aitbc wallet unstake miner_01m83xj880es8r65rzyjka792g 50

The money is back in the wallet after 7 days.";

/// From which miner, and how much.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    change: Change,
}

/// Signs, sends and prints.
pub async fn run(context: &Context, arguments: Arguments) -> Result<(), CommandError> {
    let change = arguments.change;
    change.carry_out(context, TransactionKind::Unstake).await
}
