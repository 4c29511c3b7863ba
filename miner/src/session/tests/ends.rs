//! Results, lost connections, drains, deadlines.

use aitbc_common::layouts::{Outcome, Receipt};
use aitbc_proto::v1::{ErrorReason, FailureReason, GoingAway, RequestError, ResumeAction};

use super::*;
use crate::session::Notice;

#[test]
fn an_acknowledged_result_is_forgotten_and_never_run_again() {
    let mut rig = Rig::open(1);
    let record = rig.finish_job(key(1, 1));
    let receipt = record.receipt().unwrap();
    assert!(receipt.verify(&miner().public(), &record.complete.signature));
    assert_eq!(
        (receipt.outcome, receipt.work_ms, receipt.output_len),
        (Outcome::Complete, 2140, 6)
    );
    assert_eq!(receipt.engine_hash, sha256(b"ollama/0.17.4"));
    assert_eq!(receipt.result_hash, sha256(&record.result));
    rig.down(Down::Ack(ack(key(1, 1))));
    assert!(
        matches!(rig.actions.iter().rev().nth(2), Some(Action::Forget(forgotten)) if *forgotten == key(1, 1))
    );
    rig.sent();
    rig.down(Down::Assign(assign(key(1, 1))));
    assert_eq!(rig.started(), [key(1, 1)]);
    assert!(rig.sent().is_empty());
}

#[test]
fn a_refusal_that_may_pass_is_tried_again_and_another_is_final() {
    let mut rig = Rig::open(1);
    rig.finish_job(key(1, 1));
    let completes = |rig: &mut Rig| {
        rig.sent()
            .iter()
            .filter(|up| matches!(up, Up::Complete(_)))
            .count()
    };
    assert_eq!(completes(&mut rig), 1);
    let refuse = |reason: ErrorReason| {
        let error = RequestError {
            code: 14,
            reason: reason as i32,
            message: "no".to_owned(),
            retry_after: None,
        };
        Down::Ack(Ack {
            error: Some(error),
            ..ack(key(1, 1))
        })
    };
    rig.down(refuse(ErrorReason::Unavailable));
    assert_eq!(completes(&mut rig), 0);
    rig.pass(Duration::from_secs(1));
    assert_eq!(completes(&mut rig), 1);
    rig.down(refuse(ErrorReason::StaleAttempt));
    assert_eq!(rig.core.unacknowledged(), 0);
    assert!(
        rig.actions
            .iter()
            .any(|a| matches!(a, Action::Notice(Notice::Refused { .. })))
    );
}

#[test]
fn a_result_that_cannot_be_kept_fails_as_the_miners() {
    let mut rig = Rig::open(1);
    rig.down(Down::Assign(assign(key(1, 1))));
    rig.output(key(1, 1), "Hello!", 2);
    rig.handle(Event::Finished {
        key: key(1, 1),
        result: result("Hello!"),
    });
    rig.sent();
    rig.handle(Event::NotStored {
        key: key(1, 1),
        message: "no space left on device".to_owned(),
    });
    let sent = rig.sent();
    let Up::Fail(fail) = &sent[0] else {
        panic!("{sent:?}")
    };
    assert_eq!(
        fail.failure.as_ref().unwrap().reason(),
        FailureReason::Operator
    );
    assert!(!sent.iter().any(|up| matches!(up, Up::Complete(_))));
}

#[test]
fn a_coordinator_that_may_have_restarted_is_told_since_when_a_run_goes_on() {
    let mut rig = Rig::open(1);
    rig.down(Down::Assign(assign(key(1, 1))));
    rig.pass(Duration::from_secs(3));
    rig.output(key(1, 1), "Hello", 1);
    rig.pass(Duration::from_secs(2));
    rig.handle(Event::Disconnected {
        reason: ErrorReason::Unspecified,
        message: String::new(),
        retry_after: None,
    });
    rig.pass(Duration::from_secs(4));
    rig.actions.clear();
    let hello = rig.connect(vec![]);
    let ago = |ago: &Option<prost_types::Duration>| ago.map(|ago| ago.seconds);
    let running = &hello.running[0];
    assert_eq!(
        (ago(&running.accepted_ago), ago(&running.first_output_ago)),
        (Some(9), Some(6))
    );
}

