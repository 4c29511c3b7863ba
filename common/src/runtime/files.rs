//! The user's own files: identities, pins of networks, folders for settings and state.

mod changed;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub use changed::changed_network;

use super::channel::CoordinatorUrl;
use super::errors::{CommandError, ExitCode, plain_io_error};
use super::random_bytes;
use super::wallets::Wallets;
use crate::hash::Hash;
use crate::identity::{Identity, PublicKey};

/// Mode of files that hold secrets.
pub const SECRET_MODE: u32 = 0o600;
/// Mode of other files.
pub const PLAIN_MODE: u32 = 0o644;
/// The miner's name where none is given.
pub const DEFAULT_MINER: &str = "rig-1";
/// Characters of a miner's name, at most.
const MINER_NAME_CHARS: usize = 64;
/// Bytes of an identity file: 64 hexadecimal digits, a line end and room for blanks.
const IDENTITY_FILE_BYTES: u64 = 256;

/// Where the user's files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    config: PathBuf,
    data: PathBuf,
    state: PathBuf,
}

/// How a coordinator compares with what was seen at its address before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pin {
    /// The same network as before.
    Same,
    /// First contact; it is pinned now.
    New,
    /// Another network than the pinned one; the pin was left alone.
    Changed {
        /// The pinned chain.
        chain_id: Hash,
        /// The pinned service key.
        service_key: PublicKey,
    },
}

#[derive(Serialize, Deserialize)]
struct PinnedNetwork {
    chain_id: String,
    service_key: String,
}

impl Home {
    /// The folders of this user: all below `AITBC_HOME` where it is set, else by the XDG rules.
    pub fn discover() -> Result<Self, CommandError> {
        Self::from_variables(|name| std::env::var_os(name))
    }

    /// As [`Home::discover`], with the environment as a function.
    pub fn from_variables(
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, CommandError> {
        let absolute = |name: &str| {
            variable(name)
                .map(PathBuf::from)
                .filter(|p| p.is_absolute())
        };
        if let Some(home) = variable("AITBC_HOME").filter(|h| !h.is_empty()) {
            let home = std::path::absolute(PathBuf::from(home))
                .map_err(|e| CommandError::file("use AITBC_HOME", &e))?;
            return Ok(Self::below(&home));
        }
        let folder = |name: &str, default: &str| {
            let base = absolute(name).or_else(|| absolute("HOME").map(|home| home.join(default)));
            base.map(|base| base.join("aitbc")).ok_or_else(|| {
                CommandError::new(
                    ExitCode::Failed,
                    "NO_HOME",
                    "there is no home folder: neither AITBC_HOME nor HOME is set",
                )
                .with_hint(
                    "name a folder for keys and settings: AITBC_HOME=/path/to/folder aitbc …",
                )
            })
        };
        Ok(Self {
            config: folder("XDG_CONFIG_HOME", ".config")?,
            data: folder("XDG_DATA_HOME", ".local/share")?,
            state: folder("XDG_STATE_HOME", ".local/state")?,
        })
    }

    /// All folders below one.
    #[must_use]
    pub fn below(folder: &Path) -> Self {
        Self {
            config: folder.to_owned(),
            data: folder.to_owned(),
            state: folder.join("state"),
        }
    }

    /// The settings file; it need not exist.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.config.join("config.toml")
    }

