//! Real processes for tests: a coordinator, miners, clients and model servers, on free ports and in temporary folders.
//!
//! Whatever a test starts ends with it: at the end of a scope by `Drop`, and by [`guardian`] where the test itself is
//! killed. Nothing waits by sleeping: every wait polls a condition and has a deadline.

mod delivery;
mod fake_ollama;
mod guardian;
mod mcp;
mod network;
mod ollama;
mod output;
mod process;
mod redact;
mod scratch;

use std::path::PathBuf;
use std::time::{Duration, Instant};

pub use delivery::{Delivery, HandMiner};
pub use fake_ollama::{FakeOllama, Script};
pub use mcp::McpClient;
pub use network::{Network, User};
pub use ollama::{Engine, Ollama};
pub use output::Output;
pub use process::{Keyboard, Process, Stream};
pub use redact::{redact, redact_json};
pub use scratch::Scratch;

/// How long anything may take before a test gives it up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How often a condition is looked at.
const INTERVAL: Duration = Duration::from_millis(20);

/// One of the product's programs: it was built into the folder above this test's.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a running program has a path");
    let folder = own
        .parent()
        .and_then(|deps| deps.parent())
        .expect("tests are in target/PROFILE/deps");
    let path = folder.join(name);
    assert!(
        path.is_file(),
        "{} is not built; run: cargo build --workspace",
        path.display()
    );
    path
}

/// The value of an environment variable that `scripts/test` sets.
#[must_use]
pub fn tool(variable: &str) -> PathBuf {
    match std::env::var_os(variable) {
        Some(path) => PathBuf::from(path),
        None => panic!("{variable} is not set: run the tests with make test"),
    }
}

/// The model file that tests use (98 MB).
#[must_use]
pub fn model_file() -> PathBuf {
    tool("AITBC_TEST_MODEL")
}

/// Looks at `condition` until it gives something; panics with `what` after [`PATIENCE`].
pub fn wait_for<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    wait_within(PATIENCE, what, condition)
}

/// As [`wait_for`], with another deadline.
pub fn wait_within<T>(limit: Duration, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < end, "waited {limit:?} for {what}");
        std::thread::park_timeout(INTERVAL);
    }
}
