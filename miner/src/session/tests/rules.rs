use aitbc_common::layouts::SessionProof;
use aitbc_common::ledger::checkpoint::sign;
use aitbc_common::ledger::log::TreeHead;
use aitbc_proto::v1::FailureReason;

use super::*;

#[test]
fn hello_answers_the_challenge_and_inventory_follows_welcome() {
    let mut rig = Rig::new(config(), 2, Vec::new());
    let hello = rig.connect(Vec::new());
    let proof = SessionProof {
        chain_id: CHAIN,
        challenge: [8; 32],
        miner_id: MinerId([3; 16]),
    };
    assert!(proof.verify(&miner().public(), &hello.proof));
    let sent = rig.sent();
    assert!(matches!(&sent[0], Up::Inventory(inventory) if inventory.slots == 2));
    assert!(
        matches!(&sent[1], Up::Heartbeat(heartbeat) if heartbeat.free_slots == 2 && heartbeat.sequence == 1)
    );
}

#[test]
fn another_chain_ends_it() {
    let mut rig = Rig::new(config(), 1, Vec::new());
    rig.handle(Event::Connected);
    rig.down(Down::Challenge(Challenge {
        challenge: vec![8; 32].into(),
        chain_id: vec![1; 32].into(),
    }));
    assert_eq!(ends(&rig), [End::WrongChain]);
    assert!(rig.sent().is_empty());
}

#[test]
fn a_coordinator_that_never_speaks_is_given_up() {
    let mut rig = Rig::new(config(), 1, Vec::new());
    rig.handle(Event::Connected);
    rig.pass(Duration::from_secs(15));
    assert!(matches!(rig.actions.back(), Some(Action::Close { .. })));
}

#[test]
fn a_job_is_accepted_once_and_a_repeated_assignment_is_accepted_again() {
    let mut rig = Rig::open(1);
    for _ in 0..2 {
        rig.down(Down::Assign(assign(key(1, 1))));
        assert!(matches!(rig.sent()[..], [Up::Accept(_)]));
    }
    assert_eq!(rig.started(), [key(1, 1)]);
}

#[test]
fn without_a_free_slot_a_job_is_rejected_and_the_freed_slot_is_announced() {
    let mut rig = Rig::open(1);
    rig.down(Down::Assign(assign(key(1, 1))));
    rig.down(Down::Assign(assign(key(2, 1))));
    rig.down(Down::Assign(assign(key(2, 1))));
    assert_eq!(
        rejects(&rig.sent()),
        [FailureReason::Busy, FailureReason::Busy]
    );
    assert_eq!(rig.started(), [key(1, 1)]);
    rig.down(cancel(key(1, 1)));
    assert!(
        rig.sent()
            .iter()
            .any(|up| matches!(up, Up::Heartbeat(heartbeat) if heartbeat.free_slots == 1))
    );
    rig.down(Down::Assign(assign(key(2, 2))));
    assert_eq!(rig.started(), [key(1, 1), key(2, 2)]);
}

#[test]
fn what_the_coordinator_did_not_promise_is_not_run() {
    let lies: [fn(&mut Assignment, &mut JobSpec); 6] = [
        |assignment, _| assignment.chain_id = [0; 32],
        |assignment, _| assignment.miner_key = service().public(),
        |assignment, _| assignment.job_ref = [1; 32],
        |_, spec| spec.input_hash = [1; 32],
        |_, spec| spec.model_name_hash = [1; 32],
        |_, spec| spec.max_rate = 1,
    ];
    let mut rig = Rig::open(9);
    for (job, lie) in (1..).zip(lies) {
        rig.down(Down::Assign(assign_with(key(job, 1), lie)));
    }
    let mut unsigned = assign(key(8, 1));
    unsigned.assignment_signature = vec![0; 64].into();
    rig.down(Down::Assign(unsigned));
    assert_eq!(rejects(&rig.sent()), [FailureReason::Operator; 7]);
    assert!(rig.started().is_empty());
}

#[test]
fn a_model_that_is_not_here_or_another_digest_is_rejected() {
    let mut rig = Rig::open(1);
    rig.down(Down::Assign(assign_with(key(1, 1), |_, spec| {
        spec.model_digest = [1; 32]
    })));
    assert_eq!(rejects(&rig.sent()), [FailureReason::ModelMissing]);
    rig.down(Down::Assign(assign_with(key(2, 1), |_, spec| {
        spec.model_digest = [9; 32]
    })));
    assert_eq!(rig.started(), [key(2, 1)]);
}

