//! The state that a log of records comes to, and the one step that a record makes.

use std::collections::{BTreeMap, BTreeSet};

use super::broken::BrokenRules;
use super::draft::Draft;
use super::entry::{Account, AccountId, Entry, StateKey};
use super::position::Position;
use super::totals::Totals;
use super::violation::Violation;
use crate::hash::Hash;
use crate::identity::PublicKey;
use crate::layouts::{
    ExpireReason, FaultReason, Record, RecordBody, Transaction, TransactionKind, target_address,
};

/// Balances, locks, stakes, bindings and allowances. It may hold only the entries that were loaded: whoever keeps them in a
/// store loads what [`State::missing`] names before each [`State::apply`].
#[derive(Debug, Clone, Default)]
pub struct State {
    /// `None` = known to be absent.
    entries: BTreeMap<StateKey, Option<Entry>>,
    changed: BTreeSet<StateKey>,
    position: Position,
    totals: Totals,
    pub(super) broken: BrokenRules,
}

impl State {
    /// A state whose entries are somewhere else, with these totals, where the log stands at `position`.
    #[must_use]
    pub fn resumed(position: Position, totals: Totals) -> Self {
        Self {
            position,
            totals,
            ..Self::default()
        }
    }

    /// Test-only.
    pub fn break_rules(&mut self, broken: BrokenRules) {
        self.broken = broken;
    }

    /// Where the log stands.
    #[must_use]
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// Sums over all entries, loaded or not.
    #[must_use]
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Entries that `body` touches and that are not loaded. What is loaded may bring up more: ask again until there is none.
    #[must_use]
    pub fn missing(&self, body: &RecordBody) -> Vec<StateKey> {
        let mut keys = self.touched(body);
        keys.retain(|key| !self.entries.contains_key(key));
        keys
    }

    /// Takes what a store holds for a key.
    pub fn load(&mut self, key: StateKey, entry: Option<Entry>) {
        self.entries.entry(key).or_insert(entry);
    }

    /// An entry that is loaded.
    #[must_use]
    pub fn get(&self, key: &StateKey) -> Option<&Entry> {
        self.entries.get(key)?.as_ref()
    }

    /// An account that is loaded; empty where there is none.
    #[must_use]
    pub fn account(&self, id: AccountId) -> Account {
        match self.get(&StateKey::Account(id)) {
            Some(Entry::Account(account)) => *account,
            _ => Account::default(),
        }
    }

    /// All entries that are loaded and not absent.
    pub fn entries(&self) -> impl Iterator<Item = (&StateKey, &Entry)> {
        self.entries
            .iter()
            .filter_map(|(key, entry)| Some((key, entry.as_ref()?)))
    }

    /// Keys that changed since this was last asked.
    pub fn take_changed(&mut self) -> BTreeSet<StateKey> {
        std::mem::take(&mut self.changed)
    }

    /// Forgets entries, down to about `keep`; only for a state whose changes were stored.
    pub fn forget(&mut self, keep: usize) {
        if self.entries.len() > 2 * keep {
            self.entries.clear();
        }
    }

    /// Carries out a record. On an error nothing has changed.
    ///
    /// # Errors
    /// The rule that it breaks. Signatures and chain of a transaction are checked too, unless `verified` says that they were.
    pub fn apply(&mut self, record: &Record, verified: bool) -> Result<(), Violation> {
        let mut position = self.position.follow(record)?;
        let mut draft = Draft {
            state: self,
            changes: BTreeMap::new(),
        };
        draft.carry_out(record, &mut position, verified)?;
        let changes = draft.changes;
        self.position = position;
        for (key, entry) in changes {
            let entry = entry.filter(|entry| !entry.is_empty());
            if let Some(entry) = &entry {
                self.totals.add(&key, entry);
            }
            if let Some(Some(before)) = self.entries.insert(key, entry) {
                self.totals.remove(&key, &before);
            }
            self.changed.insert(key);
        }
        Ok(())
    }

