//! A whole small history: records, what each changes, what is refused between them, and the roots at each seal.

use std::collections::BTreeMap;

use aitbc_common::address::Address;
use aitbc_common::genesis::{Faucet, Genesis, PreviousChain, chain_id};
use aitbc_common::hash::Hash;
use aitbc_common::identity::PublicKey;
use aitbc_common::layouts::{
    ExpireReason, MintReason, Post, ReceiptEntry, RecordBody, Seal, TransactionKind, Verdict,
    VoidReason, address_target,
};
use aitbc_common::ledger::audit::Audit;
use aitbc_common::ledger::entry::{Entry, StateKey};
use aitbc_common::ledger::settlement::posts;
use aitbc_common::ledger::state::State;
use serde_json::{Value, json};

use super::audits::auditing;
use super::cast::{
    AGENT, ALICE, AUDITOR, BEGIN, BOB, CAROL, MINER, OWNER, address, allowance, by_agent, consent,
    identity, keys, release, terms,
};
use super::history::{DAY, History};
use super::records::acknowledgement;
use super::renting::renting;
use super::slashing::slashing;
use super::{check, counting, number};

fn auditors() -> Vec<Address> {
    let mut auditors = vec![address(&BOB), address(&AUDITOR)];
    auditors.sort_unstable();
    auditors
}

fn genesis() -> Genesis {
    Genesis {
        allocations: BTreeMap::from([(address(&ALICE), 50_000_000), (address(&BOB), 20_000_000)]),
        faucet: Some(Faucet {
            per_address: 1_000_000,
            total: 2_000_000,
        }),
        auditors: auditors(),
        fee_bps: 250,
        log_key: identity(&[0x44; 32]).public().0,
        previous: Some(PreviousChain {
            chain_id: counting(0x01),
            root: counting(0xe0),
            size: 41,
        }),
        profile: "dev".into(),
        random: counting(0x80),
        service_key: identity(&[0x33; 32]).public().0,
        version: 1,
    }
}

fn begun() -> History {
    let genesis = genesis();
    let file = genesis.to_bytes();
    let mut history = History {
        chain_id: chain_id(&file),
        state: State::default(),
        audit: Audit::default(),
        job: 0x70,
        now: BEGIN,
        leaves: Vec::new(),
        records: Vec::new(),
        seals: Vec::new(),
        refused: Vec::new(),
    };
    let faucet = |amount| RecordBody::Mint {
        account: address(&CAROL),
        amount,
        reason: MintReason::Faucet,
    };
    history.refuse_body("a log that does not begin with a genesis record", faucet(1));
    history.append("genesis", RecordBody::Genesis(file));
    for (account, amount) in genesis.allocations {
        history.refuse_body("faucet before the allocations", faucet(1));
        let reason = MintReason::Genesis;
        let mint = |amount| RecordBody::Mint {
            account,
            amount,
            reason,
        };
        history.refuse_body("another amount than allocated", mint(amount + 1));
        history.append("allocation", mint(amount));
    }
    history.refuse_body("faucet over its total", faucet(2_000_001));
    history.append("faucet", faucet(2_000_000));
    history.refuse_body("faucet over its total in two", faucet(1));
    history.seal();
    history
}

fn transfers(history: &mut History) {
    let to_bob = address_target(address(&BOB));
    let transfer = |history: &History, amount| {
        history.sign(
            &ALICE,
            TransactionKind::Transfer,
            amount,
            to_bob,
            b"rent".to_vec(),
        )
    };
    let too_much = transfer(history, 50_000_001);
    history.refuse_body("more than there is", RecordBody::Transaction(too_much));
    let signed = transfer(history, 1_500_000);
    let mut late = history.record(RecordBody::Transaction(signed.clone()));
    late.time_ms = signed.transaction.valid_until + 1;
    history.refuse("after valid_until", &late);
    late.time_ms = history.now - 1;
    history.refuse("time goes back", &late);
    let mut forged = signed.clone();
    forged.signature[63] ^= 1;
    history.refuse_body("forged", RecordBody::Transaction(forged));
    history.append("transfer", RecordBody::Transaction(signed.clone()));
    history.refuse_body("replayed", RecordBody::Transaction(signed));
}

