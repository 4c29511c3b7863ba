//! `aitbc wallet balance`: what a wallet has, proven by the ledger.

use aitbc_common::address::Address;
use aitbc_common::identity::PublicKey;
use aitbc_common::ledger::entry::{Account, AccountId, Entry, StateKey};
use aitbc_common::money::MicroAit;
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::runtime::terminal::clock_s;
use aitbc_common::token::Scope;
use clap::Args;
use serde_json::json;

use super::select;
use crate::context::Context;
use crate::output::json::ait;
use crate::transactions::{account, proven_entries};

const EXAMPLES: &str = "\
Examples:
  aitbc wallet balance
  aitbc wallet balance savings --json

No password is needed. The numbers are proven by the ledger's signed state: a coordinator cannot make them up.";
/// Stakes that are proven in one answer: two entries each, and the account.
const MOST_STAKES: usize = 31;

/// Which one.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The wallet [env: AITBC_WALLET] [default: the active one]
    name: Option<String>,
}

/// What a wallet has, in micro-AIT.
#[derive(Debug, Default, PartialEq, Eq)]
struct Balance {
    available: u64,
    staked: u64,
    escrow: u64,
}

/// Asks, checks and prints.
pub async fn run(context: &Context, arguments: Arguments) -> Result<(), CommandError> {
    let wallet = select(context, arguments.name.as_deref())?;
    let connection = context.connect(Scope::Read).await?;
    // Which stakes there are is the coordinator's word; what is in them is proven.
    let told = account(&connection, wallet.address, None).await?;
    let mut miners: Vec<PublicKey> = told
        .stakes
        .iter()
        .filter_map(|stake| stake.miner_key.as_ref().try_into().ok().map(PublicKey))
        .collect();
    if miners.len() > MOST_STAKES {
        context.warn(
            "STAKES_LEFT_OUT",
            format_args!(
                "{} stakes beyond the first {MOST_STAKES} are not counted",
                miners.len() - MOST_STAKES
            ),
        );
        miners.truncate(MOST_STAKES);
    }
    let proven = proven_entries(context, &connection, &keys(wallet.address, &miners)).await?;
    let balance = balance(wallet.address, &proven.entries);
    let total = balance.available + balance.escrow + balance.staked;
    let document = json!({
        "wallet": wallet.name,
        "address": wallet.address.to_string(),
        "available_ait": ait(balance.available),
        "staked_ait": ait(balance.staked),
        "escrow_ait": ait(balance.escrow),
        "total_ait": ait(total),
        "height": proven.size,
        "proof": "valid",
    });
    let mut text = format!("{} {}:", wallet.name, wallet.address);
    for (name, amount) in [
        ("available", balance.available),
        ("staked", balance.staked),
        ("in escrow", balance.escrow),
        ("total", total),
    ] {
        text.push_str(&format!("\n  {name:<9}  {} AIT", MicroAit(amount)));
    }
    text.push_str(&format!(
        "\n  ✓ proven at ledger height {} ({})",
        proven.size,
        clock_s(proven.time_ms)
    ));
    context.result(&document, text)
}

/// The account, then two entries for each stake.
fn keys(address: Address, miners: &[PublicKey]) -> Vec<StateKey> {
    let mut keys = vec![StateKey::Account(AccountId::Wallet(address))];
    for miner in miners {
        keys.push(StateKey::Staker(*miner));
        keys.push(StateKey::Account(AccountId::Stake(*miner)));
    }
    keys
}

/// A stake counts where this wallet is the one that staked.
fn balance(address: Address, entries: &[Option<Entry>]) -> Balance {
    let micro = |amount: u128| u64::try_from(amount).unwrap_or(u64::MAX);
    let account_in = |entry: Option<&Option<Entry>>| match entry {
        Some(Some(Entry::Account(account))) => *account,
        _ => Account::default(),
    };
    let own = account_in(entries.first());
    let stakes = entries.get(1..).unwrap_or_default().chunks(2);
    let staked = stakes
        .filter(|pair| pair[0] == Some(Entry::Staker(address)))
        .map(|pair| account_in(pair.get(1)).balance())
        .fold(0_u128, u128::saturating_add);
    Balance {
        available: micro(own.available()),
        staked: micro(staked),
        escrow: micro(own.debits_pending),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_available_locked_or_staked_by_this_wallet() {
        let (me, other) = (Address([1; 20]), Address([2; 20]));
        let account = |credits, pending| {
            Some(Entry::Account(Account {
                credits_posted: credits,
                debits_pending: pending,
                ..Account::default()
            }))
        };
        let entries = [
            account(100, 30),
            Some(Entry::Staker(me)),
            account(7, 2),
            Some(Entry::Staker(other)),
            account(9, 0),
            None,
            account(5, 0),
        ];
        let expected = Balance {
            available: 70,
            staked: 7,
            escrow: 30,
        };
        assert_eq!(balance(me, &entries), expected);
        assert_eq!(balance(me, &[None]), Balance::default());
        assert_eq!(keys(me, &[PublicKey([3; 32])]).len(), 3);
    }
}
