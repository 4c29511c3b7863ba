//! A log that grows record by record, with roots by their definitions alone.

use aitbc_common::hash::{Hash, sha256};
use aitbc_common::layouts::{
    LockTerms, Outcome, Record, RecordBody, Seal, SignedTransaction, Transaction, TransactionKind,
};
use aitbc_common::ledger::audit::Audit;
use aitbc_common::ledger::entry::AccountId;
use aitbc_common::ledger::settlement::{Work, posts};
use aitbc_common::ledger::state::State;
use serde_json::{Value, json};

use super::cast::{
    ALICE, CAROL, HOUR, MINER, address, by_agent, by_wallet, draft, identity, terms,
};
use super::counting;

pub const DAY: u64 = 24 * HOUR;

/// The state root, as it is defined: of entries with their places.
fn state_root(entries: &[(Hash, Vec<u8>)], depth: usize) -> Hash {
    match entries {
        [] => [0; 32],
        [(place, value)] => sha256(&[&[0], &place[..], value].concat()),
        _ => {
            let bit = |place: &Hash| place[depth / 8] >> (7 - depth % 8) & 1;
            let (right, left): (Vec<_>, Vec<_>) = entries
                .iter()
                .cloned()
                .partition(|(place, _)| bit(place) == 1);
            let [left, right] = [left, right].map(|half| state_root(&half, depth + 1));
            sha256(&[&[1], &left[..], &right].concat())
        }
    }
}

/// The Merkle tree hash of RFC 6962, section 2.1.
fn log_root(leaves: &[Vec<u8>]) -> Hash {
    match leaves {
        [] => sha256(b""),
        [leaf] => sha256(&[&[0], &leaf[..]].concat()),
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            sha256(&[&[1], &log_root(left)[..], &log_root(right)].concat())
        }
    }
}

pub struct History {
    pub chain_id: Hash,
    pub state: State,
    /// What looks at the log as a whole.
    pub audit: Audit,
    /// First byte of the reference of the job that is locked for and paid.
    pub job: u8,
    pub now: u64,
    pub leaves: Vec<Vec<u8>>,
    pub records: Vec<Value>,
    pub seals: Vec<Value>,
    pub refused: Vec<Value>,
}

impl History {
    pub fn record(&self, body: RecordBody) -> Record {
        Record {
            index: self.state.position().next,
            time_ms: self.now,
            body,
        }
    }

    pub fn append(&mut self, name: &str, body: RecordBody) {
        self.now += 1_000;
        let record = self.record(body);
        self.state.apply(&record, false).expect(name);
        self.audit.record(&record.encode()).expect(name);
        let mut changed: Vec<Value> = Vec::new();
        for key in self.state.take_changed() {
            let value = self
                .state
                .get(&key)
                .map(|entry| hex::encode(entry.encode()));
            changed.push(json!({"key": hex::encode(key.bytes()), "value": value}));
        }
        self.leaves.push(record.encode());
        self.records.push(json!({
            "name": name,
            "leaf": hex::encode(record.encode()),
            "changed": changed,
        }));
    }

    /// A record that may not come next.
    pub fn refuse(&mut self, name: &str, record: &Record) {
        let error = self.state.clone().apply(record, false).expect_err(name);
        self.refused(name, record, &error.to_string());
    }

    /// A record that follows the rules by itself, and may not come next in this log.
    pub fn refuse_in_log(&mut self, name: &str, body: RecordBody) {
        let record = self.record(body);
        let before = self.state.clone().apply(&record, false);
        before.expect("by itself it follows the rules");
        let error = self.audit.clone().record(&record.encode());
        let problem = error.expect_err(name).problem;
        self.refused(name, &record, &problem.to_string());
    }

    fn refused(&mut self, name: &str, record: &Record, error: &str) {
        self.refused.push(json!({
            "name": name,
            "after": self.leaves.len(),
            "leaf": hex::encode(record.encode()),
            "error": error,
        }));
    }

