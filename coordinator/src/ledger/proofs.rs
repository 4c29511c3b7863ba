//! What was sealed, proven from the store: the ledger's thread is not asked. Rows of the log never change; pages of the
//! state tree change at each seal, and are checked against the checkpoint's root, so that a proof read across a seal fails
//! and is read again.

use aitbc_common::hash::Hash;
use aitbc_common::ledger::log::{LogError, LogStore};
use aitbc_common::ledger::state_tree::{PageId, StateStore};
use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1::ErrorReason;

use super::rows::split_record;
use crate::store::Reads;
use crate::store::{Family, StoreError, ledger_keys as keys};

/// The log's hashes in the store.
pub struct LogRows<'a>(pub &'a dyn Reads);

impl LogStore for LogRows<'_> {
    type Error = StoreError;

    fn rows(&self, records: &[u64]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let names: Vec<_> = records.iter().map(|index| keys::record(*index)).collect();
        let wanted: Vec<_> = names
            .iter()
            .map(|name| (Family::Archive, name.as_slice()))
            .collect();
        let rows = self.0.get_many(&wanted)?.into_iter();
        Ok(rows
            .map(|row| row.and_then(|row| split_record(&row).map(|(hashes, _)| hashes.to_vec())))
            .collect())
    }
}

/// The state tree in the store.
pub struct StatePages<'a>(pub &'a dyn Reads);

impl StateStore for StatePages<'_> {
    type Error = StoreError;

    fn pages(&self, ids: &[PageId]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let names: Vec<_> = ids.iter().map(keys::page).collect();
        let wanted: Vec<_> = names
            .iter()
            .map(|name| (Family::Archive, name.as_slice()))
            .collect();
        let rows = self.0.get_many(&wanted)?.into_iter();
        Ok(rows.map(|row| row.map(Into::into)).collect())
    }

    fn value(&self, key: &Hash) -> Result<Option<Vec<u8>>, StoreError> {
        let name = keys::sealed(key);
        let rows = self.0.get_many(&[(Family::Archive, name.as_slice())])?;
        Ok(rows.into_iter().next().flatten().map(Into::into))
    }
}

/// The leaf of a record.
pub fn leaf(reads: &dyn Reads, index: u64) -> Result<Option<Vec<u8>>, StoreError> {
    let name = keys::record(index);
    let row = reads
        .get_many(&[(Family::Archive, name.as_slice())])?
        .into_iter()
        .next()
        .flatten();
    Ok(row.and_then(|row| split_record(&row).map(|(_, leaf)| leaf.to_vec())))
}

/// Why a question about the log has no answer.
#[must_use]
pub fn log_refusal(error: &LogError<StoreError>) -> ApiError {
    match error {
        LogError::Store(_) => {
            ApiError::new(ErrorReason::Unavailable, "the ledger cannot be read now")
        }
        LogError::Row(_) => ApiError::new(
            ErrorReason::RecordNotFound,
            "the log does not have that many records",
        ),
        LogError::NoRecord { .. } | LogError::Order { .. } | LogError::Full => {
            ApiError::field("size", error.to_string())
        }
    }
}
