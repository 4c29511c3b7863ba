//! A coordinator process whose figures are read while it runs and after its end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use aitbc_common::identity::Identity;
use aitbc_common::runtime::channel::{Connection, CoordinatorUrl};
use aitbc_common::runtime::random_bytes;
use aitbc_common::token::Scope;
use anyhow::{anyhow, ensure};
use tempfile::TempDir;

use super::process::Usage;
use crate::harness::{Process, Stream};

/// It may drain for 30 s.
const STOP_WITHIN: Duration = Duration::from_secs(45);

/// A program that was built beside this one.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let path = own.with_file_name(name);
    ensure!(
        path.is_file(),
        "{} is not built; run: cargo build --release --workspace --bins",
        path.display()
    );
    Ok(path)
}

/// What a coordinator logs: its counters at least, and more where this program's own environment asks for it.
fn log_filter() -> String {
    let counters = "aitbc_coordinator::engine::driver=info";
    let filter = std::env::var("AITBC_LOG").unwrap_or_else(|_| "warn".to_owned());
    format!("{filter},{counters}")
}

/// A running coordinator with data of its own.
#[derive(Debug)]
pub struct Coordinator {
    // Dropped before the folder.
    process: Process,
    url: CoordinatorUrl,
    folder: TempDir,
}

impl Coordinator {
    /// Starts one on a free port; its data is in a new folder below `parent`.
    pub fn start(parent: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("aitbc-bench.")
            .tempdir_in(parent)?;
        let mut command = Command::new(program("aitbc-coordinator")?);
        command
            .args(["--dev", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(folder.path().join("data"))
            .env_clear()
            .env("HOME", folder.path())
            .env("AITBC_HOME", folder.path().join("home"))
            .env("AITBC_LOG", log_filter())
            .current_dir(folder.path());
        let process = Process::start(command);
        let address = process.wait_for(Stream::Stdout, "address", |text| {
            let (_, rest) = text.split_once("127.0.0.1:")?;
            let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
            (port.len() < rest.len()).then(|| format!("127.0.0.1:{port}"))
        });
        Ok(Self {
            process,
            url: CoordinatorUrl::parse(&address).map_err(|error| anyhow!(error.message))?,
            folder,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> String {
        self.url.host_and_port()
    }

    /// A folder of its own, for files beside its data.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What it logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.stderr()
    }

    /// Its processor time and memory now.
    pub fn usage(&self) -> anyhow::Result<Usage> {
        Usage::of(self.process.pid())
    }

    /// A connection of a new identity.
    pub async fn connect(&self, scope: Scope) -> anyhow::Result<Connection> {
        let identity = Arc::new(Identity::from_seed(&random_bytes()));
        Connection::open(&self.url, identity, scope)
            .await
            .map_err(|error| anyhow!(error.message))
    }

    /// Its data folder.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// As [`Coordinator::end`]; its data goes too.
    pub fn stop(mut self) -> anyhow::Result<Counters> {
        self.end()
    }

    /// Ends it as an operator would and reads the counters that it logs at its end.
    pub fn end(&mut self) -> anyhow::Result<Counters> {
        self.process.terminate();
        let output = self.process.wait_at_most(STOP_WITHIN);
        ensure!(
            output.code == 0,
            "the coordinator ended with code {}: {}",
            output.code,
            output.stderr
        );
        Counters::parse(&output.stderr)
    }
}

/// What a coordinator did in its life.
#[derive(Debug, Clone, Default)]
pub struct Counters(BTreeMap<String, u64>);

impl Counters {
    fn parse(log: &str) -> anyhow::Result<Self> {
        let line = log
            .lines()
            .find_map(|line| line.split_once("engine stopped "))
            .map(|(_, rest)| rest)
            .ok_or_else(|| anyhow!("the coordinator logged no counters: {log}"))?;
        let pairs = line.split_whitespace().filter_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Ok(Self(pairs.collect()))
    }

    /// One of them, per job; 0 where it is unknown.
    #[must_use]
    pub fn per_job(&self, name: &str, jobs: u64) -> f64 {
        let count = self.0.get(name).copied().unwrap_or_default();
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
        let ratio = count as f64 / jobs.max(1) as f64;
        ratio
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_in_the_log() {
        let log = "WARN something else=1\n2026-01-01T00:00:00Z  INFO x: engine stopped turns=9 commits=4\n";
        let counters = Counters::parse(log).unwrap();
        assert_eq!(counters.per_job("commits", 8), 0.5);
        assert_eq!(counters.per_job("unknown", 8), 0.0);
        assert!(Counters::parse("quiet").is_err());
    }
}
