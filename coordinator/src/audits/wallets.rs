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

use super::auditor::Auditor;
use super::network::Network;
use super::rows::{self, AuditRow, RunRow, SpentRow};
use crate::ledger::command::{Command, Reply};
use crate::store::rows::{JobRow, address, decode};
use crate::store::{Batch, Family, keys};

/// What a faucet gives an auditor at least: micro-AIT.
const FROM_FAUCET: u64 = 10_000_000;

/// Days of costs that are kept, at most.
const COST_DAYS: usize = 64;

/// Wallets with a lock that the log may or may not have yet.
type Busy = BTreeSet<Address>;

/// The money for a run.
pub(super) enum Funds<'a> {
    /// This wallet pays, whose account is so; what is locked for audits today, then.
    From(&'a WalletKey, Account, SpentRow),
    /// There may be some at the next look.
    Later,
    /// There is none.
    Lacking,
}

/// Wallets that sign something now, of these audits.
fn busy(under_way: &[AuditRow]) -> Busy {
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
    /// Who pays for one more run of an audit; `turn` says whose turn it is.
    pub(super) fn funds(
        &self,
        network: &mut dyn Network,
        audit: &AuditRow,
        under_way: &[AuditRow],
        (turn, amount): (usize, u64),
        now: u64,
    ) -> Result<Funds<'_>, ApiError> {
        if !self.is_covered(network, audit, under_way, amount, now)? {
            return Ok(Funds::Lacking);
        }
        let Some(spending) = self.spending(network, amount, now)? else {
            return Ok(Funds::Lacking);
        };
        let busy = busy(under_way);
        let turn = turn % self.wallets.len();
        let payer = self.payer(network, turn, amount, &busy)?;
        let turns = self.wallets[turn].address();
        let is_its_turn = payer
            .as_ref()
            .is_some_and(|(wallet, _)| wallet.address() == turns);
        if !is_its_turn && !busy.contains(&turns) && self.ask_the_faucet(network, turns, amount)? {
            return Ok(Funds::Later);
        }
        Ok(match payer {
            Some((wallet, account)) => Funds::From(wallet, account, spending),
            // A wallet that signs something now is free in a moment.
            None if !busy.is_empty() => Funds::Later,
            None => Funds::Lacking,
        })
    }

    /// The first wallet from `turn` on that has so much and signs nothing else now, and its account.
    fn payer(
        &self,
        network: &dyn Network,
        turn: usize,
        amount: u64,
        busy: &Busy,
    ) -> Result<Option<(&WalletKey, Account)>, ApiError> {
        let (before, from) = self.wallets.split_at(turn);
        for wallet in from.iter().chain(before) {
            let address = wallet.address();
            if busy.contains(&address) {
                continue;
            }
            let key = StateKey::Account(AccountId::Wallet(address));
            if let Some(Entry::Account(account)) = network.entry(key)?
                && account.available() >= u128::from(amount)
            {
                return Ok(Some((wallet, account)));
            }
        }
        Ok(None)
    }

    /// Whether the faucet gave a wallet what it needs.
    fn ask_the_faucet(
        &self,
        network: &mut dyn Network,
        account: Address,
        needs: u64,
    ) -> Result<bool, ApiError> {
        if !self.has_faucet {
            return Ok(false);
        }
        let amount = needs.max(FROM_FAUCET);
        let reply = network.ledger(Command::Faucet { account, amount })?;
        Ok(matches!(reply, Reply::Given(_)))
    }

    /// Whether the fees of 30 days that the drawn job's payer has paid cover one more run, beside what audits of its jobs cost
    /// and may still cost: so that nobody gains by having its own jobs audited.
    pub(super) fn is_covered(
        &self,
        network: &mut dyn Network,
        audit: &AuditRow,
        under_way: &[AuditRow],
        amount: u64,
        now: u64,
    ) -> Result<bool, ApiError> {
        let Some(payer) = address(&audit.payer) else {
            return Ok(false);
        };
        let today = day_of(now);
        let others = under_way.iter().filter(|other| other.payer == audit.payer);
        let mut spent: u64 = others.map(AuditRow::reserved).sum();
        let (from, end) = (
            rows::cost(&audit.payer, 0),
            rows::cost(&audit.payer, u32::MAX),
        );
        let costs = network.scan(Family::Active, &from, &end, COST_DAYS)?;
        let mut old = Batch::new();
        for (key, row) in costs.rows {
            let day = key.last_chunk().map_or(0, |day| u32::from_be_bytes(*day));
            if day.saturating_add(BACKED_DAYS) > today {
                spent = spent.saturating_add(decode::<SpentRow>(row).unwrap_or_default().locked);
            } else {
                old.delete(Family::Active, key);
            }
        }
        network.keep(old)?;
        Ok(spent.saturating_add(amount) <= network.fees(&payer, today))
    }

    /// What is locked for audits today once this amount is too; `None` = more than the day's bound.
    fn spending(
        &self,
        network: &dyn Network,
        amount: u64,
        now: u64,
    ) -> Result<Option<SpentRow>, ApiError> {
        let row: Option<SpentRow> = network.read(Family::Active, &rows::spent(day_of(now)))?;
        let locked = row.unwrap_or_default().locked.saturating_add(amount);
        Ok((locked <= self.per_day).then_some(SpentRow { locked }))
    }
}

/// Notes what an audit's runs cost.
pub(super) fn settle(
    network: &dyn Network,
    audit: &AuditRow,
    batch: &mut Batch,
) -> Result<(), ApiError> {
    let mut paid = 0_u64;
    for run in &audit.runs {
        let row = match run.job() {
            Some((owner, job)) => network.archived(&keys::archived_job(&owner, job))?,
            None => None,
        };
        paid = paid.saturating_add(cost_of(run, row.as_ref()));
    }
    if paid > 0 {
        let key = rows::cost(&audit.payer, day_of(network.now_ms()));
        let before: Option<SpentRow> = network.read(Family::Active, &key)?;
        let locked = before.unwrap_or_default().locked.saturating_add(paid);
        batch.put(Family::Active, key, SpentRow { locked }.encode_to_vec());
    }
    Ok(())
}
