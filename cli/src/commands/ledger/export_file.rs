//! An export: one record a line, `{"index":0,"leaf":"…","hash":"…"}`, and at the end the checkpoint that signs them all.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use aitbc_common::layouts::MAX_GENESIS;
use aitbc_common::ledger::log::leaf_hash;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::runtime::files::PLAIN_MODE;
use aitbc_common::runtime::random_bytes;
use serde::Deserialize;
use serde_json::json;

/// Bytes of a line: the digits of the largest record, and room for the rest.
const MAX_LINE: u64 = 2 * (MAX_GENESIS as u64 + 1_024);

/// One line.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// A record's bytes, at the next place.
    Leaf(Vec<u8>),
    /// The signed checkpoint of all records before it.
    Checkpoint(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    index: Option<u64>,
    leaf: Option<String>,
    hash: Option<String>,
    checkpoint: Option<String>,
}

/// Reads an export, one line at a time.
#[derive(Debug)]
pub struct Reader {
    lines: BufReader<File>,
    path: PathBuf,
    length: u64,
    /// Lines so far.
    line: u64,
    read: u64,
    is_over: bool,
}

impl Reader {
    /// Opens it.
    pub fn open(path: &Path) -> Result<Self, CommandError> {
        let failed = |error: io::Error| {
            CommandError::file(format_args!("read {}", path.display()), &error)
                .with_hint("write one with: aitbc ledger export FILE")
        };
        let is_stdin = path.as_os_str() == "-";
        let named = if is_stdin {
            Path::new("/dev/stdin")
        } else {
            path
        };
        let file = File::open(named).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        Ok(Self {
            lines: BufReader::with_capacity(1 << 16, file),
            path: path.to_owned(),
            length,
            line: 0,
            read: 0,
            is_over: false,
        })
    }

    /// Bytes of the file.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Bytes read so far.
    pub fn read(&self) -> u64 {
        self.read
    }

    /// The next line; none at the end.
    pub fn next(&mut self) -> Result<Option<Line>, CommandError> {
        let mut bytes = Vec::new();
        let read = (&mut self.lines)
            .take(MAX_LINE + 1)
            .read_until(b'\n', &mut bytes);
        let read = read.map_err(|error| {
            CommandError::file(format_args!("read {}", self.path.display()), &error)
                .with_hint("write one with: aitbc ledger export FILE")
        })?;
        if read == 0 {
            return Ok(None);
        }
        self.read += read as u64;
        self.line += 1;
        if self.is_over {
            return Err(self.damaged("it stands after the checkpoint, which is the last line"));
        }
        if read as u64 > MAX_LINE {
            return Err(self.damaged("it is longer than any record"));
        }
        let line = self.parse(&bytes)?;
        self.is_over = matches!(line, Line::Checkpoint(_));
        Ok(Some(line))
    }

    fn parse(&self, bytes: &[u8]) -> Result<Line, CommandError> {
        let fields: Fields = serde_json::from_slice(bytes)
            .map_err(|_| self.damaged("it is not {\"index\":…,\"leaf\":\"…\",\"hash\":\"…\"}"))?;
        match (fields.index, fields.leaf, fields.hash, fields.checkpoint) {
            // Files of earlier versions have no hash.
            (Some(index), Some(leaf), hash, None) => {
                if index != self.line - 1 {
                    return Err(self.damaged(&format!(
                        "it is record {index} where {} comes next",
                        self.line - 1
                    )));
                }
                let is_lower = !leaf.bytes().any(|byte| byte.is_ascii_uppercase());
                let leaf = hex::decode(&leaf)
                    .ok()
                    .filter(|_| is_lower)
                    .ok_or_else(|| {
                        self.damaged("its leaf is not an even number of digits 0 to 9 and a to f")
                    })?;
                if hash.is_some_and(|hash| hash != hex::encode(leaf_hash(&leaf))) {
                    return Err(
                        self.damaged("its hash is not that of its leaf: one of them was changed")
                    );
                }
                Ok(Line::Leaf(leaf))
            }
            (None, None, None, Some(checkpoint)) => Ok(Line::Checkpoint(checkpoint)),
            _ => Err(self.damaged("it is neither a record nor a checkpoint")),
        }
    }

