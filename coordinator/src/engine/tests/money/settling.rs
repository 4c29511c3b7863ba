//! What the ledger is told when a job ends.

use super::*;
use crate::engine::aging::AgedJob;

#[test]
fn completed_paid_work_is_settled_once_and_its_end_is_told() {
    let (mut rig, first) = paid_and_running();
    rig.wait(2_500);
    rig.ask(receipt(first, 1, |receipt| receipt.work_ms = 2_000));
    let [(work, locks)] = &rig.settlements()[..] else {
        panic!("one settlement")
    };
    assert_eq!((work.observed_ms, work.work_ms), (2_500, 2_000));
    assert_eq!((work.rate, work.outcome), (AIT / 2, Outcome::Complete));
    // One token each at unmeasured speeds: 1 s, and 1 s for each.
    assert_eq!(work.billed_ms, 2_000);
    assert_eq!(locks[..], [[1; 32]]);
    assert_eq!(rig.payment(first.job_id), PaymentStatus::Settling);
    rig.ask(completion(first, 1));
    assert_eq!(rig.orders().len(), 1);
    rig.effects.clear();
    let settled = Notice::Settled {
        job: first.job_id,
        owner: owner(1),
        posted: 278,
        fee: 7,
        returned: 10 * AIT - 278,
    };
    rig.hear(vec![settled]);
    let row = rig.view(first.job_id, 1).row;
    assert_eq!(row.payment(), PaymentStatus::Settled);
    assert_eq!((row.paid, row.fee, row.returned), (278, 7, 10 * AIT - 278));
    assert!(matches!(&rig.effects[..], [Effect::Changed(change)] if change.row.is_some()));
}

