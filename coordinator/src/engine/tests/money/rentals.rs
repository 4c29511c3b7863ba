//! Rentals: one renter has it, what counts is ordered, and nothing else runs there.

use aitbc_common::ids::{ListingId, RentalId};
use aitbc_common::layouts::{Outcome, Requirements};

use super::*;
use crate::engine::rentals::Kept;
use crate::market::listing::Terms as ListingTerms;
use crate::market::rental::End;
use crate::payments::RentalTerms;

const HOUR: u64 = 3_600_000;
const RATE: u64 = 500_000;

fn listing_id() -> ListingId {
    ListingId([9; 16])
}

fn rental_id(n: u8) -> RentalId {
    RentalId::new(START, shard_of(&owner(n)), [n; 10])
}

/// Lock `n` for so many hours, by renter `n`.
fn wanted(n: u8, hours: u64) -> LockOpened {
    let terms = RentalTerms {
        new_id: rental_id(n),
        extends: None,
        listing: listing_id(),
        renter: owner(n),
        salt: [n; 32],
        term_ms: hours * HOUR,
        rate: RATE,
    };
    of_terms(n, terms)
}

fn of_terms(n: u8, terms: RentalTerms) -> LockOpened {
    LockOpened {
        target: terms.reference(&[7; 32]),
        purpose: LockPurpose::Rental,
        amount: terms.rate * terms.term_ms / HOUR,
        max_rate: RATE,
        miner_key: miner_key(1),
        job: None,
        owner: None,
        rental: Some(terms),
        ..lock_of(n, 1, 1, 0)
    }
}

/// A miner in session that lists its GPU.
fn listed() -> Rig {
    let mut rig = Rig::new();
    rig.miner(1, 1);
    rig.ask(Command::CreateListing {
        provider: miner_key(1),
        new: Box::new(NewListing {
            new_id: listing_id(),
            gpu: "A".into(),
            terms: ListingTerms {
                vram_gib: 24,
                count: 1,
                rate: RATE,
                region: "".into(),
            },
        }),
    });
    rig
}

impl Rig {
    fn rental(&mut self, n: u8) -> Option<Kept> {
        match self.ask(Command::GetRental(RentalSelector::Id(rental_id(n)))) {
            Reply::Rental(kept) => kept.map(|kept| *kept),
            other => panic!("{other:?}"),
        }
    }

    /// Lets time pass with a heartbeat each 10 s.
    fn serve(&mut self, ms: u64) {
        for _ in 0..ms / 10_000 {
            self.wait(9_999);
            self.heartbeat(1, &[], 1);
            self.wait(1);
        }
    }

    /// Payments that were ordered: number, whether it is the last, billed_ms.
    fn payments(&self) -> Vec<(u16, bool, u64)> {
        let orders = self.orders().into_iter();
        orders
            .filter_map(|order| match order {
                Order::PayRental { work, .. } => Some((
                    work.attempt,
                    work.outcome == Outcome::RentalEnd,
                    work.billed_ms,
                )),
                _ => None,
            })
            .collect()
    }

    fn submit_under(&mut self, n: u8, by: u8, rental: RentalId) -> Reply {
        let requirements = Requirements {
            rental: Some(rental),
            ..Requirements::default()
        };
        let under = Submission {
            requirements,
            ..submission(n, by)
        };
        self.ask(Command::Submit(Box::new(under)))
    }

    fn release(&mut self, n: u8) -> Reply {
        self.ask(Command::ReleaseRental {
            renter: owner(n),
            id: rental_id(n),
        })
    }
}

#[test]
fn one_of_two_that_race_has_it_and_the_others_lock_returns() {
    let mut rig = listed();
    rig.hear(vec![
        Notice::Locked(wanted(1, 2)),
        Notice::Locked(wanted(2, 2)),
    ]);
    assert!(rig.rental(1).is_some() && rig.rental(2).is_none());
    assert_eq!(rig.voids(), [(2, VoidReason::NotAvailable)]);
    let by_lock = rig.ask(Command::GetRental(RentalSelector::Lock([1; 32])));
    assert!(matches!(by_lock, Reply::Rental(Some(_))));
}