    /// The line that was read last is bad.
    pub fn damaged(&self, why: &str) -> CommandError {
        CommandError::new(
            ExitCode::ProofFailed,
            "LEDGER_EXPORT_DAMAGED",
            format!(
                "line {} of {} (record {}) is bad: {why}",
                self.line,
                self.path.display(),
                self.line.saturating_sub(1)
            ),
        )
        .with_hint("get the file again from where it came from, or write a new one: aitbc ledger export FILE")
    }
}

/// Writes an export to stdout, or to a file that appears only once it is whole.
pub struct Writer {
    out: BufWriter<Box<dyn Write + Send>>,
    file: Option<PartFile>,
    index: u64,
}

/// A file under another name; it goes away unless it is finished.
struct PartFile {
    part: PathBuf,
    path: PathBuf,
    file: File,
}

impl Writer {
    /// To a file, or to stdout where none is given.
    pub fn create(path: Option<&Path>) -> Result<Self, CommandError> {
        let Some(path) = path else {
            return Ok(Self {
                out: BufWriter::new(Box::new(io::stdout())),
                file: None,
                index: 0,
            });
        };
        // What a link names is replaced, not the link; a pipe or a device is written to.
        let linked = fs::canonicalize(path)
            .or_else(|_| fs::read_link(path).map(|to| path.with_file_name(to)))
            .unwrap_or_else(|_| path.to_owned());
        let path = linked.as_path();
        if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
            let opened = fs::OpenOptions::new().write(true).open(path);
            let out = opened.map_err(|error| write_failed(path, &error))?;
            return Ok(Self {
                out: BufWriter::with_capacity(1 << 16, Box::new(out)),
                file: None,
                index: 0,
            });
        }
        let mut name = std::ffi::OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(format!(".{}", hex::encode(random_bytes::<8>())));
        let part = path.with_file_name(name);
        let opened = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(PLAIN_MODE)
            .open(&part)
            .and_then(|file| Ok((file.try_clone()?, file)));
        let (out, file) = opened.map_err(|error| write_failed(path, &error))?;
        Ok(Self {
            out: BufWriter::with_capacity(1 << 16, Box::new(out)),
            file: Some(PartFile {
                part,
                path: path.to_owned(),
                file,
            }),
            index: 0,
        })
    }

    /// Writes the next record.
    pub fn leaf(&mut self, leaf: &[u8]) -> Result<(), CommandError> {
        let line = format!(
            "{{\"index\":{},\"leaf\":\"{}\",\"hash\":\"{}\"}}\n",
            self.index,
            hex::encode(leaf),
            hex::encode(leaf_hash(leaf))
        );
        self.index += 1;
        self.write(&line)
    }

    /// Writes the checkpoint, which ends the export.
    pub fn finish(mut self, checkpoint: &str) -> Result<(), CommandError> {
        let line = json!({"checkpoint": checkpoint}).to_string() + "\n";
        self.write(&line)?;
        let flushed = self.out.flush();
        self.check(flushed)?;
        if let Some(file) = &self.file {
            let moved = file
                .file
                .sync_all()
                .and_then(|()| fs::rename(&file.part, &file.path));
            self.check(moved)?;
        }
        Ok(())
    }

    fn write(&mut self, line: &str) -> Result<(), CommandError> {
        let written = self.out.write_all(line.as_bytes());
        self.check(written)
    }

    fn check(&self, result: io::Result<()>) -> Result<(), CommandError> {
        result.map_err(|error| match &self.file {
            Some(file) => write_failed(&file.path, &error),
            None => error.into(),
        })
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        // It is not there any more where it was finished.
        let _gone = fs::remove_file(&self.part);
    }
}

fn write_failed(path: &Path, error: &io::Error) -> CommandError {
    CommandError::file(format_args!("write {}", path.display()), error)
        .with_hint("name a file in a folder that is there and that you may write to")
}
