//! Which locks a job takes, and what they change.

use aitbc_common::money::MAX_PRICE_PER_HOUR;

use super::*;

#[test]
fn a_held_job_waits_for_funds_and_then_runs_with_their_budget() {
    let mut rig = Rig::new();
    rig.miner(1, 1);
    rig.price(1, AIT / 2);
    let job = rig.hold(1);
    assert_eq!(rig.status(job, 1), JobStatus::Pending);
    let polled = rig.ask(Command::Poll {
        miner_key: miner_key(1),
        lease_ms: 1_000,
        request_id: String::new(),
    });
    assert!(matches!(polled, Reply::Polled(None)));
    assert!(rig.assigned().is_empty());
    rig.lock(lock_of(1, 1, 1, 10 * AIT));
    assert_eq!(rig.assigned(), [(1, attempt(job, 1))]);
    assert_eq!(rig.status(job, 1), JobStatus::Funded);
    assert_eq!(rig.payment(job), PaymentStatus::Funded);
    let assignment = rig.assignment(job);
    assert_eq!((assignment.flags, assignment.locked), (0, 10 * AIT));
    assert_eq!(assignment.budget_ms, 72_000_000);
    assert_eq!(assignment.locks_hash, locks_hash(&[[1; 32]]));
    assert!(rig.orders().is_empty(), "adopted is the answer");
}

#[test]
fn where_funding_is_required_every_job_waits_for_it() {
    let mut rig = Rig::with(|config| config.funding_required = true);
    rig.miner(1, 2);
    let (job, poor) = (rig.submit(1, 1), rig.submit(2, 1));
    rig.restart();
    rig.open(1, 2, vec![], vec![]);
    rig.inventory(2, 2);
    assert!(rig.assigned().is_empty());
    rig.lock(lock_of(1, 1, 1, AIT));
    assert_eq!(rig.assigned(), [(2, attempt(job, 1))]);
    rig.wait(3_600_000);
    assert_eq!(rig.status(poor, 1), JobStatus::Expired);
}

#[test]
fn notices_applied_twice_change_nothing() {
    let (mut rig, first) = paid_and_running();
    let before = rig.view(first.job_id, 1).row;
    let again = Command::Notices {
        first: 1,
        notices: vec![Notice::Locked(lock_of(1, 1, 1, 10 * AIT))],
    };
    assert!(matches!(rig.ask(again.clone()), Reply::NoticesApplied(1)));
    rig.restart();
    assert!(matches!(rig.ask(again), Reply::NoticesApplied(1)));
    let mut after = rig.view(first.job_id, 1).row;
    after.change = before.change;
    assert_eq!(after.locks, before.locks);
    assert!(rig.orders().is_empty());
    let gap = Command::Notices {
        first: 3,
        notices: vec![],
    };
    assert_eq!(refusal(&rig.ask(gap)), Some(ErrorReason::Internal));
}

#[test]
fn locks_that_do_not_fit_go_back_each_with_its_reason() {
    let mut rig = Rig::new();
    rig.miner(1, 1);
    let job = rig.hold(1);
    type Bend = fn(&mut LockOpened);
    let bends: [(VoidReason, Bend); 9] = [
        (VoidReason::UnknownJob, |l| l.job = None),
        (VoidReason::UnknownJob, |l| l.job = Some(job_id(9, 1))),
        (VoidReason::UnknownJob, |l| {
            l.job = Some(job_id(9, 1));
            l.owner = None;
        }),
        (VoidReason::WrongTarget, |l| l.target = [9; 32]),
        (VoidReason::WrongTarget, |l| l.purpose = LockPurpose::Rental),
        (VoidReason::Terms, |l| l.max_fee_bps = 249),
        (VoidReason::Terms, |l| l.miner_key = miner_key(7)),
        (VoidReason::Terms, |l| l.expires_at = START),
        (VoidReason::Terms, |l| l.expires_at = START + 3_599_999),
    ];
    let mut expected = Vec::new();
    for (n, (reason, bend)) in (1..).zip(bends) {
        let mut lock = lock_of(n, 1, 1, AIT);
        bend(&mut lock);
        rig.lock(lock);
        expected.push((n, reason));
    }
    assert_eq!(rig.voids(), expected);
    assert_eq!(rig.status(job, 1), JobStatus::Pending);
    for n in 20..=36 {
        rig.lock(lock_of(n, 1, 1, AIT));
    }
    expected.push((36, VoidReason::TooManyLocks));
    assert_eq!(rig.voids(), expected);
    assert_eq!(rig.view(job, 1).row.locks.len(), 16);
}

#[test]
fn a_job_goes_only_where_its_locks_pay_ten_seconds() {
    for (amount, matches) in [
        (AIT, true),
        (1_388, false),
        // As much as pays for 10 s of it.
        (1_389, true),
    ] {
        let mut rig = Rig::new();
        rig.miner(1, 1);
        rig.price(1, 500_000);
        rig.hold(1);
        rig.lock(lock_of(1, 1, 1, amount));
        assert_eq!(rig.assigned().len(), usize::from(matches), "{amount}");
        assert!(rig.voids().is_empty());
    }
}

