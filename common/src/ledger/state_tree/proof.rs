//! Proofs of one entry, or of its absence, against a root.

use super::page::{Part, hash, part};
use super::{
    EMPTY, MAX_VALUE_BYTES, PageId, StateStore, StateTreeError, bit, leaf_hash, load, node_hash,
};
use crate::hash::Hash;

/// Siblings of a proof at most: one for each bit of a key.
pub const MAX_SIBLINGS: usize = 256;

/// Bytes of an encoded proof at most.
pub const MAX_PROOF_BYTES: usize = 4 + 32 + 32 * MAX_SIBLINGS + 32 + 2 + MAX_VALUE_BYTES;

const VERSION: u8 = 1;
const NOTHING: u8 = 0;
const ENTRY: u8 = 1;
const OTHER_ENTRY: u8 = 2;

/// A proof of what the state has under one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateProof {
    /// From the root down; the last is not [`EMPTY`].
    siblings: Vec<Hash>,
    end: End,
}

/// Where the path of the key ends.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    Nothing,
    Entry(Vec<u8>),
    /// Absent: this other entry is alone below the path.
    Other {
        key: Hash,
        value: Vec<u8>,
    },
}

/// A proof that is malformed or proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StateProofError {
    /// Not the bytes of a proof in their one encoding.
    #[error("not a proof of a state entry")]
    Malformed,
    /// It names another entry that is not on the path of this key.
    #[error("the proof of absence names an entry that does not lie on the path of this key")]
    OtherPath,
    /// It belongs to another root, key or value.
    #[error("the proof of the state entry does not lead to the state root")]
    Root,
}

/// The proof of the entry with this tree key, or of its absence, in the tree with this root.
///
/// # Errors
///
/// [`StateTreeError`]: the store failed, or does not hold this tree.
pub fn prove<S: StateStore>(
    store: &S,
    root: &Hash,
    key: &Hash,
) -> Result<StateProof, StateTreeError<S::Error>> {
    let pages = load(store, root, &[*key])?;
    let mut siblings = Vec::new();
    let mut next = Some(PageId::ROOT);
    while let Some((id, page)) = next.and_then(|id| pages.get_key_value(&id)) {
        let mut slots = &page.slots[..];
        loop {
            match part(slots) {
                Part::Empty => {
                    let end = End::Nothing;
                    return Ok(StateProof { siblings, end });
                }
                Part::Leaf { key: found, hash } => {
                    let end = end(store, key, found, hash)?;
                    return Ok(StateProof { siblings, end });
                }
                Part::Inner if slots.len() == 1 => break,
                Part::Inner => {
                    let (left, right) = slots.split_at(slots.len() / 2);
                    let (own, other) = if bit(key, siblings.len()) {
                        (right, left)
                    } else {
                        (left, right)
                    };
                    siblings.push(hash(other));
                    slots = own;
                }
            }
        }
        next = id.child(key);
    }
    // Only an empty tree has no page at its root: `load` found every other page on the path.
    let end = End::Nothing;
    Ok(StateProof { siblings, end })
}

/// The end of a path at an entry.
fn end<S: StateStore>(
    store: &S,
    wanted: &Hash,
    key: Hash,
    hash: Hash,
) -> Result<End, StateTreeError<S::Error>> {
    let value = store
        .value(&key)
        .map_err(StateTreeError::Store)?
        .filter(|value| leaf_hash(&key, value) == hash)
        .ok_or(StateTreeError::Value(key))?;
    Ok(if key == *wanted {
        End::Entry(value)
    } else {
        End::Other { key, value }
    })
}

/// What the state with this root has under a tree key, by the bytes of a proof: its value, or none where it is absent.
///
/// # Errors
///
/// [`StateProofError`]; nothing is known then.
pub fn verify(root: &Hash, key: &Hash, proof: &[u8]) -> Result<Option<Vec<u8>>, StateProofError> {
    let proof = StateProof::decode(proof)?;
    Ok(proof.verify(root, key)?.map(<[u8]>::to_vec))
}

