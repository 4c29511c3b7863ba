//! Whose turn it is: among the waiting jobs of one class, and among the classes that one miner could serve next.
//!
//! In a class: start-time fair queueing over owners (Goyal, Vin, Cheng 1996). A job's tag is fixed when it begins to wait,
//! by the clock of its class, so that neither a thousand jobs of one owner nor what happens in other classes sets others
//! back. Where several jobs of one owner wait in a class, its turn goes to the one with the highest priority. Among
//! classes: owners in rounds, so that many classes give an owner no more turns than one.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use aitbc_common::identity::PublicKey;
use aitbc_common::ids::JobId;

/// What one job adds to its owner's fair-queueing tag.
const TAG_STEP: u64 = 1_000;

/// A waiting job, as the queue needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// The job.
    pub job: JobId,
    /// Its owner.
    pub owner: PublicKey,
    /// Rank among its owner's jobs.
    pub priority: i32,
    /// Its fair-queueing tag.
    pub tag: u64,
}

/// An owner's waiting jobs in a class.
#[derive(Debug, Default)]
struct Owned {
    /// Best first, with the tag that each holds.
    jobs: BTreeMap<(Reverse<i32>, JobId), u64>,
    last_tag: u64,
}

/// The waiting jobs of one class.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// In order: an owner's turn goes to its best job, which need not be the one named here.
    turns: BTreeMap<(u64, JobId), (PublicKey, i32)>,
    by_owner: BTreeMap<PublicKey, Owned>,
    /// The newest turn that was taken.
    clock: u64,
}

impl Turns {
    /// The tag of a new job of this owner.
    pub fn new_tag(&self, owner: &PublicKey) -> u64 {
        let last = self.by_owner.get(owner).map_or(0, |owned| owned.last_tag);
        last.max(self.clock).saturating_add(TAG_STEP)
    }

    /// A class begins.
    pub fn first_tag() -> u64 {
        TAG_STEP
    }

    pub fn push(&mut self, waiting: Waiting) {
        let turn = (waiting.owner, waiting.priority);
        self.turns.insert((waiting.tag, waiting.job), turn);
        let owned = self.by_owner.entry(waiting.owner).or_default();
        let key = (Reverse(waiting.priority), waiting.job);
        owned.jobs.insert(key, waiting.tag);
        owned.last_tag = owned.last_tag.max(waiting.tag);
    }

    /// Whether the job waited here.
    pub fn remove(&mut self, owner: PublicKey, priority: i32, job: JobId) -> bool {
        let Some(owned) = self.by_owner.get_mut(&owner) else {
            return false;
        };
        let Some(tag) = owned.jobs.remove(&(Reverse(priority), job)) else {
            return false;
        };
        if owned.jobs.is_empty() {
            self.by_owner.remove(&owner);
        }
        self.turns.remove(&(tag, job));
        true
    }

    /// Takes the owner's best job on the first turn. Where that is not the job the turn was made for, the two exchange
    /// their tags.
    pub fn pop(&mut self) -> Option<Waiting> {
        let ((tag, turn_job), (owner, turn_priority)) = self.turns.pop_first()?;
        let owned = self.by_owner.get_mut(&owner)?;
        let ((Reverse(priority), job), own_tag) = owned.jobs.pop_first()?;
        if job != turn_job {
            self.turns.remove(&(own_tag, job));
            let turn = (owner, turn_priority);
            self.turns.insert((own_tag, turn_job), turn);
            owned
                .jobs
                .insert((Reverse(turn_priority), turn_job), own_tag);
        }
        if owned.jobs.is_empty() {
            self.by_owner.remove(&owner);
        }
        self.clock = self.clock.max(tag);
        Some(Waiting {
            job,
            owner,
            priority,
            tag,
        })
    }

    /// Whose turn is next, and with which job it was made.
    pub fn first(&self) -> Option<(PublicKey, JobId)> {
        let ((_, job), (owner, _)) = self.turns.first_key_value()?;
        Some((*owner, *job))
    }

    /// Place of a job, from 1; counted up to `most`.
    pub fn position(
        &self,
        owner: &PublicKey,
        priority: i32,
        job: JobId,
        most: usize,
    ) -> Option<usize> {
        let owned = self.by_owner.get(owner)?;
        let tag = *owned.jobs.get(&(Reverse(priority), job))?;
        Some(self.turns.range(..=(tag, job)).take(most).count())
    }

    /// After a recovery the clock stands before the oldest turn.
    pub fn start_clock(&mut self) {
        let oldest = self.turns.first_key_value().map_or(0, |((tag, _), _)| *tag);
        self.clock = self.clock.max(oldest.saturating_sub(TAG_STEP));
    }

    /// All jobs.
    pub fn jobs(&self) -> impl Iterator<Item = JobId> {
        let owned = self.by_owner.values();
        owned.flat_map(|owned| owned.jobs.keys().map(|(_, job)| *job))
    }

    pub fn len(&self) -> usize {
        self.turns.len()
    }

    pub fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }
}

/// Rounds over the owners that have waiting jobs: who was served, or came, the longest ago is next.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    /// When each had its last turn, or came; and how many of its jobs wait.
    owners: BTreeMap<PublicKey, (u64, usize)>,
    now: u64,
}

impl Rounds {
    pub fn push(&mut self, owner: PublicKey) {
        self.owners.entry(owner).or_insert((self.now, 0)).1 += 1;
    }

    pub fn remove(&mut self, owner: &PublicKey) {
        if let Some((_, waiting)) = self.owners.get_mut(owner) {
            *waiting -= 1;
            if *waiting == 0 {
                self.owners.remove(owner);
            }
        }
    }

    /// An owner has its turn.
    pub fn serve(&mut self, owner: &PublicKey) {
        self.now += 1;
        if let Some((last, _)) = self.owners.get_mut(owner) {
            *last = self.now;
        }
        self.remove(owner);
    }

    /// Smaller = sooner.
    pub fn place(&self, owner: &PublicKey) -> u64 {
        self.owners.get(owner).map_or(self.now, |(last, _)| *last)
    }
}
