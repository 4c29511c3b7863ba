//! Audits of work in the small history.

use aitbc_common::layouts::{FaultEntry, FaultReason, RecordBody};
use aitbc_common::ledger::audits::{commitment, evidence};

use super::cast::{ALICE, BOB, MINER, address, identity};
use super::counting;
use super::history::{DAY, History};

/// A day's seed that is committed to and told, and work that an audit found wrong.
pub fn auditing(history: &mut History) {
    let today = u32::try_from(history.now / DAY).expect("a day of this age");
    let chain_id = history.chain_id;
    let seed = counting(0xc0);
    let commit = |day| RecordBody::AuditCommit {
        day,
        commitment: commitment(&chain_id, day, &seed),
    };
    let reveal = |day, seed| RecordBody::AuditReveal { day, seed };
    history.refuse_body("seed of yesterday", commit(today - 1));
    history.refuse_body("seed of a day too far ahead", commit(today + 2));
    history.append("seed of today", commit(today));
    history.refuse_body("second seed of a day", commit(today));
    history.append("seed of tomorrow", commit(today + 1));
    history.refuse_body("seed told at once", reveal(today, seed));

    let finding = FaultEntry {
        job_ref: counting(0x7a),
        attempt: 1,
        miner: identity(&MINER).public(),
        client: address(&BOB),
        reason: FaultReason::Wrong,
        weight: 50_000,
        lock: evidence(&counting(0x60), [counting(0x61), counting(0x62)]),
    };
    let wrong = |change: fn(&mut FaultEntry)| {
        let mut finding = finding.clone();
        change(&mut finding);
        RecordBody::Fault(finding)
    };
    let body = wrong(|finding| finding.client = address(&ALICE));
    history.refuse_body("finding by no auditor", body);
    let body = wrong(|finding| finding.weight = 49_999);
    history.refuse_body("finding that weighs less", body);
    history.append("finding of an audit", RecordBody::Fault(finding.clone()));
    let body = wrong(|finding| finding.lock = [1; 32]);
    history.refuse_body("second finding of a job", body);

    history.now = (u64::from(today) + 2) * DAY - 1;
    history.refuse_body("seed told a millisecond early", reveal(today, seed));
    history.now += 1;
    history.refuse_body("another seed told", reveal(today, counting(0xc1)));
    history.refuse_body("seed told of another day", reveal(today - 1, seed));
    history.append("seed told", reveal(today, seed));
    history.refuse_body("seed told twice", reveal(today, seed));
}
