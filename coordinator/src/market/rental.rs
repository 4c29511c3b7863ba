//! A rental: who has a GPU until when, what of that time counts, and when it is paid for. Pure.
//!
//! Time counts in beats of 10 s from the beginning of the rental. A beat counts where its provider was there for all of it.
//! Each hour, and at the end, what counted since is paid for; who releases a GPU early pays for 60 s at least.

use std::sync::Arc;

use aitbc_common::address::Address;
use aitbc_common::hash::Hash;
use aitbc_common::identity::PublicKey;
use aitbc_common::ids::{ListingId, MinerId, RentalId};

use crate::jobs::lifecycle::Millis;

/// Milliseconds of a beat.
pub const BEAT_MS: Millis = 10_000;
/// Milliseconds between two payments.
pub const PAID_EACH_MS: Millis = 3_600_000;
/// What is paid for at least, in milliseconds, where the renter releases the GPU.
pub const LEAST_MS: Millis = 60_000;
/// A provider that is away for so long, in milliseconds, is gone: 5 minutes.
pub const GONE_MS: Millis = 300_000;
/// Terms of one rental, at most: the first and its extensions.
pub const MOST_TERMS: usize = 16;

/// Why a rental is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Its time was up.
    Term,
    /// The renter released it.
    Released,
    /// The provider was away for too long.
    ProviderGone,
}

/// A time that was paid for beforehand, by one lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// rental_ref: what the lock is for.
    pub rental_ref: Hash,
    /// tx_id of the lock.
    pub lock: Hash,
    /// Whose money it is.
    pub payer: Address,
    /// Micro-AIT.
    pub amount: u64,
    /// Micro-AIT per hour.
    pub rate: u64,
    /// When it ends; it begins where the one before ends.
    pub ends_ms: Millis,
    /// Milliseconds that counted and are not paid for yet.
    pub counted_ms: Millis,
    /// Milliseconds that were paid for.
    pub billed_ms: Millis,
    /// Payments so far.
    pub payments: u16,
    /// It takes no more payments.
    pub is_done: bool,
}

/// A GPU that somebody has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rental {
    /// Its id.
    pub id: RentalId,
    /// Of which listing.
    pub listing: ListingId,
    /// The GPU's name.
    pub gpu: Arc<str>,
    /// The identity that listed it.
    pub provider: PublicKey,
    /// The miner that serves it.
    pub miner: MinerId,
    /// Who is paid.
    pub payee: Address,
    /// Who has it.
    pub renter: PublicKey,
    /// When it began.
    pub began_ms: Millis,
    /// The times that are paid for beforehand, in order; at most 16.
    pub terms: Vec<Term>,
    /// Beats that are over.
    pub beats: u64,
    /// Since when its provider is away.
    pub away_since: Option<Millis>,
    /// Why and when it was over.
    pub end: Option<(End, Millis)>,
}

/// What is to be paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payment {
    /// Of which term.
    pub term: usize,
    /// Its number, from 1.
    pub number: u16,
    /// No other follows: what is left returns.
    pub is_last: bool,
    /// Milliseconds that counted since the last one.
    pub counted_ms: Millis,
    /// Milliseconds that are paid for.
    pub billed_ms: Millis,
}

impl Rental {
    /// When it is over, unless it is extended.
    #[must_use]
    pub fn ends_ms(&self) -> Millis {
        self.terms.last().map_or(self.began_ms, |term| term.ends_ms)
    }

    /// When the next beat is over.
    #[must_use]
    pub fn next_beat_ms(&self) -> Millis {
        self.began_ms + (self.beats + 1) * BEAT_MS
    }

    /// Beats are over up to `now`: the last of them counts where the provider `is_there`, those before were seen by nobody.
    /// What is to be paid for now, in order; [`Rental::end`] tells whether it is over.
    pub fn beat(&mut self, now: Millis, is_there: bool) -> Vec<Payment> {
        if self.end.is_some() || now < self.next_beat_ms() {
            return Vec::new();
        }
        self.beats = (now - self.began_ms) / BEAT_MS;
        let at = self.began_ms + self.beats * BEAT_MS;
        if is_there {
            self.away_since = None;
            if let Some(term) = self.terms.iter_mut().find(|term| at <= term.ends_ms) {
                term.counted_ms += BEAT_MS;
            }
        } else if self.away_since.is_none() {
            self.away_since = Some(at - BEAT_MS);
        }
        if self.away_since.is_some_and(|since| now - since >= GONE_MS) {
            return self.finish(End::ProviderGone, now);
        }
        if now >= self.ends_ms() {
            return self.finish(End::Term, self.ends_ms());
        }
        let mut payments = Vec::new();
        let hour = at.saturating_sub(self.began_ms) % PAID_EACH_MS < BEAT_MS;
        for place in 0..self.terms.len() {
            let over = self.terms[place].ends_ms <= now;
            if !self.terms[place].is_done && (over || hour) {
                payments.extend(self.pay(place, over, 0));
            }
        }
        payments
    }

