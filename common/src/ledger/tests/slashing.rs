//! A miner that contradicts itself loses its stake, once, with all that was leaving it.

use super::*;
use crate::ids::JobId;
use crate::layouts::{
    Contradiction, InvalidTransaction, Outcome, Receipt, SignedStatement, Slash, StreamCheckpoint,
};
use crate::ledger::broken::BrokenRules;

const DAY: u64 = 24 * HOUR;

fn checkpoint(ledger: &Ledger, attempt: u16, output: &[u8]) -> SignedStatement {
    let checkpoint = StreamCheckpoint {
        flags: 0,
        attempt,
        chain_id: ledger.chain_id,
        job_id: JobId([5; 16]),
        job_ref: reference("x"),
        offset: output.len() as u64,
        hash: sha256(output),
        tokens_out: 3,
        work_ms: 40,
    };
    let signature = checkpoint.sign(&identity("rig"));
    SignedStatement::Checkpoint(Box::new(checkpoint), signature)
}

fn receipt(ledger: &Ledger, attempt: u16, output: &[u8]) -> SignedStatement {
    let receipt = Receipt {
        outcome: Outcome::Complete,
        attempt,
        chain_id: ledger.chain_id,
        job_id: JobId([5; 16]),
        job_ref: reference("x"),
        assignment_hash: [1; 32],
        miner_key: identity("rig").public(),
        payee: address("payee"),
        model_name_hash: [2; 32],
        model_digest: [3; 32],
        engine_hash: [4; 32],
        output_len: output.len() as u64,
        output_hash: sha256(output),
        result_hash: [6; 32],
        tokens_in: 1,
        tokens_out: 3,
        work_ms: 50,
        seen_size: 0,
        seen_root: [0; 32],
    };
    let signature = receipt.sign(&identity("rig"));
    SignedStatement::Receipt(Box::new(receipt), signature)
}

fn slash(amount: u64, one: SignedStatement, other: SignedStatement) -> RecordBody {
    let evidence = Contradiction::between(identity("rig").public(), one, other).unwrap();
    RecordBody::Slash(Box::new(Slash { amount, evidence }))
}

/// 5,000 on rig, of which 2,000 are being unstaked.
fn staked() -> Ledger {
    let mut ledger = Ledger::with(&[("alice", 10_000), ("bob", 10_000)]);
    ledger.play(
        "alice binds rig
         alice stakes 5000 on rig
         alice unstakes 2000 from rig as=u
         stake:rig has 3000 of 5000",
    );
    ledger
}

#[test]
fn all_that_was_staked_is_burned_and_an_unstaking_under_way_gives_nothing() {
    let mut ledger = staked();
    let body = slash(
        5_000,
        receipt(&ledger, 1, b"Hello"),
        checkpoint(&ledger, 1, b"Jello"),
    );
    ledger.append(body.clone()).unwrap();
    assert_eq!(ledger.append(body), Err(Violation::Slashed));
    let totals = *ledger.state.totals();
    assert_eq!((totals.burned, totals.forfeited), (5_000, 2_000));
    assert_eq!((totals.supply(), totals.broken()), (15_000, vec![]));
    // What is staked and unstaked again, even in the same millisecond, is another stake.
    ledger.play(
        "stake:rig has 0 of 0
         alice unstakes 1 from rig ! nothing is staked
         alice stakes 1000 on rig
         alice unstakes 400 from rig as=v
         stake:rig has 600 of 1000",
    );
    ledger.now += 7 * DAY;
    ledger.play(
        "market unstakes v ! its time is not over
         market unstakes u ! the unstaking was slashed
         market forfeits u
         alice has 4000 of 4000
         wait 1
         market forfeits v ! the unstaking was not slashed
         market unstakes v
         alice has 4400 of 4400
         stake:rig has 600 of 600
         market seals",
    );
    let totals = ledger.state.totals();
    assert_eq!((totals.forfeited, totals.broken()), (0, vec![]));
}

