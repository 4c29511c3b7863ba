//! Agents as users write them: `agent_config.json` and the files that it names.

mod document;
pub mod execution;
mod feed;
mod files;
mod load;
mod schema;
mod stored;
pub mod template;
mod upload;

#[cfg(test)]
mod tests;

pub use feed::Feed;
pub use load::{Loaded, load};
pub use stored::Stored;
pub use upload::upload;

/// The config's name where none is given.
pub const CONFIG_FILE: &str = "agent_config.json";
