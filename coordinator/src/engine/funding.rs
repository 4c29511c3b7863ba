//! What the ledger tells: locks that are adopted or refused, payments that are done. What it is asked: payable jobs.

use std::sync::Arc;

use aitbc_common::hash::Hash;
use aitbc_common::identity::PublicKey;
use aitbc_common::ids::{JobId, MinerId};
use aitbc_common::layouts::{Assignment, LockPurpose, VoidReason};
use aitbc_common::money::MAX_PRICE_PER_HOUR;
use aitbc_common::price::highest_rate;
use aitbc_proto::v1::{ErrorReason, JobStatus};

use super::command::{AttemptId, Effect, Reply};
use super::core::{EngineCore, LiveJob, Paid, Reads};
use super::edits::Edit;
use super::payment::{lock_row, open_amount};
use super::turn::Turn;
use crate::jobs::lifecycle::{Event, Phase};
use crate::jobs::matching::{Requirement, removed_by};
use crate::payments::{LockOpened, MAX_LOCKS, Notice};
use crate::store::StoreError;
use crate::store::rows::JobRow;

/// Miners that are asked for their price, at most.
const LOOKED_AT: usize = 1_000;
/// Leading bits of the highest rate that locks pay 10 s of, the others cleared: so that jobs with about the same funds
/// share a class. A job may need up to a thirty-second more than 10 s.
const RATE_BITS: u32 = 6;

/// A lock must outlive its job's deadline by this, so that work that was stopped then is still paid: 1 hour.
pub(super) const SETTLING_MS: u64 = 3_600_000;

impl EngineCore {
    pub(super) fn notices(
        &mut self,
        turn: &mut Turn,
        first: u64,
        notices: Vec<Notice>,
        reads: &dyn Reads,
    ) -> Result<(), StoreError> {
        if first == 0 || first > self.notices + 1 {
            let message = format!(
                "notices from {first} on do not follow the newest, {}",
                self.notices
            );
            turn.refuse(ErrorReason::Internal, message);
            return Ok(());
        }
        for (number, notice) in (first..).zip(notices) {
            if number <= self.notices {
                continue;
            }
            self.notices = number;
            turn.outbox.heard = true;
            match notice {
                Notice::Locked(opened) => self.locked(turn, opened),
                Notice::Settled {
                    job,
                    owner,
                    posted,
                    fee,
                    returned,
                } => {
                    turn.edit_any(job, owner, Edit::Settled(posted, fee, returned));
                    self.paid_changed(turn, job, owner);
                }
                Notice::Bound { identity, wallet } => self.bound(turn, identity, wallet),
                Notice::Returned { lock, .. } => self.lock_returned(turn, lock, reads)?,
            }
        }
        turn.reply(Reply::NoticesApplied(self.notices));
        Ok(())
    }

    /// A lock is answered: adopted, or ordered void.
    fn locked(&mut self, turn: &mut Turn, opened: LockOpened) {
        let (lock, job) = (opened.lock, opened.job);
        if opened.purpose != LockPurpose::Job {
            return turn.outbox.void(lock, VoidReason::WrongTarget);
        }
        let Some(job_id) = job else {
            return turn.outbox.void(lock, VoidReason::UnknownJob);
        };
        let fund_again = self.config.broken.fund_again;
        if opened.target_is_paid && !fund_again {
            return turn.outbox.void(lock, VoidReason::Finished);
        }
        let funded = self.funded.get(&opened.target);
        if funded.is_some_and(|other| *other != job_id) && !fund_again {
            return turn.outbox.void(lock, VoidReason::WrongTarget);
        }
        let owner = opened.owner.or_else(|| self.owner_of(job_id));
        let refused = match (self.jobs.get(&job_id), owner) {
            (Some(live), _) => self.refuse_lock(live, &opened),
            (None, Some(owner)) => {
                turn.edit_any(job_id, owner, Edit::PayLate(Box::new(opened)));
                return self.paid_changed(turn, job_id, owner);
            }
            (None, None) => Some(VoidReason::UnknownJob),
        };
        match refused {
            Some(reason) => turn.outbox.void(lock, reason),
            None => {
                self.funded.insert(opened.target, job_id);
                self.adopt(turn, job_id, &opened);
            }
        }
    }

