//! Rentals: who gets a GPU, what of its time counts, and when it is over. The rules of time are in [`crate::market::rental`].

use std::collections::{BTreeMap, BTreeSet};

use aitbc_common::address::Address;
use aitbc_common::hash::{Hash, sha256};
use aitbc_common::identity::PublicKey;
use aitbc_common::ids::{JobId, MinerId, RentalId};
use aitbc_common::layouts::{Outcome, Requirements, VoidReason};
use aitbc_common::ledger::settlement::Work;
use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1::ErrorReason;

use super::command::Reply;
use super::core::{EngineCore, Miner};
use super::effect::Effect;
use super::funding::SETTLING_MS;
use super::rental_rows::Paid;
use super::timers::Timer;
use super::turn::Turn;
use crate::jobs::lifecycle::{Event, Millis};
use crate::market::board::Change;
use crate::market::rental::{BEAT_MS, End, MOST_TERMS, Payment, Rental, Term, cost};
use crate::payments::{LockOpened, Order, RentalTerms};

/// A session that was not heard of for this long, in milliseconds, is not there: a heartbeat and a half.
const SILENT_MS: Millis = 15_000;
/// The shortest and the longest term in milliseconds: a minute, 30 days.
pub const TERM_MS: (Millis, Millis) = (60_000, 30 * 24 * 3_600_000);
/// Rentals that one identity has at once, at most.
const PER_RENTER: usize = 1_000;

/// Rentals that are under way, and those whose last payment is not recorded yet.
#[derive(Debug, Default)]
pub(super) struct Rentals {
    by_id: BTreeMap<RentalId, Kept>,
    by_lock: BTreeMap<Hash, RentalId>,
    by_renter: BTreeMap<PublicKey, BTreeSet<RentalId>>,
}

/// A rental, and what the ledger told of its payments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The rental.
    pub rental: Rental,
    /// Of each term.
    pub paid: Vec<Paid>,
}

impl Rentals {
    pub fn get(&self, id: RentalId) -> Option<&Kept> {
        self.by_id.get(&id)
    }

    /// The rental that adopted a lock.
    pub fn of_lock(&self, lock: &Hash) -> Option<&Kept> {
        self.by_lock.get(lock).and_then(|id| self.by_id.get(id))
    }

    /// A renter's, oldest first.
    pub fn of(&self, renter: &PublicKey) -> impl Iterator<Item = &Kept> {
        let ids = self.by_renter.get(renter).into_iter().flatten();
        ids.filter_map(|id| self.by_id.get(id))
    }

    /// A provider's, oldest first.
    pub fn at(&self, provider: &PublicKey) -> impl Iterator<Item = &Kept> {
        self.by_id
            .values()
            .filter(move |kept| kept.rental.provider == *provider)
    }

    fn insert(&mut self, kept: Kept) {
        let rental = &kept.rental;
        for term in &rental.terms {
            self.by_lock.insert(term.lock, rental.id);
        }
        let of_renter = self.by_renter.entry(rental.renter).or_default();
        of_renter.insert(rental.id);
        self.by_id.insert(rental.id, kept);
    }

    fn remove(&mut self, id: RentalId) {
        let Some(kept) = self.by_id.remove(&id) else {
            return;
        };
        for term in &kept.rental.terms {
            self.by_lock.remove(&term.lock);
        }
        if let Some(ids) = self.by_renter.get_mut(&kept.rental.renter) {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_renter.remove(&kept.rental.renter);
            }
        }
    }
}

/// What was agreed on for a job that names a listing or a rental.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Agreed {
    /// Where it runs.
    pub miner: Option<MinerId>,
    /// Micro-AIT per hour.
    pub rate: Option<u64>,
    /// Until when.
    pub until: Option<Millis>,
}

