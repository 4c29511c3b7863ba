//! After a restart memory is what it was: only the store speaks.

use super::*;

#[test]
fn a_delivery_that_arrived_before_a_recovery_must_come_again() {
    let mut rig = Rig::new();
    rig.core.set_epoch(1);
    rig.miner(1, 1);
    let job = rig.submit(1, 1);
    let first = attempt(job, 1);
    rig.accept(1, first);
    let arrived_in = |epoch| match completion(first, 1) {
        Command::Complete(completion) => Command::Complete(Box::new(Completion {
            epoch,
            ..*completion
        })),
        other => other,
    };
    // It waits for the engine, with chunks named that were not synced, while the engine recovers.
    rig.restart();
    rig.core.set_epoch(2);
    let Reply::Refused(error) = rig.ask(arrived_in(1)) else {
        panic!("not refused")
    };
    assert_eq!(error.reason, ErrorReason::Unavailable);
    assert!(error.retry_after.is_some());
    assert_eq!(
        rig.status(job, 1),
        JobStatus::Processing,
        "it may come again"
    );
    let Reply::AttemptInfo(info) = rig.ask(get_attempt(first, 1)) else {
        panic!("no info")
    };
    let again = rig.ask(arrived_in(info.epoch));
    assert!(matches!(again, Reply::Completed(JobStatus::Completed)));
    let repeated = rig.ask(arrived_in(1));
    assert!(matches!(repeated, Reply::Completed(JobStatus::Completed)));
}
use crate::store::rows::JobRow;

/// Rows as both sides of a restart must see them.
fn rows(rig: &mut Rig, jobs: &[JobId]) -> Vec<(JobStatus, JobRow, Option<u32>)> {
    let views = jobs.iter().map(|job| rig.view(*job, 1));
    views
        .map(|view| (view.status, view.row, view.queue_position))
        .collect()
}