    /// Why a live job does not take a lock.
    fn refuse_lock(&self, live: &LiveJob, opened: &LockOpened) -> Option<VoidReason> {
        if opened.target != live.job_ref {
            return Some(VoidReason::WrongTarget);
        }
        let locks = live.paid.as_ref().map_or(&[][..], |paid| &paid.locks);
        if locks.len() >= MAX_LOCKS {
            return Some(VoidReason::TooManyLocks);
        }
        // Anybody may pay for a job: where it may go, its owner's specification alone says.
        let spec_rate = live
            .paid
            .as_ref()
            .map_or(live.requirement.max_rate, |paid| paid.spec_rate);
        let wide = opened.max_rate >= spec_rate.min(MAX_PRICE_PER_HOUR.0)
            && (opened.miner_key.0 == [0; 32] || self.is_only_miner(live, &opened.miner_key));
        let rate = live.job.phase.holder();
        let rate = rate.and_then(|miner| self.running_rate(live, miner));
        let open = open_amount(locks).saturating_add(opened.amount);
        let fits = opened.max_fee_bps >= self.config.fee_bps
            && opened.expires_at >= live.job.deadline.saturating_add(SETTLING_MS)
            && rate.is_none_or(|rate| rate <= opened.max_rate && rate <= highest_rate(open));
        (!(wide && fits)).then_some(VoidReason::Terms)
    }

    /// Whether a job's own specification asks for this miner.
    fn is_only_miner(&self, live: &LiveJob, key: &PublicKey) -> bool {
        let named = self.miner_keys.get(key);
        named.is_some() && named == live.requirement.only_miner.as_ref()
    }

    /// The least total of locks for which a live miner that matches runs a live job now, of the first miners.
    pub(super) fn least_funds(&self, job: JobId) -> Option<u64> {
        let live = self.jobs.get(&job)?;
        let mut wanted = (*live.requirement).clone();
        if let Some(paid) = &live.paid {
            wanted.max_rate = paid.spec_rate;
        }
        wanted.paid = true;
        let matching = self.queue.miners().take(LOOKED_AT);
        let matching =
            matching.filter(|(id, supply)| removed_by(&wanted, *id, &supply.offer).is_none());
        let cheapest = matching.map(|(_, supply)| supply.offer.price).min()?;
        Some(least_for(cheapest))
    }

    /// The rate that the live attempt was promised.
    fn running_rate(&self, live: &LiveJob, miner: MinerId) -> Option<u64> {
        let lease = live.lease.as_ref()?;
        let promised = Assignment::decode(&lease.attempt.assignment);
        let price = || {
            let record = &self.miners.get(&miner)?.record;
            Some(record.price_per_hour_micro_ait)
        };
        // Leased in this very batch: what the row will say is not there yet.
        promised
            .ok()
            .map(|assignment| assignment.rate)
            .or_else(price)
    }

    fn adopt(&mut self, turn: &mut Turn, job_id: JobId, opened: &LockOpened) {
        let Some(live) = self.jobs.get_mut(&job_id) else {
            return;
        };
        let (owner, row) = (live.owner, lock_row(opened));
        let spec_rate = live.requirement.max_rate;
        let paid = live.paid.get_or_insert_with(|| {
            Box::new(Paid {
                locks: Vec::new(),
                spec_rate,
            })
        });
        paid.locks.push(row.clone());
        turn.outbox.opened.push((opened.lock, job_id, owner));
        let before = live.job.phase;
        let moved = self.requeue_by_funds(job_id);
        let Some(live) = self.jobs.get_mut(&job_id) else {
            return;
        };
        if before == Phase::Pending || moved {
            live.tag = self.queue.new_tag(&live.requirement, &owner);
        }
        let (lock, tag, at_ms) = (Box::new(row), live.tag, self.now);
        turn.edit(job_id, owner, Edit::Fund { lock, tag, at_ms });
        // Funding a live job is never refused.
        let _ = self.advance(turn, job_id, Event::Fund, None);
        if before != Phase::Pending {
            self.enqueue(job_id);
            self.renew(turn, job_id);
        }
    }

    /// A job's funds changed: it waits among those that the same miners may run now. Leaves its queue, for the caller to
    /// enqueue it. Whether it waits in another class from now on.
    fn requeue_by_funds(&mut self, job_id: JobId) -> bool {
        let Some(live) = self.jobs.get_mut(&job_id) else {
            return false;
        };
        if let Some(class) = live.class.take() {
            self.queue.remove(class, live.owner, live.priority, job_id);
        }
        let Some(paid) = &live.paid else {
            return false;
        };
        let next = self.queue.shared(by_funds(&live.requirement, paid));
        let moved = next != live.requirement;
        self.requirements.remove(&live.owner, &live.requirement);
        self.requirements.add(live.owner, &next);
        live.requirement = next;
        moved
    }

