//! A spool for each chain: what waits for one stays there while the miner works on another.

use std::path::Path;
use std::time::SystemTime;

use aitbc_common::hash::{Hash, hash_text};
use aitbc_common::runtime::errors::CommandError;

use super::{Spool, log::is_in_use};
use crate::session::SpoolRecord;

/// Chains whose records are kept; the one that was used least recently gives way.
const MAX_CHAINS: usize = 16;

impl Spool {
    /// Opens the spool of a chain, below a folder (made if missing); and the records in it.
    ///
    /// The records of the 15 other chains that were used last are kept.
    pub fn open_for_chain(
        folder: &Path,
        chain_id: &Hash,
    ) -> Result<(Self, Vec<SpoolRecord>), CommandError> {
        let name = hash_text(chain_id);
        let own = folder.join(name.trim_start_matches("sha256:"));
        let opened = Self::open(&own)?;
        if let Err(error) = keep_newest(folder, &own) {
            tracing::warn!(path = %folder.display(), %error, "cannot tidy the spool up");
        }
        Ok(opened)
    }
}

/// Removes the spools of the chains that were used least recently.
fn keep_newest(folder: &Path, own: &Path) -> std::io::Result<()> {
    let mut others = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && path != own {
            others.push((last_used(&path), path));
        }
    }
    others.sort();
    let surplus = (others.len() + 1).saturating_sub(MAX_CHAINS);
    for (_, path) in others.into_iter().take(surplus) {
        if !is_in_use(&path) {
            std::fs::remove_dir_all(path)?;
        }
    }
    Ok(())
}

/// When a log in the folder was last written.
fn last_used(folder: &Path) -> Option<SystemTime> {
    let files = std::fs::read_dir(folder).ok()?;
    files
        .filter_map(|file| file.ok()?.metadata().ok()?.modified().ok())
        .max()
}

#[cfg(test)]
mod tests {
    use std::fs::{File, FileTimes};
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_chain_has_a_spool_of_its_own_and_the_oldest_gives_way() {
        let folder = tempfile::tempdir().unwrap();
        let open = |chain: u8| {
            Spool::open_for_chain(folder.path(), &[chain; 32])
                .unwrap()
                .0
        };
        let log = |chain: u8| {
            let name = hash_text(&[chain; 32]).replace("sha256:", "");
            folder.path().join(name).join("0.log")
        };
        let first = open(0);
        for chain in 1..16 {
            drop(open(chain));
        }
        for chain in 0..16 {
            let used = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(chain));
            let file = File::options().write(true).open(log(chain)).unwrap();
            file.set_times(FileTimes::new().set_modified(used)).unwrap();
        }
        drop(open(16));
        assert!(log(0).exists(), "another process uses it");
        drop(first);
        drop(open(17));
        assert!(!log(0).exists() && !log(1).exists());
        assert!((2..18).all(|chain| log(chain).exists()));
    }
}
