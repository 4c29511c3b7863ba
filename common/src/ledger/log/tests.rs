use std::cell::Cell;
use std::fmt;

use doubleentry::log::{ConsistencyProof, Hash as OracleHash, InclusionProof, root_of};
use doubleentry::store::Tree;
use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("broken")
    }
}

impl std::error::Error for Broken {}

/// Rows in memory, with a count of what is read.
#[derive(Default)]
struct Rows {
    rows: BTreeMap<u64, Vec<u8>>,
    head: Option<TreeHead>,
    read: Cell<usize>,
    calls: Cell<usize>,
    is_broken: bool,
}

impl Rows {
    fn of(size: u64) -> Self {
        let mut rows = Self::default();
        rows.extend(&leaves(0..size));
        rows
    }

    fn extend(&mut self, leaves: &[Hash]) -> TreeHead {
        let size = self.head.map_or(0, |head| head.size);
        let appended = append(self, size, leaves).expect("whole rows");
        self.rows.extend(appended.rows);
        self.head = Some(appended.head);
        appended.head
    }

    fn at(&self, size: u64) -> TreeHead {
        let root = root(self, size).expect("whole rows");
        TreeHead { size, root }
    }

    fn counts(&self) -> (usize, usize) {
        (self.calls.replace(0), self.read.replace(0))
    }
}

impl LogStore for Rows {
    type Error = Broken;

    fn rows(&self, records: &[u64]) -> Result<Vec<Option<Vec<u8>>>, Broken> {
        assert!(records.is_sorted(), "a store reads keys in order fastest");
        self.calls.set(self.calls.get() + 1);
        self.read.set(self.read.get() + records.len());
        if self.is_broken {
            return Err(Broken);
        }
        let found = records.iter().map(|record| self.rows.get(record).cloned());
        Ok(found.collect())
    }
}

fn leaves(records: std::ops::Range<u64>) -> Vec<Hash> {
    records
        .map(|record| leaf_hash(&record.to_be_bytes()))
        .collect()
}

fn oracle(leaves: &[Hash]) -> (Vec<OracleHash>, Tree) {
    let hashes: Vec<_> = leaves
        .iter()
        .map(|leaf| OracleHash::from_bytes(*leaf))
        .collect();
    let mut tree = Tree::new();
    for hash in &hashes {
        tree.push(*hash).expect("far from full");
    }
    (hashes, tree)
}

fn own(hashes: &[OracleHash]) -> Vec<Hash> {
    hashes.iter().map(|hash| *hash.as_bytes()).collect()
}

#[test]
fn hashes_and_roots_are_those_of_rfc_6962() {
    let (hashes, _) = oracle(&leaves(0..130));
    assert_eq!(
        *doubleentry::log::leaf_hash(b"record").as_bytes(),
        leaf_hash(b"record")
    );
    let rows = Rows::of(130);
    for size in 0..=130 {
        let wanted = root_of(&hashes[..usize::try_from(size).expect("small")]);
        assert_eq!(rows.at(size).root, *wanted.as_bytes(), "size {size}");
    }
    assert_eq!(rows.at(0).root, EMPTY_ROOT);
}

