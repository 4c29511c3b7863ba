//! Which auditor pays, and what may be spent.

use std::collections::BTreeSet;

use aitbc_common::address::Address;
use aitbc_common::ledger::entry::{Account, AccountId, Entry, StateKey};
use aitbc_common::market::day_of;
use aitbc_common::market::reputation::BACKED_DAYS;
use aitbc_common::runtime::status::ApiError;
use aitbc_common::wallet::WalletKey;
use aitbc_proto::v1::PaymentStatus;
use prost::Message;

use super::driver::Auditor;
use super::rows::{self, AuditRow, RunRow, SpentRow};
use crate::ledger::command::{Command, Reply};
use crate::store::Family;
use crate::store::rows::{JobRow, address, decode};
use crate::store::{Batch, keys};

/// What a faucet gives an auditor at least: micro-AIT.
const FROM_FAUCET: u64 = 10_000_000;

/// Days of costs that are kept, at most.
const COST_DAYS: usize = 64;

/// Wallets with a lock that the log may or may not have yet.
pub(super) type Busy = BTreeSet<Address>;

/// Of these audits.
pub(super) fn busy(under_way: &[AuditRow]) -> Busy {
    let runs = under_way.iter().flat_map(|audit| &audit.runs);
    runs.filter(|run| !run.is_locked && !run.failed)
        .filter_map(RunRow::auditor)
        .collect()
}

/// Whether nothing more is paid for a final job.
pub(super) fn is_settled(row: &JobRow) -> bool {
    row.locks.is_empty()
        || matches!(
            row.payment(),
            PaymentStatus::Settled | PaymentStatus::Refunded
        )
}

/// What a run cost; all that is locked for it where that is not settled yet.
fn cost_of(run: &RunRow, row: Option<&JobRow>) -> u64 {
    match row {
        Some(row) if is_settled(row) => row.paid,
        None if !run.is_locked => 0,
        _ => run.amount,
    }
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

    /// Whether the fees of 30 days that the drawn job's payer has paid cover one more run, beside what audits of its jobs cost
    /// and may still cost: so that nobody gains by having its own jobs audited.
    pub(super) async fn is_covered(
        &self,
        audit: &AuditRow,
        under_way: &[AuditRow],
        amount: u64,
        now: u64,
    ) -> Result<bool, ApiError> {
        let Some(payer) = address(&audit.payer) else {
            return Ok(false);
        };
        let today = day_of(now);
        let is_new = |day: u32| day.saturating_add(BACKED_DAYS) > today;
        let fees: u64 = {
            let kept = self.book.read();
            let days = kept.book.reputations.payer(&payer).iter();
            days.filter(|day| is_new(day.day)).map(|day| day.fees).sum()
        };
        let others = under_way.iter().filter(|other| other.payer == audit.payer);
        let mut spent: u64 = others.map(AuditRow::reserved).sum();
        let (from, end) = (
            rows::cost(&audit.payer, 0),
            rows::cost(&audit.payer, u32::MAX),
        );
        let costs = self.scan(Family::Active, from, end, COST_DAYS).await?;
        let mut old = Batch::new();
        for (key, row) in costs.rows {
            let day = key.last_chunk().map_or(0, |day| u32::from_be_bytes(*day));
            if is_new(day) {
                spent = spent.saturating_add(decode::<SpentRow>(row).unwrap_or_default().locked);
            } else {
                old.delete(Family::Active, key);
            }
        }
        self.commit(old).await?;
        Ok(spent.saturating_add(amount) <= fees)
    }

    /// Notes what an audit's runs cost.
    pub(super) async fn settle(&self, audit: &AuditRow, batch: &mut Batch) -> Result<(), ApiError> {
        let mut paid = 0_u64;
        for run in &audit.runs {
            let row = match run.job() {
                Some((owner, job)) => self.archived(keys::archived_job(&owner, job)).await?,
                None => None,
            };
            paid = paid.saturating_add(cost_of(run, row.as_ref()));
        }
        if paid > 0 {
            let key = rows::cost(&audit.payer, day_of(self.engine.now_ms()));
            let before: Option<SpentRow> = self.read(Family::Active, key.clone()).await?;
            let locked = before.unwrap_or_default().locked.saturating_add(paid);
            batch.put(Family::Active, key, SpentRow { locked }.encode_to_vec());
        }
        Ok(())
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
