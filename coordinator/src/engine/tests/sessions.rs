//! Sessions: rivals, takeover, reconnecting, leaving.

use super::*;

fn running() -> (Rig, AttemptId) {
    let mut rig = Rig::new();
    rig.miner(1, 1);
    let job = rig.submit(1, 1);
    rig.assigned();
    rig.accept(1, attempt(job, 1));
    (rig, attempt(job, 1))
}

fn takeover(rig: &mut Rig, session: SessionId) -> Reply {
    rig.ask(Command::OpenSession {
        session,
        key: miner_key(1),
        miner_id: miner_id(1),
        peer: "elsewhere".into(),
        takeover: true,
        running: vec![],
        spooled: vec![],
    })
}

fn abandoned(reply: &Reply) -> Vec<AttemptId> {
    let Reply::SessionOpened(resumes) = reply else {
        panic!("{reply:?}")
    };
    let abandoned = resumes.iter().filter_map(|resume| match resume {
        Resume::Abandon(attempt) => Some(*attempt),
        Resume::Continue(_) => None,
    });
    abandoned.collect()
}

fn continued(reply: &Reply) -> Vec<AttemptId> {
    let Reply::SessionOpened(resumes) = reply else {
        panic!("{reply:?}")
    };
    let continued = resumes.iter().filter_map(|resume| match resume {
        Resume::Continue(info) => Some(info.attempt),
        Resume::Abandon(_) => None,
    });
    continued.collect()
}

#[test]
fn a_second_session_is_refused_with_since_when_and_from_where() {
    let (mut rig, _) = running();
    let reply = rig.open(1, 7, vec![], vec![]);
    let Reply::Refused(error) = reply else {
        panic!("{reply:?}")
    };
    assert_eq!(error.reason, ErrorReason::SessionExists);
    assert!(
        error.message.contains("peer 1") && error.message.contains("2026-01-01T00:00:00Z"),
        "{}",
        error.message
    );
    assert!(rig.ended().is_empty());
}

#[test]
fn a_takeover_ends_the_first_session_whose_words_no_longer_count() {
    let (mut rig, first) = running();
    assert!(matches!(takeover(&mut rig, 7), Reply::SessionOpened(_)));
    assert_eq!(rig.ended(), [(1, ErrorReason::SessionExists)]);
    rig.inventory(1, 9);
    rig.heartbeat(1, &[first], 9);
    rig.ask(Command::CloseSession { session: 1 });
    assert_eq!(
        rig.view(first.job_id, 1).row.retries_spent,
        1,
        "the new session does not have it"
    );
    rig.inventory(7, 1);
    let next = rig.submit(2, 1);
    assert_eq!(rig.assigned(), [(7, attempt(next, 1))]);
}

#[test]
fn only_the_registered_key_opens_a_session() {
    let mut rig = Rig::new();
    assert_eq!(
        refusal(&rig.open(1, 1, vec![], vec![])),
        Some(ErrorReason::MinerNotRegistered)
    );
    rig.register(1, 1);
    let foreign = Command::OpenSession {
        session: 1,
        key: miner_key(2),
        miner_id: miner_id(1),
        peer: String::new(),
        takeover: true,
        running: vec![],
        spooled: vec![],
    };
    assert_eq!(
        refusal(&rig.ask(foreign)),
        Some(ErrorReason::MinerNotRegistered)
    );
}

#[test]
fn a_reconnect_goes_on_where_the_job_is_still_there_and_abandons_the_rest() {
    let (mut rig, first) = running();
    rig.ask(Command::CloseSession { session: 1 });
    rig.wait(20_000);
    let unknown = attempt(job_id(77, 1), 1);
    let old = attempt(first.job_id, 9);
    let named = [unknown, first, old]
        .map(|attempt| held(attempt, 5))
        .to_vec();
    let reply = rig.open(1, 2, named, vec![held(unknown, 0)]);
    assert_eq!(continued(&reply), [first]);
    assert_eq!(abandoned(&reply), [unknown, old, unknown]);
    rig.wait(LEASE_MS - 1);
    assert_eq!(
        rig.status(first.job_id, 1),
        JobStatus::Processing,
        "its lease begins anew"
    );
}

