//! The state root: a compact sparse Merkle tree over the state entries. It depends only on the set of entries, so that an
//! independent replay arrives at the same root, and one entry, or its absence, can be proven against it.
//!
//! [`root_of`] is the definition. [`update`] keeps the same root over stored [pages](Page) of sixteen subtrees each: it
//! reads only the pages that the changed keys lead through, level by level, and hashes each of them once.

mod memory;
mod page;
mod proof;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

pub use memory::MemoryTree;
pub use page::{MAX_PAGE_BYTES, PageId};
pub use proof::{MAX_PROOF_BYTES, MAX_SIBLINGS, StateProof, StateProofError, prove, verify};

use crate::hash::Hash;
use page::{Page, SLOTS, Slot};

/// The root of a subtree without entries.
pub const EMPTY: Hash = [0; 32];

/// Bytes of one entry's value; none is empty, because an empty entry is absent.
pub const MAX_VALUE_BYTES: usize = 1_024;

/// What changes: keys in order, each with its new value, or none where the entry goes.
pub type Changes = BTreeMap<Hash, Option<Vec<u8>>>;

/// Where the pages of a tree are stored, and the values of its entries.
pub trait StateStore {
    /// Why a read failed.
    type Error: std::error::Error + 'static;

    /// The stored bytes of each of these pages, in the order asked for (which is that of their keys); none where a page is
    /// not stored. One call per level of the tree.
    fn pages(&self, ids: &[PageId]) -> Result<Vec<Option<Vec<u8>>>, Self::Error>;

    /// The value of the entry with this tree key. Only proofs ask for it.
    fn value(&self, key: &Hash) -> Result<Option<Vec<u8>>, Self::Error>;
}

/// A tree that cannot be read or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateTreeError<E: std::error::Error + 'static> {
    /// The store failed.
    #[error("the state tree cannot be read")]
    Store(#[source] E),
    /// A page is missing, malformed, or not the one that its parent names.
    #[error("the state tree is damaged at {0}")]
    Page(PageId),
    /// The stored value of an entry is not the one in the tree.
    #[error("the value of state entry {} is not the one in the state tree", hex::encode(.0))]
    Value(Hash),
    /// A new value that is empty or over [`MAX_VALUE_BYTES`].
    #[error("a state entry has {0} bytes instead of 1 to {max}", max = MAX_VALUE_BYTES)]
    Length(usize),
}

/// What an update gives: to be stored in one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// The new root.
    pub root: Hash,
    /// Pages that changed, in order of their keys: the new bytes, or none where the page goes.
    pub pages: Vec<(PageId, Option<Vec<u8>>)>,
}

/// The hash of an entry.
#[must_use]
pub fn leaf_hash(key: &Hash, value: &[u8]) -> Hash {
    Sha256::new()
        .chain_update([0])
        .chain_update(key)
        .chain_update(value)
        .finalize()
        .into()
}

/// The hash of an inner node.
pub(super) fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new()
        .chain_update([1])
        .chain_update(left)
        .chain_update(right)
        .finalize()
        .into()
}

/// The bit of a key that decides at a depth, the most significant first.
fn bit(key: &Hash, depth: usize) -> bool {
    key[depth / 8] >> (7 - depth % 8) & 1 == 1
}

/// The root of a set of entries, as it is defined; time and memory grow with the set. [`update`] gives the same.
#[must_use]
pub fn root_of(entries: &BTreeMap<Hash, Vec<u8>>) -> Hash {
    fn root(leaves: &[(Hash, Hash)], depth: usize) -> Hash {
        match leaves {
            [] => EMPTY,
            [(_, leaf)] => *leaf,
            _ => {
                let (left, right) =
                    leaves.split_at(leaves.partition_point(|(key, _)| !bit(key, depth)));
                node_hash(&root(left, depth + 1), &root(right, depth + 1))
            }
        }
    }
    let leaves: Vec<_> = entries
        .iter()
        .map(|(key, value)| (*key, leaf_hash(key, value)))
        .collect();
    root(&leaves, 0)
}

