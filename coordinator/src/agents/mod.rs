//! Agents: what is kept of them, and what an execution of one needs. An execution is a job.

pub mod events;
pub mod files;
pub mod registry;
pub mod rows;
#[cfg(test)]
mod tests;

pub use registry::Registry;