#[test]
fn naming_an_attempt_accepts_it_when_the_accept_was_lost() {
    let mut rig = Rig::new();
    rig.miner(1, 1);
    let first = attempt(rig.submit(1, 1), 1);
    rig.ask(Command::CloseSession { session: 1 });
    rig.open(1, 2, vec![held(first, 0)], vec![]);
    assert_eq!(rig.status(first.job_id, 1), JobStatus::Processing);
    rig.wait(LEASE_MS - 1);
    assert_eq!(rig.view(first.job_id, 1).row.attempt, 1);
}

#[test]
fn an_attempt_that_a_reconnecting_miner_does_not_name_is_over_at_once() {
    for (accepted, retries_spent) in [(false, 0), (true, 1)] {
        let mut rig = Rig::new();
        rig.miner(1, 1);
        let first = attempt(rig.submit(1, 1), 1);
        if accepted {
            rig.accept(1, first);
        }
        rig.ask(Command::CloseSession { session: 1 });
        rig.open(1, 2, vec![], vec![]);
        let row = rig.view(first.job_id, 1).row;
        assert_eq!((row.leased, row.retries_spent), (false, retries_spent));
    }
}

#[test]
fn a_polled_attempt_needs_no_session_to_name_it() {
    let mut rig = Rig::new();
    rig.register(1, 2);
    let job = rig.submit(1, 1);
    rig.ask(Command::Poll {
        miner_key: miner_key(1),
        lease_ms: 600_000,
        request_id: String::new(),
    });
    rig.open(1, 1, vec![], vec![]);
    rig.inventory(1, 2);
    assert_eq!(rig.status(job, 1), JobStatus::Processing);
    let next = [rig.submit(2, 1), rig.submit(3, 1)];
    assert_eq!(
        rig.assigned(),
        [(1, attempt(next[0], 1))],
        "it takes a slot"
    );
}

#[test]
fn a_closed_session_gets_no_jobs_and_its_leases_run_on() {
    let (mut rig, first) = running();
    rig.ask(Command::CloseSession { session: 1 });
    rig.submit(2, 1);
    rig.wait(LEASE_MS - 1);
    assert!(rig.assigned().is_empty());
    assert_eq!(rig.status(first.job_id, 1), JobStatus::Processing);
    assert!(
        matches!(rig.ask(completion(first, 1)), Reply::Completed(_)),
        "by whatever way it arrives"
    );
}

#[test]
fn a_busy_miner_is_not_deregistered_and_an_idle_one_is_for_good() {
    let (mut rig, first) = running();
    let deregister = |n| Command::Deregister {
        key: miner_key(n),
        miner_id: miner_id(n),
    };
    let Reply::Refused(error) = rig.ask(deregister(1)) else {
        panic!("a job runs there")
    };
    assert_eq!(error.reason, ErrorReason::MinerBusy);
    let one = error.message.starts_with("1 job runs on this miner");
    assert!(one, "{}", error.message);
    rig.ask(completion(first, 1));
    let foreign = Command::Deregister {
        key: miner_key(1),
        miner_id: miner_id(2),
    };
    assert_eq!(refusal(&rig.ask(foreign)), Some(ErrorReason::MinerNotFound));
    for _ in 0..2 {
        assert!(matches!(rig.ask(deregister(1)), Reply::Done));
    }
    assert_eq!(rig.ended(), [(1, ErrorReason::MinerNotRegistered)]);
    rig.submit(2, 1);
    assert!(rig.assigned().is_empty());
    rig.restart();
    let asked = rig.ask(Command::GetMiner {
        miner_id: Some(miner_id(1)),
        caller: owner(1),
    });
    assert_eq!(refusal(&asked), Some(ErrorReason::MinerNotFound));
}

#[test]
fn registering_again_changes_the_same_miner() {
    let mut rig = Rig::new();
    rig.register(1, 1);
    let change = Box::new(MinerChange {
        price: Some(5),
        ..Default::default()
    });
    let reply = rig.ask(Command::Register {
        key: miner_key(1),
        new_id: miner_id(9),
        change,
    });
    let Reply::Registered(miner, created, previous) = reply else {
        panic!("{reply:?}")
    };
    assert_eq!(
        (miner.miner_id, created, previous),
        (miner_id(1).to_string(), false, Some(0))
    );
    let foreign = Command::Update {
        key: miner_key(2),
        change: Box::default(),
    };
    assert_eq!(
        refusal(&rig.ask(foreign)),
        Some(ErrorReason::MinerNotRegistered)
    );
}
