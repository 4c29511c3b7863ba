//! Attempts and their ends: completions in time, late and stale; cancellation; deletion; polling.

use super::*;

fn running() -> (Rig, AttemptId) {
    let mut rig = Rig::new();
    rig.miner(1, 1);
    let job = rig.submit(1, 1);
    rig.assigned();
    rig.accept(1, attempt(job, 1));
    (rig, attempt(job, 1))
}

#[test]
fn a_completion_leases_the_miners_next_job_in_its_own_batch() {
    let (mut rig, first) = running();
    let next = rig.submit(2, 1);
    let commits = rig.commits;
    let reply = rig.ask(completion(first, 1));
    assert!(matches!(reply, Reply::Completed(JobStatus::Completed)));
    assert_eq!(rig.assigned(), [(1, attempt(next, 1))]);
    assert_eq!(rig.commits, commits + 1);
    let view = rig.view(first.job_id, 1);
    assert_eq!(
        view.row.attempts[0].outcome(),
        v1::AttemptOutcome::Completed
    );
    assert!(view.row.delivery.is_some() && view.row.finished_ms > 0);
}

#[test]
fn a_repeated_completion_gets_the_same_answer_and_changes_nothing() {
    let (mut rig, first) = running();
    rig.ask(completion(first, 1));
    let (commits, row) = (rig.commits, rig.view(first.job_id, 1).row);
    let reply = rig.ask(completion(first, 1));
    assert!(matches!(reply, Reply::Completed(JobStatus::Completed)));
    let asked = rig.ask(get_attempt(first, 1));
    assert!(matches!(asked, Reply::Completed(JobStatus::Completed)));
    let other = rig.ask(completion_of(first, 1, |receipt| receipt.work_ms += 1));
    assert_eq!(refusal(&other), Some(ErrorReason::StaleAttempt));
    assert_eq!((rig.commits, rig.view(first.job_id, 1).row), (commits, row));
}

#[test]
fn the_last_attempt_may_deliver_late_until_the_job_is_leased_again() {
    let (mut rig, first) = running();
    rig.wait(LEASE_MS);
    assert_eq!(rig.view(first.job_id, 1).row.retries_spent, 1);
    // Neither its heartbeats nor a reconnect make the miner forget what it could still deliver.
    rig.heartbeat(1, &[first], 0);
    assert!(rig.stopped().is_empty());
    rig.ask(Command::CloseSession { session: 1 });
    let Reply::SessionOpened(resumes) = rig.open(1, 1, vec![], vec![held(first, 2)]) else {
        panic!()
    };
    assert!(matches!(&resumes[..], [Resume::Continue(info)] if info.attempt == first));
    assert!(matches!(
        rig.ask(completion(first, 1)),
        Reply::Completed(JobStatus::Completed)
    ));
    let view = rig.view(first.job_id, 1);
    assert_eq!(
        view.row.attempts[0].outcome(),
        v1::AttemptOutcome::Completed
    );
    assert_eq!(
        view.row.delivery.map(|delivery| delivery.observed_ms),
        Some(rig.now - START),
        "since its assignment, whatever the receipt says"
    );
    assert_eq!(rig.core.live_jobs(), 0);
}

#[test]
fn a_stale_attempt_is_refused_and_told_to_stop() {
    let (mut rig, first) = running();
    rig.miner(2, 1);
    rig.wait(LEASE_MS + 1_000);
    let second = attempt(first.job_id, 2);
    assert_eq!(rig.assigned(), [(2, second)]);
    for accepted in [false, true] {
        if accepted {
            rig.accept(2, second);
        }
        assert_eq!(
            refusal(&rig.ask(completion(first, 1))),
            Some(ErrorReason::StaleAttempt)
        );
        assert_eq!(
            refusal(&rig.fail(1, first, FailureReason::Garbage)),
            Some(ErrorReason::StaleAttempt)
        );
        assert_eq!(
            refusal(&rig.ask(completion(second, 1))),
            Some(ErrorReason::StaleAttempt),
            "another's"
        );
    }
    rig.heartbeat(1, &[first], 1);
    assert_eq!(rig.stopped(), [(1, first, JobStatus::Processing)]);
    assert_eq!(rig.view(first.job_id, 1).row.retries_spent, 1);
}

#[test]
fn the_miner_that_failed_may_not_deliver_for_its_failed_attempt_twice() {
    let (mut rig, first) = running();
    rig.fail(1, first, FailureReason::Garbage);
    assert_eq!(
        refusal(&rig.fail(1, first, FailureReason::Garbage)),
        Some(ErrorReason::StaleAttempt)
    );
    assert_eq!(rig.view(first.job_id, 1).row.retries_spent, 1);
}

