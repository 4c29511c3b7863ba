//! `aitbc wallet faucet`: money of a development network.

use aitbc_common::address::Address;
use aitbc_common::money::MicroAit;
use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::token::Scope;
use aitbc_proto::v1::{FaucetRequest, FaucetResponse};
use clap::Args;
use serde_json::json;

use super::select;
use crate::context::Context;
use crate::output::json::ait;
use crate::values;

const EXAMPLES: &str = "\
Examples:
  aitbc wallet faucet
  aitbc wallet faucet --amount 25 --json

Only development networks have one, and it gives each address so much and no more.";

/// How much, and to whom.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// How much [default: 100]
    #[arg(long, value_name = "AIT", value_parser = values::amount, allow_hyphen_values = true)]
    amount: Option<MicroAit>,
    /// The wallet [env: AITBC_WALLET] [default: the active one]
    #[arg(long, value_name = "NAME")]
    wallet: Option<String>,
}

/// Draws and prints. A lost answer is not repeated: the money may be there.
pub async fn run(context: &Context, arguments: Arguments) -> Result<(), CommandError> {
    let wallet = select(context, arguments.wallet.as_deref())?;
    let connection = context.connect(Scope::Client).await?;
    let amount = arguments.amount.map_or(0, |amount| amount.0);
    let given = draw(&connection, wallet.address, amount).await?;
    let text = format!(
        "{} AIT from the development faucet for {} {} (record {})",
        MicroAit(given.amount_micro_ait),
        wallet.name,
        wallet.address,
        given.index
    );
    let document = json!({
        "wallet": wallet.name,
        "address": wallet.address.to_string(),
        "faucet_ait": ait(given.amount_micro_ait),
        "height": given.index,
        "index": given.index,
    });
    context.result(&document, text)
}

/// Asks the faucet for micro-AIT; 0 = what it gives by itself.
pub async fn draw(
    connection: &Connection,
    address: Address,
    amount_micro_ait: u64,
) -> Result<FaucetResponse, CommandError> {
    let request = FaucetRequest {
        address: address.0.to_vec().into(),
        amount_micro_ait,
    };
    Ok(connection.network().faucet(request).await?.into_inner())
}
