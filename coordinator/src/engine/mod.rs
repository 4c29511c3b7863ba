//! The engine: one writer. Commands in, one batch, one commit, then answers and effects.
//!
//! [`core`] decides and is pure; [`driver`] owns thread, clock and store; [`handle`] is what the rest of the coordinator
//! calls.

mod attempts;
pub mod command;
mod completions;
pub mod core;
mod dispatch;
pub mod driver;
mod edits;
pub mod handle;
mod invariants;
mod miners;
mod models;
mod polling;
mod queries;
mod recover;
mod requirements;
mod sessions;
pub mod stats;
mod submit;
#[cfg(test)]
mod tests;
mod timers;
mod turn;
