//! `aitbc-coordinator init`: founds a network.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use aitbc_common::address::Address;
use aitbc_common::genesis::{self, Genesis, PreviousChain, STANDARD, SUPPLY_BOUND};
use aitbc_common::hash::hash_text;
use aitbc_common::identity::PublicKey;
use aitbc_common::ledger::checkpoint::{LogIdentity, MAX_CHECKPOINT_BYTES};
use aitbc_common::money::MicroAit;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::runtime::terminal::{note_line, print_line};
use clap::{Args, value_parser};

use crate::config::{Config, Options};
use crate::network::{FEE_BPS, Network, Terms};

/// Addresses that may be given something: the genesis file, at most 1 MiB, holds them all.
const MAX_ALLOCATIONS: usize = 10_000;

/// Make a real network: its genesis file and keys, in a new data folder
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  aitbc-coordinator init --data-dir /var/lib/aitbc --allocate 0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266=1000000\n  \
                  aitbc-coordinator init --data-dir /var/lib/aitbc-2 --previous last.checkpoint --previous-genesis old/genesis.json"
)]
pub struct Arguments {
    /// Folder for the network's keys and data [default: the XDG data folder, aitbc/coordinator]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// What an address owns from the beginning, in AIT; may be repeated. All together stay below 2^63 micro-AIT
    #[arg(long, value_name = "ADDRESS=AMOUNT")]
    pub allocate: Vec<String>,
    /// The market's fee on each payment, in hundredths of a percent: 0 to 10000
    #[arg(long, value_name = "N", default_value_t = FEE_BPS, value_parser = value_parser!(u16).range(0..=10_000))]
    pub fee_bps: u16,
    /// What the wallets that pay for audits of work own from the beginning, in AIT, in equal parts; without money they audit
    /// nothing, and it can be transferred to them later
    #[arg(long, value_name = "AMOUNT", default_value = "0")]
    pub audit_funds: String,
    /// The newest signed checkpoint of the chain that this one takes over from, as after a restored backup
    #[arg(long, value_name = "FILE", requires = "previous_genesis")]
    pub previous: Option<PathBuf>,
    /// That chain's genesis.json, whose log key must have signed the checkpoint
    #[arg(long, value_name = "FILE", requires = "previous")]
    pub previous_genesis: Option<PathBuf>,
}

/// Makes the network and says what it is. The chain id and the keys go to stdout, what to do next to stderr.
pub fn run(arguments: &Arguments) -> Result<(), CommandError> {
    let options = Options {
        data_dir: arguments.data_dir.clone(),
        ..Options::default()
    };
    let folder = Config::read(&options)?.folder()?;
    let terms = terms(arguments)?;
    let network = Network::make(&folder, terms)?;
    print_line(format_args!(
        "chain id:    {}",
        hash_text(&network.chain_id)
    ))?;
    print_line(format_args!("service key: {}", network.service.public()))?;
    print_line(format_args!("log key:     {}", network.log.public()))?;
    print_line(format_args!("data folder: {}", folder.display()))?;
    let supply = network.genesis.allocations.values().sum();
    let count = network.genesis.allocations.len();
    print_line(format_args!(
        "supply:      {} AIT, owned by {count} address{}",
        MicroAit(supply),
        if count == 1 { "" } else { "es" }
    ))?;
    print_line(format_args!(
        "auditors:    {}",
        names(&network.genesis.auditors)
    ))?;
    if supply == 0 {
        note_line(
            "warning: nobody owns anything on this network, nobody ever will, and so no job can be paid; \
             found another one with --allocate ADDRESS=AMOUNT",
        );
    }
    let place = folder.display();
    note_line(format_args!(
        "next: 1. copy {place}/service.key, log.key and genesis.json to a safe place: without them the network is lost; and auditors.key, which holds the auditors' money"
    ));
    note_line(format_args!(
        "      2. aitbc-coordinator --data-dir {place} --listen 0.0.0.0:50051 --tls-certificate FILE --tls-key FILE"
    ));
    note_line(
        "      3. tell users the address and the chain id: aitbc --coordinator HOST:50051, with --ca-certificate FILE for a private authority",
    );
    Ok(())
}

fn names(addresses: &[Address]) -> String {
    let names: Vec<_> = addresses.iter().map(Address::to_string).collect();
    names.join(" ")
}

fn terms(arguments: &Arguments) -> Result<Terms, CommandError> {
    let allocations = allocations(&arguments.allocate)?;
    Ok(Terms {
        profile: STANDARD,
        audit_funds: audit_funds(&arguments.audit_funds, allocations.values().sum())?,
        allocations,
        fee_bps: arguments.fee_bps,
        previous: match (&arguments.previous, &arguments.previous_genesis) {
            (Some(checkpoint), Some(genesis)) => Some(previous(checkpoint, genesis)?),
            _ => None,
        },
    })
}

fn allocations(given: &[String]) -> Result<BTreeMap<Address, u64>, CommandError> {
    if given.len() > MAX_ALLOCATIONS {
        return Err(CommandError::usage(format!(
            "{} allocations are too many: at most {MAX_ALLOCATIONS}",
            given.len()
        ))
        .with_hint("give more to fewer addresses, and transfer it from there"));
    }
    let mut all = BTreeMap::new();
    let mut sum = 0_u64;
    for text in given {
        let shown: String = text.chars().take(100).collect();
        let refuse = |why: String| {
            CommandError::usage(format!("--allocate {shown}: {why}")).with_hint(
                "give an address and AIT with at most 6 decimals, for example 0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266=1000.5",
            )
        };
        let (address, amount) = text
            .split_once('=')
            .ok_or_else(|| refuse("there is no \"=\"".into()))?;
        let address: Address = address
            .parse()
            .map_err(|error: aitbc_common::address::AddressError| refuse(error.to_string()))?;
        let amount = MicroAit::parse(amount, MicroAit(SUPPLY_BOUND - 1))
            .map_err(|error| refuse(error.to_string()))?
            .0;
        if amount == 0 {
            return Err(refuse("0 AIT are nothing".into()));
        }
        // Both are below 2^63.
        sum += amount;
        if sum >= SUPPLY_BOUND {
            return Err(refuse(
                "with it all together reach 2^63 micro-AIT, which is too much".into(),
            ));
        }
        if all.insert(address, amount).is_some() {
            return Err(refuse("this address is given something twice".into()));
        }
    }
    Ok(all)
}

