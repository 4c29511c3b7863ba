//! Leases: accepting, losing, excluding, retrying.

use super::*;

#[test]
fn a_model_that_thinks_for_long_does_not_stall_until_its_tokens_stop() {
    let mut rig = Rig::new();
    rig.miner(1, 1);
    let job = rig.submit(1, 1);
    let first = attempt(job, 1);
    rig.accept(1, first);
    let heartbeat = |rig: &mut Rig, output_tokens| {
        let running = HeldAttempt {
            output_tokens,
            ..held(first, 0)
        };
        rig.ask(Command::Heartbeat {
            session: 1,
            running: vec![running],
            free_slots: 0,
        });
    };
    // 25 minutes without a byte of output, a token now and then.
    for beat in 1..=150 {
        rig.wait(10_000);
        heartbeat(&mut rig, beat / 30);
        assert_eq!(rig.status(job, 1), JobStatus::Processing, "beat {beat}");
    }
    for _ in 0..72 {
        rig.wait(10_000);
        heartbeat(&mut rig, 5);
    }
    assert_ne!(rig.status(job, 1), JobStatus::Processing, "it stalled");
}

/// One miner of two, and a job that it was given.
fn leased() -> (Rig, AttemptId) {
    let mut rig = Rig::new();
    rig.miner(1, 1);
    let job = rig.submit(1, 1);
    rig.assigned();
    (rig, attempt(job, 1))
}

/// The same, accepted.
fn running() -> (Rig, AttemptId) {
    let (mut rig, first) = leased();
    rig.accept(1, first);
    (rig, first)
}

#[test]
fn an_assignment_that_is_not_accepted_spends_nothing_and_suspends_its_session() {
    let (mut rig, first) = leased();
    rig.wait(5_000);
    let view = rig.view(first.job_id, 1);
    assert_eq!((view.row.retries_spent, view.row.excluded.len()), (0, 0));
    assert_eq!(view.row.attempts[0].outcome(), v1::AttemptOutcome::Returned);
    assert!(
        rig.assigned().is_empty(),
        "no credit until the next heartbeat"
    );
    rig.heartbeat(1, &[], 1);
    assert_eq!(rig.assigned(), [(1, attempt(first.job_id, 2))]);
}

#[test]
fn an_assignment_that_is_not_accepted_goes_to_another_miner_at_once() {
    let (mut rig, first) = leased();
    rig.miner(2, 1);
    rig.wait(5_000);
    assert_eq!(rig.assigned(), [(2, attempt(first.job_id, 2))]);
}

#[test]
fn the_third_miss_in_a_row_ends_the_session() {
    let (mut rig, first) = leased();
    for n in 1..=3 {
        assert!(rig.ended().is_empty(), "miss {n}");
        rig.wait(5_000);
        rig.heartbeat(1, &[], 1);
    }
    assert_eq!(rig.ended(), [(1, ErrorReason::SessionProtocol)]);
    assert_eq!(rig.view(first.job_id, 1).row.attempt, 4);
}

#[test]
fn accepting_forgives_earlier_misses() {
    let (mut rig, first) = leased();
    for n in 1..=2 {
        rig.wait(5_000);
        rig.heartbeat(1, &[], 1);
        assert_eq!(rig.assigned(), [(1, attempt(first.job_id, n + 1))]);
    }
    rig.accept(1, attempt(first.job_id, 3));
    rig.ask(completion(attempt(first.job_id, 3), 1));
    let next = rig.submit(2, 1);
    assert_eq!(rig.assigned(), [(1, attempt(next, 1))]);
    rig.wait(5_000);
    assert!(rig.ended().is_empty());
}

