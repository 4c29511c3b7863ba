//! What miners earned: counters by day and model, raised in the batch that records a settlement.

use std::collections::BTreeMap;

use aitbc_common::identity::PublicKey;
use aitbc_proto::v1;
use prost::Message;

use super::command::Reply;
use super::core::EngineCore;
use super::miners::timestamp;
use super::payment;
use super::turn::Turn;
use crate::store::Reads;
use crate::store::keys::DAY_MS;
use crate::store::rows::{EarningsRow, JobRow, decode};
use crate::store::{Batch, Family, StoreError, keys};

/// Rows of one answer, at most.
const ROWS: usize = 1_000;

/// Counters to raise, by their keys.
#[derive(Debug, Default)]
pub(super) struct Earnings(BTreeMap<Vec<u8>, EarningsRow>);

impl Earnings {
    /// A job was settled at `now` for this much; one whose locks returned whole earned nothing.
    pub fn add(&mut self, row: &JobRow, now: u64, posted: u64, fee: u64) {
        if posted == 0 {
            return;
        }
        let Some(assignment) = payment::assignment(row) else {
            return;
        };
        let key = keys::earnings(&assignment.miner_key, now / DAY_MS, &row.model);
        let earned = self.0.entry(key).or_default();
        earned.model.clone_from(&row.model);
        earned.jobs += 1;
        earned.paid = earned.paid.saturating_add(posted);
        earned.fee = earned.fee.saturating_add(fee);
    }

    /// Adds what is stored of the same counters, and writes them.
    pub fn put(&mut self, reads: &dyn Reads, batch: &mut Batch) -> Result<(), StoreError> {
        let raised = std::mem::take(&mut self.0);
        if raised.is_empty() {
            return Ok(());
        }
        let wanted: Vec<_> = raised
            .keys()
            .map(|key| (Family::Archive, key.as_slice()))
            .collect();
        let stored = reads.get_many(&wanted)?;
        for ((key, mut row), before) in raised.into_iter().zip(stored) {
            let before: EarningsRow = before.map(decode).transpose()?.unwrap_or_default();
            row.jobs += before.jobs;
            row.paid = row.paid.saturating_add(before.paid);
            row.fee = row.fee.saturating_add(before.fee);
            batch.put(Family::Archive, key, row.encode_to_vec());
        }
        Ok(())
    }
}

impl EngineCore {
    pub(super) fn get_earnings(
        &self,
        turn: &mut Turn,
        miner: &PublicKey,
        days: u32,
        reads: &dyn Reads,
    ) -> Result<(), StoreError> {
        let today = self.now / DAY_MS;
        let first = keys::earnings_from(miner, today);
        let last = keys::earnings_from(miner, today.saturating_sub(days.into()));
        let page = reads.scan(Family::Archive, &first..&last, ROWS)?;
        let mut earnings = Vec::with_capacity(page.rows.len());
        for (key, value) in page.rows {
            let row: EarningsRow = decode(value)?;
            earnings.push(v1::Earning {
                day: keys::earnings_day(&key).map(|day| timestamp(day * DAY_MS)),
                model: row.model,
                jobs: row.jobs,
                paid_micro_ait: row.paid,
                fee_micro_ait: row.fee,
            });
        }
        turn.reply(Reply::Earnings(earnings));
        Ok(())
    }
}