#[test]
fn cancelling_stops_the_miner_and_is_idempotent() {
    let (mut rig, first) = running();
    let cancel = |job| Command::Cancel {
        owner: owner(1),
        job,
    };
    let waiting = rig.submit(2, 1);
    for job in [
        JobSelector::Id(first.job_id),
        JobSelector::Id(first.job_id),
        JobSelector::Last,
    ] {
        let Reply::Cancelled(view, cancelled) = rig.ask(cancel(job)) else {
            panic!()
        };
        assert!(cancelled && view.status == JobStatus::Cancelled);
    }
    assert_eq!(rig.stopped()[0], (1, first, JobStatus::Cancelled));
    assert_eq!(rig.status(waiting, 1), JobStatus::Cancelled);
    assert_eq!(
        refusal(&rig.ask(completion(first, 1))),
        Some(ErrorReason::StaleAttempt),
        "the first end wins"
    );
}

#[test]
fn a_completed_job_is_not_cancelled() {
    let (mut rig, first) = running();
    rig.ask(completion(first, 1));
    let reply = rig.ask(Command::Cancel {
        owner: owner(1),
        job: JobSelector::Last,
    });
    let Reply::Cancelled(view, cancelled) = reply else {
        panic!("{reply:?}")
    };
    assert!(!cancelled && view.status == JobStatus::Completed);
}

#[test]
fn only_final_jobs_are_deleted_and_their_record_stays() {
    let (mut rig, first) = running();
    let delete = || Command::Delete {
        owner: owner(1),
        job: JobSelector::Id(first.job_id),
    };
    assert_eq!(refusal(&rig.ask(delete())), Some(ErrorReason::WrongStatus));
    // In the batch that completes it, and again later.
    let replies = rig.batch(vec![completion(first, 1), delete()]);
    assert!(matches!(replies[1], Reply::Deleted(_)), "{:?}", replies[1]);
    assert!(matches!(rig.ask(delete()), Reply::Deleted(_)));
    let row = rig.view(first.job_id, 1).row;
    assert!(row.content_deleted && row.input.is_empty());
    assert!(
        row.delivery
            .is_some_and(|delivery| delivery.result.is_none() && !delivery.receipt.is_empty())
    );
}

#[test]
fn the_last_attempt_number_ends_a_job_however_it_ended() {
    use crate::jobs::lifecycle::{BrokenRules, Event, Job, Phase, step};
    let job = Job {
        id: job_id(1, 1),
        phase: Phase::Leased {
            miner: miner_id(1),
            accept_by: 1,
        },
        attempt: u16::MAX,
        last_miner: Some(miner_id(1)),
        retries_spent: 0,
        max_retries: 3,
        deadline: 9,
        needs_funds: false,
        funded: false,
        enough: false,
    };
    let event = Event::Fail {
        attempt: u16::MAX,
        miner: miner_id(1),
        reason: FailureReason::Returned,
    };
    let (next, _) = step(&job, event, 2, BrokenRules::default()).unwrap();
    assert_eq!(next.phase, Phase::Failed);
}

