//! The start-up path, and the only recovery path: memory is made from what the store holds.

use std::collections::{BTreeMap, BTreeSet};

use aitbc_common::identity::PublicKey;
use aitbc_common::layouts::JobSpec;
use bytes::Bytes;

use super::aging::Changed;
use super::bindings::Bindings;
use super::command::AttemptId;
use super::core::{
    EngineConfig, EngineCore, Lease, REMEMBERED_ATTEMPTS, REMEMBERED_ENDED, REMEMBERED_FUNDED,
    Stopped,
};
use super::figures::JobCounts;
use super::listings::Listings;
use super::models::Models;
use super::recent::Recent;
use super::rental_rows;
use super::rentals::Rentals;
use super::requirements::OwnerRequirements;
use super::submit::requirement_of_row;
use super::timers::{Timer, lease_length};
use crate::jobs::lifecycle::{Millis, Phase};
use crate::jobs::queue::Queue;
use crate::payments::{Order, outbox};
use crate::store::rows::{self, EngineRow, JobRow, MinerRow, StoppedRow};
use crate::store::{Family, SHARDS, StoreError, keys};
use crate::store::{Reads, each_active_row};

/// Change numbers that may have been shown to watchers without being stored.
const CHANGE_GAP: u64 = 1 << 20;
/// Rows of orders that are read at once.
const ORDER_ROWS: usize = 100;

impl EngineCore {
    /// Reads miners and live jobs. Engine time goes on from the later of `wall` and the newest stored time; every lease
    /// starts anew, in full.
    pub fn recover(
        config: EngineConfig,
        wall: Millis,
        reads: &dyn Reads,
    ) -> Result<Self, StoreError> {
        let stored = reads
            .get_many(&[(Family::Active, &keys::engine())])?
            .into_iter()
            .next()
            .flatten();
        let engine: EngineRow = stored.map(rows::decode).transpose()?.unwrap_or_default();
        let mut core = Self {
            config,
            queue: Queue::restoring(),
            jobs: BTreeMap::new(),
            owners: BTreeMap::new(),
            requirements: OwnerRequirements::default(),
            miners: BTreeMap::new(),
            miner_keys: BTreeMap::new(),
            bindings: Bindings::default(),
            listings: Listings::default(),
            rentals: Rentals::default(),
            reputations: BTreeMap::new(),
            sessions: BTreeMap::new(),
            timers: BTreeSet::new(),
            stopped: BTreeMap::new(),
            unsaved_checkpoints: BTreeSet::new(),
            counts: JobCounts::default(),
            done: Recent::new(REMEMBERED_ATTEMPTS),
            funded: Recent::new(REMEMBERED_FUNDED),
            ended: Recent::new(REMEMBERED_ENDED),
            contradicted: Recent::new(REMEMBERED_ENDED),
            notices: engine.notices,
            orders: engine.orders,
            trimmed: engine.trimmed,
            change: engine.change + CHANGE_GAP,
            now: wall.max(engine.now_ms),
            unsaved_miners: BTreeSet::new(),
            save_miners_at: 0,
            changed_since_sweep: Changed::default(),
            has_room: true,
            epoch: 0,
            models: Models::default(),
            regroups: BTreeMap::new(),
            regroup_at: 0,
        };
        core.restore_rows(reads)?;
        core.queue.restored();
        core.restore_funded(reads)?;
        Ok(core)
    }

    fn restore_rows(&mut self, reads: &dyn Reads) -> Result<(), StoreError> {
        for shard in 0..SHARDS {
            each_active_row(reads, &keys::miners_in(shard), |_, value| {
                self.restore_miner(value)
            })?;
        }
        for shard in 0..SHARDS {
            each_active_row(reads, &keys::bindings_in(shard), |_, value| {
                self.restore_binding(value)
            })?;
        }
        for shard in 0..SHARDS {
            each_active_row(reads, &keys::listings_in(shard), |_, value| {
                self.restore_listing(value)
            })?;
        }
        for shard in 0..SHARDS {
            each_active_row(reads, &keys::rentals_in(shard), |_, value| {
                self.restore_rental(rental_rows::read(value)?);
                Ok(())
            })?;
        }
        for shard in 0..SHARDS {
            each_active_row(reads, &keys::active_jobs_in(shard), |key, value| {
                self.restore_job(key, value)
            })?;
        }
        for shard in 0..SHARDS {
            each_active_row(reads, &keys::checkpoints_in(shard), |key, value| {
                self.restore_checkpoint(key, value)
            })?;
        }
        for shard in 0..SHARDS {
            each_active_row(reads, &keys::stopped_in(shard), |key, value| {
                self.restore_stopped(key, value)
            })?;
        }
        Ok(())
    }

