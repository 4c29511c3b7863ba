//! A foreign id answers as an unknown one does, also beside the owner's own commands in one batch.

use aitbc_common::layouts::Verdict;

use super::*;

fn asks(by: u8, job: JobId) -> Vec<Command> {
    let (owner, job) = (owner(by), JobSelector::Id(job));
    vec![
        Command::GetJob { owner, job },
        Command::Cancel { owner, job },
        Command::Delete { owner, job },
        super::acknowledgements::acknowledgement(job, owner, Verdict::Matches, [0; 32]),
        Command::Explain {
            owner,
            subject: ExplainSubject::Job(job),
        },
    ]
}

fn assert_unknown(replies: &[Reply]) {
    for reply in replies {
        assert_eq!(refusal(reply), Some(ErrorReason::JobNotFound), "{reply:?}");
    }
}

#[test]
fn foreign_and_unknown_ids_get_the_same_answer() {
    let mut rig = Rig::new();
    rig.miner(1, 1);
    let job = rig.submit(1, 1);
    let foreign = rig.batch(asks(2, job));
    assert_unknown(&foreign);
    let unknown = rig.batch(asks(2, job_id(9, 2)));
    assert_unknown(&unknown);
    let text = |replies: &[Reply], id: JobId| format!("{replies:?}").replace(&id.to_string(), "ID");
    assert_eq!(text(&foreign, job), text(&unknown, job_id(9, 2)));
    rig.ask(completion(attempt(job, 1), 1));
    assert_unknown(&rig.batch(asks(2, job)));
    assert_eq!(rig.status(job, 1), JobStatus::Completed);
}

#[test]
fn a_foreign_caller_in_the_same_batch_neither_sees_nor_disturbs_a_job() {
    let mut rig = Rig::new();
    rig.miner(1, 1);
    let mut commands = vec![Command::Submit(Box::new(submission(1, 1)))];
    commands.extend(asks(2, job_id(1, 1)));
    assert_unknown(&rig.batch(commands)[1..]);
    let first = attempt(job_id(1, 1), 1);
    let mut commands = vec![completion(first, 1)];
    commands.extend(asks(2, first.job_id));
    assert_unknown(&rig.batch(commands)[1..]);
    let row = rig.view(first.job_id, 1).row;
    assert!(!row.content_deleted && row.delivery.is_some());
}

#[test]
fn last_means_the_callers_newest_job() {
    let mut rig = Rig::new();
    rig.miner(1, 1);
    let last = |by| Command::GetJob {
        owner: owner(by),
        job: JobSelector::Last,
    };
    assert_eq!(refusal(&rig.ask(last(1))), Some(ErrorReason::JobNotFound));
    let first = rig.submit(1, 1);
    rig.submit(2, 2);
    let replies = rig.batch(vec![completion(attempt(first, 1), 1), last(1)]);
    assert!(
        matches!(&replies[1], Reply::Job(view) if view.row.id() == first),
        "final in this very batch"
    );
    let reply = rig.ask(last(1));
    assert!(matches!(&reply, Reply::Job(view) if view.row.id() == first));
    let newest = rig.submit(3, 1);
    let reply = rig.ask(last(1));
    assert!(matches!(&reply, Reply::Job(view) if view.row.id() == newest));
}

#[test]
fn only_the_holder_learns_what_an_attempt_is_verified_against() {
    let mut rig = Rig::new();
    rig.miner(1, 1);
    rig.register(2, 1);
    let first = attempt(rig.submit(1, 1), 1);
    let get = |n| get_attempt(first, n);
    assert!(matches!(rig.ask(get(1)), Reply::AttemptInfo(_)));
    for n in [2, 3] {
        assert_eq!(refusal(&rig.ask(get(n))), Some(ErrorReason::StaleAttempt));
    }
    assert_eq!(
        refusal(&rig.ask(completion(first, 3))),
        Some(ErrorReason::MinerNotRegistered)
    );
}
