use std::cell::Cell;
use std::convert::Infallible;

use proptest::prelude::*;

use super::page::Page;
use super::*;
use crate::hash::sha256;

/// Keys of three kinds: spread out, alike in all but the last byte, alike but for one bit.
fn key(number: u8) -> Hash {
    match number % 3 {
        0 => sha256(&[number]),
        1 => {
            let mut key = [0xa5; 32];
            key[31] = number;
            key
        }
        _ => {
            let mut key = [0; 32];
            key[usize::from(number) % 32] = 0x80 >> (number % 8);
            key
        }
    }
}

fn entries(numbers: impl IntoIterator<Item = u32>) -> BTreeMap<Hash, Vec<u8>> {
    numbers
        .into_iter()
        .map(|number| (sha256(&number.to_be_bytes()), number.to_be_bytes().to_vec()))
        .collect()
}

fn insert(entries: &BTreeMap<Hash, Vec<u8>>) -> Changes {
    let entries = entries.iter();
    entries
        .map(|(key, value)| (*key, Some(value.clone())))
        .collect()
}

fn tree_of(entries: &BTreeMap<Hash, Vec<u8>>) -> MemoryTree {
    let mut tree = MemoryTree::default();
    tree.apply(&insert(entries)).expect("short values");
    tree
}

/// A history: commits of changes; a value of 0 removes.
fn histories() -> impl Strategy<Value = Vec<Vec<(u8, u8)>>> {
    let change = (0_u8..60, 0_u8..4);
    prop::collection::vec(prop::collection::vec(change, 0..20), 0..12)
}

fn changes(commit: &[(u8, u8)]) -> Changes {
    let changed = |(number, value): &(u8, u8)| {
        let value = (*value > 0).then(|| vec![*value; usize::from(*number) + 1]);
        (key(*number), value)
    };
    commit.iter().map(changed).collect()
}

fn replay(history: &[Vec<(u8, u8)>]) -> MemoryTree {
    let mut tree = MemoryTree::default();
    for commit in history {
        let root = tree.apply(&changes(commit)).expect("short values");
        assert_eq!(root, root_of(tree.values()));
    }
    tree
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn every_history_gives_the_defined_root_and_the_pages_of_its_set_alone(history in histories()) {
        let tree = replay(&history);
        prop_assert_eq!(&tree, &tree_of(tree.values()));
        let one_by_one = tree.values().iter().rev().fold(MemoryTree::default(), |mut tree, (key, value)| {
            tree.apply(&Changes::from([(*key, Some(value.clone()))])).expect("short values");
            tree
        });
        prop_assert_eq!(&tree, &one_by_one);
    }

    #[test]
    fn every_key_can_be_proven_present_or_absent(history in histories()) {
        let tree = replay(&history);
        for key in (0..60).map(key) {
            let proof = tree.prove(&key).encode();
            prop_assert!(proof.len() <= MAX_PROOF_BYTES);
            let found = verify(&tree.root(), &key, &proof);
            prop_assert_eq!(found, Ok(tree.values().get(&key).cloned()));
            prop_assert_eq!(StateProof::decode(&proof).map(|proof| proof.encode()), Ok(proof));
        }
    }

    #[test]
    fn no_flipped_bit_of_a_proof_passes(history in histories(), number in 0_u8..60, bit in 0_u32..8) {
        let (tree, key) = (replay(&history), key(number));
        let proof = tree.prove(&key).encode();
        for at in 0..proof.len() {
            let mut changed = proof.clone();
            changed[at] ^= 1 << bit;
            prop_assert!(verify(&tree.root(), &key, &changed).is_err(), "byte {at}");
        }
        let mut root = tree.root();
        root[usize::from(number) % 32] ^= 1 << bit;
        prop_assert_eq!(verify(&root, &key, &proof), Err(StateProofError::Root));
    }

    #[test]
    fn arbitrary_bytes_are_no_proof_and_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0_u8..3, count in 0_u8..5) {
        let headed = [&[1, kind, 0, count][..], &bytes].concat();
        for bytes in [bytes, headed] {
            prop_assert!(verify(&[7; 32], &[9; 32], &bytes).is_err());
            if let Ok(proof) = StateProof::decode(&bytes) {
                prop_assert_eq!(proof.encode(), bytes);
            }
        }
    }

    #[test]
    fn arbitrary_bytes_are_no_page_or_the_one_encoding_of_it(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Some(page) = Page::decode(&PageId::ROOT, &bytes) {
            prop_assert_eq!(page.encode(), bytes);
        }
    }
}

