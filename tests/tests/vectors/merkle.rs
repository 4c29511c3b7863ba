//! Vectors of the state root, the log and its checkpoints.

use std::collections::BTreeMap;
use std::convert::Infallible;

use aitbc_common::hash::{Hash, tagged};
use aitbc_common::identity::Identity;
use aitbc_common::ledger::checkpoint::{Advance, LogIdentity, Violation, sign};
use aitbc_common::ledger::log::{
    LogStore, TreeHead, append, leaf_hash, prove_consistency, prove_inclusion, root,
    verify_consistency, verify_inclusion,
};
use aitbc_common::ledger::state_tree::{self, Changes, MemoryTree, root_of};
use serde_json::{Value, json};

use super::{check, counting, number};

/// An entry's key and its preimage: type 1 and a wallet's address.
fn state_key(number: u8) -> (Vec<u8>, Hash) {
    let mut entry = vec![1, 0];
    entry.extend_from_slice(&counting::<20>(number));
    let key = tagged("aitbc/state/v1", &entry);
    (entry, key)
}

fn state_tree_vector(name: &str, entries: &[(Hash, Vec<u8>)], absent: &[Hash]) -> Value {
    let changes: Changes = entries
        .iter()
        .map(|(key, value)| (*key, Some(value.clone())))
        .collect();
    let mut tree = MemoryTree::default();
    tree.apply(&changes).expect("short values");
    assert_eq!(tree.root(), root_of(tree.values()));
    let keys = entries.iter().map(|(key, _)| key).chain(absent);
    let proofs: Vec<Value> = keys
        .map(|key| {
            let proof = tree.prove(key).encode();
            let value = state_tree::verify(&tree.root(), key, &proof).expect("proven");
            assert_eq!(value.as_ref(), tree.values().get(key));
            json!({"key": hex::encode(key), "value": value.map(hex::encode), "proof": hex::encode(proof)})
        })
        .collect();
    let entries: Vec<Value> = entries
        .iter()
        .map(|(key, value)| json!({"key": hex::encode(key), "value": hex::encode(value)}))
        .collect();
    json!({"name": name, "entries": entries, "root": hex::encode(tree.root()), "proofs": proofs})
}

/// A good proof of the entry `key`, spoilt in every way that a verifier must notice.
fn invalid_state_proofs(tree: &MemoryTree, key: Hash, absent: Hash) -> Vec<Value> {
    let good = tree.prove(&key).encode();
    let other = tree.prove(&absent).encode();
    assert_eq!((good[1], other[1]), (1, 2), "an entry, and another entry");
    let with = |at: usize, byte: u8| {
        let mut proof = good.clone();
        proof[at] = byte;
        proof
    };
    let count = usize::from(u16::from_be_bytes([good[2], good[3]]));
    let last_empty = {
        let mut proof = good.clone();
        let bitmap = count.div_ceil(8);
        proof[3] += 1;
        assert_eq!((count + 1).div_ceil(8), bitmap, "room for one more");
        proof
    };
    let mut dressed = good.clone();
    dressed[1] = 2;
    let value = dressed.split_off(dressed.len() - 3);
    dressed.extend_from_slice(&key);
    dressed.extend_from_slice(&value);
    let mut cases = vec![
        ("empty", key, Vec::new()),
        ("version 0", key, with(0, 0)),
        ("undefined end", key, with(1, 3)),
        ("257 siblings", key, [&[1, 0, 1, 1], &[0; 33][..]].concat()),
        ("a sibling short", key, with(3, good[3] - 1)),
        ("last sibling empty", key, last_empty),
        ("bit set after the last", key, with(4, good[4] | 1)),
        ("changed sibling", key, with(9, good[9] ^ 1)),
        ("changed value", key, with(good.len() - 1, 0xff)),
        ("one byte long", key, [&good[..], &[0]].concat()),
        ("an entry for another key", absent, good.clone()),
        ("absence of the entry by itself", key, dressed.clone()),
        ("absence by an entry elsewhere", absent, dressed),
        ("absence of an entry that is there", key, other),
    ];
    let empty_value = [&good[..good.len() - 3], &[0, 0]].concat();
    cases.push(("empty value", key, empty_value));
    cases
        .into_iter()
        .map(|(name, key, proof)| {
            let error = state_tree::verify(&tree.root(), &key, &proof).expect_err(name);
            json!({
                "name": name,
                "root": hex::encode(tree.root()),
                "key": hex::encode(key),
                "proof": hex::encode(proof),
                "error": error.to_string(),
            })
        })
        .collect()
}

