//! Vectors of transactions and their payloads.

use aitbc_common::identity::PublicKey;
use aitbc_common::layouts::{
    AllowTerms, BindConsent, LockPurpose, LockTerms, SignedTransaction, Transaction,
    TransactionKind, address_target,
};
use k256::Scalar;
use k256::ecdsa::Signature;
use serde_json::{Value, json};

use super::cast::{
    AGENT, ALICE, BEGIN, BOB, HOUR, MINER, address, allowance, by_agent, by_wallet, consent, draft,
    identity, key, keys, release, terms,
};
use super::layouts::invalid;
use super::{check, counting, number};

const CHAIN: [u8; 32] = [0xc4; 32];

fn transfer() -> SignedTransaction {
    let target = address_target(address(&BOB));
    let draft = draft(TransactionKind::Transfer, CHAIN, 1_500_000, target);
    by_wallet(draft, b"for the kettle".to_vec(), &ALICE)
}

fn all() -> Vec<(&'static str, SignedTransaction)> {
    let miner = identity(&MINER).public().0;
    let start = |kind, nonce, amount, target| Transaction {
        nonce,
        ..draft(kind, CHAIN, amount, target)
    };
    let agent = identity(&AGENT).public().0;
    let largest = Transaction {
        valid_until: u64::MAX,
        ..start(TransactionKind::Transfer, u64::MAX, u64::MAX, [0xff; 32])
    };
    let rental = LockTerms {
        purpose: LockPurpose::Rental,
        expires_at: u64::MAX,
        max_rate: u64::MAX,
        max_fee_bps: 10_000,
        miner_key: PublicKey(miner),
    };
    let job_terms = terms(BEGIN + 24 * HOUR, 500_000).encode();
    let wallet: [(&str, Transaction, Vec<u8>); 9] = [
        ("largest numbers and memo", largest, vec![0xaa; 512]),
        (
            "lock",
            start(TransactionKind::Lock, 1, 10_000_000, counting(0x70)),
            job_terms.clone(),
        ),
        (
            "lock for a rental",
            start(TransactionKind::Lock, 2, 1_000, counting(0x90)),
            rental.encode(),
        ),
        (
            "stake",
            start(TransactionKind::Stake, 3, 5_000_000, miner),
            Vec::new(),
        ),
        (
            "unstake",
            start(TransactionKind::Unstake, 4, 1, miner),
            Vec::new(),
        ),
        (
            "bind",
            start(TransactionKind::Bind, 5, 0, miner),
            consent(&CHAIN, &ALICE, 1, BEGIN + HOUR).encode(),
        ),
        (
            "release",
            start(TransactionKind::Bind, 6, 0, miner),
            release(2).encode(),
        ),
        (
            "allow",
            start(TransactionKind::Allow, 7, 20_000_000, agent),
            allowance(BEGIN + 30 * 24 * HOUR, 1).encode(),
        ),
        (
            "revoke",
            start(TransactionKind::Allow, 8, 0, agent),
            allowance(0, 2).encode(),
        ),
    ];
    let mut all = vec![("transfer", transfer())];
    all.extend(
        wallet.map(|(name, transaction, payload)| (name, by_wallet(transaction, payload, &ALICE))),
    );
    let lock = start(TransactionKind::Lock, 0, 2_000_000, counting(0x70));
    all.push(("lock under an allowance", by_agent(lock, job_terms, &ALICE)));
    all
}

fn vector(name: &str, signed: &SignedTransaction) -> Value {
    assert_eq!(
        SignedTransaction::decode(&signed.encode()).as_ref(),
        Ok(signed)
    );
    assert_eq!(signed.verify(&CHAIN), Ok(()), "{name}");
    let transaction = &signed.transaction;
    let body = transaction.encode();
    assert_eq!(Transaction::decode(&body).as_ref(), Ok(transaction));
    json!({
        "name": name,
        "fields": {
            "version": 1,
            "kind": transaction.kind as u8,
            "sign_mode": transaction.sign_mode as u8,
            "flags": 0,
            "chain_id": hex::encode(transaction.chain_id),
            "public_key": hex::encode(transaction.public_key),
            "account": hex::encode(transaction.account.0),
            "nonce": number(transaction.nonce),
            "valid_until": number(transaction.valid_until),
            "amount": number(transaction.amount),
            "max_fee": number(transaction.max_fee),
            "target": hex::encode(transaction.target),
            "payload_hash": hex::encode(transaction.payload_hash),
        },
        "payload": hex::encode(&signed.payload),
        "terms": payload_fields(signed),
        "bytes": hex::encode(body),
        "signed_hash": hex::encode(transaction.signing_hash()),
        "tx_id": hex::encode(transaction.id()),
        "signature": hex::encode(signed.signature),
        "stored": hex::encode(signed.encode()),
    })
}