#[test]
fn after_a_restart_spooled_results_are_delivered_or_abandoned() {
    let record = Rig::open(1).finish_job(key(1, 1));
    let other = Rig::open(1).finish_job(key(2, 1));
    let mut rig = Rig::new(config(), 1, vec![record, other]);
    let answer = |key: AttemptKey, action: ResumeAction, offset: u64| ResumeAttempt {
        job_id: key.job.to_string(),
        attempt: u32::from(key.attempt),
        action: action as i32,
        output_offset: offset,
        result_offset: 0,
    };
    let hello = rig.connect(vec![
        answer(key(1, 1), ResumeAction::Continue, 4),
        answer(key(2, 1), ResumeAction::Abandon, 0),
    ]);
    assert_eq!((hello.running.len(), hello.spooled.len()), (0, 2));
    let sent = rig.sent();
    let output = sent
        .iter()
        .find_map(|up| {
            if let Up::Output(part) = up {
                Some(part.clone())
            } else {
                None
            }
        })
        .unwrap();
    assert_eq!((output.offset, &output.data[..]), (4, &b"o!"[..]));
    assert_eq!(
        sent.iter()
            .filter(|up| matches!(up, Up::Complete(_)))
            .count(),
        1
    );
    assert!(rig.actions.iter().any(|action| matches!(
        action,
        Action::Notice(Notice::NotWanted { key: gone, reason })
            if *gone == key(2, 1) && reason.starts_with("it was recorded before")
    )));
    assert!(
        rig.actions
            .iter()
            .any(|a| matches!(a, Action::Forget(gone) if *gone == key(2, 1)))
    );
}

#[test]
fn running_attempts_survive_a_lost_connection() {
    let mut rig = Rig::open(1);
    rig.down(Down::Assign(assign(key(1, 1))));
    rig.output(key(1, 1), "abc", 1);
    rig.sent();
    rig.handle(Event::Disconnected {
        reason: ErrorReason::Unspecified,
        message: String::new(),
        retry_after: None,
    });
    assert!(matches!(
        rig.actions.back(),
        Some(Action::Close {
            retry_after: None,
            ..
        })
    ));
    rig.output(key(1, 1), "def", 2);
    assert!(rig.sent().is_empty());
    let hello = rig.connect(vec![ResumeAttempt {
        job_id: key(1, 1).job.to_string(),
        attempt: 1,
        action: ResumeAction::Continue as i32,
        output_offset: 2,
        result_offset: 0,
    }]);
    assert_eq!(hello.running[0].output_bytes, 6);
    let parts: Vec<_> = rig
        .sent()
        .into_iter()
        .filter_map(|up| {
            if let Up::Output(p) = up {
                Some(p)
            } else {
                None
            }
        })
        .collect();
    assert_eq!(
        (parts.len(), parts[0].offset, &parts[0].data[..]),
        (1, 2, &b"cdef"[..])
    );
    assert!(rig.stopped().is_empty());
}

