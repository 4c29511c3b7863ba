//! Agents: a model that works in steps and may use tools between them.

pub mod tools;