    /// Where keys are.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data
    }

    /// Where state is that can be lost.
    #[must_use]
    pub fn state_dir(&self) -> &Path {
        &self.state
    }

    /// Where submitted jobs' specifications are kept, one `JOB_ID.json` each.
    #[must_use]
    pub fn jobs_dir(&self) -> PathBuf {
        self.state.join("jobs")
    }

    /// Where the newest checkpoint of a chain is kept, and the evidence against its coordinator.
    #[must_use]
    pub fn ledger_dir(&self, chain_id: &Hash) -> PathBuf {
        self.state.join("ledger").join(hex::encode(chain_id))
    }

    /// The file of the client's identity.
    #[must_use]
    pub fn identity_file(&self) -> PathBuf {
        self.data.join("identity.key")
    }

    /// The client's identity, made on first use.
    pub fn identity(&self) -> Result<Identity, CommandError> {
        read_or_make_identity(&self.identity_file())
    }

    /// The folder of a miner of that name (see [`check_miner_name`]).
    #[must_use]
    pub fn miner_dir(&self, name: &str) -> PathBuf {
        self.data.join("miners").join(name)
    }

    /// The identity of a miner of that name, made on first use.
    pub fn miner_identity(&self, name: &str) -> Result<Identity, CommandError> {
        check_miner_name(name)?;
        read_or_make_identity(&self.miner_dir(name).join("identity.key"))
    }

    /// The user's wallets.
    #[must_use]
    pub fn wallets(&self) -> Wallets {
        Wallets::in_folder(self.data.join("wallets"))
    }

    fn pins_file(&self) -> PathBuf {
        self.data.join("networks.json")
    }

    /// Compares a coordinator with the one seen at its address before; at first contact, pins it.
    pub fn pin(
        &self,
        url: &CoordinatorUrl,
        chain_id: &Hash,
        service_key: &PublicKey,
    ) -> Result<Pin, CommandError> {
        if let Some(pin) = self.compare_pin(url, chain_id, service_key)? {
            return Ok(pin);
        }
        let _lock = self.lock_pins()?;
        if let Some(pin) = self.compare_pin(url, chain_id, service_key)? {
            return Ok(pin);
        }
        self.write_pin(url, chain_id, service_key)?;
        Ok(Pin::New)
    }

    /// Pins another network for an address.
    pub fn repin(
        &self,
        url: &CoordinatorUrl,
        chain_id: &Hash,
        service_key: &PublicKey,
    ) -> Result<(), CommandError> {
        let _lock = self.lock_pins()?;
        self.write_pin(url, chain_id, service_key)
    }

    /// The service keys that are pinned for a chain, at whatever address; none where it is unknown here.
    pub fn pinned_service_keys(&self, chain_id: &Hash) -> Result<Vec<PublicKey>, CommandError> {
        let chain = hex::encode(chain_id);
        self.read_pins()?
            .into_values()
            .filter(|pin| pin.chain_id.eq_ignore_ascii_case(&chain))
            .map(|pin| {
                let mut key = Hash::default();
                hex::decode_to_slice(&pin.service_key, &mut key)
                    .map_err(|_| self.damaged_pins())?;
                Ok(PublicKey(key))
            })
            .collect()
    }

    fn compare_pin(
        &self,
        url: &CoordinatorUrl,
        chain_id: &Hash,
        service_key: &PublicKey,
    ) -> Result<Option<Pin>, CommandError> {
        let pins = self.read_pins()?;
        let Some(pinned) = pins.get(&url.to_string()) else {
            return Ok(None);
        };
        let mut old = (Hash::default(), Hash::default());
        hex::decode_to_slice(&pinned.chain_id, &mut old.0).map_err(|_| self.damaged_pins())?;
        hex::decode_to_slice(&pinned.service_key, &mut old.1).map_err(|_| self.damaged_pins())?;
        if old == (*chain_id, service_key.0) {
            return Ok(Some(Pin::Same));
        }
        Ok(Some(Pin::Changed {
            chain_id: old.0,
            service_key: PublicKey(old.1),
        }))
    }

    fn read_pins(&self) -> Result<BTreeMap<String, PinnedNetwork>, CommandError> {
        match fs::read(self.pins_file()) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|_| self.damaged_pins()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(error) => Err(CommandError::file(
                format_args!("read {}", self.pins_file().display()),
                &error,
            )),
        }
    }

    fn write_pin(
        &self,
        url: &CoordinatorUrl,
        chain_id: &Hash,
        service_key: &PublicKey,
    ) -> Result<(), CommandError> {
        let mut pins = self.read_pins()?;
        let network = PinnedNetwork {
            chain_id: hex::encode(chain_id),
            service_key: hex::encode(service_key.0),
        };
        pins.insert(url.to_string(), network);
        let mut bytes = serde_json::to_vec_pretty(&pins).expect("pins are strings");
        bytes.push(b'\n');
        write_atomic(&self.pins_file(), &bytes, SECRET_MODE)
    }

    fn damaged_pins(&self) -> CommandError {
        let file = self.pins_file();
        CommandError::new(
            ExitCode::ProofFailed,
            "PINS_DAMAGED",
            format!("{} is damaged", file.display()),
        )
        .with_hint(
            "restore it from a backup; moving it away makes every network a first contact again",
        )
    }

    fn lock_pins(&self) -> Result<File, CommandError> {
        make_folder(&self.data)?;
        lock_file(&self.data.join("networks.lock"))
    }
}

/// Locks a file, made if missing, until the handle is dropped; waits for other processes.
pub(super) fn lock_file(path: &Path) -> Result<File, CommandError> {
    let opened = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(SECRET_MODE)
        .open(path);
    opened
        .and_then(|file| file.lock().map(|()| file))
        .map_err(|error| writing_failed(path, &error))
}