#[test]
fn another_live_session_ends_it_but_ones_own_former_one_does_not() {
    let refusal = || {
        Down::GoingAway(GoingAway {
            reason: ErrorReason::SessionExists as i32,
            message: "since 10:00:00Z from 127.0.0.1:4000".to_owned(),
            retry_after: None,
        })
    };
    let mut rig = Rig::new(config(), 1, Vec::new());
    rig.handle(Event::Connected);
    rig.down(refusal());
    assert!(
        matches!(&ends(&rig)[..], [End::SessionExists { message }] if message.contains("10:00:00Z"))
    );

    let mut rig = Rig::open(1);
    rig.handle(Event::Disconnected {
        reason: ErrorReason::Unspecified,
        message: String::new(),
        retry_after: None,
    });
    rig.pass(Duration::from_secs(5));
    rig.handle(Event::Connected);
    rig.down(refusal());
    assert!(ends(&rig).is_empty(), "the coordinator has not noticed yet");
    rig.pass(Duration::from_secs(60));
    rig.handle(Event::Connected);
    rig.down(refusal());
    assert_eq!(ends(&rig).len(), 1);

    let mut rig = Rig::open(1);
    rig.down(refusal());
    assert_eq!(ends(&rig).len(), 1, "taken over");
}

#[test]
fn a_lost_welcome_may_have_opened_a_session_that_is_ones_own() {
    let greet = |rig: &mut Rig| {
        rig.handle(Event::Connected);
        rig.down(Down::Challenge(Challenge {
            challenge: Bytes::from_static(&[8; 32]),
            chain_id: Bytes::from_static(&CHAIN),
        }));
        assert!(matches!(rig.sent()[..], [Up::Hello(_)]));
    };
    let refusal = || {
        Down::GoingAway(GoingAway {
            reason: ErrorReason::SessionExists as i32,
            message: "since 10:00:00Z from 127.0.0.1:4000".to_owned(),
            retry_after: None,
        })
    };
    let mut rig = Rig::new(config(), 1, Vec::new());
    greet(&mut rig);
    rig.handle(Event::Disconnected {
        reason: ErrorReason::Unspecified,
        message: String::new(),
        retry_after: None,
    });
    for _ in 0..6 {
        greet(&mut rig);
        rig.down(refusal());
        assert!(ends(&rig).is_empty(), "the coordinator has not noticed yet");
        rig.pass(Duration::from_secs(10));
    }
    greet(&mut rig);
    rig.down(refusal());
    assert_eq!(ends(&rig).len(), 1, "it is somebody else's");

    let mut rig = Rig::new(config(), 1, Vec::new());
    greet(&mut rig);
    rig.down(refusal());
    assert_eq!(ends(&rig).len(), 1, "the first answer to Hello says so");
}

#[test]
fn a_drain_waits_for_what_runs_and_takes_nothing_new() {
    let mut rig = Rig::open(2);
    rig.down(Down::Assign(assign(key(1, 1))));
    rig.sent();
    rig.handle(Event::Drain);
    assert!(matches!(rig.sent()[..], [Up::Drain(_)]));
    rig.down(Down::Assign(assign(key(2, 1))));
    assert_eq!(rejects(&rig.sent()), [FailureReason::Returned]);
    rig.output(key(1, 1), "Hello!", 2);
    rig.handle(Event::Finished {
        key: key(1, 1),
        result: result("Hello!"),
    });
    rig.store();
    assert!(ends(&rig).is_empty());
    rig.down(Down::Ack(ack(key(1, 1))));
    assert_eq!(ends(&rig), [End::Drained]);
}

#[test]
fn a_drain_gives_jobs_back_after_30_seconds() {
    let mut rig = Rig::open(1);
    rig.down(Down::Assign(assign(key(1, 1))));
    rig.handle(Event::Drain);
    rig.sent();
    for sequence in 2..4 {
        rig.pass(Duration::from_secs(10));
        echo(&mut rig, sequence);
    }
    rig.pass(Duration::from_millis(9_999));
    assert!(rig.stopped().is_empty());
    rig.pass(Duration::from_millis(1));
    assert_eq!(rig.stopped(), [key(1, 1)]);
    let sent = rig.sent();
    assert!(sent.iter().any(|up| matches!(up, Up::Fail(fail) if fail.failure.as_ref().unwrap().reason() == FailureReason::Returned)));
    rig.pass(Duration::from_secs(2));
    assert_eq!(ends(&rig), [End::Drained]);
}

