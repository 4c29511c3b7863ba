//! Miners' streams, and those who watch what comes through them.
//!
//! [`core`] and [`output_buffer`] decide and are pure; [`driver`] owns a session's tasks, [`verify`] the threads for
//! signatures, [`hub`] carries the engine's effects to sessions and watchers.

pub mod action;
pub mod core;
pub mod delivery;
pub mod driver;
mod facts;
pub mod hub;
mod inbox;
pub mod messages;
pub mod output_buffer;
pub mod responses;
pub mod said;
pub mod stored;
pub mod streams;
pub mod verify;
pub mod watch_job;
pub mod watch_jobs;

#[cfg(test)]
mod core_tests;
#[cfg(test)]
mod delivery_tests;
#[cfg(test)]
mod verify_tests;