/// A lock that is still open then.
fn paying(history: &mut History) -> Hash {
    let open = terms(history.now + DAY, 3_600_000);
    let mut bound = open.clone();
    bound.miner_key = identity(&MINER).public();
    let void = history.lock("lock that will be void", &ALICE, 3_000_000, &open);
    let first = history.lock("lock of alice", &ALICE, 1_001, &open);
    let second = history.lock("lock of bob for one miner", &BOB, 4_000_000, &bound);
    let dust = history.sign(
        &ALICE,
        TransactionKind::Lock,
        999,
        counting(0x70),
        open.encode(),
    );
    history.refuse_body("dust", RecordBody::Transaction(dust));
    history.seal();

    // 2,002 micro-AIT: 1,001 of each lock; their fees are ⌈25.025⌉ = 26 and ⌈50.05⌉ − 26 = 25.
    let work = history.work(3_599_999, 2_002);
    let good = posts(&work, &[first, second], 250);
    let changed = |post: &Post, change: fn(&mut Post)| {
        let mut post = post.clone();
        change(&mut post);
        RecordBody::Post(post)
    };
    history.refuse_body("fee too high", changed(&good[0], |post| post.fee += 1));
    history.refuse_body(
        "posted too much",
        changed(&good[0], |post| post.posted += 1),
    );
    history.refuse_body(
        "billed over the work",
        changed(&good[0], |post| post.work_ms = 2_001),
    );
    history.refuse_body(
        "over the lock's rate",
        changed(&good[0], |post| post.rate = 3_600_001),
    );
    let other = changed(&good[1], |post| post.miner = PublicKey([1; 32]));
    history.refuse_body("not the lock's miner", other);
    history.append("first post of a chain", RecordBody::Post(good[0].clone()));
    history.refuse_body(
        "fee as of one lock",
        changed(&good[1], |post| post.fee = 26),
    );
    history.refuse_body(
        "another attempt in a chain",
        changed(&good[1], |post| post.attempt = 2),
    );
    let mut reversed = good[1].clone();
    reversed.lock = void.0;
    history.refuse_body("an earlier lock later", RecordBody::Post(reversed));
    history.append(
        "second post of the chain",
        RecordBody::Post(good[1].clone()),
    );
    history.refuse_body("paid twice", RecordBody::Post(good[1].clone()));
    void.0
}

fn returning(history: &mut History, lock: Hash) {
    let reason = VoidReason::UnknownJob;
    let body = RecordBody::Void { lock, reason };
    history.append("void", body.clone());
    history.refuse_body("void twice", body);

    let short = terms(history.now + 60_000, 1);
    let (lock, _) = history.lock("lock that will expire", &BOB, 1_000, &short);
    let expire = RecordBody::Expire {
        lock,
        reason: ExpireReason::Lock,
    };
    history.refuse_body("expired too early", expire.clone());
    history.now += 60_000;
    history.append("expire", expire);
}

