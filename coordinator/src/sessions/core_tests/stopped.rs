//! Paid attempts that are stopped, and those whose budget is raised.

use super::*;

/// A receipt over `output` and no result, for a job that was cancelled.
fn partial(output: &[u8]) -> Up {
    let Up::Complete(mut whole) = complete(output, b"") else {
        panic!()
    };
    let mut receipt = Receipt::decode(&whole.receipt).unwrap();
    receipt.outcome = Outcome::Cancelled;
    whole.receipt = receipt.encode().into();
    Up::Complete(whole)
}

/// A session whose attempt had "Hello" as output when it was stopped.
fn stopped() -> (SessionCore, Buffers) {
    let (mut core, mut buffers) = open();
    core.message(output(OutputKind::Output, 0, b"Hello"), &mut buffers, 3);
    core.take_actions();
    core.cancelled(attempt(), v1::JobStatus::Cancelled, Some(5));
    let [Down::Cancel(cancel)] = &sent(&mut core)[..] else {
        panic!("no Cancel")
    };
    assert!(cancel.receipt_wanted);
    assert_eq!(cancel.output_bytes, 5);
    (core, buffers)
}

#[test]
fn what_comes_after_the_stop_does_not_count_and_the_receipt_does() {
    let (mut core, mut buffers) = stopped();
    core.message(output(OutputKind::Output, 5, b", world"), &mut buffers, 4);
    let late = v1::Checkpoint {
        job_id: attempt().job_id.to_string(),
        attempt: 2,
        ..v1::Checkpoint::default()
    };
    core.message(Up::Checkpoint(late), &mut buffers, 4);
    assert!(core.take_actions().is_empty());
    assert_eq!(buffers.progress(attempt()).unwrap().output_len, 5);
    core.message(partial(b"Hello"), &mut buffers, 4);
    assert!(matches!(core.take_actions()[..], [Action::Complete(..)]));
    core.recorded(attempt(), Ok(()));
    assert!(matches!(
        sent(&mut core)[..],
        [Down::Ack(v1::Ack { error: None, .. })]
    ));
}

#[test]
fn a_result_that_had_not_come_when_the_job_was_stopped_is_refused() {
    for late in [
        complete(b"Hello", b"{}"),
        complete(b"Hello, world", b"{}"),
        partial(b"Hello, world"),
    ] {
        let (mut core, mut buffers) = stopped();
        core.message(late, &mut buffers, 4);
        let [Down::Ack(ack)] = &sent(&mut core)[..] else {
            panic!("no Ack")
        };
        assert!(ack.error.is_some());
    }
    let (mut core, mut buffers) = open();
    core.message(output(OutputKind::Output, 0, b"Hello"), &mut buffers, 3);
    core.message(output(OutputKind::Result, 0, b"{}"), &mut buffers, 3);
    core.take_actions();
    core.cancelled(attempt(), v1::JobStatus::Cancelled, Some(5));
    core.take_actions();
    core.message(complete(b"Hello", b"{}"), &mut buffers, 4);
    assert!(
        matches!(core.take_actions()[..], [Action::Complete(..)]),
        "all of it was there"
    );
}

#[test]
fn a_newer_assignment_reaches_only_an_attempt_that_is_held() {
    let (mut core, _) = open();
    core.renewed(attempt(), v1::Renew::default());
    assert!(matches!(sent(&mut core)[..], [Down::Renew(_)]));
    core.cancelled(attempt(), v1::JobStatus::Cancelled, None);
    sent(&mut core);
    core.renewed(attempt(), v1::Renew::default());
    assert!(sent(&mut core).is_empty());
}