impl StateProof {
    /// What the state with this root has under a tree key: its value, or none where it is absent.
    ///
    /// # Errors
    ///
    /// [`StateProofError`]; nothing is known then.
    pub fn verify(&self, root: &Hash, key: &Hash) -> Result<Option<&[u8]>, StateProofError> {
        let leaf = match &self.end {
            End::Nothing => EMPTY,
            End::Entry(value) => leaf_hash(key, value),
            End::Other { key: other, value } => {
                let on_path = (0..self.siblings.len()).all(|at| bit(other, at) == bit(key, at));
                if other == key || !on_path {
                    return Err(StateProofError::OtherPath);
                }
                leaf_hash(other, value)
            }
        };
        let siblings = self.siblings.iter().enumerate().rev();
        let found = siblings.fold(leaf, |below, (depth, sibling)| {
            if bit(key, depth) {
                node_hash(sibling, &below)
            } else {
                node_hash(&below, sibling)
            }
        });
        if found != *root {
            return Err(StateProofError::Root);
        }
        Ok(match &self.end {
            End::Entry(value) => Some(value),
            End::Nothing | End::Other { .. } => None,
        })
    }

    /// Its bytes, at most [`MAX_PROOF_BYTES`]; the layout stands in `docs/formats.md`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let count = u16::try_from(self.siblings.len()).expect("a proof has at most 256 siblings");
        let kind = match self.end {
            End::Nothing => NOTHING,
            End::Entry(_) => ENTRY,
            End::Other { .. } => OTHER_ENTRY,
        };
        let mut bytes = vec![VERSION, kind];
        bytes.extend_from_slice(&count.to_be_bytes());
        bytes.extend(self.siblings.chunks(8).map(|eight| {
            eight.iter().enumerate().fold(0, |bits, (at, sibling)| {
                bits | u8::from(*sibling != EMPTY) << (7 - at)
            })
        }));
        for sibling in self.siblings.iter().filter(|sibling| **sibling != EMPTY) {
            bytes.extend_from_slice(sibling);
        }
        let value = match &self.end {
            End::Nothing => return bytes,
            End::Entry(value) => value,
            End::Other { key, value } => {
                bytes.extend_from_slice(key);
                value
            }
        };
        let len = u16::try_from(value.len()).expect("a value has at most MAX_VALUE_BYTES");
        bytes.extend_from_slice(&len.to_be_bytes());
        bytes.extend_from_slice(value);
        bytes
    }

    /// Reads the bytes of a proof. Every proof has one encoding; all others are refused.
    ///
    /// # Errors
    ///
    /// [`StateProofError::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, StateProofError> {
        Self::read(bytes).ok_or(StateProofError::Malformed)
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (&[version, kind, high, low], rest) = bytes.split_first_chunk()?;
        let count = usize::from(u16::from_be_bytes([high, low]));
        if version != VERSION || count > MAX_SIBLINGS {
            return None;
        }
        let (bitmap, mut rest) = rest.split_at_checked(count.div_ceil(8))?;
        let mut siblings = Vec::with_capacity(count);
        for at in 0..8 * bitmap.len() {
            let is_set = bitmap[at / 8] >> (7 - at % 8) & 1 == 1;
            match (is_set, at < count) {
                (true, true) => {
                    let (sibling, after) = rest.split_first_chunk()?;
                    siblings.push(*sibling);
                    rest = after;
                    if *sibling == EMPTY {
                        return None;
                    }
                }
                (false, true) => siblings.push(EMPTY),
                (true, false) => return None,
                (false, false) => {}
            }
        }
        // Beside an empty subtree an entry, or nothing, would stand one level higher.
        if siblings.last() == Some(&EMPTY) {
            return None;
        }
        let end = match kind {
            NOTHING if rest.is_empty() => End::Nothing,
            ENTRY => End::Entry(read_value(rest)?),
            OTHER_ENTRY => {
                let (key, rest) = rest.split_first_chunk()?;
                End::Other {
                    key: *key,
                    value: read_value(rest)?,
                }
            }
            _ => return None,
        };
        Some(Self { siblings, end })
    }
}

fn read_value(bytes: &[u8]) -> Option<Vec<u8>> {
    let (len, value) = bytes.split_first_chunk()?;
    let len = usize::from(u16::from_be_bytes(*len));
    ((1..=MAX_VALUE_BYTES).contains(&len) && value.len() == len).then(|| value.to_vec())
}
