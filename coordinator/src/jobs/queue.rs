//! Waiting jobs, in requirement classes, and the free miners that serve each class.
//!
//! Order: [`super::turns`]. A class that nobody serves costs the others nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aitbc_common::identity::PublicKey;
use aitbc_common::ids::{JobId, MinerId};

use super::matching::{Offer, Rank, Requirement, could_run, nominal_ms, rank, removed_by};
pub use super::turns::Waiting;
use super::turns::{Rounds, Turns};

/// Classes without waiting jobs that are kept, because the next job may want them again.
const IDLE_CLASSES: usize = 1_024;
/// Positions are counted up to here.
const MAX_POSITION: usize = 10_000;

/// Number of a requirement class, while it exists.
pub type ClassId = u64;

#[derive(Debug)]
struct Class {
    requirement: Arc<Requirement>,
    turns: Turns,
    /// Live miners that match.
    serving: BTreeSet<MinerId>,
    /// Those with a free slot, best first.
    free: BTreeSet<Rank>,
    last_used: u64,
}

/// A miner, as the queue needs it.
#[derive(Debug, Clone, Default)]
pub struct Supply {
    /// What it offers.
    pub offer: Offer,
    /// Free slots now.
    pub free_slots: usize,
    /// Jobs that run there.
    pub load: usize,
    /// The model it ran last.
    pub warm_model: Option<String>,
}

#[derive(Debug, Default)]
struct Member {
    supply: Supply,
    ranks: BTreeMap<ClassId, Option<Rank>>,
}

/// All waiting jobs and all miners that are known.
#[derive(Debug, Default)]
pub struct Queue {
    classes: BTreeMap<ClassId, Class>,
    by_requirement: BTreeMap<Arc<Requirement>, ClassId>,
    idle: BTreeSet<(u64, ClassId)>,
    members: BTreeMap<MinerId, Member>,
    /// What they ask in micro-AIT per hour, each with the number of those who do.
    prices: BTreeMap<u64, usize>,
    rounds: Rounds,
    /// Jobs come back from the store, each with the tag that it had.
    restoring: bool,
    next_class: ClassId,
    uses: u64,
    waiting: usize,
    /// Classes in which a job and a free miner may have met since the last [`Queue::next_match`].
    dirty: BTreeSet<ClassId>,
}

impl Queue {
    /// A queue whose jobs come back from the store, until [`Queue::restored`].
    #[must_use]
    pub fn restoring() -> Self {
        Self {
            restoring: true,
            ..Self::default()
        }
    }

    /// All jobs are back.
    pub fn restored(&mut self) {
        self.restoring = false;
        for class in self.classes.values_mut() {
            class.turns.start_clock();
        }
    }

    /// The fair-queueing tag for a job of this owner that begins to wait now.
    #[must_use]
    pub fn new_tag(&self, requirement: &Requirement, owner: &PublicKey) -> u64 {
        let class = self.by_requirement.get(requirement);
        class
            .and_then(|id| self.classes.get(id))
            .map_or_else(Turns::first_tag, |class| class.turns.new_tag(owner))
    }

    /// The class of these requirements, made if missing.
    pub fn intern(&mut self, requirement: &Arc<Requirement>) -> ClassId {
        if let Some(id) = self.by_requirement.get(requirement) {
            return *id;
        }
        let id = self.next_class;
        self.next_class += 1;
        let class = Class {
            requirement: Arc::clone(requirement),
            turns: Turns::default(),
            serving: BTreeSet::new(),
            free: BTreeSet::new(),
            last_used: 0,
        };
        self.classes.insert(id, class);
        self.by_requirement.insert(Arc::clone(requirement), id);
        let miners: Vec<MinerId> = self.asked(requirement).map(|(miner, _)| miner).collect();
        for miner in miners {
            self.place(miner, id);
        }
        self.mark_idle(id);
        id
    }

    /// These requirements as the queue shares them, where it knows them.
    #[must_use]
    pub fn shared(&self, requirement: Requirement) -> Arc<Requirement> {
        let requirement = Arc::new(requirement);
        self.by_requirement
            .get_key_value(&requirement)
            .map_or(requirement, |(known, _)| Arc::clone(known))
    }