impl EngineCore {
    /// What a job's requirements agree on; refused where the listing or the rental is not there for this owner.
    pub(super) fn agreed(
        &self,
        owner: &PublicKey,
        requirements: &Requirements,
    ) -> Result<Agreed, ApiError> {
        if let Some(id) = requirements.rental {
            let kept = self.rentals.get(id);
            let active =
                kept.filter(|kept| kept.rental.end.is_none() && kept.rental.renter == *owner);
            let kept = active.ok_or_else(|| {
                let message = format!("{id} is no rental of yours that is under way");
                ApiError::new(ErrorReason::RentalNotFound, message)
            })?;
            return Ok(Agreed {
                miner: Some(kept.rental.miner),
                rate: Some(0),
                until: Some(kept.rental.ends_ms()),
            });
        }
        let Some(id) = requirements.offer else {
            return Ok(Agreed::default());
        };
        let listing = self.listings.get(id).ok_or_else(|| {
            let message = format!("no listing {id}; it may have been withdrawn");
            ApiError::new(ErrorReason::ListingNotFound, message)
        })?;
        let miner = self.miner_of(&listing.provider).ok_or_else(|| {
            let message = format!("no miner is registered yet that serves {id}");
            ApiError::new(ErrorReason::NoMatchingMiner, message)
        })?;
        Ok(Agreed {
            miner: Some(miner.id),
            rate: Some(listing.terms.rate),
            until: None,
        })
    }

    /// A lock for a rental is answered: the GPU is the renter's, or the lock returns.
    pub(super) fn rent(&mut self, turn: &mut Turn, opened: &LockOpened) {
        match self.rented(opened) {
            Ok(kept) => self.begin_rental(turn, kept),
            Err(reason) => turn.outbox.void(opened.lock, reason),
        }
    }

    /// The rental as a lock makes it.
    fn rented(&self, opened: &LockOpened) -> Result<Kept, VoidReason> {
        let terms = opened.rental.as_ref().ok_or(VoidReason::WrongTarget)?;
        let length = (TERM_MS.0..=TERM_MS.1).contains(&terms.term_ms);
        if terms.reference(&self.config.chain_id) != opened.target
            || !length
            || terms.term_ms % BEAT_MS != 0
            || terms.renter == opened.miner_key
        {
            return Err(VoidReason::WrongTarget);
        }
        let listing = self
            .listings
            .get(terms.listing)
            .ok_or(VoidReason::NotAvailable)?;
        let miner = self
            .miner_of(&listing.provider)
            .ok_or(VoidReason::NotAvailable)?;
        if listing.terms.rate != terms.rate {
            return Err(VoidReason::NotAvailable);
        }
        let mut kept = match terms.extends {
            Some(id) => self.extended(id, terms)?,
            None => self.new_rental(terms, miner)?,
        };
        let ends_ms = kept.rental.ends_ms().saturating_add(terms.term_ms);
        let fits = opened.miner_key == listing.provider
            && opened.max_rate >= terms.rate
            && opened.max_fee_bps >= self.config.fee_bps
            && opened.amount >= cost(terms.rate, terms.term_ms)
            && opened.expires_at >= ends_ms.saturating_add(SETTLING_MS);
        if !fits {
            return Err(VoidReason::Terms);
        }
        kept.rental.terms.push(Term {
            rental_ref: opened.target,
            lock: opened.lock,
            payer: opened.payer,
            amount: opened.amount,
            rate: terms.rate,
            ends_ms,
            counted_ms: 0,
            billed_ms: 0,
            payments: 0,
            is_done: false,
        });
        kept.paid.push(Paid::default());
        Ok(kept)
    }

    fn new_rental(&self, terms: &RentalTerms, miner: &Miner) -> Result<Kept, VoidReason> {
        let listing = self
            .listings
            .get(terms.listing)
            .ok_or(VoidReason::NotAvailable)?;
        let has = self.rentals.of(&terms.renter).count();
        let is_free = miner.rental.is_none() || self.config.broken.rent_again;
        let free = is_free && miner.takes_jobs();
        if !free || has >= PER_RENTER || self.rentals.get(terms.new_id).is_some() {
            return Err(VoidReason::NotAvailable);
        }
        let rental = Rental {
            id: terms.new_id,
            listing: listing.id,
            gpu: listing.gpu.clone(),
            provider: listing.provider,
            miner: miner.id,
            payee: miner.payee(),
            renter: terms.renter,
            began_ms: self.now,
            terms: Vec::new(),
            beats: 0,
            away_since: None,
            end: None,
        };
        Ok(Kept {
            rental,
            paid: Vec::new(),
        })
    }

