//! `aitbc wallet stake`.

use aitbc_common::layouts::TransactionKind;
use aitbc_common::money::MicroAit;
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::token::Scope;
use clap::Args;
use serde_json::Value;

use super::transaction::{self, Done, MinerName, miner_name};
use crate::context::Context;
use crate::transactions::{Draft, Payload, WalletOptions};
use crate::values;

const EXAMPLES: &str = "\
Examples:
  aitbc wallet stake miner_01m83xj880es8r65rzyjka792g 50

A stake speaks for a miner and is lost where it cheats. One wallet stakes on a miner: the first one.";

/// What to stake.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    change: Change,
}

/// On which miner, and how much.
#[derive(Debug, Args)]
pub struct Change {
    /// The miner's id, or its key (ed25519:…)
    #[arg(value_name = "MINER", value_parser = miner_name)]
    miner: MinerName,
    /// How much, in AIT with at most 6 decimals
    #[arg(value_parser = values::amount, allow_hyphen_values = true)]
    amount: MicroAit,
    #[command(flatten)]
    signer: WalletOptions,
}

/// Signs, sends and prints.
pub async fn run(context: &Context, arguments: Arguments) -> Result<(), CommandError> {
    let change = arguments.change;
    change.carry_out(context, TransactionKind::Stake).await
}

impl Change {
    /// The same for both directions.
    pub async fn carry_out(
        self,
        context: &Context,
        kind: TransactionKind,
    ) -> Result<(), CommandError> {
        let chosen = self.signer.choose(context)?;
        let connection = context.connect(Scope::Client).await?;
        let key = self.miner.key(&connection).await?;
        let draft = Draft {
            kind,
            amount: self.amount.0,
            target: key.0,
            payload: Payload::Fixed(Vec::new()),
            job: None,
            refusal: None,
        };
        let text = match kind {
            TransactionKind::Stake => format!("Staked: {} AIT on the miner {key}", self.amount),
            _ => format!(
                "Unstaking: {} AIT from the miner {key}, back in 7 days",
                self.amount
            ),
        };
        let done = Done {
            text,
            fields: vec![("miner_key", Value::from(key.to_string()))],
        };
        transaction::carry_out(context, &connection, chosen, &draft, done).await
    }
}
