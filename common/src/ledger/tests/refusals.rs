//! What is refused before any balance is looked at.

use k256::Scalar;
use k256::ecdsa::Signature;

use super::*;
use crate::layouts::{
    Acknowledgement, AllowTerms, InvalidTransaction, LayoutError, ReceiptEntry, SignedTransaction,
    Verdict,
};

fn signed(ledger: &Ledger) -> SignedTransaction {
    let transaction = blank(TransactionKind::Transfer, ledger.chain_id, 5);
    SignedTransaction::by_wallet(transaction, b"memo".to_vec(), &wallet("alice")).unwrap()
}

fn refusal(ledger: &mut Ledger, signed: SignedTransaction) -> Violation {
    ledger
        .append(RecordBody::Transaction(signed))
        .expect_err("it is refused")
}

/// Signs again what was changed in a transaction.
fn resigned(transaction: Transaction, payload: &[u8]) -> SignedTransaction {
    SignedTransaction {
        signature: wallet("alice").sign(&transaction.signing_hash()),
        transaction,
        payload: payload.to_vec(),
    }
}

#[test]
fn a_transaction_of_another_chain_is_refused() {
    let mut ledger = Ledger::with(&[("alice", 1_000)]);
    let transaction = blank(TransactionKind::Transfer, [9; 32], 5);
    let other = SignedTransaction::by_wallet(transaction, Vec::new(), &wallet("alice")).unwrap();
    assert_eq!(
        refusal(&mut ledger, other),
        InvalidTransaction::Chain.into()
    );
}

#[test]
fn of_the_two_valid_signatures_one_is_refused() {
    let mut ledger = Ledger::with(&[("alice", 1_000)]);
    let mut high = signed(&ledger);
    let (r, s) = Signature::from_slice(&high.signature)
        .unwrap()
        .split_scalars();
    let negated = Signature::from_scalars(r, -Scalar::from(s)).unwrap();
    high.signature = negated.to_bytes().into();
    assert_eq!(
        refusal(&mut ledger, high),
        InvalidTransaction::Signature.into()
    );
    let low = signed(&ledger);
    ledger.append(RecordBody::Transaction(low)).unwrap();
}

#[test]
fn a_public_key_has_one_form() {
    let mut ledger = Ledger::with(&[("alice", 1_000)]);
    let good = signed(&ledger);
    for tag in [0, 1, 4, 5, 6, 0xff] {
        let mut transaction = good.transaction.clone();
        transaction.public_key[0] = tag;
        let changed = resigned(transaction, b"memo");
        assert_eq!(
            refusal(&mut ledger, changed),
            InvalidTransaction::Account.into(),
            "{tag}"
        );
    }
}

#[test]
fn a_changed_byte_breaks_the_signature() {
    let ledger = Ledger::with(&[("alice", 1_000)]);
    let good = signed(&ledger).encode();
    for at in 0..good.len() {
        let mut changed = good.clone();
        changed[at] ^= 1;
        let outcome = SignedTransaction::decode(&changed).map(|it| it.verify(&ledger.chain_id));
        assert!(!matches!(outcome, Ok(Ok(()))), "byte {at}");
    }
}

#[test]
fn account_payload_and_mode_must_fit() {
    let mut ledger = Ledger::with(&[("alice", 1_000)]);
    let good = signed(&ledger);
    let mut account = good.transaction.clone();
    account.account = address("bob");
    let account = resigned(account, b"memo");
    let mut payload = good.clone();
    payload.payload = b"mema".to_vec();
    let mut hashless = good.clone();
    hashless.payload = Vec::new();
    let mut hashed = good.transaction.clone();
    hashed.payload_hash = sha256(b"");
    let hashed = resigned(hashed, b"");
    let mut allowed = blank(TransactionKind::Transfer, ledger.chain_id, 5);
    allowed.account = address("alice");
    let mode = SignedTransaction::by_identity(allowed, Vec::new(), &identity("agent")).unwrap();
    for (changed, reason) in [
        (account, InvalidTransaction::Account),
        (payload, InvalidTransaction::Payload),
        (hashless, InvalidTransaction::Payload),
        (hashed, InvalidTransaction::Payload),
        (mode, InvalidTransaction::Mode),
    ] {
        assert_eq!(refusal(&mut ledger, changed), reason.into());
    }
}

#[test]
fn targets_amounts_and_payloads_must_be_what_the_kind_says() {
    let mut ledger = Ledger::with(&[("alice", 1_000)]);
    let allow = AllowTerms {
        expires_at: BEGIN,
        seq: 1,
    }
    .encode();
    let length = |layout, given, wanted| LayoutError::Length {
        layout,
        given,
        wanted,
    };
    let mut long_target = blank(TransactionKind::Transfer, ledger.chain_id, 5);
    long_target.target[0] = 1;
    let with = |kind, amount| blank(kind, ledger.chain_id, amount);
    let cases = [
        (long_target, vec![], Violation::Target("a wallet's address")),
        (
            with(TransactionKind::Stake, 5),
            vec![1],
            Violation::Target("without a payload"),
        ),
        (
            with(TransactionKind::Unstake, 5),
            vec![1],
            Violation::Target("without a payload"),
        ),
        (
            with(TransactionKind::Lock, 5),
            vec![],
            length("lock terms", 0, 52).into(),
        ),
        (
            with(TransactionKind::Bind, 0),
            vec![1; 76],
            length("bind consent", 76, 77).into(),
        ),
        (
            with(TransactionKind::Bind, 1),
            vec![1; 77],
            Violation::Amount(0, 0),
        ),
        (
            with(TransactionKind::Allow, 1 << 63),
            allow,
            Violation::Amount(1, (1 << 63) - 1),
        ),
        (
            with(TransactionKind::Allow, 5),
            vec![2; 13],
            LayoutError::Value {
                layout: "allowance terms",
                field: "version",
                value: 2,
            }
            .into(),
        ),
    ];
    for (transaction, payload, violation) in cases {
        let signed = SignedTransaction::by_wallet(transaction, payload, &wallet("alice")).unwrap();
        assert_eq!(refusal(&mut ledger, signed), violation);
    }
    let transaction = blank(TransactionKind::Transfer, ledger.chain_id, 5);
    assert!(SignedTransaction::by_wallet(transaction, vec![0; 513], &wallet("alice")).is_err());
}