#[test]
fn a_payer_is_told_the_least_that_a_miner_works_for() {
    for short in [0, 1] {
        let mut rig = Rig::new();
        let job = rig.hold(1);
        let least = |rig: &mut Rig| payable(rig, job, Some(owner(1))).least_micro_ait;
        assert_eq!(least(&mut rig), None);
        rig.miner(1, 1);
        rig.price(1, 500_000);
        let least = least(&mut rig).unwrap();
        assert_eq!(least, 1_389);
        rig.lock(lock_of(1, 1, 1, least - short));
        assert_eq!(rig.assigned().len() as u64, 1 - short);
    }
}

#[test]
fn a_specification_is_paid_once_as_whatever_jobs_it_was_submitted() {
    let mut rig = Rig::new();
    rig.miner(1, 2);
    rig.price(1, 1_000);
    for n in [1, 2] {
        rig.ask(Command::Submit(Box::new(Submission {
            job_id: job_id(n, 1),
            request_id: format!("request {n}"),
            body_hash: [n; 32],
            hold: true,
            ..submission(1, 1)
        })));
    }
    rig.lock(lock_of(1, 1, 1, AIT));
    assert_eq!(rig.assigned().len(), 1);
    let for_the_other = |n: u8| LockOpened {
        lock: [n; 32],
        job: Some(job_id(2, 1)),
        log_index: n.into(),
        ..lock_of(1, 1, 1, AIT)
    };
    rig.lock(for_the_other(2));
    rig.restart();
    rig.lock(for_the_other(3));
    rig.lock(LockOpened {
        target_is_paid: true,
        rental: None,
        ..for_the_other(4)
    });
    let expected = [
        (2, VoidReason::WrongTarget),
        (3, VoidReason::WrongTarget),
        (4, VoidReason::Finished),
    ];
    assert_eq!(rig.voids(), expected);
    assert_eq!(rig.status(job_id(2, 1), 1), JobStatus::Pending);
}

#[test]
fn a_lock_narrower_than_its_jobs_specification_goes_back() {
    const HIGHEST: u64 = MAX_PRICE_PER_HOUR.0;
    type Bend = fn(&mut Submission, &mut LockOpened);
    let cases: [(Bend, bool); 8] = [
        (|_, l| l.max_rate = HIGHEST - 1, false),
        (|_, l| l.max_rate = HIGHEST, true),
        (
            |s, l| (s.spec.max_rate, l.max_rate) = (360_000, 359_999),
            false,
        ),
        (
            |s, l| (s.spec.max_rate, l.max_rate) = (360_000, 360_000),
            true,
        ),
        (|_, l| l.miner_key = miner_key(1), false),
        (
            |s, l| {
                s.requirements.miner = Some(miner_id(1));
                l.miner_key = miner_key(2);
            },
            false,
        ),
        (
            |s, l| {
                s.requirements.miner = Some(miner_id(9));
                l.miner_key = miner_key(9);
            },
            false,
        ),
        (
            |s, l| {
                s.requirements.miner = Some(miner_id(1));
                l.miner_key = miner_key(1);
            },
            true,
        ),
    ];
    for (n, (bend, adopted)) in cases.into_iter().enumerate() {
        for running in [false, true] {
            let mut rig = Rig::new();
            let mut job = submission(1, 1);
            let mut lock = lock_of(2, 1, 1, AIT);
            bend(&mut job, &mut lock);
            lock.target = job.spec.job_ref();
            let fits = LockOpened {
                lock: [1; 32],
                target: lock.target,
                ..lock_of(1, 1, 1, AIT)
            };
            rig.register(2, 1);
            if running {
                rig.miner(1, 1);
                rig.price(1, 1_000);
            } else {
                rig.register(1, 1);
            }
            rig.ask(Command::Submit(Box::new(job)));
            // Both to a job that nobody has paid, and to one that is.
            rig.lock(lock.clone());
            rig.lock(fits);
            lock.lock = [3; 32];
            rig.lock(lock);
            let refused = [(2, VoidReason::Terms), (3, VoidReason::Terms)];
            let expected = if adopted { &[][..] } else { &refused };
            assert_eq!(rig.voids(), expected, "case {n}, running: {running}");
        }
    }
}

#[test]
fn a_lock_on_a_running_job_raises_its_budget() {
    let (mut rig, first) = paid_and_running();
    rig.effects.clear();
    rig.lock(lock_of(2, 1, 1, 5 * AIT));
    let renewed = rig.effects.iter().find_map(|effect| match effect {
        Effect::Renew { session: 1, info } => Some(info.clone()),
        _ => None,
    });
    let info = renewed.expect("the session is told");
    let new = Assignment::decode(&info.assignment).unwrap();
    let old = Assignment::decode(&info.earlier[0]).unwrap();
    assert_eq!(
        (new.flags, new.locked, new.budget_ms),
        (1, 15 * AIT, 108_000_000)
    );
    assert_eq!(new.locks_hash, locks_hash(&[[1; 32], [2; 32]]));
    assert!(new.differs_only_in_locks(&old) && new.issued_ms > old.issued_ms);
    rig.ask(completion(first, 1));
    assert_eq!(rig.settlements()[0].1, [[1; 32], [2; 32]]);
}

