//! The ledger that anyone can check: the root of the state.

pub mod state_tree;
