//! Attempts that this miner has begun, on disk for good: none is ever run twice, not after a crash and not for a coordinator
//! that asks for it, so that nobody can make the miner sign two outputs of one attempt and have its stake slashed.
//!
//! The file is a header (8 bytes that name the format, then the id up to which jobs are refused unseen) and 18 bytes for
//! each attempt (job id, attempt). It is appended to and synced before a run starts; several processes may share it.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use aitbc_common::ids::JobId;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::runtime::files::{SECRET_MODE, make_folder, write_atomic};

use crate::session::AttemptKey;

/// The format.
const MAGIC: &[u8; 8] = b"begun/v1";
const HEADER_BYTES: usize = MAGIC.len() + 16;
const ENTRY_BYTES: usize = 18;
/// Attempts kept, those of the newest jobs; twice as many are in the file before it is written anew.
const KEPT: usize = 300_000;

/// The attempts that were begun. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Begun(Arc<Mutex<Journal>>);

#[derive(Debug)]
struct Journal {
    path: PathBuf,
    file: File,
    /// Held while the file is looked at and changed: other processes may have it open, too.
    lock: File,
    /// Bytes of the file as this process knows it.
    length: u64,
    kept: usize,
    /// Attempts of this job and of older ones are refused: what was begun of them is not known any more.
    floor: JobId,
    known: BTreeSet<AttemptKey>,
}

impl Begun {
    /// Opens the file, or makes it.
    pub fn open(path: PathBuf) -> Result<Self, CommandError> {
        Self::open_keeping(path, KEPT)
    }

    fn open_keeping(path: PathBuf, kept: usize) -> Result<Self, CommandError> {
        let lock = lock_beside(&path)?;
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => header(JobId::default()),
            Err(error) => return Err(failed(&path, &error)),
        };
        let (floor, known) = parse(&bytes).ok_or_else(|| damaged(&path))?;
        // Without what a crash left of its last entry.
        let (file, length) = write_anew(&path, floor, &known)?;
        let journal = Journal {
            file,
            lock,
            length,
            path,
            kept,
            floor,
            known,
        };
        journal.unlock();
        Ok(Self(Arc::new(Mutex::new(journal))))
    }

    /// Remembers for good that an attempt begins; `false` where it began before, or may have. Waits for the disk.
    ///
    /// # Errors
    /// The disk refuses: then the attempt must not begin.
    pub async fn begin(&self, key: AttemptKey) -> Result<bool, String> {
        let journal = Arc::clone(&self.0);
        let begun = tokio::task::spawn_blocking(move || {
            let mut journal = journal.lock().unwrap_or_else(PoisonError::into_inner);
            journal.begin(key).map_err(|error| error.to_string())
        });
        begun
            .await
            .unwrap_or_else(|_| Err("the disk's thread ended".to_owned()))
    }
}

impl Journal {
    fn begin(&mut self, key: AttemptKey) -> Result<bool, CommandError> {
        let locked = self.lock.lock();
        locked.map_err(|error| failed(&self.path, &error))?;
        let begun = self.refresh().and_then(|()| self.begin_locked(key));
        self.unlock();
        begun
    }

    fn unlock(&self) {
        // It ends with the process at the latest.
        let _unlocked = self.lock.unlock();
    }

    /// What another process has begun since.
    fn refresh(&mut self) -> Result<(), CommandError> {
        let broken = |error: io::Error| failed(&self.path, &error);
        let there = std::fs::metadata(&self.path).map_err(broken)?;
        let ours = self.file.metadata().map_err(broken)?;
        if (there.ino(), there.len()) == (ours.ino(), self.length) {
            return Ok(());
        }
        let bytes = std::fs::read(&self.path).map_err(broken)?;
        (self.floor, self.known) = parse(&bytes).ok_or_else(|| damaged(&self.path))?;
        self.write_anew()
    }

    fn write_anew(&mut self) -> Result<(), CommandError> {
        (self.file, self.length) = write_anew(&self.path, self.floor, &self.known)?;
        Ok(())
    }

    fn begin_locked(&mut self, key: AttemptKey) -> Result<bool, CommandError> {
        if key.job <= self.floor || self.known.contains(&key) {
            return Ok(false);
        }
        if self.known.len() >= 2 * self.kept {
            self.drop_oldest()?;
            if key.job <= self.floor {
                return Ok(false);
            }
        }
        let written = self.file.write_all(&entry(&key));
        let written = written.and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // Whatever is half there must not shift what follows.
            self.write_anew()?;
            return Err(failed(&self.path, &error));
        }
        self.known.insert(key);
        self.length += ENTRY_BYTES as u64;
        Ok(true)
    }

    fn drop_oldest(&mut self) -> Result<(), CommandError> {
        let drop = self.known.len() - self.kept;
        for _ in 0..drop {
            if let Some(oldest) = self.known.pop_first() {
                self.floor = oldest.job;
            }
        }
        self.write_anew()
    }
}

/// The file, to append to, and its length.
fn write_anew(
    path: &Path,
    floor: JobId,
    known: &BTreeSet<AttemptKey>,
) -> Result<(File, u64), CommandError> {
    let bytes = encode(floor, known);
    write_atomic(path, &bytes, SECRET_MODE)?;
    let file = OpenOptions::new().append(true).open(path);
    let file = file.map_err(|error| failed(path, &error))?;
    Ok((file, bytes.len() as u64))
}

