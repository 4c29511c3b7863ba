//! Job rules, pure: lifecycle, funding, retry, matching, queue, explanation. No clock, randomness or I/O.

pub mod explain;
pub mod funding;
pub mod lifecycle;
pub mod matching;
pub mod queue;
pub mod retry;
mod turns;