#[test]
fn state_tree() {
    let entry = |number: u8| (state_key(number).1, vec![number; usize::from(number) + 1]);
    let many: Vec<_> = (0..20).map(entry).collect();
    let (mut left, mut right) = (counting::<32>(0x40), counting::<32>(0x40));
    (left[31], right[31]) = (0x60, 0x61);
    let keys: Vec<Value> = (0..3)
        .map(|number| {
            let (entry, key) = state_key(number);
            json!({"entry": hex::encode(entry), "key": hex::encode(key)})
        })
        .collect();

    let mut tree = MemoryTree::default();
    let short: Changes = (0..20)
        .map(|number| (state_key(number).1, Some(vec![number])))
        .collect();
    tree.apply(&short).expect("short values");
    let absent = (20..=255)
        .map(|number| state_key(number).1)
        .find(|key| tree.prove(key).encode()[1] == 2)
        .expect("some path ends at another entry");
    let elsewhere = (0..20).map(|number| state_key(number).1);
    let key = elsewhere
        .filter(|key| key[0] >> 7 != absent[0] >> 7)
        .find(|key| (3..7).contains(&tree.prove(key).encode()[3]))
        .expect("some entry in the other half");

    check(
        "state_tree.json",
        &json!({
            "keys": keys,
            "trees": [
                state_tree_vector("empty", &[], &[state_key(0).1]),
                state_tree_vector("one entry", &many[..1], &[state_key(1).1]),
                state_tree_vector("twenty entries", &many, &[20, 21, 22, 23, 24].map(|number| state_key(number).1)),
                state_tree_vector("keys alike up to the last bit", &[(left, vec![1]), (right, vec![2])], &[[0; 32], counting(0x40)]),
            ],
            "invalid": invalid_state_proofs(&tree, key, absent),
        }),
    );
}

struct Rows(BTreeMap<u64, Vec<u8>>);

impl LogStore for Rows {
    type Error = Infallible;

    fn rows(&self, records: &[u64]) -> Result<Vec<Option<Vec<u8>>>, Infallible> {
        let found = records.iter().map(|record| self.0.get(record).cloned());
        Ok(found.collect())
    }
}

impl Rows {
    fn of(records: &[Vec<u8>]) -> Self {
        let leaves: Vec<_> = records.iter().map(|record| leaf_hash(record)).collect();
        let mut rows = Self(BTreeMap::new());
        let appended = append(&rows, 0, &leaves).expect("in memory");
        rows.0.extend(appended.rows);
        rows
    }

    fn head(&self, size: u64) -> TreeHead {
        let root = root(self, size).expect("in memory");
        TreeHead { size, root }
    }
}

fn records(count: u8, first: u8) -> Vec<Vec<u8>> {
    let record = |number: u8| vec![first.wrapping_add(number); usize::from(number)];
    (0..count).map(record).collect()
}

fn hexes(hashes: &[Hash]) -> Vec<String> {
    hashes.iter().map(hex::encode).collect()
}

fn head_json(head: &TreeHead) -> Value {
    json!({"size": number(head.size), "root": hex::encode(head.root)})
}

