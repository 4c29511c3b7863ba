//! Repeating calls while the coordinator is away.

pub use aitbc_common::runtime::retries::{TRIES, is_away, pauses, with_retries};
