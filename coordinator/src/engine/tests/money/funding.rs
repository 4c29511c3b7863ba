//! How much must be locked: before a job starts, in each lock, and for a miner's price.

use proptest::prelude::*;

use super::*;

#[test]
fn a_job_starts_once_its_locks_are_as_much_as_its_owner_asked_for() {
    let mut rig = Rig::new();
    rig.miner(1, 1);
    rig.price(1, AIT / 2);
    let job = rig.hold_for(1, 10 * AIT);
    assert_eq!(rig.view(job, 1).missing, Some(10 * AIT));
    rig.lock(lock_of(1, 1, 1, 4 * AIT));
    assert_eq!(rig.status(job, 1), JobStatus::Pending);
    assert_eq!(rig.payment(job), PaymentStatus::Funded);
    assert_eq!(rig.view(job, 1).missing, Some(6 * AIT));
    rig.restart();
    rig.open(1, 2, vec![], vec![]);
    rig.inventory(2, 1);
    assert!(rig.assigned().is_empty());
    assert_eq!(rig.status(job, 1), JobStatus::Pending);
    // One micro-AIT less is not enough.
    rig.lock(lock_of(2, 1, 1, 6 * AIT - 1));
    assert!(rig.assigned().is_empty());
    assert_eq!(rig.view(job, 1).missing, Some(1));
    rig.lock(lock_of(3, 1, 1, 1_000));
    assert_eq!(rig.assigned(), [(2, attempt(job, 1))]);
    assert_eq!(rig.assignment(job).locked, 10 * AIT + 999);
    assert_eq!(rig.view(job, 1).missing, None);
    rig.accept(2, attempt(job, 1));
    rig.ask(completion(attempt(job, 1), 1));
    assert_eq!(rig.settlements()[0].1.len(), 3);
}

#[test]
fn what_was_locked_for_a_job_that_never_started_returns() {
    for cancelled in [true, false] {
        let mut rig = Rig::new();
        let job = rig.hold_for(1, 10 * AIT);
        rig.lock(lock_of(1, 1, 1, 4 * AIT));
        if cancelled {
            rig.cancel(job);
        } else {
            rig.wait(3_600_000);
        }
        let reason = if cancelled {
            VoidReason::Cancelled
        } else {
            VoidReason::Deadline
        };
        assert_eq!(rig.voids(), [(1, reason)]);
        assert_eq!(rig.payment(job), PaymentStatus::Refunded);
    }
}

#[test]
fn a_lock_that_ends_by_itself_may_leave_too_little() {
    let mut rig = Rig::new();
    let job = rig.hold_for(1, 10 * AIT);
    rig.lock(lock_of(1, 1, 1, 4 * AIT));
    rig.lock(lock_of(2, 1, 1, 6 * AIT));
    assert_eq!(rig.status(job, 1), JobStatus::Funded);
    rig.hear(vec![Notice::Returned {
        lock: [1; 32],
        target: submission(1, 1).spec.job_ref(),
        amount: 4 * AIT,
    }]);
    assert_eq!(rig.status(job, 1), JobStatus::Pending);
    rig.miner(1, 1);
    assert!(rig.assigned().is_empty());
    rig.lock(lock_of(3, 1, 1, 4 * AIT));
    assert_eq!(rig.assigned().len(), 1);
}

#[test]
fn small_locks_neither_start_a_job_nor_fill_its_places() {
    let mut rig = Rig::new();
    rig.miner(1, 1);
    let job = rig.hold_for(1, 16 * AIT);
    let least = |rig: &mut Rig| payable(rig, job, None).least_lock_micro_ait;
    assert_eq!(least(&mut rig), Some(AIT));
    for n in 1..=20 {
        rig.lock(lock_of(n, 1, 1, AIT - 1));
    }
    assert_eq!(rig.voids().len(), 20);
    assert!(
        rig.voids()
            .iter()
            .all(|(_, reason)| *reason == VoidReason::TooSmall)
    );
    assert!(rig.view(job, 1).row.locks.is_empty());
    // The least that each may hold brings what was asked for in the last place, at the latest.
    for n in 21..=36 {
        assert_eq!(rig.status(job, 1), JobStatus::Pending);
        let amount = least(&mut rig).unwrap();
        rig.lock(lock_of(n, 1, 1, amount));
    }
    assert_eq!(rig.voids().len(), 20);
    assert_eq!(rig.assigned().len(), 1);
    assert_eq!(rig.assignment(job).locked, 16 * AIT);
    let full = payable(&mut rig, job, None);
    assert!(!full.payable && full.least_lock_micro_ait.is_none());
}

