//! The files that a config names: found beside it, and hashed while they are read.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use aitbc_common::agents::{FileRef, MAX_FILE_BYTES, MAX_FILES_BYTES};
use aitbc_common::hash::{Sha256Stream, hash_text};
use aitbc_common::job_input::InputError;
use aitbc_common::runtime::errors::plain_io_error;

/// A file of an agent on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Its name, hash and length.
    pub reference: FileRef,
    /// Where it is.
    pub path: PathBuf,
}

/// Reads the files at these paths, which count from `folder`. An error's field is the file's place in the config.
pub fn attach(folder: &Path, paths: &[String]) -> Result<Vec<Attachment>, InputError> {
    let mut attached: Vec<Attachment> = Vec::new();
    let mut left = MAX_FILES_BYTES;
    for (index, path) in paths.iter().enumerate() {
        let refuse = |problem: &str, hint: &str| InputError {
            message: format!("files[{index}]: {problem}"),
            hint: hint.to_owned(),
            field: Some(format!("files[{index}]")),
        };
        let full = folder.join(path);
        let name = full
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or_else(|| {
                refuse(
                    &format!("{path:?} names no file"),
                    "write for example \"q3.csv\"",
                )
            })?;
        if let Some(other) = attached.iter().find(|file| file.reference.name == name) {
            let problem = format!("{name:?} is also the name of {}", other.path.display());
            return Err(refuse(
                &problem,
                "tools know files by their base names: rename one of them",
            ));
        }
        let (sha256, bytes) = digest(&full).map_err(|error| {
            let problem = format!("cannot read {}: {}", full.display(), plain_io_error(&error));
            let hint = if error.kind() == io::ErrorKind::NotFound {
                "paths count from the folder of the config"
            } else {
                "name a file that you may read"
            };
            refuse(&problem, hint)
        })?;
        if bytes > MAX_FILE_BYTES {
            return Err(refuse(
                &format!("{path:?} has more than {MAX_FILE_BYTES} bytes (32 MiB)"),
                "split the file, or keep only the columns that are needed",
            ));
        }
        left = left.checked_sub(bytes).ok_or_else(|| {
            refuse(
                &format!("with {path:?} the files have more than {MAX_FILES_BYTES} bytes (256 MiB) together"),
                "leave some out, or split the work over several agents",
            )
        })?;
        let reference = FileRef {
            name: name.to_owned(),
            sha256,
            bytes,
        };
        attached.push(Attachment {
            reference,
            path: full,
        });
    }
    Ok(attached)
}

/// Hash and length of a file; of one that is too long, those of its beginning.
fn digest(path: &Path) -> io::Result<(String, u64)> {
    // Opening a pipe would wait for its writer.
    if !path.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut file = File::open(path)?.take(MAX_FILE_BYTES + 1);
    let mut stream = Sha256Stream::default();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok((hash_text(&stream.digest()), stream.len())),
            Ok(length) => stream.update(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
