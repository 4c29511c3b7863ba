//! The core over a store in memory: what it writes is what a stranger recomputes, whatever crashes when.

mod faults;
mod history;
mod slashing;

use std::collections::BTreeMap;
use std::sync::Arc;

use aitbc_common::address::Address;
use aitbc_common::genesis::{Faucet, Genesis};
use aitbc_common::hash::Hash;
use aitbc_common::identity::{Identity, PublicKey};
use aitbc_common::layouts::{
    LockPurpose, LockTerms, Outcome, SignMode, SignedTransaction, Transaction, TransactionKind,
    address_target,
};
use aitbc_common::ledger::audit::Audit;
use aitbc_common::ledger::checkpoint::LogIdentity;
use aitbc_common::ledger::entry::{AccountId, StateKey};
use aitbc_common::ledger::log::TreeHead;
use aitbc_common::ledger::settlement::Work;
use aitbc_common::ledger::state_tree::root_of;
use aitbc_common::wallet::WalletKey;
use bytes::Bytes;

use super::command::{Command, Effect, Reply, Submission};
use super::core::{LedgerConfig, LedgerCore, Output};
use super::proofs::leaf;
use super::rows::CheckpointRow;
use crate::payments::{Notice, rows as payment_rows};
use crate::store::{
    Durability, Family, Fence, LEDGER_PARTITION, MemoryStore, Store, StoreError, keys::prefix_end,
    ledger_keys as keys, rows,
};

const AIT: u64 = 1_000_000;
const HOUR: u64 = 3_600_000;
const START: u64 = 1_700_000_000_000;

fn wallet(number: u8) -> WalletKey {
    WalletKey::from_bytes(&[number; 32]).unwrap()
}

fn address(key: &WalletKey) -> Address {
    key.address()
}

fn genesis(log: &Identity) -> Genesis {
    Genesis {
        allocations: BTreeMap::from([(address(&wallet(1)), 1_000 * AIT)]),
        faucet: Some(Faucet {
            per_address: 200 * AIT,
            total: 1_000 * AIT,
        }),
        auditors: Vec::new(),
        fee_bps: 250,
        log_key: log.public().0,
        previous: None,
        profile: "dev".into(),
        random: [7; 32],
        service_key: [8; 32],
        version: 1,
    }
}

/// A ledger over a store in memory, with a clock of its own.
struct World {
    store: Arc<MemoryStore>,
    fence: Fence,
    config: LedgerConfig,
    core: LedgerCore,
    now: u64,
    effects: Vec<Effect>,
    nonces: BTreeMap<u8, u64>,
}

impl World {
    fn new() -> Self {
        let log = Identity::from_seed(&[9; 32]);
        let genesis = genesis(&log);
        let file: Bytes = genesis.to_bytes().into();
        let config = LedgerConfig::new(genesis.rules(&file).unwrap(), file, log, genesis.faucet());
        let store = Arc::new(MemoryStore::new());
        let fence = store.claim(LEDGER_PARTITION..=LEDGER_PARTITION).unwrap();
        let core = LedgerCore::recover(config.clone(), START, &Self::reads(&store)).unwrap();
        let mut world = Self {
            store,
            fence,
            config,
            core,
            now: START,
            effects: Vec::new(),
            nonces: BTreeMap::new(),
        };
        let output = world.core.begin(&Self::reads(&world.store)).unwrap();
        world.commit(output).unwrap();
        world
    }

    fn reads(store: &Arc<MemoryStore>) -> Arc<dyn Store> {
        Arc::clone(store) as Arc<dyn Store>
    }

    fn commit(&mut self, output: Output) -> Result<Vec<Reply>, StoreError> {
        if !output.batch.is_empty() {
            self.store
                .commit(&self.fence, output.batch, Durability::Synced)?;
        }
        self.effects.extend(output.effects);
        Ok(output.replies)
    }

    fn apply(&mut self, commands: Vec<Command>) -> Vec<Reply> {
        let output = self
            .core
            .apply(self.now, commands, &Self::reads(&self.store))
            .unwrap();
        self.commit(output).unwrap()
    }

    fn one(&mut self, command: Command) -> Reply {
        self.apply(vec![command]).pop().unwrap()
    }

    /// Time passes, and what is due happens.
    fn pass(&mut self, ms: u64) {
        self.now += ms;
        for _ in 0..3 {
            self.apply(Vec::new());
        }
        self.check_totals();
    }

    fn restart(&mut self) {
        self.fence = self
            .store
            .claim(LEDGER_PARTITION..=LEDGER_PARTITION)
            .unwrap();
        let reads = Self::reads(&self.store);
        self.core = LedgerCore::recover(self.config.clone(), self.now, &reads).unwrap();
    }

    /// The sums that were kept are those of what is stored, and fit together.
    fn check_totals(&self) {
        let reads = Self::reads(&self.store);
        let stored = LedgerCore::recover(self.config.clone(), self.now, &reads).unwrap();
        assert_eq!(self.core.figures(), stored.figures());
        assert_eq!(stored.figures().broken(), [""; 0]);
    }

