//! How many jobs a miner did and failed on the present day, also before it was started again.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

const DAY_MS: u64 = 86_400_000;

/// The counts of one day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counts {
    /// The day (in UTC), in days since 1970.
    day: u64,
    pub(super) done: u32,
    pub(super) failed: u32,
}

/// The present day's counts, and their file.
#[derive(Debug)]
pub(super) struct Today {
    path: PathBuf,
    counts: Counts,
}

impl Today {
    /// Those in the miner's folder. A file that is missing or damaged counts as none.
    pub(super) fn open(miner_folder: &Path) -> Self {
        let path = miner_folder.join("today.json");
        let counts = std::fs::read(&path)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self {
            path,
            counts: counts.unwrap_or_default(),
        }
    }

    /// The counts at this time, in Unix ms.
    pub(super) fn at(&mut self, now_ms: u64) -> Counts {
        let day = now_ms / DAY_MS;
        if day != self.counts.day {
            self.counts = Counts {
                day,
                ..Counts::default()
            };
        }
        self.counts
    }

    /// Counts at this time, in Unix ms.
    pub(super) fn count(&mut self, now_ms: u64, change: impl FnOnce(&mut Counts)) {
        self.at(now_ms);
        change(&mut self.counts);
        let bytes = serde_json::to_vec(&self.counts).expect("numbers serialize");
        // Only a line for people needs it: a count that cannot be kept stops no work, and is not worth a sync.
        if let Err(error) = std::fs::write(&self.path, bytes) {
            tracing::warn!(path = %self.path.display(), %error, "the day's counts are not kept");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_counted_over_restarts_and_a_new_one_from_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let noon = 20_781 * DAY_MS + DAY_MS / 2;
        let mut today = Today::open(folder.path());
        today.count(noon, |counts| counts.done += 1);
        let mut today = Today::open(folder.path());
        today.count(noon + 1, |counts| counts.failed += 1);
        let counts = today.at(noon + 2);
        assert_eq!((counts.done, counts.failed), (1, 1));
        let tomorrow = Today::open(folder.path()).at(noon + DAY_MS);
        assert_eq!((tomorrow.done, tomorrow.failed), (0, 0));
        std::fs::write(folder.path().join("today.json"), "{").unwrap();
        assert_eq!(Today::open(folder.path()).at(noon).done, 0);
    }
}
