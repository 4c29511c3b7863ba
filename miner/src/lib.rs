//! The AITBC miner: holds one stream to a coordinator and runs jobs on a local model server.

pub mod agent;
pub mod begun;
pub mod commands;
#[cfg(feature = "engine")]
pub mod engine;
pub mod execution;
pub mod hardware;
mod mining_log;
pub mod model_server;
pub mod runner;
pub mod session;
pub mod speeds;
pub mod spool;
mod text;
mod time;
