//! What the ledger records of a receipt, and what its owner says.

use super::*;
use crate::layouts::{Acknowledgement, Post, ReceiptEntry, Record, RecordBody, Seal, Verdict};
use crate::ledger::checkpoint::sign;
use crate::ledger::log::{TreeHead, leaf_hash};
use crate::ledger::settlement::{Work, posts};
use crate::ledger::tlog_proof::TlogProof;
use crate::price::billed_ms;

fn log_key() -> Identity {
    identity(4)
}

fn paid() -> Delivery {
    let mut delivery = Delivery::new();
    delivery.pay(10_000_000);
    delivery
}

fn proof(delivery: &Delivery) -> Proof {
    Proof::decode(&delivery.file().parts()).unwrap()
}

/// What two locks pay for the work, the first of them less than it costs.
fn posted(delivery: &Delivery, observed_ms: u64) -> Vec<Post> {
    let (proof, receipt) = (proof(delivery), &delivery.receipt);
    let assignment = &delivery.assignment;
    let work = Work {
        job_ref: receipt.job_ref,
        attempt: receipt.attempt,
        outcome: receipt.outcome,
        miner: receipt.miner_key,
        payee: assignment.payee,
        evidence_id: proof.receipt_id(),
        gpu: [1; 32],
        rate: assignment.rate,
        observed_ms,
        work_ms: receipt.work_ms,
        billed_ms: billed_ms(assignment, receipt, delivery.spec.input_len, observed_ms),
    };
    posts(&work, &[([1; 32], 100), ([2; 32], 5_000_000)], 250)
}

#[test]
fn what_locks_paid_is_held_against_the_receipt() {
    let delivery = paid();
    let (proof, posts) = (proof(&delivery), posted(&delivery, 2_500));
    assert_eq!(posts.len(), 2);
    // 2.14 s at 0.5 AIT an hour, and 2.5 % of it.
    assert_eq!(check_posts(&proof, &posts), Ok((298, 8)));
    for post in &posts {
        check_record(&proof, &RecordBody::Post(post.clone())).unwrap();
    }
    let lies: [fn(&mut Post); 12] = [
        |post| post.job_ref[0] ^= 1,
        |post| post.attempt += 1,
        |post| post.outcome = Outcome::Budget,
        |post| post.miner.0[0] ^= 1,
        |post| post.payee.0[0] ^= 1,
        |post| post.evidence_id[0] ^= 1,
        |post| post.rate += 1,
        |post| post.work_ms += 1,
        |post| post.billed_ms += 1,
        |post| post.observed_ms = 1,
        |post| post.posted = 299,
        |post| post.fee += 1,
    ];
    for (number, lie) in lies.into_iter().enumerate() {
        let mut changed = posts.clone();
        lie(&mut changed[1]);
        let refused = check_posts(&proof, &changed);
        assert!(matches!(refused, Err(VerifyError::Record(_))), "{number}");
    }
    // Each within the price, and both together over it.
    let twice = [posts[1].clone(), posts[1].clone()];
    assert!(check_posts(&proof, &twice).is_err());
    let nothing = check_posts(&proof, &[]);
    assert_eq!(nothing, Ok((0, 0)));
}

/// A file whose ledger is one record, beside a seal.
fn logged(delivery: &Delivery, body: RecordBody, owner: &Identity) -> ReceiptFile {
    let record = Record {
        index: 0,
        time_ms: 5,
        body,
    };
    let leaf = record.encode();
    let seal = leaf_hash(b"seal");
    let node = [&[1][..], &leaf_hash(&leaf), &seal].concat();
    let head = TreeHead {
        size: 2,
        root: sha256(&node),
    };
    let text = TlogProof {
        index: 0,
        hashes: vec![seal],
        checkpoint: sign(&CHAIN, &head, &log_key()),
    };
    let said = Acknowledgement {
        verdict: Verdict::Matches,
        chain_id: CHAIN,
        receipt_id: proof(delivery).receipt_id(),
        owner: owner.public(),
        time_ms: 9,
    };
    ReceiptFile {
        ledger: Some(LedgerProof {
            leaf,
            proof: text.to_text(),
            log_key: log_key().public().0.to_vec(),
        }),
        acknowledgement: said.encode(),
        acknowledgement_sig: said.sign(owner).to_vec(),
        ..delivery.file()
    }
}

fn entry(delivery: &Delivery) -> ReceiptEntry {
    ReceiptEntry {
        job_ref: delivery.receipt.job_ref,
        attempt: 1,
        miner: miner().public(),
        receipt_id: proof(delivery).receipt_id(),
    }
}

#[test]
fn a_files_place_in_the_ledger_checks_offline() {
    let delivery = Delivery::new();
    let proof = proof(&delivery);
    let file = logged(&delivery, RecordBody::Receipt(entry(&delivery)), &owner());
    let file = ReceiptFile::from_bytes(&file.to_bytes()).unwrap();
    for known in [None, Some(log_key().public())] {
        let (found, said) = verify_logged(&file, &proof, known).unwrap();
        let found = found.unwrap();
        assert_eq!((found.record.index, found.head.size), (0, 2));
        assert_eq!(found.log.key, log_key().public());
        assert_eq!(said.unwrap().verdict, Verdict::Matches);
    }
    let other = Some(identity(9).public());
    assert_eq!(
        verify_logged(&file, &proof, other),
        Err(VerifyError::LogKey)
    );
    let plain = delivery.file();
    assert_eq!(verify_logged(&plain, &proof, other), Ok((None, None)));

    let post = RecordBody::Post(posted(&paid(), 2_500)[0].clone());
    let of_another = logged(&delivery, post, &owner());
    assert!(matches!(
        verify_logged(&of_another, &proof, None),
        Err(VerifyError::Record(_))
    ));
    let another_miner = ReceiptEntry {
        miner: owner().public(),
        ..entry(&delivery)
    };
    let of_another = logged(&delivery, RecordBody::Receipt(another_miner), &owner());
    let refused = verify_logged(&of_another, &proof, None);
    assert_eq!(refused, Err(VerifyError::Record("the miner")));
    let seal = RecordBody::Seal(Seal {
        height: 0,
        first: 0,
        count: 1,
        state_root: [0; 32],
        minted: 0,
        burned: 0,
    });
    let refused = verify_logged(&logged(&delivery, seal, &owner()), &proof, None);
    assert_eq!(refused, Err(VerifyError::Record("its kind")));
}

#[test]
fn a_file_whose_ledger_or_acknowledgement_was_changed_is_refused() {
    let delivery = Delivery::new();
    let proof = proof(&delivery);
    let file = logged(&delivery, RecordBody::Receipt(entry(&delivery)), &owner());
    let changes: [fn(&mut ReceiptFile); 7] = [
        |file| file.ledger.as_mut().unwrap().leaf[12] ^= 1,
        |file| file.ledger.as_mut().unwrap().leaf.clear(),
        |file| file.ledger.as_mut().unwrap().log_key[0] ^= 1,
        |file| file.ledger.as_mut().unwrap().log_key.clear(),
        |file| file.ledger.as_mut().unwrap().proof.push('x'),
        |file| file.acknowledgement[1] = 2,
        |file| file.acknowledgement_sig.clear(),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut changed = file.clone();
        change(&mut changed);
        assert!(verify_logged(&changed, &proof, None).is_err(), "{number}");
    }
    // Whoever signs it: only the owner's word counts.
    let strangers = logged(&delivery, RecordBody::Receipt(entry(&delivery)), &miner());
    assert_eq!(
        verify_logged(&strangers, &proof, None),
        Err(VerifyError::Acknowledgement)
    );
}
