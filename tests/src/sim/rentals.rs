//! What must hold of rentals: one renter at a time, nobody else's jobs on a rented GPU, no time that counts but what its
//! provider was heard in, and each lock resolved once, by payments of what counted.

use std::collections::BTreeMap;
use std::sync::Arc;

use aitbc_common::hash::Hash;
use aitbc_common::identity::PublicKey;
use aitbc_common::ids::{JobId, RentalId};
use aitbc_common::layouts::{Assignment, Outcome, Post, RecordBody};
use aitbc_coordinator::engine::rental_rows;
use aitbc_coordinator::engine::rentals::Kept;
use aitbc_coordinator::market::rental::{BEAT_MS, End, LEAST_MS, Rental};
use aitbc_coordinator::payments::RentalTerms;
use aitbc_coordinator::store::rows::JobRow;
use aitbc_coordinator::store::{Batch, Family, Operation, Store};
use bytes::Bytes;

use super::check::job_row;
use super::trace::Totals;
use super::wire::Wire;

/// A provider is there where it was heard in the last 15 s; its message and a restart may take 5 s more.
const HEARD_MS: u64 = 20_000;

/// A session whose heartbeats come at least this often was never away.
const ATTENDED_MS: u64 = 15_000;

/// What was heard of a provider in the time of a rental.
#[derive(Debug, Default)]
struct Attendance {
    last_ms: Option<u64>,
    /// Time between heartbeats that follow each other.
    attended_ms: u64,
    /// How often it was away, or the coordinator.
    gaps: u64,
}

impl Attendance {
    fn heard(&mut self, now: u64) {
        match self.last_ms.replace(now) {
            Some(last) if now - last <= ATTENDED_MS => self.attended_ms += now - last,
            _ => self.gaps += 1,
        }
    }

    /// What counts at least: whatever ends or begins within a beat may be lost.
    fn least_ms(&self) -> u64 {
        self.attended_ms
            .saturating_sub(2 * BEAT_MS * (self.gaps + 1))
    }
}

/// A lock for a rental: what its renter wants, and what the log says of it.
#[derive(Debug)]
struct Lock {
    terms: RentalTerms,
    amount: u64,
    is_recorded: bool,
    is_resolved: bool,
    payments: u16,
    posted: u64,
    billed_ms: u64,
}

/// What is known to be true.
#[derive(Debug, Default)]
pub struct Rentals {
    /// Rows as last committed.
    rows: BTreeMap<RentalId, Kept>,
    /// The newest attempt of each job.
    attempts: BTreeMap<JobId, u32>,
    locks: BTreeMap<Hash, Lock>,
    /// Beats that counted, of each rental.
    beats: BTreeMap<RentalId, u64>,
    attendance: BTreeMap<RentalId, Attendance>,
}

type Active = BTreeMap<PublicKey, RentalId>;

/// All rentals in a store; each must be in one table only.
pub fn stored(store: &Arc<dyn Store>) -> Result<BTreeMap<RentalId, Kept>, String> {
    let mut rentals = BTreeMap::new();
    for family in [Family::Active, Family::Archive] {
        let page = store.scan(family, &[0]..&[u8::MAX], usize::MAX);
        for (key, value) in page.map_err(|error| error.to_string())?.rows {
            if let Some(kept) = rental_row(family, &key, &value) {
                let id = kept.rental.id;
                if (family == Family::Archive) != kept.is_settled() {
                    return Err(format!("{id} is in the wrong table"));
                }
                if rentals.insert(id, kept).is_some() {
                    return Err(format!("{id} is stored twice"));
                }
            }
        }
    }
    Ok(rentals)
}

fn rental_row(family: Family, key: &[u8], value: &Bytes) -> Option<Kept> {
    let is_rental = family != Family::Output && key.get(1) == Some(&b'h');
    is_rental
        .then(|| rental_rows::read(value.clone()).ok())
        .flatten()
}

