//! Whether there is enough money for a payment, before anything is asked or made.

use aitbc_common::ledger::entry::{AccountId, Entry, StateKey};
use aitbc_common::money::MicroAit;
use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::runtime::unix_ms;

use crate::context::Context;
use crate::output::json::timestamp_ms;
use crate::transactions::{Chosen, account, proven_entries, with_funds_hint};

/// Whether there is an allowance, and enough of it or in the wallet: before anything is asked or made.
pub async fn check_payer(
    context: &Context,
    connection: &Connection,
    payer: &Chosen,
    amount: Option<MicroAit>,
) -> Result<(), CommandError> {
    let identity = connection.identity.public();
    let told = account(connection, payer.account(), Some(identity)).await?;
    let mut available = told.available_micro_ait;
    if let Chosen::Allowance { payer, instead_of } = payer {
        let now = told.time.as_ref().map_or_else(unix_ms, timestamp_ms);
        let allowance = told.allowance.filter(|allowance| {
            allowance.amount_micro_ait > 0
                && allowance.expires_at.as_ref().map_or(0, timestamp_ms) >= now
        });
        let Some(allowance) = allowance else {
            return Err(instead_of.clone().unwrap_or_else(|| {
                CommandError::new(
                    ExitCode::Authentication,
                    "NO_ALLOWANCE",
                    format!("{payer} has given your identity no allowance, or it has ended"),
                )
                .with_hint(format!(
                    "its owner gives one with: aitbc wallet allow {identity} AMOUNT"
                ))
            }));
        };
        let left = allowance
            .amount_micro_ait
            .saturating_sub(allowance.used_micro_ait);
        available = available.min(left);
    }
    let Some(amount) = amount.filter(|amount| amount.0 > available) else {
        return Ok(());
    };
    // What is shown is proven. Where the ledger has more than the coordinator says, it decides.
    let available = proven_available(context, connection, payer).await?;
    if amount.0 <= available {
        return Ok(());
    }
    let error = CommandError::new(
        ExitCode::Authentication,
        "INSUFFICIENT_FUNDS",
        format!(
            "insufficient funds: available {} AIT, asked {amount} AIT",
            MicroAit(available)
        ),
    )
    .with_hint("see what there is with: aitbc wallet balance");
    let allowed = matches!(payer, Chosen::Allowance { .. });
    Err(with_funds_hint(connection, allowed, error))
}

/// Micro-AIT that the payer can lock, by the ledger's proven state: of the wallet, and of its allowance.
async fn proven_available(
    context: &Context,
    connection: &Connection,
    payer: &Chosen,
) -> Result<u64, CommandError> {
    let address = payer.account();
    let mut keys = vec![StateKey::Account(AccountId::Wallet(address))];
    if let Chosen::Allowance { .. } = payer {
        keys.push(StateKey::Allowance(address, connection.identity.public()));
    }
    let proven = proven_entries(context, connection, &keys).await?;
    let least = proven.entries.iter().map(available).min();
    Ok(u64::try_from(least.unwrap_or_default()).unwrap_or(u64::MAX))
}

/// What an entry leaves to be locked.
fn available(entry: &Option<Entry>) -> u128 {
    match entry {
        Some(Entry::Account(account)) => account.available(),
        Some(Entry::Allowance(allowance)) => {
            u128::from(allowance.amount.saturating_sub(allowance.used))
        }
        _ => 0,
    }
}
