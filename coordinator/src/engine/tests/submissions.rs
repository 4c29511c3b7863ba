//! Submissions: idempotency, admission, and the lease that a submission may bring at once.

use super::*;

fn submitted(reply: Reply) -> Submitted {
    match reply {
        Reply::Submitted(submitted) => *submitted,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_repeated_submission_answers_with_the_same_job() {
    let mut rig = Rig::new();
    let first = submitted(rig.ask(Command::Submit(Box::new(submission(1, 1)))));
    let again = Submission {
        job_id: job_id(9, 1),
        ..submission(1, 1)
    };
    let second = submitted(rig.ask(Command::Submit(Box::new(again.clone()))));
    assert_eq!(first.view.row.id(), second.view.row.id());
    assert_eq!(rig.core.live_jobs(), 1);
    rig.restart();
    rig.now += 23 * 3_600_000;
    let third = submitted(rig.ask(Command::Submit(Box::new(again))));
    assert_eq!(
        third.view.row.id(),
        first.view.row.id(),
        "for 24 hours, over midnight and restarts"
    );
}

#[test]
fn a_retry_and_a_submission_may_have_the_same_request_id() {
    let mut rig = Rig::new();
    let first = rig.submit(1, 1);
    let retry = Submission {
        job_id: job_id(9, 1),
        body_hash: [9; 32],
        retry_of: Some(first),
        ..submission(1, 1)
    };
    for _twice in 0..2 {
        let retried = submitted(rig.ask(Command::Submit(Box::new(retry.clone()))));
        assert_eq!(retried.view.row.id(), job_id(9, 1));
        assert_eq!(rig.submit(1, 1), first);
        rig.restart();
    }
}

#[test]
fn a_request_id_is_free_again_after_a_day() {
    let mut rig = Rig::new();
    rig.submit(1, 1);
    rig.now += 24 * 3_600_000 + 1;
    let again = Submission {
        job_id: job_id(9, 1),
        ..submission(1, 1)
    };
    assert_eq!(
        submitted(rig.ask(Command::Submit(Box::new(again))))
            .view
            .row
            .id(),
        job_id(9, 1)
    );
}

#[test]
fn a_submission_repeated_in_one_batch_makes_one_job() {
    let mut rig = Rig::new();
    let again = Submission {
        job_id: job_id(9, 1),
        ..submission(1, 1)
    };
    let replies = rig.batch(vec![
        Command::Submit(Box::new(submission(1, 1))),
        Command::Submit(Box::new(again)),
    ]);
    let ids: Vec<_> = replies
        .into_iter()
        .map(|reply| submitted(reply).view.row.id())
        .collect();
    assert_eq!(ids, [job_id(1, 1); 2]);
}

#[test]
fn another_body_under_the_same_request_id_is_refused() {
    let mut rig = Rig::new();
    rig.submit(1, 1);
    let other = Submission {
        job_id: job_id(2, 1),
        body_hash: [9; 32],
        ..submission(1, 1)
    };
    let reply = rig.ask(Command::Submit(Box::new(other)));
    assert_eq!(refusal(&reply), Some(ErrorReason::RequestIdReused));
    let foreign = Submission {
        request_id: submission(1, 1).request_id,
        ..submission(3, 2)
    };
    submitted(rig.ask(Command::Submit(Box::new(foreign))));
    assert_eq!(
        rig.core.live_jobs(),
        2,
        "another identity's request ids are its own"
    );
}

#[test]
fn a_submission_is_leased_in_its_own_batch() {
    let mut rig = Rig::new();
    rig.miner(1, 1);
    let commits = rig.commits;
    let job = rig.submit(1, 1);
    assert_eq!(rig.commits, commits + 1);
    assert_eq!(rig.assigned(), [(1, attempt(job, 1))]);
    let view = rig.view(job, 1);
    assert!(
        view.row.leased && view.status == JobStatus::Queued,
        "a lease shows as queued"
    );
}

#[test]
fn each_identity_has_its_own_bound() {
    let mut rig = Rig::with(|config| config.jobs_per_identity = 2);
    rig.miner(1, 1);
    let job = rig.submit(1, 1);
    rig.submit(2, 1);
    let reply = rig.ask(Command::Submit(Box::new(submission(3, 1))));
    let Reply::Refused(error) = &reply else {
        panic!("{reply:?}")
    };
    assert_eq!(error.reason, ErrorReason::RateLimited);
    assert!(error.retry_after.is_some());
    rig.submit(4, 2);
    let repeated = rig.ask(Command::Submit(Box::new(submission(2, 1))));
    submitted(repeated);
    rig.ask(completion(attempt(job, 1), 1));
    rig.submit(3, 1);
}

/// Job `n` of owner 1 with a highest price of its own.
fn priced(n: u16) -> Submission {
    let mut priced = submission(1, 1);
    let [high, low] = n.to_be_bytes();
    priced.job_id = JobId::new(
        START,
        shard_of(&owner(1)),
        [1, 1, 1, 1, 1, 1, 1, 1, high, low],
    );
    priced.request_id = format!("priced {n}");
    priced.spec.max_rate = 1_000_000 + u64::from(n);
    priced
}

#[test]
fn an_identity_may_ask_for_only_so_many_different_things_at_once() {
    let mut rig = Rig::new();
    for n in 0..256 {
        submitted(rig.ask(Command::Submit(Box::new(priced(n)))));
    }
    let one_more = |rig: &mut Rig| rig.ask(Command::Submit(Box::new(priced(256))));
    let Reply::Refused(error) = one_more(&mut rig) else {
        panic!("not refused")
    };
    assert_eq!(error.code, tonic::Code::ResourceExhausted);
    assert!(error.retry_after.is_some() && error.message.contains("--max-price"));
    let alike = Submission {
        spec: priced(7).spec,
        ..priced(300)
    };
    submitted(rig.ask(Command::Submit(Box::new(alike))));
    rig.submit(1, 2);
    rig.restart();
    assert_eq!(rig.core.live_jobs(), 258, "all that was stored is there");
    assert!(refusal(&one_more(&mut rig)).is_some());
    let cancelled = Command::Cancel {
        owner: owner(1),
        job: JobSelector::Id(priced(9).job_id),
    };
    rig.ask(cancelled);
    submitted(one_more(&mut rig));
}

#[test]
fn without_room_only_submissions_are_refused() {
    let mut rig = Rig::new();
    rig.miner(1, 1);
    let job = rig.submit(1, 1);
    rig.core.set_has_room(false);
    let reply = rig.ask(Command::Submit(Box::new(submission(2, 1))));
    assert_eq!(refusal(&reply), Some(ErrorReason::StorageFull));
    assert!(matches!(
        rig.ask(completion(attempt(job, 1), 1)),
        Reply::Completed(JobStatus::Completed)
    ));
}

#[test]
fn a_job_that_nobody_could_run_is_taken_with_a_warning_or_refused_on_request() {
    let mut rig = Rig::new();
    let warned = |rig: &mut Rig, n| {
        let submitted = submitted(rig.ask(Command::Submit(Box::new(submission(n, 1)))));
        submitted.warnings.first().map(|warning| warning.reason())
    };
    assert_eq!(warned(&mut rig, 1), Some(ErrorReason::UnknownModel));
    let strict = Submission {
        require_miner: true,
        ..submission(2, 1)
    };
    let reply = rig.ask(Command::Submit(Box::new(strict.clone())));
    assert_eq!(refusal(&reply), Some(ErrorReason::NoMatchingMiner));
    // Who declared no models promised none, whatever it may take by polling.
    rig.ask(Command::Register {
        key: miner_key(2),
        new_id: miner_id(2),
        change: Box::default(),
    });
    assert_eq!(warned(&mut rig, 4), Some(ErrorReason::UnknownModel));
    let reply = rig.ask(Command::Submit(Box::new(strict.clone())));
    assert_eq!(refusal(&reply), Some(ErrorReason::NoMatchingMiner));
    rig.register(1, 1);
    assert_eq!(
        warned(&mut rig, 3),
        None,
        "a miner that is away may come back"
    );
    let mut pinned = Submission {
        request_id: "pinned".into(),
        ..strict.clone()
    };
    pinned.spec.model_digest = [9; 32];
    let reply = rig.ask(Command::Submit(Box::new(pinned)));
    assert_eq!(refusal(&reply), Some(ErrorReason::NoMatchingMiner));
    let taken = submitted(rig.ask(Command::Submit(Box::new(strict))));
    assert_eq!((taken.known_miners, taken.away_miners), (2, 2));
}

#[test]
fn paused_and_draining_miners_get_nothing_new() {
    let mut rig = Rig::new();
    rig.miner(1, 1);
    let pause = |paused| Command::Update {
        key: miner_key(1),
        change: Box::new(MinerChange {
            paused: Some(paused),
            ..Default::default()
        }),
    };
    rig.ask(pause(true));
    let first = rig.submit(1, 1);
    assert!(rig.assigned().is_empty());
    let poll = Command::Poll {
        miner_key: miner_key(1),
        lease_ms: 600_000,
        request_id: String::new(),
    };
    assert_eq!(refusal(&rig.ask(poll)), Some(ErrorReason::MinerPaused));
    rig.ask(pause(false));
    assert_eq!(rig.assigned(), [(1, attempt(first, 1))]);
    rig.accept(1, attempt(first, 1));
    rig.ask(Command::Drain { session: 1 });
    rig.submit(2, 1);
    rig.ask(completion(attempt(first, 1), 1));
    assert!(rig.assigned().is_empty());
    assert_eq!(rig.status(first, 1), JobStatus::Completed);
}