    /// The renter gives it back; what is to be paid for now.
    pub fn release(&mut self, now: Millis) -> Vec<Payment> {
        if self.end.is_some() {
            return Vec::new();
        }
        self.finish(End::Released, now)
    }

    fn finish(&mut self, end: End, now: Millis) -> Vec<Payment> {
        self.end = Some((end, now));
        let mut least = if end == End::Released { LEAST_MS } else { 0 };
        for term in &self.terms {
            least = least.saturating_sub(term.billed_ms + term.counted_ms);
        }
        let mut payments = Vec::new();
        for place in 0..self.terms.len() {
            if !self.terms[place].is_done {
                // Whoever releases at once pays the least from the first of the locks that are left.
                payments.extend(self.pay(place, true, std::mem::take(&mut least)));
            }
        }
        payments
    }

    /// Pays what counted of a term, and `more` where it is too short. Nothing to pay needs no payment, unless it is the last.
    fn pay(&mut self, place: usize, is_last: bool, more: Millis) -> Option<Payment> {
        let term = self.terms.get_mut(place)?;
        let counted_ms = std::mem::take(&mut term.counted_ms);
        let billed_ms = counted_ms + more;
        term.is_done = is_last;
        if billed_ms == 0 && !is_last {
            return None;
        }
        term.billed_ms += billed_ms;
        term.payments += 1;
        Some(Payment {
            term: place,
            number: term.payments,
            is_last,
            counted_ms,
            billed_ms,
        })
    }
}

