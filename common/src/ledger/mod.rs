//! The ledger that anyone can check: what each record does to balances, locks, stakes, bindings and allowances; the log of
//! records, the root of the state, signed checkpoints; and the audit that recomputes all of it.

pub mod audit;
pub mod audits;
pub mod broken;
pub mod checkpoint;
mod draft;
pub mod entry;
pub mod log;
pub mod position;
pub mod settlement;
mod slashing;
pub mod state;
pub mod state_tree;
pub mod tlog_proof;
pub mod totals;
pub mod transactions;
pub mod violation;

#[cfg(test)]
mod tests;
