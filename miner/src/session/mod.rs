//! A miner's session: one stream to a coordinator.
//!
//! [`SessionCore`] decides, [`driver`] performs. The core has no clock, no I/O and no randomness, so that the simulator
//! runs the very same code.

mod admission;
mod attempt;
mod connect;
mod coordinator;
mod core;
pub mod driver;
mod event;
mod evidence;
mod history;
mod outgoing;
mod record;
mod runs;
mod sending;
#[cfg(test)]
mod tests;
mod witness;

pub use self::core::{CoreConfig, SessionCore};
pub use event::{Action, AttemptKey, End, Event, JobStart, Notice, Summary};
pub use record::{RecordError, SpoolRecord};
