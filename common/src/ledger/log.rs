//! The log: an append-only Merkle tree of records (RFC 6962, SHA-256). A root of a size says what every record before it
//! is; proofs show that a record is in it, and that a later root only added to an earlier one.
//!
//! One row is stored per record: the hash of its leaf and those of the subtrees that it completes. So a commit writes as
//! many rows as it has records, and the root of any size and any proof read about two rows per level of the tree.

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::BTreeMap;

use tlog_tiles::tlog;

use crate::hash::Hash;

/// Records that a log can hold. It keeps every proof within [`MAX_PROOF_HASHES`].
pub const MAX_SIZE: u64 = 1 << 62;

/// Hashes of a proof at most.
pub const MAX_PROOF_HASHES: usize = 63;

/// The root of a log without records: SHA-256 of nothing.
pub const EMPTY_ROOT: Hash = tlog::EMPTY_HASH.0;

/// A log at one size: what a checkpoint signs and proofs are checked against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeHead {
    /// Records.
    pub size: u64,
    /// The root over all of them.
    pub root: Hash,
}

/// Where the rows of a log are stored.
pub trait LogStore {
    /// Why a read failed.
    type Error: std::error::Error + 'static;

    /// The rows of these records, by their index from 0, in the order asked for (rising); none where a row is not stored.
    /// Appending, a root and a proof ask once each.
    fn rows(&self, records: &[u64]) -> Result<Vec<Option<Vec<u8>>>, Self::Error>;
}

/// A log that cannot be read, or a question about what it does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError<E: std::error::Error + 'static> {
    /// The store failed.
    #[error("the log's hashes cannot be read")]
    Store(#[source] E),
    /// A row is missing or too short.
    #[error("the log's hashes of record {0} are damaged")]
    Row(u64),
    /// No record with this index is in a log of this size.
    #[error("record {index} is not in the log of {size} records")]
    NoRecord {
        /// Which record.
        index: u64,
        /// Records of the log.
        size: u64,
    },
    /// The earlier size is larger than the later one.
    #[error("a log of {new} records cannot extend one of {old}")]
    Order {
        /// The earlier size.
        old: u64,
        /// The later size.
        new: u64,
    },
    /// Over [`MAX_SIZE`].
    #[error("a log holds at most 2^62 records")]
    Full,
}

/// A proof that does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LogProofError {
    /// More than [`MAX_PROOF_HASHES`].
    #[error("a proof has at most {max} hashes, this one {0}", max = MAX_PROOF_HASHES)]
    Length(usize),
    /// The record's index is not below the size, or a size is over [`MAX_SIZE`].
    #[error("no proof can be about these records of the log")]
    Range,
    /// The later log is smaller than the earlier one.
    #[error("the log shrank")]
    Smaller,
    /// It does not lead to the root, or has too many hashes or too few.
    #[error("the proof does not lead to the log's root")]
    Root,
}

/// What an append gives: to be stored in one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// The log afterwards.
    pub head: TreeHead,
    /// New rows by record index: 32 bytes or a multiple. Frozen: the leaf's hash, then the subtrees that it completes,
    /// the smallest first.
    pub rows: Vec<(u64, Vec<u8>)>,
}

/// The hash of a record's leaf: SHA-256(0x00 ‖ record).
#[must_use]
pub fn leaf_hash(record: &[u8]) -> Hash {
    tlog::record_hash(record).0
}

/// Appends leaves ([`leaf_hash`]) to a log of a size. Rows at or after that size are not read, so that a commit that was
/// lost is simply written again.
///
/// # Errors
///
/// [`LogError`]; nothing was changed then.
pub fn append<S: LogStore>(
    store: &S,
    size: u64,
    leaves: &[Hash],
) -> Result<Appended, LogError<S::Error>> {
    let after = size
        .checked_add(leaves.len() as u64)
        .filter(|after| *after <= MAX_SIZE)
        .ok_or(LogError::Full)?;
    let mut reader = Reader::new(store);
    // The right edge: every new subtree and the new root are made of it and of the new leaves.
    let edge = tlog::sub_tree_index(0, size, Vec::new());
    let read = reader.run(|reader| tlog::HashReader::read_hashes(reader, &edge))?;
    reader.known = edge.into_iter().zip(read).collect();
    let mut rows = Vec::with_capacity(leaves.len());
    for (record, leaf) in (size..).zip(leaves) {
        let hashes = reader
            .run(|reader| tlog::stored_hashes_for_record_hash(record, tlog::Hash(*leaf), reader))?;
        rows.push((record, hashes.iter().flat_map(|hash| hash.0).collect()));
        let first = tlog::stored_hash_index(0, record);
        reader.known.extend((first..).zip(hashes));
    }
    let root = reader.run(|reader| tlog::tree_hash(after, reader))?.0;
    let head = TreeHead { size: after, root };
    Ok(Appended { head, rows })
}

/// The root of the log's first `size` records.
///
/// # Errors
///
/// [`LogError`]: the rows of that many records are not there.
pub fn root<S: LogStore>(store: &S, size: u64) -> Result<Hash, LogError<S::Error>> {
    check_size(size)?;
    let root = Reader::new(store).run(|reader| tlog::tree_hash(size, reader))?;
    Ok(root.0)
}

/// The proof that a record is in the log's first `size` records.
///
/// # Errors
///
/// [`LogError`].
pub fn prove_inclusion<S: LogStore>(
    store: &S,
    index: u64,
    size: u64,
) -> Result<Vec<Hash>, LogError<S::Error>> {
    check_size(size)?;
    if index >= size {
        return Err(LogError::NoRecord { index, size });
    }
    let proof = Reader::new(store).run(|reader| tlog::prove_record(size, index, reader))?;
    Ok(proof.into_iter().map(|hash| hash.0).collect())
}