impl Rentals {
    /// A renter signed a lock.
    pub fn wants(&mut self, lock: Hash, terms: RentalTerms, amount: u64) {
        let lock_of = Lock {
            terms,
            amount,
            is_recorded: false,
            is_resolved: false,
            payments: 0,
            posted: 0,
            billed_ms: 0,
        };
        self.locks.insert(lock, lock_of);
    }

    /// A heartbeat of a provider reached the coordinator.
    pub fn heard(&mut self, provider: PublicKey, now: u64) {
        let open = |kept: &&Kept| kept.end().is_none() && kept.rental.provider == provider;
        for kept in self.rows.values().filter(open) {
            self.attendance
                .entry(kept.rental.id)
                .or_default()
                .heard(now);
        }
    }

    /// A batch is durable.
    pub fn committed(
        &mut self,
        batch: &Batch,
        wire: &Wire,
        now: u64,
        totals: &mut Totals,
    ) -> Result<(), String> {
        let before = self.active()?;
        let puts = || {
            let operations = batch.operations().iter();
            operations.filter_map(|operation| match operation {
                Operation::Put(family, key, value) => Some((*family, key, value)),
                _ => None,
            })
        };
        for kept in puts().filter_map(|(family, key, value)| rental_row(family, key, value)) {
            self.row(kept, wire, now, totals)?;
        }
        let after = self.active()?;
        for row in puts().filter_map(|(family, key, value)| job_row(family, key, value)) {
            self.job(&row, &before, &after)?;
        }
        Ok(())
    }

    /// The coordinator read its store.
    pub fn recovered(
        &mut self,
        store: &Arc<dyn Store>,
        wire: &Wire,
        now: u64,
        totals: &mut Totals,
    ) -> Result<(), String> {
        let stored = stored(store)?;
        for attendance in self.attendance.values_mut() {
            attendance.last_ms = None;
        }
        if let Some(id) = self.rows.keys().find(|id| !stored.contains_key(id)) {
            return Err(format!("{id} was committed and is lost"));
        }
        for kept in stored.into_values() {
            self.row(kept, wire, now, totals)?;
        }
        self.active().map(drop)
    }

    /// Who has which GPU: one renter at a time.
    fn active(&self) -> Result<Active, String> {
        let mut active = Active::new();
        for kept in self.rows.values().filter(|kept| kept.end().is_none()) {
            let rental = &kept.rental;
            if let Some(other) = active.insert(rental.provider, rental.id) {
                return Err(format!("{other} and {} have one GPU", rental.id));
            }
        }
        Ok(active)
    }

    /// Only the renter's jobs begin on a GPU that was rented for all of a turn, and they begin nowhere else.
    fn job(&mut self, row: &JobRow, before: &Active, after: &Active) -> Result<(), String> {
        let known = self.attempts.insert(row.id(), row.attempt).unwrap_or(0);
        let Some(last) = row.attempts.last().filter(|_| row.attempt > known) else {
            return Ok(());
        };
        let Ok(assignment) = Assignment::decode(&last.assignment) else {
            return Ok(());
        };
        let miner = assignment.miner_key;
        let rented = before
            .get(&miner)
            .filter(|id| after.get(&miner) == Some(id));
        let (job, part_of) = (row.id(), &row.rental[..]);
        if let Some(rental) = rented.filter(|rental| rental.0 != part_of) {
            return Err(format!(
                "{job} is a stranger's and runs on the GPU of {rental}"
            ));
        }
        let active = [before.get(&miner), after.get(&miner)];
        let is_there = active.into_iter().flatten().any(|id| id.0 == part_of);
        if !part_of.is_empty() && !is_there {
            return Err(format!("{job} runs where its rental is not"));
        }
        if !part_of.is_empty() && assignment.rate != 0 {
            return Err(format!("{job} is part of a rental and costs more"));
        }
        Ok(())
    }

