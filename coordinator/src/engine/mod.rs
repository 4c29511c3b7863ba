//! The engine: one writer. Commands in, one batch, one commit, then answers and effects.
//!
//! [`core`] decides and is pure; [`driver`] owns thread, clock and store; [`handle`] is what the rest of the coordinator
//! calls.

pub(crate) mod acknowledgements;
pub mod aging;
mod attempts;
mod bindings;
mod checkpoints;
pub mod command;
mod completions;
pub(crate) mod contradictions;
pub mod core;
mod dispatch;
pub mod driver;
mod earnings;
mod edits;
pub mod effect;
pub mod figures;
mod funding;
mod funds;
pub mod handle;
mod held;
mod invariants;
pub mod listings;
mod miners;
mod models;
mod outbox;
pub(crate) mod payment;
mod polling;
mod queries;
mod recent;
mod recover;
pub mod rental_rows;
pub mod rentals;
mod reply;
mod requirements;
mod sessions;
pub mod stats;
mod stopped;
mod submit;
#[cfg(test)]
mod tests;
mod timers;
mod turn;

pub use completions::receipt_hash;