    fn touched(&self, body: &RecordBody) -> Vec<StateKey> {
        let account = StateKey::Account;
        match body {
            RecordBody::Transaction(signed) => touched_by_transaction(&signed.transaction),
            RecordBody::Post(post) => {
                let mut keys = self.touched_by_lock(post.lock);
                keys.extend([AccountId::Wallet(post.payee), AccountId::Fees].map(account));
                keys
            }
            RecordBody::Void { lock, .. }
            | RecordBody::Expire {
                lock,
                reason: ExpireReason::Lock,
            } => self.touched_by_lock(*lock),
            RecordBody::Expire {
                lock,
                reason: ExpireReason::Unstaked | ExpireReason::Forfeited,
            } => {
                let mut keys = vec![StateKey::Unstaking(*lock)];
                if let Some(Entry::Unstaking(unstaking)) = self.get(&keys[0]) {
                    keys.extend(
                        [
                            AccountId::Stake(unstaking.miner),
                            AccountId::Wallet(unstaking.account),
                        ]
                        .map(account),
                    );
                    keys.push(StateKey::Staker(unstaking.miner));
                    keys.push(StateKey::Forfeit(unstaking.miner));
                }
                keys
            }
            RecordBody::Fault(fault) if fault.reason == FaultReason::Wrong => {
                vec![StateKey::FoundWrong(fault.job_ref)]
            }
            RecordBody::Fault(fault) => vec![StateKey::Lock(fault.lock)],
            RecordBody::AuditCommit { day, .. } | RecordBody::AuditReveal { day, .. } => {
                vec![StateKey::AuditSeed(*day)]
            }
            RecordBody::Mint { account: to, .. } => vec![
                account(AccountId::Issuance),
                account(AccountId::Wallet(*to)),
            ],
            RecordBody::Slash(slash) => {
                let miner = slash.evidence.miner;
                let (_, job_ref, attempt) = slash.evidence.subject();
                vec![
                    account(AccountId::Issuance),
                    account(AccountId::Stake(miner)),
                    StateKey::Staker(miner),
                    StateKey::Forfeit(miner),
                    StateKey::Slashed(miner, job_ref, attempt),
                ]
            }
            RecordBody::Seal(_) => vec![account(AccountId::Issuance)],
            RecordBody::Genesis(_) | RecordBody::Receipt(_) | RecordBody::Acknowledgement(..) => {
                Vec::new()
            }
        }
    }

    fn touched_by_lock(&self, lock: Hash) -> Vec<StateKey> {
        let mut keys = vec![
            StateKey::Lock(lock),
            StateKey::Account(AccountId::Settlement),
        ];
        if let Some(Entry::Lock(open)) = self.get(&keys[0]) {
            keys.push(StateKey::Account(AccountId::Wallet(open.payer)));
            if open.signer.0 != [0; 32] {
                keys.push(StateKey::Allowance(open.payer, open.signer));
            }
        }
        keys
    }
}

fn touched_by_transaction(transaction: &Transaction) -> Vec<StateKey> {
    let account = StateKey::Account;
    let target = PublicKey(transaction.target);
    let mut keys = vec![account(AccountId::Wallet(transaction.account))];
    match transaction.kind {
        TransactionKind::Transfer => {
            keys.extend(
                target_address(&transaction.target).map(|to| account(AccountId::Wallet(to))),
            );
        }
        TransactionKind::Lock => {
            keys.extend([
                account(AccountId::Settlement),
                StateKey::Lock(transaction.id()),
            ]);
            keys.extend(
                transaction
                    .signing_identity()
                    .map(|key| StateKey::Allowance(transaction.account, key)),
            );
        }
        TransactionKind::Stake => keys.extend([
            account(AccountId::Stake(target)),
            StateKey::Staker(target),
            StateKey::Binding(target),
        ]),
        TransactionKind::Unstake => keys.extend([
            account(AccountId::Stake(target)),
            StateKey::Staker(target),
            StateKey::Forfeit(target),
            StateKey::Unstaking(transaction.id()),
        ]),
        TransactionKind::Bind => keys.push(StateKey::Binding(target)),
        TransactionKind::Allow => keys.push(StateKey::Allowance(transaction.account, target)),
    }
    keys
}
