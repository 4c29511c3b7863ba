//! Vectors of ledger records, one of each type.

use aitbc_common::hash::sha256;
use aitbc_common::ids::JobId;
use aitbc_common::layouts::{
    Acknowledgement, Contradiction, ExpireReason, FaultEntry, FaultReason, LayoutError, MintReason,
    Outcome, Post, Receipt, ReceiptEntry, Record, RecordBody, Seal, SignedStatement, Slash,
    StreamCheckpoint, TransactionKind, Verdict, VoidReason, address_target,
};
use serde_json::{Value, json};

use super::cast::{ALICE, BEGIN, BOB, MINER, OWNER, address, by_wallet, draft, identity, keys};
use super::layouts::invalid;
use super::{check, counting, number};

pub fn acknowledgement(chain_id: [u8; 32], verdict: Verdict) -> Acknowledgement {
    Acknowledgement {
        verdict,
        chain_id,
        receipt_id: counting(0x60),
        owner: identity(&OWNER).public(),
        time_ms: BEGIN - 1,
    }
}

fn post() -> Post {
    Post {
        lock: counting(0x30),
        job_ref: counting(0x70),
        attempt: 2,
        outcome: Outcome::Budget,
        miner: identity(&MINER).public(),
        payee: address(&BOB),
        evidence_id: counting(0x60),
        gpu: counting(0xd0),
        rate: 500_000,
        observed_ms: 2_300,
        work_ms: 2_140,
        billed_ms: 2_140,
        posted: 298,
        fee: 8,
    }
}

/// A checkpoint and a receipt of the same 5 bytes.
pub fn contradiction(chain_id: [u8; 32], job: u8, attempt: u16) -> Contradiction {
    let miner = identity(&MINER);
    let checkpoint = StreamCheckpoint {
        flags: 0,
        attempt,
        chain_id,
        job_id: JobId(counting(0x10)),
        job_ref: counting(job),
        offset: 5,
        hash: sha256(b"Jello"),
        tokens_out: 2,
        work_ms: 900,
    };
    let receipt = Receipt {
        outcome: Outcome::Complete,
        attempt,
        chain_id,
        job_id: checkpoint.job_id,
        job_ref: checkpoint.job_ref,
        assignment_hash: counting(0x20),
        miner_key: miner.public(),
        payee: address(&BOB),
        model_name_hash: sha256(b"llama3:latest"),
        model_digest: counting(0xb0),
        engine_hash: sha256(b"ollama/0.17.4"),
        output_len: 5,
        output_hash: sha256(b"Hello"),
        result_hash: counting(0xc0),
        tokens_in: 7,
        tokens_out: 2,
        work_ms: 1_000,
        seen_size: 0,
        seen_root: [0; 32],
    };
    let signatures = (checkpoint.sign(&miner), receipt.sign(&miner));
    Contradiction::between(
        miner.public(),
        SignedStatement::Receipt(Box::new(receipt), signatures.1),
        SignedStatement::Checkpoint(Box::new(checkpoint), signatures.0),
    )
    .expect("two hashes of the same bytes")
}

