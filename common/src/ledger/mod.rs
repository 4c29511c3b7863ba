//! The ledger's rules: what each record does to balances, locks, stakes, bindings and allowances. The coordinator decides
//! by them, and whoever audits the log recomputes everything by them.

pub mod entry;
pub mod position;
pub mod settlement;
pub mod state;
pub mod transactions;
pub mod violation;

#[cfg(test)]
mod tests;