    /// A job begins to wait, or waits again: with its own tag, unless a new one would be sooner.
    pub fn push(&mut self, requirement: &Arc<Requirement>, mut waiting: Waiting) -> ClassId {
        let id = self.intern(requirement);
        let class = self
            .classes
            .get_mut(&id)
            .expect("the class was just interned");
        self.idle.remove(&(class.last_used, id));
        if !self.restoring {
            waiting.tag = waiting.tag.min(class.turns.new_tag(&waiting.owner));
        }
        class.turns.push(waiting);
        self.rounds.push(waiting.owner);
        self.waiting += 1;
        self.dirty.insert(id);
        id
    }

    /// A job waits no more.
    pub fn remove(&mut self, class_id: ClassId, owner: PublicKey, priority: i32, job: JobId) {
        let Some(class) = self.classes.get_mut(&class_id) else {
            return;
        };
        if !class.turns.remove(owner, priority, job) {
            return;
        }
        self.rounds.remove(&owner);
        self.waiting -= 1;
        if class.turns.is_empty() {
            self.mark_idle(class_id);
        }
    }

    /// The highest price up to this one that a known miner asks.
    #[must_use]
    pub fn price_up_to(&self, highest: u64) -> Option<u64> {
        self.prices.range(..=highest).next_back().map(|(p, _)| *p)
    }

    /// Jobs that wait in classes with a highest price of at least `from` and below `below`.
    #[must_use]
    pub fn priced(&self, from: u64, below: u64) -> Vec<JobId> {
        let priced = self.classes.values().filter(|class| {
            let highest = class.requirement.max_rate;
            from <= highest && highest < below
        });
        priced.flat_map(|class| class.turns.jobs()).collect()
    }

    fn change_price(&mut self, before: Option<u64>, after: Option<u64>) {
        if before == after {
            return;
        }
        if let Some(price) = before
            && let Some(asking) = self.prices.get_mut(&price)
        {
            *asking -= 1;
            if *asking == 0 {
                self.prices.remove(&price);
            }
        }
        if let Some(price) = after {
            *self.prices.entry(price).or_default() += 1;
        }
    }

    /// A miner is there, or what it offers or has free changed.
    pub fn set_miner(&mut self, miner: MinerId, supply: Supply) {
        let before = self.members.get(&miner).map(|m| m.supply.offer.price);
        self.change_price(before, Some(supply.offer.price));
        let member = self.members.entry(miner).or_default();
        let same_offer = member.supply.offer == supply.offer && !member.ranks.is_empty();
        member.supply = supply;
        if same_offer {
            let served: Vec<ClassId> = member.ranks.keys().copied().collect();
            for class in served {
                self.place(miner, class);
            }
        } else {
            let all: Vec<ClassId> = self.classes.keys().copied().collect();
            for class in all {
                self.place(miner, class);
            }
        }
    }

    /// A miner's jobs came or went; what it offers is as before.
    pub fn set_load(&mut self, miner: MinerId, free_slots: usize, load: usize, warm: Option<&str>) {
        let Some(member) = self.members.get_mut(&miner) else {
            return;
        };
        member.supply.free_slots = free_slots;
        member.supply.load = load;
        if member.supply.warm_model.as_deref() != warm {
            member.supply.warm_model = warm.map(str::to_owned);
        }
        let served: Vec<ClassId> = member.ranks.keys().copied().collect();
        for class in served {
            self.place(miner, class);
        }
    }

    /// A miner is gone for good.
    pub fn remove_miner(&mut self, miner: MinerId) {
        let Some(member) = self.members.remove(&miner) else {
            return;
        };
        self.change_price(Some(member.supply.offer.price), None);
        for (id, rank) in member.ranks {
            if let Some(class) = self.classes.get_mut(&id) {
                class.serving.remove(&miner);
                if let Some(rank) = rank {
                    class.free.remove(&rank);
                }
            }
        }
    }

