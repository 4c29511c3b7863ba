//! Paid jobs: budgets that are raised, and receipts for work that was stopped.

use aitbc_common::layouts::{Outcome, Receipt, locks_hash};
use aitbc_common::price::budget_ms;
use aitbc_proto::v1::Renew;

use super::*;

const RATE: u64 = 360_000;

fn pay(assignment: &mut Assignment, locked: u64) {
    assignment.rate = RATE;
    assignment.locked = locked;
    assignment.budget_ms = budget_ms(locked, RATE);
    assignment.locks_hash = locks_hash(&[[1; 32]]);
}

/// 1,000 micro-AIT are locked: 10 s.
fn paid(key: AttemptKey) -> Assign {
    assign_with(key, |assignment, _| pay(assignment, 1_000))
}

fn renew(key: AttemptKey, change: impl FnOnce(&mut Assignment)) -> Renew {
    let raised = assign_with(key, |assignment, _| {
        pay(assignment, 2_000);
        (assignment.flags, assignment.issued_ms) = (1, 2_000);
        change(assignment);
    });
    Renew {
        job_id: raised.job_id,
        attempt: raised.attempt,
        assignment: raised.assignment,
        assignment_signature: raised.assignment_signature,
    }
}

fn stop(key: AttemptKey, output_bytes: u64) -> Down {
    Down::Cancel(Cancel {
        job_id: key.job.to_string(),
        attempt: u32::from(key.attempt),
        status: JobStatus::Cancelled as i32,
        receipt_wanted: true,
        output_bytes,
    })
}

fn receipts(sent: &[Up]) -> Vec<Receipt> {
    let receipt = |up: &Up| match up {
        Up::Complete(complete) => Receipt::decode(&complete.receipt).ok(),
        _ => None,
    };
    sent.iter().filter_map(receipt).collect()
}