    fn row(
        &mut self,
        kept: Kept,
        wire: &Wire,
        now: u64,
        totals: &mut Totals,
    ) -> Result<(), String> {
        let rental = &kept.rental;
        let id = rental.id;
        let known = self.rows.get(&id);
        self.check_terms(rental)
            .and_then(|()| known.map_or(Ok(()), |known| check_step(known, &kept)))
            .map_err(|problem| format!("{id} {problem}"))?;
        let (had, has) = (known.map_or(0, |known| time(&known.rental)), time(rental));
        let ended = known.is_none_or(|known| known.end().is_none()) && kept.end().is_some();
        let released = ended && kept.end() == Some(End::Released);
        // Whoever releases early pays for a minute at least.
        let counts = has > had && !(released && has <= had.max(LEAST_MS));
        if counts {
            if has - had > BEAT_MS && !(released && has == LEAST_MS) {
                return Err(format!("{id} counts {} ms at once", has - had));
            }
            if wire.last_heard(&rental.provider) + HEARD_MS < now {
                return Err(format!(
                    "{id} counts a beat that its provider was not heard in"
                ));
            }
            *self.beats.entry(id).or_default() += 1;
        }
        let attended = self.attendance.get(&id).map_or(0, Attendance::least_ms);
        if ended && has < attended {
            return Err(format!(
                "{id} counts {has} ms, and its provider was there for {attended} at least"
            ));
        }
        totals.rentals += u64::from(known.is_none());
        totals.rentals_released += u64::from(released);
        totals.rentals_gone += u64::from(ended && kept.end() == Some(End::ProviderGone));
        self.rows.insert(id, kept);
        Ok(())
    }

    /// Each term is what its renter signed.
    fn check_terms(&self, rental: &Rental) -> Result<(), String> {
        let mut began = rental.began_ms;
        for term in &rental.terms {
            let wanted = self
                .locks
                .get(&term.lock)
                .ok_or("has a term that nobody signed")?;
            let signed = &wanted.terms;
            let same = signed.listing == rental.listing
                && signed.renter == rental.renter
                && signed.rate == term.rate
                && wanted.amount == term.amount
                && term.ends_ms == began + signed.term_ms;
            if !same {
                return Err("has another term than its renter signed".into());
            }
            began = term.ends_ms;
        }
        Ok(())
    }