    /// The next pair of a waiting job and a free miner, in fair order; the job leaves the queue. The caller must take the
    /// slot through [`Queue::set_miner`] before it asks again.
    pub fn next_match(&mut self) -> Option<(Waiting, ClassId, MinerId)> {
        let mut best: Option<(u64, JobId, ClassId)> = None;
        let mut quiet = Vec::new();
        for id in &self.dirty {
            let class = self.classes.get(id).filter(|c| !c.free.is_empty());
            match class.and_then(|c| c.turns.first()) {
                Some((owner, job)) => {
                    let head = (self.rounds.place(&owner), job, *id);
                    best = Some(best.map_or(head, |b| b.min(head)));
                }
                None => quiet.push(*id),
            }
        }
        for id in quiet {
            self.dirty.remove(&id);
        }
        let (_, _, id) = best?;
        let miner = self.classes.get(&id)?.free.first()?.miner;
        let waiting = self.pop(id)?;
        Some((waiting, id, miner))
    }

    /// The best waiting job for a miner that polls with this offer; it leaves the queue.
    pub fn take_for(&mut self, miner: MinerId, offer: &Offer) -> Option<(Waiting, ClassId)> {
        let matching = self
            .classes
            .iter()
            .filter(|(_, class)| removed_by(&class.requirement, miner, offer).is_none());
        let heads = matching.filter_map(|(id, class)| {
            let (owner, job) = class.turns.first()?;
            Some((self.rounds.place(&owner), job, *id))
        });
        let (_, _, id) = heads.min()?;
        Some((self.pop(id)?, id))
    }

    /// Place of a job in its class, from 1; counted up to 10,000.
    #[must_use]
    pub fn position(
        &self,
        class: ClassId,
        owner: PublicKey,
        priority: i32,
        job: JobId,
    ) -> Option<usize> {
        let class = self.classes.get(&class)?;
        class.turns.position(&owner, priority, job, MAX_POSITION)
    }

    /// Milliseconds until the job at `position` of a class starts, from what its miners are predicted to do; `None` where
    /// none serves it. Looks at 100 miners.
    #[must_use]
    pub fn estimate_ms(&self, id: ClassId, position: usize) -> Option<u64> {
        let class = self.classes.get(&id)?;
        if !class.free.is_empty() {
            return Some(0);
        }
        let supplies = class
            .serving
            .iter()
            .take(100)
            .filter_map(|miner| self.members.get(miner));
        let jobs_per_hour: u64 = supplies
            .filter_map(|m| {
                Some((
                    m.supply.load + m.supply.free_slots,
                    m.supply.offer.models.get(&class.requirement.model)?,
                ))
            })
            .map(|(slots, model)| slots as u64 * 3_600_000 / nominal_ms(model).max(1))
            .sum();
        (jobs_per_hour > 0).then(|| position as u64 * 3_600_000 / jobs_per_hour)
    }

    /// Live miners that serve a class.
    #[must_use]
    pub fn serving(&self, class: ClassId) -> usize {
        self.classes.get(&class).map_or(0, |c| c.serving.len())
    }

    /// Whether a free miner serves a class.
    #[must_use]
    pub fn has_free(&self, class: ClassId) -> bool {
        self.classes.get(&class).is_some_and(|c| !c.free.is_empty())
    }

    /// All classes with their number of waiting jobs.
    pub fn classes(&self) -> impl Iterator<Item = (&Requirement, usize)> {
        self.classes
            .values()
            .map(|class| (&*class.requirement, class.turns.len()))
    }

    /// All miners.
    pub fn miners(&self) -> impl Iterator<Item = (MinerId, &Supply)> {
        self.members
            .iter()
            .map(|(id, member)| (*id, &member.supply))
    }

    /// The miners that these requirements do not rule out by name: the one that they name, or all.
    pub fn asked(&self, requirement: &Requirement) -> impl Iterator<Item = (MinerId, &Supply)> {
        let named = requirement.only_miner.map(|miner| miner..=miner);
        let range = named.map_or_else(|| self.members.range(..), |named| self.members.range(named));
        range.map(|(id, member)| (*id, &member.supply))
    }