#[test]
fn a_second_contradiction_takes_what_was_staked_since() {
    let mut ledger = staked();
    let first = slash(
        5_000,
        checkpoint(&ledger, 1, b"a"),
        checkpoint(&ledger, 1, b"b"),
    );
    let second = slash(
        900,
        checkpoint(&ledger, 2, b"a"),
        checkpoint(&ledger, 2, b"b"),
    );
    ledger.append(first).unwrap();
    assert_eq!(ledger.append(second.clone()), Err(Violation::NoStake));
    ledger.play(
        "alice stakes 900 on rig
         alice unstakes 300 from rig as=v",
    );
    ledger.append(second).unwrap();
    assert_eq!(ledger.state.totals().forfeited, 2_300);
    ledger.now += 8 * DAY;
    ledger.play(
        "market forfeits v
         market forfeits u
         alice has 4100 of 4100
         stake:rig has 0 of 0
         market unstakes u ! the lock is not open",
    );
    let totals = ledger.state.totals();
    assert_eq!((totals.burned, totals.forfeited), (5_900, 0));
    assert_eq!(totals.broken(), []);
}

#[test]
fn nothing_but_two_signed_statements_of_the_same_bytes_is_a_contradiction() {
    let mut ledger = staked();
    let said = checkpoint(&ledger, 1, b"Hello");
    let rig = identity("rig").public();
    for other in [
        checkpoint(&ledger, 1, b"Hello"),
        checkpoint(&ledger, 1, b"Hell"),
        checkpoint(&ledger, 2, b"Jello"),
        receipt(&ledger, 1, b"Hello"),
    ] {
        assert_eq!(Contradiction::between(rig, said.clone(), other), None);
    }
    let (one, other) = (said, receipt(&ledger, 1, b"Jello"));
    let body = |evidence, amount| RecordBody::Slash(Box::new(Slash { amount, evidence }));
    let evidence = Contradiction::between(rig, other.clone(), one.clone()).unwrap();
    let agreeing = Contradiction {
        second: receipt(&ledger, 1, b"Hello"),
        ..evidence.clone()
    };
    let turned = Contradiction {
        miner: rig,
        first: other,
        second: one,
    };
    let anothers = Contradiction {
        miner: identity("rack").public(),
        ..evidence.clone()
    };
    let mut forged = evidence.clone();
    let SignedStatement::Receipt(_, signature) = &mut forged.second else {
        panic!("a checkpoint's bytes come first")
    };
    signature[0] ^= 1;
    for bad in [agreeing, turned] {
        let refused = ledger.append(body(bad, 5_000));
        assert!(matches!(refused, Err(Violation::NoContradiction(_))));
    }
    for bad in [anothers, forged] {
        let refused = ledger.append(body(bad, 5_000));
        assert_eq!(refused, Err(InvalidTransaction::Signature.into()));
    }
    for amount in [0, 4_999, 5_001] {
        let refused = ledger.append(body(evidence.clone(), amount));
        assert!(matches!(refused, Err(Violation::Computed { .. })));
    }
    let mut elsewhere = Ledger::opened(&Genesis {
        random: [9; 32],
        ..genesis(BTreeMap::new())
    });
    let refused = elsewhere.append(body(evidence.clone(), 1));
    assert_eq!(refused, Err(InvalidTransaction::Chain.into()));
    let unspared = body(evidence, 5_000);
    let record = Record {
        index: 1,
        time_ms: 2,
        body: unspared.clone(),
    };
    assert_eq!(Record::decode(&record.encode()), Ok(record));
    ledger.append(unspared).unwrap();
}

/// The control: a ledger that pays out what was slashed.
#[test]
fn a_forfeit_that_is_paid_breaks_the_sums() {
    let mut ledger = staked();
    let body = slash(
        5_000,
        checkpoint(&ledger, 1, b"a"),
        checkpoint(&ledger, 1, b"b"),
    );
    ledger.append(body).unwrap();
    ledger.now += 7 * DAY;
    ledger.state.break_rules(BrokenRules {
        pay_forfeits: true,
        ..BrokenRules::default()
    });
    ledger.play("market forfeits u");
    assert!(!ledger.state.totals().broken().is_empty());
}
