//! A tree held in memory, for a replay.

use std::collections::BTreeMap;
use std::convert::Infallible;

use super::{Changes, PageId, StateProof, StateStore, StateTreeError, prove, update};
use crate::hash::Hash;

/// A whole state tree in memory: a replay of the log applies the changes of each seal and compares the root.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MemoryTree {
    root: Hash,
    pages: BTreeMap<PageId, Vec<u8>>,
    values: BTreeMap<Hash, Vec<u8>>,
}

impl MemoryTree {
    /// The root; [`EMPTY`](super::EMPTY) of a tree without entries.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.root
    }

    /// All entries by tree key.
    #[must_use]
    pub fn values(&self) -> &BTreeMap<Hash, Vec<u8>> {
        &self.values
    }

    /// Applies changes and gives the new root.
    ///
    /// # Errors
    ///
    /// [`StateTreeError::Length`]; nothing was changed then.
    pub fn apply(&mut self, changes: &Changes) -> Result<Hash, StateTreeError<Infallible>> {
        let update = update(self, &self.root, changes)?;
        for (id, page) in update.pages {
            match page {
                Some(page) => self.pages.insert(id, page),
                None => self.pages.remove(&id),
            };
        }
        for (key, value) in changes {
            match value {
                Some(value) => self.values.insert(*key, value.clone()),
                None => self.values.remove(key),
            };
        }
        self.root = update.root;
        Ok(self.root)
    }

    /// The proof of an entry, or of its absence.
    #[must_use]
    pub fn prove(&self, key: &Hash) -> StateProof {
        prove(self, &self.root, key).expect("a tree in memory holds every page and value it names")
    }
}

impl StateStore for MemoryTree {
    type Error = Infallible;

    fn pages(&self, ids: &[PageId]) -> Result<Vec<Option<Vec<u8>>>, Infallible> {
        Ok(ids.iter().map(|id| self.pages.get(id).cloned()).collect())
    }

    fn value(&self, key: &Hash) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(self.values.get(key).cloned())
    }
}