#[test]
fn a_lock_on_other_terms_returns() {
    type Change = fn(&mut LockOpened, &mut RentalTerms);
    let cases: [(VoidReason, Change); 11] = [
        (VoidReason::WrongTarget, |lock, _| lock.target = [0; 32]),
        (VoidReason::WrongTarget, |lock, _| lock.rental = None),
        (VoidReason::WrongTarget, |_, terms| terms.term_ms = 50_000),
        (VoidReason::WrongTarget, |_, terms| terms.term_ms += 1),
        (VoidReason::WrongTarget, |_, terms| {
            terms.renter = miner_key(1)
        }),
        (VoidReason::NotAvailable, |_, terms| {
            terms.listing = ListingId([8; 16])
        }),
        (VoidReason::NotAvailable, |_, terms| terms.rate -= 1),
        (VoidReason::NotAvailable, |_, terms| {
            terms.extends = Some(rental_id(5))
        }),
        (VoidReason::Terms, |lock, _| lock.amount -= 1),
        (VoidReason::Terms, |lock, _| lock.miner_key = miner_key(2)),
        (VoidReason::Terms, |lock, _| {
            lock.expires_at = START + 2 * HOUR
        }),
    ];
    for (place, (reason, change)) in cases.into_iter().enumerate() {
        let mut rig = listed();
        let mut lock = wanted(1, 2);
        let mut terms = lock.rental.clone().unwrap();
        change(&mut lock, &mut terms);
        if lock.rental.as_ref() != Some(&terms) && lock.rental.is_some() {
            lock = of_terms(1, terms);
        }
        rig.lock(lock);
        assert_eq!(rig.voids(), [(1, reason)], "case {place}");
    }
}

#[test]
fn only_a_provider_that_is_there_is_rented() {
    let mut away = listed();
    away.ask(Command::CloseSession { session: 1 });
    away.lock(wanted(1, 2));
    assert_eq!(away.voids(), [(1, VoidReason::NotAvailable)]);
    // Of an idle session's heartbeats the engine hears each third alone.
    let mut idle = listed();
    idle.now += 25_000;
    idle.lock(wanted(1, 2));
    assert_eq!(idle.voids(), []);
}

#[test]
fn a_rented_miners_session_tells_of_each_heartbeat_and_of_no_more_afterwards() {
    fn attended(rig: &mut Rig) -> Vec<(u64, bool)> {
        let told = rig.effects.iter().filter_map(|effect| match effect {
            Effect::Attend { session, each } => Some((*session, *each)),
            _ => None,
        });
        let told = told.collect();
        rig.effects.clear();
        told
    }
    let mut rig = listed();
    assert_eq!(attended(&mut rig), []);
    rig.lock(wanted(1, 2));
    assert_eq!(attended(&mut rig), [(1, true)]);
    // The miner's next session does so too, also after a restart.
    rig.ask(Command::CloseSession { session: 1 });
    rig.open(1, 2, vec![], vec![]);
    assert_eq!(attended(&mut rig), [(2, true)]);
    rig.restart();
    rig.open(1, 3, vec![], vec![]);
    assert_eq!(attended(&mut rig), [(3, true)]);
    rig.release(1);
    assert_eq!(attended(&mut rig), [(3, false)]);
}

#[test]
fn what_counts_is_ordered_each_hour_and_the_rest_at_the_end() {
    let mut rig = listed();
    rig.lock(wanted(1, 2));
    rig.serve(HOUR);
    assert_eq!(rig.payments(), [(1, false, HOUR)]);
    rig.restart();
    rig.open(1, 1, vec![], vec![]);
    rig.inventory(1, 1);
    rig.serve(HOUR);
    let payments = rig.payments();
    assert_eq!(payments.len(), 2);
    let (number, is_last, billed) = payments[1];
    assert!(
        (number, is_last) == (2, true) && billed + 20_000 >= HOUR,
        "{payments:?}"
    );
    let kept = rig.rental(1).expect("its last payment is not recorded yet");
    assert_eq!(kept.end(), Some(End::Term));
    for number in 1..=2 {
        let paid = Notice::RentalPaid {
            rental: rental_id(1),
            renter: owner(1),
            lock: [1; 32],
            number,
            posted: RATE,
            fee: 1,
            returned: 0,
        };
        rig.hear(vec![paid]);
    }
    assert!(rig.rental(1).is_none(), "it is history");
    rig.lock(wanted(2, 1));
    assert!(rig.rental(2).is_some(), "free again");
}

#[test]
fn only_its_own_jobs_run_there_and_they_cost_nothing_more() {
    let mut rig = listed();
    let before = rig.submit(1, 3);
    rig.accept(1, attempt(before, 1));
    rig.lock(wanted(1, 2));
    assert_eq!(
        rig.status(before, 3),
        JobStatus::Processing,
        "what runs ends first"
    );
    let others = rig.submit(2, 3);
    assert!(matches!(
        rig.submit_under(3, 1, rental_id(1)),
        Reply::Submitted(_)
    ));
    let own = job_id(3, 1);
    rig.assigned();
    rig.ask(completion(attempt(before, 1), 1));
    assert_eq!(rig.assigned(), [(1, attempt(own, 1))]);
    let row = rig.view(own, 1).row;
    let assigned = Assignment::decode(&row.attempts.last().unwrap().assignment).unwrap();
    assert_eq!(assigned.rate, 0);
    assert_eq!(rig.status(others, 3), JobStatus::Queued);
    let foreign = rig.submit_under(4, 3, rental_id(1));
    assert_eq!(refusal(&foreign), Some(ErrorReason::RentalNotFound));
}

