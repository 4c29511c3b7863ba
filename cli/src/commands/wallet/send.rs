//! `aitbc wallet send`.

use aitbc_common::address::Address;
use aitbc_common::layouts::{MAX_PAYLOAD, TransactionKind, address_target};
use aitbc_common::money::MicroAit;
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::token::Scope;
use clap::Args;
use serde_json::Value;

use super::transaction::{self, Done};
use crate::context::Context;
use crate::transactions::{Draft, Payload, WalletOptions};
use crate::values;

const EXAMPLES: &str = "\
Examples:
  aitbc wallet send 0x70997970C51812dc3A010C7d01b50e0d17dc79C8 2.5
  aitbc wallet send 0x70997970C51812dc3A010C7d01b50e0d17dc79C8 10 --memo \"October\" --wallet savings

Nobody can take a transfer back. A command that was cut off can be run again: it pays once.";

/// What to whom.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Who gets it: 0x and 40 hexadecimal digits; mixed case is checked
    #[arg(value_parser = values::address)]
    address: Address,
    /// How much, in AIT with at most 6 decimals
    #[arg(value_parser = values::amount, allow_hyphen_values = true)]
    amount: MicroAit,
    /// A text that everybody can read in the log, at most 512 bytes
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true, value_parser = memo, allow_hyphen_values = true)]
    memo: String,
    /// Send it also to an address that nobody can have the key of
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    signer: WalletOptions,
}

fn memo(text: &str) -> Result<String, CommandError> {
    if text.len() <= MAX_PAYLOAD {
        return Ok(text.to_owned());
    }
    let message = format!("the memo has {} bytes", text.len());
    Err(CommandError::usage(message).with_hint(format!("give at most {MAX_PAYLOAD}")))
}

/// Signs, sends and prints.
pub async fn run(context: &Context, arguments: Arguments) -> Result<(), CommandError> {
    if values::is_nobodys(&arguments.address) && !arguments.force {
        let message = format!(
            "nobody can have the key of {}: what is sent there is lost",
            arguments.address
        );
        return Err(CommandError::usage(message)
            .with_hint("check the address; to destroy the money all the same: --force"));
    }
    let chosen = arguments.signer.choose(context)?;
    let connection = context.connect(Scope::Client).await?;
    let (to, amount) = (arguments.address, arguments.amount);
    let draft = Draft {
        kind: TransactionKind::Transfer,
        amount: amount.0,
        target: address_target(to),
        payload: Payload::Fixed(arguments.memo.into_bytes()),
        job: None,
        rental: None,
        refusal: None,
    };
    let done = Done {
        text: format!("Sent: {amount} AIT to {to}"),
        fields: vec![("to", Value::from(to.to_string()))],
    };
    transaction::carry_out(context, &connection, chosen, &draft, done).await
}
