//! What the locks of a live job pay for: which miners, and how much more it takes.

use std::collections::BTreeMap;
use std::sync::Arc;

use aitbc_common::identity::PublicKey;
use aitbc_common::ids::JobId;
use aitbc_common::limits::OWNERS_LOCKS;
use aitbc_common::price::{highest_rate, least_locked};

use super::core::{EngineCore, LiveJob, Paid};
use super::payment::{funding, open_amount};
use super::timers::Timer;
use crate::jobs::funding::Funding;
use crate::jobs::lifecycle::{Millis, Phase};
use crate::jobs::matching::{Requirement, removed_by};
use crate::jobs::queue::Queue;
use crate::store::rows::JobRow;

/// Miners that are asked for their price, at most.
const LOOKED_AT: usize = 1_000;
/// Jobs that are looked at for new prices, at most, for each millisecond that follows without: whoever names new prices all
/// the time takes no more of the writer than that.
const REGROUPED_PER_MS: u64 = 10;
/// Leading bits of the highest rate that locks pay 10 s of, the others cleared: so that jobs with about the same funds
/// share a class, unless a miner's price is between them.
const RATE_BITS: u32 = 6;

impl LiveJob {
    /// What is locked for it.
    pub(super) fn funding(&self) -> Funding {
        let locks = self.paid.as_ref().map_or(&[][..], |paid| &paid.locks);
        funding(self.least_funding, locks)
    }
}

impl EngineCore {
    /// The least micro-AIT of the next lock that this identity makes for a live job; `None` = it takes none. With it, the
    /// locks pay 10 s of the miner that runs it; while none does, small ones must not use up the places that bring 10 s of the
    /// cheapest.
    pub(super) fn least_lock(&self, live: &LiveJob, by: Option<PublicKey>) -> Option<u64> {
        let mut funding = live.funding();
        // Whatever others lock, its owner can still pay.
        if by != Some(live.owner) && funding.places <= OWNERS_LOCKS as u64 {
            return None;
        }
        let Some(miner) = live.job.phase.holder() else {
            let cheapest = self.least_for(&self.wanted(live)).unwrap_or(0);
            funding.least = funding.least.max(cheapest);
            return funding.least_lock();
        };
        let rate = self.running_rate(live, miner);
        let for_the_miner = rate.map_or(0, least_locked).saturating_sub(funding.open);
        Some(funding.least_lock()?.max(for_the_miner))
    }

    /// The least total of locks for which a live miner that matches runs a live job now, of the first miners.
    pub(super) fn least_funds(&self, live: &LiveJob) -> Option<u64> {
        Some(self.least_for(&self.wanted(live))?.max(live.least_funding))
    }

    /// What a live job asks of miners, whatever is locked for it.
    pub(super) fn wanted(&self, live: &LiveJob) -> Requirement {
        let mut wanted = (*live.requirement).clone();
        if let Some(paid) = &live.paid {
            wanted.max_rate = paid.spec_rate;
        }
        wanted.paid = true;
        wanted
    }

    /// The least total of locks that pay 10 s of a live miner that matches.
    pub(super) fn least_for(&self, wanted: &Requirement) -> Option<u64> {
        let miners = self.queue.miners().take(LOOKED_AT);
        let matching =
            miners.filter(|(id, supply)| removed_by(wanted, *id, &supply.offer).is_none());
        matching
            .map(|(_, supply)| least_locked(supply.offer.price))
            .min()
    }

    /// Micro-AIT that a job which waits for money lacks, as far as that is known.
    pub(super) fn missing_funds(&self, live: &LiveJob) -> Option<u64> {
        self.missing_by(live, |wanted| self.least_for(&wanted))
    }

    fn missing_by(
        &self,
        live: &LiveJob,
        least_for: impl FnOnce(Requirement) -> Option<u64>,
    ) -> Option<u64> {
        let lacks = match live.job.phase {
            Phase::Pending => true,
            Phase::Queued { .. } => live.job.funded && !self.is_served(live),
            _ => false,
        };
        if !lacks {
            return None;
        }
        let open = live.funding().open;
        let least = least_for(self.wanted(live)).unwrap_or(0);
        let wanted = least.max(live.least_funding);
        Some(wanted.saturating_sub(open)).filter(|missing| *missing > 0)
    }