#[test]
fn a_release_ends_its_jobs_and_lets_the_others_in() {
    let mut rig = listed();
    rig.lock(wanted(1, 2));
    rig.submit_under(1, 1, rental_id(1));
    rig.submit_under(2, 1, rental_id(1));
    let others = rig.submit(3, 3);
    rig.accept(1, attempt(job_id(1, 1), 1));
    assert_eq!(
        refusal(&rig.ask(Command::ReleaseRental {
            renter: owner(2),
            id: rental_id(1)
        })),
        Some(ErrorReason::RentalNotFound)
    );
    let Reply::Rental(Some(released)) = rig.release(1) else {
        panic!("released")
    };
    assert_eq!(released.end(), Some(End::Released));
    assert_eq!(rig.payments(), [(1, true, 60_000)], "a minute at least");
    for n in [1, 2] {
        assert_eq!(rig.status(job_id(n, 1), 1), JobStatus::Expired);
    }
    let (session, next) = *rig.assigned().last().expect("the slot is free");
    assert_eq!((session, next), (1, attempt(others, 1)));
}

#[test]
fn a_job_under_a_rental_ends_with_it() {
    let mut rig = listed();
    rig.lock(wanted(1, 1));
    rig.serve(HOUR / 2);
    rig.submit_under(1, 1, rental_id(1));
    let deadline = rig.view(job_id(1, 1), 1).row.deadline_ms;
    assert_eq!(deadline, START + HOUR);
}

#[test]
fn a_provider_that_vanishes_has_what_counted_and_no_more() {
    let mut rig = listed();
    rig.lock(wanted(1, 2));
    rig.serve(600_000);
    rig.ask(Command::CloseSession { session: 1 });
    rig.wait(320_000);
    assert_eq!(rig.payments(), [(1, true, 600_000)]);
    assert_eq!(rig.rental(1).unwrap().end(), Some(End::ProviderGone));
}

#[test]
fn an_extension_follows_at_the_price_of_now() {
    let mut rig = listed();
    rig.lock(wanted(1, 1));
    let more = RentalTerms {
        extends: Some(rental_id(1)),
        salt: [2; 32],
        ..wanted(1, 1).rental.unwrap()
    };
    rig.lock(of_terms(2, more.clone()));
    let stranger = RentalTerms {
        renter: owner(3),
        ..more
    };
    rig.lock(of_terms(3, stranger));
    assert_eq!(rig.voids(), [(3, VoidReason::NotAvailable)]);
    let kept = rig.rental(1).unwrap();
    assert_eq!(kept.rental.ends_ms(), START + 2 * HOUR);
    rig.serve(2 * HOUR);
    assert_eq!(rig.payments(), [(1, true, HOUR), (1, true, HOUR)]);
}

#[test]
fn a_job_at_an_offers_price_keeps_it() {
    let mut rig = listed();
    rig.price(1, 9_000_000);
    let at_offer = Submission {
        requirements: Requirements {
            offer: Some(listing_id()),
            ..Requirements::default()
        },
        ..submission(1, 1)
    };
    rig.ask(Command::Submit(Box::new(at_offer)));
    assert_eq!(rig.assignment(job_id(1, 1)).rate, RATE);
    rig.restart();
    let row = rig.view(job_id(1, 1), 1).row;
    assert_eq!(row.agreed_price(), Some(RATE));
}

#[test]
fn a_miner_that_fails_a_paid_attempt_is_named_before_the_locks_return() {
    let mut rig = Rig::new();
    rig.miner(1, 1);
    let job = rig.hold(1);
    rig.lock(lock_of(1, 1, 1, AIT));
    rig.accept(1, attempt(job, 1));
    rig.fail(1, attempt(job, 1), FailureReason::OutOfMemory);
    let faults = |rig: &Rig| {
        let orders = rig.orders().into_iter();
        let faults = orders.filter(|order| matches!(order, Order::LogFault { .. }));
        faults.count()
    };
    assert_eq!(faults(&rig), 0, "too little memory is no fault");
    rig.wait(20_000);
    rig.heartbeat(1, &[], 1);
    let (_, next) = *rig.assigned().last().expect("again");
    rig.accept(1, next);
    rig.fail(1, next, FailureReason::Stalled);
    let orders = rig.orders();
    let Some(Order::LogFault {
        lock,
        miner,
        attempt,
        ..
    }) = orders.last()
    else {
        panic!("{orders:?}")
    };
    assert_eq!(
        (*lock, *miner, *attempt),
        ([1; 32], miner_key(1), next.attempt)
    );
    let unpaid = rig.submit(2, 1);
    rig.wait(20_000);
    rig.heartbeat(1, &[], 1);
    let mut assigned = rig.assigned();
    assigned.retain(|(_, attempt)| attempt.job_id == unpaid);
    if let Some((_, next)) = assigned.last().copied() {
        rig.accept(1, next);
        rig.fail(1, next, FailureReason::Stalled);
    }
    assert_eq!(faults(&rig), 1, "nobody pays for the other");
}
