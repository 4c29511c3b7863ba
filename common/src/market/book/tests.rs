//! What records come to.

use super::*;
use crate::layouts::{LockPurpose, LockTerms, SignMode, Transaction};
use crate::market::pricing::KEPT_DAYS;

const DAY: u64 = 86_400_000;
const GPU: Hash = [9; 32];

fn signed(kind: TransactionKind, account: u8, target: Hash, payload: Vec<u8>) -> SignedTransaction {
    SignedTransaction {
        transaction: Transaction {
            kind,
            sign_mode: SignMode::Wallet,
            chain_id: [0; 32],
            public_key: [2; 33],
            account: Address([account; 20]),
            nonce: 0,
            valid_until: 0,
            amount: 1_000_000,
            max_fee: 0,
            target,
            payload_hash: [0; 32],
        },
        signature: [0; 64],
        payload,
    }
}

fn lock(account: u8, job: u8) -> SignedTransaction {
    let terms = LockTerms {
        purpose: LockPurpose::Job,
        expires_at: 0,
        max_rate: u64::MAX,
        max_fee_bps: 10_000,
        miner_key: PublicKey::default(),
    };
    signed(TransactionKind::Lock, account, [job; 32], terms.encode())
}

fn post(lock: &SignedTransaction, job: u8, fee: u64) -> RecordBody {
    RecordBody::Post(Post {
        lock: lock.transaction.id(),
        job_ref: [job; 32],
        attempt: 1,
        outcome: Outcome::Complete,
        miner: PublicKey([1; 32]),
        payee: Address([7; 20]),
        evidence_id: [0; 32],
        gpu: GPU,
        rate: 500_000,
        observed_ms: 10,
        work_ms: 10,
        billed_ms: 10,
        posted: fee * 40,
        fee,
    })
}

fn play(bodies: Vec<RecordBody>) -> (Book, Changes) {
    let (mut book, mut changes) = (Book::default(), Changes::default());
    for (index, body) in bodies.into_iter().enumerate() {
        let record = Record {
            index: index as u64,
            time_ms: 20_000 * DAY,
            body,
        };
        book.record(&record, &mut changes);
    }
    book.end_chain(&mut changes);
    (book, changes)
}

#[test]
fn a_chain_is_one_trade_and_one_success_for_each_payer() {
    let (one, other) = (lock(1, 5), lock(2, 5));
    let (book, changes) = play(vec![
        RecordBody::Transaction(one.clone()),
        RecordBody::Transaction(other.clone()),
        post(&one, 5, 50_000),
        post(&other, 5, 25_000),
    ]);
    let settled = book.trades[&GPU].settled(20_000, KEPT_DAYS);
    assert_eq!(
        (settled.trades, settled.weight, settled.billed_ms),
        (1, 75_000, 10)
    );
    assert_eq!(book.paid[&PublicKey([1; 32])], 1);
    let score = book.reputations.score(&PublicKey([1; 32]), 20_000);
    assert_eq!((score.success, score.fault), (1_500, 0));
    assert!(book.locks.is_empty());
    assert_eq!(
        (
            changes.pairs.len(),
            changes.payers.len(),
            changes.trades.len()
        ),
        (2, 2, 1)
    );
    assert_eq!(changes.trades[0].index, 2);
}

#[test]
fn chains_of_two_jobs_are_two_trades() {
    let (one, other) = (lock(1, 5), lock(2, 6));
    let (book, _) = play(vec![
        RecordBody::Transaction(one.clone()),
        RecordBody::Transaction(other.clone()),
        post(&one, 5, 50_000),
        post(&other, 6, 50_000),
    ]);
    assert_eq!(book.trades[&GPU].settled(20_000, 1).trades, 2);
    assert_eq!(book.paid[&PublicKey([1; 32])], 2);
}

#[test]
fn who_pays_the_wallet_of_the_miner_says_nothing_about_it() {
    let consent = BindConsent {
        seq: 1,
        valid_until: 0,
        consent: [3; 64],
    };
    let bind = signed(TransactionKind::Bind, 1, [1; 32], consent.encode());
    let own = lock(1, 5);
    let (book, changes) = play(vec![
        RecordBody::Transaction(bind),
        RecordBody::Transaction(own.clone()),
        post(&own, 5, 50_000),
    ]);
    assert_eq!(
        book.reputations.score(&PublicKey([1; 32]), 20_000).success,
        0
    );
    assert_eq!(
        book.trades[&GPU].settled(20_000, 1).weight,
        50_000,
        "a trade all the same"
    );
    assert_eq!(
        changes.bindings[&PublicKey([1; 32])],
        Some(Address([1; 20]))
    );
}

