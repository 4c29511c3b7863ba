//! The market, as processes.

mod audits;
mod listings;
mod payer;
mod prices;
mod refusals;
mod rentals;
mod terms;

use aitbc_tests::harness::{Network, User};
use serde_json::Value;

/// What a command says with `--json`.
fn document(user: &User, line: &str) -> Value {
    user.types(&format!("{line} --json")).succeeds().json()
}

/// A user with a wallet, which the faucet filled.
fn renter(network: &Network, name: &str) -> User {
    let renter = network
        .user(name)
        .with("AITBC_WALLET_PASSWORD", "a password");
    let _wallet = renter
        .types("aitbc wallet create --name w --seed-phrase-file seed.txt")
        .succeeds();
    renter
}
