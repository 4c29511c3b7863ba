//! One batch in the making: what the commands changed, what they want to answer, and which rows that takes.

use std::collections::{BTreeMap, BTreeSet};

use aitbc_common::address::Address;
use aitbc_common::identity::PublicKey;
use aitbc_common::ids::{JobId, MinerId, RentalId};
use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1::ErrorReason;
use prost::Message;

use super::aging::{self, AgedJob};
use super::bindings;
use super::command::{Command, Effect, Reply, Submission};
use super::core::{EngineCore, Output};
use super::edits::Edit;
use super::listings::{self, Listed};
use super::outbox::Outbox;
use super::rental_rows;
use super::rentals::Kept;
use crate::jobs::lifecycle::Millis;
use crate::market::board::Change;
use crate::store::Reads;
use crate::store::keys::Method;
use crate::store::rows::{self, EngineRow, JobRow, MinerRow, RequestRow};
use crate::store::{Batch, Family, StoreError, keys};

/// Miners' counters are stored at most this often, in milliseconds.
const SAVE_MINERS_MS: u64 = 10_000;

/// Rows of jobs with the edits of this batch, and whose jobs they are.
#[derive(Default)]
pub(super) struct Rows(BTreeMap<JobId, (PublicKey, JobRow)>);

impl Rows {
    /// A job's row.
    pub fn get(&self, job: &JobId) -> Option<&JobRow> {
        self.0.get(job).map(|(_, row)| row)
    }

    /// A job's row where it is this identity's job: for what a caller asks.
    pub fn owned(&self, job: &JobId, owner: &PublicKey) -> Option<&JobRow> {
        let (_, row) = self.0.get(job).filter(|(known, _)| known == owner)?;
        Some(row)
    }
}

/// An idempotency key: whose, of which method, which id.
pub(super) type RequestKey = (PublicKey, Method, String);

type LaterReply = Box<dyn FnOnce(&EngineCore, &Rows) -> Reply + Send>;
type LaterEffect = Box<dyn FnOnce(&EngineCore, &Rows) -> Option<Effect> + Send>;

enum Pending<T, L> {
    Ready(T),
    Later(L),
}

pub(super) struct Turn {
    pub now: Millis,
    replies: Vec<Pending<Reply, LaterReply>>,
    effects: Vec<Pending<Effect, LaterEffect>>,
    edits: Vec<(JobId, Edit)>,
    /// Jobs whose rows are needed, and whose they should be: a caller may name another's job.
    needed: BTreeSet<(JobId, PublicKey)>,
    /// Numbers of the newest changes that watchers are told of: a row holds the number of its last one.
    pub changes: BTreeMap<JobId, u64>,
    /// Jobs that are new or changed in this batch, with their owners.
    touched: BTreeMap<JobId, PublicKey>,
    /// Rows of jobs that are new in this batch.
    fresh: Rows,
    /// Idempotency keys: as stored, and as used in this batch.
    requests: BTreeMap<RequestKey, RequestRow>,
    new_requests: Vec<(Vec<u8>, RequestRow)>,
    pub saved_miners: BTreeSet<MinerId>,
    pub removed_miners: Vec<PublicKey>,
    /// Identities that were bound to a wallet, or (`None`) are not any more.
    pub bound: BTreeMap<PublicKey, Option<Address>>,
    pub listed: Listed,
    /// Rentals that changed.
    pub rentals: BTreeMap<RentalId, Kept>,
    /// What readers look up.
    pub published: Vec<Change>,
    /// Jobs whose stored output chunks go.
    pub dropped_outputs: Vec<JobId>,
    /// Rows that others asked to be kept.
    pub kept: Batch,
    /// Final jobs that this batch changes.
    archived: BTreeSet<JobId>,
    /// Finished jobs as age leaves them.
    pub aged: Vec<AgedJob>,
    /// What the ledger is told, and what follows from what it told.
    pub outbox: Outbox,
}

impl Turn {
    pub fn new(now: Millis) -> Self {
        Self {
            now,
            replies: Vec::new(),
            effects: Vec::new(),
            edits: Vec::new(),
            needed: BTreeSet::new(),
            changes: BTreeMap::new(),
            touched: BTreeMap::new(),
            fresh: Rows::default(),
            requests: BTreeMap::new(),
            new_requests: Vec::new(),
            saved_miners: BTreeSet::new(),
            removed_miners: Vec::new(),
            bound: BTreeMap::new(),
            listed: Listed::new(),
            rentals: BTreeMap::new(),
            published: Vec::new(),
            dropped_outputs: Vec::new(),
            kept: Batch::new(),
            archived: BTreeSet::new(),
            aged: Vec::new(),
            outbox: Outbox::default(),
        }
    }

    pub fn reply(&mut self, reply: Reply) {
        self.replies.push(Pending::Ready(reply));
    }

    pub fn refuse(&mut self, reason: ErrorReason, message: impl Into<String>) {
        self.reply(Reply::Refused(ApiError::new(reason, message)));
    }

