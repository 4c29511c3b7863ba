//! Histories made of numbers: each step makes records, some of which break a rule.

use std::collections::BTreeSet;

use super::super::broken::BrokenRules;
use super::super::entry::{Account, Allowance, Binding, OpenLock};
use super::super::settlement::{BEAT_MS, LEAST_RENTAL_MS, Work, posts, rental_post};
use super::*;
use crate::layouts::{
    AllowTerms, BindConsent, ExpireReason, LockPurpose, LockTerms, Outcome, Post, ReceiptEntry,
    Seal, SignedTransaction, VoidReason,
};

/// Numbers that choose what happens.
pub type Step = [u16; 6];

pub const FAUCET: u64 = 1_000_000;
pub const ALLOCATED: u64 = 3_000_000;

/// A state that holds nothing but what the next record touches; the rest is in a store, as bytes.
struct Lazy {
    state: State,
    store: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Lazy {
    fn apply(&mut self, record: &Record) -> Result<(), Violation> {
        self.state.forget(0);
        loop {
            let missing = self.state.missing(&record.body);
            if missing.is_empty() {
                break;
            }
            for key in missing {
                let stored = self.store.get(&key.bytes());
                let entry = stored.map(|bytes| Entry::decode(&key, bytes).unwrap());
                self.state.load(key, entry);
            }
        }
        let result = self.state.apply(record, true);
        for key in self.state.take_changed() {
            match self.state.get(&key) {
                Some(entry) => self.store.insert(key.bytes(), entry.encode()),
                None => self.store.remove(&key.bytes()),
            };
        }
        result
    }
}

/// A ledger under way.
pub struct World {
    pub state: State,
    lazy: Lazy,
    pub chain_id: Hash,
    now: u64,
    pub wallets: Vec<Address>,
    pub identities: Vec<Identity>,
    /// Locks and unstakings that are not resolved, in the order of the log.
    pub open: Vec<Hash>,
    resolved: BTreeSet<Hash>,
    pub signed: BTreeMap<Address, u64>,
    /// The newest transactions that were recorded.
    recent: Vec<SignedTransaction>,
    pub records: Vec<Record>,
    pub refused: usize,
    /// Micro-AIT of all slashes.
    pub burned: u128,
    /// Attempts that were slashed.
    pub slashed: BTreeSet<(PublicKey, Hash, u16)>,
    /// Unstakings that a slash came before.
    pub lost: BTreeSet<Hash>,
    /// Accepted records by type and kind of transaction.
    pub accepted: BTreeMap<(u8, u8), usize>,
    /// Whether everything is compared after each record.
    thorough: bool,
}

impl World {
    pub fn new(thorough: bool) -> Self {
        let wallets: Vec<Address> = ["alice", "bob", "carol", "payee"].map(address).into();
        let allocations: BTreeMap<Address, u64> = wallets[..3]
            .iter()
            .map(|wallet| (*wallet, ALLOCATED / 3))
            .collect();
        let file = genesis(allocations.clone()).to_bytes();
        let mut world = Self {
            state: State::default(),
            lazy: Lazy {
                state: State::default(),
                store: BTreeMap::new(),
            },
            chain_id: crate::genesis::chain_id(&file),
            now: BEGIN,
            wallets,
            identities: ["agent", "rig", "rack"].map(identity).into(),
            open: Vec::new(),
            resolved: BTreeSet::new(),
            signed: BTreeMap::new(),
            recent: Vec::new(),
            records: Vec::new(),
            refused: 0,
            burned: 0,
            slashed: BTreeSet::new(),
            lost: BTreeSet::new(),
            accepted: BTreeMap::new(),
            thorough,
        };
        assert!(world.append(RecordBody::Genesis(file)));
        for (account, amount) in allocations {
            let reason = MintReason::Genesis;
            assert!(world.append(RecordBody::Mint {
                account,
                amount,
                reason
            }));
        }
        world
    }

    pub fn break_rules(&mut self, broken: BrokenRules) {
        self.state.break_rules(broken);
        self.lazy.state.break_rules(broken);
    }

    /// Whether the next record was accepted.
    pub fn append(&mut self, body: RecordBody) -> bool {
        let index = self.state.position().next;
        self.record(Record {
            index,
            time_ms: self.now,
            body,
        })
    }

