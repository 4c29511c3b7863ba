//! The folder of a run's data: removed at its end, and also where the run is interrupted or killed.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::Context;
use tempfile::TempDir;

/// Waits for the end of its input, then for the coordinators that end with it, and removes what is left.
const SCRIPT: &str = "read -r _; [ ! -e \"$0\" ] || { sleep 2; rm -rf \"$0\"; }";

/// A temporary folder.
#[derive(Debug)]
pub struct Folder {
    folder: TempDir,
    sweeper: Child,
    alive: ChildStdin,
}

impl Folder {
    /// A new one below `parent`.
    pub fn new(parent: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("aitbc-bench.")
            .tempdir_in(parent)
            .with_context(|| format!("cannot write to {}", parent.display()))?;
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", SCRIPT])
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .current_dir("/")
            // An interrupt of the terminal's processes must not reach it.
            .process_group(0);
        let mut sweeper = command.spawn().context("cannot start a shell")?;
        let alive = sweeper.stdin.take().context("its stdin is a pipe")?;
        Ok(Self {
            folder,
            sweeper,
            alive,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Removes it.
    pub fn close(mut self) -> anyhow::Result<()> {
        let closed = self.folder.close();
        drop(self.alive);
        self.sweeper.wait()?;
        closed.context("cannot remove the temporary folder")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left() {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::new(parent.path()).unwrap();
        std::fs::write(folder.path().join("data"), "x").unwrap();
        folder.close().unwrap();
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_killed_run_is_cleaned_up_by_its_sweeper() {
        let parent = tempfile::tempdir().unwrap();
        let Folder {
            folder,
            mut sweeper,
            alive,
        } = Folder::new(parent.path()).unwrap();
        let _never_removed_here = folder.keep();
        drop(alive);
        assert!(sweeper.wait().unwrap().success());
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);
    }
}