    pub fn refuse_body(&mut self, name: &str, body: RecordBody) {
        let record = self.record(body);
        self.refuse(name, &record);
    }

    pub fn start(
        &self,
        kind: TransactionKind,
        nonce: u64,
        amount: u64,
        target: Hash,
    ) -> Transaction {
        Transaction {
            nonce,
            valid_until: self.now + HOUR,
            ..draft(kind, self.chain_id, amount, target)
        }
    }

    /// A wallet's next transaction.
    pub fn sign(
        &self,
        secret: &[u8; 32],
        kind: TransactionKind,
        amount: u64,
        target: Hash,
        payload: Vec<u8>,
    ) -> SignedTransaction {
        let nonce = self.state.account(AccountId::Wallet(address(secret))).nonce;
        by_wallet(self.start(kind, nonce, amount, target), payload, secret)
    }

    /// Records a wallet's next transaction; its id.
    pub fn transact(
        &mut self,
        name: &str,
        secret: &[u8; 32],
        kind: TransactionKind,
        amount: u64,
        target: Hash,
        payload: Vec<u8>,
    ) -> Hash {
        let signed = self.sign(secret, kind, amount, target, payload);
        let id = signed.transaction.id();
        self.append(name, RecordBody::Transaction(signed));
        id
    }

    pub fn lock(
        &mut self,
        name: &str,
        secret: &[u8; 32],
        amount: u64,
        terms: &LockTerms,
    ) -> (Hash, u64) {
        let target = counting(self.job);
        let id = self.transact(
            name,
            secret,
            TransactionKind::Lock,
            amount,
            target,
            terms.encode(),
        );
        (id, amount)
    }

    pub fn agent_lock(&mut self, name: &str, nonce: u64, amount: u64) -> (Hash, u64) {
        let start = self.start(TransactionKind::Lock, nonce, amount, counting(self.job));
        let signed = by_agent(start, terms(self.now + DAY, 3_600_000).encode(), &ALICE);
        let id = signed.transaction.id();
        self.append(name, RecordBody::Transaction(signed));
        (id, amount)
    }

    pub fn next_seal(&self) -> Seal {
        let issuance = self.state.account(AccountId::Issuance);
        let position = self.state.position();
        Seal {
            height: position.height,
            first: position.first_unsealed,
            count: u32::try_from(position.next - position.first_unsealed).expect("few records"),
            state_root: self.state_root(),
            minted: issuance.debits_posted,
            burned: issuance.credits_posted,
        }
    }

    pub fn state_root(&self) -> Hash {
        let entries: Vec<_> = self
            .state
            .entries()
            .map(|(key, entry)| (key.tree_key(), entry.encode()))
            .collect();
        state_root(&entries, 0)
    }

    pub fn seal(&mut self) {
        let seal = self.next_seal();
        let index = self.leaves.len();
        self.append("seal", RecordBody::Seal(seal));
        self.seals.push(json!({
            "index": index,
            "state_root": hex::encode(self.state_root()),
            "size": self.leaves.len(),
            "log_root": hex::encode(log_root(&self.leaves)),
        }));
    }

    pub fn work(&self, rate: u64, ms: u64) -> Work {
        Work {
            job_ref: counting(self.job),
            attempt: 1,
            outcome: Outcome::Complete,
            miner: identity(&MINER).public(),
            payee: address(&CAROL),
            evidence_id: counting(0x60),
            gpu: sha256(b"NVIDIA GeForce RTX 4090"),
            rate,
            observed_ms: ms + 12,
            work_ms: ms + 7,
            billed_ms: ms,
        }
    }

    pub fn pay(&mut self, name: &str, work: &Work, locks: &[(Hash, u64)]) {
        for post in posts(work, locks, 250) {
            self.append(name, RecordBody::Post(post));
        }
    }
}