/// Whether a name can be a miner's: 1 to 64 letters, digits, `-`, `_` and `.`, not beginning with `.` or `-`.
pub fn check_miner_name(name: &str) -> Result<(), CommandError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.chars().all(plain)
        && !name.is_empty()
        && name.len() <= MINER_NAME_CHARS
        && !name.starts_with(['.', '-'])
    {
        return Ok(());
    }
    let shown: String = name.chars().take(MINER_NAME_CHARS).collect();
    Err(
        CommandError::usage(format!("{shown:?} is no name for a miner")).with_hint(
            "a name has 1 to 64 letters, digits, \"-\", \"_\" and \".\", for example rig-1",
        ),
    )
}

/// Writes a file so that a reader, also after a crash, finds either the old bytes or the new ones. Makes its folder.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> Result<(), CommandError> {
    let parent = folder_of(path);
    make_folder(parent)?;
    let written = write_beside(path, bytes, mode).and_then(|temporary| {
        fs::rename(&temporary, path).inspect_err(|_| discard(&temporary))?;
        File::open(parent)?.sync_all()
    });
    written.map_err(|error| writing_failed(path, &error))
}

/// Writes a file that is not there yet, whole or not at all; `false` where one is there already, which stays as it is. Makes
/// its folder.
pub fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<bool, CommandError> {
    let parent = folder_of(path);
    make_folder(parent)?;
    let written = write_beside(path, bytes, mode).and_then(|temporary| {
        let linked = fs::hard_link(&temporary, path);
        discard(&temporary);
        match linked {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
            Ok(()) => File::open(parent)?.sync_all(),
            // Not every file system has links.
            Err(_) => write_directly(path, bytes, mode),
        }
    });
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(writing_failed(path, &error)),
    }
}

/// Makes a folder that only its owner may enter, and those above it.
pub fn make_folder(path: &Path) -> Result<(), CommandError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| writing_failed(path, &error))
}

/// A bare file name has an empty parent.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn write_beside(path: &Path, bytes: &[u8], mode: u32) -> io::Result<PathBuf> {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}", hex::encode(random_bytes::<8>())));
    let temporary = path.with_file_name(name);
    write_directly(&temporary, bytes, mode).map(|()| temporary)
}

fn write_directly(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.inspect_err(|_| discard(path))
}

fn discard(temporary: &Path) {
    let _already_gone = fs::remove_file(temporary);
}

pub(super) fn writing_failed(path: &Path, error: &io::Error) -> CommandError {
    let hint = match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            "make the folder writable, or name another one: AITBC_HOME=/path/to/folder aitbc …"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free some space, or name another folder: AITBC_HOME=/path/to/folder aitbc …"
        }
        _ => "check the path, or name another folder: AITBC_HOME=/path/to/folder aitbc …",
    };
    CommandError::file(format_args!("write {}", path.display()), error).with_hint(hint)
}

fn read_or_make_identity(path: &Path) -> Result<Identity, CommandError> {
    if let Some(identity) = read_identity(path)? {
        return Ok(identity);
    }
    let identity = Identity::from_seed(&Zeroizing::new(random_bytes()));
    let text = Zeroizing::new(format!("{}\n", hex::encode(*identity.seed())));
    if write_new(path, text.as_bytes(), SECRET_MODE)? {
        return Ok(identity);
    }
    // Another process was faster, so both end up with the same identity.
    read_identity(path)?.ok_or_else(|| identity_error(path, "disappeared while it was read"))
}

fn read_identity(path: &Path) -> Result<Option<Identity>, CommandError> {
    let unreadable = |error: io::Error| {
        identity_error(path, &format!("cannot be read: {}", plain_io_error(&error))).with_hint(
            format!(
                "make it yours: chown $USER {0} && chmod 600 {0}",
                path.display()
            ),
        )
    };
    let mut file = match File::open(path) {
        Ok(file) => file,
        // A folder that cannot be made says so better.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(unreadable(error)),
    };
    let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(
            identity_error(path, &format!("is open to other users (mode {mode:04o})"))
                .with_hint(format!("keep it to yourself: chmod 600 {}", path.display())),
        );
    }
    let mut text = Zeroizing::new(String::new());
    Read::by_ref(&mut file)
        .take(IDENTITY_FILE_BYTES)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    let mut seed = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text.trim(), seed.as_mut_slice()).map_err(|_| {
        identity_error(path, "is damaged: it should hold 64 hexadecimal digits")
            .with_hint("restore it from a backup; if you move it away, a new identity is made and the old jobs stay with the old one")
    })?;
    Ok(Some(Identity::from_seed(&seed)))
}

fn identity_error(path: &Path, what: &str) -> CommandError {
    CommandError::new(
        ExitCode::Authentication,
        "IDENTITY_UNUSABLE",
        format!("the identity file {} {what}", path.display()),
    )
}

#[cfg(test)]
mod tests;
