//! What the two sides of AITBC must agree on: ids, money, hashes, signed byte layouts, and how a result is checked.
//!
//! Without the feature `runtime` everything here is a pure function of its arguments: no clock, no randomness, no files,
//! no network.

pub mod address;
pub mod agents;
pub mod genesis;
pub mod gpus;
pub mod hash;
pub mod identity;
pub mod ids;
pub mod job_input;
pub mod layouts;
pub mod ledger;
pub mod limits;
pub mod market;
pub mod money;
pub mod names;
pub mod nearest;
pub mod price;
pub mod result_document;
pub mod token;
pub mod verify;
pub mod wallet;

#[cfg(feature = "runtime")]
pub mod runtime;
