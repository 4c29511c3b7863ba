//! The commands of `aitbc-miner`, one file each, and what they share.

mod arguments;
mod context;
#[cfg(feature = "engine")]
mod engine;
#[cfg(feature = "engine")]
mod engine_process;
#[cfg(feature = "engine")]
mod mine;
mod mine_ollama;
mod mining;
mod register;
mod registration;
mod server;
mod signals;
mod test;

pub use arguments::main;