    fn extended(&self, id: RentalId, terms: &RentalTerms) -> Result<Kept, VoidReason> {
        let kept = self.rentals.get(id).filter(|kept| {
            let rental = &kept.rental;
            rental.end.is_none()
                && rental.renter == terms.renter
                && rental.listing == terms.listing
                && rental.terms.len() < MOST_TERMS
        });
        kept.cloned().ok_or(VoidReason::NotAvailable)
    }

    fn begin_rental(&mut self, turn: &mut Turn, kept: Kept) {
        let rental = &kept.rental;
        let (id, provider, miner) = (rental.id, rental.provider, rental.miner);
        let (beat, ends) = (rental.next_beat_ms(), rental.ends_ms());
        turn.rentals.insert(id, kept.clone());
        self.rentals.insert(kept);
        self.timers.insert((beat, Timer::Beat(id)));
        self.serve_rental(turn, provider, miner, Some((id, ends)));
    }

    /// A miner serves a rental now, or none any more.
    fn serve_rental(
        &mut self,
        turn: &mut Turn,
        provider: PublicKey,
        miner: MinerId,
        rental: Option<(RentalId, Millis)>,
    ) {
        if let Some(miner) = self.miners.get_mut(&miner) {
            miner.rental = rental.map(|(id, _)| id);
        }
        self.attend(turn, miner);
        self.refresh(miner);
        let until = rental.map(|(_, until)| until);
        turn.published.push(Change::Rented(provider, until));
    }

    /// Has a rented miner's session tell of each heartbeat, for the beats that count.
    pub(super) fn attend(&self, turn: &mut Turn, miner: MinerId) {
        if let Some(miner) = self.miners.get(&miner)
            && let Some(session) = &miner.session
        {
            turn.effect(Effect::Attend {
                session: session.id,
                each: miner.rental.is_some(),
            });
        }
    }

    pub(super) fn rental_beat(&mut self, turn: &mut Turn, id: RentalId) {
        let Some(kept) = self.rentals.get(id) else {
            return;
        };
        let miner = self.miners.get(&kept.rental.miner);
        let is_there = miner.is_some_and(|miner| miner.serves(self.now))
            || self.config.broken.count_every_beat;
        let now = self.now;
        self.change_rental(turn, id, |rental| rental.beat(now, is_there));
    }

    pub(super) fn release_rental(&mut self, turn: &mut Turn, renter: PublicKey, id: RentalId) {
        let own = self
            .rentals
            .get(id)
            .filter(|kept| kept.rental.renter == renter);
        if own.is_none() {
            let message = format!("{id} is no rental of yours that is under way");
            return turn.refuse(ErrorReason::RentalNotFound, message);
        }
        let now = self.now;
        self.change_rental(turn, id, |rental| rental.release(now));
        let reply = self.rentals.get(id).cloned().map(Box::new);
        turn.reply(Reply::Rental(reply));
    }

    /// Changes a rental, orders what is to be paid for, and ends it where it is over.
    fn change_rental(
        &mut self,
        turn: &mut Turn,
        id: RentalId,
        change: impl FnOnce(&mut Rental) -> Vec<Payment>,
    ) {
        let Some(kept) = self.rentals.by_id.get_mut(&id) else {
            return;
        };
        let was_over = kept.rental.end.is_some();
        let payments = change(&mut kept.rental);
        let rental = kept.rental.clone();
        for payment in payments {
            let mut order = order(&rental, payment, self.now);
            if self.config.broken.keep_rest
                && let Order::PayRental { work, .. } = &mut order
            {
                work.outcome = Outcome::Rental;
            }
            turn.outbox.orders.push(order);
        }
        turn.rentals.insert(id, kept.clone());
        match rental.end {
            Some(_) if !was_over => self.end_rental(turn, &rental),
            Some(_) => {}
            None => {
                self.timers.insert((rental.next_beat_ms(), Timer::Beat(id)));
            }
        }
    }

    /// Its jobs are over with it, and the miner serves everybody again.
    fn end_rental(&mut self, turn: &mut Turn, rental: &Rental) {
        self.timers
            .remove(&(rental.next_beat_ms(), Timer::Beat(rental.id)));
        self.serve_rental(turn, rental.provider, rental.miner, None);
        let owned = self.owners.get(&rental.renter).into_iter().flatten();
        let part = |job: &&JobId| {
            let live = self.jobs.get(job);
            live.is_some_and(|live| live.requirement.rental == Some(rental.id))
        };
        let jobs: Vec<JobId> = owned.filter(part).copied().collect();
        for job in jobs {
            self.stop_job(turn, job, Event::Expire);
        }
    }