    /// Answers once the rows of `needed` jobs are there; those that do not exist are missing from them.
    pub fn reply_later(
        &mut self,
        needed: impl IntoIterator<Item = (JobId, PublicKey)>,
        reply: impl FnOnce(&EngineCore, &Rows) -> Reply + Send + 'static,
    ) {
        self.needed.extend(needed);
        self.replies.push(Pending::Later(Box::new(reply)));
    }

    pub fn effect(&mut self, effect: Effect) {
        self.effects.push(Pending::Ready(effect));
    }

    pub fn effect_later(
        &mut self,
        effect: impl FnOnce(&EngineCore, &Rows) -> Option<Effect> + Send + 'static,
    ) {
        self.effects.push(Pending::Later(Box::new(effect)));
    }

    /// Changes the row of a job of `owner`, which must exist.
    pub fn edit(&mut self, job: JobId, owner: PublicKey, edit: Edit) {
        self.needed.insert((job, owner));
        self.touched.insert(job, owner);
        self.edits.push((job, edit));
    }

    /// Changes the row of a job of `owner`, final or not; one that is gone is left alone.
    pub fn edit_any(&mut self, job: JobId, owner: PublicKey, edit: Edit) {
        self.needed.insert((job, owner));
        self.archived.insert(job);
        self.edits.push((job, edit));
    }

    /// A new job.
    pub fn add(&mut self, owner: PublicKey, row: JobRow) {
        self.touched.insert(row.id(), owner);
        self.fresh.0.insert(row.id(), (owner, row));
    }

    /// Whether this job of `owner` is new or changed in this batch.
    pub fn touches(&self, job: JobId, owner: PublicKey) -> bool {
        self.touched.get(&job) == Some(&owner)
    }

    /// The newest of them.
    pub fn newest_touched(&self, owner: PublicKey) -> Option<JobId> {
        let mut own = self.touched.iter().rev().filter(|(_, by)| **by == owner);
        own.next().map(|(job, _)| *job)
    }

    /// Reads what is known of the idempotency keys that the commands name.
    pub fn load_request_ids(
        &mut self,
        commands: &[Command],
        reads: &dyn Reads,
    ) -> Result<(), StoreError> {
        let named = commands.iter().filter_map(|command| match command {
            Command::Submit(submission) => Some(submission.request_key()),
            Command::Poll {
                miner_key,
                request_id,
                ..
            } => poll_key(*miner_key, request_id),
            _ => None,
        });
        self.load_requests(named, reads)
    }

