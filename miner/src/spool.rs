//! Finished attempts on disk until the coordinator has acknowledged them; they survive a crash of the miner.
//!
//! An append-only log of records, each with its length and a checksum. A group of records costs one sync. The log is
//! emptied when nothing in it is needed any more, and rewritten when most of it is not. Each chain has a folder of its own.

mod chains;
mod log;
mod writer;

pub use log::{Spool, SpoolError};
pub use writer::SpoolWriter;