#[expect(clippy::too_many_lines, reason = "one list")]
fn all() -> Vec<(&'static str, RecordBody, Value)> {
    let chain = counting(0x01);
    let transfer = draft(
        TransactionKind::Transfer,
        chain,
        5,
        address_target(address(&BOB)),
    );
    let signed = by_wallet(transfer, b"memo".to_vec(), &ALICE);
    let receipt = ReceiptEntry {
        job_ref: counting(0x70),
        attempt: u16::MAX,
        miner: identity(&MINER).public(),
        receipt_id: counting(0x60),
    };
    let ack = acknowledgement(chain, Verdict::Disputed);
    let signature = ack.sign(&identity(&OWNER));
    let seal = Seal {
        height: 3,
        first: 40,
        count: 2,
        state_root: counting(0xa0),
        minted: u128::MAX,
        burned: 1 << 64,
    };
    let mut all = vec![
        (
            "genesis",
            RecordBody::Genesis(b"{}".to_vec()),
            json!({"file": "{}"}),
        ),
        (
            "transaction",
            RecordBody::Transaction(signed.clone()),
            json!({"stored": hex::encode(signed.encode())}),
        ),
        ("post", RecordBody::Post(post()), post_fields(&post())),
        (
            "receipt",
            RecordBody::Receipt(receipt.clone()),
            json!({
                "job_ref": hex::encode(receipt.job_ref), "attempt": receipt.attempt,
                "miner": hex::encode(receipt.miner.0), "receipt_id": hex::encode(receipt.receipt_id),
            }),
        ),
        (
            "acknowledgement",
            RecordBody::Acknowledgement(ack.clone(), signature),
            json!({
                "version": 1, "verdict": ack.verdict as u8, "chain_id": hex::encode(ack.chain_id),
                "receipt_id": hex::encode(ack.receipt_id), "owner": hex::encode(ack.owner.0),
                "time_ms": number(ack.time_ms), "signature": hex::encode(signature),
            }),
        ),
        (
            "seal",
            RecordBody::Seal(seal.clone()),
            json!({
                "height": number(seal.height), "first": number(seal.first), "count": seal.count,
                "state_root": hex::encode(seal.state_root), "minted": seal.minted.to_string(),
                "burned": seal.burned.to_string(),
            }),
        ),
    ];
    let slashed = Slash {
        amount: u64::MAX,
        evidence: contradiction(chain, 0x70, 2),
    };
    all.push((
        "slash",
        RecordBody::Slash(Box::new(slashed.clone())),
        json!({
            "miner": hex::encode(slashed.evidence.miner.0), "amount": number(slashed.amount),
            "statements": [hex::encode(slashed.evidence.first.encode()), hex::encode(slashed.evidence.second.encode())],
        }),
    ));
    let day = 20_416;
    let seeds = [
        (
            "audit commit",
            RecordBody::AuditCommit {
                day,
                commitment: counting(0x90),
            },
            json!({"day": day, "commitment": hex::encode(counting::<32>(0x90))}),
        ),
        (
            "audit reveal",
            RecordBody::AuditReveal {
                day,
                seed: counting(0x50),
            },
            json!({"day": day, "seed": hex::encode(counting::<32>(0x50))}),
        ),
    ];
    all.extend(seeds);
    for outcome in [Outcome::Rental, Outcome::RentalEnd] {
        let rental = Post {
            outcome,
            evidence_id: [0; 32],
            ..post()
        };
        all.push((
            "rental",
            RecordBody::Post(rental.clone()),
            post_fields(&rental),
        ));
    }
    all.extend(reasons());
    all
}

/// Records with a reason, of each.
fn reasons() -> Vec<(&'static str, RecordBody, Value)> {
    let lock: [u8; 32] = counting(0x30);
    let of_lock = |reason: u8| json!({"lock": hex::encode(lock), "reason": reason});
    let mint = |reason: MintReason| {
        let body = RecordBody::Mint {
            account: address(&ALICE),
            amount: u64::MAX,
            reason,
        };
        let fields = json!({
            "account": hex::encode(address(&ALICE).0), "amount": number(u64::MAX), "reason": reason as u8,
        });
        (body, fields)
    };
    let mut all = Vec::new();
    for reason in 1..=10 {
        let body = RecordBody::Void {
            lock,
            reason: VoidReason::from_byte(reason).expect("a defined reason"),
        };
        all.push(("void", body, of_lock(reason)));
    }
    for reason in [
        ExpireReason::Lock,
        ExpireReason::Unstaked,
        ExpireReason::Forfeited,
    ] {
        all.push((
            "expire",
            RecordBody::Expire { lock, reason },
            of_lock(reason as u8),
        ));
    }
    for reason in [
        FaultReason::Lost,
        FaultReason::Failed,
        FaultReason::Invalid,
        FaultReason::Wrong,
    ] {
        let fault = fault(reason);
        let fields = fault_fields(&fault);
        all.push(("outcome", RecordBody::Fault(fault), fields));
    }
    for (body, fields) in [mint(MintReason::Genesis), mint(MintReason::Faucet)] {
        all.push(("mint", body, fields));
    }
    all
}

