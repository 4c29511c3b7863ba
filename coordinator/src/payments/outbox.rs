//! What the jobs told the ledger and the ledger has not applied yet: read by the relay.

use super::{Order, rows};
use crate::store::Reads;
use crate::store::rows::{OrdersRow, decode};
use crate::store::{Family, StoreError, keys};

/// Orders of one row, at most.
pub(crate) const ROW_ORDERS: usize = 256;

/// Orders from number `from` on, in order and with their numbers; those of at most `rows` stored rows (a row has at most
/// 256). Empty = nothing waits. Numbers are dense and begin at 1.
///
/// # Errors
/// A store that fails, or a damaged row.
pub fn read(store: &dyn Reads, from: u64, rows: usize) -> Result<Vec<(u64, Order)>, StoreError> {
    let (first, end) = (keys::orders(from), keys::prefix_end(&keys::orders(0)[..2]));
    let page = store.scan(Family::Active, &first..&end, rows)?;
    let mut orders = Vec::new();
    for (key, value) in page.rows {
        let row: OrdersRow = decode(value)?;
        let last = keys::last_order(&key)
            .filter(|last| *last >= row.orders.len() as u64)
            .ok_or_else(|| StoreError::Corrupt("a row of orders is damaged".into()))?;
        let before = last - row.orders.len() as u64;
        for (number, order) in (before + 1..).zip(&row.orders) {
            if number >= from {
                orders.push((number, rows::read_order(order)?));
            }
        }
    }
    Ok(orders)
}