#[test]
fn recovery_equals_memory() {
    let mut rig = Rig::new();
    rig.miner(1, 1);
    rig.register(2, 1);
    let jobs: Vec<_> = (1..=6).map(|n| rig.submit(n, 1)).collect();
    // Completed, running by a session, running by polling, waiting out a backoff, waiting.
    rig.accept(1, attempt(jobs[0], 1));
    rig.ask(completion(attempt(jobs[0], 1), 1));
    rig.accept(1, attempt(jobs[1], 1));
    rig.fail(1, attempt(jobs[1], 1), FailureReason::Stalled);
    rig.accept(1, attempt(jobs[2], 1));
    rig.ask(Command::Poll {
        miner_key: miner_key(2),
        lease_ms: 600_000,
        request_id: String::new(),
    });
    rig.ask(Command::Cancel {
        owner: owner(1),
        job: JobSelector::Id(jobs[4]),
    });
    let before = rows(&mut rig, &jobs);
    rig.restart();
    assert_eq!(rows(&mut rig, &jobs), before);
    assert_eq!(rig.core.live_jobs(), 4);
    let miners = |rig: &mut Rig| match rig.ask(Command::ListMiners {
        after: None,
        limit: 10,
        model: None,
    }) {
        Reply::Miners(miners, _) => miners
            .iter()
            .map(|miner| miner.running_jobs)
            .collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(miners(&mut rig), [1, 1]);
}

#[test]
fn a_recorded_delivery_gets_its_answer_again_after_a_restart() {
    let mut rig = Rig::new();
    rig.register(1, 1);
    rig.register(2, 1);
    let job = attempt(rig.submit(1, 1), 1);
    rig.ask(Command::Poll {
        miner_key: miner_key(1),
        lease_ms: 600_000,
        request_id: String::new(),
    });
    rig.ask(completion(job, 1));
    rig.restart();
    let asked = |n, attempt| get_attempt(attempt, n);
    for again in [asked(1, job), completion(job, 1)] {
        let reply = rig.ask(again);
        let same = matches!(reply, Reply::Completed(JobStatus::Completed));
        assert!(same, "{reply:?}");
    }
    for other in [
        asked(2, job),
        asked(1, attempt(job.job_id, 2)),
        completion(job, 2),
        completion_of(job, 1, |receipt| receipt.work_ms += 1),
    ] {
        let reply = rig.ask(other);
        assert_eq!(refusal(&reply), Some(ErrorReason::StaleAttempt));
    }
}

#[test]
fn every_lease_starts_anew_and_running_jobs_go_on() {
    let mut rig = Rig::new();
    rig.miner(1, 1);
    let first = attempt(rig.submit(1, 1), 1);
    rig.accept(1, first);
    rig.wait(LEASE_MS - 1);
    rig.restart();
    rig.wait(LEASE_MS - 1);
    assert_eq!(rig.status(first.job_id, 1), JobStatus::Processing);
    rig.open(1, 2, vec![held(first, 0)], vec![]);
    rig.wait(LEASE_MS - 1);
    assert!(matches!(
        rig.ask(completion(first, 1)),
        Reply::Completed(JobStatus::Completed)
    ));
    assert_eq!(rig.view(first.job_id, 1).row.retries_spent, 0);
}

#[test]
fn a_polled_lease_keeps_its_length() {
    for (polled, extended, length) in [
        (3_600_000, None, 3_600_000),
        (10_000, None, 10_000),
        (600_000, Some(3_600_000), 3_600_000),
    ] {
        let mut rig = Rig::new();
        rig.register(1, 1);
        let first = attempt(rig.submit(1, 1), 1);
        rig.ask(Command::Poll {
            miner_key: miner_key(1),
            lease_ms: polled,
            request_id: String::new(),
        });
        if let Some(lease_ms) = extended {
            rig.ask(Command::ExtendLease {
                miner_key: miner_key(1),
                attempt: first,
                lease_ms,
            });
        }
        rig.restart();
        rig.wait(length - 1);
        assert_eq!(rig.status(first.job_id, 1), JobStatus::Processing);
        rig.wait(1);
        assert_eq!(rig.view(first.job_id, 1).row.retries_spent, 1);
    }
}

#[test]
fn a_miner_that_comes_back_says_since_when_it_runs_but_not_since_before_its_lease() {
    for (ago, after) in [(3_000, 2_000), (60_000, 0)] {
        let mut rig = Rig::new();
        rig.miner(1, 1);
        let first = attempt(rig.submit(1, 1), 1);
        let leased = rig.now;
        rig.wait(2_000);
        rig.accept(1, first);
        rig.wait(3_000);
        rig.restart();
        assert_eq!(rig.view(first.job_id, 1).started_ms, 0);
        let running = HeldAttempt {
            accepted_ago_ms: Some(ago),
            ..held(first, 0)
        };
        rig.open(1, 2, vec![running], vec![]);
        let view = rig.view(first.job_id, 1);
        assert_eq!(view.started_ms, leased + after);
        rig.open(
            1,
            3,
            vec![HeldAttempt {
                accepted_ago_ms: Some(1),
                ..running
            }],
            vec![],
        );
        assert_eq!(rig.view(first.job_id, 1).started_ms, view.started_ms);
    }
}

#[test]
fn a_miner_that_never_comes_back_loses_its_lease() {
    let mut rig = Rig::new();
    rig.miner(1, 1);
    let first = attempt(rig.submit(1, 1), 1);
    rig.restart();
    rig.wait(LEASE_MS);
    assert_eq!(rig.view(first.job_id, 1).row.retries_spent, 1);
}

#[test]
fn time_never_goes_back() {
    let mut rig = Rig::new();
    rig.now += 1_000_000;
    rig.submit(1, 1);
    rig.now = START;
    rig.restart();
    assert!(rig.core.now() >= START + 1_000_000);
}

#[test]
fn attempts_exclusions_and_backoff_survive() {
    let mut rig = Rig::new();
    rig.miner(1, 1);
    let job = rig.submit(1, 1);
    rig.accept(1, attempt(job, 1));
    rig.fail(1, attempt(job, 1), FailureReason::Stalled);
    rig.restart();
    rig.open(1, 2, vec![], vec![]);
    rig.inventory(2, 1);
    rig.wait(5_000);
    assert!(rig.assigned().is_empty(), "still excluded");
    rig.wait(6_000);
    assert_eq!(rig.assigned(), [(2, attempt(job, 2))]);
}

#[test]
fn changes_rise_over_a_restart() {
    let mut rig = Rig::new();
    rig.submit(1, 1);
    let last = |rig: &mut Rig| {
        let changes = rig.effects.drain(..).filter_map(|effect| match effect {
            Effect::Changed(change) => Some(change.change),
            _ => None,
        });
        changes.max().unwrap()
    };
    let before = last(&mut rig);
    rig.restart();
    rig.submit(2, 1);
    assert!(last(&mut rig) > before);
}

#[test]
fn a_newcomer_does_not_overtake_everyone_after_a_restart() {
    let mut rig = Rig::new();
    rig.miner(1, 1);
    for n in 1..=20 {
        let job = rig.submit(n, 1);
        rig.ask(completion(attempt(job, 1), 1));
    }
    let running = rig.submit(21, 1);
    let waiting = rig.submit(22, 1);
    rig.restart();
    rig.open(1, 2, vec![held(attempt(running, 1), 0)], vec![]);
    rig.inventory(2, 1);
    (31..=35).for_each(|n| {
        rig.submit(n, 2);
    });
    rig.ask(completion(attempt(running, 1), 1));
    let next = rig.assigned()[0].1;
    rig.ask(completion(next, 1));
    let second = rig.assigned()[0].1;
    assert!([next, second].contains(&attempt(waiting, 1)));
}

#[test]
fn started_tells_watchers_the_attempt_and_the_end_brings_the_row() {
    let mut rig = Rig::new();
    rig.miner(1, 1);
    let first = attempt(rig.submit(1, 1), 1);
    rig.accept(1, first);
    rig.ask(completion(first, 1));
    let changes: Vec<_> = rig
        .effects
        .drain(..)
        .filter_map(|effect| match effect {
            Effect::Changed(change) => Some(*change),
            _ => None,
        })
        .collect();
    let statuses: Vec<_> = changes.iter().map(|change| change.status).collect();
    assert_eq!(
        statuses,
        [
            JobStatus::Queued,
            JobStatus::Processing,
            JobStatus::Completed
        ]
    );
    assert!(
        changes
            .iter()
            .all(|change| change.request_id == "request 1")
    );
    assert_eq!(
        changes[1].started.as_ref().map(|started| started.attempt),
        Some(1)
    );
    assert!(
        changes[2]
            .row
            .as_ref()
            .is_some_and(|row| row.delivery.is_some())
    );
    assert_eq!(changes[0].oldest_live, Some(first.job_id));
    assert_eq!(changes[2].oldest_live, None);
}
