//! The simulator: the engine's core, both sessions' cores, the streams of attempts and the client's verifier on one
//! thread, with a virtual clock, over a network and a store that a seed decides about.
//!
//! The same seed gives the same run, byte for byte, and so the same trace hash. After every step the invariants of
//! [`check`] hold; at the end the faults stop, and every job must become final.

mod agents;
mod auditors;
pub mod check;
mod clients;
mod context;
mod coordinator;
mod deliveries;
mod faults;
mod genesis;
mod ledger;
mod market;
mod miners;
mod network;
mod notes;
mod payers;
mod pollers;
mod rentals;
mod sessions;
pub mod shrink;
mod streams;
mod trace;
mod watchers;
mod watches;
mod wire;
mod work;
mod world;

pub use context::{Fault, Faults, Options, Rule};
pub use trace::Totals;

/// What a run came to.
#[derive(Debug)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// SHA-256 over every event, in order.
    pub trace_hash: [u8; 32],
    /// The first invariant that did not hold, and when.
    pub violation: Option<String>,
    /// What happened, counted.
    pub totals: Totals,
    /// The events as text, where that was asked for; else the newest of them.
    pub log: Vec<String>,
}

/// Runs one seed.
#[must_use]
pub fn run(seed: u64, options: &Options) -> Report {
    world::World::new(seed, options).run()
}
