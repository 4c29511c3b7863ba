//! `aitbc wallet balance`: what a wallet has, proven by the ledger.

use aitbc_common::address::Address;
use aitbc_common::identity::PublicKey;
use aitbc_common::ledger::entry::{Account, AccountId, Entry, StateKey};
use aitbc_common::money::MicroAit;
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::runtime::ledger::{differ, sum};
use aitbc_common::runtime::terminal::clock_s;
use aitbc_common::token::Scope;
use aitbc_proto::v1::Stake;
use clap::Args;
use serde_json::json;

use super::Which;
use super::leaving::{Leaving, still_leaving, unstakings};
use crate::context::Context;
use crate::output::json::ait;
use crate::transactions::{account, proven_entries};

const EXAMPLES: &str = "\
Examples:
  aitbc wallet balance
  aitbc wallet balance savings --json

What was taken out of a stake comes back 7 days later: until then it is staked, and shown with its time. No password is
needed. The numbers are proven by the ledger's signed state: a coordinator cannot make them up.";
/// Entries that are proven in one answer.
const MOST_ENTRIES: usize = 64;
/// Stakes that are counted: two entries each, beside the account.
const MOST_STAKES: usize = 31;

/// Which one.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    which: Which,
}

/// What a wallet has, in micro-AIT.
#[derive(Debug, Default, PartialEq, Eq)]
struct Balance {
    available: u64,
    /// What is leaving included.
    staked: u64,
    leaving: u64,
    escrow: u64,
}

/// Asks, checks and prints.
pub async fn run(context: &Context, arguments: Arguments) -> Result<(), CommandError> {
    let wallet = arguments.which.select(context)?;
    let connection = context.connect(Scope::Read).await?;
    // Which stakes there are is the coordinator's word; what is in them is proven.
    let told = account(&connection, wallet.address, None).await?;
    let mut miners: Vec<PublicKey> = told
        .stakes
        .iter()
        .filter_map(|stake| stake.miner_key.as_ref().try_into().ok().map(PublicKey))
        .collect();
    differ("a stake", &miners)?;
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
    let mut keys = keys(wallet.address, &miners);
    let of_stakes = keys.len();
    let leaves = |stake: &Stake| stake.leaving_micro_ait > 0;
    let asked = if told.stakes.iter().any(leaves) {
        unstakings(&connection, wallet.address, MOST_ENTRIES - of_stakes).await?
    } else {
        Vec::new()
    };
    keys.extend(asked.iter().copied().map(StateKey::Unstaking));
    let proven = proven_entries(context, &connection, &keys).await?;
    let (stakes, unstakings) = proven.entries.split_at(of_stakes.min(proven.entries.len()));
    let balance = balance(wallet.address, stakes);
    let leaving = still_leaving(wallet.address, &asked, unstakings);
    let total = sum(&[balance.available, balance.escrow, balance.staked])?;
    let document = json!({
        "wallet": wallet.name,
        "address": wallet.address.to_string(),
        "available_ait": ait(balance.available),
        "staked_ait": ait(balance.staked),
        "leaving_ait": ait(balance.leaving),
        "leaving": leaving.iter().map(Leaving::json).collect::<Vec<_>>(),
        "escrow_ait": ait(balance.escrow),
        "total_ait": ait(total),
        "height": proven.size,
        "size": proven.size,
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
        if name == "staked" && balance.leaving > 0 {
            text.push_str(&leaving_text(balance.leaving, &leaving));
        }
    }
    text.push_str(&format!(
        "\n  ✓ proven at ledger height {} ({})",
        proven.size,
        clock_s(proven.time_ms)
    ));
    context.result(&document, text)
}

/// `, of it leaving: 4 AIT on 2026-12-02T10:00:00.000Z`.
fn leaving_text(micro: u64, leaving: &[Leaving]) -> String {
    let dated = leaving.iter().map(|one| one.unstaking.amount);
    let rest = micro.saturating_sub(dated.fold(0, u64::saturating_add));
    let mut parts: Vec<String> = leaving.iter().map(Leaving::text).collect();
    if rest > 0 {
        parts.push(format!("{} AIT within 7 days", MicroAit(rest)));
    }
    format!(", of it leaving: {}", parts.join(", "))
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
    let own_stakes = stakes
        .filter(|pair| pair[0] == Some(Entry::Staker(address)))
        .map(|pair| account_in(pair.get(1)));
    let (staked, leaving) = own_stakes.fold((0_u128, 0_u128), |(staked, leaving), stake| {
        (
            staked.saturating_add(stake.balance()),
            leaving.saturating_add(stake.debits_pending),
        )
    });
    Balance {
        available: micro(own.available()),
        staked: micro(staked),
        leaving: micro(leaving),
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
            leaving: 2,
            escrow: 30,
        };
        assert_eq!(balance(me, &entries), expected);
        assert_eq!(balance(me, &[None]), Balance::default());
        assert_eq!(keys(me, &[PublicKey([3; 32])]).len(), 3);
        let undated = leaving_text(2, &[]);
        assert_eq!(undated, ", of it leaving: 0.000002 AIT within 7 days");
    }
}