    fn draft(&self, kind: TransactionKind, nonce: u64, amount: u64, target: Hash) -> Transaction {
        Transaction {
            kind,
            sign_mode: SignMode::Wallet,
            chain_id: self.config.rules.chain_id,
            public_key: [0; 33],
            account: Address::default(),
            nonce,
            valid_until: self.now + HOUR,
            amount,
            max_fee: 0,
            target,
            payload_hash: Hash::default(),
        }
    }

    fn sign(
        &mut self,
        from: u8,
        kind: TransactionKind,
        amount: u64,
        target: Hash,
        payload: Vec<u8>,
    ) -> SignedTransaction {
        let nonce = self.nonces.get(&from).copied().unwrap_or(0);
        let draft = self.draft(kind, nonce, amount, target);
        SignedTransaction::by_wallet(draft, payload, &wallet(from)).unwrap()
    }

    /// Signs with the next nonce and submits.
    fn send(
        &mut self,
        from: u8,
        kind: TransactionKind,
        amount: u64,
        target: Hash,
        payload: Vec<u8>,
    ) -> Reply {
        let signed = self.sign(from, kind, amount, target, payload);
        let reply = self.one(submit(signed));
        if matches!(reply, Reply::Recorded { .. }) {
            *self.nonces.entry(from).or_default() += 1;
        }
        reply
    }

    fn lock(&mut self, from: u8, amount: u64, job_ref: Hash) -> Hash {
        let terms = LockTerms {
            purpose: LockPurpose::Job,
            expires_at: self.now + 2 * HOUR,
            max_rate: 100 * AIT,
            max_fee_bps: 300,
            miner_key: PublicKey::default(),
        };
        match self.send(from, TransactionKind::Lock, amount, job_ref, terms.encode()) {
            Reply::Recorded { id, .. } => id,
            other => panic!("{other:?}"),
        }
    }

    fn available(&mut self, account: Address) -> u128 {
        let key = StateKey::Account(AccountId::Wallet(account));
        let name = keys::state(&key);
        let row = self
            .store
            .get_many(&[(Family::Active, name.as_slice())])
            .unwrap()
            .remove(0);
        row.map_or(0, |row| {
            match super::turn::decode_entry(&key, &row).unwrap() {
                aitbc_common::ledger::entry::Entry::Account(account) => account.available(),
                _ => unreachable!(),
            }
        })
    }

    fn notices(&self) -> Vec<Notice> {
        let prefix = keys::notices();
        let end = prefix_end(&prefix);
        let page = self
            .store
            .scan(Family::Active, &prefix..&end, 1_000)
            .unwrap();
        page.rows
            .into_iter()
            .map(|(_, row)| payment_rows::read_notice(row).unwrap())
            .collect()
    }

    /// A stranger reads every record, recomputes everything, and compares.
    fn audit(&self) -> Audit {
        let reads = Self::reads(&self.store);
        let mut audit = Audit::default();
        for index in 0..self.core.next_index() {
            let leaf = leaf(&reads, index).unwrap().expect("no record is missing");
            audit.record(&leaf).unwrap();
        }
        audit.check_state().unwrap();
        assert_eq!(audit.head(), self.core.head, "the log's root");
        let stored: BTreeMap<Hash, Vec<u8>> = audit
            .state()
            .entries()
            .map(|(key, entry)| {
                let name = keys::state(key);
                let row = self
                    .store
                    .get_many(&[(Family::Active, name.as_slice())])
                    .unwrap()
                    .remove(0);
                assert_eq!(row.as_deref(), Some(entry.encode().as_slice()), "{key:?}");
                (key.tree_key(), entry.encode())
            })
            .collect();
        if self.core.unsealed.is_empty() {
            assert_eq!(root_of(&stored), self.core.state_root, "the state's root");
        }
        audit
    }

    /// The newest checkpoint that was stored.
    fn checkpoint(&self) -> Option<TreeHead> {
        let name = keys::checkpoint();
        let row = self
            .store
            .get_many(&[(Family::Active, name.as_slice())])
            .unwrap()
            .remove(0)?;
        let row: CheckpointRow = rows::decode(row).unwrap();
        let log = LogIdentity {
            chain_id: self.config.rules.chain_id,
            key: self.config.log_key.public(),
        };
        let head = log.open(&row.text).unwrap();
        assert_eq!(head.size, row.size);
        Some(head)
    }
}

fn submit(signed: SignedTransaction) -> Command {
    Command::Submit(Box::new(Submission {
        rental: None,
        signed,
        job: None,
        owner: None,
        caller: None,
    }))
}

fn work(job_ref: Hash, payee: Address, rate: u64, ms: u64) -> Work {
    Work {
        job_ref,
        attempt: 1,
        outcome: Outcome::Complete,
        miner: PublicKey([5; 32]),
        payee,
        evidence_id: [6; 32],
        gpu: Hash::default(),
        rate,
        observed_ms: ms,
        work_ms: ms,
        billed_ms: ms,
    }
}

fn to(number: u8) -> Hash {
    address_target(address(&wallet(number)))
}