/// A lock by somebody who does not own the job.
fn by_a_stranger(n: u8, amount: u64) -> LockOpened {
    LockOpened {
        by: Some(owner(7)),
        ..lock_of(n, 1, 1, amount)
    }
}

#[test]
fn strangers_never_fill_the_places_of_a_held_job() {
    // No miner is there: nobody knows what the job takes.
    let mut rig = Rig::new();
    let job = rig.hold(1);
    for n in 1..=12 {
        rig.lock(by_a_stranger(n, 1_000));
    }
    assert!(rig.voids().is_empty());
    // Neither a stranger, nor one who says nothing of himself, takes what is kept for the owner.
    for n in 13..=16 {
        rig.lock(LockOpened {
            by: (n < 15).then(|| owner(7)),
            ..by_a_stranger(n, AIT)
        });
        assert_eq!(rig.voids().last(), Some(&(n, VoidReason::TooManyLocks)));
    }
    let told = |rig: &mut Rig, caller| {
        let ask = Command::GetPayable {
            job,
            owner: None,
            caller,
        };
        match rig.ask(ask) {
            Reply::Payable(payable) => *payable,
            other => panic!("{other:?}"),
        }
    };
    for stranger in [None, Some(owner(7))] {
        let told = told(&mut rig, stranger);
        assert!(!told.payable && told.least_lock_micro_ait.is_none());
        assert_eq!(
            told.refusal,
            "the last 4 of its 16 payments are kept for its owner"
        );
    }
    assert!(told(&mut rig, Some(owner(1))).payable);
    // Nor after a restart, nor where one of theirs returned by itself.
    rig.hear(vec![Notice::Returned {
        lock: [1; 32],
        target: submission(1, 1).spec.job_ref(),
        amount: 1_000,
    }]);
    rig.restart();
    rig.lock(by_a_stranger(17, AIT));
    assert_eq!(rig.voids().last(), Some(&(17, VoidReason::TooManyLocks)));
    rig.miner(1, 0);
    rig.price(1, AIT * 360);
    assert_eq!(rig.view(job, 1).missing, Some(AIT - 11_000));
    rig.lock(lock_of(18, 1, 1, AIT));
    assert_eq!(rig.view(job, 1).missing, None);
    assert_eq!(rig.voids().len(), 5);
}

#[test]
fn before_a_miner_has_a_job_each_lock_is_a_part_of_10_s_of_the_cheapest() {
    let mut rig = Rig::new();
    rig.miner(1, 1);
    // 10 s of it are 0.16 AIT.
    rig.price(1, 160_000 * 360);
    let job = rig.hold(1);
    let least = |rig: &mut Rig| payable(rig, job, None).least_lock_micro_ait;
    assert_eq!(least(&mut rig), Some(10_000));
    rig.lock(by_a_stranger(1, 9_999));
    assert_eq!(rig.voids(), [(1, VoidReason::TooSmall)]);
    for n in 2..=13 {
        rig.lock(by_a_stranger(n, 10_000));
    }
    assert_eq!(rig.status(job, 1), JobStatus::Funded);
    assert!(rig.assigned().is_empty());
    assert_eq!(least(&mut rig), Some(10_000));
    // A cheaper miner: less is missing.
    rig.miner(2, 0);
    rig.price(2, 130_000 * 360);
    assert_eq!(least(&mut rig), Some(2_500));
    rig.lock(lock_of(14, 1, 1, 2_499));
    assert_eq!(rig.voids().len(), 2);
    // The owner pays what is missing to the miner that is free.
    rig.lock(lock_of(15, 1, 1, 40_000));
    assert_eq!(rig.assigned().len(), 1);
    assert_eq!(rig.voids().len(), 2);
}

#[test]
fn a_lock_for_a_funded_job_is_a_sixteenth_of_what_it_has() {
    let (mut rig, first) = paid_and_running();
    let told = payable(&mut rig, first.job_id, None);
    assert_eq!(told.least_lock_micro_ait, Some(625_000));
    rig.lock(lock_of(2, 1, 1, 624_999));
    rig.lock(lock_of(3, 1, 1, 625_000));
    assert_eq!(rig.voids(), [(2, VoidReason::TooSmall)]);
    assert_eq!(rig.assignment(first.job_id).locked, 10 * AIT + 625_000);
    // On a running job that nobody paid it brings 10 s of its miner.
    let mut rig = Rig::new();
    rig.miner(1, 1);
    rig.price(1, AIT / 2);
    let job = rig.submit(1, 1);
    rig.accept(1, attempt(job, 1));
    let told = payable(&mut rig, job, None);
    assert_eq!(told.least_lock_micro_ait, Some(1_389));
}

