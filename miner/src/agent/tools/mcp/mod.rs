//! Tools of MCP servers that the miner's operator allows by name: as strangers, whatever they are.
//!
//! What a server says it offers is read once, bounded, and pinned: the model never sees anything that the server says later,
//! and a server that says something else is refused. One that hangs, floods or dies is killed and started again after a
//! pause.

mod answer;
mod config;
mod connection;
mod pin;
mod process;
mod server;

pub use config::{ConfigError, ServerConfig};
pub use server::{RefusedTool, Server};
