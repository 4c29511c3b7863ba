//! `aitbc wallet allow`: let an identity pay for jobs without this wallet's password.

use std::time::Duration;

use aitbc_common::address::Address;
use aitbc_common::identity::PublicKey;
use aitbc_common::layouts::TransactionKind;
use aitbc_common::ledger::entry::{Entry, StateKey};
use aitbc_common::money::MicroAit;
use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::token::Scope;
use clap::Args;
use serde_json::{Value, json};

use super::transaction::{self, Done};
use crate::context::Context;
use crate::transactions::{Draft, Payload, WalletOptions, has_unanswered, proven_entry};
use crate::values;

const EXAMPLES: &str = "\
Examples:
  aitbc wallet allow ed25519:8a88…0b1c 20 --until 30d
  aitbc wallet allow ed25519:8a88…0b1c 0                 revokes it

The identity (aitbc identity show) can then lock money for jobs, so much in all, and nothing else:
  aitbc client pay JOB_ID --amount 1 --payer 0x…";
/// The longest that an allowance holds.
const LONGEST_DAYS: u64 = 400;

/// Whom, how much, how long.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The identity's key: ed25519: and 64 hexadecimal digits
    #[arg(value_parser = values::identity_key)]
    identity: PublicKey,
    /// How much in all from now on, in AIT; 0 revokes
    #[arg(value_parser = values::amount_or_zero, allow_hyphen_values = true)]
    amount: MicroAit,
    /// How long it holds, at most 400d
    #[arg(long, value_name = "DURATION", default_value = "30d", value_parser = until, allow_hyphen_values = true)]
    until: Duration,
    #[command(flatten)]
    signer: WalletOptions,
}

fn until(text: &str) -> Result<Duration, CommandError> {
    let duration = values::duration(text)?;
    let longest = Duration::from_secs(LONGEST_DAYS * 86_400);
    if (Duration::from_secs(1)..=longest).contains(&duration) {
        return Ok(duration);
    }
    Err(
        CommandError::usage(format!("an allowance cannot hold for {text}"))
            .with_hint("give 1s to 400d, for example --until 30d"),
    )
}

/// Signs, sends and prints.
pub async fn run(context: &Context, arguments: Arguments) -> Result<(), CommandError> {
    let chosen = arguments.signer.choose(context)?;
    let connection = context.connect(Scope::Client).await?;
    let (identity, amount) = (arguments.identity, arguments.amount);
    let wallet = chosen.account();
    if amount.0 == 0
        && !has_unanswered(context, &connection, wallet, None)
        && !is_allowed(context, &connection, wallet, identity).await?
    {
        return nothing_to_revoke(context, wallet, identity);
    }
    let term = u64::try_from(arguments.until.as_millis()).unwrap_or(u64::MAX);
    let draft = Draft {
        kind: TransactionKind::Allow,
        amount: amount.0,
        target: identity.0,
        payload: Payload::Allowance(term),
        job: None,
        rental: None,
        refusal: None,
    };
    let text = if amount.0 == 0 {
        format!("Revoked: {identity} may lock nothing of this wallet any more")
    } else {
        format!("Allowed: {identity} may lock {amount} AIT in all")
    };
    let done = Done {
        text,
        fields: vec![("identity", Value::from(identity.to_string()))],
    };
    transaction::carry_out(context, &connection, chosen, &draft, done).await
}

/// Whether the ledger's signed state has an allowance of the wallet for this identity that was not revoked.
async fn is_allowed(
    context: &Context,
    connection: &Connection,
    wallet: Address,
    identity: PublicKey,
) -> Result<bool, CommandError> {
    let key = StateKey::Allowance(wallet, identity);
    let found = proven_entry(context, connection, key).await?;
    Ok(matches!(found, Some(Entry::Allowance(allowance)) if allowance.amount > 0))
}

fn nothing_to_revoke(
    context: &Context,
    wallet: Address,
    identity: PublicKey,
) -> Result<(), CommandError> {
    let document = json!({
        "tx_hash": null,
        "address": wallet.to_string(),
        "identity": identity.to_string(),
    });
    let text = format!("Nothing to revoke: {identity} may lock nothing of {wallet}");
    context.result(&document, text)
}
