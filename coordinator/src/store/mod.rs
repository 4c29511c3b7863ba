//! The store seam: what the engine needs of a database, and nothing more.
//!
//! A store keeps ordered rows of bytes in three [`Family`]s and changes them by atomic [`Batch`]es.
//! Its guarantees, which `conformance.rs` checks for every adapter:
//!
//! - a batch is applied whole or not at all, and its operations in their order;
//! - a [`Durability::Synced`] commit that returned `Ok` survives a crash, and with it every commit
//!   before it; a [`Durability::Buffered`] commit may be lost, but only together with all later ones;
//! - a commit under a [`Fence`] that a later claim or a reopening has overtaken changes nothing.
//!
//! All calls block; callers keep them off the threads that run async tasks.

mod disk;
mod fences;
pub mod keys;
pub mod ledger_keys;
mod memory;
mod reads;
mod rocks;
mod rocks_errors;
mod rocks_options;
pub mod rows;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod rocks_tests;

use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;

use bytes::Bytes;

pub use disk::{Ballast, free_space};
pub use memory::{Fault, MemoryStore};
pub use reads::{Reads, each_active_row};
pub use rocks::RocksStore;
pub use rocks_options::RocksOptions;

/// Number of the jobs' data partitions; valid shards are `0..SHARDS`.
pub const SHARDS: u8 = 64;

/// The partition after the shards: the ledger's.
pub const LEDGER_PARTITION: u8 = SHARDS;

/// The most bytes of keys and values that one [`Store::scan`] collects before it ends its page
/// (4 MiB; a single larger row is still returned, alone).
pub const SCAN_BYTES: usize = 4 << 20;

/// A group of rows with the same lifetime; keys are unique within a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Live rows, all that a start reads: small, short-lived, often rewritten.
    Active,
    /// Finished rows and indexes: written once, kept long, read seldom.
    Archive,
    /// Output bytes of attempts: appended, read in sequence, deleted by range.
    Output,
}

impl Family {
    /// Every family, in the order of [`Family::index`].
    pub const ALL: [Family; 3] = [Family::Active, Family::Archive, Family::Output];

    /// Position in [`Family::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// Whether a commit is on the disk when it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// On the disk before the call returns, with every earlier commit.
    Synced,
    /// Handed to the operating system: survives the end of the process, not that of the machine.
    Buffered,
}

/// One operation of a [`Batch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Sets the value of a key, new or not.
    Put(Family, Bytes, Bytes),
    /// Removes a key; no error when it is missing.
    Delete(Family, Bytes),
    /// Removes the keys from the first (inclusive) to the second (exclusive).
    DeleteRange(Family, Bytes, Bytes),
}

/// Changes that are applied together, in their order: a later one overrides an earlier one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    operations: Vec<Operation>,
    bytes: usize,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `key` to `value`.
    pub fn put(&mut self, family: Family, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        let (key, value) = (key.into(), value.into());
        self.bytes += key.len() + value.len();
        self.operations.push(Operation::Put(family, key, value));
    }

    /// Removes `key`, if it is there.
    pub fn delete(&mut self, family: Family, key: impl Into<Bytes>) {
        let key = key.into();
        self.bytes += key.len();
        self.operations.push(Operation::Delete(family, key));
    }

    /// Removes the keys in `start..end`; an empty or reversed range removes nothing.
    ///
    /// Reads pay for every range that was removed recently: for a handful of known keys prefer
    /// [`Batch::delete`].
    pub fn delete_range(&mut self, family: Family, start: impl Into<Bytes>, end: impl Into<Bytes>) {
        let (start, end) = (start.into(), end.into());
        if start >= end {
            return;
        }
        self.bytes += start.len() + end.len();
        self.operations
            .push(Operation::DeleteRange(family, start, end));
    }

    /// Number of operations.
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether the batch changes nothing.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// Bytes of all keys and values.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The operations in their order.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// Appends the operations of `other`.
    pub fn append(&mut self, other: Batch) {
        self.operations.extend(other.operations);
        self.bytes += other.bytes;
    }
}