    fn record(&mut self, record: Record) -> bool {
        let before = self.thorough.then(|| snapshot(&self.state));
        let accounts = self.accounts();
        let lock = self.lock_of(&record.body);
        let stake = match &record.body {
            RecordBody::Slash(slash) => self.state.account(AccountId::Stake(slash.evidence.miner)),
            _ => Account::default(),
        };
        let result = self.state.apply(&record, true);
        assert_eq!(self.lazy.apply(&record), result, "{record:?}");
        if let Some(before) = before {
            let after = snapshot(&self.state);
            assert_eq!(self.lazy.store, after.0, "{record:?}");
            assert_eq!(self.lazy.state.position(), &after.1, "{record:?}");
            assert_eq!(Record::decode(&record.encode()).as_ref(), Ok(&record));
            if result.is_err() {
                assert_eq!(after, before, "{record:?} left a trace");
            }
        }
        if result.is_err() {
            self.refused += 1;
            return false;
        }
        let bytes = record.encode();
        let kind = if bytes[1] == 2 { bytes[19] } else { 0 };
        *self.accepted.entry((bytes[1], kind)).or_default() += 1;
        self.note(&record.body);
        self.check_balances(&accounts, &record, lock.as_ref());
        if let RecordBody::Slash(slash) = &record.body {
            self.check_slash(&stake, slash);
        }
        if self.thorough {
            self.check_state();
            self.records.push(record);
        }
        true
    }

    pub fn accounts(&self) -> Vec<Account> {
        let wallets = self.wallets.iter().copied().map(AccountId::Wallet);
        let ids = wallets.chain([AccountId::Fees, AccountId::Settlement]);
        ids.map(|id| self.state.account(id)).collect()
    }

    fn lock_of(&self, body: &RecordBody) -> Option<OpenLock> {
        let (RecordBody::Post(Post { lock, .. })
        | RecordBody::Void { lock, .. }
        | RecordBody::Expire { lock, .. }) = body
        else {
            return None;
        };
        match self.state.get(&StateKey::Lock(*lock)) {
            Some(Entry::Lock(lock)) => Some(lock.clone()),
            _ => None,
        }
    }

    /// What is resolved was open and never opens again; a transaction is recorded once.
    fn note(&mut self, body: &RecordBody) {
        match body {
            RecordBody::Transaction(signed) => {
                let id = signed.transaction.id();
                if matches!(
                    signed.transaction.kind,
                    TransactionKind::Lock | TransactionKind::Unstake
                ) {
                    assert!(!self.resolved.contains(&id) && !self.open.contains(&id));
                    self.open.push(id);
                }
                if signed.transaction.sign_mode == SignMode::Wallet {
                    *self.signed.entry(signed.transaction.account).or_default() += 1;
                }
                if self.recent.len() > 32 {
                    self.recent.remove(0);
                }
                self.recent.push(signed.clone());
            }
            // A rental's lock pays and stays open.
            RecordBody::Post(Post {
                outcome: Outcome::Rental,
                ..
            }) => {}
            RecordBody::Post(Post { lock, .. })
            | RecordBody::Void { lock, .. }
            | RecordBody::Expire { lock, .. } => {
                let at = self.open.iter().position(|id| id == lock);
                self.open.remove(at.expect("only what is open is resolved"));
                assert!(self.resolved.insert(*lock), "resolved twice");
            }
            _ => {}
        }
    }

    /// Makes the records of a step.
    pub fn step(&mut self, step: Step) {
        let [what, a, b, c, d, e] = step;
        self.now += match d % 16 {
            0 => 8 * 24 * HOUR,
            1 => u64::from(e) * 100,
            _ => 1,
        };
        match what % 16 {
            kind @ 0..=7 => self.transact(kind, step),
            8 => self.pay(step),
            9 => self.rent(step),
            10 if b % 2 == 0 => self.blame(step),
            13 if b % 2 == 0 => self.slash(step),
            10 => {
                let (lock, reason) = (self.pick(a), VoidReason::Failed);
                let _ = self.append(RecordBody::Void { lock, reason });
            }
            11 | 12 => {
                let lock = self.pick(a);
                let reason = match c % 4 {
                    0 | 2 => ExpireReason::Lock,
                    1 if self.lost.contains(&lock) => ExpireReason::Forfeited,
                    1 => ExpireReason::Unstaked,
                    _ => [ExpireReason::Unstaked, ExpireReason::Forfeited][usize::from(b % 2)],
                };
                let _ = self.append(RecordBody::Expire { lock, reason });
            }
            13 => {
                let reason = [MintReason::Faucet, MintReason::Genesis][usize::from(c % 16 == 0)];
                let (account, amount) = (self.wallet(a), u64::from(b % 64));
                let _ = self.append(RecordBody::Mint {
                    account,
                    amount,
                    reason,
                });
            }
            14 => self.seal(c),
            _ => self.again(step),
        }
    }

