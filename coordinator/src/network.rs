//! What makes this coordinator's network: the genesis file and the keys, made at the first start.

use std::fs;
use std::io;
use std::path::Path;

use aitbc_common::genesis::{self, DEV, Genesis};
use aitbc_common::hash::Hash;
use aitbc_common::identity::Identity;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::runtime::files::{make_folder, write_atomic};
use aitbc_common::runtime::random_bytes;
use bytes::Bytes;

/// The market's fee of a new development network, in hundredths of a percent.
const DEV_FEE_BPS: u16 = 250;

/// A network and its keys.
#[derive(Debug, Clone)]
pub struct Network {
    /// The genesis file.
    pub genesis: Genesis,
    /// Its bytes.
    pub genesis_bytes: Bytes,
    /// Their hash.
    pub chain_id: Hash,
    /// Key that signs assignments.
    pub service: Identity,
    /// Key that signs the log.
    pub log: Identity,
}

impl Network {
    /// Opens the development network of `folder`, or makes one there.
    pub fn open_dev(folder: &Path) -> Result<Self, CommandError> {
        make_folder(folder).map_err(unwritable)?;
        let file = folder.join("genesis.json");
        let bytes = match fs::read(&file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Self::make_dev(folder, &file);
            }
            Err(error) => return Err(unreadable(&file, &error)),
        };
        let genesis = Genesis::parse(&bytes).map_err(|error| damaged(&file, &error.to_string()))?;
        if genesis.version != 1 {
            return Err(damaged(
                &file,
                &format!("version {} is not known, only 1", genesis.version),
            ));
        }
        if genesis.profile != DEV {
            return Err(damaged(
                &file,
                &format!("its profile is {:?}, --dev takes \"dev\"", genesis.profile),
            ));
        }
        let service = read_key(&folder.join("service.key"))?;
        if service.public().0 != genesis.service_key {
            return Err(damaged(
                &folder.join("service.key"),
                "it is not the service key that genesis.json names",
            ));
        }
        let log = read_key(&folder.join("log.key"))?;
        if log.public().0 != genesis.log_key {
            return Err(damaged(
                &folder.join("log.key"),
                "it is not the log key that genesis.json names",
            ));
        }
        Ok(Self::new(genesis, bytes, service, log))
    }

    fn make_dev(folder: &Path, file: &Path) -> Result<Self, CommandError> {
        let service = make_key(&folder.join("service.key"))?;
        let log = make_key(&folder.join("log.key"))?;
        let genesis = Genesis {
            allocations: std::collections::BTreeMap::new(),
            faucet: None,
            previous: None,
            fee_bps: DEV_FEE_BPS,
            log_key: log.public().0,
            profile: DEV.into(),
            random: random_bytes(),
            service_key: service.public().0,
            version: 1,
        };
        let bytes = genesis.to_bytes();
        // Last, as it is what makes the folder a network.
        write_atomic(file, &bytes, 0o644).map_err(unwritable)?;
        Ok(Self::new(genesis, bytes, service, log))
    }

    fn new(genesis: Genesis, bytes: Vec<u8>, service: Identity, log: Identity) -> Self {
        Self {
            chain_id: genesis::chain_id(&bytes),
            genesis,
            genesis_bytes: bytes.into(),
            service,
            log,
        }
    }
}

/// A key file: the seed as 64 hexadecimal digits and a line end.
fn make_key(path: &Path) -> Result<Identity, CommandError> {
    if path.exists() {
        // From a start that ended before the genesis file was written.
        return read_key(path);
    }
    let identity = Identity::from_seed(&random_bytes());
    let mut text: String = identity
        .seed()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    text.push('\n');
    write_atomic(path, text.as_bytes(), 0o600).map_err(unwritable)?;
    Ok(identity)
}

fn read_key(path: &Path) -> Result<Identity, CommandError> {
    let text = fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
    let digits = text.trim_end();
    let seed = aitbc_common::hash::parse_hash_text(digits).filter(|_| digits.len() == 64);
    let seed = seed.ok_or_else(|| damaged(path, "it is not 64 hexadecimal digits"))?;
    Ok(Identity::from_seed(&seed))
}

fn unwritable(error: CommandError) -> CommandError {
    error.with_hint("check who may write there, or choose another data folder with --data-dir")
}

fn unreadable(path: &Path, error: &io::Error) -> CommandError {
    CommandError::file(format_args!("read {}", path.display()), error)
        .with_hint("check who owns the data folder, or choose another with --data-dir")
}

fn damaged(path: &Path, problem: &str) -> CommandError {
    CommandError::new(ExitCode::Failed, "DATA_FOLDER_DAMAGED", format!("{} is damaged: {problem}", path.display()))
        .with_hint("restore the data folder from a backup, or begin a new network in another one with --data-dir")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_network_is_made_once_and_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let made = Network::open_dev(folder.path()).unwrap();
        let opened = Network::open_dev(folder.path()).unwrap();
        assert_eq!(
            (made.chain_id, &made.genesis),
            (opened.chain_id, &opened.genesis)
        );
        assert_eq!(made.service.public(), opened.service.public());
        assert_eq!(made.genesis.fee_bps, 250);
        for key in ["service.key", "log.key"] {
            let mode = fs::metadata(folder.path().join(key))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{key}");
        }
    }

    #[test]
    fn damage_is_told_with_a_hint() {
        let folder = tempfile::tempdir().unwrap();
        Network::open_dev(folder.path()).unwrap();
        let genesis = folder.path().join("genesis.json");
        let good = fs::read(&genesis).unwrap();
        for bad in [&b""[..], b"{}", b"\xff", b"{\"version\":1}"] {
            fs::write(&genesis, bad).unwrap();
            let error = Network::open_dev(folder.path()).unwrap_err();
            assert!(error.message.contains("genesis.json") && error.hint.is_some());
        }
        fs::write(&genesis, good).unwrap();
        fs::write(folder.path().join("service.key"), "00".repeat(32)).unwrap();
        assert!(
            Network::open_dev(folder.path())
                .unwrap_err()
                .message
                .contains("service.key")
        );
    }
}