/// The right to commit for some shards, until a later claim of any of them or a reopening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    epoch: u64,
    shards: RangeInclusive<u8>,
}

impl Fence {
    /// Rises with every claim of one store, also across restarts; from 1.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The claimed shards.
    pub fn shards(&self) -> RangeInclusive<u8> {
        self.shards.clone()
    }
}

/// One page of a [`Store::scan`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Keys and values, ascending by key.
    pub rows: Vec<(Bytes, Bytes)>,
    /// Where the next page starts; `None` when the range holds no further row.
    pub next: Option<Bytes>,
}

/// Why a store refused or failed.
///
/// After any error of [`Store::commit`] the caller answers "unavailable", forgets what it holds in memory,
/// calls [`Store::reopen`] and recovers as at a start; only after [`StoreError::SyncFailed`] the
/// process must end instead, because the operating system may have dropped what it could not write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Another owner has claimed the shards since; nothing was changed.
    #[error("another owner has claimed these shards")]
    Fenced,
    /// The commit failed, and whether it was applied cannot be told.
    #[error("the outcome of the commit is unknown: {0}")]
    Unknown(String),
    /// The disk, or the quota on it, is full. A commit that fails so was, as with
    /// [`StoreError::Unknown`], applied or not.
    #[error("the disk is full: {0}")]
    Full(String),
    /// Stored bytes are not what was written.
    #[error("the stored data is damaged: {0}")]
    Corrupt(String),
    /// The disk failed to make data durable; the process must end.
    #[error("the disk failed to sync: {0}")]
    SyncFailed(String),
    /// The folder belongs to another running coordinator.
    #[error("data folder {} is used by another coordinator", .0.display())]
    InUse(PathBuf),
    /// The store could not be opened or read; nothing was changed.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
}

impl StoreError {
    /// What the operator can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Fenced => "stop the older of the two coordinators",
            Self::Unknown(_) => {
                "the coordinator reopens its store by itself; see its log if it repeats"
            }
            Self::Full(_) => "free space on the disk of the data folder",
            Self::Corrupt(_) => "restore the data folder from a backup, and check the disk",
            Self::SyncFailed(_) => "check the disk, then start the coordinator again",
            Self::InUse(_) => {
                "stop the other coordinator, or choose another folder with --data-dir"
            }
            Self::Unavailable(_) => "check that the data folder exists and can be written",
        }
    }
}

/// A database of ordered rows under atomic, fenced commits.
pub trait Store: Send + Sync + 'static {
    /// Takes over `shards`: raises the epoch, durably, so that older fences of any of them are
    /// refused from here on. A range that is empty or reaches past [`LEDGER_PARTITION`] is `Unavailable`.
    fn claim(&self, shards: RangeInclusive<u8>) -> Result<Fence, StoreError>;

    /// The values of `keys`, in their order, all as of one moment; `None` for what is missing.
    fn get_many(&self, keys: &[(Family, &[u8])]) -> Result<Vec<Option<Bytes>>, StoreError>;

    /// The rows of `range` (start inclusive, end exclusive) in ascending order of their keys: at
    /// most `limit` of them and about [`SCAN_BYTES`]. [`Page::next`] tells whether more follow and
    /// from where; an empty page with `next` comes only from `limit` 0.
    fn scan(&self, family: Family, range: Range<&[u8]>, limit: usize) -> Result<Page, StoreError>;

    /// Applies `batch` if `fence` still holds. An empty batch that is synced makes the earlier
    /// commits durable.
    fn commit(&self, fence: &Fence, batch: Batch, durability: Durability)
    -> Result<(), StoreError>;

    /// Closes and opens the store anew, which clears a latched error. Every fence ends; what was
    /// committed stays, and of an unknown commit it shows whether it was applied. When it fails, every
    /// call is `Unavailable` until one succeeds.
    fn reopen(&self) -> Result<(), StoreError>;
}
