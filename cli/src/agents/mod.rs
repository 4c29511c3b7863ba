//! Agents as users write them: `agent_config.json` and the files that it names.

mod document;
mod files;
mod load;
mod schema;
pub mod template;

#[cfg(test)]
mod tests;

pub use load::{Loaded, load};

/// The config's name where none is given.
pub const CONFIG_FILE: &str = "agent_config.json";
