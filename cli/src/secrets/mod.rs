//! Secrets on their way between a person and a wallet: passwords, seed phrases, private keys.
//!
//! They come from a terminal, a file or the environment, never from arguments, and go to a terminal or a file of mode 0600,
//! never into a pipe.

mod line;
pub mod password;
pub mod phrase;
mod terminal;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::runtime::files::{SECRET_MODE, write_new};
use nix::sys::resource::{Resource, setrlimit};
use zeroize::Zeroizing;

pub use terminal::Terminal;

/// Environment variable with a wallet's password.
pub const PASSWORD_VARIABLE: &str = "AITBC_WALLET_PASSWORD";
/// Environment variable that names the file of a seed phrase.
pub const SEED_PHRASE_FILE_VARIABLE: &str = "AITBC_SEED_PHRASE_FILE";
/// Bytes of a secret from a file or a terminal, at most.
const MAX_BYTES: usize = 4_096;

/// Keeps what this process will know out of core dumps, and other processes of the same user out of its memory and
/// environment (Linux). What the system refuses to do stays undone: it is a second line of defence.
pub fn keep_out_of_dumps() {
    let _refused = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    #[cfg(target_os = "linux")]
    let _refused = nix::sys::prctl::set_dumpable(false);
}

/// The text of a file that holds a secret: at most 4 KiB of UTF-8.
pub fn read_file(path: &Path) -> Result<Zeroizing<String>, CommandError> {
    let failed = |error: &io::Error| {
        CommandError::file(format_args!("read {}", path.display()), error)
            .with_hint("check the path and who may read it")
    };
    let mut bytes = Zeroizing::new(vec![0; MAX_BYTES + 1]);
    let mut file = File::open(path).map_err(|error| failed(&error))?;
    let mut length = 0;
    while length < bytes.len() {
        match file.read(&mut bytes[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(&error)),
        }
    }
    match std::str::from_utf8(&bytes[..length]) {
        Ok(text) if length <= MAX_BYTES => Ok(Zeroizing::new(text.to_owned())),
        _ => Err(refusal(
            "SECRET_UNUSABLE",
            format!("{} is no text of at most 4 KiB", path.display()),
        )
        .with_hint("check that it is the right file")),
    }
}

/// Writes a secret to a new file of mode 0600; a file that is there stays as it is.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), CommandError> {
    check_new_file(path)?;
    if write_new(path, bytes, SECRET_MODE)? {
        return Ok(());
    }
    Err(file_exists(path))
}

/// Refuses a path for a new secret where something is already, or whose folder is not there: on a medium that is not mounted
/// it would go somewhere else.
pub fn check_new_file(path: &Path) -> Result<(), CommandError> {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        return Err(refusal(
            "FOLDER_MISSING",
            format!("there is no folder {}", folder.display()),
        )
        .with_hint("make it, mount it, or name another file"));
    }
    // A link that leads nowhere would be in the way too.
    match path.symlink_metadata() {
        Ok(_) => Err(file_exists(path)),
        Err(_) => Ok(()),
    }
}

fn file_exists(path: &Path) -> CommandError {
    refusal(
        "FILE_EXISTS",
        format!("{} exists already; it was left as it is", path.display()),
    )
    .with_hint("name a file that does not exist yet")
}

/// An error about a secret: exit code 4.
fn refusal(reason: &str, message: impl Into<String>) -> CommandError {
    CommandError::new(ExitCode::Authentication, reason, message)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use aitbc_common::runtime::random_bytes;

    use super::*;

    #[test]
    fn files_are_bounded_texts() {
        let path =
            std::env::temp_dir().join(format!("aitbc-secret-{}", hex::encode(random_bytes::<8>())));
        fs::write(&path, "a".repeat(MAX_BYTES)).unwrap();
        assert_eq!(read_file(&path).unwrap().len(), MAX_BYTES);
        for bad in ["a".repeat(MAX_BYTES + 1).as_bytes(), &[0xff]] {
            fs::write(&path, bad).unwrap();
            assert_eq!(read_file(&path).unwrap_err().exit, ExitCode::Authentication);
        }
        assert_eq!(check_new_file(&path).unwrap_err().reason, "FILE_EXISTS");
        assert_eq!(write_file(&path, b"x").unwrap_err().reason, "FILE_EXISTS");
        fs::remove_file(&path).unwrap();
        check_new_file(&path).unwrap();
        check_new_file(Path::new("in-this-folder")).unwrap();
        let nowhere = path.join("secret");
        assert_eq!(
            write_file(&nowhere, b"x").unwrap_err().reason,
            "FOLDER_MISSING"
        );
        assert!(!path.exists(), "no folder is made on the way");
        assert!(read_file(&path).unwrap_err().hint.is_some());
    }
}
