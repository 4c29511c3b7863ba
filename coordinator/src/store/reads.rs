//! Reading, as the cores do it: rows as of before a batch.

use std::sync::Arc;

use bytes::Bytes;

use super::{Family, Page, Store, StoreError, keys};

/// Rows that a recovery reads at once.
const ROWS_AT_ONCE: usize = 1_000;

/// Stored rows as of before the batch.
pub trait Reads {
    /// As [`Store::get_many`].
    fn get_many(&self, keys: &[(Family, &[u8])]) -> Result<Vec<Option<Bytes>>, StoreError>;
    /// As [`Store::scan`].
    fn scan(
        &self,
        family: Family,
        range: std::ops::Range<&[u8]>,
        limit: usize,
    ) -> Result<Page, StoreError>;
}

impl Reads for Arc<dyn Store> {
    fn get_many(&self, keys: &[(Family, &[u8])]) -> Result<Vec<Option<Bytes>>, StoreError> {
        (**self).get_many(keys)
    }

    fn scan(
        &self,
        family: Family,
        range: std::ops::Range<&[u8]>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        (**self).scan(family, range, limit)
    }
}

/// Every active row with this prefix, in order.
pub fn each_active_row(
    reads: &dyn Reads,
    prefix: &[u8],
    mut each: impl FnMut(Bytes, Bytes) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let end = keys::prefix_end(prefix);
    let mut from = Bytes::copy_from_slice(prefix);
    loop {
        let page = reads.scan(Family::Active, &from..&end, ROWS_AT_ONCE)?;
        for (key, value) in page.rows {
            each(key, value)?;
        }
        match page.next {
            Some(next) => from = next,
            None => return Ok(()),
        }
    }
}