#[test]
fn a_funded_job_says_what_the_cheapest_miner_takes_more() {
    let mut rig = Rig::new();
    let job = rig.hold(1);
    assert_eq!(rig.view(job, 1).missing, None, "nobody is there");
    rig.miner(1, 1);
    rig.price(1, 720_000);
    assert_eq!(rig.view(job, 1).missing, Some(2_000));
    rig.lock(lock_of(1, 1, 1, 1_500));
    assert_eq!(rig.status(job, 1), JobStatus::Funded);
    assert_eq!(rig.view(job, 1).missing, Some(500));
    // It becomes cheaper: that is all it takes.
    rig.price(1, 540_000);
    assert_eq!(rig.assigned().len(), 1);
    assert_eq!(rig.view(job, 1).missing, None);
}

#[test]
fn new_prices_take_their_turn_where_many_jobs_wait() {
    let mut rig = Rig::new();
    rig.miner(1, 0);
    rig.price(1, 600_000);
    for n in 1..=40 {
        rig.hold(n);
        // 10 s of 504,000 an hour, one class with what pays 500,000 only.
        rig.lock(lock_of(n, n, 1, 1_400));
    }
    let waiting = |rig: &Rig, price| {
        let jobs = rig.core.jobs.values();
        jobs.filter(|live| live.requirement.max_rate >= price)
            .count()
    };
    assert_eq!(waiting(&rig, 500_000), 0);
    // The first new price is looked at at once, the ones that follow with each other, 4 ms later.
    rig.price(1, 500_000);
    assert_eq!(waiting(&rig, 500_000), 40);
    for price in 501_000..501_100 {
        rig.price(1, price);
    }
    assert_eq!(waiting(&rig, 501_000), 0);
    assert_eq!(rig.core.regroups.len(), 1);
    rig.wait(3);
    assert_eq!(waiting(&rig, 501_000), 0);
    rig.wait(1);
    assert_eq!(waiting(&rig, 501_099), 40);
    assert!(rig.core.regroups.is_empty());
}

#[test]
fn who_pays_a_job_of_somebody_else_too_late_is_told_why_it_returned() {
    for required in [true, false] {
        let mut rig = Rig::with(|config| config.funding_required = required);
        rig.miner(1, 1);
        rig.price(1, AIT / 2);
        let job = rig.submit(1, 1);
        rig.lock(lock_of(1, 1, 1, AIT));
        rig.accept(1, attempt(job, 1));
        rig.ask(completion(attempt(job, 1), 1));
        // The payer knows the job's id, and names itself.
        let late = |n| LockOpened {
            owner: Some(owner(7)),
            ..lock_of(n, 1, 1, AIT)
        };
        rig.lock(late(2));
        assert_eq!(rig.voids(), [(2, VoidReason::Finished)]);
    }
    // Where nobody paid, and pay is welcome, it is the pay.
    let mut rig = Rig::new();
    rig.miner(1, 1);
    let job = rig.submit(1, 1);
    rig.accept(1, attempt(job, 1));
    rig.ask(completion(attempt(job, 1), 1));
    rig.lock(LockOpened {
        owner: None,
        ..lock_of(1, 1, 1, AIT)
    });
    assert_eq!(rig.settlements().len(), 1);
}

#[test]
fn a_specification_whose_payment_is_not_recorded_yet_is_paid_after_a_restart_too() {
    for stopped in [true, false] {
        let (mut rig, first) = paid_and_running();
        if stopped {
            rig.ask(checkpoint(first, 1_000));
            rig.cancel(first.job_id);
        } else {
            rig.ask(completion(first, 1));
        }
        rig.ask(Command::Submit(Box::new(Submission {
            job_id: job_id(2, 1),
            request_id: "twin".into(),
            body_hash: [2; 32],
            hold: true,
            ..submission(1, 1)
        })));
        rig.restart();
        rig.lock(LockOpened {
            lock: [2; 32],
            job: Some(job_id(2, 1)),
            log_index: 2,
            ..lock_of(1, 1, 1, AIT)
        });
        assert_eq!(rig.voids(), [(2, VoidReason::WrongTarget)]);
        assert_eq!(rig.status(job_id(2, 1), 1), JobStatus::Pending);
    }
}

