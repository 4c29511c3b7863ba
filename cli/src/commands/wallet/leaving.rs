//! Money on its way out of stakes, and when it comes.

use aitbc_common::address::Address;
use aitbc_common::hash::Hash;
use aitbc_common::layouts::{Record, RecordBody, TransactionKind};
use aitbc_common::ledger::entry::{Entry, Unstaking};
use aitbc_common::ledger::transactions::UNSTAKING_MS;
use aitbc_common::money::MicroAit;
use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::runtime::ledger::{NewestFirst, differ};
use aitbc_common::runtime::terminal::rfc3339_ms;
use serde_json::{Value, json};

use crate::output::json::ait;
use crate::transactions::listed;

/// Records of a wallet's history that are looked at, at most: two pages.
const PAGES: usize = 2;
const PAGE_SIZE: u32 = 1_000;

/// A part of a stake that is on its way back to its wallet, proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaving {
    /// The transaction that took it out.
    pub transaction: Hash,
    /// What the state says of it.
    pub unstaking: Unstaking,
}

/// Transactions of a wallet that took something out of a stake within the time that this takes, newest first, at most `most`.
/// Which there are is the coordinator's word; what is left of each is to be proven.
///
/// Exit code 8 where one is shown twice, or they are not shown newest first.
pub async fn unstakings(
    connection: &Connection,
    address: Address,
    most: usize,
) -> Result<Vec<Hash>, CommandError> {
    let mut found = Vec::new();
    let mut order = NewestFirst::default();
    let mut page_token = String::new();
    let mut since = None;
    for _ in 0..PAGES {
        let answer = listed(connection, address, PAGE_SIZE, page_token).await?;
        for shown in &answer.records {
            order.take(shown.index)?;
            let Ok(record) = Record::decode(&shown.leaf) else {
                continue;
            };
            // The newest one is as old as ledger time, or younger.
            let since = *since.get_or_insert(record.time_ms.saturating_sub(UNSTAKING_MS));
            if record.time_ms < since || found.len() == most {
                return once(found);
            }
            found.extend(unstaking(&record, address));
        }
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    once(found)
}

/// What is shown is not proven: its place may be made up, so that the order says nothing.
fn once(found: Vec<Hash>) -> Result<Vec<Hash>, CommandError> {
    differ("one withdrawal of a stake", &found)?;
    Ok(found)
}

fn unstaking(record: &Record, address: Address) -> Option<Hash> {
    let RecordBody::Transaction(signed) = &record.body else {
        return None;
    };
    let transaction = &signed.transaction;
    (transaction.kind == TransactionKind::Unstake && transaction.account == address)
        .then(|| transaction.id())
}

/// What is still on its way to this wallet, soonest first.
pub fn still_leaving(address: Address, asked: &[Hash], entries: &[Option<Entry>]) -> Vec<Leaving> {
    let mut leaving: Vec<Leaving> = asked
        .iter()
        .zip(entries)
        .filter_map(|(transaction, entry)| match entry {
            Some(Entry::Unstaking(unstaking)) if unstaking.account == address => Some(Leaving {
                transaction: *transaction,
                unstaking: *unstaking,
            }),
            _ => None,
        })
        .collect();
    leaving.sort_unstable_by_key(|one| (one.unstaking.matures_at, one.transaction));
    leaving
}

impl Leaving {
    /// For programs.
    pub fn json(&self) -> Value {
        json!({
            "amount_ait": ait(self.unstaking.amount),
            "available_at": rfc3339_ms(self.unstaking.matures_at),
            "miner_key": self.unstaking.miner.to_string(),
            "tx_hash": format!("0x{}", hex::encode(self.transaction)),
        })
    }

    /// `4 AIT on 2026-12-02T10:00:00.000Z`.
    pub fn text(&self) -> String {
        format!(
            "{} AIT on {}",
            MicroAit(self.unstaking.amount),
            rfc3339_ms(self.unstaking.matures_at)
        )
    }
}

#[cfg(test)]
mod tests {
    use aitbc_common::identity::PublicKey;

    use super::*;

    #[test]
    fn nothing_leaves_twice() {
        assert!(once(vec![[1; 32], [2; 32]]).is_ok());
        let error = once(vec![[1; 32], [2; 32], [1; 32]]).unwrap_err();
        assert_eq!(error.exit.number(), 8);
    }

    #[test]
    fn what_leaves_is_this_wallets_and_comes_soonest_first() {
        let (me, other) = (Address([1; 20]), Address([2; 20]));
        let entry = |account, amount, matures_at| {
            Some(Entry::Unstaking(Unstaking {
                account,
                miner: PublicKey([5; 32]),
                amount,
                matures_at,
            }))
        };
        let entries = [
            entry(me, 7, 1_795_428_000_000),
            None,
            entry(other, 8, 1),
            entry(me, 4_000_000, 1_795_427_000_000),
        ];
        let asked = [[1; 32], [2; 32], [3; 32], [4; 32]];
        let leaving = still_leaving(me, &asked, &entries);
        let amounts: Vec<u64> = leaving.iter().map(|one| one.unstaking.amount).collect();
        assert_eq!(amounts, [4_000_000, 7]);
        assert_eq!(leaving[0].transaction, [4; 32]);
        assert_eq!(leaving[0].text(), "4 AIT on 2026-11-23T09:43:20.000Z");
        assert_eq!(leaving[0].json()["amount_ait"], "4.000000");
    }
}