    fn restore_miner(&mut self, value: Bytes) -> Result<(), StoreError> {
        let row: MinerRow = rows::decode(value)?;
        if let Some(record) = row.miner
            && let Ok(key) = record.public_key.as_ref().try_into()
        {
            self.insert_miner(PublicKey(key), record);
        }
        Ok(())
    }

    fn restore_job(&mut self, key: Bytes, value: Bytes) -> Result<(), StoreError> {
        let row: JobRow = rows::decode(value)?;
        let damaged = || StoreError::Corrupt(format!("the row of {} is damaged", row.id()));
        let (owner, _) = keys::parse_job(&key).ok_or_else(damaged)?;
        let requirement = requirement_of_row(&row).ok_or_else(damaged)?;
        let requirement = self.queue.shared(requirement);
        self.insert_job(&row, owner, requirement);
        if let Some(live) = self.jobs.get(&row.id())
            && live.paid.is_some()
        {
            self.funded.insert(live.job_ref, row.id());
        }
        match row.live_attempt() {
            Some(attempt) => {
                let attempt = attempt.clone();
                self.restore_lease(&row, attempt);
            }
            None => self.enqueue(row.id()),
        }
        Ok(())
    }

    fn restore_stopped(&mut self, key: Bytes, value: Bytes) -> Result<(), StoreError> {
        let row: StoppedRow = rows::decode(value)?;
        let damaged = || StoreError::Corrupt("the row of a stopped job is damaged".into());
        let (owner, job) = keys::parse_job(&key).ok_or_else(damaged)?;
        let until = self.now + self.config.receipt_ms;
        self.stopped.insert(job, Stopped { owner, row, until });
        self.timers.insert((until, Timer::Receipt(job)));
        Ok(())
    }

    /// Finished jobs whose payment is decided or about to be, and not recorded: their specifications are paid, too.
    fn restore_funded(&mut self, reads: &dyn Reads) -> Result<(), StoreError> {
        let stopped = self.stopped.iter();
        let stopped: Vec<_> = stopped
            .map(|(job, stopped)| keys::archived_job(&stopped.owner, *job))
            .collect();
        let stopped: Vec<_> = stopped
            .iter()
            .map(|key| (Family::Archive, &key[..]))
            .collect();
        for row in reads.get_many(&stopped)?.into_iter().flatten() {
            // A damaged row of a final job is as good as none.
            if let Ok(row) = rows::decode::<JobRow>(row)
                && let Ok(spec) = JobSpec::decode(&row.spec)
            {
                self.funded.insert(spec.job_ref(), row.id());
            }
        }
        let mut next = self.trimmed + 1;
        loop {
            let orders = outbox::read(reads, next, ORDER_ROWS)?;
            let Some((last, _)) = orders.last() else {
                return Ok(());
            };
            next = last + 1;
            for (_, order) in orders {
                if let Order::Settle { job, work, .. } = order {
                    self.funded.insert(work.job_ref, job);
                }
            }
        }
    }

    fn restore_lease(&mut self, row: &JobRow, attempt: rows::AttemptRow) {
        let miner_id = attempt.miner();
        let lease_until = self
            .now
            .saturating_add(lease_length(&self.config, &attempt));
        let id = AttemptId {
            job_id: row.id(),
            attempt: u16::try_from(attempt.attempt).unwrap_or(u16::MAX),
        };
        let now = self.now;
        let Some(live) = self.jobs.get_mut(&id.job_id) else {
            return;
        };
        let before = live.job.status();
        live.job.phase = Phase::Processing {
            miner: miner_id,
            lease_until,
        };
        self.counts.change(before, live.job.status());
        let started_ms = attempt.started_ms;
        let request_id = row.request_id.clone();
        live.lease = Some(Box::new(Lease {
            attempt,
            request_id,
            started_ms,
            output_bytes: 0,
            output_tokens: 0,
            progress_ms: now,
            checkpoint: None,
            checkpoint_stored: false,
        }));
        self.timers.insert((lease_until, Timer::Lease(id)));
        if let Some(miner) = self.miners.get_mut(&miner_id) {
            miner.held.insert(id);
        }
    }
}
