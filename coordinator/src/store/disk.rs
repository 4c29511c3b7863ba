//! Space on the disk of the data folder: how much is left, and a reserve for recovery.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::posix_fallocate;
use nix::sys::statvfs::statvfs;

/// Bytes that this process may still write to the file system that holds `path`.
pub fn free_space(path: &Path) -> io::Result<u64> {
    let status = statvfs(path)?;
    Ok(status.blocks_available() * status.fragment_size())
}

/// A file that only occupies space: given up when a full disk keeps the store from opening, and
/// laid out again when there is room.
#[derive(Debug)]
pub struct Ballast {
    path: PathBuf,
    bytes: u64,
}

impl Ballast {
    /// A ballast of `bytes` in `folder`; nothing is written yet. 0 means none.
    pub fn new(folder: &Path, bytes: u64) -> Self {
        Self {
            path: folder.join("ballast"),
            bytes,
        }
    }

    /// Size when laid out, in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether the whole ballast is laid out.
    pub fn is_whole(&self) -> bool {
        self.bytes == 0 || fs::metadata(&self.path).is_ok_and(|meta| meta.len() >= self.bytes)
    }

    /// Lays out what is missing, unless that would leave less than twice its size free. Answers
    /// whether the ballast is whole now.
    pub fn restore(&self) -> io::Result<bool> {
        if self.is_whole() {
            return Ok(true);
        }
        let folder = self.path.parent().unwrap_or(Path::new("."));
        if free_space(folder)? < self.bytes.saturating_mul(3) {
            return Ok(false);
        }
        match self.lay_out() {
            Ok(()) => Ok(true),
            Err(error) => {
                self.release()?;
                if is_full(&error) {
                    Ok(false)
                } else {
                    Err(error)
                }
            }
        }
    }

    /// Gives the space back. Answers whether there was any to give.
    pub fn release(&self) -> io::Result<bool> {
        match fs::remove_file(&self.path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn lay_out(&self) -> io::Result<()> {
        let mut file = File::create(&self.path)?;
        let length = i64::try_from(self.bytes).map_err(|_| Errno::EFBIG)?;
        match posix_fallocate(&file, 0, length) {
            Ok(()) => {}
            Err(Errno::EOPNOTSUPP | Errno::EINVAL) => {
                let zeros = [0; 64 << 10];
                let mut left = self.bytes;
                while left > 0 {
                    let length = left.min(zeros.len() as u64) as usize;
                    file.write_all(&zeros[..length])?;
                    left -= length as u64;
                }
            }
            Err(error) => return Err(error.into()),
        }
        file.sync_all()
    }
}

/// Whether `error` says that the disk or the quota is full.
fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ballast_is_laid_out_once_and_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let ballast = Ballast::new(folder.path(), 3 << 20);
        assert!(!ballast.is_whole());
        assert!(ballast.restore().unwrap());
        assert!(ballast.is_whole());
        let blocks = {
            use std::os::unix::fs::MetadataExt;
            fs::metadata(folder.path().join("ballast"))
                .unwrap()
                .blocks()
        };
        assert!(blocks * 512 >= 3 << 20, "the ballast occupies its space");
        assert!(ballast.restore().unwrap());
        assert!(ballast.release().unwrap());
        assert!(!ballast.release().unwrap());
        assert!(!ballast.is_whole());
    }

    #[test]
    fn ballast_leaves_room_for_work() {
        let folder = tempfile::tempdir().unwrap();
        let free = free_space(folder.path()).unwrap();
        assert!(free > 0);
        let ballast = Ballast::new(folder.path(), free / 2);
        assert!(!ballast.restore().unwrap());
        assert!(!folder.path().join("ballast").exists());
    }

    #[test]
    fn no_ballast_is_always_whole() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Ballast::new(folder.path(), 0).restore().unwrap());
        assert!(!folder.path().join("ballast").exists());
    }

    #[test]
    fn free_space_of_a_missing_folder_is_an_error() {
        assert!(free_space(Path::new("/no/such/folder")).is_err());
    }
}