    /// What those of these jobs lack that wait for money. Jobs that ask the same of miners ask once for their prices.
    pub(super) fn missing_of(&self, jobs: Vec<JobId>) -> Vec<(JobId, u64)> {
        let mut least = BTreeMap::new();
        let live = jobs.into_iter().filter_map(|job| self.jobs.get(&job));
        let missing = live.filter_map(|live| {
            let missing = self.missing_by(live, |wanted| {
                *least
                    .entry(wanted)
                    .or_insert_with_key(|wanted| self.least_for(wanted))
            });
            Some((live.job.id, missing?))
        });
        missing.collect()
    }

    fn is_served(&self, live: &LiveJob) -> bool {
        live.class
            .is_some_and(|class| self.queue.serving(class) > 0)
    }

    /// A job waits among those that the same miners may run now, where its funds or the miners' prices changed. Leaves its
    /// queue then, for the caller to enqueue it. Whether it waits in another class from now on.
    pub(super) fn requeue_by_funds(&mut self, job_id: JobId) -> bool {
        let Some(live) = self.jobs.get_mut(&job_id) else {
            return false;
        };
        let Some(paid) = &live.paid else {
            return false;
        };
        let next = by_funds(&self.queue, &live.requirement, paid);
        if next == *live.requirement {
            return false;
        }
        if let Some(class) = live.class.take() {
            self.queue.remove(class, live.owner, live.priority, job_id);
        }
        let next = self.queue.shared(next);
        self.requirements.remove(&live.owner, &live.requirement);
        self.requirements.add(live.owner, &next);
        live.requirement = next;
        true
    }

    /// A miner asks a price that no other asks: jobs whose locks pay 10 s of it do not wait any more with those whose locks do
    /// not. At once, unless the new prices before it took their time: then with those that come meanwhile.
    pub(super) fn regroup(&mut self, price: u64) {
        let highest = self.regroups.entry(coarse(price)).or_default();
        *highest = price.max(*highest);
        self.regroup_due();
    }

    /// Regroups by the new prices, where it is time for that.
    pub(super) fn regroup_due(&mut self) {
        if self.regroups.is_empty() {
            return;
        }
        if self.regroup_at > self.now {
            self.timers.insert((self.regroup_at, Timer::Regroup));
            return;
        }
        let mut looked_at = 0;
        for (from, below) in std::mem::take(&mut self.regroups) {
            let jobs = self.queue.priced(from, below);
            looked_at += jobs.len() as Millis;
            for job in jobs {
                if self.requeue_by_funds(job) {
                    self.enqueue(job);
                }
            }
        }
        self.regroup_at = self.now + looked_at / REGROUPED_PER_MS;
    }

    /// The locks of a stored live job, and what it asks of miners then.
    pub(super) fn paid_requirement(
        &self,
        row: &JobRow,
        requirement: Arc<Requirement>,
    ) -> (Option<Box<Paid>>, Arc<Requirement>) {
        if row.locks.is_empty() {
            return (None, requirement);
        }
        let paid = Paid {
            locks: row.locks.clone(),
            spec_rate: requirement.max_rate,
        };
        let next = by_funds(&self.queue, &requirement, &paid);
        let next = self.queue.shared(next);
        (Some(Box::new(paid)), next)
    }
}

/// What a job with these locks asks of miners: whether there is anything to be paid, and the highest price. Of known miners
/// exactly those match of whose price they pay 10 s.
fn by_funds(queue: &Queue, requirement: &Requirement, paid: &Paid) -> Requirement {
    let is_paid = paid.locks.iter().any(|lock| !lock.returned);
    let mut max_rate = paid.spec_rate;
    if is_paid {
        let highest = highest_rate(open_amount(&paid.locks));
        let asked = queue.price_up_to(highest).unwrap_or(0);
        max_rate = max_rate.min(asked.max(coarse(highest)));
    }
    Requirement {
        max_rate,
        paid: is_paid,
        ..requirement.clone()
    }
}

/// The number with all but its leading bits cleared.
fn coarse(rate: u64) -> u64 {
    let dropped = (u64::BITS - rate.leading_zeros()).saturating_sub(RATE_BITS);
    (rate >> dropped) << dropped
}

#[cfg(test)]
mod tests {
    use super::coarse;

    #[test]
    fn about_the_same_funds_are_the_same_class() {
        assert_eq!(coarse(0), 0);
        assert_eq!(coarse(63), 63);
        assert_eq!(coarse(3_600_000_000), coarse(3_600_000_007));
        for rate in [1, 1_000, 499_999, 3_600_000_000, u64::MAX] {
            assert!(coarse(rate) <= rate && rate - coarse(rate) <= rate / 32);
        }
    }
}