fn lock_beside(path: &Path) -> Result<File, CommandError> {
    let beside = path.with_extension("lock");
    make_folder(beside.parent().unwrap_or(Path::new(".")))?;
    let mut options = OpenOptions::new();
    let opened = options
        .create(true)
        .truncate(false)
        .write(true)
        .mode(SECRET_MODE)
        .open(&beside);
    opened
        .and_then(|file| file.lock().map(|()| file))
        .map_err(|error| failed(&beside, &error))
}

fn header(floor: JobId) -> Vec<u8> {
    [&MAGIC[..], &floor.0].concat()
}

fn entry(key: &AttemptKey) -> [u8; ENTRY_BYTES] {
    let mut bytes = [0; ENTRY_BYTES];
    bytes[..16].copy_from_slice(&key.job.0);
    bytes[16..].copy_from_slice(&key.attempt.to_be_bytes());
    bytes
}

fn encode(floor: JobId, known: &BTreeSet<AttemptKey>) -> Vec<u8> {
    let mut bytes = header(floor);
    known.iter().for_each(|key| bytes.extend(entry(key)));
    bytes
}

/// Floor and attempts; a last entry that is cut off was never acted on. `None` = it is another file.
fn parse(bytes: &[u8]) -> Option<(JobId, BTreeSet<AttemptKey>)> {
    let (header, entries) = bytes.split_at_checked(HEADER_BYTES)?;
    let floor = header.strip_prefix(MAGIC)?.try_into().ok()?;
    let key = |entry: &[u8]| {
        let (job, attempt) = entry.split_at(16);
        AttemptKey {
            job: JobId(job.try_into().expect("16 of 18 bytes")),
            attempt: u16::from_be_bytes(attempt.try_into().expect("2 of 18 bytes")),
        }
    };
    Some((
        JobId(floor),
        entries.chunks_exact(ENTRY_BYTES).map(key).collect(),
    ))
}

fn failed(path: &Path, error: &io::Error) -> CommandError {
    CommandError::file(format_args!("use {}", path.display()), error)
        .with_hint("check who owns it and whether the disk is full: no job is run without it")
}

fn damaged(path: &Path) -> CommandError {
    let message = format!(
        "{} is damaged: it does not say which attempts were begun",
        path.display()
    );
    CommandError::new(ExitCode::Failed, "STATE_DAMAGED", message).with_hint(
        "move it away only where nothing is staked on this miner (aitbc wallet unstake): without it, and with an older copy of it, \
         a coordinator could ask for an attempt again whose output the miner has signed",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(job: u8, attempt: u16) -> AttemptKey {
        AttemptKey {
            job: JobId([job; 16]),
            attempt,
        }
    }

    #[tokio::test]
    async fn no_attempt_begins_twice_whatever_happens_between() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("begun");
        let begun = Begun::open(path.clone()).unwrap();
        assert_eq!(begun.begin(key(1, 1)).await, Ok(true));
        assert_eq!(begun.begin(key(1, 1)).await, Ok(false));
        assert_eq!(begun.begin(key(1, 2)).await, Ok(true));
        // A crash in the middle of an entry, again and again.
        for cut in 1..ENTRY_BYTES {
            let bytes = std::fs::read(&path).unwrap();
            std::fs::write(&path, [&bytes[..], &[7; ENTRY_BYTES][..cut]].concat()).unwrap();
            let begun = Begun::open(path.clone()).unwrap();
            let before = u16::try_from(cut).unwrap() + 2;
            assert_eq!(begun.begin(key(1, before)).await, Ok(true));
            for attempt in 1..=before {
                assert_eq!(begun.begin(key(1, attempt)).await, Ok(false), "{attempt}");
            }
        }
    }

    #[tokio::test]
    async fn of_two_processes_one_begins_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("begun");
        let open = || Begun::open_keeping(path.clone(), 10).unwrap();
        let both = [open(), open()];
        for job in 1..60_usize {
            let key = key(u8::try_from(job).unwrap(), 1);
            let [first, second] = [&both[job % 2], &both[(job + 1) % 2]];
            assert_eq!(first.begin(key).await, Ok(true), "{job}");
            assert_eq!(second.begin(key).await, Ok(false), "{job}");
        }
    }

    #[tokio::test]
    async fn what_is_forgotten_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("begun");
        let begun = Begun::open_keeping(path.clone(), 10).unwrap();
        for job in 10..60 {
            assert_eq!(begun.begin(key(job, 1)).await, Ok(true), "{job}");
        }
        let again = Begun::open_keeping(path.clone(), 10).unwrap();
        for job in 0..60 {
            assert_eq!(again.begin(key(job, 1)).await, Ok(false), "{job}");
        }
        assert_eq!(again.begin(key(60, 1)).await, Ok(true));
        let length = std::fs::metadata(path).unwrap().len();
        assert!(
            length <= (HEADER_BYTES + 20 * ENTRY_BYTES) as u64,
            "{length}"
        );
    }

    #[tokio::test]
    async fn another_file_or_a_full_disk_begins_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("begun");
        std::fs::write(&path, "something else of the same length").unwrap();
        let refused = Begun::open(path.clone()).unwrap_err();
        assert!(refused.message.contains("damaged") && refused.hint.is_some());
        std::fs::remove_file(&path).unwrap();
        let begun = Begun::open(path.clone()).unwrap();
        {
            let mut journal = begun.0.lock().unwrap();
            journal.file = OpenOptions::new().write(true).open("/dev/full").unwrap();
            assert!(journal.begin_locked(key(1, 1)).is_err());
        }
        assert_eq!(begun.begin(key(1, 1)).await, Ok(true), "once there is room");
    }
}
