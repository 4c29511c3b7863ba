//! Temporary folders.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::guardian;

/// A temporary folder, removed when dropped.
#[derive(Debug)]
pub struct Scratch {
    folder: Option<TempDir>,
    path: PathBuf,
}

impl Scratch {
    /// A new, empty folder without blanks in its path.
    #[must_use]
    pub fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("aitbc-test.")
            .tempdir()
            .expect("the folder for temporary files is writable");
        let path = folder.path().to_owned();
        guardian::watch_folder(&path);
        Self {
            folder: Some(folder),
            path,
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of something in it.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file into it.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(name);
        std::fs::write(&path, bytes).expect("a temporary folder is writable");
        path
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(folder) = self.folder.take() {
            // What is still written by a dying process is removed by the guardian.
            if folder.close().is_ok() {
                guardian::forget_folder(&self.path);
            }
        }
    }
}
