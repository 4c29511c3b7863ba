//! What the ledger tells: locks that are adopted or refused, payments that are done. What it is asked: payable jobs.

use aitbc_common::hash::Hash;
use aitbc_common::identity::PublicKey;
use aitbc_common::ids::{JobId, MinerId};
use aitbc_common::layouts::{Assignment, LockPurpose, VoidReason};
use aitbc_common::money::MAX_PRICE_PER_HOUR;
use aitbc_proto::v1::{ErrorReason, JobStatus};

use super::command::{AttemptId, Effect, Reply};
use super::core::{EngineCore, LiveJob, Paid};
use super::edits::Edit;
use super::payment::lock_row;
use super::turn::Turn;
use crate::jobs::lifecycle::{Event, Phase};
use crate::payments::{LockOpened, Notice};
use crate::store::Reads;
use crate::store::StoreError;

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
                Notice::RentalPaid {
                    rental,
                    lock,
                    posted,
                    fee,
                    returned,
                    ..
                } => self.rental_paid(turn, rental, lock, [posted, fee, returned]),
                Notice::Bound { identity, wallet } => self.bound(turn, identity, wallet),
                Notice::Returned { lock, amount, .. } => {
                    self.rental_lock_returned(turn, lock, amount);
                    self.lock_returned(turn, lock, reads)?;
                }
            }
        }
        turn.reply(Reply::NoticesApplied(self.notices));
        Ok(())
    }

    /// A lock is answered: adopted, or ordered void.
    fn locked(&mut self, turn: &mut Turn, opened: LockOpened) {
        let (lock, job) = (opened.lock, opened.job);
        if opened.purpose != LockPurpose::Job {
            return self.rent(turn, &opened);
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
        // A payer who does not own it names itself.
        let known = self.owner_of(job_id);
        let known = known.or_else(|| self.ended.get(&job_id).copied());
        let owner = known.or(opened.owner);
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
        let Some(least) = self.least_lock(live, opened.by) else {
            return Some(VoidReason::TooManyLocks);
        };
        if opened.amount < least {
            return Some(VoidReason::TooSmall);
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
        let fits = opened.max_fee_bps >= self.config.fee_bps
            && opened.expires_at >= live.job.deadline.saturating_add(SETTLING_MS)
            && rate.is_none_or(|rate| rate <= opened.max_rate);
        (!(wide && fits)).then_some(VoidReason::Terms)
    }

    /// Whether a job's own specification asks for this miner.
    fn is_only_miner(&self, live: &LiveJob, key: &PublicKey) -> bool {
        let named = self.miner_keys.get(key);
        named.is_some() && named == live.requirement.only_miner.as_ref()
    }

    /// The rate that the live attempt was promised.
    pub(super) fn running_rate(&self, live: &LiveJob, miner: MinerId) -> Option<u64> {
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
        if self.funds_changed(turn, job_id) == Some(before) {
            self.enqueue(job_id);
            self.renew(turn, job_id);
        }
    }

    /// What is locked for a live job is another amount now: the phase that follows.
    fn funds_changed(&mut self, turn: &mut Turn, job_id: JobId) -> Option<Phase> {
        let live = self.jobs.get(&job_id)?;
        let funding = live.funding();
        let event = Event::Funds {
            funded: funding.open > 0,
            enough: funding.is_enough(),
        };
        // It is live: this is never refused.
        let _ = self.advance(turn, job_id, event, None);
        Some(self.jobs.get(&job_id)?.job.phase)
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
            self.requeue_by_funds(job_id);
            self.funds_changed(turn, job_id);
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
}
