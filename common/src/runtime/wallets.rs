//! The user's wallets: one keystore file each, and which of them is active.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::errors::{CommandError, ExitCode};
use super::files::{
    PLAIN_MODE, SECRET_MODE, lock_file, make_folder, write_atomic, write_new, writing_failed,
};
use super::random_bytes;
use crate::address::Address;
use crate::nearest::nearest;
use crate::wallet::{Fresh, Keystore, KeystoreError, ScryptCost, WalletKey};

/// Environment variable that names the wallet to use.
pub const WALLET_VARIABLE: &str = "AITBC_WALLET";
/// Characters of a wallet's name, at most.
const NAME_CHARS: usize = 64;
/// Bytes of a keystore file, at most.
const FILE_BYTES: u64 = 64 * 1_024;
/// Wallets that are listed, at most.
const MAX_WALLETS: usize = 10_000;
const EXTENSION: &str = ".json";

/// The folder of the user's wallets; it need not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wallets {
    folder: PathBuf,
}

/// A wallet as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredWallet {
    /// Its name.
    pub name: String,
    /// The address that its file names. [`StoredWallet::unlock`] proves it.
    pub address: Address,
    /// Its file.
    pub file: PathBuf,
    keystore: Keystore,
}

/// Holds a wallet for one process at a time, until it is dropped.
#[derive(Debug)]
pub struct WalletLock {
    _file: File,
}

impl Wallets {
    /// The wallets in a folder. Usually: `Home::wallets`.
    #[must_use]
    pub fn in_folder(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The file of a wallet of that name.
    pub fn file(&self, name: &str) -> Result<PathBuf, CommandError> {
        check_wallet_name(name)?;
        Ok(self.folder.join(format!("{name}{EXTENSION}")))
    }

    /// The names, in alphabetical order; at most 10,000.
    pub fn names(&self) -> Result<Vec<String>, CommandError> {
        let reading_failed = |error: io::Error| {
            CommandError::file(format_args!("read {}", self.folder.display()), &error)
                .with_hint("check who may read that folder")
        };
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(reading_failed(error)),
        };
        let mut names = Vec::new();
        for entry in entries.take(2 * MAX_WALLETS) {
            let file = entry.map_err(reading_failed)?.file_name();
            let name = file.to_str().and_then(|file| file.strip_suffix(EXTENSION));
            names.extend(
                name.filter(|name| check_wallet_name(name).is_ok())
                    .map(ToOwned::to_owned),
            );
        }
        names.sort_unstable();
        names.truncate(MAX_WALLETS);
        Ok(names)
    }

    /// The wallet of that name.
    pub fn get(&self, name: &str) -> Result<StoredWallet, CommandError> {
        let file = self.file(name)?;
        let Some(bytes) = read_bounded(&file)? else {
            return Err(self.unknown(name));
        };
        let keystore = Keystore::parse(&bytes).map_err(|error| damaged(&file, &error))?;
        let address = keystore
            .address()
            .ok_or_else(|| damaged(&file, &"it names no address"))?;
        Ok(StoredWallet {
            name: name.to_owned(),
            address,
            file,
            keystore,
        })
    }

    /// The wallet to use: the one that is given, else `variable` (the value of `AITBC_WALLET`, where it is set), else the
    /// active one.
    pub fn select(
        &self,
        given: Option<&str>,
        variable: Option<&str>,
    ) -> Result<StoredWallet, CommandError> {
        if let Some(name) = given.or(variable.filter(|name| !name.is_empty())) {
            return self.get(name);
        }
        match self.active()? {
            Some(name) => self.get(&name),
            None if self.names()?.is_empty() => Err(CommandError::new(
                ExitCode::NotFound,
                "WALLET_UNKNOWN",
                "there is no wallet yet",
            )
            .with_hint("make one: aitbc wallet create --name my_wallet")),
            None => {
                Err(
                    CommandError::new(ExitCode::NotFound, "WALLET_UNKNOWN", "no wallet is active")
                        .with_hint("choose one: aitbc wallet list, then aitbc wallet use NAME"),
                )
            }
        }
    }

    /// Whether there is a file for that name, readable or not.
    pub fn exists(&self, name: &str) -> Result<bool, CommandError> {
        let file = self.file(name)?;
        file.try_exists()
            .map_err(|error| writing_failed(&file, &error))
    }

    /// The error for a name that is taken.
    #[must_use]
    pub fn taken(&self, name: &str) -> CommandError {
        CommandError::new(
            ExitCode::Authentication,
            "WALLET_EXISTS",
            format!("there is a wallet {name} already; it was left as it is"),
        )
        .with_hint("choose another name with --name, or see: aitbc wallet list")
    }

    /// Stores a key under a password; the first wallet becomes the active one. Nothing is ever overwritten.
    pub fn add(
        &self,
        name: &str,
        key: &WalletKey,
        password: &str,
    ) -> Result<StoredWallet, CommandError> {
        if self.exists(name)? {
            return Err(self.taken(name));
        }
        let fresh = Fresh {
            salt: random_bytes(),
            iv: random_bytes(),
            id: random_bytes(),
        };
        let keystore = Keystore::encrypt(key, password, ScryptCost::STANDARD, &fresh);
        self.store(name, key.address(), keystore)
    }