#[test]
fn of_two_done_jobs_of_one_specification_one_is_paid_late() {
    let mut rig = Rig::new();
    rig.miner(1, 2);
    for n in [1, 2] {
        rig.ask(Command::Submit(Box::new(Submission {
            job_id: job_id(n, 1),
            request_id: format!("request {n}"),
            body_hash: [n; 32],
            ..submission(1, 1)
        })));
        rig.accept(1, attempt(job_id(n, 1), 1));
        rig.ask(completion(attempt(job_id(n, 1), 1), 1));
    }
    let late = |n: u8| {
        Notice::Locked(LockOpened {
            lock: [n; 32],
            job: Some(job_id(n, 1)),
            log_index: n.into(),
            ..lock_of(1, 1, 1, AIT)
        })
    };
    // Both at once, and the second again after a restart.
    rig.hear(vec![late(1), late(2)]);
    assert_eq!(rig.voids(), [(2, VoidReason::WrongTarget)]);
    assert_eq!(rig.settlements().len(), 1);
    rig.restart();
    let Notice::Locked(again) = late(2) else {
        panic!()
    };
    rig.lock(LockOpened {
        lock: [3; 32],
        ..again
    });
    assert_eq!(rig.settlements().len(), 1);
    assert_eq!(rig.voids().len(), 2);
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Price(u8, u64),
    Pay(u64),
    Raise(u8, u64),
    Restart,
}

/// Amounts that pay 10 s of prices of about 0.5 AIT an hour, or little less; and such prices.
fn step() -> impl Strategy<Value = Step> {
    let amount = 1_380u64..1_400;
    prop_oneof![
        3 => (1u8..4, 496_800u64..504_000).prop_map(|(miner, price)| Step::Price(miner, price)),
        4 => amount.clone().prop_map(Step::Pay),
        1 => (1u8..20, amount).prop_map(|(lock, amount)| Step::Raise(lock, amount)),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(crate::cases::cases(96, 30))]

    /// Whatever order prices and locks come in: a job is leased where its locks pay 10 s, to the micro-AIT, and nowhere else.
    #[test]
    fn funds_match_prices_exactly(steps in proptest::collection::vec(step(), 1..40)) {
        let mut rig = Rig::new();
        for n in 1..4 {
            rig.miner(n, 1);
            rig.price(n, 504_000);
        }
        let (mut sessions, mut jobs, mut locks) = (3, 0u8, 100u8);
        for step in steps {
            match step {
                Step::Price(miner, price) => rig.price(miner, price),
                Step::Pay(amount) => {
                    jobs += 1;
                    rig.hold(jobs);
                    rig.lock(lock_of(jobs, jobs, 1, amount));
                }
                Step::Raise(job, amount) => {
                    locks += 1;
                    rig.lock(lock_of(locks, job.min(jobs.max(1)), 1, amount));
                }
                Step::Restart => {
                    rig.restart();
                    for n in 1..4 {
                        sessions += 1;
                        rig.open(n, sessions, vec![], vec![]);
                        rig.inventory(sessions, 1);
                    }
                }
            }
            rig.wait(5);
            let prices: Vec<(bool, u64)> = rig
                .core
                .miners
                .values()
                .map(|miner| (miner.free_slots() > 0, miner.record.price_per_hour_micro_ait))
                .collect();
            for n in 1..=jobs {
                let view = rig.view(job_id(n, 1), 1);
                let open: u64 = view.row.open_locks().map(|lock| lock.amount).sum();
                if let Some(leased) = view.row.live_attempt() {
                    let assignment = Assignment::decode(&leased.assignment).unwrap();
                    prop_assert!(assignment.budget_ms >= 10_000, "{assignment:?}");
                } else if view.status == JobStatus::Funded
                    && view.row.excluded.is_empty()
                    && view.row.not_before_ms <= rig.now
                {
                    let fits = prices.iter().filter(|(_, price)| open * 360 >= *price);
                    prop_assert!(fits.clone().all(|(free, _)| !free), "{open} {prices:?}");
                    let least = prices.iter().map(|(_, price)| price.div_ceil(360)).min();
                    let missing = least.unwrap().saturating_sub(open);
                    prop_assert_eq!(view.missing.unwrap_or(0), missing);
                }
            }
            if let Err(problem) = rig.core.check() {
                prop_assert!(false, "{problem}");
            }
        }
    }
}
