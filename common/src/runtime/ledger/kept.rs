//! What this user has seen of a chain's log: the newest checkpoint, and evidence where the log broke its word.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::Checkpoint;
use crate::hash::sha256;
use crate::ledger::checkpoint::{LogIdentity, MAX_CHECKPOINT_BYTES};
use crate::runtime::errors::{CommandError, ExitCode};
use crate::runtime::files::{PLAIN_MODE, SECRET_MODE, make_folder, write_atomic, writing_failed};

/// Files of evidence that are kept of one chain: one for each text. More of the same proves no more.
const MAX_EVIDENCE: usize = 1_000;

/// A chain's folder.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    folder: PathBuf,
    log: LogIdentity,
}

impl Kept {
    pub fn new(folder: PathBuf, log: LogIdentity) -> Self {
        Self { folder, log }
    }

    fn file(&self) -> PathBuf {
        self.folder.join("checkpoint")
    }

    /// The newest checkpoint that was seen.
    pub fn read(&self) -> Result<Option<Checkpoint>, CommandError> {
        let path = self.file();
        let mut bytes = Vec::new();
        let read = File::open(&path).and_then(|file| {
            file.take(MAX_CHECKPOINT_BYTES as u64 + 1)
                .read_to_end(&mut bytes)
        });
        match read {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(CommandError::file(
                    format_args!("read {}", path.display()),
                    &error,
                ));
            }
        }
        let text = String::from_utf8(bytes).map_err(|_| damaged(&path))?;
        let head = self.log.open(&text).map_err(|_| damaged(&path))?;
        Ok(Some(Checkpoint { text, head }))
    }

    /// Keeps a newer checkpoint, unless another command has kept one since `expected` was read.
    pub fn replace(
        &self,
        expected: Option<&Checkpoint>,
        newer: &Checkpoint,
    ) -> Result<bool, CommandError> {
        let _lock = self.lock()?;
        if self.read()?.map(|kept| kept.head) != expected.map(|kept| kept.head) {
            return Ok(false);
        }
        write_atomic(&self.file(), newer.text.as_bytes(), PLAIN_MODE)?;
        Ok(true)
    }

    /// Keeps what was shown, and what it contradicts, word for word; tells where. The same again is not written twice.
    pub fn keep_evidence(
        &self,
        kind: &str,
        seen: Option<&str>,
        shown: &str,
    ) -> Result<Vec<PathBuf>, CommandError> {
        let folder = self.folder.join("evidence");
        make_folder(&folder)?;
        let name = hex::encode(&sha256(shown.as_bytes())[..8]);
        let texts = [("seen", seen), ("shown", Some(shown))];
        let mut paths = Vec::new();
        for (role, text) in texts {
            let Some(text) = text else { continue };
            let path = folder.join(format!("{kind}-{name}-{role}.txt"));
            if !path.exists() {
                let files = fs::read_dir(&folder).map_err(|error| writing_failed(&path, &error))?;
                if files.take(MAX_EVIDENCE).count() == MAX_EVIDENCE {
                    return Ok(vec![folder]);
                }
                let text = &text.as_bytes()[..text.len().min(MAX_CHECKPOINT_BYTES)];
                write_atomic(&path, text, PLAIN_MODE)?;
            }
            paths.push(path);
        }
        Ok(paths)
    }

    fn lock(&self) -> Result<File, CommandError> {
        make_folder(&self.folder)?;
        let path = self.folder.join("lock");
        let locked = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(SECRET_MODE)
            .open(&path);
        locked
            .and_then(|file| file.lock().map(|()| file))
            .map_err(|error| writing_failed(&path, &error))
    }
}

fn damaged(path: &Path) -> CommandError {
    CommandError::new(
        ExitCode::ProofFailed,
        "LEDGER_KEPT_DAMAGED",
        format!(
            "{} is not the checkpoint of the ledger that was kept there",
            path.display()
        ),
    )
    .with_hint(
        "restore it from a backup; moving it away forgets what was seen, so that a rollback before now goes unnoticed",
    )
}
