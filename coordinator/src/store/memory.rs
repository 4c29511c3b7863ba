//! A store in memory: for trials without a disk, and, with a journal, for simulation of crashes.

use std::collections::{BTreeMap, VecDeque};
use std::ops::{Bound, Range, RangeInclusive};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::fences::Fences;
use super::{Batch, Durability, Family, Fence, Operation, Page, SCAN_BYTES, Store, StoreError};

/// How the next commit fails; see [`MemoryStore::inject`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `Fenced`, not applied.
    Fenced,
    /// `Unknown`, applied but not synced, whatever was asked.
    UnknownApplied,
    /// `Unknown`, not applied.
    UnknownNotApplied,
    /// `Full`, not applied.
    Full,
    /// `SyncFailed`, applied but not synced.
    SyncFailed,
}

/// Keeps rows in memory, in order; the same calls always give the same answers.
///
/// [`MemoryStore::new`] forgets nothing and everything ends with the process.
/// [`MemoryStore::journaled`] also remembers how to undo commits that are not yet durable (the
/// memory for it is bounded only by the synced commits in between), so that [`MemoryStore::crash`]
/// can lose them.
#[derive(Debug)]
pub struct MemoryStore {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    families: [BTreeMap<Bytes, Bytes>; Family::ALL.len()],
    fences: Fences,
    /// The undo steps of each commit since the last synced one, oldest first.
    journal: Option<Vec<Vec<Undo>>>,
    faults: VecDeque<Fault>,
}

#[derive(Debug)]
struct Undo {
    family: Family,
    key: Bytes,
    before: Option<Bytes>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store that never loses a commit.
    pub fn new() -> Self {
        Self::with_journal(None)
    }

    /// An empty store whose unsynced commits [`MemoryStore::crash`] can lose.
    pub fn journaled() -> Self {
        Self::with_journal(Some(Vec::new()))
    }

    fn with_journal(journal: Option<Vec<Vec<Undo>>>) -> Self {
        Self {
            state: Mutex::new(State {
                families: Default::default(),
                fences: Fences::new(0),
                journal,
                faults: VecDeque::new(),
            }),
        }
    }

    /// Number of commits that a crash now could lose; 0 without a journal.
    pub fn unsynced(&self) -> usize {
        self.state().journal.as_ref().map_or(0, Vec::len)
    }

    /// What a crash of the machine and a restart leave: the last `lost` unsynced commits are gone (all of
    /// them, if there are fewer), the others are durable, every fence has ended, and no fault waits.
    pub fn crash(&self, lost: usize) {
        let mut state = self.state();
        if let Some(journal) = state.journal.take() {
            let kept = journal.len().saturating_sub(lost);
            for undo in journal
                .into_iter()
                .skip(kept)
                .rev()
                .flat_map(|steps| steps.into_iter().rev())
            {
                state.undo(undo);
            }
            state.journal = Some(Vec::new());
        }
        state.faults.clear();
        state.fences = Fences::new(state.fences.last_epoch());
    }

    /// Makes a coming commit fail: the next one, or the one after those that already wait. A commit
    /// that is fenced anyway uses no fault up.
    pub fn inject(&self, fault: Fault) {
        self.state().faults.push_back(fault);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn undo(&mut self, undo: Undo) {
        let rows = &mut self.families[undo.family.index()];
        match undo.before {
            Some(value) => rows.insert(undo.key, value),
            None => rows.remove(&undo.key),
        };
    }

    fn apply(&mut self, batch: Batch, durability: Durability) {
        let mut steps = Vec::new();
        let journaled = self.journal.is_some() && durability == Durability::Buffered;
        for operation in batch.operations {
            let mut note = |family, key, before| {
                if journaled {
                    steps.push(Undo {
                        family,
                        key,
                        before,
                    });
                }
            };
            match operation {
                Operation::Put(family, key, value) => {
                    let before = self.families[family.index()].insert(key.clone(), value);
                    note(family, key, before);
                }
                Operation::Delete(family, key) => {
                    let before = self.families[family.index()].remove(&key);
                    note(family, key, before);
                }
                Operation::DeleteRange(family, start, end) => {
                    let rows = &mut self.families[family.index()];
                    let keys: Vec<Bytes> =
                        rows.range(start..end).map(|(key, _)| key.clone()).collect();
                    for key in keys {
                        let before = rows.remove(&key);
                        note(family, key, before);
                    }
                }
            }
        }
        if let Some(journal) = &mut self.journal {
            match durability {
                Durability::Synced => journal.clear(),
                Durability::Buffered => journal.push(steps),
            }
        }
    }
}

impl Store for MemoryStore {
    fn claim(&self, shards: RangeInclusive<u8>) -> Result<Fence, StoreError> {
        let State {
            fences, journal, ..
        } = &mut *self.state();
        // A claim is durable, and with it every commit before it.
        fences.claim(shards, |_| {
            journal.iter_mut().for_each(Vec::clear);
            Ok(())
        })
    }

    fn get_many(&self, keys: &[(Family, &[u8])]) -> Result<Vec<Option<Bytes>>, StoreError> {
        let state = self.state();
        Ok(keys
            .iter()
            .map(|(family, key)| state.families[family.index()].get(*key).cloned())
            .collect())
    }

