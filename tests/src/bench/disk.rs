//! The disk below the data: what every durable step waits for.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use serde::Serialize;

use super::latency::{Latencies, Summary};

/// Appends of 4 KiB, each followed by `fdatasync`.
const SYNCS: usize = 300;

/// Measures `fdatasync` of 4 KiB appended to a file in this folder.
pub fn measure(folder: &Path) -> anyhow::Result<Latencies> {
    let path = folder.join("fdatasync");
    let mut file = File::create(&path).context("cannot write beside the data")?;
    let block = [0x5a; 4_096];
    let mut latencies = Latencies::default();
    for _ in 0..SYNCS {
        file.write_all(&block)?;
        let start = Instant::now();
        file.sync_data()?;
        latencies.add(start.elapsed());
    }
    std::fs::remove_file(&path)?;
    Ok(latencies)
}

/// What was measured, and where.
#[derive(Debug, Clone, Serialize)]
pub struct Disk {
    /// The folder of the coordinators' data.
    pub folder: String,
    /// Its file system.
    pub file_system: String,
    /// Append 4 KiB, `fdatasync`.
    pub fdatasync: Summary,
}

/// The kind of file system that holds this folder, such as `ext4`; `unknown` where the system does not tell.
#[must_use]
pub fn file_system(folder: &Path) -> String {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            Some((fields.next()?, fields.next()?))
        })
        .filter(|(place, _)| folder.starts_with(place))
        .max_by_key(|(place, _)| place.len())
        .map_or_else(|| "unknown".to_owned(), |(_, kind)| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syncs_are_measured_and_leave_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let summary = measure(folder.path()).unwrap().summary();
        assert_eq!(summary.count, SYNCS);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
