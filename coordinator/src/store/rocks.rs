//! The store on RocksDB: one database in the data folder, one column family for each [`Family`].

use std::fs::{self, File};
use std::io;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rocksdb::properties::BACKGROUND_ERRORS;
use rocksdb::{ColumnFamily, DB, ReadOptions, WriteBatch, WriteOptions};

use super::disk::{Ballast, free_space};
use super::fences::Fences;
use super::rocks_errors::{commit_error, is_stall, open_error, read_error};
use super::rocks_options::{HeldLog, RocksOptions, descriptors, name};
use super::{Batch, Durability, Family, Fence, Operation, Page, SCAN_BYTES, Store, StoreError};

/// Where the last epoch is kept, in the database's own column family `default`.
const EPOCH_KEY: &[u8] = b"epoch";

/// How long a commit waits at most for RocksDB to flush rows, and how often it looks.
const STALL_LIMIT: Duration = Duration::from_secs(20);
const STALL_POLL: Duration = Duration::from_millis(1);

/// A store that survives the process and, as far as it is synced, the machine.
///
/// The database is `FOLDER/rocks`, beside `FOLDER/ballast`. One process at a time: a second one gets
/// [`StoreError::InUse`]. Reads and commits may come from any thread; they wait only for a claim or a
/// reopening.
pub struct RocksStore {
    folder: PathBuf,
    options: RocksOptions,
    ballast: Ballast,
    state: RwLock<State>,
}

struct State {
    /// `None` after a reopening that failed.
    database: Option<DB>,
    fences: Fences,
}

impl RocksStore {
    /// Opens or creates the store in `folder` with the default options.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_with(folder, RocksOptions::default())
    }

    /// Opens or creates the store in `folder`. On a full disk the ballast is given up for it.
    pub fn open_with(folder: impl AsRef<Path>, options: RocksOptions) -> Result<Self, StoreError> {
        let folder = folder.as_ref().to_owned();
        create_folder(&folder).map_err(|error| folder_error(&folder, &error))?;
        let store = Self {
            ballast: Ballast::new(&folder, options.ballast),
            state: RwLock::new(State {
                database: None,
                fences: Fences::new(0),
            }),
            folder,
            options,
        };
        store.reopen()?;
        Ok(store)
    }

    /// The data folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Lays the ballast out again after it was given up, as soon as the disk has three times its size
    /// free. Answers whether it is whole; cheap to ask when it is.
    pub fn restore_ballast(&self) -> io::Result<bool> {
        self.ballast.restore()
    }

    /// Writes all rows to sorted files and merges these, so that the folder holds little but what the rows need and
    /// large values that are no row's any more. It reads and writes everything: minutes, where there is much.
    pub fn compact(&self) -> Result<(), StoreError> {
        let state = self.read_state();
        let database = state.database()?;
        // The log goes once no family needs it, the database's own neither.
        database.flush().map_err(commit_error)?;
        for family in Family::ALL {
            let family = handle(database, family);
            database.flush_cf(family).map_err(commit_error)?;
            database.compact_range_cf(family, None::<&[u8]>, None::<&[u8]>);
        }
        Ok(())
    }

    fn open_database(&self) -> Result<DB, StoreError> {
        let path = self.folder.join("rocks");
        let log = Arc::new(HeldLog::new());
        let (options, families) = descriptors(&self.options, &log);
        let database = DB::open_cf_descriptors(&options, path, families)
            .map_err(|error| open_error(&self.folder, error))?;
        log.opened();
        Ok(database)
    }

    /// Opens the database; on a full disk once more, with the room of the ballast.
    fn open_with_ballast(&self) -> Result<DB, StoreError> {
        let full = match self.open_database() {
            Err(StoreError::Full(detail)) => detail,
            outcome => return outcome,
        };
        if self.release_ballast() {
            self.open_database()
        } else {
            Err(StoreError::Full(full))
        }
    }

    /// Restores the ballast where there is room for it, and gives it up where there is none left to
    /// work in: a store that opens but cannot commit helps nobody.
    fn adjust_ballast(&self) -> io::Result<()> {
        if free_space(&self.folder)? < self.options.reserve() {
            self.release_ballast();
        } else {
            self.ballast.restore()?;
        }
        Ok(())
    }

    /// Answers whether there was a ballast to give up.
    fn release_ballast(&self) -> bool {
        let folder = self.folder.display();
        let bytes = self.ballast.bytes();
        match self.ballast.release() {
            Ok(false) => false,
            Ok(true) => {
                tracing::warn!(%folder, bytes, "the disk is full: the ballast file is given up");
                true
            }
            Err(error) => {
                tracing::error!(%folder, %error, "the ballast file cannot be removed");
                false
            }
        }
    }

    /// Writes `batch`, and while RocksDB is behind with its flushes, waits for them.
    ///
    /// RocksDB would wait by itself, but for ever where a flush has failed on a full disk.
    fn write(
        &self,
        database: &DB,
        durability: Durability,
        batch: impl Fn() -> WriteBatch,
    ) -> Result<(), StoreError> {
        let options = write_options(durability);
        let start = Instant::now();
        loop {
            match database.write_opt(batch(), &options) {
                Err(error) if is_stall(&error) => self.check_stall(database, start)?,
                outcome => return outcome.map_err(commit_error),
            }
            #[expect(
                clippy::disallowed_methods,
                reason = "a store's calls block, and RocksDB has no call that waits with a limit"
            )]
            thread::sleep(STALL_POLL);
        }
    }

    /// Fails when the flushes that a commit has waited for since `start` cannot be expected to end.
    fn check_stall(&self, database: &DB, start: Instant) -> Result<(), StoreError> {
        let failures = database
            .property_int_value(BACKGROUND_ERRORS)
            .map_err(read_error)?;
        let failed = failures.is_none_or(|count| count > 0);
        if failed && free_space(&self.folder).is_ok_and(|free| free < self.options.reserve()) {
            return Err(StoreError::Full("no room to flush rows".to_owned()));
        }
        if failed || start.elapsed() > STALL_LIMIT {
            let detail = format!("rows are not flushed since {:?}", start.elapsed());
            return Err(StoreError::Unknown(detail));
        }
        Ok(())
    }

    fn read_state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_state(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn database(&self) -> Result<&DB, StoreError> {
        self.database.as_ref().ok_or_else(closed)
    }
}

