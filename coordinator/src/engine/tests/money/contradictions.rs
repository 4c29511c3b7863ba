//! A miner that signs two different outputs of one attempt.

use aitbc_common::layouts::{Contradiction, SignedStatement};

use super::*;

fn contradicted(attempt: AttemptId, by: u8) -> Command {
    let said = |hash| {
        let Command::Checkpointed {
            mut checkpoint,
            signature,
            ..
        } = checkpoint(attempt, 10)
        else {
            panic!()
        };
        checkpoint.hash = [hash; 32];
        SignedStatement::Checkpoint(checkpoint, signature)
    };
    let evidence = Contradiction::between(miner_key(by), said(1), said(2)).unwrap();
    Command::Contradicted {
        attempt,
        evidence: Box::new(evidence),
    }
}

fn slashes(rig: &Rig) -> Vec<PublicKey> {
    let orders = rig.orders().into_iter();
    orders
        .filter_map(|order| match order {
            Order::Slash(evidence) => Some(evidence.miner),
            _ => None,
        })
        .collect()
}

#[test]
fn its_attempt_fails_and_its_stake_is_ordered_slashed_once() {
    let (mut rig, first) = paid_and_running();
    for _ in 0..3 {
        let Reply::Refused(error) = rig.ask(contradicted(first, 1)) else {
            panic!("a contradiction is never accepted")
        };
        assert!(error.message.contains("two different outputs"));
    }
    assert_eq!(slashes(&rig), [miner_key(1)]);
    let faults = rig.orders().into_iter();
    let faults = faults.filter(|order| matches!(order, Order::LogFault { .. }));
    assert_eq!(faults.count(), 1);
    let row = rig.view(first.job_id, 1).row;
    assert_eq!(row.attempts[0].outcome(), v1::AttemptOutcome::Failed);
    // What it delivers of the attempt now comes too late.
    assert!(matches!(rig.ask(completion(first, 1)), Reply::Refused(_)));
    assert!(rig.settlements().is_empty());
}

#[test]
fn a_stopped_job_pays_nothing_for_it() {
    let (mut rig, first) = paid_and_running();
    rig.wait(5_000);
    rig.ask(checkpoint(first, 4_000));
    rig.cancel(first.job_id);
    rig.ask(contradicted(first, 1));
    assert_eq!(slashes(&rig), [miner_key(1)]);
    assert!(rig.settlements().is_empty());
    assert_eq!(rig.voids(), [(1, VoidReason::Cancelled)]);
}

#[test]
fn a_second_receipt_that_its_miner_did_not_sign_is_refused_and_slashes_nobody() {
    let (mut rig, first) = paid_and_running();
    rig.ask(completion(first, 1));
    let Command::Complete(other) = completion_of(first, 1, |receipt| receipt.output_hash = [9; 32])
    else {
        panic!()
    };
    let ask = Command::GetAttempt {
        miner_key: miner_key(1),
        attempt: first,
        receipt: [9; 32],
        said: Some(Box::new(SignedStatement::Receipt(
            Box::new(other.receipt),
            [0; 64],
        ))),
    };
    assert_eq!(refusal(&rig.ask(ask)), Some(ErrorReason::StaleAttempt));
    assert_eq!(slashes(&rig), []);
}
