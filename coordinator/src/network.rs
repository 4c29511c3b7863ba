//! What makes this coordinator's network: the genesis file and the keys, made at the first start of a development network
//! and by `init` else.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use aitbc_common::address::Address;
use aitbc_common::genesis::{self, DEV, Genesis, PreviousChain, STANDARD};
use aitbc_common::hash::Hash;
use aitbc_common::identity::Identity;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::runtime::files::{make_folder, write_new};
use aitbc_common::runtime::random_bytes;
use aitbc_common::wallet::WalletKey;
use bytes::Bytes;

use crate::audits::keys;

/// The market's fee of a new network where nobody says, in hundredths of a percent.
pub const FEE_BPS: u16 = 250;
/// What makes a folder a network.
const GENESIS_FILE: &str = "genesis.json";
/// The seed of the wallets that pay for audits.
const AUDITORS_FILE: &str = "auditors.key";

/// What its founder settles for a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// `dev` or `standard`.
    pub profile: &'static str,
    /// Who owns what from the beginning: micro-AIT by address.
    pub allocations: BTreeMap<Address, u64>,
    /// The market's fee in hundredths of a percent.
    pub fee_bps: u16,
    /// What the auditors own from the beginning, in equal parts: micro-AIT.
    pub audit_funds: u64,
    /// The chain that it takes over from.
    pub previous: Option<PreviousChain>,
}

impl Terms {
    /// Of a development network: money comes from the faucet.
    #[must_use]
    pub fn dev() -> Self {
        Self {
            profile: DEV,
            allocations: BTreeMap::new(),
            fee_bps: FEE_BPS,
            audit_funds: 0,
            previous: None,
        }
    }
}

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
    /// The wallets that pay for audits, ascending by address; none where the genesis file names none, or their key is gone.
    pub auditors: Vec<WalletKey>,
}

impl Network {
    /// Opens the development network of `folder`, or makes one there.
    pub fn open_dev(folder: &Path) -> Result<Self, CommandError> {
        make_folder(folder).map_err(unwritable)?;
        match Self::open(folder, DEV)? {
            Some(network) => Ok(network),
            None => Self::make(folder, Terms::dev()),
        }
    }

    /// Opens the network that `init` made in `folder`.
    pub fn open_standard(folder: &Path) -> Result<Self, CommandError> {
        let place = folder.display();
        Self::open(folder, STANDARD)?.ok_or_else(|| {
            CommandError::new(ExitCode::Failed, "NO_NETWORK", format!("there is no network in {place}")).with_hint(format!(
                "make one: aitbc-coordinator init --data-dir {place}; or, to try things on this machine: aitbc-coordinator --dev"
            ))
        })
    }

    /// Makes a network in `folder`; a folder where that was cut short is finished. Whoever comes second is refused.
    pub fn make(folder: &Path, terms: Terms) -> Result<Self, CommandError> {
        let file = folder.join(GENESIS_FILE);
        if file.exists() {
            return Err(exists(folder));
        }
        if folder.join("rocks").exists() {
            return Err(damaged(
                &file,
                "it is missing, but the data of its network is there",
            ));
        }
        make_folder(folder).map_err(unwritable)?;
        let service = make_key(&folder.join("service.key"))?;
        let log = make_key(&folder.join("log.key"))?;
        let auditors = keys::wallets(&make_key(&folder.join(AUDITORS_FILE))?.seed());
        let mut allocations = terms.allocations;
        for (number, wallet) in (0_u64..).zip(&auditors) {
            let count = auditors.len() as u64;
            let share = terms.audit_funds / count + u64::from(number < terms.audit_funds % count);
            if share > 0 {
                *allocations.entry(wallet.address()).or_default() += share;
            }
        }
        let genesis = Genesis {
            allocations,
            faucet: None,
            previous: terms.previous,
            auditors: keys::addresses(&auditors),
            fee_bps: terms.fee_bps,
            log_key: log.public().0,
            profile: terms.profile.into(),
            random: random_bytes(),
            service_key: service.public().0,
            version: 1,
        };
        let bytes = genesis.to_bytes();
        // Last, as it is what makes the folder a network.
        if !write_new(&file, &bytes, 0o644).map_err(unwritable)? {
            return Err(exists(folder));
        }
        Ok(Self::new(genesis, bytes, [service, log], auditors))
    }

    fn open(folder: &Path, profile: &str) -> Result<Option<Self>, CommandError> {
        let file = folder.join(GENESIS_FILE);
        let bytes = match fs::read(&file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(&file, &error)),
        };
        let genesis = Genesis::parse(&bytes).map_err(|error| damaged(&file, &error.to_string()))?;
        if genesis.version != 1 {
            return Err(damaged(
                &file,
                &format!("version {} is not known, only 1", genesis.version),
            ));
        }
        if genesis.profile != profile {
            return Err(other_profile(folder, &file, &genesis.profile));
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
        let auditors = read_auditors(folder, &genesis)?;
        Ok(Some(Self::new(genesis, bytes, [service, log], auditors)))
    }

    fn new(
        genesis: Genesis,
        bytes: Vec<u8>,
        [service, log]: [Identity; 2],
        auditors: Vec<WalletKey>,
    ) -> Self {
        Self {
            chain_id: genesis::chain_id(&bytes),
            genesis,
            genesis_bytes: bytes.into(),
            service,
            log,
            auditors,
        }
    }
}