#[test]
fn keys_alike_up_to_the_last_bit_take_256_siblings() {
    let (mut left, mut right) = ([0xff; 32], [0xff; 32]);
    left[31] = 0xfe;
    let tree = tree_of(&BTreeMap::from([(left, vec![1]), (right, vec![2])]));
    assert_eq!(tree.root(), root_of(tree.values()));
    let proof = tree.prove(&right).encode();
    assert_eq!(proof[2..4], 256_u16.to_be_bytes());
    assert_eq!(verify(&tree.root(), &right, &proof), Ok(Some(vec![2])));
    // All but the deepest sibling are empty.
    assert_eq!(proof.len(), 4 + 32 + 32 + 2 + 1);
    let mut too_many = proof;
    too_many[3] += 1;
    right[31] = 0xfd;
    for proof in [too_many, tree.prove(&right).encode()] {
        assert_ne!(verify(&tree.root(), &right, &proof), Ok(Some(vec![2])));
    }
    assert_eq!(
        verify(&tree.root(), &right, &tree.prove(&right).encode()),
        Ok(None)
    );
}

#[test]
fn an_entry_on_another_path_proves_no_absence() {
    let tree = tree_of(&entries(0..50));
    let (present, absent) = (sha256(&3_u32.to_be_bytes()), sha256(b"absent"));
    // An honest proof of one entry, dressed up as the absence of another.
    let mut proof = tree.prove(&present).encode();
    let value = proof.split_off(proof.len() - 6);
    proof[1] = 2;
    proof.extend_from_slice(&present);
    proof.extend_from_slice(&value);
    assert_eq!(
        verify(&tree.root(), &absent, &proof),
        Err(StateProofError::OtherPath)
    );
    assert_eq!(
        verify(&tree.root(), &present, &proof),
        Err(StateProofError::OtherPath)
    );
}

#[test]
fn empty_and_long_values_are_refused() {
    let mut tree = MemoryTree::default();
    for len in [0, MAX_VALUE_BYTES + 1] {
        let changes = Changes::from([([1; 32], Some(vec![1; len]))]);
        assert_eq!(tree.apply(&changes), Err(StateTreeError::Length(len)));
    }
    let longest = Changes::from([([1; 32], Some(vec![1; MAX_VALUE_BYTES]))]);
    let root = tree.apply(&longest).expect("as long as may be");
    let proof = tree.prove(&[1; 32]).encode();
    assert_eq!(
        verify(&root, &[1; 32], &proof),
        Ok(Some(vec![1; MAX_VALUE_BYTES]))
    );
}

/// Counts what is read, and serves some of it wrong.
struct Watched<'a> {
    tree: &'a MemoryTree,
    pages: Cell<usize>,
    calls: Cell<usize>,
    wrong: Option<(PageId, Option<Vec<u8>>)>,
    wrong_value: bool,
}

impl<'a> Watched<'a> {
    fn new(tree: &'a MemoryTree) -> Self {
        Self {
            tree,
            pages: Cell::new(0),
            calls: Cell::new(0),
            wrong: None,
            wrong_value: false,
        }
    }
}