#[test]
fn a_run_stops_when_its_budget_is_used_up() {
    let mut rig = Rig::open(1);
    rig.down(Down::Assign(paid(key(1, 1))));
    rig.pass(Duration::from_secs(60));
    assert!(rig.stopped().is_empty(), "loading the model is not work");
    rig.output(key(1, 1), "Hel", 1);
    rig.pass(Duration::from_millis(9_999));
    assert!(rig.stopped().is_empty());
    rig.pass(Duration::from_millis(1));
    assert_eq!(rig.stopped(), [key(1, 1)]);
    let record = rig.store().remove(0);
    let receipt = record.receipt().unwrap();
    assert_eq!(
        (receipt.outcome, receipt.work_ms),
        (Outcome::Budget, 10_000)
    );
    assert!(String::from_utf8_lossy(&record.result).contains(r#""finish_reason":"budget""#));
}

#[test]
fn a_raised_budget_holds_and_the_receipt_names_it() {
    let mut rig = Rig::open(1);
    rig.down(Down::Assign(paid(key(1, 1))));
    rig.output(key(1, 1), "Hel", 1);
    let raised = renew(key(1, 1), |_| {});
    rig.down(Down::Renew(raised.clone()));
    rig.down(Down::Renew(renew(key(2, 1), |_| {})));
    rig.pass(Duration::from_millis(19_999));
    assert!(rig.stopped().is_empty());
    rig.pass(Duration::from_millis(1));
    let receipt = rig.store().remove(0).receipt().unwrap();
    let id = Assignment::decode(&raised.assignment)
        .unwrap()
        .id(&raised.assignment_signature);
    assert_eq!(
        (receipt.outcome, receipt.assignment_hash),
        (Outcome::Budget, id)
    );
}

#[test]
fn a_renewal_that_changes_more_than_the_budget_is_ignored() {
    for bend in [
        (|a| a.rate += 1) as fn(&mut Assignment),
        |a| a.payee = Address([9; 20]),
        |a| a.job_ref = [9; 32],
        |a| a.issued_ms = 999,
    ] {
        let mut rig = Rig::open(1);
        rig.down(Down::Assign(paid(key(1, 1))));
        rig.output(key(1, 1), "Hel", 1);
        rig.down(Down::Renew(renew(key(1, 1), bend)));
        let mut forged = renew(key(1, 1), |_| {});
        forged.assignment_signature = vec![0; 64].into();
        rig.down(Down::Renew(forged));
        rig.pass(Duration::from_secs(10));
        assert_eq!(rig.stopped(), [key(1, 1)], "the first budget holds");
    }
}

#[test]
fn what_a_run_is_worth_is_what_its_tokens_justify_and_its_locks_hold() {
    for (locked, cost) in [(1_000, 101), (50, 50)] {
        let mut rig = Rig::open(1);
        rig.down(Down::Assign(assign_with(key(1, 1), |assignment, _| {
            pay(assignment, locked);
            assignment.budget_ms = budget_ms(1_000, RATE);
            assignment.output_speed = 1_000_000;
        })));
        rig.output(key(1, 1), "Hello", 3);
        rig.pass(Duration::from_secs(2));
        rig.down(stop(key(1, 1), 5));
        let record = rig.store().remove(0);
        assert_eq!(record.receipt().unwrap().work_ms, 2_000);
        assert_eq!(
            record.cost, cost,
            "1.003 s for 3 tokens at 1,000 per second"
        );
    }
}

#[test]
fn stopped_paid_work_is_delivered_over_the_bytes_that_arrived() {
    let mut rig = Rig::open(1);
    rig.down(Down::Assign(paid(key(1, 1))));
    rig.output(key(1, 1), "Hello, wor", 3);
    rig.pass(Duration::from_secs(2));
    rig.sent();
    rig.output(key(1, 1), "ld", 4);
    rig.down(stop(key(1, 1), 10));
    assert_eq!(rig.stopped(), [key(1, 1)]);
    let record = rig.store().remove(0);
    assert!(record.result.is_empty());
    let sent = rig.sent();
    let [receipt] = &receipts(&sent)[..] else {
        panic!("one receipt in {sent:?}")
    };
    assert_eq!(receipt.outcome, Outcome::Cancelled);
    assert_eq!(
        (receipt.output_len, receipt.output_hash),
        (10, sha256(b"Hello, wor"))
    );
    assert_eq!((receipt.result_hash, receipt.work_ms), (sha256(b""), 2_000));
    assert!(!sent.iter().any(|up| matches!(up, Up::Output(_))));
    // Told again, it delivers what it has; acknowledged, it forgets.
    rig.down(stop(key(1, 1), 10));
    assert_eq!(rig.core.unacknowledged(), 1);
    rig.down(Down::Ack(ack(key(1, 1))));
    assert_eq!(rig.core.unacknowledged(), 0);
}

#[test]
fn a_finished_run_that_is_stopped_still_delivers_its_receipt() {
    let mut rig = Rig::open(1);
    rig.down(Down::Assign(paid(key(1, 1))));
    rig.output(key(1, 1), "Hello!", 2);
    rig.handle(Event::Finished {
        key: key(1, 1),
        result: result("Hello!"),
    });
    rig.down(stop(key(1, 1), 6));
    rig.store();
    assert_eq!(receipts(&rig.sent())[0].outcome, Outcome::Complete);
    rig.down(cancel(key(1, 1)));
    assert_eq!(rig.core.unacknowledged(), 0, "nobody wants it");
}

#[test]
fn at_the_deadline_a_paid_run_waits_for_the_coordinators_word() {
    let mut rig = Rig::open(1);
    let mut short = assign_with(key(1, 1), |assignment, _| pay(assignment, 10_000_000));
    short.time_left = Some(prost_types::Duration {
        seconds: 5,
        nanos: 0,
    });
    rig.down(Down::Assign(short));
    rig.output(key(1, 1), "Hel", 1);
    rig.pass(Duration::from_millis(9_999));
    assert!(rig.stopped().is_empty());
    rig.pass(Duration::from_millis(1));
    let record = rig.store().remove(0);
    assert_eq!(record.receipt().unwrap().outcome, Outcome::Deadline);
    assert!(record.result.is_empty());
}