#[test]
fn a_rental_is_a_trade_with_each_payment_and_keeps_its_lock_until_the_last() {
    let rental = lock(1, 5);
    let paid = |number, outcome| {
        let RecordBody::Post(post) = post(&rental, 5, 50_000) else {
            unreachable!()
        };
        RecordBody::Post(Post {
            attempt: number,
            outcome,
            ..post
        })
    };
    let first = vec![
        RecordBody::Transaction(rental.clone()),
        paid(1, Outcome::Rental),
    ];
    let (book, _) = play(first.clone());
    assert_eq!(book.locks.len(), 1);
    let (book, _) = play([first, vec![paid(2, Outcome::RentalEnd)]].concat());
    assert!(book.locks.is_empty());
    assert_eq!(book.trades[&GPU].settled(20_000, 1).trades, 2);
}

#[test]
fn a_fault_weighs_what_its_client_paid_in_fees() {
    let (paid, failed) = (lock(1, 5), lock(1, 6));
    let fault = |attempt| {
        RecordBody::Fault(FaultEntry {
            job_ref: [6; 32],
            attempt,
            miner: PublicKey([1; 32]),
            client: Address([1; 20]),
            reason: FaultReason::Lost,
            weight: 30_000,
            lock: failed.transaction.id(),
        })
    };
    let (book, changes) = play(vec![
        RecordBody::Transaction(failed.clone()),
        fault(1),
        RecordBody::Transaction(paid.clone()),
        post(&paid, 5, 50_000),
        fault(2),
        fault(3),
    ]);
    let score = book.reputations.score(&PublicKey([1; 32]), 20_000);
    assert_eq!((score.success, score.fault), (1_000, 1_000));
    let faults: Vec<u16> = changes
        .counted
        .iter()
        .map(|counted| counted.fault)
        .collect();
    assert_eq!(
        faults,
        [0, 600, 400],
        "nothing paid, then what is left of 50,000"
    );
}

#[test]
fn audits_praise_nobody_and_what_they_find_needs_no_fees() {
    let auditor = Address([1; 20]);
    let audit = lock(1, 5);
    let found = |day: u64| Record {
        index: 9,
        time_ms: day * DAY,
        body: RecordBody::Fault(FaultEntry {
            job_ref: [5; 32],
            attempt: 1,
            miner: PublicKey([1; 32]),
            client: auditor,
            reason: FaultReason::Wrong,
            weight: FULL_FEE,
            lock: [0; 32],
        }),
    };
    let mut book = Book {
        auditors: [auditor].into(),
        ..Book::default()
    };
    let mut changes = Changes::default();
    let bodies = [
        RecordBody::Transaction(audit.clone()),
        post(&audit, 5, 90_000),
    ];
    for (index, body) in (0..).zip(bodies) {
        let record = Record {
            index,
            time_ms: DAY,
            body,
        };
        book.record(&record, &mut changes);
    }
    book.end_chain(&mut changes);
    assert_eq!(changes.counted, [], "what an auditor pays is no praise");
    assert!(changes.trades.is_empty(), "nor a price");
    book.record(&found(1), &mut changes);
    book.record(&found(1), &mut changes);
    let score = book.reputations.score(&PublicKey([1; 32]), 1);
    assert_eq!(
        (score.success, score.fault),
        (0, 1_000),
        "one auditor, one day"
    );
    assert_eq!(changes.counted.last().unwrap().fault, 1_000);
    assert!(book.reputations.payer(&auditor).is_empty());
}

#[test]
fn returned_locks_are_forgotten() {
    let returned = lock(1, 5);
    let (book, changes) = play(vec![
        RecordBody::Transaction(returned.clone()),
        RecordBody::Void {
            lock: returned.transaction.id(),
            reason: crate::layouts::VoidReason::Failed,
        },
    ]);
    assert!(book.locks.is_empty());
    assert_eq!(changes.locks[&returned.transaction.id()], None);
}
