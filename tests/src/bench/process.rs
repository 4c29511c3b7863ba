//! What the kernel says about a running process.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow};

/// Processor time and memory of one process.
#[derive(Debug, Clone)]
pub struct Usage {
    /// User and system time since its start, all threads.
    pub processor: Duration,
    /// Resident memory in KiB.
    pub resident_kib: u64,
    /// Processor time by thread name; threads that have ended are missing.
    pub threads: BTreeMap<String, Duration>,
}

impl Usage {
    /// Of a process of this machine.
    pub fn of(pid: i32) -> anyhow::Result<Self> {
        let folder = PathBuf::from(format!("/proc/{pid}"));
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))
        };
        let (_, processor) = stat(&read("stat")?)?;
        let resident_kib = read("status")?
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
            .ok_or_else(|| anyhow!("/proc/{pid}/status has no VmRSS"))?;
        let mut threads = BTreeMap::new();
        for thread in std::fs::read_dir(folder.join("task"))?.flatten() {
            // A thread may end between the listing and the reading.
            let text = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            if let Ok((name, time)) = stat(&text) {
                *threads.entry(name).or_default() += time;
            }
        }
        Ok(Self {
            processor,
            resident_kib,
            threads,
        })
    }

    /// Of this process.
    pub fn own() -> anyhow::Result<Self> {
        Self::of(nix::unistd::getpid().as_raw())
    }
}

/// Name and processor time in a line of `stat`; the kernel counts in hundredths of a second.
fn stat(line: &str) -> anyhow::Result<(String, Duration)> {
    let malformed = || anyhow!("a stat file of another form: {line:?}");
    let (head, rest) = line.rsplit_once(") ").ok_or_else(malformed)?;
    let (_, name) = head.split_once('(').ok_or_else(malformed)?;
    let fields: Vec<&str> = rest.split(' ').collect();
    // Fields 14 and 15 of the line; the rest begins with field 3.
    let ticks = |index: usize| {
        fields
            .get(index)
            .and_then(|field| field.parse::<u64>().ok())
    };
    let total = ticks(11)
        .zip(ticks(12))
        .map(|(user, system)| user + system)
        .ok_or_else(malformed)?;
    Ok((name.to_owned(), Duration::from_millis(total * 10)))
}

/// Processor model and count, for the record.
#[must_use]
pub fn machine() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown processor", |rest| {
            rest.trim_start_matches([' ', '\t', ':'])
        });
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{model}, {count} threads, Linux {}", kernel.trim())
}

/// Processes that wanted to run in the last minute, on average: 0 is a quiet machine.
#[must_use]
pub fn load_average() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let first = text.split(' ').next().unwrap_or_default();
    first.parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_understood() {
        let usage = Usage::own().unwrap();
        assert!(usage.resident_kib > 1_000);
        assert!(!usage.threads.is_empty());
        let line = "7 (a (b) c) S 1 7 7 0 -1 4 0 0 0 0 150 50 0 0 20";
        let (name, time) = stat(line).unwrap();
        assert_eq!((name.as_str(), time), ("a (b) c", Duration::from_secs(2)));
        assert!(stat("nothing").is_err());
    }
}