#[test]
fn earnings_are_counted_once_by_day_and_model() {
    let mut rig = Rig::new();
    rig.miner(1, 2);
    let settled = |n: u8| Notice::Settled {
        job: job_id(n, 1),
        owner: owner(1),
        posted: 200,
        fee: 5,
        returned: 0,
    };
    let earned = |rig: &mut Rig, days| match rig.ask(Command::GetEarnings {
        miner_key: miner_key(1),
        days,
    }) {
        Reply::Earnings(earnings) => earnings
            .into_iter()
            .map(|earning| (earning.jobs, earning.paid_micro_ait, earning.fee_micro_ait))
            .collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    for n in 1..=3 {
        rig.submit(n, 1);
        rig.ask(completion(attempt(job_id(n, 1), 1), 1));
    }
    rig.hear(vec![settled(1), settled(2)]);
    let again = Command::Notices {
        first: 1,
        notices: vec![settled(1), settled(2)],
    };
    rig.ask(again);
    assert_eq!(earned(&mut rig, 1), [(2, 400, 10)]);
    rig.wait(crate::store::keys::DAY_MS);
    rig.hear(vec![settled(3)]);
    assert_eq!(earned(&mut rig, 1), [(1, 200, 5)]);
    assert_eq!(earned(&mut rig, 30), [(1, 200, 5), (2, 400, 10)]);
    // Its locks returned whole.
    rig.submit(4, 1);
    rig.ask(completion(attempt(job_id(4, 1), 1), 1));
    rig.hear(vec![Notice::Settled {
        job: job_id(4, 1),
        owner: owner(1),
        posted: 0,
        fee: 0,
        returned: AIT,
    }]);
    assert_eq!(earned(&mut rig, 1), [(1, 200, 5)]);
}

#[test]
fn unpaid_work_is_logged() {
    let mut rig = Rig::new();
    rig.miner(1, 1);
    let job = rig.submit(1, 1);
    rig.ask(completion(attempt(job, 1), 1));
    assert!(matches!(&rig.orders()[..], [Order::LogReceipt(entry)] if entry.attempt == 1));
}

#[test]
fn jobs_that_end_without_work_give_their_locks_back() {
    let mut rig = Rig::new();
    rig.miner(1, 1);
    let failed = rig.hold(1);
    rig.lock(lock_of(1, 1, 1, AIT));
    rig.accept(1, attempt(failed, 1));
    rig.fail(1, attempt(failed, 1), FailureReason::ContextExceeded);
    rig.ask(Command::CloseSession { session: 1 });
    let cancelled = rig.hold(2);
    rig.lock(lock_of(2, 2, 1, AIT));
    rig.cancel(cancelled);
    let expired = rig.hold(3);
    rig.lock(lock_of(3, 3, 1, AIT));
    rig.wait(3_600_000);
    let expected = [
        (1, VoidReason::Failed),
        (2, VoidReason::Cancelled),
        (3, VoidReason::Deadline),
    ];
    assert_eq!(rig.voids(), expected);
    for job in [failed, cancelled, expired] {
        assert_eq!(rig.payment(job), PaymentStatus::Refunded);
        assert_eq!(rig.view(job, 1).row.returned, AIT);
    }
}

#[test]
fn a_cancelled_run_is_paid_by_the_receipt_that_comes_in_time() {
    let (mut rig, first) = paid_and_running();
    rig.wait(4_000);
    rig.cancel(first.job_id);
    let cancel = rig.effects.iter().any(
        |effect| matches!(effect, Effect::CancelAttempt { attempt, receipt: true, .. } if *attempt == first),
    );
    assert!(cancel, "the receipt is asked for");
    assert_eq!(rig.status(first.job_id, 1), JobStatus::Cancelled);
    assert_eq!(rig.payment(first.job_id), PaymentStatus::Settling);
    assert!(rig.orders().is_empty());
    rig.wait(20_000);
    // It worked on after the end, it says: what was observed until then is the bound.
    let late = receipt(first, 1, |receipt| {
        receipt.outcome = Outcome::Cancelled;
        (receipt.work_ms, receipt.tokens_out, receipt.output_len) = (24_000, 9_000, 9_000);
    });
    let answer = rig.ask(late.clone());
    assert!(matches!(answer, Reply::Completed(JobStatus::Cancelled)));
    let [(work, _)] = &rig.settlements()[..] else {
        panic!("one settlement")
    };
    assert_eq!(work.outcome, Outcome::Cancelled);
    assert_eq!((work.observed_ms, work.billed_ms), (4_000, 4_000));
    let again = rig.ask(late);
    assert!(matches!(again, Reply::Completed(JobStatus::Cancelled)));
    rig.wait(60_000);
    assert_eq!(rig.orders().len(), 1);
}

#[test]
fn without_a_receipt_the_last_checkpoint_counts_and_without_one_nothing() {
    for with in [true, false] {
        let (mut rig, first) = paid_and_running();
        rig.wait(9_000);
        if with {
            rig.ask(checkpoint(first, 5_000));
            rig.ask(checkpoint(first, 8_000));
        }
        rig.cancel(first.job_id);
        rig.restart();
        rig.wait(29_999);
        assert!(rig.orders().is_empty());
        rig.wait(1);
        if with {
            let [(work, _)] = &rig.settlements()[..] else {
                panic!("one settlement")
            };
            assert_eq!((work.work_ms, work.observed_ms), (8_000, 9_000));
            assert_eq!(rig.payment(first.job_id), PaymentStatus::Settling);
            assert_eq!(rig.view(first.job_id, 1).row.evidence.len(), 136);
        } else {
            assert_eq!(rig.voids(), [(1, VoidReason::Cancelled)]);
            assert_eq!(rig.payment(first.job_id), PaymentStatus::Refunded);
        }
        let late = receipt(first, 1, |receipt| receipt.outcome = Outcome::Cancelled);
        assert_eq!(refusal(&rig.ask(late)), Some(ErrorReason::StaleAttempt));
        assert_eq!(rig.orders().len(), 1);
    }
}

#[test]
fn a_checkpoint_outlives_a_restart_of_the_coordinator() {
    let stops: [fn(&mut Rig, JobId); 2] = [
        |rig, job| rig.cancel(job),
        // The deadline comes before the lease ends.
        |rig, _| rig.wait(20_000),
    ];
    for (stop, outcome) in stops
        .into_iter()
        .zip([Outcome::Cancelled, Outcome::Deadline])
    {
        let (mut rig, first) = paid_and_running();
        let deadline = rig.view(first.job_id, 1).row.deadline_ms;
        while rig.now + 20_000 < deadline {
            rig.wait(10_000);
            let running = vec![held(first, rig.now)];
            rig.ask(Command::Heartbeat {
                session: 1,
                running,
                free_slots: 0,
            });
        }
        rig.ask(checkpoint(first, 5_000));
        rig.wait(1_000);
        rig.ask(checkpoint(first, 8_000));
        // This one was not there long enough to be stored: that much may be lost.
        rig.wait(1_000);
        rig.ask(checkpoint(first, 9_000));
        rig.restart();
        // Its miner never comes back.
        let observed = rig.now - START;
        stop(&mut rig, first.job_id);
        rig.wait(30_000);
        let [(work, _)] = &rig.settlements()[..] else {
            panic!("one settlement")
        };
        assert_eq!((work.outcome, work.work_ms), (outcome, 8_000));
        assert!(work.observed_ms >= observed);
    }
}

#[test]
fn stored_checkpoints_go_with_their_attempt() {
    let stored = |rig: &Rig| {
        let mut stored = 0;
        for shard in 0..crate::store::SHARDS {
            let prefix = crate::store::keys::checkpoints_in(shard);
            let count = |_, _| {
                stored += 1;
                Ok(())
            };
            crate::store::each_active_row(&rig.store, &prefix, count).unwrap();
        }
        stored
    };
    type End = fn(&mut Rig, AttemptId);
    let ends: [End; 4] = [
        |rig, attempt| _ = rig.ask(completion(attempt, 1)),
        |rig, attempt| rig.cancel(attempt.job_id),
        |rig, attempt| _ = rig.fail(1, attempt, FailureReason::Stalled),
        |rig, _| rig.wait(31_000),
    ];
    for end in ends {
        let (mut rig, first) = paid_and_running();
        rig.ask(checkpoint(first, 1));
        assert_eq!(stored(&rig), 0, "not each one costs a write");
        rig.wait(2_000);
        assert_eq!(stored(&rig), 1);
        rig.ask(checkpoint(first, 2));
        rig.restart();
        rig.open(1, 2, vec![held(first, 5)], vec![]);
        end(&mut rig, first);
        assert_eq!(stored(&rig), 0);
        rig.restart();
    }
}

#[test]
fn a_miner_that_comes_back_after_a_cancel_may_still_send_its_receipt() {
    let (mut rig, first) = paid_and_running();
    rig.ask(Command::CloseSession { session: 1 });
    rig.wait(3_000);
    rig.cancel(first.job_id);
    rig.restart();
    let opened = rig.open(1, 2, vec![held(first, 5)], vec![]);
    assert!(
        matches!(opened, Reply::SessionOpened(resumes) if matches!(resumes[..], [Resume::Continue(_)]))
    );
    let asked = rig
        .effects
        .iter()
        .any(|effect| matches!(effect, Effect::CancelAttempt { receipt: true, .. }));
    assert!(asked);
    rig.ask(receipt(first, 1, |receipt| {
        receipt.outcome = Outcome::Cancelled
    }));
    assert_eq!(rig.settlements().len(), 1);
}

#[test]
fn a_run_that_nobody_stopped_is_not_paid_as_stopped() {
    let (mut rig, first) = paid_and_running();
    for (outcome, attempt_number) in [(Outcome::Cancelled, 1), (Outcome::Deadline, 1)] {
        let _ = attempt_number;
        let early = receipt(first, 1, |receipt| receipt.outcome = outcome);
        assert!(refusal(&rig.ask(early)).is_some());
    }
    assert!(rig.settlements().is_empty() && rig.voids().is_empty());
    assert_eq!(rig.view(first.job_id, 1).row.retries_spent, 1);
}

#[test]
fn a_deadline_pays_what_was_done_until_then() {
    let (mut rig, first) = paid_and_running();
    for _ in 0..400 {
        rig.wait(10_000);
        rig.heartbeat(1, &[first], 0);
        if rig.view(first.job_id, 1).row.finished_ms > 0 {
            break;
        }
        let grows = held(first, rig.now - START);
        rig.ask(Command::Heartbeat {
            session: 1,
            running: vec![grows],
            free_slots: 0,
        });
    }
    assert_eq!(rig.status(first.job_id, 1), JobStatus::Expired);
    rig.ask(receipt(first, 1, |receipt| {
        receipt.outcome = Outcome::Deadline
    }));
    assert_eq!(rig.settlements()[0].0.outcome, Outcome::Deadline);
}

#[test]
fn inflated_receipts_gain_nothing_beyond_what_was_observed_and_what_their_tokens_justify() {
    let (mut rig, first) = paid_and_running();
    rig.wait(7_000);
    rig.ask(receipt(first, 1, |receipt| {
        (receipt.work_ms, receipt.tokens_in, receipt.tokens_out) = (u64::MAX, u32::MAX, u32::MAX);
    }));
    let work = &rig.settlements()[0].0;
    // Two bytes of output are two tokens at most.
    assert_eq!((work.billed_ms, work.observed_ms), (7_000, 7_000));
    let (mut rig, first) = paid_and_running();
    rig.wait(20_000);
    rig.ask(receipt(first, 1, |receipt| {
        (receipt.work_ms, receipt.tokens_in, receipt.tokens_out) = (u64::MAX, 0, u32::MAX);
    }));
    assert_eq!(rig.settlements()[0].0.billed_ms, 3_000);
}

#[test]
fn a_completed_job_can_be_paid_afterwards_once_where_funding_is_optional() {
    let mut rig = Rig::new();
    rig.miner(1, 1);
    rig.price(1, AIT / 2);
    let job = rig.submit(1, 1);
    rig.accept(1, attempt(job, 1));
    rig.wait(1_000);
    rig.ask(receipt(attempt(job, 1), 1, |receipt| receipt.work_ms = 900));
    rig.hear(vec![
        Notice::Locked(LockOpened {
            max_rate: 1,
            ..lock_of(1, 1, 1, AIT)
        }),
        Notice::Locked(lock_of(2, 1, 1, AIT)),
        Notice::Locked(lock_of(3, 1, 1, AIT)),
    ]);
    let voids = [(1, VoidReason::Terms), (3, VoidReason::Finished)];
    assert_eq!(rig.voids(), voids);
    let [(work, locks)] = &rig.settlements()[..] else {
        panic!("one settlement")
    };
    assert_eq!((work.billed_ms, &locks[..]), (900, &[[2; 32]][..]));
    assert_eq!(rig.payment(job), PaymentStatus::Settling);
    let mut strict = Rig::with(|config| config.funding_required = true);
    strict.miner(1, 1);
    let job = strict.submit(1, 1);
    strict.lock(lock_of(1, 1, 1, AIT));
    strict.ask(completion(attempt(job, 1), 1));
    strict.lock(lock_of(2, 1, 1, AIT));
    assert_eq!(strict.voids(), [(2, VoidReason::Finished)]);
}

#[test]
fn what_a_finished_job_is_paid_while_it_ages_is_kept() {
    let mut rig = Rig::new();
    rig.miner(1, 2);
    let aged = |job: JobId| AgedJob {
        job,
        owner: owner(1),
        row: None,
        drops_output: false,
    };
    for n in 1..=4 {
        rig.submit(n, 1);
        rig.ask(completion(attempt(job_id(n, 1), 1), 1));
    }
    let kept = |rig: &mut Rig, n| {
        let reply = rig.ask(Command::GetJob {
            owner: owner(1),
            job: JobSelector::Id(job_id(n, 1)),
        });
        matches!(reply, Reply::Job(_))
    };
    // Paid after the sweep read it, and before it writes.
    rig.ask(Command::BeginSweep);
    rig.lock(lock_of(1, 1, 1, AIT));
    // Paid in the batch that writes, before and after.
    let first = rig.heard + 1;
    rig.heard += 2;
    let notice = |first, n| Command::Notices {
        first,
        notices: vec![Notice::Locked(lock_of(n, n, 1, AIT))],
    };
    let jobs = (1..=4).map(|n| aged(job_id(n, 1))).collect();
    rig.batch(vec![
        notice(first, 2),
        Command::Sweep(jobs),
        notice(first + 1, 3),
    ]);
    assert_eq!(
        [1, 2, 3, 4].map(|n| kept(&mut rig, n)),
        [true, true, true, false]
    );
    assert_eq!(rig.settlements().len(), 3);
    for n in 1..=3 {
        assert_eq!(rig.payment(job_id(n, 1)), PaymentStatus::Settling);
    }
    // What was read before a recovery counts for nothing.
    rig.ask(Command::BeginSweep);
    rig.restart();
    rig.ask(Command::Sweep(vec![aged(job_id(1, 1))]));
    assert!(kept(&mut rig, 1));
}

#[test]
fn applied_orders_are_deleted_and_numbers_go_on() {
    let mut rig = Rig::new();
    rig.miner(1, 1);
    for n in 1..=5 {
        let job = rig.submit(n, 1);
        rig.ask(completion(attempt(job, 1), 1));
    }
    rig.ask(Command::TrimOrders { through: 3 });
    let numbers = |rig: &Rig| -> Vec<u64> {
        let orders = outbox::read(&rig.store, 1, 100).unwrap();
        orders.into_iter().map(|(number, _)| number).collect()
    };
    assert_eq!(numbers(&rig), [4, 5]);
    rig.restart();
    let job = rig.submit(6, 1);
    rig.open(1, 2, vec![], vec![]);
    rig.inventory(2, 1);
    rig.ask(completion(attempt(job, 1), 1));
    assert_eq!(numbers(&rig), [4, 5, 6]);
    rig.ask(Command::TrimOrders { through: 100 });
    assert_eq!(numbers(&rig), [0; 0]);
}

#[test]
fn orders_of_one_batch_share_a_row() {
    let mut rig = Rig::new();
    rig.miner(1, 3);
    let jobs: Vec<_> = (1..=3).map(|n| rig.submit(n, 1)).collect();
    let done = jobs.iter().map(|job| completion(attempt(*job, 1), 1));
    rig.batch(done.collect());
    assert_eq!(rig.orders().len(), 3);
    assert_eq!(outbox::read(&rig.store, 1, 1).unwrap().len(), 3);
    assert_eq!(outbox::read(&rig.store, 3, 1).unwrap().len(), 1);
    assert!(
        rig.effects
            .iter()
            .any(|effect| matches!(effect, Effect::OrdersPending(3)))
    );
}