fn fault(reason: FaultReason) -> FaultEntry {
    FaultEntry {
        job_ref: counting(0x70),
        attempt: 3,
        miner: identity(&MINER).public(),
        client: address(&ALICE),
        reason,
        weight: u64::MAX,
        lock: counting(0x30),
    }
}

fn fault_fields(fault: &FaultEntry) -> Value {
    json!({
        "job_ref": hex::encode(fault.job_ref),
        "attempt": fault.attempt,
        "miner": hex::encode(fault.miner.0),
        "client": hex::encode(fault.client.0),
        "reason": fault.reason as u8,
        "weight": number(fault.weight),
        "lock": hex::encode(fault.lock),
    })
}

fn post_fields(post: &Post) -> Value {
    json!({
        "lock": hex::encode(post.lock),
        "job_ref": hex::encode(post.job_ref),
        "attempt": post.attempt,
        "outcome": post.outcome as u8,
        "miner": hex::encode(post.miner.0),
        "payee": hex::encode(post.payee.0),
        "evidence_id": hex::encode(post.evidence_id),
        "gpu": hex::encode(post.gpu),
        "rate": number(post.rate),
        "observed_ms": number(post.observed_ms),
        "work_ms": number(post.work_ms),
        "billed_ms": number(post.billed_ms),
        "posted": number(post.posted),
        "fee": number(post.fee),
    })
}

fn record(index: u64, body: RecordBody) -> Record {
    Record {
        index,
        time_ms: BEGIN,
        body,
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one list")]
fn record_of_each_type() {
    let vectors: Vec<Value> = (0..)
        .zip(all())
        .map(|(index, (name, body, fields))| {
            let record = record(index, body);
            let bytes = record.encode();
            assert_eq!(Record::decode(&bytes), Ok(record), "{name}");
            json!({
                "name": name,
                "header": {"version": 1, "type": bytes[1], "index": number(index), "time_ms": number(BEGIN)},
                "body": fields,
                "bytes": hex::encode(bytes),
            })
        })
        .collect();
    let void = RecordBody::Void {
        lock: counting(0x30),
        reason: VoidReason::Terms,
    };
    let mut wrong = invalid(
        &record(1, void).encode(),
        Record::decode,
        &[
            ("version 2", 0, 2),
            ("type 0", 1, 0),
            ("a void's bytes for an OUTCOME", 1, 6),
            ("a void's bytes for a SLASH", 1, 9),
            ("KEYCHANGE, reserved", 1, 11),
            ("undefined type", 1, 15),
            ("void reason 0", 50, 0),
            ("void reason 11", 50, 11),
            ("expire for a void's reason", 1, 5),
        ],
    );
    let slash = || all().swap_remove(6).1;
    let others: [(&str, RecordBody, usize, u8); 9] = [
        ("undefined kind of a statement", slash(), 58, 3),
        ("a receipt's kind before a checkpoint", slash(), 58, 2),
        ("undefined version of a statement", slash(), 59, 2),
        ("undefined outcome", RecordBody::Post(post()), 84, 7),
        (
            "undefined reason of a fault",
            RecordBody::Fault(fault(FaultReason::Lost)),
            104,
            5,
        ),
        (
            "undefined mint reason",
            all().pop().expect("a mint").1,
            46,
            3,
        ),
        ("undefined verdict", all().swap_remove(4).1, 19, 3),
        (
            "undefined version of an acknowledgement",
            all().swap_remove(4).1,
            18,
            2,
        ),
        (
            "undefined kind of a transaction",
            all().swap_remove(1).1,
            19,
            9,
        ),
    ];
    for (name, body, at, byte) in others {
        let mut bytes = record(1, body).encode();
        bytes[at] = byte;
        let error: LayoutError = Record::decode(&bytes).expect_err(name);
        wrong.push(json!({"name": name, "bytes": hex::encode(bytes), "error": error.to_string()}));
    }
    check(
        "record.json",
        &json!({
            "layout": "ledger record v1",
            "keys": keys(),
            "vectors": vectors,
            "invalid": wrong,
        }),
    );
}
