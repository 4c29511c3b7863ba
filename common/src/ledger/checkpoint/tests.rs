use std::collections::BTreeMap;
use std::convert::Infallible;

use proptest::prelude::*;

use super::*;
use crate::ledger::log::{LogStore, append, leaf_hash, prove_consistency, root};

struct Rows(BTreeMap<u64, Vec<u8>>);

impl LogStore for Rows {
    type Error = Infallible;

    fn rows(&self, records: &[u64]) -> Result<Vec<Option<Vec<u8>>>, Infallible> {
        let found = records.iter().map(|record| self.0.get(record).cloned());
        Ok(found.collect())
    }
}

/// A log of some records and its heads.
fn rows(size: u64, name: &str) -> Rows {
    let leaves: Vec<_> = (0..size)
        .map(|record| leaf_hash(format!("{name} {record}").as_bytes()))
        .collect();
    let mut rows = Rows(BTreeMap::new());
    let appended = append(&rows, 0, &leaves).expect("in memory");
    rows.0.extend(appended.rows);
    rows
}

fn head(rows: &Rows, size: u64) -> TreeHead {
    let root = root(rows, size).expect("in memory");
    TreeHead { size, root }
}

const CHAIN: Hash = [7; 32];

fn key() -> Identity {
    Identity::from_seed(&[1; 32])
}

fn log() -> LogIdentity {
    LogIdentity {
        chain_id: CHAIN,
        key: key().public(),
    }
}

#[test]
fn a_checkpoint_is_three_lines_and_a_signature() {
    let head = head(&rows(5, "a"), 5);
    let text = sign(&CHAIN, &head, &key());
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], format!("aitbc/{}", "07".repeat(32)));
    assert_eq!((lines[1], lines[3]), ("5", ""));
    assert!(lines[4].starts_with(&format!("— {} ", log().origin())));
    assert_eq!(lines.len(), 5);
    assert_eq!(log().open(&text), Ok(head));
    assert_eq!(text, sign(&CHAIN, &head, &key()));
}

#[test]
fn a_verifier_of_another_make_accepts_it() {
    let head = head(&rows(5, "a"), 5);
    let text = sign(&CHAIN, &head, &key());
    let key = ed25519_dalek::VerifyingKey::from_bytes(&log().key.0).expect("a key");
    let text_of_key = signed_note::new_ed25519_verifier_key(&log().origin(), &key);
    let verifier = signed_note::StandardVerifier::new(&text_of_key).expect("a verifier's key");
    let known = signed_note::VerifierList::new(vec![Box::new(verifier)]);
    let note = Note::from_bytes(text.as_bytes()).expect("a note");
    note.verify(&known).expect("signed");
}

#[test]
fn only_the_logs_own_key_counts() {
    let head = head(&rows(5, "a"), 5);
    let own = sign(&CHAIN, &head, &key());
    let stranger = sign(&CHAIN, &head, &Identity::from_seed(&[2; 32]));
    let wrong_key = CheckpointError::WrongKey(log().key);
    assert_eq!(log().open(&stranger), Err(wrong_key.clone()));
    // A stranger's signature beside ours is ignored, right or wrong, before or after it.
    let strange_line = stranger.lines().last().expect("a signature");
    let witness = strange_line.replace("aitbc/", "witness.example/");
    for line in [strange_line, &witness] {
        let after = format!("{own}{line}\n");
        let before = own.replace("\n\n", &format!("\n\n{line}\n"));
        assert_eq!(log().open(&after), Ok(head));
        assert_eq!(log().open(&before), Ok(head));
    }
    // Our signature under another name is not ours.
    let renamed = own.replace("— aitbc/", "— other/");
    assert_eq!(log().open(&renamed), Err(wrong_key));
    // Our key's name with a signature over something else.
    let other = sign(&CHAIN, &TreeHead { size: 6, ..head }, &key());
    let signature = other.lines().last().expect("a signature");
    let text = own.split("\n\n").next().expect("the text");
    let swapped = format!("{text}\n\n{signature}\n");
    let bad = CheckpointError::BadSignature(log().key);
    assert_eq!(log().open(&swapped), Err(bad));
}

#[test]
fn another_chain_is_told_apart() {
    let head = head(&rows(5, "a"), 5);
    let text = sign(&[8; 32], &head, &key());
    let error = CheckpointError::WrongChain {
        found: format!("aitbc/{}", "08".repeat(32)),
        wanted: log().origin(),
    };
    assert_eq!(log().open(&text), Err(error.clone()));
    let advanced = log().advance(&head, &text, &[]);
    assert_eq!(advanced, Err(Violation::Checkpoint(error)));
}

