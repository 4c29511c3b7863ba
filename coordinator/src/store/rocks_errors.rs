//! What a RocksDB error means for the caller; RocksDB tells most of it only in its text.

use std::path::Path;

use rocksdb::{Error, ErrorKind};

use super::StoreError;

/// An error of opening the database in the data folder `folder`.
pub(super) fn open_error(folder: &Path, error: Error) -> StoreError {
    let text = error.as_ref();
    if is_locked(text) {
        return StoreError::InUse(folder.to_owned());
    }
    if is_full(text) {
        return StoreError::Full(error.into_string());
    }
    if is_sync(text) {
        return StoreError::SyncFailed(error.into_string());
    }
    read_error(error)
}

/// An error of a read.
pub(super) fn read_error(error: Error) -> StoreError {
    match error.kind() {
        ErrorKind::Corruption => StoreError::Corrupt(error.into_string()),
        _ => StoreError::Unavailable(error.into_string()),
    }
}

/// An error of a write, or an earlier one that RocksDB keeps answering until it is reopened.
pub(super) fn commit_error(error: Error) -> StoreError {
    let text = error.as_ref();
    if is_full(text) {
        return StoreError::Full(error.into_string());
    }
    if is_sync(text) {
        return StoreError::SyncFailed(error.into_string());
    }
    match error.kind() {
        ErrorKind::Corruption => StoreError::Corrupt(error.into_string()),
        _ => StoreError::Unknown(error.into_string()),
    }
}

/// Whether RocksDB refused a write, untouched, only because it is behind with its flushes.
pub(super) fn is_stall(error: &Error) -> bool {
    error.kind() == ErrorKind::Incomplete && error.as_ref().contains("Write stall")
}

fn is_full(text: &str) -> bool {
    [
        "No space left on device",
        "Disk quota exceeded",
        "Space limit reached",
    ]
    .iter()
    .any(|sign| text.contains(sign))
}

fn is_sync(text: &str) -> bool {
    ["While fdatasync", "While fsync", "While sync_file_range"]
        .iter()
        .any(|sign| text.contains(sign))
}

fn is_locked(text: &str) -> bool {
    text.contains("lock hold by current process") || text.contains("While lock file")
}

#[cfg(test)]
mod tests {
    use super::*;

    // `rocksdb::Error` cannot be made outside its crate; its texts are checked by what they say.
    #[test]
    fn texts_of_rocksdb_are_understood() {
        assert!(is_full(
            "IO error: No space left on device: While appending to file: /d/rocks/000008.log: \
             No space left on device"
        ));
        assert!(is_sync(
            "IO error: While fdatasync: /d/rocks/000008.log: Input/output error"
        ));
        assert!(is_locked(
            "IO error: While lock file: /d/rocks/LOCK: Resource temporarily unavailable"
        ));
        assert!(is_locked(
            "IO error: lock hold by current process, acquire time 1 acquiring thread 2: \
             /d/rocks/LOCK: No locks available"
        ));
        let other = "IO error: while open a file for lock: /d/rocks/LOCK: Permission denied";
        assert!(!is_full(other) && !is_sync(other) && !is_locked(other));
    }
}