    fn store(
        &self,
        name: &str,
        address: Address,
        keystore: Keystore,
    ) -> Result<StoredWallet, CommandError> {
        let file = self.file(name)?;
        if !write_new(&file, &keystore.to_bytes(), SECRET_MODE)? {
            return Err(self.taken(name));
        }
        if self.active()?.is_none() {
            self.activate(name)?;
        }
        Ok(StoredWallet {
            name: name.to_owned(),
            address,
            file,
            keystore,
        })
    }

    /// The name of the active wallet, whether or not its file still exists.
    pub fn active(&self) -> Result<Option<String>, CommandError> {
        let file = self.active_file();
        let Some(bytes) = read_bounded(&file)? else {
            return Ok(None);
        };
        let name = String::from_utf8_lossy(&bytes).trim().to_owned();
        check_wallet_name(&name).map_err(|_| {
            damaged(&file, &"it names no wallet").with_hint("choose again: aitbc wallet use NAME")
        })?;
        Ok(Some(name))
    }

    /// Makes a wallet the active one.
    pub fn activate(&self, name: &str) -> Result<(), CommandError> {
        check_wallet_name(name)?;
        write_atomic(
            &self.active_file(),
            format!("{name}\n").as_bytes(),
            PLAIN_MODE,
        )
    }

    /// Waits until no other process holds this wallet, then holds it: for what must happen one after the other, such as
    /// transactions with consecutive nonces. Blocks the thread.
    pub fn lock(&self, name: &str) -> Result<WalletLock, CommandError> {
        check_wallet_name(name)?;
        make_folder(&self.folder)?;
        let path = self.folder.join(format!("{name}.lock"));
        lock_file(&path).map(|file| WalletLock { _file: file })
    }

    fn active_file(&self) -> PathBuf {
        self.folder.join("active")
    }

    fn unknown(&self, name: &str) -> CommandError {
        let names = self.names().unwrap_or_default();
        let hint = match nearest(name, names.iter().map(String::as_str)) {
            Some(near) => format!("did you mean {near}? See: aitbc wallet list"),
            None => "see: aitbc wallet list".to_owned(),
        };
        CommandError::new(
            ExitCode::NotFound,
            "WALLET_UNKNOWN",
            format!("there is no wallet {name}"),
        )
        .with_hint(hint)
    }
}

impl StoredWallet {
    /// The key, for the right password; its address is checked against the file's. Takes about a second and 256 MiB.
    pub fn unlock(&self, password: &str) -> Result<WalletKey, CommandError> {
        self.keystore
            .decrypt(password)
            .map_err(|error| keystore_error(&self.file, &error))
    }

    /// The keystore file's bytes, as any tool for Web3 Secret Storage reads them.
    #[must_use]
    pub fn keystore_bytes(&self) -> Vec<u8> {
        self.keystore.to_bytes()
    }
}

/// Reads a keystore file from anywhere; it need not name its address.
pub fn read_keystore(file: &Path) -> Result<Keystore, CommandError> {
    let bytes = read_bounded(file)?.ok_or_else(|| {
        let error = io::Error::from(io::ErrorKind::NotFound);
        CommandError::file(format_args!("read {}", file.display()), &error)
            .with_hint("check the path")
    })?;
    Keystore::parse(&bytes).map_err(|error| keystore_error(file, &error))
}

/// What a keystore file's error means to the user of that file.
#[must_use]
pub fn keystore_error(file: &Path, error: &KeystoreError) -> CommandError {
    match error {
        KeystoreError::WrongPassword => CommandError::new(
            ExitCode::Authentication,
            "PASSWORD_WRONG",
            format!("the password does not open {}", file.display()),
        )
        .with_hint(
            "try again; without the password, the seed phrase opens the wallet anew: aitbc wallet import --name NEW_NAME",
        ),
        error => damaged(file, error),
    }
}

/// Whether a name can be a wallet's: 1 to 64 lower-case letters, digits, `-` and `_`.
pub fn check_wallet_name(name: &str) -> Result<(), CommandError> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    if name.chars().all(plain)
        && !name.is_empty()
        && name.len() <= NAME_CHARS
        && !name.starts_with('-')
    {
        return Ok(());
    }
    let shown: String = name.chars().take(NAME_CHARS).collect();
    Err(
        CommandError::usage(format!("{shown:?} is no name for a wallet")).with_hint(
            "a name has 1 to 64 lower-case letters, digits, \"-\" and \"_\", for example my_wallet",
        ),
    )
}

fn damaged(file: &Path, why: &dyn std::fmt::Display) -> CommandError {
    CommandError::new(
        ExitCode::Authentication,
        "WALLET_UNUSABLE",
        format!("{} cannot be used: {why}", file.display()),
    )
    .with_hint("restore it from a backup, or import the seed phrase under a new name: aitbc wallet import --name NEW_NAME")
}

/// The file's bytes; `None` where there is none.
fn read_bounded(path: &Path) -> Result<Option<Vec<u8>>, CommandError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_BYTES + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(
            CommandError::file(format_args!("read {}", path.display()), &error)
                .with_hint("check the path and who may read it"),
        ),
    }
}

#[cfg(test)]
mod tests;
