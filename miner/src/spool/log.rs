//! The log file.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use aitbc_common::hash::sha256;
use aitbc_common::runtime::errors::{CommandError, ExitCode, plain_io_error};
use aitbc_common::runtime::files::make_folder;
use bytes::Bytes;

use crate::session::{AttemptKey, SpoolRecord};

/// Most bytes of a log: 512 MiB.
const MAX_BYTES: u64 = 512 << 20;
/// A log is rewritten when it is longer than this and less than half of it is needed.
const REWRITE_BYTES: u64 = 16 << 20;
/// Length (4 bytes) and the first 8 bytes of the record's SHA-256.
const HEADER_BYTES: usize = 12;
/// Processes that may use one folder at a time: a miner, and those that take over from it.
const MAX_LOGS: u32 = 8;

/// Why records were not kept.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The file system refused.
    #[error("cannot write {path}: {reason}")]
    Write {
        /// The log.
        path: String,
        /// Why.
        reason: String,
    },
    /// Too much waits already.
    #[error("{path} is full: {MAX_BYTES} bytes wait to be acknowledged")]
    Full {
        /// The log.
        path: String,
    },
}

/// A log of unacknowledged records. One process owns it at a time.
#[derive(Debug)]
pub struct Spool {
    file: File,
    path: PathBuf,
    /// Where the needed records are: offset and length of the encoded record.
    live: BTreeMap<AttemptKey, (u64, u32)>,
    end: u64,
}

impl Spool {
    /// Opens the spool in a folder (made if missing); and the records in it. A torn or damaged end is cut off.
    pub fn open(folder: &Path) -> Result<(Self, Vec<SpoolRecord>), CommandError> {
        make_folder(folder)?;
        let failed = |path: &Path, error: &io::Error| {
            CommandError::file(format_args!("use the spool {}", path.display()), error)
                .with_hint("check the disk, and who may write there")
        };
        let mut own: Option<Self> = None;
        let mut records = BTreeMap::new();
        for number in 0..MAX_LOGS {
            let path = folder.join(format!("{number}.log"));
            if own.is_some() && !path.exists() {
                continue;
            }
            let Some(mut spool) = Self::lock(&path).map_err(|error| failed(&path, &error))? else {
                continue;
            };
            let found = spool.read().map_err(|error| failed(&path, &error))?;
            match &mut own {
                None => own = Some(spool),
                Some(own) => {
                    // Left behind by a process that had taken over: one log is enough.
                    let encoded: Vec<_> = found
                        .iter()
                        .map(|record| (record.key, record.encode()))
                        .collect();
                    own.store(&encoded).map_err(|error| spool_failed(&error))?;
                    spool.clear().map_err(|error| failed(&path, &error))?;
                }
            }
            records.extend(found.into_iter().map(|record| (record.key, record)));
        }
        let own = own.ok_or_else(|| {
            CommandError::new(
                ExitCode::Failed,
                "SPOOL_IN_USE",
                format!(
                    "{MAX_LOGS} processes use the spool in {} already",
                    folder.display()
                ),
            )
            .with_hint("stop the other miners of this name, or use another: --miner NAME")
        })?;
        // The log may be new, and so may the folders.
        sync_folder(folder).map_err(|error| failed(folder, &error))?;
        for above in folder.ancestors().skip(1).take(2) {
            let _of_somebody_else = sync_folder(above);
        }
        Ok((own, records.into_values().collect()))
    }