    /// The live attempt's newer assignment goes to its session, and to watchers.
    fn renew(&mut self, turn: &mut Turn, job_id: JobId) {
        let Some(live) = self.jobs.get(&job_id) else {
            return;
        };
        let (owner, status) = (live.owner, live.job.status());
        let attempt = AttemptId {
            job_id,
            attempt: live.job.attempt,
        };
        let holder = live.job.phase.holder().and_then(|id| self.miners.get(&id));
        let session = holder.and_then(|miner| miner.session.as_ref());
        let polled = live
            .lease
            .as_ref()
            .is_some_and(|lease| lease.attempt.polled);
        if let Some(session) = session.map(|session| session.id).filter(|_| !polled) {
            turn.effect_later(move |core, rows| {
                let info = Box::new(core.attempt_info(attempt, rows)?);
                Some(Effect::Renew { session, info })
            });
        }
        self.changed(turn, job_id, owner, status);
    }

    /// A lock ended by itself, or could not be settled.
    fn lock_returned(
        &mut self,
        turn: &mut Turn,
        lock: Hash,
        reads: &dyn Reads,
    ) -> Result<(), StoreError> {
        let Some((job_id, owner)) = turn.outbox.job_of(&lock, reads)? else {
            return Ok(());
        };
        turn.edit_any(job_id, owner, Edit::LockReturned(lock));
        if let Some(live) = self.jobs.get_mut(&job_id) {
            let locks = live.paid.iter_mut().flat_map(|paid| &mut paid.locks);
            for known in locks.filter(|known| known.id() == lock) {
                known.returned = true;
            }
            let open = live
                .paid
                .as_ref()
                .map_or(0, |paid| open_amount(&paid.locks));
            self.requeue_by_funds(job_id);
            if open == 0 {
                // It is live: this is never refused.
                let _ = self.advance(turn, job_id, Event::Unfund, None);
            }
            self.enqueue(job_id);
        }
        self.paid_changed(turn, job_id, owner);
        Ok(())
    }

    /// It waits for funds: no miner may find it.
    pub(super) fn dequeue(&mut self, turn: &mut Turn, job_id: JobId, owner: PublicKey) {
        let Some(live) = self.jobs.get_mut(&job_id) else {
            return;
        };
        let retries_spent = live.job.retries_spent;
        if let Some(class) = live.class.take() {
            self.queue.remove(class, owner, live.priority, job_id);
        }
        let requeue = Edit::Requeue {
            not_before_ms: self.now,
            retries_spent,
        };
        turn.edit(job_id, owner, requeue);
        turn.edit(job_id, owner, Edit::NeedFunds);
        self.changed(turn, job_id, owner, JobStatus::Pending);
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
        let next = self.queue.shared(by_funds(&requirement, &paid));
        (Some(Box::new(paid)), next)
    }
}

/// What a job with these locks asks of miners: a rate of which they pay 10 s, and whether there is anything to be paid.
fn by_funds(requirement: &Requirement, paid: &Paid) -> Requirement {
    let mut next = requirement.clone();
    next.max_rate = paid.spec_rate;
    next.paid = paid.locks.iter().any(|lock| !lock.returned);
    if next.paid {
        let affordable = coarse(highest_rate(open_amount(&paid.locks)));
        next.max_rate = next.max_rate.min(affordable);
    }
    next
}

/// The least amount whose coarse highest rate is at least this one.
fn least_for(rate: u64) -> u64 {
    let dropped = (u64::BITS - rate.leading_zeros()).saturating_sub(RATE_BITS);
    let up = rate.div_ceil(1 << dropped).saturating_mul(1 << dropped);
    up.div_ceil(highest_rate(1))
}

/// The number with all but its leading bits cleared.
fn coarse(rate: u64) -> u64 {
    let dropped = (u64::BITS - rate.leading_zeros()).saturating_sub(RATE_BITS);
    (rate >> dropped) << dropped
}

#[cfg(test)]
mod tests {
    use super::{coarse, highest_rate, least_for};

    #[test]
    fn the_least_funds_are_what_the_classes_take() {
        for rate in [
            0,
            1,
            359,
            360,
            361,
            499_999,
            500_000,
            3_600_000_007,
            1 << 40,
        ] {
            let least = least_for(rate);
            assert!(coarse(highest_rate(least)) >= rate, "{rate}");
            assert!(
                least == 0 || coarse(highest_rate(least - 1)) < rate,
                "{rate}"
            );
        }
    }

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