/// Two unstakings that mature together.
fn stakes(history: &mut History) -> [Hash; 2] {
    let miner = identity(&MINER).public().0;
    let stake = |history: &History, by: &[u8; 32]| {
        RecordBody::Transaction(history.sign(by, TransactionKind::Stake, 1, miner, Vec::new()))
    };
    let stranger = stake(history, &ALICE);
    history.refuse_body("stake on a miner that never was bound", stranger);
    let consent = consent(&history.chain_id, &ALICE, 1, history.now + DAY).encode();
    history.transact("bind", &ALICE, TransactionKind::Bind, 0, miner, consent);
    history.transact(
        "stake",
        &ALICE,
        TransactionKind::Stake,
        5_000_000,
        miner,
        Vec::new(),
    );
    let other = stake(history, &BOB);
    history.refuse_body("stake by another wallet than the bound one", other);
    let too_much = history.sign(
        &ALICE,
        TransactionKind::Unstake,
        5_000_001,
        miner,
        Vec::new(),
    );
    history.refuse_body(
        "unstake more than staked",
        RecordBody::Transaction(too_much),
    );
    let part = history.transact(
        "unstake a part",
        &ALICE,
        TransactionKind::Unstake,
        2_000_000,
        miner,
        Vec::new(),
    );
    let rest = history.transact(
        "unstake the rest",
        &ALICE,
        TransactionKind::Unstake,
        3_000_000,
        miner,
        Vec::new(),
    );
    [part, rest]
}

fn bindings(history: &mut History) {
    let miner = identity(&MINER).public().0;
    let chain = history.chain_id;
    let until = history.now + DAY;
    let bind = |history: &History, by: &[u8; 32], payload| {
        RecordBody::Transaction(history.sign(by, TransactionKind::Bind, 0, miner, payload))
    };
    let stake = |history: &History, by: &[u8; 32]| {
        RecordBody::Transaction(history.sign(by, TransactionKind::Stake, 1, miner, Vec::new()))
    };
    let moved = bind(history, &BOB, consent(&chain, &BOB, 2, until).encode());
    history.refuse_body("bound to another wallet", moved);
    let skipped = bind(history, &ALICE, release(u32::MAX).encode());
    history.refuse_body("release with a skipped number", skipped);
    let released = bind(history, &ALICE, release(2).encode());
    history.append("release", released);
    let unbound = stake(history, &ALICE);
    history.refuse_body("stake by the staker after the release", unbound);
    let stolen = bind(history, &BOB, consent(&chain, &ALICE, 3, until).encode());
    history.refuse_body("consent to another wallet", stolen);
    let old = bind(history, &BOB, consent(&chain, &BOB, 2, until).encode());
    history.refuse_body("old consent", old);
    let again = bind(history, &BOB, consent(&chain, &BOB, 3, until).encode());
    history.append("bind to another wallet", again);
    let early = stake(history, &BOB);
    history.refuse_body("stake by the bound wallet beside another's", early);
}

fn allowances(history: &mut History) {
    let agent = identity(&AGENT).public().0;
    history.job = 0x74;
    let terms_until = history.now + 30 * DAY;
    history.transact(
        "allow",
        &ALICE,
        TransactionKind::Allow,
        3_000_000,
        agent,
        allowance(terms_until, 1).encode(),
    );
    let lock = history.agent_lock("lock under the allowance", 0, 2_000_000);
    let over = history.start(TransactionKind::Lock, 1, 1_000_001, counting(0x70));
    let over = by_agent(over, terms(history.now, 1).encode(), &ALICE);
    history.refuse_body("over the allowance", RecordBody::Transaction(over));
    let kept = history.agent_lock("second lock under the allowance", 1, 1_000_000);
    history.seal();

    let work = history.work(3_600_000, 1_234);
    history.pay("post under the allowance", &work, &[lock]);
    let logged = history.record(history_receipt()).body;
    history.append("receipt between two payments", logged);
    let again = posts(&work, &[kept], 250).remove(0);
    history.refuse_in_log("the job was paid before", RecordBody::Post(again));
    history.transact(
        "revoke",
        &ALICE,
        TransactionKind::Allow,
        0,
        agent,
        allowance(0, 2).encode(),
    );
    let after = history.start(TransactionKind::Lock, 2, 1_000, counting(0x70));
    let after = by_agent(after, terms(history.now, 1).encode(), &ALICE);
    history.refuse_body("revoked allowance", RecordBody::Transaction(after));
    let (lock, reason) = (kept.0, VoidReason::Cancelled);
    history.append(
        "void under a revoked allowance",
        RecordBody::Void { lock, reason },
    );
}