#[test]
fn a_running_job_takes_no_lock_that_its_miner_is_too_dear_for() {
    let mut rig = Rig::new();
    rig.miner(1, 1);
    rig.price(1, 360_000);
    let job = rig.submit(1, 1);
    rig.accept(1, attempt(job, 1));
    rig.lock(lock_of(1, 1, 1, 999));
    rig.lock(LockOpened {
        max_rate: 359_999,
        ..lock_of(2, 1, 1, AIT)
    });
    let expected = [(1, VoidReason::TooSmall), (2, VoidReason::Terms)];
    assert_eq!(rig.voids(), expected);
    rig.lock(lock_of(3, 1, 1, 1_000));
    assert_eq!(rig.assignment(job).budget_ms, 10_000);
    assert_eq!(rig.payment(job), PaymentStatus::Funded);
}

#[test]
fn a_lock_that_ends_by_itself_takes_its_funds_away() {
    let mut rig = Rig::new();
    let job = rig.hold(1);
    rig.lock(lock_of(1, 1, 1, AIT));
    let returned = Notice::Returned {
        lock: [1; 32],
        target: submission(1, 1).spec.job_ref(),
        amount: AIT,
    };
    rig.hear(vec![returned.clone()]);
    assert_eq!(rig.status(job, 1), JobStatus::Pending);
    assert_eq!(rig.view(job, 1).row.returned, AIT);
    rig.hear(vec![returned]);
    assert_eq!(rig.view(job, 1).row.returned, AIT);
    rig.miner(1, 1);
    assert!(rig.assigned().is_empty());
    rig.lock(lock_of(2, 1, 1, AIT));
    assert_eq!(rig.assigned().len(), 1);
    rig.ask(completion(attempt(job, 1), 1));
    assert_eq!(rig.settlements()[0].1, [[2; 32]]);
}

#[test]
fn no_lock_ends_by_itself_while_its_job_is_not_decided() {
    const DAY: u64 = 24 * 3_600_000;
    const SETTLING: u64 = 3_600_000;
    let expirable = |rig: &mut Rig| {
        let until_ms = rig.now;
        match rig.ask(Command::GetExpirable { until_ms }) {
            Reply::Expirable(at) => (at == until_ms, at),
            other => panic!("{other:?}"),
        }
    };
    let (mut rig, first) = paid_and_running();
    let deadline = rig.view(first.job_id, 1).row.deadline_ms;
    rig.ask(checkpoint(first, 1_000));
    rig.wait(3_000);
    assert!(
        expirable(&mut rig).0,
        "a job within its time holds nothing back"
    );
    // Longer down than the lock holds: the coordinator is back, and the miner is not.
    rig.now = deadline + 2 * DAY;
    rig.restart();
    let held_back = (false, deadline + SETTLING - 1);
    assert_eq!(expirable(&mut rig), held_back);
    assert_eq!(rig.status(first.job_id, 1), JobStatus::Expired);
    rig.restart();
    assert_eq!(expirable(&mut rig), held_back);
    rig.wait(30_000);
    assert!(expirable(&mut rig).0);
    assert_eq!(
        rig.settlements().len(),
        1,
        "told before the lock may return"
    );
    // The machine slept: the ledger's time is ahead, and the job has time left.
    let (mut rig, first) = paid_and_running();
    let deadline = rig.view(first.job_id, 1).row.deadline_ms;
    let until_ms = deadline + DAY;
    let Reply::Expirable(at) = rig.ask(Command::GetExpirable { until_ms }) else {
        panic!()
    };
    assert_eq!(at, deadline + SETTLING - 1);
}

#[test]
fn a_payer_learns_what_it_needs_and_no_more() {
    let (mut rig, first) = paid_and_running();
    let live = payable(&mut rig, first.job_id, None);
    assert!(live.payable && live.yours);
    assert_eq!((live.locked_micro_ait, live.fee_bps), (10 * AIT, 250));
    assert_eq!(live.job_ref, submission(1, 1).spec.job_ref()[..]);
    rig.ask(completion(first, 1));
    let not_found = rig.ask(Command::GetPayable {
        job: first.job_id,
        owner: None,
        caller: None,
    });
    assert_eq!(refusal(&not_found), Some(ErrorReason::JobNotFound));
    let done = payable(&mut rig, first.job_id, Some(owner(1)));
    assert!(!done.payable && !done.refusal.is_empty());
    assert_eq!(done.least_lock_micro_ait, None);
    assert!(done.cost_micro_ait.is_some());
}
