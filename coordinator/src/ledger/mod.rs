//! The ledger: one writer of the log and of the money in it.
//!
//! [`core`] decides and is pure; [`driver`] owns thread, clock and store; [`proofs`] reads what was sealed; the jobs are
//! told, and tell, through [`crate::payments`].

pub mod command;
pub mod core;
pub mod counted;
pub mod driver;
mod found;
mod orders;
pub mod proofs;
mod recover;
pub mod rows;
mod seals;
#[cfg(test)]
mod tests;
mod turn;