fn matured(history: &mut History, [part, rest]: [Hash; 2]) {
    let miner = identity(&MINER).public().0;
    let unstaked = |lock| RecordBody::Expire {
        lock,
        reason: ExpireReason::Unstaked,
    };
    history.refuse_body("unstaked too early", unstaked(part));
    history.now += 7 * DAY;
    history.append("unstaked part", unstaked(part));
    history.append("unstaked rest", unstaked(rest));
    history.transact(
        "stake of another wallet",
        &BOB,
        TransactionKind::Stake,
        1,
        miner,
        Vec::new(),
    );
}

fn words(history: &mut History) {
    let entry = ReceiptEntry {
        job_ref: counting(0x71),
        attempt: 1,
        miner: identity(&MINER).public(),
        receipt_id: counting(0x60),
    };
    history.append("receipt", RecordBody::Receipt(entry));
    let chain = history.chain_id;
    let ack = |chain, by: &[u8; 32]| {
        let ack = acknowledgement(chain, Verdict::Matches);
        let signature = ack.sign(&identity(by));
        RecordBody::Acknowledgement(ack, signature)
    };
    history.refuse_body("acknowledged on another chain", ack(counting(0x01), &OWNER));
    history.refuse_body("acknowledged by another", ack(chain, &MINER));
    // The neutral point as key and as R, and S = 0: a signature of anything, for verifiers that are not strict.
    let mut anyone = acknowledgement(chain, Verdict::Matches);
    anyone.owner.0 = [0; 32];
    anyone.owner.0[0] = 1;
    let mut signature = [0; 64];
    signature[0] = 1;
    history.refuse_body(
        "acknowledged by a key of small order",
        RecordBody::Acknowledgement(anyone, signature),
    );
    history.append("acknowledgement", ack(chain, &OWNER));
    for (name, change) in [
        (
            "seal of another height",
            (|seal| seal.height += 1) as fn(&mut Seal),
        ),
        ("seal that skips a record", |seal| seal.first += 1),
        ("seal of fewer records", |seal| seal.count -= 1),
        ("seal of more money", |seal| seal.minted += 1),
        ("seal of burned money", |seal| seal.burned += 1),
    ] {
        let mut seal = history.next_seal();
        change(&mut seal);
        history.refuse_body(name, RecordBody::Seal(seal));
    }
    history.seal();
    let mut empty = history.next_seal();
    empty.count = 0;
    history.refuse_body("seal of nothing", RecordBody::Seal(empty));
    let mut gap = history.record(history_receipt());
    gap.index += 1;
    history.refuse("gap", &gap);
}

fn history_receipt() -> RecordBody {
    RecordBody::Receipt(ReceiptEntry {
        job_ref: counting(0x72),
        attempt: 1,
        miner: PublicKey(counting(0x01)),
        receipt_id: counting(0x60),
    })
}

#[test]
fn a_small_history() {
    let mut history = begun();
    transfers(&mut history);
    let open = paying(&mut history);
    returning(&mut history, open);
    let unstakings = stakes(&mut history);
    bindings(&mut history);
    allowances(&mut history);
    matured(&mut history, unstakings);
    renting(&mut history);
    slashing(&mut history);
    auditing(&mut history);
    words(&mut history);
    let rest: Vec<(&StateKey, &Entry)> = history.state.entries().collect();
    let state: Vec<Value> = rest
        .into_iter()
        .map(|(key, entry)| {
            json!({"key": hex::encode(key.bytes()), "place": hex::encode(key.tree_key()), "value": hex::encode(entry.encode())})
        })
        .collect();
    check(
        "ledger.json",
        &json!({
            "chain_id": hex::encode(history.chain_id),
            "began_ms": number(BEGIN),
            "keys": keys(),
            "records": history.records,
            "seals": history.seals,
            "refused": history.refused,
            "state": state,
        }),
    );
}