impl StateStore for Watched<'_> {
    type Error = Infallible;

    fn pages(&self, ids: &[PageId]) -> Result<Vec<Option<Vec<u8>>>, Infallible> {
        assert!(ids.is_sorted(), "a store reads keys in order fastest");
        self.calls.set(self.calls.get() + 1);
        self.pages.set(self.pages.get() + ids.len());
        let mut found = self.tree.pages(ids)?;
        if let Some((wrong, bytes)) = &self.wrong
            && let Some(at) = ids.iter().position(|id| id == wrong)
        {
            found[at].clone_from(bytes);
        }
        Ok(found)
    }

    fn value(&self, key: &Hash) -> Result<Option<Vec<u8>>, Infallible> {
        let value = self.tree.value(key)?;
        Ok(if self.wrong_value {
            value.map(|value| [&value[..], &[0]].concat())
        } else {
            value
        })
    }
}

#[test]
fn only_the_pages_of_the_changed_keys_are_read_and_written() {
    let tree = tree_of(&entries(0..20_000));
    let store = Watched::new(&tree);
    let one = insert(&entries([7]));
    let same = update(&store, &tree.root(), &one).expect("a whole tree");
    assert_eq!((same.root, same.pages.len()), (tree.root(), 0));
    assert!(store.pages.get() <= 5, "{} pages", store.pages.get());

    let store = Watched::new(&tree);
    let mut changes = insert(&entries(19_500..20_500));
    for (index, value) in changes.values_mut().enumerate() {
        *value = (index % 4 > 0).then(|| vec![9; 72]);
    }
    let update = update(&store, &tree.root(), &changes).expect("a whole tree");
    let (read, written) = (store.pages.get(), update.pages.len());
    // 273 pages are common to all keys; a key adds about two of its own.
    assert!(read <= 273 + 2 * 1_000, "{read} pages read");
    assert!(written <= 273 + 2 * 1_000, "{written} pages written");
    assert!(store.calls.get() <= 6, "{} calls", store.calls.get());
    let stored = update.pages.iter().flat_map(|(_, page)| page);
    assert!(stored.into_iter().all(|page| page.len() <= MAX_PAGE_BYTES));
}

#[test]
fn a_damaged_store_is_found_and_never_signed() {
    let tree = tree_of(&entries(0..2_000));
    let (key, value) = entries([7]).pop_first().expect("one entry");
    let changes = Changes::from([(key, None)]);
    let child = PageId::ROOT.child(&key).expect("not the last");
    let other = tree.pages(&[PageId::ROOT]).expect("in memory").remove(0);
    for id in [PageId::ROOT, child] {
        let good = tree.pages(&[id]).expect("in memory").remove(0);
        let mut flipped = good.expect("stored");
        *flipped.last_mut().expect("not empty") ^= 1;
        let mut cases = vec![None, Some(Vec::new()), Some(flipped)];
        cases.extend((id != PageId::ROOT).then(|| other.clone()));
        for wrong in cases {
            let mut store = Watched::new(&tree);
            store.wrong = Some((id, wrong));
            let wanted = StateTreeError::Page(id);
            assert_eq!(update(&store, &tree.root(), &changes), Err(wanted.clone()));
            assert_eq!(prove(&store, &tree.root(), &key), Err(wanted));
        }
    }
    let mut store = Watched::new(&tree);
    store.wrong_value = true;
    assert_eq!(
        prove(&store, &tree.root(), &key),
        Err(StateTreeError::Value(key))
    );
    store.wrong_value = false;
    let proof = prove(&store, &tree.root(), &key).expect("a whole tree");
    assert_eq!(proof.verify(&tree.root(), &key), Ok(Some(&value[..])));
}

#[test]
fn ids_of_pages_sort_like_their_keys() {
    let key = sha256(b"key");
    let mut path = vec![PageId::ROOT];
    while let Some(child) = path.last().and_then(|id| id.child(&key)) {
        path.push(child);
    }
    assert_eq!(path.len(), 64);
    assert_eq!(path[63].to_bytes().len(), 33);
    assert_eq!(path[1].to_bytes(), [4, key[0] & 0xf0]);
    let keys: Vec<_> = path.iter().map(PageId::to_bytes).collect();
    assert!(path.is_sorted() && keys.is_sorted());
    assert_eq!(
        path[2].to_string(),
        format!("page /{}", hex::encode(&key[..1]))
    );
}