#[test]
fn texts_beyond_the_bounds_are_refused() {
    let good = head(&rows(5, "a"), 5);
    let text = sign(&CHAIN, &good, &key());
    let long = format!("{text}{}", "x".repeat(MAX_CHECKPOINT_BYTES));
    assert_eq!(log().open(&long), Err(CheckpointError::Length(long.len())));
    let impossible = [
        TreeHead { size: 0, ..good },
        TreeHead {
            size: MAX_SIZE + 1,
            ..good
        },
        TreeHead {
            size: 5,
            root: EMPTY_ROOT,
        },
    ];
    for head in impossible {
        let text = sign(&CHAIN, &head, &key());
        assert_eq!(log().open(&text), Err(CheckpointError::Malformed));
    }
    // Other lines, even signed ones.
    let (lines, _) = text.split_once("\n\n").expect("two parts");
    let body = format!("{lines}\nmore\n");
    let id = LogVerifier::new(&log()).id;
    let signature = Signature::new(log().origin(), id, key().sign(body.as_bytes()).to_vec());
    let note = Note::new(body.as_bytes(), &[signature.expect("a name")]).expect("a note");
    let extended = String::from_utf8(note.to_bytes()).expect("UTF-8");
    assert_eq!(log().open(&extended), Err(CheckpointError::Malformed));
}

#[test]
fn a_client_tells_progress_from_every_violation() {
    let (honest, forked) = (rows(12, "a"), rows(12, "b"));
    let (five, nine) = (head(&honest, 5), head(&honest, 9));
    let signed = |head: &TreeHead| sign(&CHAIN, head, &key());
    let proof = prove_consistency(&honest, 5, 9).expect("in memory");

    assert_eq!(log().advance(&five, &signed(&five), &[]), Ok(Advance::Same));
    let newer = log().advance(&five, &signed(&nine), &proof);
    assert_eq!(newer, Ok(Advance::Newer(nine)));
    let rollback = Violation::Rollback {
        pinned: nine,
        new: five,
    };
    assert_eq!(log().advance(&nine, &signed(&five), &proof), Err(rollback));
    let other = head(&forked, 5);
    let fork = Violation::Fork {
        pinned: five,
        new: other,
    };
    assert_eq!(log().advance(&five, &signed(&other), &[]), Err(fork));

    let (new, forked_proof) = (head(&forked, 9), prove_consistency(&forked, 5, 9));
    for proof in [proof.clone(), forked_proof.expect("in memory"), Vec::new()] {
        let inconsistent = Violation::Inconsistent {
            pinned: five,
            new,
            problem: LogProofError::Root,
        };
        assert_eq!(
            log().advance(&five, &signed(&new), &proof),
            Err(inconsistent)
        );
    }
    let too_long = log().advance(&five, &signed(&nine), &[[0; 32]; 64]);
    assert!(matches!(
        too_long,
        Err(Violation::Inconsistent {
            problem: LogProofError::Length(64),
            ..
        })
    ));

    let empty = head(&honest, 0);
    assert_eq!(
        log().advance(&empty, &signed(&empty), &[]),
        Ok(Advance::Same)
    );
    let first = log().advance(&empty, &signed(&nine), &[]);
    assert_eq!(first, Ok(Advance::Newer(nine)));
    let wiped = Violation::Rollback {
        pinned: five,
        new: empty,
    };
    assert_eq!(log().advance(&five, &signed(&empty), &[]), Err(wiped));
}

#[test]
fn no_flipped_bit_passes() {
    let text = sign(&CHAIN, &head(&rows(5, "a"), 5), &key());
    for (at, bit) in (0..text.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
        let mut changed = text.clone().into_bytes();
        changed[at] ^= 1 << bit;
        if let Ok(changed) = String::from_utf8(changed) {
            assert!(log().open(&changed).is_err(), "bit {bit} of byte {at}");
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_texts_never_panic(text in "\\PC{0,80}", lines in prop::collection::vec("[—a-z0-9 =/+]{0,60}", 0..8)) {
        prop_assert!(log().open(&text).is_err());
        let noted = format!("{}\n\n— {}\n", lines.join("\n"), lines.concat());
        prop_assert!(log().open(&noted).is_err());
    }
}