    /// The log, if no other process has it.
    fn lock(path: &Path) -> io::Result<Option<Self>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        Ok(Some(Self {
            file,
            path: path.to_owned(),
            live: BTreeMap::new(),
            end: 0,
        }))
    }

    /// Reads what is there, and cuts off what is not whole.
    fn read(&mut self) -> io::Result<Vec<SpoolRecord>> {
        let mut bytes = Vec::new();
        self.file.seek(SeekFrom::Start(0))?;
        Read::by_ref(&mut self.file)
            .take(MAX_BYTES)
            .read_to_end(&mut bytes)?;
        let bytes = Bytes::from(bytes);
        let mut records = BTreeMap::new();
        let mut at = 0;
        while let Some(encoded) = frame(&bytes, at) {
            let offset = at + HEADER_BYTES;
            at = offset + encoded.len();
            let record = match SpoolRecord::decode(encoded.clone()) {
                Ok(record) => record,
                // Another version's: what follows it may be readable.
                Err(error) => {
                    tracing::warn!(path = %self.path.display(), %error, "a record in the spool is skipped");
                    continue;
                }
            };
            let length = u32::try_from(encoded.len()).unwrap_or(u32::MAX);
            self.live.insert(record.key, (offset as u64, length));
            records.insert(record.key, record);
        }
        if at < bytes.len() {
            tracing::warn!(path = %self.path.display(), bytes = bytes.len() - at, "the spool's end is damaged; cut off");
        }
        self.end = at as u64;
        self.file.set_len(self.end)?;
        Ok(records.into_values().collect())
    }

    /// Makes records durable, with one sync. All or none are kept.
    pub fn store(&mut self, records: &[(AttemptKey, Bytes)]) -> Result<(), SpoolError> {
        let mut frames = Vec::new();
        let mut places = Vec::with_capacity(records.len());
        for (key, encoded) in records {
            let length = u32::try_from(encoded.len()).map_err(|_| self.full())?;
            frames.extend_from_slice(&length.to_be_bytes());
            frames.extend_from_slice(&sha256(encoded)[..8]);
            places.push((*key, (self.end + frames.len() as u64, length)));
            frames.extend_from_slice(encoded);
        }
        if self.end + frames.len() as u64 > MAX_BYTES {
            return Err(self.full());
        }
        let written = self
            .file
            .write_all_at(&frames, self.end)
            .and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // Whatever of it is there must not come back as a result after its job was reported as failed.
            let cut = self.file.set_len(self.end);
            tracing::warn!(path = %self.path.display(), %error, ?cut, "cannot write the spool");
            return Err(SpoolError::Write {
                path: self.path.display().to_string(),
                reason: plain_io_error(&error),
            });
        }
        self.end += frames.len() as u64;
        self.live.extend(places);
        Ok(())
    }

    /// Deletes a record. After a crash it may be there again; delivering it twice is harmless.
    pub fn forget(&mut self, key: AttemptKey) {
        self.live.remove(&key);
        let needed: u64 = self
            .live
            .values()
            .map(|(_, length)| u64::from(*length))
            .sum();
        let tidied = if self.live.is_empty() {
            self.clear()
        } else if self.end > REWRITE_BYTES && needed < self.end / 2 {
            self.rewrite()
        } else {
            Ok(())
        };
        if let Err(error) = tidied {
            tracing::warn!(path = %self.path.display(), %error, "cannot tidy the spool up");
        }
    }

    /// Records that are kept.
    pub fn len(&self) -> usize {
        self.live.len()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    fn full(&self) -> SpoolError {
        SpoolError::Full {
            path: self.path.display().to_string(),
        }
    }

    fn clear(&mut self) -> io::Result<()> {
        self.live.clear();
        self.end = 0;
        self.file.set_len(0)
    }

    /// Copies what is needed into a new file that takes the log's place.
    fn rewrite(&mut self) -> io::Result<()> {
        let temporary = self.path.with_extension("new");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.lock()?;
        let mut live = BTreeMap::new();
        let mut end = 0;
        for (key, (offset, length)) in &self.live {
            let mut frame = vec![0; HEADER_BYTES + *length as usize];
            self.file
                .read_exact_at(&mut frame, offset - HEADER_BYTES as u64)?;
            file.write_all(&frame)?;
            live.insert(*key, (end + HEADER_BYTES as u64, *length));
            end += frame.len() as u64;
        }
        file.sync_all()?;
        std::fs::rename(&temporary, &self.path)?;
        (self.file, self.live, self.end) = (file, live, end);
        self.path.parent().map_or(Ok(()), sync_folder)
    }
}

/// Whether a process has a log in this folder.
pub(super) fn is_in_use(folder: &Path) -> bool {
    (0..MAX_LOGS).any(|number| {
        File::open(folder.join(format!("{number}.log"))).is_ok_and(|log| log.try_lock().is_err())
    })
}

/// Makes it durable which files a folder has.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The record whose frame begins at `at`, if it is whole.
fn frame(bytes: &Bytes, at: usize) -> Option<Bytes> {
    let (length, rest) = bytes.get(at..)?.split_first_chunk::<4>()?;
    let (checksum, rest) = rest.split_first_chunk::<8>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let encoded = rest.get(..length)?;
    (sha256(encoded)[..8] == checksum[..]).then(|| bytes.slice_ref(encoded))
}

fn spool_failed(error: &SpoolError) -> CommandError {
    CommandError::new(ExitCode::Failed, "FILE_ERROR", error.to_string())
        .with_hint("free some space, or use another folder: AITBC_HOME=/path/to/folder")
}

#[cfg(test)]
mod tests;
