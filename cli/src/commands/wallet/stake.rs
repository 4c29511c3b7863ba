//! `aitbc wallet stake`.

use std::fs;

use aitbc_common::address::Address;
use aitbc_common::identity::PublicKey;
use aitbc_common::layouts::TransactionKind;
use aitbc_common::ledger::violation::Violation;
use aitbc_common::money::MicroAit;
use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::token::Scope;
use clap::Args;
use serde_json::Value;

use super::bind::binding;
use super::transaction::{self, Done, MinerName, miner_name};
use crate::context::Context;
use crate::transactions::{Draft, Payload, WalletOptions, has_unanswered};
use crate::values;

const EXAMPLES: &str = "\
Examples:
  aitbc wallet stake miner_01m83xj880es8r65rzyjka792g 50

A stake speaks for a miner: everybody sees it in the ledger, and it cannot be had back at once. Only the wallet that a miner is bound to stakes on it: bind it first
with aitbc wallet bind. What was staked stays that wallet's when the miner is bound to another one later.";

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
        let wallet = chosen.account();
        let refusal = match kind {
            TransactionKind::Stake => not_bound(context, &connection, key, wallet).await?,
            _ => None,
        };
        // A stake that had no answer may be recorded: then the same one finds it.
        if let Some(refusal) = &refusal
            && !has_unanswered(context, &connection, wallet, None)
        {
            return Err(refusal.clone());
        }
        let draft = Draft {
            kind,
            amount: self.amount.0,
            target: key.0,
            payload: Payload::Fixed(Vec::new()),
            job: None,
            rental: None,
            refusal,
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

/// Why this wallet may not stake on a miner, unless the miner is bound to it. To bind it here unasked might have it paid at
/// another wallet than it is now.
async fn not_bound(
    context: &Context,
    connection: &Connection,
    miner: PublicKey,
    wallet: Address,
) -> Result<Option<CommandError>, CommandError> {
    let bound = binding(context, connection, miner).await?.account;
    if bound == wallet {
        return Ok(None);
    }
    let other = (bound != Address::default()).then_some(bound);
    let hint = match (other, own_miner(context, miner)) {
        (Some(_), _) => {
            "stake with that wallet, or have its owner let the miner go: aitbc wallet bind --release MINER".into()
        }
        (None, Some(name)) => format!(
            "bind it first; it is paid at this wallet from then on: aitbc wallet bind --miner {name}"
        ),
        (None, None) => format!(
            "bind it first: on the miner's machine run aitbc wallet bind --consent-for {wallet}, here aitbc wallet bind --consent CONSENT"
        ),
    };
    let message = Violation::NotBound(other).to_string();
    let error = CommandError::new(ExitCode::Authentication, "MINER_NOT_BOUND", message);
    Ok(Some(error.with_hint(hint)))
}

/// The name of the miner of this machine that has this key, if one has.
fn own_miner(context: &Context, key: PublicKey) -> Option<String> {
    let folders = fs::read_dir(context.home.miner_dir("")).ok()?;
    let mut names: Vec<String> = folders
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| context.home.miner_dir(name).join("identity.key").exists())
        .collect();
    names.retain(|name| {
        let identity = context.home.miner_identity(name);
        identity.is_ok_and(|identity| identity.public() == key)
    });
    names.pop()
}