#[test]
fn a_coordinator_that_stood_still_takes_no_lease_for_it() {
    let (mut rig, first) = running();
    rig.miner(2, 1);
    let accepted_late = attempt(rig.submit(2, 1), 1);
    // Longer than a lease, and what was said meanwhile is read after the timers.
    rig.now += LEASE_MS + 6_000;
    rig.batch(vec![]);
    rig.accept(2, accepted_late);
    rig.heartbeat(1, &[first], 0);
    for (job, by) in [(first.job_id, 1), (accepted_late.job_id, 1)] {
        let view = rig.view(job, by);
        let expected = (0, JobStatus::Processing);
        assert_eq!((view.row.retries_spent, view.status), expected);
    }
    // Silence afterwards is the miner's.
    rig.wait(LEASE_MS);
    assert_eq!(rig.view(first.job_id, 1).row.retries_spent, 1);
}

#[test]
fn heartbeats_hold_a_lease_and_silence_loses_it() {
    let (mut rig, first) = running();
    for _ in 0..10 {
        rig.wait(10_000);
        rig.heartbeat(1, &[first], 0);
    }
    assert_eq!(rig.status(first.job_id, 1), JobStatus::Processing);
    rig.miner(2, 1);
    rig.wait(LEASE_MS - 1);
    assert!(rig.assigned().is_empty());
    rig.wait(1);
    let view = rig.view(first.job_id, 1);
    assert_eq!(
        (view.row.retries_spent, view.status),
        (1, JobStatus::Queued)
    );
    assert_eq!(view.row.attempts[0].outcome(), v1::AttemptOutcome::Lost);
    rig.wait(1_000);
    assert_eq!(
        rig.assigned(),
        [(2, attempt(first.job_id, 2))],
        "after a backoff of at most a second"
    );
}

#[test]
fn a_miner_that_lost_a_job_gets_it_again_only_when_no_other_matches_for_ten_seconds() {
    let (mut rig, first) = running();
    rig.fail(1, first, FailureReason::Stalled);
    rig.heartbeat(1, &[], 1);
    rig.wait(9_999);
    assert!(rig.assigned().is_empty());
    rig.wait(1_001);
    assert_eq!(rig.assigned(), [(1, attempt(first.job_id, 2))]);
    assert!(rig.view(first.job_id, 1).row.excluded.is_empty());
}

#[test]
fn the_exclusion_stays_while_another_miner_matches_though_busy() {
    let (mut rig, first) = running();
    rig.miner(2, 1);
    let other = rig.submit(2, 1);
    assert_eq!(rig.assigned(), [(2, attempt(other, 1))]);
    rig.accept(2, attempt(other, 1));
    rig.fail(1, first, FailureReason::Stalled);
    for _ in 0..5 {
        rig.wait(10_000);
        rig.heartbeat(1, &[], 1);
        rig.heartbeat(2, &[attempt(other, 1)], 0);
    }
    assert!(rig.assigned().is_empty());
    rig.ask(completion(attempt(other, 1), 2));
    assert_eq!(rig.assigned(), [(2, attempt(first.job_id, 2))]);
}

#[test]
fn retries_run_out() {
    let (mut rig, first) = running();
    for n in 1..=4 {
        let newest = attempt(first.job_id, n);
        rig.accept(1, newest);
        assert_eq!(rig.view(first.job_id, 1).row.attempt, u32::from(n));
        let Reply::Failed(status) = rig.fail(1, newest, FailureReason::Garbage) else {
            panic!()
        };
        let last = n == 4;
        assert_eq!(
            status,
            if last {
                JobStatus::Failed
            } else {
                JobStatus::Queued
            }
        );
        rig.heartbeat(1, &[], 1);
        rig.wait(15_000);
    }
    let view = rig.view(first.job_id, 1);
    assert_eq!(
        (view.row.retries_spent, view.row.attempts.len()),
        (3, 4),
        "its history is kept"
    );
    assert_eq!(
        view.row.failure.map(|failure| failure.reason()),
        Some(FailureReason::Garbage)
    );
    assert_eq!(rig.core.live_jobs(), 0);
}

#[test]
fn a_job_that_is_itself_at_fault_fails_at_once() {
    let (mut rig, first) = running();
    let reply = rig.fail(1, first, FailureReason::ContextExceeded);
    assert!(matches!(reply, Reply::Failed(JobStatus::Failed)));
}