#[test]
fn proofs_are_those_of_rfc_6962_and_hold_for_their_sizes_alone() {
    let leaves = leaves(0..40);
    let (hashes, tree) = oracle(&leaves);
    let rows = Rows::of(40);
    for size in 1..=40 {
        let head = rows.at(size);
        for index in 0..size {
            let at = usize::try_from(index).expect("small");
            let proof = prove_inclusion(&rows, index, size).expect("whole rows");
            let wanted: InclusionProof = tree.inclusion_proof(index, size).expect("in range");
            assert_eq!(proof, own(&wanted.path), "{index} of {size}");
            assert_eq!(verify_inclusion(&proof, index, &leaves[at], &head), Ok(()));
            let other = verify_inclusion(&proof, (index + 1) % size, &leaves[at], &head);
            assert_eq!(other.is_ok(), size == 1);
            wanted
                .verify(&hashes[at], &tree.head_at(size).expect("in range"))
                .expect("the oracle agrees");
        }
        for old in 1..=size {
            let proof = prove_consistency(&rows, old, size).expect("whole rows");
            let wanted: ConsistencyProof = tree.consistency_proof(old, size).expect("in range");
            assert_eq!(proof, own(&wanted.path), "{old} to {size}");
            let old_head = rows.at(old);
            assert_eq!(verify_consistency(&proof, &old_head, &head), Ok(()));
            let forked = TreeHead {
                size: old,
                root: leaf_hash(b"fork"),
            };
            assert_eq!(
                verify_consistency(&proof, &forked, &head),
                Err(LogProofError::Root)
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_rows_do_not_depend_on_the_commits(cuts in prop::collection::vec(0_usize..40, 0..12)) {
        let mut rows = Rows::default();
        for cut in &cuts {
            let size = rows.head.map_or(0, |head| head.size);
            let head = rows.extend(&leaves(size..size + *cut as u64));
            let (calls, _) = rows.counts();
            prop_assert!(calls <= 1);
            prop_assert_eq!(head, rows.at(head.size));
            rows.counts();
        }
        let size = cuts.iter().sum::<usize>() as u64;
        prop_assert_eq!(rows.rows, Rows::of(size).rows);
    }

    #[test]
    fn no_changed_proof_passes(size in 2_u64..60, at in any::<prop::sample::Index>(), byte in 0_usize..32, bit in 0_u32..8) {
        let rows = Rows::of(size);
        let (head, index) = (rows.at(size), at.index(usize::try_from(size).expect("small")) as u64);
        let leaf = leaf_hash(&index.to_be_bytes());
        let proof = prove_inclusion(&rows, index, size).expect("whole rows");
        for changed in changes(&proof, byte, bit) {
            prop_assert!(verify_inclusion(&changed, index, &leaf, &head).is_err());
        }
        let mut other = leaf;
        other[byte] ^= 1 << bit;
        prop_assert!(verify_inclusion(&proof, index, &other, &head).is_err());

        let old = rows.at(index + 1);
        let proof = prove_consistency(&rows, old.size, size).expect("whole rows");
        for changed in changes(&proof, byte, bit) {
            prop_assert!(verify_consistency(&changed, &old, &head).is_err());
        }
        for (mut old, mut new) in [(old, head), (head, old)] {
            new.root[byte] ^= 1 << bit;
            prop_assert!(verify_consistency(&proof, &old, &new).is_err());
            old.root[byte] ^= 1 << bit;
            new.root[byte] ^= 1 << bit;
            prop_assert!(verify_consistency(&proof, &old, &new).is_err());
        }
    }

    #[test]
    fn arbitrary_proofs_fail_and_never_panic(hash in any::<Hash>(), count in 0_usize..70, old in any::<u64>(), new in any::<u64>()) {
        let proof = vec![hash; count];
        let (old, new) = (TreeHead { size: old, root: [1; 32] }, TreeHead { size: new, root: [2; 32] });
        for (old, new) in [(old, new), (new, old)] {
            prop_assert!(verify_inclusion(&proof, old.size, &[1; 32], &new).is_err());
            prop_assert!(verify_consistency(&proof, &old, &new).is_err());
        }
    }
}

/// A proof with one bit flipped, one hash less, one more.
fn changes(proof: &[Hash], byte: usize, bit: u32) -> Vec<Vec<Hash>> {
    let mut changed = vec![[proof, &[[7; 32]]].concat()];
    for at in 0..proof.len() {
        let mut flipped = proof.to_vec();
        flipped[at][byte] ^= 1 << bit;
        let mut shorter = proof.to_vec();
        shorter.remove(at);
        changed.extend([flipped, shorter]);
    }
    changed
}

#[test]
fn a_large_log_reads_about_two_rows_per_level() {
    let mut rows = Rows::of(50_001);
    rows.counts();
    let mut questions = vec![(1, 2), (25_000, 40_003), (50_000, 50_001), (1, 50_001)];
    questions.extend((1..200).map(|n| (n * 7, 49_000 + n)));
    for (old, new) in questions {
        prove_inclusion(&rows, old - 1, new).expect("whole rows");
        prove_consistency(&rows, old, new).expect("whole rows");
        rows.at(new);
        let (calls, read) = rows.counts();
        assert!(calls <= 3, "{calls} calls");
        assert!(read <= 16 + 2 * 32, "{read} rows for {old} of {new}");
    }
    rows.extend(&leaves(50_001..54_097));
    let (calls, read) = rows.counts();
    assert!(calls == 1 && read <= 16, "{calls} calls, {read} rows");
}

#[test]
fn what_the_log_does_not_have_is_said() {
    let mut rows = Rows::of(10);
    let no_record = LogError::NoRecord { index: 7, size: 7 };
    assert_eq!(prove_inclusion(&rows, 7, 7), Err(no_record));
    let order = LogError::Order { old: 8, new: 7 };
    assert_eq!(prove_consistency(&rows, 8, 7), Err(order));
    assert_eq!(root(&rows, 11), Err(LogError::Row(10)));
    assert_eq!(root(&rows, MAX_SIZE + 1), Err(LogError::Full));
    assert_eq!(append(&rows, MAX_SIZE, &leaves(0..1)), Err(LogError::Full));
    rows.rows.insert(7, vec![0; 32]);
    assert_eq!(prove_inclusion(&rows, 9, 10), Err(LogError::Row(7)));
    assert_eq!(append(&rows, 10, &[]), Err(LogError::Row(7)));
    rows.is_broken = true;
    assert_eq!(root(&rows, 5), Err(LogError::Store(Broken)));
}

#[test]
fn empty_and_equal_and_shrunk_logs_are_decided() {
    let rows = Rows::of(10);
    let (empty, three, ten) = (rows.at(0), rows.at(3), rows.at(10));
    for (old, new) in [(0, 0), (0, 10), (10, 10)] {
        assert_eq!(prove_consistency(&rows, old, new), Ok(Vec::new()));
    }
    assert_eq!(verify_consistency(&[], &empty, &empty), Ok(()));
    assert_eq!(verify_consistency(&[], &empty, &ten), Ok(()));
    assert_eq!(verify_consistency(&[], &ten, &ten), Ok(()));
    let too_much = verify_consistency(&[[0; 32]], &ten, &ten);
    assert_eq!(too_much, Err(LogProofError::Root));
    let shrunk = verify_consistency(&[], &ten, &three);
    assert_eq!(shrunk, Err(LogProofError::Smaller));
    let no_root = TreeHead {
        size: 0,
        root: [0; 32],
    };
    assert_eq!(
        verify_consistency(&[], &no_root, &ten),
        Err(LogProofError::Root)
    );
    let outside = verify_inclusion(&[], 0, &[0; 32], &empty);
    assert_eq!(outside, Err(LogProofError::Range));
    let long = verify_inclusion(&[[0; 32]; 64], 0, &[0; 32], &ten);
    assert_eq!(long, Err(LogProofError::Length(64)));
}

#[test]
fn the_longest_proofs_keep_the_bound() {
    // The path of the last but one record of the largest log, and the proof from just past its middle.
    let largest = TreeHead {
        size: MAX_SIZE,
        root: [0; 32],
    };
    let path = vec![[1; 32]; 62];
    let mut root = [9; 32];
    for (level, sibling) in path.iter().enumerate() {
        let is_right = (MAX_SIZE - 2) >> level & 1 == 1;
        let (left, right) = if is_right {
            (*sibling, root)
        } else {
            (root, *sibling)
        };
        root = tlog::node_hash(tlog::Hash(left), tlog::Hash(right)).0;
    }
    let head = TreeHead { root, ..largest };
    assert_eq!(
        verify_inclusion(&path, MAX_SIZE - 2, &[9; 32], &head),
        Ok(())
    );
    let beyond = TreeHead {
        size: MAX_SIZE + 1,
        root,
    };
    assert_eq!(
        verify_inclusion(&path, MAX_SIZE - 2, &[9; 32], &beyond),
        Err(LogProofError::Range)
    );
}