    fn scan(&self, family: Family, range: Range<&[u8]>, limit: usize) -> Result<Page, StoreError> {
        let mut page = Page::default();
        if range.start >= range.end {
            return Ok(page);
        }
        let bounds = (Bound::Included(range.start), Bound::Excluded(range.end));
        let mut bytes = 0;
        for (key, value) in self.state().families[family.index()].range::<[u8], _>(bounds) {
            if page.rows.len() >= limit || bytes >= SCAN_BYTES {
                page.next = Some(key.clone());
                break;
            }
            bytes += key.len() + value.len();
            page.rows.push((key.clone(), value.clone()));
        }
        Ok(page)
    }

    fn commit(
        &self,
        fence: &Fence,
        batch: Batch,
        durability: Durability,
    ) -> Result<(), StoreError> {
        let mut state = self.state();
        state.fences.check(fence)?;
        let fault = state.faults.pop_front();
        match fault {
            None => state.apply(batch, durability),
            Some(Fault::UnknownApplied | Fault::SyncFailed) => {
                state.apply(batch, Durability::Buffered);
            }
            Some(Fault::Fenced | Fault::UnknownNotApplied | Fault::Full) => {}
        }
        let detail = || "injected fault".to_owned();
        match fault {
            None => Ok(()),
            Some(Fault::Fenced) => Err(StoreError::Fenced),
            Some(Fault::UnknownApplied | Fault::UnknownNotApplied) => {
                Err(StoreError::Unknown(detail()))
            }
            Some(Fault::Full) => Err(StoreError::Full(detail())),
            Some(Fault::SyncFailed) => Err(StoreError::SyncFailed(detail())),
        }
    }

    fn reopen(&self) -> Result<(), StoreError> {
        let mut state = self.state();
        state.fences = Fences::new(state.fences.last_epoch());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &'static str, value: &'static str) -> Batch {
        let mut batch = Batch::new();
        batch.put(Family::Active, key, value);
        batch
    }

    fn get(store: &MemoryStore, key: &str) -> Option<Bytes> {
        store
            .get_many(&[(Family::Active, key.as_bytes())])
            .unwrap()
            .remove(0)
    }

    #[test]
    fn crash_loses_just_the_unsynced_suffix() {
        let store = MemoryStore::journaled();
        let fence = store.claim(0..=63).unwrap();
        store
            .commit(&fence, put("a", "1"), Durability::Synced)
            .unwrap();
        store
            .commit(&fence, put("a", "2"), Durability::Buffered)
            .unwrap();
        store
            .commit(&fence, put("b", "1"), Durability::Buffered)
            .unwrap();
        assert_eq!(store.unsynced(), 2);
        store.crash(1);
        assert_eq!(store.unsynced(), 0);
        assert_eq!(get(&store, "a"), Some("2".into()));
        assert_eq!(get(&store, "b"), None);
        store.crash(usize::MAX);
        assert_eq!(get(&store, "a"), Some("2".into()));
    }

    #[test]
    fn without_a_journal_nothing_is_lost() {
        let store = MemoryStore::new();
        let fence = store.claim(0..=63).unwrap();
        store
            .commit(&fence, put("a", "1"), Durability::Buffered)
            .unwrap();
        assert_eq!(store.unsynced(), 0);
        store.crash(1);
        assert_eq!(get(&store, "a"), Some("1".into()));
    }

    #[test]
    fn faults_fire_once_and_in_order() {
        let store = MemoryStore::journaled();
        let fence = store.claim(0..=63).unwrap();
        let cases = [
            (Fault::Fenced, StoreError::Fenced, false),
            (
                Fault::UnknownApplied,
                StoreError::Unknown("injected fault".into()),
                true,
            ),
            (
                Fault::UnknownNotApplied,
                StoreError::Unknown("injected fault".into()),
                false,
            ),
            (
                Fault::Full,
                StoreError::Full("injected fault".into()),
                false,
            ),
            (
                Fault::SyncFailed,
                StoreError::SyncFailed("injected fault".into()),
                true,
            ),
        ];
        for (fault, _, _) in &cases {
            store.inject(*fault);
        }
        for ((_, error, applied), key) in cases.into_iter().zip(["a", "b", "c", "d", "e"]) {
            let outcome = store.commit(&fence, put(key, "1"), Durability::Synced);
            assert_eq!(outcome, Err(error));
            assert_eq!(get(&store, key).is_some(), applied);
        }
        assert_eq!(store.unsynced(), 2, "an unknown commit is not durable");
        store
            .commit(&fence, put("f", "1"), Durability::Synced)
            .unwrap();
        assert_eq!(store.unsynced(), 0);
    }

    #[test]
    fn a_fenced_commit_leaves_the_fault_for_the_next() {
        let store = MemoryStore::new();
        let old = store.claim(0..=63).unwrap();
        let new = store.claim(0..=63).unwrap();
        store.inject(Fault::Full);
        let fenced = store.commit(&old, put("a", "1"), Durability::Synced);
        assert_eq!(fenced, Err(StoreError::Fenced));
        let full = store.commit(&new, put("a", "1"), Durability::Synced);
        assert!(matches!(full, Err(StoreError::Full(_))));
    }
}