#[test]
fn a_transaction_that_is_recorded_again_changes_nothing() {
    let mut ledger = Ledger::with(&[("alice", 10_000)]);
    ledger.play(
        "alice gives 5 to bob
         alice binds rig
         alice stakes 50 on rig
         alice unstakes 50 from rig as=u
         alice allows agent 5000
         alice locks 1000 on job as=a
         agent locks 1000 on job for=alice
         market voids a",
    );
    for record in ledger.records.clone() {
        if let RecordBody::Transaction(signed) = record.body {
            let again = refusal(&mut ledger, signed);
            assert!(matches!(again, Violation::Nonce { .. }), "{again}");
        }
    }
}

#[test]
fn records_stand_in_a_row_and_time_does_not_go_back() {
    let mut ledger = Ledger::with(&[("alice", 1_000)]);
    let receipt = RecordBody::Receipt(ReceiptEntry {
        job_ref: [1; 32],
        attempt: 1,
        miner: identity("rig").public(),
        receipt_id: [2; 32],
    });
    let next = ledger.state.position().next;
    let record = |index, time_ms| Record {
        index,
        time_ms,
        body: receipt.clone(),
    };
    for index in [0, next - 1, next + 1, u64::MAX] {
        let error = ledger.apply(record(index, BEGIN)).unwrap_err();
        let expected = Violation::Index {
            expected: next,
            given: index,
        };
        assert_eq!(error, expected);
    }
    assert_eq!(ledger.apply(record(next, BEGIN - 1)), Err(Violation::Time));
    assert_eq!(ledger.apply(record(next, BEGIN)), Ok(()));
}

#[test]
fn a_log_begins_with_one_genesis_file() {
    let mut ledger = Ledger::with(&[]);
    let file = genesis(BTreeMap::new()).to_bytes();
    let second = ledger.append(RecordBody::Genesis(file.clone()));
    assert!(matches!(second, Err(Violation::Misplaced(_))));

    let refused = |body| {
        let record = Record {
            index: 0,
            time_ms: BEGIN,
            body,
        };
        let mut state = State::default();
        assert!(state.apply(&record, false).is_err());
        assert_eq!(snapshot(&state), snapshot(&State::default()));
    };
    let text = String::from_utf8(file).unwrap();
    refused(RecordBody::Void {
        lock: [1; 32],
        reason: crate::layouts::VoidReason::Finished,
    });
    let allocations = |list: &str| format!(r#"{{"allocations":{{{list}}},{}"#, &text[1..]);
    let (lower, upper) = (
        format!("0x{}", "ab".repeat(20)),
        format!("0x{}", "AB".repeat(20)),
    );
    for file in [
        String::new(),
        "{}".into(),
        text.replace("\"version\":1", "\"version\":2"),
        text.replace("\"dev\"", "\"test\""),
        text.replace("\"fee_bps\":250", "\"fee_bps\":10001"),
        text.replace("\"fee_bps\":250", "\"fee_bps\":250,\"fee_bps\":250"),
        text.replace("\"version\":1", "\"version\":1,\"more\":1"),
        allocations(&format!(r#""{lower}":1,"{lower}":2"#)),
        allocations(&format!(r#""{lower}":1,"{upper}":2"#)),
        allocations(&format!(r#""{lower}":9223372036854775808"#)),
        allocations(r#""0xab":1"#),
        allocations(&format!(r#""{lower}":1.0"#)),
    ] {
        refused(RecordBody::Genesis(file.into_bytes()));
    }
}

#[test]
fn an_acknowledgement_is_its_owners_and_for_this_chain() {
    let mut ledger = Ledger::with(&[]);
    let owner = identity("owner");
    let acknowledgement = |chain_id| Acknowledgement {
        verdict: Verdict::Disputed,
        chain_id,
        receipt_id: [5; 32],
        owner: owner.public(),
        time_ms: 1,
    };
    let (ours, other) = (acknowledgement(ledger.chain_id), acknowledgement([8; 32]));
    let forged = ours.sign(&identity("other"));
    let (signature, foreign) = (ours.sign(&owner), other.sign(&owner));
    for (body, signature, outcome) in [
        (&ours, forged, Err(InvalidTransaction::Signature.into())),
        (&other, foreign, Err(InvalidTransaction::Chain.into())),
        (&ours, signature, Ok(())),
    ] {
        let body = RecordBody::Acknowledgement(body.clone(), signature);
        assert_eq!(ledger.append(body), outcome);
    }
}
