//! A rental in the small history.

use aitbc_common::layouts::{
    FaultEntry, FaultReason, LockPurpose, Outcome, Post, RecordBody, VoidReason,
};
use aitbc_common::ledger::settlement::{Work, fee_of, rental_post};

use super::cast::{ALICE, BOB, MINER, address, identity, terms};
use super::counting;
use super::history::{DAY, History};

/// A rental that is paid twice, and a miner that fails a paid attempt.
#[expect(clippy::too_many_lines, reason = "one history, told in order")]
pub fn renting(history: &mut History) {
    let mut open = terms(history.now + DAY, 3_600_000);
    open.purpose = LockPurpose::Rental;
    open.miner_key = identity(&MINER).public();
    let (lock, amount) = history.lock("lock of a rental", &ALICE, 30_000, &open);
    let work = Work {
        outcome: Outcome::Rental,
        evidence_id: [0; 32],
        observed_ms: 45_678,
        work_ms: 40_000,
        ..history.work(1_000_000, 40_000)
    };
    let first = rental_post(&work, lock, amount, 250);
    let changed = |change: fn(&mut Post)| {
        let mut post = first.clone();
        change(&mut post);
        RecordBody::Post(post)
    };
    for (name, body) in [
        (
            "a rental's second payment first",
            changed(|post| post.attempt = 2),
        ),
        (
            "a rental's payment with evidence",
            changed(|post| post.evidence_id = [1; 32]),
        ),
        ("no whole beats", changed(|post| post.work_ms = 40_001)),
        (
            "more beats than time",
            changed(|post| post.observed_ms = 39_999),
        ),
        (
            "a rental that goes on billed for a minute",
            changed(|post| post.billed_ms = 60_000),
        ),
        (
            "a rental's lock for a job",
            changed(|post| post.outcome = Outcome::Complete),
        ),
        ("a rental's fee too low", changed(|post| post.fee -= 1)),
    ] {
        history.refuse_body(name, body);
    }
    history.append("first payment of a rental", RecordBody::Post(first.clone()));
    history.refuse_body(
        "a rental's first payment twice",
        RecordBody::Post(first.clone()),
    );
    let last = Work {
        attempt: 2,
        outcome: Outcome::RentalEnd,
        observed_ms: 12_345,
        work_ms: 10_000,
        billed_ms: 20_000,
        ..work
    };
    let mut last = rental_post(&last, lock, amount - first.posted, 250);
    history.append("last payment of a rental", RecordBody::Post(last.clone()));
    last.attempt = 3;
    history.refuse_body("a rental that is over", RecordBody::Post(last));

    let (lock, amount) = history.lock(
        "lock of a job whose miner fails",
        &BOB,
        8_000,
        &terms(history.now + DAY, 1),
    );
    let fault = FaultEntry {
        job_ref: counting(history.job),
        attempt: 2,
        miner: identity(&MINER).public(),
        client: address(&BOB),
        reason: FaultReason::Lost,
        weight: fee_of(amount, 250),
        lock,
    };
    let wrong = |change: fn(&mut FaultEntry)| {
        let mut fault = fault.clone();
        change(&mut fault);
        RecordBody::Fault(fault)
    };
    history.refuse_body("a fault that weighs more", wrong(|fault| fault.weight += 1));
    history.refuse_body(
        "a fault with another's lock",
        wrong(|fault| fault.client = address(&ALICE)),
    );
    history.refuse_body(
        "a fault with another job's lock",
        wrong(|fault| fault.job_ref = [1; 32]),
    );
    history.append("fault of a miner", RecordBody::Fault(fault.clone()));
    history.refuse_body("a fault twice", RecordBody::Fault(fault.clone()));
    let reason = VoidReason::Failed;
    history.append("void of a failed job", RecordBody::Void { lock, reason });
    history.refuse_body(
        "a fault after its lock",
        RecordBody::Fault(FaultEntry {
            attempt: 3,
            ..fault
        }),
    );
}