    fn wallet(&self, number: u16) -> Address {
        self.wallets[usize::from(number) % self.wallets.len()]
    }

    /// An open lock or unstaking, or now and then one that never was.
    pub fn pick(&self, number: u16) -> Hash {
        match usize::from(number) % (self.open.len() + 1) {
            0 => self.resolved.first().copied().unwrap_or([0xee; 32]),
            place => self.open[place - 1],
        }
    }

    fn staker(&self, miner: PublicKey) -> Option<Address> {
        match self.state.get(&StateKey::Staker(miner)) {
            Some(Entry::Staker(staker)) => Some(*staker),
            _ => None,
        }
    }

    fn transact(&mut self, what: u16, [_, a, b, c, d, e]: Step) {
        let kind = kind_of(what);
        let identity = &self.identities[usize::from(b) % self.identities.len()];
        let key = identity.public();
        let binding = self.binding(key);
        let account = match kind {
            TransactionKind::Stake if c % 4 > 0 => binding.account,
            TransactionKind::Unstake if c % 4 > 0 => self.staker(key).unwrap_or(self.wallet(a)),
            _ => self.wallet(a),
        };
        let wallet = self.state.account(AccountId::Wallet(account));
        let allowance = match self.state.get(&StateKey::Allowance(account, key)) {
            Some(Entry::Allowance(allowance)) => *allowance,
            _ => Allowance::default(),
        };
        let staked = self.state.account(AccountId::Stake(key)).available();
        let amount = match d % 8 {
            0 => 0,
            1..4 if kind == TransactionKind::Unstake => u64::try_from(staked).unwrap(),
            1 => u64::try_from(wallet.available()).unwrap(),
            2 => u64::try_from(wallet.available()).unwrap() + 1,
            _ => 900 + u64::from(c),
        };
        let by_identity = what == 3;
        let rises = u32::from(c % 4);
        let (target, payload) = match kind {
            TransactionKind::Transfer => (address_target(self.wallet(b)), Vec::new()),
            TransactionKind::Lock => (reference(["x", "y"][usize::from(e % 2)]), self.terms(e)),
            TransactionKind::Stake | TransactionKind::Unstake => (key.0, Vec::new()),
            TransactionKind::Bind => {
                let mut consent = BindConsent::sign(
                    &self.chain_id,
                    account,
                    identity,
                    binding.seq + rises,
                    self.now + 1,
                );
                if e % 3 == 0 {
                    consent.consent = [0; 64];
                }
                (key.0, consent.encode())
            }
            TransactionKind::Allow => {
                let expires_at = self.now + 1_000 * u64::from(e);
                let seq = allowance.seq + rises;
                (key.0, AllowTerms { expires_at, seq }.encode())
            }
        };
        let (sign_mode, counted) = match by_identity {
            true => (SignMode::Identity, allowance.nonce),
            false => (SignMode::Wallet, wallet.nonce),
        };
        let mut transaction = Transaction {
            sign_mode,
            account,
            nonce: counted + u64::from(d % 32 == 31),
            valid_until: self.now + [1, 25][usize::from(d % 32 == 30)] * HOUR,
            amount: amount * u64::from(kind != TransactionKind::Bind),
            target,
            ..blank(kind, self.chain_id, 0)
        };
        transaction.public_key[1..].copy_from_slice(&key.0);
        let _ = self.append(RecordBody::Transaction(SignedTransaction {
            transaction,
            signature: [0; 64],
            payload,
        }));
    }

    pub fn binding(&self, identity: PublicKey) -> Binding {
        match self.state.get(&StateKey::Binding(identity)) {
            Some(Entry::Binding(binding)) => *binding,
            _ => Binding::default(),
        }
    }

    fn terms(&self, e: u16) -> Vec<u8> {
        LockTerms {
            purpose: [LockPurpose::Job, LockPurpose::Rental][usize::from(e % 4 == 3)],
            expires_at: self.now + u64::from(e) * 1_000,
            max_rate: u64::from(e) * 8,
            max_fee_bps: if e % 16 == 15 { 249 } else { 250 },
            miner_key: PublicKey::default(),
        }
        .encode()
    }