#[test]
fn with_a_job_limit_it_ends_after_that_many() {
    let mut rig = Rig::open_with(
        CoreConfig {
            job_limit: Some(1),
            ..config()
        },
        4,
    );
    rig.finish_job(key(1, 1));
    rig.sent();
    rig.down(Down::Assign(assign(key(2, 1))));
    assert_eq!(rejects(&rig.sent()), [FailureReason::Busy]);
    rig.down(Down::Ack(ack(key(1, 1))));
    assert_eq!(ends(&rig), [End::JobsDone { failed: 0 }]);
}

#[test]
fn the_deadline_holds_here_too_and_the_receipt_says_so() {
    let mut rig = Rig::open(1);
    let mut short = assign(key(1, 1));
    short.time_left = Some(prost_types::Duration {
        seconds: 5,
        nanos: 0,
    });
    rig.down(Down::Assign(short));
    rig.output(key(1, 1), "Hel", 1);
    rig.pass(Duration::from_secs(5));
    assert_eq!(rig.stopped(), [key(1, 1)]);
    let record = rig.store().remove(0);
    assert_eq!(record.receipt().unwrap().outcome, Outcome::Deadline);
    assert!(String::from_utf8_lossy(&record.result).contains(r#""finish_reason":"length""#));
}

#[test]
fn a_budget_ends_a_run_and_a_renewed_assignment_is_what_the_receipt_names() {
    let mut rig = Rig::open(1);
    let limited = |issued_ms: u64, budget_ms: u64| {
        assign_with(key(1, 1), move |assignment, _| {
            (assignment.issued_ms, assignment.budget_ms) = (issued_ms, budget_ms);
        })
    };
    rig.down(Down::Assign(limited(1_000, 2_000)));
    rig.output(key(1, 1), "Hel", 1);
    rig.pass(Duration::from_secs(1));
    let renewed = limited(2_000, 4_000);
    rig.down(Down::Assign(renewed.clone()));
    rig.down(Down::Assign(limited(1_000, 2_000)));
    rig.pass(Duration::from_secs(2));
    assert!(rig.stopped().is_empty(), "the raised budget holds");
    rig.pass(Duration::from_secs(1));
    let receipt = rig.store().remove(0).receipt().unwrap();
    assert_eq!((receipt.outcome, receipt.work_ms), (Outcome::Budget, 4_000));
    let id = Assignment::decode(&renewed.assignment)
        .unwrap()
        .id(&renewed.assignment_signature);
    assert_eq!(receipt.assignment_hash, id);
    assert_eq!(Receipt::LEN, 392);
}

#[test]
fn hostile_messages_change_nothing() {
    let mut rig = Rig::open(1);
    let mut nameless = assign(key(1, 1));
    nameless.job_id = "job_x".to_owned();
    rig.down(Down::Assign(nameless));
    let mut zero = assign(key(1, 1));
    zero.attempt = 0;
    rig.down(Down::Assign(zero));
    let mut huge = assign(key(1, 1));
    huge.attempt = 70_000;
    rig.down(Down::Assign(huge));
    let mut short = assign(key(1, 1));
    short.assignment = vec![1; 209].into();
    rig.down(Down::Assign(short));
    rig.down(Down::Ack(ack(key(9, 9))));
    rig.handle(Event::Message(CoordinatorMessage { message: None }));
    assert!(rig.started().is_empty());
    assert_eq!(rejects(&rig.sent()), [FailureReason::Operator]);
}

#[test]
fn a_coordinator_that_asks_without_reading_is_left() {
    let mut rig = Rig::open(1);
    for _ in 0..5_000 {
        rig.down(Down::Assign(assign_with(key(1, 1), |assignment, _| {
            assignment.chain_id = [0; 32]
        })));
        if !rig.core.is_open() {
            return;
        }
    }
    panic!("unbounded");
}
