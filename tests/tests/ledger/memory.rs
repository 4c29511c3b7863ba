//! A log that is longer than memory should be: what an audit keeps is the state, not the log.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use aitbc_common::address::Address;
use aitbc_common::genesis::{Faucet, Genesis, chain_id};
use aitbc_common::hash::{Hash, sha256};
use aitbc_common::identity::{Identity, PublicKey};
use aitbc_common::layouts::{
    LockPurpose, LockTerms, MintReason, NO_MAX_RATE, Outcome, ReceiptEntry, Record, RecordBody,
    Seal, SignMode, SignedTransaction, Transaction, TransactionKind,
};
use aitbc_common::ledger::audit::Edge;
use aitbc_common::ledger::checkpoint;
use aitbc_common::ledger::entry::{AccountId, Entry};
use aitbc_common::ledger::log::leaf_hash;
use aitbc_common::ledger::settlement::{Work, posts};
use aitbc_common::ledger::state::State;
use aitbc_common::ledger::state_tree::{Changes, MemoryTree};
use aitbc_common::wallet::WalletKey;
use aitbc_tests::harness::{Network, Process};

use super::AIT;

/// Records of the shorter export; the longer one has four times as many.
const RECORDS: u64 = 55_000;
/// Wallets that get something, in both.
const WALLETS: u64 = 100;
/// Every so many records a job is paid.
const PAID_EVERY: u64 = 500;
const SEALED_EVERY: u64 = 4_096;
const BEGIN: u64 = 1_795_428_000_000;
/// What the longer audit may need more: a record has 100 bytes and more, and the records between 165,000.
const MORE_KIB: u64 = 2 * 1_024;

/// An export that is written record by record, by the rules.
struct Written {
    out: BufWriter<File>,
    state: State,
    tree: MemoryTree,
    edge: Edge,
    chain_id: Hash,
    log_key: Identity,
    payer: WalletKey,
}

impl Written {
    fn begin(file: &Path) -> Self {
        let payer = WalletKey::from_bytes(&[7; 32]).expect("a valid secret key");
        let log_key = Identity::from_seed(&[6; 32]);
        let genesis = Genesis {
            allocations: BTreeMap::from([(payer.address(), 1_000_000 * AIT)]),
            faucet: Some(Faucet {
                per_address: AIT,
                total: 1_000 * AIT,
            }),
            auditors: Vec::new(),
            fee_bps: 250,
            log_key: log_key.public().0,
            previous: None,
            profile: "dev".into(),
            random: [7; 32],
            service_key: [8; 32],
            version: 1,
        };
        let bytes = genesis.to_bytes();
        let mut written = Self {
            out: BufWriter::new(File::create(file).expect("a temporary folder is writable")),
            state: State::default(),
            tree: MemoryTree::default(),
            edge: Edge::default(),
            chain_id: chain_id(&bytes),
            log_key,
            payer,
        };
        written.append(RecordBody::Genesis(bytes));
        written.mint(
            written.payer.address(),
            1_000_000 * AIT,
            MintReason::Genesis,
        );
        written
    }

    fn append(&mut self, body: RecordBody) {
        let record = Record {
            index: self.edge.size(),
            time_ms: BEGIN + self.edge.size(),
            body,
        };
        self.state.apply(&record, true).expect("it breaks no rule");
        let leaf = record.encode();
        let hash = leaf_hash(&leaf);
        let (leaf, index) = (hex::encode(leaf), record.index);
        let hash_text = hex::encode(hash);
        writeln!(
            self.out,
            r#"{{"index":{index},"leaf":"{leaf}","hash":"{hash_text}"}}"#
        )
        .expect("a temporary folder is writable");
        self.edge.push(hash);
    }

    fn mint(&mut self, account: Address, amount: u64, reason: MintReason) {
        self.append(RecordBody::Mint {
            account,
            amount,
            reason,
        });
    }

    /// A record like most of a log: something moves between wallets that are known, or nothing moves.
    fn small(&mut self, number: u64) {
        if number.is_multiple_of(2) {
            let wallet = sha256(&(number / 2 % WALLETS).to_be_bytes());
            let (account, _) = wallet.split_first_chunk().expect("a hash has 32 bytes");
            return self.mint(Address(*account), 1, MintReason::Faucet);
        }
        self.append(RecordBody::Receipt(ReceiptEntry {
            job_ref: sha256(&number.to_be_bytes()),
            attempt: 1,
            miner: PublicKey([9; 32]),
            receipt_id: sha256(&number.to_le_bytes()),
        }));
    }

