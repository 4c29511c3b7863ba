//! The coordinator as a library: its cores run in the binary, in tests and in the simulator.

pub mod agents;
pub mod audits;
pub mod auth;
#[cfg(test)]
mod cases;
pub mod config;
mod connections;
pub mod coordinator;
pub mod engine;
pub mod grpc;
pub mod init;
pub mod jobs;
pub mod ledger;
pub mod limits;
pub mod market;
pub mod network;
pub mod payments;
pub mod prometheus;
mod relay;
pub mod retention;
pub mod server;
pub mod sessions;
mod shares;
pub mod store;
mod timeouts;
pub mod tls;
mod unanswered;
