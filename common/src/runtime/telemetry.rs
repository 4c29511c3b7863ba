//! Logs: tracing events to stderr, as text or as JSON lines.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// The environment variable whose filter (`info`, `aitbc_coordinator=debug,warn`, …) replaces the verbosity.
pub const FILTER_VARIABLE: &str = "AITBC_LOG";

/// Sends log events to stderr: 0 warnings, 1 information, 2 debugging, more everything. Does nothing if the process
/// already has a receiver for them.
pub fn init(verbosity: u8, json: bool) {
    let level = match verbosity {
        0 => "warn",
        1 => "info,h2=warn,hyper=warn,tower=warn",
        2 => "debug,h2=info,hyper=info,tower=info",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_env(FILTER_VARIABLE).unwrap_or_else(|_| EnvFilter::new(level));
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let started: Result<(), TryInitError> = if json {
        registry.with(lines.json()).try_init()
    } else {
        registry
            .with(lines.with_ansi(super::terminal::is_terminal_stderr()))
            .try_init()
    };
    if started.is_err() {
        tracing::debug!("log receiver already set");
    }
}