    /// A record of the log.
    pub fn record(&mut self, record: &RecordBody, totals: &mut Totals) -> Result<(), String> {
        match record {
            RecordBody::Transaction(signed) => {
                if let Some(lock) = self.locks.get_mut(&signed.transaction.id()) {
                    lock.is_recorded = true;
                }
            }
            RecordBody::Void { lock, .. } | RecordBody::Expire { lock, .. } => {
                if let Some(lock) = self.locks.get_mut(lock) {
                    totals.rentals_refused += 1;
                    if std::mem::replace(&mut lock.is_resolved, true) || lock.payments > 0 {
                        return Err("returns a rental's lock that has paid".into());
                    }
                }
            }
            RecordBody::Post(post) if post.outcome.is_rental() => {
                totals.rental_payments += 1;
                self.post(post)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn post(&mut self, post: &Post) -> Result<(), String> {
        let by_lock = |kept: &&Kept| kept.rental.terms.iter().any(|term| term.lock == post.lock);
        let kept = self
            .rows
            .values()
            .find(by_lock)
            .ok_or("pays for no rental")?;
        let rental = &kept.rental;
        let term = rental.terms.iter().find(|term| term.lock == post.lock);
        let term = term.ok_or("pays for no rental")?;
        let lock = self
            .locks
            .get_mut(&post.lock)
            .ok_or("pays from a lock that nobody signed")?;
        if std::mem::replace(&mut lock.is_resolved, post.outcome == Outcome::RentalEnd) {
            return Err("pays from a rental's lock that was resolved".into());
        }
        lock.payments += 1;
        lock.posted += post.posted;
        lock.billed_ms += post.billed_ms;
        let promised = (
            rental.provider,
            rental.payee,
            lock.terms.rate,
            lock.payments,
            term.rental_ref,
        );
        if promised
            != (
                post.miner,
                post.payee,
                post.rate,
                post.attempt,
                post.job_ref,
            )
        {
            return Err("pays for a rental otherwise than its lock and its listing say".into());
        }
        let most = aitbc_common::money::cost(post.rate, post.billed_ms);
        if lock.posted > lock.amount || post.posted > most {
            return Err("pays more for a rental than its time, or than is locked".into());
        }
        let is_last = term.is_done && term.payments == post.attempt;
        if is_last && !lock.is_resolved {
            return Err("is the last payment of a rental's lock and keeps the rest".into());
        }
        let billed: u64 = rental
            .terms
            .iter()
            .filter_map(|term| self.locks.get(&term.lock))
            .map(|lock| lock.billed_ms)
            .sum();
        let counted = self.beats.get(&rental.id).copied().unwrap_or(0) * BEAT_MS;
        let least = if kept.end() == Some(End::Released) {
            LEAST_MS
        } else {
            0
        };
        if billed > counted.max(least) {
            return Err(format!(
                "pays for {billed} ms of {}, of which {counted} count",
                rental.id
            ));
        }
        Ok(())
    }

    /// Rentals and their locks that are not over.
    pub fn open(&self) -> usize {
        let rentals = self.rows.values().filter(|kept| !kept.is_settled());
        rentals.count()
    }

    /// At rest each lock is resolved once, and the coordinator and the log agree on what it paid.
    pub fn settled(&self, store: &Arc<dyn Store>) -> Result<(), String> {
        if stored(store)? != self.rows {
            return Err("the stored rentals are others than were committed".into());
        }
        if let Some(lock) = self
            .locks
            .values()
            .find(|lock| !lock.is_recorded || !lock.is_resolved)
        {
            return Err(format!("a rental's lock is not resolved: {lock:?}"));
        }
        for kept in self.rows.values() {
            if !kept.is_settled() {
                return Err(format!("{} is not over", kept.rental.id));
            }
            for (term, paid) in kept.rental.terms.iter().zip(&kept.paid) {
                let lock = &self.locks[&term.lock];
                let log = (
                    lock.payments,
                    lock.posted,
                    lock.amount - lock.posted,
                    lock.billed_ms,
                );
                if log != (paid.payments, paid.posted, paid.returned, term.billed_ms) {
                    return Err(format!(
                        "{} and the log disagree: {log:?} and {paid:?}",
                        kept.rental.id
                    ));
                }
            }
        }
        Ok(())
    }
}

/// Milliseconds that counted or were billed.
fn time(rental: &Rental) -> u64 {
    let terms = rental.terms.iter();
    terms.map(|term| term.counted_ms + term.billed_ms).sum()
}

fn check_step(before: &Kept, after: &Kept) -> Result<(), String> {
    let (old, new) = (&before.rental, &after.rental);
    let parties = |rental: &Rental| {
        let Rental {
            listing,
            provider,
            miner,
            payee,
            renter,
            began_ms,
            ..
        } = rental;
        (*listing, *provider, *miner, *payee, *renter, *began_ms)
    };
    let mut terms = old.terms.iter().zip(&new.terms);
    let kept = new.terms.len() >= old.terms.len()
        && terms.all(|(old, new)| {
            (old.lock, old.ends_ms) == (new.lock, new.ends_ms) && (new.is_done || !old.is_done)
        });
    if parties(old) != parties(new) || !kept || new.beats < old.beats {
        return Err("is another rental than before".into());
    }
    if old.end.is_some() && (old.end != new.end || old.terms != new.terms) {
        return Err("was over and changed".into());
    }
    Ok(())
}
