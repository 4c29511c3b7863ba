//! What a batch tells the ledger, and what it stores of the payments under way.

use aitbc_common::hash::Hash;
use aitbc_common::identity::PublicKey;
use aitbc_common::ids::JobId;
use aitbc_common::layouts::VoidReason;
use bytes::Bytes;
use prost::Message;

use super::command::Effect;
use super::core::EngineCore;
use super::earnings::Earnings;
use crate::audits;
use crate::payments::Order;
use crate::payments::outbox::ROW_ORDERS;
use crate::payments::rows::order;
use crate::store::Reads;
use crate::store::rows::{CheckpointRow, JobRow, LockedJobRow, OrdersRow, StoppedRow};
use crate::store::{Batch, Family, StoreError, keys};

/// Rows of applied orders that one batch deletes, at most.
const TRIM_ROWS: usize = 1_000;

/// Of one batch.
#[derive(Default)]
pub(super) struct Outbox {
    pub orders: Vec<Order>,
    /// Locks that were adopted, and for which job.
    pub opened: Vec<(Hash, JobId, PublicKey)>,
    /// Locks that are done with.
    pub closed: Vec<Hash>,
    /// Jobs that wait for a receipt, or (`None`) do not any more.
    pub stopped: Vec<(PublicKey, JobId, Option<StoppedRow>)>,
    /// Newest checkpoints of running attempts, or (`None`) of attempts that ended.
    pub checkpoints: Vec<(PublicKey, JobId, Option<CheckpointRow>)>,
    /// Rows of orders that the ledger has applied.
    pub trimmed: Vec<Bytes>,
    /// Counters of settled jobs.
    pub earnings: Earnings,
    /// Paid jobs whose work may be audited.
    pub auditable: Vec<(PublicKey, JobId)>,
    /// The ledger told something.
    pub heard: bool,
}

impl Outbox {
    /// A lock returns whole.
    pub fn void(&mut self, lock: Hash, reason: VoidReason) {
        self.orders.push(Order::Void { lock, reason });
        self.closed.push(lock);
    }

    /// A job was paid so much, of which so much is the fee.
    pub fn settled(
        &mut self,
        row: &JobRow,
        owner: PublicKey,
        core: &EngineCore,
        (posted, fee): (u64, u64),
    ) {
        self.earnings.add(row, core.now, posted, fee);
        if core.config.audits && posted > 0 && audits::may_be_drawn(row) {
            self.auditable.push((owner, row.id()));
        }
    }

    /// Writes all of it; what the relay is told then.
    pub fn put(&mut self, core: &mut EngineCore, batch: &mut Batch) -> Option<Effect> {
        for key in std::mem::take(&mut self.trimmed) {
            batch.delete(Family::Active, key);
        }
        for (lock, job, owner) in std::mem::take(&mut self.opened) {
            let row = LockedJobRow {
                job_id: Bytes::copy_from_slice(&job.0),
                owner: Bytes::copy_from_slice(&owner.0),
            };
            batch.put(Family::Archive, keys::lock(&lock), row.encode_to_vec());
        }
        for lock in std::mem::take(&mut self.closed) {
            batch.delete(Family::Archive, keys::lock(&lock));
        }
        for (owner, job, row) in std::mem::take(&mut self.stopped) {
            let key = keys::stopped(&owner, job);
            match row {
                Some(row) => batch.put(Family::Active, key, row.encode_to_vec()),
                None => batch.delete(Family::Active, key),
            }
        }
        for (owner, job, row) in std::mem::take(&mut self.checkpoints) {
            let key = keys::checkpoint(&owner, job);
            match row {
                Some(row) => batch.put(Family::Active, key, row.encode_to_vec()),
                None => batch.delete(Family::Active, key),
            }
        }
        for (owner, job) in std::mem::take(&mut self.auditable) {
            let key = audits::rows::candidate(core.now, &owner, job);
            batch.put(Family::Active, key, Bytes::new());
        }
        let orders = std::mem::take(&mut self.orders);
        for chunk in orders.chunks(ROW_ORDERS) {
            core.orders += chunk.len() as u64;
            let row = OrdersRow {
                orders: chunk.iter().map(order).collect(),
            };
            batch.put(
                Family::Active,
                keys::orders(core.orders),
                row.encode_to_vec(),
            );
        }
        (!orders.is_empty()).then_some(Effect::OrdersPending(core.orders))
    }

    /// The job of an open lock, as stored or as of this batch.
    pub fn job_of(
        &self,
        lock: &Hash,
        reads: &dyn Reads,
    ) -> Result<Option<(JobId, PublicKey)>, StoreError> {
        if let Some((_, job, owner)) = self.opened.iter().find(|(opened, ..)| opened == lock) {
            return Ok(Some((*job, *owner)));
        }
        let stored = reads.get_many(&[(Family::Archive, &keys::lock(lock))])?;
        let Some(row) = stored.into_iter().next().flatten() else {
            return Ok(None);
        };
        let row: LockedJobRow = crate::store::rows::decode(row)?;
        let job = crate::store::rows::uuid(&row.job_id).map(JobId);
        let owner = row.owner.as_ref().try_into().ok().map(PublicKey);
        Ok(job.zip(owner))
    }

    /// Finds the rows of orders up to number `through`, which the ledger has applied.
    pub fn trim(
        &mut self,
        core: &mut EngineCore,
        through: u64,
        reads: &dyn Reads,
    ) -> Result<(), StoreError> {
        let through = through.min(core.orders);
        if through <= core.trimmed {
            return Ok(());
        }
        let range = (keys::orders(core.trimmed), keys::orders(through + 1));
        let page = reads.scan(Family::Active, &range.0..&range.1, TRIM_ROWS)?;
        for (key, _) in page.rows {
            core.trimmed = keys::last_order(&key).unwrap_or(core.trimmed);
            self.trimmed.push(key);
        }
        Ok(())
    }
}
