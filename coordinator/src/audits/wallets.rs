//! Which auditor pays, and what may be spent.

use std::collections::BTreeSet;

use aitbc_common::address::Address;
use aitbc_common::ledger::entry::{Account, AccountId, Entry, StateKey};
use aitbc_common::market::day_of;
use aitbc_common::runtime::status::ApiError;
use aitbc_common::wallet::WalletKey;

use super::driver::Auditor;
use super::rows::{self, AuditRow, SpentRow};
use crate::ledger::command::{Command, Reply};
use crate::store::Family;

/// What a faucet gives an auditor at least: micro-AIT.
const FROM_FAUCET: u64 = 10_000_000;

/// Wallets with a lock that the log may or may not have yet.
pub(super) type Busy = BTreeSet<Address>;

/// Of these audits.
pub(super) fn busy(under_way: &[AuditRow]) -> Busy {
    let runs = under_way.iter().flat_map(|audit| &audit.runs);
    runs.filter(|run| !run.is_locked && !run.failed)
        .filter_map(rows::RunRow::auditor)
        .collect()
}

impl Auditor {
    /// The first wallet from `start` on that has so much and signs nothing else now, and its account.
    pub(super) async fn payer(
        &self,
        start: usize,
        amount: u64,
        busy: &Busy,
    ) -> Result<Option<(&WalletKey, Account)>, ApiError> {
        let start = start % self.wallets.len();
        let (before, from) = self.wallets.split_at(start);
        for wallet in from.iter().chain(before) {
            let address = wallet.address();
            if busy.contains(&address) {
                continue;
            }
            let key = StateKey::Account(AccountId::Wallet(address));
            if let Some(Entry::Account(account)) = self.entry(key).await?
                && account.available() >= u128::from(amount)
            {
                return Ok(Some((wallet, account)));
            }
        }
        Ok(None)
    }

    /// Whether the faucet gave a wallet what it needs.
    pub(super) async fn ask_the_faucet(
        &self,
        wallet: &WalletKey,
        needs: u64,
    ) -> Result<bool, ApiError> {
        if !self.has_faucet {
            return Ok(false);
        }
        let account = wallet.address();
        let amount = needs.max(FROM_FAUCET);
        let reply = self
            .ledger
            .call(Command::Faucet { account, amount })
            .await?;
        Ok(matches!(reply, Reply::Given(_)))
    }

    /// What is locked for audits today once this amount is too; `None` = more than the day's bound.
    pub(super) async fn spending(
        &self,
        amount: u64,
        now: u64,
    ) -> Result<Option<SpentRow>, ApiError> {
        let row: Option<SpentRow> = self.read(Family::Active, rows::spent(day_of(now))).await?;
        let locked = row.unwrap_or_default().locked.saturating_add(amount);
        Ok((locked <= self.per_day).then_some(SpentRow { locked }))
    }
}