    /// Reads what is known of these idempotency keys: today's and yesterday's.
    pub fn load_requests(
        &mut self,
        named: impl IntoIterator<Item = RequestKey>,
        reads: &dyn Reads,
    ) -> Result<(), StoreError> {
        let mut names = Vec::new();
        let mut wanted = Vec::new();
        for key in named {
            let (caller, method, id) = &key;
            for time in [self.now, self.now.saturating_sub(keys::DAY_MS)] {
                wanted.push(keys::request_id(caller, *method, id, time));
                names.push(key.clone());
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let wanted: Vec<_> = wanted
            .iter()
            .map(|key| (Family::Archive, key.as_slice()))
            .collect();
        for (name, value) in names.into_iter().zip(reads.get_many(&wanted)?) {
            let Some(value) = value else { continue };
            let row: RequestRow = rows::decode(value)?;
            if row.created_ms + keys::DAY_MS >= self.now {
                self.requests.entry(name).or_insert(row);
            }
        }
        Ok(())
    }

    /// What this idempotency key was used for in the last 24 hours.
    pub fn used_request(&self, key: &RequestKey) -> Option<&RequestRow> {
        self.requests.get(key)
    }

    pub fn use_request(&mut self, key: RequestKey, row: RequestRow) {
        let (caller, method, id) = &key;
        let stored = keys::request_id(caller, *method, id, self.now);
        self.new_requests.push((stored, row.clone()));
        self.requests.insert(key, row);
    }

    /// Reads the needed rows, edits them, and makes batch, replies and effects.
    pub fn finish(
        mut self,
        core: &mut EngineCore,
        reads: &dyn Reads,
    ) -> Result<Output, StoreError> {
        let mut rows = self.load(reads)?;
        rows.0.append(&mut self.fresh.0);
        for (job, edit) in std::mem::take(&mut self.edits) {
            match rows.0.get_mut(&job) {
                Some((owner, row)) => {
                    self.touched.insert(job, *owner);
                    edit.apply(row, *owner, core, &mut self.outbox);
                }
                None if self.archived.contains(&job) => edit.miss(&mut self.outbox),
                None => return Err(StoreError::Corrupt(format!("the row of {job} is missing"))),
            }
        }
        let mut batch = std::mem::take(&mut self.kept);
        for job in self.touched.keys() {
            let Some((owner, row)) = rows.0.get_mut(job) else {
                continue;
            };
            row.change = self.changes.get(job).copied().unwrap_or(row.change);
            put_job(&mut batch, row, owner);
        }
        for aged in std::mem::take(&mut self.aged) {
            if !self.touched.contains_key(&aged.job) {
                aging::put(&mut batch, aged);
            }
        }
        for job in self.touched.keys() {
            core.changed_since_sweep.note(*job);
        }
        self.put_others(core, &mut batch);
        self.outbox.earnings.put(reads, &mut batch)?;
        let told = self.outbox.put(core, &mut batch);
        self.effects.extend(told.map(Pending::Ready));
        if !batch.is_empty() || self.outbox.heard {
            let engine = EngineRow {
                change: core.change,
                now_ms: self.now,
                notices: core.notices,
                orders: core.orders,
                trimmed: core.trimmed,
            };
            batch.put(Family::Active, keys::engine(), engine.encode_to_vec());
        }
        let core = &*core;
        let replies = self.replies.into_iter().map(|reply| match reply {
            Pending::Ready(reply) => reply,
            Pending::Later(reply) => reply(core, &rows),
        });
        let effects = self.effects.into_iter().filter_map(|effect| match effect {
            Pending::Ready(effect) => Some(effect),
            Pending::Later(effect) => effect(core, &rows),
        });
        Ok(Output {
            batch,
            replies: replies.collect(),
            published: self.published,
            effects: effects.collect(),
        })
    }

    /// A job's row is in one of two tables; both are asked, unless this batch changes the job as a live one.
    fn load(&self, reads: &dyn Reads) -> Result<Rows, StoreError> {
        let missing: Vec<_> = self
            .needed
            .iter()
            .filter(|(job, _)| !self.fresh.0.contains_key(job))
            .collect();
        if missing.is_empty() {
            return Ok(Rows::default());
        }
        let mut wanted = Vec::with_capacity(2 * missing.len());
        for (job, owner) in missing {
            wanted.push((*job, *owner, Family::Active, keys::active_job(owner, *job)));
            let archived = self.dropped_outputs.contains(job) || self.archived.contains(job);
            if archived || !self.touches(*job, *owner) {
                let archived = keys::archived_job(owner, *job);
                wanted.push((*job, *owner, Family::Archive, archived));
            }
        }
        let keys: Vec<_> = wanted
            .iter()
            .map(|(.., family, key)| (*family, key.as_slice()))
            .collect();
        let mut rows = Rows::default();
        for (value, (job, owner, family, _)) in reads.get_many(&keys)?.into_iter().zip(&wanted) {
            let Some(value) = value else { continue };
            match rows::decode(value) {
                Ok(row) => _ = rows.0.insert(*job, (*owner, row)),
                // A damaged row of a final job is as good as none; the engine goes on without it.
                Err(_) if *family == Family::Archive => {}
                Err(error) => return Err(error),
            }
        }
        Ok(rows)
    }

    fn put_others(&mut self, core: &mut EngineCore, batch: &mut Batch) {
        for (key, row) in std::mem::take(&mut self.new_requests) {
            batch.put(Family::Archive, key, row.encode_to_vec());
        }
        for job in &self.dropped_outputs {
            let prefix = keys::outputs_of_job(*job);
            let end = keys::prefix_end(&prefix);
            batch.delete_range(Family::Output, prefix, end);
        }
        for key in &self.removed_miners {
            batch.delete(Family::Active, keys::miner(key));
        }
        if !core.unsaved_miners.is_empty() && self.now >= core.save_miners_at && !batch.is_empty() {
            core.save_miners_at = self.now + SAVE_MINERS_MS;
            self.saved_miners.append(&mut core.unsaved_miners);
        }
        bindings::put(batch, std::mem::take(&mut self.bound));
        listings::put(batch, std::mem::take(&mut self.listed));
        for kept in std::mem::take(&mut self.rentals).values() {
            rental_rows::put(batch, kept);
        }
        for id in &self.saved_miners {
            let Some(miner) = core.miners.get(id) else {
                continue;
            };
            let row = MinerRow {
                miner: Some(miner.record.clone()),
                change: core.change,
            };
            batch.put(Family::Active, keys::miner(&miner.key), row.encode_to_vec());
        }
    }
}

impl Submission {
    pub(super) fn request_key(&self) -> RequestKey {
        let method = match self.retry_of {
            Some(_) => Method::RetryJob,
            None => Method::SubmitJob,
        };
        (self.owner, method, self.request_id.clone())
    }
}

/// A poll may go without one.
pub(super) fn poll_key(miner: PublicKey, request_id: &str) -> Option<RequestKey> {
    (!request_id.is_empty()).then(|| (miner, Method::PollJob, request_id.to_owned()))
}

/// Live jobs go to one table, final ones to the other.
fn put_job(batch: &mut Batch, row: &JobRow, owner: &PublicKey) {
    let active = keys::active_job(owner, row.id());
    if row.finished_ms == 0 {
        batch.put(Family::Active, active, row.encode_to_vec());
    } else {
        batch.delete(Family::Active, active);
        batch.put(
            Family::Archive,
            keys::archived_job(owner, row.id()),
            row.encode_to_vec(),
        );
    }
}