    /// The ledger recorded a payment; a rental all of whose payments are recorded is history.
    pub(super) fn rental_paid(
        &mut self,
        turn: &mut Turn,
        id: RentalId,
        lock: Hash,
        [posted, fee, returned]: [u64; 3],
    ) {
        let Some(kept) = self.rentals.by_id.get_mut(&id) else {
            return;
        };
        let place = kept.rental.terms.iter().position(|term| term.lock == lock);
        let Some(paid) = place.and_then(|place| kept.paid.get_mut(place)) else {
            return;
        };
        paid.posted = paid.posted.saturating_add(posted);
        paid.fee = paid.fee.saturating_add(fee);
        paid.returned = paid.returned.saturating_add(returned);
        paid.payments += 1;
        let is_over = kept.is_settled();
        turn.rentals.insert(id, kept.clone());
        if is_over {
            self.rentals.remove(id);
        }
    }

    /// A rental's lock came to its own end.
    pub(super) fn rental_lock_returned(&mut self, turn: &mut Turn, lock: Hash, amount: u64) {
        let Some(kept) = self.rentals.of_lock(&lock) else {
            return;
        };
        let id = kept.rental.id;
        self.rental_paid(turn, id, lock, [0, 0, amount]);
    }

    pub(super) fn restore_rental(&mut self, kept: Kept) {
        let rental = &kept.rental;
        if rental.end.is_none() {
            // What nobody saw does not count; the next beat is seen.
            let next = rental.next_beat_ms().max(self.now);
            self.timers.insert((next, Timer::Beat(rental.id)));
            if let Some(miner) = self.miners.get_mut(&rental.miner) {
                miner.rental = Some(rental.id);
            }
            self.refresh(rental.miner);
        }
        self.rentals.insert(kept);
    }

    /// Until when miners are rented, for readers.
    pub(super) fn rented_until(&self) -> impl Iterator<Item = Change> {
        let under_way = self.rentals.by_id.values().map(|kept| &kept.rental);
        let under_way = under_way.filter(|rental| rental.end.is_none());
        under_way.map(|rental| Change::Rented(rental.provider, Some(rental.ends_ms())))
    }
}

impl Kept {
    /// All its payments are recorded.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let terms = self.rental.terms.iter().zip(&self.paid);
        self.rental.end.is_some()
            && terms
                .into_iter()
                .all(|(term, paid)| term.is_done && paid.payments >= term.payments)
    }

    /// Why it ended.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        self.rental.end.map(|(end, _)| end)
    }
}

impl Miner {
    /// Taking jobs, and heard of lately.
    fn serves(&self, now: Millis) -> bool {
        self.takes_jobs() && self.last_seen_ms.saturating_add(SILENT_MS) >= now
    }

    /// In a session that takes jobs; one of which nothing is heard for 30 s ends.
    fn takes_jobs(&self) -> bool {
        let session = self.session.as_ref();
        !self.record.paused
            && session.is_some_and(|session| !session.draining && !session.suspended)
    }

    /// Where it is paid.
    pub(super) fn payee(&self) -> Address {
        Address(
            self.record.payout_address[..]
                .try_into()
                .unwrap_or_default(),
        )
    }
}

/// What the ledger is to pay.
fn order(rental: &Rental, payment: Payment, now: Millis) -> Order {
    let term = &rental.terms[payment.term];
    let outcome = if payment.is_last {
        Outcome::RentalEnd
    } else {
        Outcome::Rental
    };
    Order::PayRental {
        rental: rental.id,
        renter: rental.renter,
        lock: term.lock,
        work: Work {
            job_ref: term.rental_ref,
            attempt: payment.number,
            outcome,
            miner: rental.provider,
            payee: rental.payee,
            evidence_id: Hash::default(),
            gpu: sha256(rental.gpu.as_bytes()),
            rate: term.rate,
            observed_ms: now.saturating_sub(rental.began_ms).max(payment.counted_ms),
            work_ms: payment.counted_ms,
            billed_ms: payment.billed_ms,
        },
    }
}