#[test]
fn a_rejection_for_want_of_a_slot_spends_nothing() {
    let (mut rig, first) = leased();
    rig.ask(Command::Reject {
        session: 1,
        attempt: first,
        failure: failure(FailureReason::Busy),
    });
    assert!(rig.assigned().is_empty());
    rig.heartbeat(1, &[], 1);
    assert_eq!(rig.assigned(), [(1, attempt(first.job_id, 2))]);
    assert_eq!(rig.view(first.job_id, 1).row.retries_spent, 0);
}

#[test]
fn a_run_whose_output_does_not_grow_is_lost_in_the_end() {
    let (mut rig, first) = running();
    for n in 0..75 {
        rig.wait(10_000);
        let running = vec![held(first, 1_000.min(n))];
        rig.ask(Command::Heartbeat {
            session: 1,
            running,
            free_slots: 0,
        });
    }
    assert_eq!(rig.status(first.job_id, 1), JobStatus::Processing);
    let running = vec![held(first, 74)];
    for _ in 0..70 {
        rig.wait(10_000);
        rig.ask(Command::Heartbeat {
            session: 1,
            running: running.clone(),
            free_slots: 0,
        });
    }
    assert_eq!(rig.view(first.job_id, 1).row.retries_spent, 1);
    assert_eq!(rig.stopped()[0].1, first, "its slot is wanted back");
}

#[test]
fn a_stale_miner_does_not_keep_anothers_run_alive() {
    let (mut rig, first) = running();
    rig.miner(2, 1);
    rig.fail(1, first, FailureReason::Stalled);
    rig.wait(1_000);
    let second = attempt(first.job_id, 2);
    assert_eq!(rig.assigned(), [(2, second)]);
    rig.accept(2, second);
    for n in 1..80 {
        rig.wait(10_000);
        rig.ask(Command::Heartbeat {
            session: 1,
            running: vec![held(first, n)],
            free_slots: 1,
        });
        rig.heartbeat(2, &[second], 0);
    }
    assert_eq!(rig.view(first.job_id, 1).row.retries_spent, 2);
}

#[test]
fn dispatch_never_exceeds_the_announced_slots() {
    let mut rig = Rig::new();
    rig.miner(1, 2);
    let jobs: Vec<_> = (1..=4).map(|n| rig.submit(n, 1)).collect();
    assert_eq!(rig.assigned().len(), 2);
    rig.heartbeat(1, &[], 9);
    assert!(
        rig.assigned().is_empty(),
        "slots in all are the inventory's"
    );
    rig.accept(1, attempt(jobs[0], 1));
    rig.accept(1, attempt(jobs[1], 1));
    rig.heartbeat(1, &[attempt(jobs[0], 1), attempt(jobs[1], 1)], 0);
    rig.ask(completion(attempt(jobs[0], 1), 1));
    assert_eq!(
        rig.assigned(),
        [(1, attempt(jobs[2], 1))],
        "in the batch that completes"
    );
    rig.inventory(1, 1);
    rig.ask(completion(attempt(jobs[1], 1), 1));
    assert!(rig.assigned().is_empty(), "the inventory shrank");
}

#[test]
fn the_deadline_expires_a_job_and_stops_its_miner() {
    let (mut rig, first) = running();
    let waiting = rig.submit(2, 1);
    for _ in 0..360 {
        rig.wait(10_000);
        let held_bytes = rig.now - START;
        rig.ask(Command::Heartbeat {
            session: 1,
            running: vec![held(first, held_bytes)],
            free_slots: 0,
        });
    }
    assert_eq!(rig.status(first.job_id, 1), JobStatus::Expired);
    assert_eq!(rig.status(waiting, 1), JobStatus::Expired);
    assert_eq!(rig.stopped()[0], (1, first, JobStatus::Expired));
    rig.wait(LEASE_MS);
    assert_eq!(rig.core.next_timer(), None, "no timer is left behind");
}