/// Without their key there are no audits, and everything else goes on.
fn read_auditors(folder: &Path, genesis: &Genesis) -> Result<Vec<WalletKey>, CommandError> {
    let path = folder.join(AUDITORS_FILE);
    if genesis.auditors.is_empty() {
        return Ok(Vec::new());
    }
    if !path.exists() {
        tracing::warn!(file = %path.display(), "the auditors' key is missing: no work is audited until it is there");
        return Ok(Vec::new());
    }
    let auditors = keys::wallets(&read_key(&path)?.seed());
    if keys::addresses(&auditors) != genesis.auditors {
        return Err(damaged(
            &path,
            "it is not the key of the auditors that genesis.json names",
        ));
    }
    Ok(auditors)
}

/// A key file: the seed as 64 hexadecimal digits and a line end. One that is there is from a start that ended before the
/// genesis file was written.
fn make_key(path: &Path) -> Result<Identity, CommandError> {
    if path.exists() {
        return read_key(path);
    }
    let identity = Identity::from_seed(&random_bytes());
    if write_new(path, hex_digits(&identity).as_bytes(), 0o600).map_err(unwritable)? {
        Ok(identity)
    } else {
        read_key(path)
    }
}

fn hex_digits(identity: &Identity) -> String {
    let digits = identity
        .seed()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>();
    digits + "\n"
}

fn exists(folder: &Path) -> CommandError {
    let message = format!("there is a network in {} already", folder.display());
    CommandError::new(ExitCode::Failed, "NETWORK_EXISTS", message)
        .with_hint("start it without init, or make the new one in another folder: --data-dir DIR")
}

fn other_profile(folder: &Path, file: &Path, found: &str) -> CommandError {
    let (message, hint) = match found {
        DEV => (
            "is a development network's: its money is worth nothing",
            "start it with --dev, or make a real network in another folder: aitbc-coordinator init --data-dir DIR",
        ),
        STANDARD => (
            "is a real network's, which --dev does not open",
            "start it without --dev, or take another folder for development: --data-dir DIR",
        ),
        unknown => {
            return damaged(
                file,
                &format!("its profile {unknown:?} is not known, only \"dev\" and \"standard\""),
            );
        }
    };
    let message = format!("the data folder {} {message}", folder.display());
    CommandError::new(ExitCode::Failed, "OTHER_PROFILE", message).with_hint(hint)
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

    fn standard() -> Terms {
        Terms {
            profile: STANDARD,
            allocations: BTreeMap::from([(Address([7; 20]), 5)]),
            ..Terms::dev()
        }
    }

    #[test]
    fn auditors_are_named_funded_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let funded = Terms {
            audit_funds: 17,
            ..standard()
        };
        let made = Network::make(folder.path(), funded).unwrap();
        let named = made.genesis.auditors.clone();
        assert_eq!(named, keys::addresses(&made.auditors));
        let owned = named
            .iter()
            .map(|address| made.genesis.allocations[address]);
        assert!(
            owned.eq([3, 2, 2, 2, 2, 2, 2, 2]),
            "in equal parts, all of it"
        );
        let again = || Network::open_standard(folder.path()).map(|network| network.auditors.len());
        assert_eq!(again().unwrap(), 8);
        let path = folder.path().join(AUDITORS_FILE);
        let other = Identity::from_seed(&[9; 32]);
        fs::remove_file(&path).unwrap();
        assert_eq!(again().unwrap(), 0, "no audits, and the network opens");
        fs::write(&path, hex_digits(&other)).unwrap();
        let refused = again().unwrap_err();
        assert!(
            refused.message.contains("auditors.key"),
            "{}",
            refused.message
        );
    }

    #[test]
    fn a_network_that_was_half_made_is_finished_with_its_keys() {
        let folder = tempfile::tempdir().unwrap();
        let made = Network::make(folder.path(), standard()).unwrap();
        fs::remove_file(folder.path().join(GENESIS_FILE)).unwrap();
        fs::remove_file(folder.path().join("log.key")).unwrap();
        let finished = Network::make(folder.path(), standard()).unwrap();
        assert_eq!(finished.service.public(), made.service.public());
        assert_ne!(finished.chain_id, made.chain_id);
        let opened = Network::open_standard(folder.path()).unwrap();
        assert_eq!(opened.genesis, finished.genesis);
        assert!(opened.genesis.faucet().is_none());
    }

    #[test]
    fn a_network_is_never_made_over_another_or_over_its_data() {
        let folder = tempfile::tempdir().unwrap();
        let made = Network::make(folder.path(), standard()).unwrap();
        let again = Network::make(folder.path(), standard()).unwrap_err();
        assert_eq!(again.reason, "NETWORK_EXISTS");
        let opened = Network::open_standard(folder.path()).unwrap();
        assert_eq!(opened.chain_id, made.chain_id);
        fs::remove_file(folder.path().join(GENESIS_FILE)).unwrap();
        fs::create_dir(folder.path().join("rocks")).unwrap();
        let lost = Network::make(folder.path(), standard()).unwrap_err();
        assert_eq!(lost.reason, "DATA_FOLDER_DAMAGED");
    }

    #[test]
    fn a_folder_of_the_other_profile_or_of_none_is_refused_with_a_hint() {
        let (real, play) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let none = Network::open_standard(real.path()).unwrap_err();
        assert!(none.reason == "NO_NETWORK" && none.hint.unwrap().contains("init --data-dir"));
        Network::make(real.path(), standard()).unwrap();
        Network::open_dev(play.path()).unwrap();
        for (error, hint) in [
            (Network::open_dev(real.path()), "without --dev"),
            (Network::open_standard(play.path()), "with --dev"),
        ] {
            let error = error.unwrap_err();
            assert_eq!(error.reason, "OTHER_PROFILE");
            assert!(error.hint.unwrap().contains(hint));
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