fn poll(rig: &mut Rig, n: u8, lease_ms: u64) -> Option<AttemptId> {
    match rig.ask(Command::Poll {
        miner_key: miner_key(n),
        lease_ms,
        request_id: String::new(),
    }) {
        Reply::Polled(polled) => polled.map(|polled| polled.0.attempt),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_repeated_poll_hands_out_the_same_attempt_while_it_is_held() {
    let mut rig = Rig::new();
    rig.register(1, 2);
    let (job, other) = (rig.submit(1, 1), rig.submit(2, 1));
    let poll = |request_id: &str, lease_ms| Command::Poll {
        miner_key: miner_key(1),
        lease_ms,
        request_id: request_id.into(),
    };
    let got = |reply: Reply| match reply {
        Reply::Polled(Some(polled)) => (polled.0.attempt, polled.1),
        other => panic!("{other:?}"),
    };
    let twice = rig.batch(vec![poll("a", 600_000), poll("a", 600_000)]);
    let first = (attempt(job, 1), START + 600_000);
    assert_eq!(twice.into_iter().map(got).collect::<Vec<_>>(), [first; 2]);
    // Over a restart too, where every lease starts anew, and with the job's input.
    rig.restart();
    assert_eq!(got(rig.ask(poll("a", 600_000))), first);
    let reused = rig.ask(poll("a", 60_000));
    assert_eq!(refusal(&reused), Some(ErrorReason::RequestIdReused));
    assert_eq!(got(rig.ask(poll("b", 600_000))).0, attempt(other, 1));
    // Paused or full: it is held all the same.
    assert_eq!(got(rig.ask(poll("a", 600_000))), first);
    rig.ask(completion(first.0, 1));
    rig.submit(3, 1);
    let late = rig.ask(poll("a", 600_000));
    assert_eq!(refusal(&late), Some(ErrorReason::StaleAttempt));
}

#[test]
fn polling_assigns_and_accepts_at_once_and_extending_prolongs() {
    let mut rig = Rig::new();
    rig.register(1, 1);
    assert_eq!(poll(&mut rig, 1, 600_000), None);
    let job = rig.submit(1, 1);
    let first = poll(&mut rig, 1, 600_000).unwrap();
    assert_eq!(
        (first, rig.status(job, 1)),
        (attempt(job, 1), JobStatus::Processing)
    );
    rig.submit(2, 1);
    let again = rig.ask(Command::Poll {
        miner_key: miner_key(1),
        lease_ms: 1,
        request_id: String::new(),
    });
    let Reply::Refused(error) = again else {
        panic!("{again:?}")
    };
    assert_eq!(error.reason, ErrorReason::NoFreeSlot);
    let one = error
        .message
        .starts_with("the one slot of this miner is taken (job_");
    assert!(one, "{}", error.message);
    rig.wait(599_000);
    let extend = |lease_ms| Command::ExtendLease {
        miner_key: miner_key(1),
        attempt: first,
        lease_ms,
    };
    let until = rig.now + 600_000;
    let reply = rig.ask(extend(600_000));
    assert!(
        matches!(reply, Reply::LeaseExtended(end) if end == until),
        "{reply:?}"
    );
    rig.wait(599_999);
    assert_eq!(rig.status(job, 1), JobStatus::Processing);
    rig.ask(extend(60_000));
    rig.wait(60_000);
    assert_eq!(rig.view(job, 1).row.retries_spent, 1);
    assert_eq!(
        refusal(&rig.ask(extend(1))),
        Some(ErrorReason::StaleAttempt)
    );
}

#[test]
fn a_lease_may_be_shortened_by_extending_it() {
    let mut rig = Rig::new();
    rig.register(1, 1);
    let job = rig.submit(1, 1);
    let first = poll(&mut rig, 1, 600_000).unwrap();
    rig.ask(Command::ExtendLease {
        miner_key: miner_key(1),
        attempt: first,
        lease_ms: 10_000,
    });
    rig.wait(10_000);
    assert_eq!(rig.view(job, 1).row.retries_spent, 1);
}

#[test]
fn a_job_that_is_handed_back_waits_again_at_no_cost() {
    let mut rig = Rig::new();
    rig.register(1, 1);
    let job = rig.submit(1, 1);
    for n in 1..=5 {
        assert_eq!(poll(&mut rig, 1, 600_000), Some(attempt(job, n)));
        let reply = rig.fail(1, attempt(job, n), FailureReason::Returned);
        assert!(matches!(reply, Reply::Failed(JobStatus::Queued)));
    }
    let row = rig.view(job, 1).row;
    assert_eq!(
        (row.retries_spent, row.excluded.len(), row.attempts.len()),
        (0, 0, 5)
    );
    assert_eq!(poll(&mut rig, 1, 600_000), Some(attempt(job, 6)));
    assert!(matches!(
        rig.ask(completion(attempt(job, 6), 1)),
        Reply::Completed(_)
    ));
}

#[test]
fn a_miner_without_models_takes_any_job_by_polling() {
    let mut rig = Rig::new();
    let change = Box::new(MinerChange::default());
    rig.ask(Command::Register {
        key: miner_key(1),
        new_id: miner_id(1),
        change,
    });
    let job = rig.submit(1, 1);
    assert!(rig.assigned().is_empty());
    assert_eq!(poll(&mut rig, 1, 1_000), Some(attempt(job, 1)));
}

#[test]
fn priority_ranks_an_owners_own_jobs_and_positions_follow() {
    let (mut rig, first) = running();
    rig.submit(2, 1);
    let urgent = Submission {
        priority: 5,
        ..submission(3, 1)
    };
    rig.ask(Command::Submit(Box::new(urgent)));
    rig.submit(4, 1);
    rig.ask(completion(first, 1));
    assert_eq!(rig.assigned(), [(1, attempt(job_id(3, 1), 1))]);
    let positions: Vec<_> = [2, 4]
        .map(|n| rig.view(job_id(n, 1), 1).queue_position)
        .into();
    assert_eq!(
        positions
            .iter()
            .copied()
            .collect::<std::collections::BTreeSet<_>>(),
        [Some(1), Some(2)].into()
    );
}