    /// Pays up to three locks of a job, in order or not.
    fn pay(&mut self, [_, a, b, c, d, e]: Step) {
        let target = reference(["x", "y"][usize::from(a % 2)]);
        let locks: Vec<(Hash, u64)> = self
            .open
            .iter()
            .filter_map(|id| match self.state.get(&StateKey::Lock(*id)) {
                Some(Entry::Lock(lock)) if lock.target == target => Some((*id, lock.amount)),
                _ => None,
            })
            .take(3)
            .collect();
        let ms = u64::from(b) * 100;
        let work = Work {
            job_ref: target,
            attempt: 1,
            outcome: Outcome::Complete,
            miner: self.identities[1].public(),
            payee: self.wallet(c),
            evidence_id: [7; 32],
            gpu: [0; 32],
            rate: u64::from(e),
            observed_ms: ms,
            work_ms: ms + u64::from(d % 8),
            billed_ms: ms,
        };
        for mut post in posts(&work, &locks, 250) {
            if d % 16 == 15 {
                post.posted += 1;
            }
            if d % 16 == 14 {
                post.fee += 1;
            }
            let _ = self.append(RecordBody::Post(post));
        }
    }

    /// Pays for a time of a rental, or of a job that is none.
    fn rent(&mut self, [_, a, b, c, d, e]: Step) {
        let lock = self.pick(a);
        let Some(Entry::Lock(open)) = self.state.get(&StateKey::Lock(lock)).cloned() else {
            return;
        };
        let counted = u64::from(b) * BEAT_MS;
        let least = u64::from(d % 8 == 7) * LEAST_RENTAL_MS;
        let work = Work {
            job_ref: open.target,
            attempt: open.newest.wrapping_add(1 + u16::from(d % 16 == 13)),
            outcome: [Outcome::Rental, Outcome::RentalEnd][usize::from(c % 3 == 0)],
            miner: self.identities[1].public(),
            payee: self.wallet(c),
            evidence_id: [0; 32],
            gpu: [9; 32],
            rate: u64::from(e),
            observed_ms: counted + u64::from(d % 32),
            work_ms: counted,
            billed_ms: counted.max(least),
        };
        let mut post = rental_post(&work, lock, open.amount, 250);
        if d % 16 == 15 {
            post.posted += 1;
        }
        let _ = self.append(RecordBody::Post(post));
    }

    fn seal(&mut self, c: u16) {
        let position = self.state.position();
        let issuance = self.state.account(AccountId::Issuance);
        let seal = Seal {
            height: position.height,
            first: position.first_unsealed,
            count: (position.next - position.first_unsealed)
                .try_into()
                .unwrap(),
            state_root: [0; 32],
            minted: issuance.debits_posted + u128::from(c % 8 == 7),
            burned: issuance.credits_posted,
        };
        let _ = self.append(RecordBody::Seal(seal));
    }

    /// A transaction that was recorded before, a record out of its place, or one that moves nothing.
    fn again(&mut self, [_, a, b, c, ..]: Step) {
        let receipt = RecordBody::Receipt(ReceiptEntry {
            job_ref: [1; 32],
            attempt: a,
            miner: self.identities[1].public(),
            receipt_id: [2; 32],
        });
        let old = self.recent.get(usize::from(b) % 33).cloned();
        match (c % 4, old) {
            (0, _) => assert!(self.append(receipt)),
            (1, _) => {
                let (index, time_ms) = (self.state.position().next, self.now - 1 - u64::from(b));
                let record = Record {
                    index: index + u64::from(a % 2),
                    time_ms: if a % 2 == 0 { time_ms } else { self.now },
                    body: receipt,
                };
                let late = self.state.position().time_ms > time_ms;
                assert!(!self.record(record) || (a % 2 == 0 && !late));
            }
            (_, Some(signed)) => {
                let again = self.append(RecordBody::Transaction(signed));
                assert!(!again, "a transaction was recorded twice");
            }
            (_, None) => {}
        }
    }
}

fn kind_of(what: u16) -> TransactionKind {
    match what {
        0 => TransactionKind::Transfer,
        1..=3 => TransactionKind::Lock,
        4 => TransactionKind::Stake,
        5 => TransactionKind::Unstake,
        6 => TransactionKind::Bind,
        _ => TransactionKind::Allow,
    }
}