    fn paid(&mut self, number: u64) {
        let now = BEGIN + self.edge.size();
        let terms = LockTerms {
            purpose: LockPurpose::Job,
            expires_at: now + 3_600_000,
            max_rate: NO_MAX_RATE,
            max_fee_bps: 250,
            miner_key: PublicKey::default(),
        };
        let job_ref = sha256(&number.to_be_bytes());
        let account = AccountId::Wallet(self.payer.address());
        let transaction = Transaction {
            kind: TransactionKind::Lock,
            sign_mode: SignMode::Wallet,
            chain_id: self.chain_id,
            public_key: [0; 33],
            account: Address::default(),
            nonce: self.state.account(account).nonce,
            valid_until: now + 3_600_000,
            amount: AIT,
            max_fee: 0,
            target: job_ref,
            payload_hash: Hash::default(),
        };
        let signed = SignedTransaction::by_wallet(transaction, terms.encode(), &self.payer)
            .expect("the terms fit");
        let lock = signed.transaction.id();
        self.append(RecordBody::Transaction(signed));
        let work = Work {
            job_ref,
            attempt: 1,
            outcome: Outcome::Complete,
            miner: PublicKey([9; 32]),
            payee: Address([3; 20]),
            evidence_id: sha256(&lock),
            gpu: [0; 32],
            rate: AIT,
            observed_ms: 60_000,
            work_ms: 60_000,
            billed_ms: 60_000,
        };
        for post in posts(&work, &[(lock, AIT)], 250) {
            self.append(RecordBody::Post(post));
        }
    }

    fn seal(&mut self) {
        let mut changes = Changes::new();
        for key in self.state.take_changed() {
            let value = self.state.get(&key).map(Entry::encode);
            changes.insert(key.tree_key(), value);
        }
        let position = self.state.position();
        let issuance = self.state.account(AccountId::Issuance);
        let seal = Seal {
            height: position.height,
            first: position.first_unsealed,
            count: u32::try_from(position.next - position.first_unsealed).expect("few records"),
            state_root: self.tree.apply(&changes).expect("short values"),
            minted: issuance.debits_posted,
            burned: issuance.credits_posted,
        };
        self.append(RecordBody::Seal(seal));
    }

    fn end(mut self) {
        let text = checkpoint::sign(&self.chain_id, &self.edge.head(), &self.log_key);
        let line = serde_json::json!({"checkpoint": text});
        writeln!(self.out, "{line}").expect("a temporary folder is writable");
        self.out.flush().expect("a temporary folder is writable");
    }
}

fn write(file: &Path, records: u64) {
    let mut written = Written::begin(file);
    for number in 0.. {
        let size = written.edge.size();
        if size >= records {
            break;
        }
        if size - written.state.position().first_unsealed >= SEALED_EVERY {
            written.seal();
        }
        match number % PAID_EVERY {
            0 => written.paid(number),
            _ => written.small(number),
        }
    }
    written.seal();
    written.end();
}

#[test]
fn a_checkpoint_that_does_not_end_with_a_seal_is_refused() {
    let network = Network::without_coordinator();
    let file = network.folder().join("unsealed.ndjson");
    let mut written = Written::begin(&file);
    written.seal();
    written.small(0);
    written.end();
    let user = network.user("me");
    user.types(&format!("aitbc ledger audit {}", file.display()))
        .refuses(
            8,
            "record 3 is bad: a checkpoint ends with it and it is no seal",
        );
}

/// The most memory that a running process has had so far, in KiB; none once it has ended.
fn peak_kib(process: &Process) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid())).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn an_audit_of_a_long_export_shows_its_progress_and_keeps_to_its_memory() {
    let network = Network::without_coordinator();
    let user = network.user("me").with("TERM", "xterm");
    let mut peaks = Vec::new();
    for records in [RECORDS, 4 * RECORDS] {
        let file = network.folder().join(format!("{records}.ndjson"));
        write(&file, records);
        let path = file.to_str().expect("UTF-8");
        let (mut audit, _keyboard) = user.starts_on_terminal(&["ledger", "audit", path]);
        let mut peak = 0;
        while audit.has_ended().is_none() {
            peak = peak.max(peak_kib(&audit).unwrap_or_default());
            std::thread::yield_now();
        }
        let output = audit.wait().succeeds();
        let text = output.text();
        assert!(
            text.contains("exactly what the signed checkpoint says"),
            "{text}"
        );
        assert!(text.contains("accounts    102"), "{text}");
        let shown = output.stderr.contains("checking bytes") && output.stderr.contains('%');
        assert!(
            shown || records == RECORDS,
            "no progress: {:?}",
            output.stderr
        );
        peaks.push(peak);
    }
    println!("peaks {peaks:?} KiB");
    assert!(
        peaks[0] > 0 && peaks[1] < peaks[0] + MORE_KIB,
        "four times the records need {peaks:?} KiB"
    );
}