#[test]
fn a_cancel_that_overtakes_its_assignment_counts() {
    let mut rig = Rig::open(1);
    rig.down(cancel(key(1, 1)));
    rig.down(Down::Assign(assign(key(1, 1))));
    assert!(rig.started().is_empty() && rig.sent().is_empty());
}

#[test]
fn a_cancel_stops_the_run_and_what_it_says_later_is_nothing() {
    let mut rig = Rig::open(1);
    rig.down(Down::Assign(assign(key(1, 1))));
    rig.sent();
    rig.down(cancel(key(1, 1)));
    assert_eq!(rig.stopped(), [key(1, 1)]);
    rig.output(key(1, 1), "late", 1);
    rig.handle(Event::Finished {
        key: key(1, 1),
        result: result("late"),
    });
    assert!(rig.sent().is_empty() && rig.store().is_empty());
}

#[test]
fn a_later_attempt_replaces_an_earlier_one_and_never_the_reverse() {
    let mut rig = Rig::open(2);
    rig.down(Down::Assign(assign(key(1, 2))));
    rig.down(Down::Assign(assign(key(1, 1))));
    rig.down(Down::Assign(assign(key(1, 3))));
    assert_eq!(rig.started(), [key(1, 2), key(1, 3)]);
    assert_eq!(rig.stopped(), [key(1, 2)]);
}

#[test]
fn heartbeats_tell_what_runs_and_a_silent_coordinator_is_left() {
    let mut rig = Rig::open(2);
    rig.down(Down::Assign(assign(key(1, 1))));
    rig.output(key(1, 1), "abc", 1);
    rig.sent();
    rig.pass(Duration::from_secs(10));
    echo(&mut rig, 2);
    let heartbeat = rig.sent().into_iter().find_map(|up| {
        if let Up::Heartbeat(h) = up {
            Some(h)
        } else {
            None
        }
    });
    let heartbeat = heartbeat.unwrap();
    assert_eq!(
        (
            heartbeat.sequence,
            heartbeat.free_slots,
            heartbeat.running[0].output_bytes
        ),
        (2, 1, 3)
    );
    assert_eq!(heartbeat.running[0].output_tokens, 1);
    // The model thinks: tokens without output.
    rig.output(key(1, 1), "", 9);
    rig.pass(Duration::from_secs(10));
    echo(&mut rig, 3);
    let thinking = rig.sent().into_iter().find_map(|up| match up {
        Up::Heartbeat(heartbeat) => Some(heartbeat.running[0].clone()),
        _ => None,
    });
    let thinking = thinking.unwrap();
    assert_eq!((thinking.output_bytes, thinking.output_tokens), (3, 9));
    rig.pass(Duration::from_secs(29));
    assert!(rig.core.is_open());
    rig.pass(Duration::from_secs(2));
    assert!(!rig.core.is_open(), "30 s after the last echo");
    assert!(rig.stopped().is_empty(), "the run goes on");
}

#[test]
fn receipts_say_what_the_miner_saw_of_the_ledger_and_a_lie_is_no_news() {
    let mut rig = Rig::open(4);
    let tells = |rig: &mut Rig, size, root, key: Identity| {
        let root = [root; 32];
        let checkpoint = sign(&CHAIN, &TreeHead { size, root }, &key);
        rig.down(Down::Heartbeat(CoordinatorHeartbeat {
            sequence: 1,
            checkpoint,
        }));
    };
    let seen = |record: SpoolRecord| {
        let receipt = record.receipt().unwrap();
        (receipt.seen_size, receipt.seen_root)
    };
    assert_eq!(seen(rig.finish_job(key(1, 1))), (0, [0; 32]));
    tells(&mut rig, 12, 3, log());
    assert_eq!(seen(rig.finish_job(key(2, 1))), (12, [3; 32]));
    rig.actions.clear();
    tells(&mut rig, 12, 4, log());
    tells(&mut rig, 11, 3, log());
    tells(&mut rig, 13, 3, service());
    let odd = |action: &Action| matches!(action, Action::Notice(Notice::Odd { .. }));
    assert_eq!(rig.actions.iter().filter(|action| odd(action)).count(), 3);
    assert_eq!(seen(rig.finish_job(key(3, 1))), (12, [3; 32]));
}