#[test]
fn log() {
    let records = records(13, 0x10);
    let rows = Rows::of(&records);
    let heads: Vec<TreeHead> = (0..=13).map(|size| rows.head(size)).collect();
    let mut inclusion = Vec::new();
    for (index, size) in [
        (0, 1),
        (0, 2),
        (1, 2),
        (2, 3),
        (4, 7),
        (6, 7),
        (7, 8),
        (0, 13),
        (8, 13),
        (12, 13),
    ] {
        let proof = prove_inclusion(&rows, index, size).expect("in memory");
        let at = usize::try_from(index).expect("small");
        let (leaf, head) = (leaf_hash(&records[at]), rows.head(size));
        assert_eq!(verify_inclusion(&proof, index, &leaf, &head), Ok(()));
        inclusion
            .push(json!({"index": number(index), "size": number(size), "proof": hexes(&proof)}));
    }
    let mut consistency = Vec::new();
    for (old, new) in [
        (0, 0),
        (0, 13),
        (1, 1),
        (1, 2),
        (2, 3),
        (3, 7),
        (4, 8),
        (6, 8),
        (7, 13),
        (8, 13),
        (12, 13),
    ] {
        let proof = prove_consistency(&rows, old, new).expect("in memory");
        let (old, new) = (rows.head(old), rows.head(new));
        assert_eq!(verify_consistency(&proof, &old, &new), Ok(()));
        consistency.push(
            json!({"old": number(old.size), "new": number(new.size), "proof": hexes(&proof)}),
        );
    }
    check(
        "log.json",
        &json!({
            "records": records.iter().map(hex::encode).collect::<Vec<_>>(),
            "rows": rows.0.values().map(hex::encode).collect::<Vec<_>>(),
            "heads": heads.iter().map(head_json).collect::<Vec<_>>(),
            "inclusion": inclusion,
            "consistency": consistency,
            "invalid_inclusion": invalid_inclusion(&rows, &records),
            "invalid_consistency": invalid_consistency(&rows),
        }),
    );
}

fn invalid_inclusion(rows: &Rows, records: &[Vec<u8>]) -> Vec<Value> {
    let head = rows.head(13);
    let good = prove_inclusion(rows, 4, 13).expect("in memory");
    let mut changed = good.clone();
    changed[1][31] ^= 1;
    let longer = [&good[..], &good[..1]].concat();
    let huge = TreeHead {
        size: (1 << 62) + 1,
        ..head
    };
    [
        ("changed hash", changed, 4, head),
        ("one hash short", good[1..].to_vec(), 4, head),
        ("one hash long", longer, 4, head),
        ("another index", good.clone(), 5, head),
        ("an index beyond the log", good.clone(), 13, head),
        ("another size", good.clone(), 4, rows.head(12)),
        ("the empty log", Vec::new(), 0, rows.head(0)),
        ("64 hashes", vec![head.root; 64], 4, head),
        ("a size over 2^62", good, 4, huge),
    ]
    .into_iter()
    .map(|(name, proof, index, head)| {
        let leaf = leaf_hash(&records[4]);
        let error = verify_inclusion(&proof, index, &leaf, &head).expect_err(name);
        json!({
            "name": name, "index": number(index), "leaf": hex::encode(leaf), "head": head_json(&head),
            "proof": hexes(&proof), "error": error.to_string(),
        })
    })
    .collect()
}

fn invalid_consistency(rows: &Rows) -> Vec<Value> {
    let (old, new) = (rows.head(7), rows.head(13));
    let good = prove_consistency(rows, 7, 13).expect("in memory");
    let mut changed = good.clone();
    changed[0][0] ^= 1;
    let forked = TreeHead {
        root: new.root,
        ..old
    };
    let no_root = TreeHead {
        size: 0,
        root: [0; 32],
    };
    [
        ("changed hash", changed, old, new),
        ("one hash short", good[1..].to_vec(), old, new),
        ("no hash", Vec::new(), old, new),
        ("another old root", good.clone(), forked, new),
        ("another old size", good.clone(), rows.head(6), new),
        ("smaller", good.clone(), new, old),
        ("same size, other root", Vec::new(), old, forked),
        ("same size, with a hash", good[..1].to_vec(), old, old),
        (
            "from an empty log, with a hash",
            good[..1].to_vec(),
            rows.head(0),
            new,
        ),
        ("from an empty log with a root", Vec::new(), no_root, new),
        ("64 hashes", vec![new.root; 64], old, new),
    ]
    .into_iter()
    .map(|(name, proof, old, new)| {
        let error = verify_consistency(&proof, &old, &new).expect_err(name);
        json!({
            "name": name, "old": head_json(&old), "new": head_json(&new),
            "proof": hexes(&proof), "error": error.to_string(),
        })
    })
    .collect()
}

const LOG_SEED: [u8; 32] = [0x44; 32];