/// The proof that the log's first `new` records begin with its first `old`. Empty where `old` is 0 or `new`.
///
/// # Errors
///
/// [`LogError`].
pub fn prove_consistency<S: LogStore>(
    store: &S,
    old: u64,
    new: u64,
) -> Result<Vec<Hash>, LogError<S::Error>> {
    check_size(new)?;
    if old > new {
        return Err(LogError::Order { old, new });
    }
    if old == 0 || old == new {
        return Ok(Vec::new());
    }
    let proof = Reader::new(store).run(|reader| tlog::prove_tree(new, old, reader))?;
    Ok(proof.into_iter().map(|hash| hash.0).collect())
}

/// Checks that the record with this index and leaf is in the log.
///
/// # Errors
///
/// [`LogProofError`].
pub fn verify_inclusion(
    proof: &[Hash],
    index: u64,
    leaf: &Hash,
    head: &TreeHead,
) -> Result<(), LogProofError> {
    let hashes = proof_hashes(proof, head.size)?;
    if index >= head.size {
        return Err(LogProofError::Range);
    }
    let (root, leaf) = (tlog::Hash(head.root), tlog::Hash(*leaf));
    tlog::check_record(&hashes, head.size, root, index, leaf).map_err(|_| LogProofError::Root)
}

/// Checks that the later log begins with all records of the earlier one. An empty log begins every log, with an empty
/// proof, as each log begins itself.
///
/// # Errors
///
/// [`LogProofError`].
pub fn verify_consistency(
    proof: &[Hash],
    old: &TreeHead,
    new: &TreeHead,
) -> Result<(), LogProofError> {
    let hashes = proof_hashes(proof, new.size)?;
    if new.size < old.size {
        return Err(LogProofError::Smaller);
    }
    let holds = if old.size == 0 {
        old.root == EMPTY_ROOT && proof.is_empty() && (new.size > 0 || new.root == EMPTY_ROOT)
    } else if old.size == new.size {
        old.root == new.root && proof.is_empty()
    } else {
        let (old_root, new_root) = (tlog::Hash(old.root), tlog::Hash(new.root));
        tlog::check_tree(&hashes, new.size, new_root, old.size, old_root).is_ok()
    };
    holds.then_some(()).ok_or(LogProofError::Root)
}

fn check_size<E: std::error::Error + 'static>(size: u64) -> Result<(), LogError<E>> {
    (size <= MAX_SIZE).then_some(()).ok_or(LogError::Full)
}

/// A proof as the library takes it, once its bounds and those of the log hold.
fn proof_hashes(proof: &[Hash], size: u64) -> Result<Vec<tlog::Hash>, LogProofError> {
    if proof.len() > MAX_PROOF_HASHES {
        return Err(LogProofError::Length(proof.len()));
    }
    if size > MAX_SIZE {
        return Err(LogProofError::Range);
    }
    Ok(proof.iter().map(|hash| tlog::Hash(*hash)).collect())
}

/// Gives the library hashes by its numbering of them, out of rows. Its errors cannot carry those of a store, which are
/// kept aside.
struct Reader<'a, S: LogStore> {
    store: &'a S,
    known: BTreeMap<u64, tlog::Hash>,
    failure: RefCell<Option<LogError<S::Error>>>,
}

impl<'a, S: LogStore> Reader<'a, S> {
    fn new(store: &'a S) -> Self {
        Self {
            store,
            known: BTreeMap::new(),
            failure: RefCell::new(None),
        }
    }

    fn run<T>(
        &self,
        call: impl FnOnce(&Self) -> Result<T, tlog::Error>,
    ) -> Result<T, LogError<S::Error>> {
        call(self).map_err(|_| {
            let failure = self.failure.take();
            failure.expect("within checked bounds only a read can fail")
        })
    }

    fn read(&self, indexes: &[u64]) -> Result<Vec<tlog::Hash>, LogError<S::Error>> {
        let places: Vec<(u64, usize)> = indexes.iter().map(|index| place(*index)).collect();
        let unknown = indexes.iter().zip(&places);
        let mut records: Vec<u64> = unknown
            .filter(|(index, _)| !self.known.contains_key(index))
            .map(|(_, (record, _))| *record)
            .collect();
        records.sort_unstable();
        records.dedup();
        let rows = if records.is_empty() {
            Vec::new()
        } else {
            self.store.rows(&records).map_err(LogError::Store)?
        };
        let rows: BTreeMap<u64, Option<Vec<u8>>> = records.into_iter().zip(rows).collect();
        let found = indexes.iter().zip(places).map(|(index, (record, level))| {
            let stored = || {
                let row = rows.get(&record)?.as_ref()?;
                let (hashes, _) = row.as_chunks::<32>();
                hashes.get(level).map(|hash| tlog::Hash(*hash))
            };
            let known = self.known.get(index).copied();
            known.or_else(stored).ok_or(LogError::Row(record))
        });
        found.collect()
    }
}

impl<S: LogStore> tlog::HashReader for Reader<'_, S> {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog::Hash>, tlog::Error> {
        self.read(indexes).map_err(|failure| {
            self.failure.replace(Some(failure));
            tlog::Error::IndexesNotInTree
        })
    }
}

/// Where a hash of the library's numbering stands: in the row of the record that completed its subtree, at its level.
fn place(index: u64) -> (u64, usize) {
    let (level, n) = tlog::split_stored_hash_index(index);
    (((n + 1) << level) - 1, usize::from(level))
}