/// Applies changes to the tree with this root. Removing what is absent changes nothing.
///
/// # Errors
///
/// [`StateTreeError`]; nothing was changed then.
pub fn update<S: StateStore>(
    store: &S,
    root: &Hash,
    changes: &Changes,
) -> Result<Update, StateTreeError<S::Error>> {
    if changes.is_empty() {
        let (root, pages) = (*root, Vec::new());
        return Ok(Update { root, pages });
    }
    let mut leaves = Vec::with_capacity(changes.len());
    for (key, value) in changes {
        let hash = match value {
            Some(value) if value.is_empty() || value.len() > MAX_VALUE_BYTES => {
                return Err(StateTreeError::Length(value.len()));
            }
            Some(value) => Some(leaf_hash(key, value)),
            None => None,
        };
        leaves.push((*key, hash));
    }
    let keys: Vec<Hash> = changes.keys().copied().collect();
    let mut change = Change {
        old: load(store, root, &keys)?,
        new: BTreeMap::new(),
    };
    let root = match change.page(PageId::ROOT, &leaves) {
        Slot::Empty => EMPTY,
        Slot::Leaf { hash, .. } | Slot::Page(hash) => hash,
    };
    let Change { old, new } = change;
    let pages = new
        .into_iter()
        .filter(|(id, page)| *page != old.get(id).cloned().unwrap_or_default())
        .map(|(id, page)| (id, (!page.is_empty()).then(|| page.encode())))
        .collect();
    Ok(Update { root, pages })
}

/// The pages that these keys (sorted) lead through, each checked against the hash that its parent has of it.
fn load<S: StateStore>(
    store: &S,
    root: &Hash,
    keys: &[Hash],
) -> Result<BTreeMap<PageId, Page>, StateTreeError<S::Error>> {
    let mut found = BTreeMap::new();
    let mut level: Vec<(PageId, Hash, &[Hash])> = Vec::new();
    if *root != EMPTY && !keys.is_empty() {
        level.push((PageId::ROOT, *root, keys));
    }
    while !level.is_empty() {
        let ids: Vec<PageId> = level.iter().map(|(id, ..)| *id).collect();
        let mut stored = store
            .pages(&ids)
            .map_err(StateTreeError::Store)?
            .into_iter();
        let mut below = Vec::new();
        for (id, hash, keys) in level {
            let page = stored
                .next()
                .flatten()
                .and_then(|bytes| Page::decode(&id, &bytes))
                .filter(|page| page.hash() == hash)
                .ok_or(StateTreeError::Page(id))?;
            for keys in keys.chunk_by(|a, b| id.slot(a) == id.slot(b)) {
                if let Slot::Page(hash) = page.slots[id.slot(&keys[0])] {
                    let child = id.child(&keys[0]).ok_or(StateTreeError::Page(id))?;
                    below.push((child, hash, keys));
                }
            }
            found.insert(id, page);
        }
        level = below;
    }
    Ok(found)
}

/// An update under way: the pages read, and those that become of them (an empty one goes).
struct Change {
    old: BTreeMap<PageId, Page>,
    new: BTreeMap<PageId, Page>,
}

impl Change {
    /// Applies changed leaves (sorted, all below this page) and tells what its parent holds of it afterwards.
    fn page(&mut self, id: PageId, leaves: &[(Hash, Option<Hash>)]) -> Slot {
        let mut page = self.old.get(&id).cloned().unwrap_or_default();
        for leaves in leaves.chunk_by(|a, b| id.slot(&a.0) == id.slot(&b.0)) {
            let slot = &mut page.slots[id.slot(&leaves[0].0)];
            *slot = self.slot(id, slot, leaves);
        }
        let only = page.only_leaf();
        // A single entry moves up to where its prefix is unique; the root page has no parent to hold it.
        if only.is_some() && id != PageId::ROOT {
            page.slots = [Slot::Empty; SLOTS];
        }
        let seen = match only {
            Some(leaf) => leaf,
            None if page.is_empty() => Slot::Empty,
            None => Slot::Page(page.hash()),
        };
        self.new.insert(id, page);
        seen
    }

    /// What one slot of a page becomes.
    fn slot(&mut self, id: PageId, slot: &Slot, leaves: &[(Hash, Option<Hash>)]) -> Slot {
        let mut entries = match slot {
            Slot::Page(_) => return self.below(id, leaves),
            Slot::Leaf { key, hash } => BTreeMap::from([(*key, *hash)]),
            Slot::Empty => BTreeMap::new(),
        };
        for (key, hash) in leaves {
            match hash {
                Some(hash) => entries.insert(*key, *hash),
                None => entries.remove(key),
            };
        }
        if entries.len() > 1 {
            let leaves: Vec<_> = entries.into_iter().map(|(k, h)| (k, Some(h))).collect();
            return self.below(id, &leaves);
        }
        let only = entries.pop_first();
        only.map_or(Slot::Empty, |(key, hash)| Slot::Leaf { key, hash })
    }

    /// Applies changed leaves to the page below one slot.
    fn below(&mut self, id: PageId, leaves: &[(Hash, Option<Hash>)]) -> Slot {
        let child = id.child(&leaves[0].0);
        let child =
            child.expect("no two keys share all 256 bits, and no page names one below the last");
        self.page(child, leaves)
    }
}
