//! Audits of work: a share of the jobs whose owners allow it is run again by miners of other owners, and what two of three
//! agree on byte for byte counts against the third. Paid by the wallets that the genesis file names.

pub mod auditor;
pub mod driver;
pub mod figures;
pub mod keys;
pub mod network;
pub mod plan;
pub mod rows;
mod runs;
mod seeds;
#[cfg(test)]
mod tests;
mod wallets;

use aitbc_common::layouts::{JobSpec, Outcome, Receipt};

use crate::store::rows::JobRow;

/// Whether a settled job's work may be drawn for an audit: its owner allows it, and it was delivered whole.
#[must_use]
pub fn may_be_drawn(row: &JobRow) -> bool {
    JobSpec::decode(&row.spec).is_ok_and(|spec| spec.allows_audit()) && is_whole(row)
}

/// Whether a job's result is a whole one.
fn is_whole(row: &JobRow) -> bool {
    row.delivery.as_ref().is_some_and(|delivery| {
        Receipt::decode(&delivery.receipt).is_ok_and(|receipt| receipt.outcome == Outcome::Complete)
    })
}