/// `given_out`: what others own.
fn audit_funds(text: &str, given_out: u64) -> Result<u64, CommandError> {
    let most = MicroAit(SUPPLY_BOUND - 1 - given_out);
    let amount = MicroAit::parse(text, most).map_err(|error| {
        let shown: String = text.chars().take(100).collect();
        CommandError::usage(format!("--audit-funds {shown}: {error}")).with_hint(
            "give AIT with at most 6 decimals, for example 1000; all that is given out together stays below 2^63 micro-AIT",
        )
    })?;
    Ok(amount.0)
}

fn previous(checkpoint: &Path, genesis: &Path) -> Result<PreviousChain, CommandError> {
    let bytes = read(genesis)?;
    let parsed = Genesis::parse(&bytes).map_err(|error| wrong(genesis, &error.to_string()))?;
    let log = LogIdentity {
        chain_id: genesis::chain_id(&bytes),
        key: PublicKey(parsed.log_key),
    };
    let text = read(checkpoint)?;
    let text = std::str::from_utf8(&text)
        .ok()
        .filter(|text| text.len() <= MAX_CHECKPOINT_BYTES)
        .ok_or_else(|| wrong(checkpoint, "it is no text of at most 4 KiB"))?;
    let head = log
        .open(text)
        .map_err(|error| wrong(checkpoint, &error.to_string()))?;
    Ok(PreviousChain {
        chain_id: log.chain_id,
        root: head.root,
        size: head.size,
    })
}

fn read(path: &Path) -> Result<Vec<u8>, CommandError> {
    fs::read(path).map_err(|error| {
        CommandError::file(format_args!("read {}", path.display()), &error)
            .with_hint("name the old chain's newest checkpoint (--previous) and its genesis.json (--previous-genesis)")
    })
}

fn wrong(path: &Path, why: &str) -> CommandError {
    CommandError::new(
        ExitCode::ProofFailed,
        "PREVIOUS_CHAIN",
        format!("{} is not the old chain's: {why}", path.display()),
    )
    .with_hint("name a checkpoint and the genesis.json of the same chain")
}

#[cfg(test)]
mod tests {
    use aitbc_common::ledger::checkpoint::sign;
    use aitbc_common::ledger::log::TreeHead;

    use super::*;

    const ADDRESS: &str = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";

    fn parse(given: &[&str]) -> Result<BTreeMap<Address, u64>, CommandError> {
        allocations(&given.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn amounts_are_exact_to_the_last_micro_ait() {
        let all = parse(&[
            &format!("{ADDRESS}=9223372036854.775806"),
            "0x0000000000000000000000000000000000000001=0.000001",
        ]);
        let amounts: Vec<u64> = all.unwrap().into_values().collect();
        assert_eq!(amounts, [1, (1 << 63) - 2]);
    }

    #[test]
    fn what_is_no_allocation_is_refused_with_a_hint() {
        for (given, why) in [
            (&[ADDRESS][..], "there is no"),
            (&["0x12=5"], "0x12"),
            (&[&format!("{ADDRESS}=-5")], "negative"),
            (&[&format!("{ADDRESS}=0.0000001")], "6 decimals"),
            (&[&format!("{ADDRESS}=0")], "nothing"),
            (&[&format!("{ADDRESS}=9223372036854.775808")], "too much"),
            (
                &[
                    &format!("{ADDRESS}=1"),
                    &format!("{}=1", ADDRESS.to_lowercase()),
                ],
                "twice",
            ),
            (
                &[
                    &format!("{ADDRESS}=9223372036854.775807"),
                    "0x0000000000000000000000000000000000000001=0.000001",
                ],
                "2^63",
            ),
            (&["0xF39Fd6e51aad88F6F4ce6aB8827279cffFb92266=5"], "0xF39"),
        ] {
            let error = parse(given).unwrap_err();
            assert_eq!(error.exit, ExitCode::Usage);
            assert!(error.message.contains(why), "{}", error.message);
            assert!(error.hint.is_some());
        }
    }

    #[test]
    fn a_previous_chain_is_taken_from_what_its_log_key_signed() {
        let folder = tempfile::tempdir().unwrap();
        let old = Network::make(&folder.path().join("old"), Terms::dev()).unwrap();
        let other = Network::make(&folder.path().join("other"), Terms::dev()).unwrap();
        let head = TreeHead {
            size: 9,
            root: [5; 32],
        };
        let file = folder.path().join("checkpoint");
        fs::write(&file, sign(&old.chain_id, &head, &old.log)).unwrap();
        let genesis = folder.path().join("old/genesis.json");
        let taken = previous(&file, &genesis).unwrap();
        assert_eq!(
            (taken.chain_id, taken.size, taken.root),
            (old.chain_id, 9, [5; 32])
        );
        fs::write(&file, sign(&old.chain_id, &head, &other.log)).unwrap();
        let forged = previous(&file, &genesis).unwrap_err();
        assert_eq!(forged.exit, ExitCode::ProofFailed);
    }
}