impl Store for RocksStore {
    fn claim(&self, shards: RangeInclusive<u8>) -> Result<Fence, StoreError> {
        let mut state = self.write_state();
        let State { database, fences } = &mut *state;
        let database = database.as_ref().ok_or_else(closed)?;
        fences.claim(shards, |epoch| {
            self.write(database, Durability::Synced, || {
                let mut batch = WriteBatch::default();
                batch.put(EPOCH_KEY, epoch.to_be_bytes());
                batch
            })
        })
    }

    fn get_many(&self, keys: &[(Family, &[u8])]) -> Result<Vec<Option<Bytes>>, StoreError> {
        let state = self.read_state();
        let database = state.database()?;
        let families = Family::ALL.map(|family| handle(database, family));
        let keys = keys
            .iter()
            .map(|(family, key)| (families[family.index()], *key));
        database
            .multi_get_cf(keys)
            .into_iter()
            .map(|value| {
                value
                    .map(|value| value.map(Bytes::from))
                    .map_err(read_error)
            })
            .collect()
    }

    fn scan(&self, family: Family, range: Range<&[u8]>, limit: usize) -> Result<Page, StoreError> {
        let mut page = Page::default();
        if range.start >= range.end {
            return Ok(page);
        }
        let state = self.read_state();
        let database = state.database()?;
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(range.end);
        // What is scanned is read once; it must not push point reads out of the small cache.
        options.fill_cache(false);
        let mut rows = database.raw_iterator_cf_opt(handle(database, family), options);
        let mut bytes = 0;
        rows.seek(range.start);
        while let Some((key, value)) = rows.item() {
            let key = Bytes::copy_from_slice(key);
            if page.rows.len() >= limit || bytes >= SCAN_BYTES {
                page.next = Some(key);
                break;
            }
            bytes += key.len() + value.len();
            page.rows.push((key, Bytes::copy_from_slice(value)));
            rows.next();
        }
        rows.status().map_err(read_error)?;
        Ok(page)
    }

    fn commit(
        &self,
        fence: &Fence,
        batch: Batch,
        durability: Durability,
    ) -> Result<(), StoreError> {
        let state = self.read_state();
        let database = state.database()?;
        // A claim takes the write lock: no commit of an older fence is under way once it returns.
        state.fences.check(fence)?;
        if batch.is_empty() {
            return match durability {
                Durability::Synced => database.flush_wal(true).map_err(commit_error),
                Durability::Buffered => Ok(()),
            };
        }
        self.write(database, durability, || encode(database, &batch))
    }

    fn reopen(&self) -> Result<(), StoreError> {
        let mut state = self.write_state();
        state.fences = Fences::new(state.fences.last_epoch());
        // RocksDB locks its folder: the old handle goes before the new one comes.
        state.database = None;
        let database = self.open_with_ballast()?;
        let stored = read_epoch(&database)?;
        state.fences = Fences::new(stored.max(state.fences.last_epoch()));
        state.database = Some(database);
        drop(state);
        if let Err(error) = self.adjust_ballast() {
            tracing::warn!(folder = %self.folder.display(), %error, "there is no ballast file");
        }
        Ok(())
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable("it failed to open again".to_owned())
}

fn read_epoch(database: &DB) -> Result<u64, StoreError> {
    let Some(bytes) = database.get(EPOCH_KEY).map_err(read_error)? else {
        return Ok(0);
    };
    let bytes = <[u8; 8]>::try_from(bytes)
        .map_err(|bytes| StoreError::Corrupt(format!("an epoch of {} bytes", bytes.len())))?;
    Ok(u64::from_be_bytes(bytes))
}

fn encode(database: &DB, batch: &Batch) -> WriteBatch {
    const OVERHEAD_PER_OPERATION: usize = 16;
    let families = Family::ALL.map(|family| handle(database, family));
    let capacity = batch.bytes() + batch.len() * OVERHEAD_PER_OPERATION;
    let mut encoded = WriteBatch::with_capacity_bytes(capacity);
    for operation in batch.operations() {
        match operation {
            Operation::Put(family, key, value) => {
                encoded.put_cf(families[family.index()], key, value);
            }
            Operation::Delete(family, key) => encoded.delete_cf(families[family.index()], key),
            Operation::DeleteRange(family, start, end) => {
                encoded.delete_range_cf(families[family.index()], start, end);
            }
        }
    }
    encoded
}

fn handle(database: &DB, family: Family) -> &ColumnFamily {
    database
        .cf_handle(name(family))
        .expect("every column family is opened with the database")
}

fn write_options(durability: Durability) -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(durability == Durability::Synced);
    options.set_no_slowdown(true);
    options
}

/// Creates `folder` and makes its entry in its parent durable.
fn create_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(folder)?;
    match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

fn folder_error(folder: &Path, error: &io::Error) -> StoreError {
    let detail = format!("data folder {}: {error}", folder.display());
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full(detail),
        _ => StoreError::Unavailable(detail),
    }
}
