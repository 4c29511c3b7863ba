//! What touches a clock, a file, a socket or a terminal: shared by the coordinator, the miner and the CLI.

pub mod backoff;
pub mod channel;
pub mod command_line;
pub mod config;
pub mod errors;
pub mod files;
pub mod ledger;
pub mod market;
pub mod retries;
pub mod status;
pub mod submitter;
pub mod telemetry;
pub mod terminal;
pub mod wallets;

use std::time::{SystemTime, UNIX_EPOCH};

/// The system's clock: Unix time in milliseconds.
#[must_use]
pub fn unix_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// `N` bytes from the operating system's random source, fit for keys and salts.
#[must_use]
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system has a random source");
    bytes
}
