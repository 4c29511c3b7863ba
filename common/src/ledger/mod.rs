//! The ledger that anyone can check: the log of records, the root of the state, signed checkpoints.

pub mod checkpoint;
pub mod log;
pub mod state_tree;
