//! What owners say of receipts: the first word stands, is stored with the job and logged once.

use aitbc_common::hash::Hash;
use aitbc_common::layouts::{Acknowledgement, Verdict};

use super::*;
use crate::payments::{Order, outbox};

pub(super) fn acknowledgement(
    job: JobSelector,
    owner: PublicKey,
    verdict: Verdict,
    receipt_id: Hash,
) -> Command {
    let acknowledgement = Acknowledgement {
        verdict,
        chain_id: [7; 32],
        receipt_id,
        owner,
        time_ms: START,
    };
    Command::Acknowledge {
        job,
        acknowledgement: Box::new(acknowledgement),
        signature: [9; 64],
    }
}

fn completed(rig: &mut Rig) -> (JobId, Hash) {
    rig.miner(1, 1);
    let job = rig.submit(1, 1);
    rig.ask(completion(attempt(job, 1), 1));
    let delivery = rig.view(job, 1).row.delivery.unwrap();
    let receipt = Receipt::decode(&delivery.receipt).unwrap();
    (job, receipt.id(&delivery.signature))
}

fn logged(rig: &Rig) -> Vec<(Verdict, Hash)> {
    let orders = outbox::read(&rig.store, 1, 100).unwrap().into_iter();
    orders
        .filter_map(|(_, order)| match order {
            Order::LogAcknowledgement(said, [9, ..]) => Some((said.verdict, said.receipt_id)),
            _ => None,
        })
        .collect()
}

#[test]
fn the_first_word_stands_and_is_logged_once() {
    let mut rig = Rig::new();
    let (job, id) = completed(&mut rig);
    let matches = || acknowledgement(JobSelector::Id(job), owner(1), Verdict::Matches, id);
    let disputed = acknowledgement(JobSelector::Last, owner(1), Verdict::Disputed, id);
    // Twice in one batch, once more, and once more after a restart.
    for reply in rig.batch(vec![matches(), matches()]) {
        let Reply::Job(view) = reply else {
            panic!("{reply:?}")
        };
        assert!(!view.row.delivery.unwrap().acknowledgement.is_empty());
    }
    rig.restart();
    assert!(matches!(rig.ask(matches()), Reply::Job(_)));
    let refused = rig.ask(disputed);
    assert_eq!(refusal(&refused), Some(ErrorReason::WrongStatus));
    assert_eq!(logged(&rig), [(Verdict::Matches, id)]);
    let delivery = rig.view(job, 1).row.delivery.unwrap();
    assert_eq!(delivery.acknowledgement_signature[..], [9; 64]);
}

#[test]
fn only_the_owner_speaks_and_only_of_the_jobs_own_receipt() {
    let mut rig = Rig::new();
    let (job, id) = completed(&mut rig);
    let says = |by, id| acknowledgement(JobSelector::Id(job), owner(by), Verdict::Disputed, id);
    // Beside the owner's own question, so that the row is loaded.
    let ours = Command::GetJob {
        owner: owner(1),
        job: JobSelector::Id(job),
    };
    let replies = rig.batch(vec![ours, says(2, id)]);
    assert_eq!(refusal(&replies[1]), Some(ErrorReason::JobNotFound));
    let other = rig.ask(says(1, [8; 32]));
    assert_eq!(refusal(&other), Some(ErrorReason::InvalidField));
    let running = rig.submit(2, 1);
    let early = acknowledgement(JobSelector::Id(running), owner(1), Verdict::Matches, id);
    let early = rig.ask(early);
    assert_eq!(refusal(&early), Some(ErrorReason::WrongStatus));
    assert!(logged(&rig).is_empty());
    assert_eq!(rig.status(running, 1), JobStatus::Queued);
    let delivery = rig.view(job, 1).row.delivery.unwrap();
    assert!(delivery.acknowledgement.is_empty());
}