fn invalid_checkpoints(log: &LogIdentity, head: &TreeHead, key: &Identity) -> Vec<Value> {
    let good = sign(&log.chain_id, head, key);
    let larger = TreeHead {
        size: head.size + 1,
        ..*head
    };
    let line = |text: &str| text.lines().last().expect("a signature").to_owned();
    let (text, _) = good.split_once("\n\n").expect("text and signatures");
    let stranger = sign(&log.chain_id, head, &Identity::from_seed(&[0x55; 32]));
    let no_log = TreeHead { size: 0, ..*head };
    [
        ("empty", String::new()),
        ("no signature", format!("{text}\n\n")),
        ("another key", stranger),
        ("another chain", sign(&counting(0x02), head, key)),
        (
            "the signature of another size",
            format!("{text}\n\n{}\n", line(&sign(&log.chain_id, &larger, key))),
        ),
        (
            "its key under another name",
            good.replace("— aitbc/", "— other/"),
        ),
        ("leading zero", good.replacen("\n13\n", "\n013\n", 1)),
        ("no line end", good.trim_end().to_owned()),
        ("size 0 with a root", sign(&log.chain_id, &no_log, key)),
        (
            "over 4096 bytes",
            format!("{good}— x {}\n", "A".repeat(4_092)),
        ),
    ]
    .into_iter()
    .map(|(name, text)| {
        let error = log.open(&text).expect_err(name);
        json!({"name": name, "text": text, "error": error.to_string()})
    })
    .collect()
}

fn advances(log: &LogIdentity, key: &Identity) -> Vec<Value> {
    let (honest, forked) = (Rows::of(&records(13, 0x10)), Rows::of(&records(13, 0x20)));
    let proof = |rows: &Rows, old, new| prove_consistency(rows, old, new).expect("in memory");
    [
        ("the same", honest.head(7), honest.head(7), Vec::new()),
        ("a later one", honest.head(7), honest.head(13), proof(&honest, 7, 13)),
        ("the first records", honest.head(0), honest.head(13), Vec::new()),
        ("a smaller log", honest.head(13), honest.head(7), proof(&honest, 7, 13)),
        ("another root", honest.head(7), forked.head(7), Vec::new()),
        ("another history", honest.head(7), forked.head(13), proof(&forked, 7, 13)),
        ("no proof", honest.head(7), honest.head(13), Vec::new()),
    ]
    .into_iter()
    .map(|(name, pinned, new, proof)| {
        let text = sign(&log.chain_id, &new, key);
        let result = match log.advance(&pinned, &text, &proof) {
            Ok(Advance::Same) => "same",
            Ok(Advance::Newer(head)) => {
                assert_eq!(head, new);
                "newer"
            }
            Err(Violation::Rollback { .. }) => "rollback",
            Err(Violation::Fork { .. }) => "fork",
            Err(Violation::Inconsistent { .. }) => "inconsistent",
            Err(Violation::Checkpoint(error)) => panic!("{name}: {error}"),
        };
        json!({
            "name": name, "pinned": head_json(&pinned), "checkpoint": text, "proof": hexes(&proof), "result": result,
        })
    })
    .collect()
}

#[test]
fn checkpoint() {
    let key = Identity::from_seed(&LOG_SEED);
    let log = LogIdentity {
        chain_id: counting(0x01),
        key: key.public(),
    };
    let rows = Rows::of(&records(13, 0x10));
    let vectors: Vec<Value> = [0, 1, 13]
        .map(|size| {
            let head = rows.head(size);
            let text = sign(&log.chain_id, &head, &key);
            assert_eq!(log.open(&text), Ok(head));
            json!({"head": head_json(&head), "text": text})
        })
        .into();
    let witnessed = {
        let text = sign(&log.chain_id, &rows.head(13), &key);
        let stranger = sign(
            &counting(0x02),
            &rows.head(13),
            &Identity::from_seed(&[0x55; 32]),
        );
        let line = stranger.lines().last().expect("a signature");
        text.replace("\n\n", &format!("\n\n{line}\n"))
    };
    assert_eq!(log.open(&witnessed), Ok(rows.head(13)));
    check(
        "checkpoint.json",
        &json!({
            "chain_id": hex::encode(log.chain_id),
            "log_seed": hex::encode(LOG_SEED),
            "log_key": hex::encode(log.key.0),
            "origin": log.origin(),
            "vectors": vectors,
            "witnessed": {"head": head_json(&rows.head(13)), "text": witnessed},
            "invalid": invalid_checkpoints(&log, &rows.head(13), &key),
            "advances": advances(&log, &key),
        }),
    );
}