/// What a payload says, where it is no memo.
fn payload_fields(signed: &SignedTransaction) -> Value {
    let payload = &signed.payload;
    match signed.transaction.kind {
        TransactionKind::Lock => {
            let terms = LockTerms::decode(payload).expect("terms");
            assert_eq!(&terms.encode(), payload);
            json!({
                "version": 1, "purpose": terms.purpose as u8, "expires_at": number(terms.expires_at),
                "max_rate": number(terms.max_rate), "max_fee_bps": terms.max_fee_bps,
                "miner_key": hex::encode(terms.miner_key.0),
            })
        }
        TransactionKind::Bind => {
            let consent = BindConsent::decode(payload).expect("a consent");
            assert_eq!(&consent.encode(), payload);
            json!({
                "version": 1, "seq": consent.seq, "valid_until": number(consent.valid_until),
                "consent": hex::encode(consent.consent),
            })
        }
        TransactionKind::Allow => {
            let terms = AllowTerms::decode(payload).expect("terms");
            assert_eq!(&terms.encode(), payload);
            json!({"version": 1, "expires_at": number(terms.expires_at), "seq": terms.seq})
        }
        _ => Value::Null,
    }
}

/// Signs again with alice's key what was changed.
fn resigned(transaction: Transaction, payload: &[u8]) -> SignedTransaction {
    SignedTransaction {
        signature: key(&ALICE).sign(&transaction.signing_hash()),
        transaction,
        payload: payload.to_vec(),
    }
}

/// Transactions that read well and prove nothing.
fn refused() -> Vec<Value> {
    let good = transfer();
    let mut high = good.clone();
    let (r, s) = Signature::from_slice(&high.signature)
        .expect("a signature")
        .split_scalars();
    let negated = Signature::from_scalars(r, -Scalar::from(s)).expect("not zero");
    high.signature = negated.to_bytes().into();
    let mut other_key = good.clone();
    other_key.signature = by_wallet(good.transaction.clone(), good.payload.clone(), &BOB).signature;
    let changed = |change: fn(&mut Transaction)| {
        let mut transaction = good.transaction.clone();
        change(&mut transaction);
        resigned(transaction, &good.payload)
    };
    let mut payload = good.clone();
    payload.payload[0] ^= 1;
    let mut no_payload = good.clone();
    no_payload.payload.clear();
    let mut empty_hashed = good.transaction.clone();
    empty_hashed.payload_hash = aitbc_common::hash::sha256(b"");
    let draft = draft(TransactionKind::Transfer, CHAIN, 1, good.transaction.target);
    let mut prefixed = by_agent(self::draft_lock(), terms(BEGIN, 1).encode(), &ALICE);
    prefixed.transaction.public_key[0] = 1;
    prefixed.signature = identity(&AGENT).sign(&prefixed.transaction.signing_hash());
    let cases = [
        ("another chain", changed(|t| t.chain_id[0] ^= 1)),
        ("high s", high),
        ("another wallet's signature", other_key),
        ("compact public key", changed(|t| t.public_key[0] = 5)),
        ("not a point", changed(|t| t.public_key[1..].fill(0xff))),
        ("another account", changed(|t| t.account.0[0] ^= 1)),
        ("another payload", payload),
        ("payload left out", no_payload),
        ("hash of an empty payload", resigned(empty_hashed, b"")),
        (
            "transfer by an identity",
            by_agent(draft, Vec::new(), &ALICE),
        ),
        ("identity's key with another first byte", prefixed),
    ];
    cases
        .into_iter()
        .map(|(name, signed)| {
            let stored = signed.encode();
            assert_eq!(
                SignedTransaction::decode(&stored).as_ref(),
                Ok(&signed),
                "{name}"
            );
            let error = signed.verify(&CHAIN).expect_err(name);
            json!({"name": name, "stored": hex::encode(stored), "error": error.to_string()})
        })
        .collect()
}

fn draft_lock() -> Transaction {
    draft(TransactionKind::Lock, CHAIN, 1_000, counting(0x70))
}

#[test]
fn transaction() {
    let vectors: Vec<Value> = all()
        .iter()
        .map(|(name, signed)| vector(name, signed))
        .collect();
    let stored = transfer().encode();
    let mut too_long = stored[..Transaction::LEN + 64].to_vec();
    too_long.extend(513_u16.to_be_bytes());
    too_long.extend([0; 513]);
    let error = SignedTransaction::decode(&too_long).expect_err("a long payload");
    let mut bad_stored = invalid(&stored, SignedTransaction::decode, &[]);
    bad_stored.push(json!({"name": "payload over 512 bytes", "bytes": hex::encode(too_long), "error": error.to_string()}));
    check(
        "transaction.json",
        &json!({
            "layout": "transaction v1",
            "length": Transaction::LEN,
            "chain_id": hex::encode(CHAIN),
            "keys": keys(),
            "vectors": vectors,
            "invalid": invalid(&transfer().transaction.encode(), Transaction::decode, &[
                ("version 2", 0, 2), ("kind 0", 1, 0), ("undefined kind", 1, 7), ("EIP-712", 2, 2),
                ("undefined flags", 3, 1), ("a fee", 120, 1),
            ]),
            "invalid_stored": bad_stored,
            "refused": refused(),
        }),
    );
}
