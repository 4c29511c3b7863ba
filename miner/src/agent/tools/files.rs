//! The files of an agent, as its tools name and read them.

use aitbc_common::nearest::nearest;
use std::fs::File;

use super::output::excerpt;
use super::{AttachedFile, ToolError};

/// Most bytes of a list of names in a tool's description or error.
const MAX_LIST_BYTES: usize = 1000;

/// What the descriptions of tools say about the files.
pub(super) fn listed<'a>(files: impl Iterator<Item = &'a AttachedFile>) -> String {
    let names: Vec<&str> = files.map(|file| file.name.as_str()).collect();
    if names.is_empty() {
        return "none is attached".to_owned();
    }
    excerpt(&names.join(", "), MAX_LIST_BYTES)
}

/// The file of a name.
pub(super) fn find<'a>(
    files: &'a [AttachedFile],
    name: &str,
) -> Result<&'a AttachedFile, ToolError> {
    if let Some(file) = files.iter().find(|file| file.name == name) {
        return Ok(file);
    }
    let name = excerpt(name, MAX_LIST_BYTES);
    let names = files.iter().map(|file| file.name.as_str());
    Err(ToolError::failed(match nearest(&name, names) {
        Some(nearest) => format!("there is no file {name:?}; did you mean {nearest:?}?"),
        None => format!("there is no file {name:?}; files: {}", listed(files.iter())),
    }))
}

/// Opens a file. Where it is on this machine is nobody else's business, so no error tells.
pub(super) fn open(file: &AttachedFile) -> Result<File, ToolError> {
    File::open(&file.path).map_err(|error| unreadable(file, &error))
}

/// The error of a file that cannot be read.
pub(super) fn unreadable(file: &AttachedFile, error: &std::io::Error) -> ToolError {
    tracing::warn!(file = %file.path.display(), %error, "a file of an agent cannot be read");
    ToolError::failed(format!("{} cannot be read: {}", file.name, error.kind()))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A folder with files in it, gone with its end.
    pub struct Folder(tempfile::TempDir);

    impl Folder {
        pub fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        pub fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> AttachedFile {
            let path = self.0.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            AttachedFile {
                name: name.to_owned(),
                path,
            }
        }
    }

    #[test]
    fn a_misspelt_file_is_answered_with_the_nearest() {
        let folder = Folder::new();
        let files = [folder.file("q3.csv", ""), folder.file("letter.txt", "")];
        let error = find(&files, "q4.csv").unwrap_err().to_string();
        assert!(error.ends_with("did you mean \"q3.csv\"?"), "{error}");
        let error = find(&files, "/etc/passwd").unwrap_err().to_string();
        assert!(error.ends_with("files: q3.csv, letter.txt"), "{error}");
    }

    #[test]
    fn no_error_tells_where_files_are() {
        let folder = Folder::new();
        let mut file = folder.file("q3.csv", "");
        file.path.push("nowhere");
        let error = open(&file).unwrap_err().to_string();
        assert!(
            error.starts_with("q3.csv cannot be read: not a directory"),
            "{error}"
        );
    }
}
