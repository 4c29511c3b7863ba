//! Stories of a ledger as text, one record a line; see [`script`].

mod checks;
mod entries;
mod histories;
mod history;
mod misdeeds;
mod money;
mod refusals;
mod rentals;
mod rights;
mod script;
mod slashing;

use std::collections::BTreeMap;

use proptest::prelude::ProptestConfig;

use super::entry::{AccountId, Entry, StateKey};
use super::position::Position;
use super::state::State;
use super::violation::Violation;
use crate::address::Address;
use crate::genesis::{Faucet, Genesis};
use crate::hash::{Hash, sha256};
use crate::identity::{Identity, PublicKey};
use crate::layouts::{
    MintReason, Record, RecordBody, SignMode, Transaction, TransactionKind, address_target,
};
use crate::wallet::WalletKey;

/// How long the histories of a property are in all: `AITBC_LEDGER_OPERATIONS` operations where that is set (`each` in a case
/// on average), else `usual` cases.
fn cases(usual: u32, each: u32) -> ProptestConfig {
    let operations = std::env::var("AITBC_LEDGER_OPERATIONS");
    let operations = operations.map(|text| text.parse::<u32>().expect("a number of operations"));
    ProptestConfig::with_cases(operations.map_or(usual, |operations| operations.div_ceil(each)))
}

/// When the ledgers of these tests begin.
const BEGIN: u64 = 1_800_000_000_000;
const HOUR: u64 = 3_600_000;

fn wallet(name: &str) -> WalletKey {
    WalletKey::from_bytes(&sha256(format!("wallet {name}").as_bytes())).unwrap()
}

fn address(name: &str) -> Address {
    wallet(name).address()
}

fn identity(name: &str) -> Identity {
    Identity::from_seed(&sha256(format!("identity {name}").as_bytes()))
}

fn reference(name: &str) -> Hash {
    sha256(format!("job {name}").as_bytes())
}

fn genesis(allocations: BTreeMap<Address, u64>) -> Genesis {
    Genesis {
        allocations,
        faucet: Some(Faucet {
            per_address: 1_000,
            total: 1_000_000,
        }),
        auditors: Vec::new(),
        fee_bps: 250,
        log_key: [1; 32],
        previous: None,
        profile: "dev".into(),
        random: [2; 32],
        service_key: [3; 32],
        version: 1,
    }
}

/// A transaction that is valid but for what its kind needs; signing fills in the signer.
fn blank(kind: TransactionKind, chain_id: Hash, amount: u64) -> Transaction {
    Transaction {
        kind,
        sign_mode: SignMode::Wallet,
        chain_id,
        public_key: [0; 33],
        account: Address::default(),
        nonce: 0,
        valid_until: BEGIN + HOUR,
        amount,
        max_fee: 0,
        target: address_target(address("bob")),
        payload_hash: Hash::default(),
    }
}

/// Everything that a state holds, in bytes, and where its log stands.
type Snapshot = (BTreeMap<Vec<u8>, Vec<u8>>, Position);

fn snapshot(state: &State) -> Snapshot {
    let entries = state
        .entries()
        .map(|(key, entry)| (key.bytes(), entry.encode()));
    (entries.collect(), state.position().clone())
}

/// A ledger and what its story has named so far.
struct Ledger {
    state: State,
    chain_id: Hash,
    now: u64,
    named: BTreeMap<String, Hash>,
    records: Vec<Record>,
}

impl Ledger {
    /// A log whose genesis file is this one, with nothing given out yet.
    fn opened(genesis: &Genesis) -> Self {
        let file = genesis.to_bytes();
        let mut ledger = Self {
            state: State::default(),
            chain_id: crate::genesis::chain_id(&file),
            now: BEGIN,
            named: BTreeMap::new(),
            records: Vec::new(),
        };
        ledger.append(RecordBody::Genesis(file)).unwrap();
        ledger
    }

    /// A log whose genesis file gives these wallets that much.
    fn with(balances: &[(&str, u64)]) -> Self {
        let balances: BTreeMap<Address, u64> = balances
            .iter()
            .map(|(name, amount)| (address(name), *amount))
            .collect();
        let mut ledger = Self::opened(&genesis(balances.clone()));
        for (account, amount) in balances {
            ledger
                .append(RecordBody::Mint {
                    account,
                    amount,
                    reason: MintReason::Genesis,
                })
                .unwrap();
        }
        ledger
    }

    /// The next record; what is refused leaves no trace.
    fn append(&mut self, body: RecordBody) -> Result<(), Violation> {
        let record = Record {
            index: self.state.position().next,
            time_ms: self.now,
            body,
        };
        self.apply(record)
    }

    fn apply(&mut self, record: Record) -> Result<(), Violation> {
        let before = snapshot(&self.state);
        let result = self.state.apply(&record, false);
        match result {
            Ok(()) => self.records.push(record),
            Err(_) => assert_eq!(snapshot(&self.state), before, "{record:?} left a trace"),
        }
        result
    }

    fn nonce(&self, account: Address) -> u64 {
        self.state.account(AccountId::Wallet(account)).nonce
    }

    fn allowance(&self, account: Address, identity: PublicKey) -> super::entry::Allowance {
        match self.state.get(&StateKey::Allowance(account, identity)) {
            Some(Entry::Allowance(allowance)) => *allowance,
            _ => super::entry::Allowance::default(),
        }
    }
}
