//! The adapters under test, and how each restarts and crashes.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tempfile::TempDir;

use crate::store::{
    Batch, Durability, Family, Fence, MemoryStore, RocksOptions, RocksStore, SHARDS, Store,
};

/// A store under test, and how it restarts and crashes.
pub(in crate::store) trait Fixture {
    type Store: Store;

    /// A fixture with an empty store.
    fn new() -> Self;
    fn store(&self) -> &Self::Store;
    /// The process ends and starts again; the machine goes on.
    fn restart(&mut self);
    /// The machine ends and starts again; of what was not synced, the first `kept` permille survive.
    fn crash(&mut self, kept: u32);
    /// Called after each synced commit and each claim.
    fn note_synced(&mut self) {}

    fn commit(&mut self, fence: &Fence, batch: Batch, durability: Durability) {
        self.store()
            .commit(fence, batch, durability)
            .expect("the commit succeeds");
        if durability == Durability::Synced {
            self.note_synced();
        }
    }

    /// Claims all shards.
    fn claim(&mut self) -> Fence {
        let fence = self
            .store()
            .claim(0..=SHARDS - 1)
            .expect("the claim succeeds");
        self.note_synced();
        fence
    }

    fn get(&self, family: Family, key: impl AsRef<[u8]>) -> Option<Bytes> {
        let mut values = self.store().get_many(&[(family, key.as_ref())]).unwrap();
        assert_eq!(values.len(), 1);
        values.remove(0)
    }

    /// All rows of `family`, read in pages of `limit`.
    fn rows(&self, family: Family, limit: usize) -> Vec<(Bytes, Bytes)> {
        let (mut start, end) = (Bytes::new(), [0xff; 32]);
        let mut rows = Vec::new();
        loop {
            let page = self
                .store()
                .scan(family, range(&start, &end), limit)
                .unwrap();
            assert!(page.rows.len() <= limit);
            rows.extend(page.rows);
            match page.next {
                Some(next) => start = next,
                None => return rows,
            }
        }
    }
}

pub(in crate::store) struct Memory(MemoryStore);

impl Fixture for Memory {
    type Store = MemoryStore;

    fn new() -> Self {
        Self(MemoryStore::journaled())
    }
    fn store(&self) -> &MemoryStore {
        &self.0
    }
    fn restart(&mut self) {
        self.0.reopen().unwrap();
    }
    fn crash(&mut self, kept: u32) {
        let unsynced = self.0.unsynced();
        let kept = unsynced * kept as usize / 1000;
        self.0.crash(unsynced - kept);
    }
}

pub(super) fn range<'a>(start: &'a [u8], end: &'a [u8]) -> Range<&'a [u8]> {
    start..end
}

/// RocksDB in a folder of its own; a crash opens a copy whose log is cut.
pub(in crate::store) struct Rocks {
    folder: TempDir,
    store: Option<RocksStore>,
    synced: BTreeMap<PathBuf, u64>,
}

fn small() -> RocksOptions {
    RocksOptions {
        ballast: 0,
        ..RocksOptions::default()
    }
}

/// The log files of the database in `folder` with their lengths, oldest first.
fn logs(folder: &Path) -> BTreeMap<PathBuf, u64> {
    let mut files = files(folder);
    files.retain(|name, _| name.extension().is_some_and(|end| end == "log"));
    files
}

/// The files of the database in `folder` with their lengths.
fn files(folder: &Path) -> BTreeMap<PathBuf, u64> {
    let entries = fs::read_dir(folder.join("rocks")).unwrap();
    entries
        .map(|entry| entry.unwrap())
        // A file may go between its listing and the look at it.
        .filter_map(|entry| Some((entry.file_name().into(), entry.metadata().ok()?.len())))
        .collect()
}

/// A copy of the database in `folder` as of one moment: one during which no compaction changed files.
fn copy_at_rest(folder: &Path) -> TempDir {
    for _ in 0..1000 {
        let image = tempfile::tempdir().unwrap();
        fs::create_dir(image.path().join("rocks")).unwrap();
        let before = files(folder);
        let copied = before.keys().all(|name| {
            let name = Path::new("rocks").join(name);
            fs::copy(folder.join(&name), image.path().join(&name)).is_ok()
        });
        if copied && files(folder) == before && files(image.path()) == before {
            return image;
        }
    }
    panic!("the files of the store never rest");
}

impl Fixture for Rocks {
    type Store = RocksStore;

    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = RocksStore::open_with(folder.path(), small()).unwrap();
        let synced = logs(folder.path());
        Self {
            folder,
            store: Some(store),
            synced,
        }
    }
    fn store(&self) -> &RocksStore {
        self.store.as_ref().expect("the store is open")
    }
    fn restart(&mut self) {
        self.store = None;
        self.store = Some(RocksStore::open_with(self.folder.path(), small()).unwrap());
        self.synced = logs(self.folder.path());
    }
    fn crash(&mut self, kept: u32) {
        let image = copy_at_rest(self.folder.path());
        let synced = |name: &PathBuf| self.synced.get(name).copied().unwrap_or(0);
        let logs = logs(image.path());
        let unsynced: u64 = logs.iter().map(|(name, len)| len - synced(name)).sum();
        let mut left = unsynced * u64::from(kept) / 1000;
        for (name, len) in &logs {
            let keep = left.min(len - synced(name));
            left -= keep;
            let log = fs::OpenOptions::new()
                .write(true)
                .open(image.path().join("rocks").join(name))
                .unwrap();
            log.set_len(synced(name) + keep).unwrap();
        }
        self.store = None;
        self.folder = image;
        self.restart();
    }
    fn note_synced(&mut self) {
        self.synced = logs(self.folder.path());
    }
}
