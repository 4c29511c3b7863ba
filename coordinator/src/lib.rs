//! The coordinator as a library: its cores run in the binary, in tests and in the simulator.

pub mod engine;
pub mod jobs;
pub mod store;
