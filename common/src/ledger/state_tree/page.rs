//! Pages: four levels of the tree stored as one, so that a change touches a quarter of the rows that single nodes would.

use std::fmt;

use super::{EMPTY, node_hash};
use crate::hash::Hash;

/// Subtrees of a page: those four levels below it.
pub(super) const SLOTS: usize = 16;

/// Bytes of a stored page.
pub const MAX_PAGE_BYTES: usize = 4 + SLOTS * 64;

/// Depth of the last page on a path.
const LAST_DEPTH: u8 = 252;

/// Which page: its depth in the tree, a multiple of four, and the first bits of the keys below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PageId {
    depth: u8,
    /// Zero after the first `depth` bits.
    prefix: Hash,
}

impl PageId {
    /// The page at the top; stored unless the tree is empty.
    pub const ROOT: Self = Self {
        depth: 0,
        prefix: [0; 32],
    };

    /// Its key in a store, 1 to 33 bytes: the depth, then the bytes of the prefix that it needs. Frozen. Keys sort as ids.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.depth];
        bytes.extend_from_slice(&self.prefix[..usize::from(self.depth).div_ceil(8)]);
        bytes
    }

    /// Levels above it: 0 to 252.
    #[must_use]
    pub fn depth(&self) -> usize {
        usize::from(self.depth)
    }

    /// In which of its slots a key belongs.
    pub(super) fn slot(&self, key: &Hash) -> usize {
        let byte = key[self.depth() / 8];
        usize::from(if self.depth.is_multiple_of(8) {
            byte >> 4
        } else {
            byte & 15
        })
    }

    /// The page four levels down towards a key; none below the last.
    pub(super) fn child(&self, key: &Hash) -> Option<Self> {
        if self.depth == LAST_DEPTH {
            return None;
        }
        let depth = self.depth + 4;
        let whole = usize::from(depth / 8);
        let mut prefix = Hash::default();
        prefix[..whole].copy_from_slice(&key[..whole]);
        if !depth.is_multiple_of(8) {
            prefix[whole] = key[whole] & 0xf0;
        }
        Some(Self { depth, prefix })
    }

    /// Whether a key lies below this page.
    fn covers(&self, key: &Hash) -> bool {
        let whole = self.depth() / 8;
        let half = !self.depth.is_multiple_of(8);
        key[..whole] == self.prefix[..whole] && (!half || key[whole] & 0xf0 == self.prefix[whole])
    }
}

impl fmt::Display for PageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = hex::encode(self.prefix);
        write!(f, "page /{}", &digits[..self.depth() / 4])
    }
}

/// What is below one slot of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Slot {
    /// No entry.
    #[default]
    Empty,
    /// One entry: its key and the hash of its leaf.
    Leaf { key: Hash, hash: Hash },
    /// More: the root of the page below.
    Page(Hash),
}

/// Four levels of the tree.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Page {
    pub slots: [Slot; SLOTS],
}

/// What a part of a page comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Empty,
    Leaf { key: Hash, hash: Hash },
    Inner,
}

impl Page {
    /// Whether nothing is below it.
    pub fn is_empty(&self) -> bool {
        self.slots.iter().all(|slot| *slot == Slot::Empty)
    }

    /// Its entry, where it is the only one.
    pub fn only_leaf(&self) -> Option<Slot> {
        match part(&self.slots) {
            Part::Leaf { key, hash } => Some(Slot::Leaf { key, hash }),
            Part::Empty | Part::Inner => None,
        }
    }

    /// The root of its subtree.
    pub fn hash(&self) -> Hash {
        hash(&self.slots)
    }

    /// Frozen: which slots are taken and which of them are entries (two bitmaps, u16, the first slot in the highest
    /// bit), then for each in order the entry's key and leaf hash, or the root below.
    pub fn encode(&self) -> Vec<u8> {
        let (mut taken, mut leaves) = (0_u16, 0_u16);
        let mut rest = Vec::new();
        for slot in &self.slots {
            taken <<= 1;
            leaves <<= 1;
            match slot {
                Slot::Empty => {}
                Slot::Leaf { key, hash } => {
                    taken |= 1;
                    leaves |= 1;
                    rest.extend_from_slice(key);
                    rest.extend_from_slice(hash);
                }
                Slot::Page(hash) => {
                    taken |= 1;
                    rest.extend_from_slice(hash);
                }
            }
        }
        [&taken.to_be_bytes()[..], &leaves.to_be_bytes(), &rest].concat()
    }

    /// None unless these are the bytes of a page that can be stored under this id.
    pub fn decode(id: &PageId, bytes: &[u8]) -> Option<Self> {
        let (taken, rest) = bytes.split_first_chunk()?;
        let (leaves, mut rest) = rest.split_first_chunk()?;
        let (taken, leaves) = (u16::from_be_bytes(*taken), u16::from_be_bytes(*leaves));
        if leaves & !taken != 0 {
            return None;
        }
        let mut page = Self::default();
        for (index, slot) in page.slots.iter_mut().enumerate() {
            let bit = 0x8000 >> index;
            if leaves & bit != 0 {
                let (key, after) = rest.split_first_chunk()?;
                let (hash, after) = after.split_first_chunk()?;
                if !id.covers(key) || id.slot(key) != index {
                    return None;
                }
                *slot = Slot::Leaf {
                    key: *key,
                    hash: *hash,
                };
                rest = after;
            } else if taken & bit != 0 {
                let (hash, after) = rest.split_first_chunk()?;
                *slot = Slot::Page(*hash);
                rest = after;
            }
        }
        rest.is_empty().then_some(page)
    }
}

/// What a range of slots comes to: an entry alone stands where its prefix becomes unique.
pub(super) fn part(slots: &[Slot]) -> Part {
    let mut taken = slots.iter().filter(|slot| **slot != Slot::Empty);
    match (taken.next(), taken.next()) {
        (None, _) => Part::Empty,
        (Some(Slot::Leaf { key, hash }), None) => Part::Leaf {
            key: *key,
            hash: *hash,
        },
        _ => Part::Inner,
    }
}

/// The root of a range of slots: a power of two of them.
pub(super) fn hash(slots: &[Slot]) -> Hash {
    match (part(slots), slots) {
        (Part::Empty, _) => EMPTY,
        (Part::Leaf { hash, .. }, _) => hash,
        (Part::Inner, [Slot::Page(hash)]) => *hash,
        (Part::Inner, _) => {
            let (left, right) = slots.split_at(slots.len() / 2);
            node_hash(&hash(left), &hash(right))
        }
    }
}