/// What a term costs, in micro-AIT: ⌈rate · term_ms / 3,600,000⌉.
#[must_use]
pub fn cost(rate: u64, term_ms: Millis) -> u64 {
    aitbc_common::money::cost(rate, term_ms)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: Millis = 3_600_000;

    fn term(ends_ms: Millis) -> Term {
        Term {
            rental_ref: [1; 32],
            lock: [2; 32],
            payer: Address([3; 20]),
            amount: 1_000_000,
            rate: 500_000,
            ends_ms,
            counted_ms: 0,
            billed_ms: 0,
            payments: 0,
            is_done: false,
        }
    }

    fn rental(hours: &[u64]) -> Rental {
        let ends = hours.iter().scan(0, |end, hours| {
            *end += hours * HOUR;
            Some(term(*end))
        });
        Rental {
            id: RentalId([1; 16]),
            listing: ListingId([2; 16]),
            gpu: "A".into(),
            provider: PublicKey([4; 32]),
            miner: MinerId([5; 16]),
            payee: Address([6; 20]),
            renter: PublicKey([7; 32]),
            began_ms: 0,
            terms: ends.collect(),
            beats: 0,
            away_since: None,
            end: None,
        }
    }

    fn play(rental: &mut Rental, until: Millis, is_there: impl Fn(u64) -> bool) -> Vec<Payment> {
        let mut payments = Vec::new();
        while rental.end.is_none() && rental.next_beat_ms() <= until {
            let now = rental.next_beat_ms();
            payments.extend(rental.beat(now, is_there(now / BEAT_MS)));
        }
        payments
    }

    fn billed(payments: &[Payment]) -> Vec<(usize, u16, bool, Millis)> {
        payments
            .iter()
            .map(|p| (p.term, p.number, p.is_last, p.billed_ms))
            .collect()
    }

    #[test]
    fn each_hour_is_paid_for_and_the_last_payment_ends_it() {
        let mut rental = rental(&[2]);
        let paid = play(&mut rental, 3 * HOUR, |_| true);
        assert_eq!(billed(&paid), [(0, 1, false, HOUR), (0, 2, true, HOUR)]);
        assert_eq!(rental.end, Some((End::Term, 2 * HOUR)));
        assert!(rental.beat(9 * HOUR, true).is_empty(), "over is over");
    }

    #[test]
    fn only_beats_with_the_provider_there_count() {
        let mut rental = rental(&[1]);
        let paid = play(&mut rental, 2 * HOUR, |beat| beat % 2 == 0);
        assert_eq!(billed(&paid), [(0, 1, true, HOUR / 2)]);
    }

    #[test]
    fn a_provider_that_is_gone_ends_it_and_has_what_counted() {
        let mut rental = rental(&[5]);
        let paid = play(&mut rental, 5 * HOUR, |beat| beat <= 30);
        assert_eq!(billed(&paid), [(0, 1, true, 300_000)]);
        assert_eq!(rental.end, Some((End::ProviderGone, 600_000)));
        let mut never = super::tests::rental(&[5]);
        let paid = play(&mut never, 5 * HOUR, |_| false);
        assert_eq!(billed(&paid), [(0, 1, true, 0)], "the lock returns whole");
        assert_eq!(never.end, Some((End::ProviderGone, GONE_MS)));
    }

    #[test]
    fn an_early_release_pays_for_a_minute_at_least() {
        let mut at_once = rental(&[1]);
        assert_eq!(billed(&at_once.release(3_000)), [(0, 1, true, LEAST_MS)]);
        let mut later = rental(&[1]);
        play(&mut later, 65_000, |_| true);
        assert_eq!(billed(&later.release(65_000)), [(0, 1, true, 60_000)]);
        let mut much_later = rental(&[1]);
        play(&mut much_later, 100_000, |_| true);
        assert_eq!(
            billed(&much_later.release(109_999)),
            [(0, 1, true, 100_000)]
        );
        assert!(much_later.release(110_000).is_empty(), "once");
    }

    #[test]
    fn an_extension_has_payments_of_its_own() {
        let mut rental = rental(&[1, 1]);
        let paid = play(&mut rental, HOUR + 50_000, |_| true);
        assert_eq!(billed(&paid), [(0, 1, true, HOUR)]);
        let paid = rental.release(HOUR + 50_000);
        assert_eq!(
            billed(&paid),
            [(1, 1, true, 50_000)],
            "the first hour was more than a minute"
        );
        let mut whole = super::tests::rental(&[1, 1]);
        whole.release(5_000);
        let left: Vec<bool> = whole.terms.iter().map(|term| term.is_done).collect();
        assert_eq!(left, [true, true], "the extension's lock returns too");
    }

    #[test]
    fn beats_that_nobody_saw_do_not_count() {
        let mut rental = rental(&[1]);
        rental.beat(10_000, true);
        rental.beat(95_000, true);
        assert_eq!(rental.terms[0].counted_ms, 20_000);
        assert_eq!(rental.next_beat_ms(), 100_000);
    }

    proptest! {
        /// However it goes: each term ends with one last payment, nothing is paid for twice or beyond its time, and what is
        /// paid for are the beats with the provider there, or the least.
        #[test]
        fn what_counts_is_paid_for_once(
            hours in prop::collection::vec(1u64..4, 1..4),
            there in prop::collection::vec(any::<bool>(), 1..40),
            release in prop::option::of(0u64..12 * HOUR),
        ) {
            let mut rental = rental(&hours);
            let is_there = |beat: u64| there[usize::try_from(beat).unwrap() % there.len()];
            let until = release.unwrap_or(u64::MAX - BEAT_MS);
            let mut paid = play(&mut rental, until, is_there);
            if rental.end.is_none() {
                paid.extend(rental.release(until));
            }
            let (end, ended_ms) = rental.end.unwrap();
            for (place, term) in rental.terms.iter().enumerate() {
                let of_term: Vec<_> = paid.iter().filter(|p| p.term == place).collect();
                prop_assert!(term.is_done && term.counted_ms == 0);
                prop_assert_eq!(of_term.iter().filter(|p| p.is_last).count(), 1);
                prop_assert!(of_term.last().unwrap().is_last);
                prop_assert!(of_term.iter().enumerate().all(|(n, p)| usize::from(p.number) == n + 1));
            }
            let counted: u64 = (1..=ended_ms / BEAT_MS).filter(|beat| is_there(*beat)).count() as u64 * BEAT_MS;
            let billed: u64 = paid.iter().map(|p| p.billed_ms).sum();
            let least = if end == End::Released { LEAST_MS } else { 0 };
            prop_assert_eq!(billed, counted.max(least));
            prop_assert!(billed <= rental.ends_ms().max(least));
        }
    }
}