    /// Whether any known miner that declared what it runs could ever run this, live or not.
    #[must_use]
    pub fn anyone_could_run(&self, requirement: &Requirement) -> bool {
        self.asked(requirement)
            .any(|(id, supply)| could_run(requirement, id, &supply.offer))
    }

    /// One of all live miners that match, each with the same chance where `random` is. Those that poll for any model are left
    /// out.
    #[must_use]
    pub fn pick(&self, requirement: &Requirement, random: u64) -> Option<MinerId> {
        let fits = |(id, supply): &(MinerId, &Supply)| {
            !supply.offer.any_model && removed_by(requirement, *id, &supply.offer).is_none()
        };
        let fitting: Vec<_> = self
            .asked(requirement)
            .filter(fits)
            .map(|(id, _)| id)
            .collect();
        let at = random.checked_rem(fitting.len() as u64)?;
        fitting.get(usize::try_from(at).ok()?).copied()
    }

    /// Waiting jobs in all.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// A waiting job and a free miner that matches it, found by trying all pairs: there is none once every match was
    /// taken.
    #[must_use]
    pub fn idle_match(&self) -> Option<(JobId, MinerId)> {
        let waiting = self.classes.values().filter_map(|class| {
            let (_, job) = class.turns.first()?;
            Some((&class.requirement, job))
        });
        waiting.into_iter().find_map(|(requirement, job)| {
            let free = self.members.iter().find(|(id, member)| {
                let Supply {
                    offer, free_slots, ..
                } = &member.supply;
                *free_slots > 0
                    && !offer.any_model
                    && removed_by(requirement, **id, offer).is_none()
            });
            free.map(|(miner, _)| (job, *miner))
        })
    }

    /// Takes the class's first turn.
    fn pop(&mut self, id: ClassId) -> Option<Waiting> {
        let class = self.classes.get_mut(&id)?;
        let waiting = class.turns.pop()?;
        self.rounds.serve(&waiting.owner);
        self.waiting -= 1;
        if class.turns.is_empty() {
            self.mark_idle(id);
        }
        Some(waiting)
    }

    /// Brings one miner's place in one class up to date.
    fn place(&mut self, miner: MinerId, id: ClassId) {
        let Some(class) = self.classes.get_mut(&id) else {
            return;
        };
        let Some(member) = self.members.get_mut(&miner) else {
            return;
        };
        if let Some(Some(old)) = member.ranks.get(&id) {
            class.free.remove(old);
        }
        let supply = &member.supply;
        if removed_by(&class.requirement, miner, &supply.offer).is_some() || supply.offer.any_model
        {
            member.ranks.remove(&id);
            class.serving.remove(&miner);
            return;
        }
        class.serving.insert(miner);
        let warm = supply.warm_model.as_deref() == Some(&class.requirement.model);
        let new = (supply.free_slots > 0).then(|| {
            rank(
                &class.requirement.model,
                miner,
                &supply.offer,
                warm,
                supply.load,
            )
        });
        if let Some(new) = new {
            class.free.insert(new);
            if !class.turns.is_empty() {
                self.dirty.insert(id);
            }
        }
        member.ranks.insert(id, new);
    }

    /// Notes that a class has no waiting job; the ones longest unused are dropped.
    fn mark_idle(&mut self, id: ClassId) {
        self.uses += 1;
        if let Some(class) = self.classes.get_mut(&id) {
            self.idle.remove(&(class.last_used, id));
            class.last_used = self.uses;
            self.idle.insert((self.uses, id));
        }
        while self.idle.len() > IDLE_CLASSES {
            let Some((_, oldest)) = self.idle.pop_first() else {
                return;
            };
            let Some(class) = self.classes.remove(&oldest) else {
                continue;
            };
            self.by_requirement.remove(&class.requirement);
            self.dirty.remove(&oldest);
            for miner in class.serving {
                if let Some(member) = self.members.get_mut(&miner) {
                    member.ranks.remove(&oldest);
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
