//! The state that a log of records comes to, and the one step that a record makes.

use std::collections::{BTreeMap, BTreeSet};

use super::broken::BrokenRules;
use super::entry::{Account, AccountId, Allowance, Entry, OpenLock, StateKey};
use super::position::{ChainRules, Position};
use super::settlement::Settling;
use super::totals::Totals;
use super::violation::Violation;
use crate::address::Address;
use crate::hash::Hash;
use crate::identity::PublicKey;
use crate::layouts::{
    ExpireReason, InvalidTransaction, MintReason, Post, Record, RecordBody, Seal, Transaction,
    TransactionKind, target_address,
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
    broken: BrokenRules,
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
                reason: ExpireReason::Unstaked,
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
                }
                keys
            }
            RecordBody::Mint { account: to, .. } => vec![
                account(AccountId::Issuance),
                account(AccountId::Wallet(*to)),
            ],
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
        TransactionKind::Stake | TransactionKind::Unstake => {
            keys.extend([
                account(AccountId::Stake(target)),
                StateKey::Staker(target),
                StateKey::Unstaking(transaction.id()),
            ]);
        }
        TransactionKind::Bind => keys.push(StateKey::Binding(target)),
        TransactionKind::Allow => keys.push(StateKey::Allowance(transaction.account, target)),
    }
    keys
}

/// A record half carried out: it sees its own changes, and nothing else does.
pub(super) struct Draft<'a> {
    state: &'a State,
    changes: BTreeMap<StateKey, Option<Entry>>,
}

impl Draft<'_> {
    pub fn broken(&self) -> BrokenRules {
        self.state.broken
    }

    pub fn get(&self, key: &StateKey) -> Option<&Entry> {
        match self.changes.get(key) {
            Some(changed) => changed.as_ref(),
            None => self.state.get(key),
        }
    }

    pub fn put(&mut self, key: StateKey, entry: Entry) {
        self.changes.insert(key, Some(entry));
    }

    pub fn remove(&mut self, key: StateKey) {
        self.changes.insert(key, None);
    }

    pub fn account(&self, id: AccountId) -> Account {
        match self.get(&StateKey::Account(id)) {
            Some(Entry::Account(account)) => *account,
            _ => Account::default(),
        }
    }

    /// Changes an account; the change says `None` where a counter would overflow or fall below zero.
    pub fn change(
        &mut self,
        id: AccountId,
        change: impl FnOnce(&mut Account) -> Option<()>,
    ) -> Result<(), Violation> {
        let mut account = self.account(id);
        change(&mut account).ok_or(Violation::Overflow)?;
        self.put(StateKey::Account(id), Entry::Account(account));
        Ok(())
    }

    /// Moves posted money; whether `from` has it was checked.
    pub fn transfer(
        &mut self,
        from: AccountId,
        to: AccountId,
        amount: u64,
    ) -> Result<(), Violation> {
        self.change(from, |account| add(&mut account.debits_posted, amount))?;
        self.change(to, |account| add(&mut account.credits_posted, amount))
    }

    pub fn require_funds(&self, id: AccountId, amount: u64) -> Result<(), Violation> {
        let available = self.account(id).available();
        if available < u128::from(amount) {
            return Err(Violation::Funds {
                available,
                asked: amount.into(),
            });
        }
        Ok(())
    }

    pub fn allowance(&self, account: Address, identity: PublicKey) -> Option<Allowance> {
        match self.get(&StateKey::Allowance(account, identity)) {
            Some(Entry::Allowance(allowance)) => Some(*allowance),
            _ => None,
        }
    }

    fn carry_out(
        &mut self,
        record: &Record,
        position: &mut Position,
        verified: bool,
    ) -> Result<(), Violation> {
        let rules = position.chain()?.clone();
        match &record.body {
            RecordBody::Genesis(_) | RecordBody::Receipt(_) => Ok(()),
            RecordBody::Transaction(signed) => {
                if !verified {
                    signed.verify(&rules.chain_id)?;
                }
                self.transaction(signed, record, &rules.chain_id)
            }
            RecordBody::Post(post) => self.post(post, position, &rules),
            RecordBody::Void { lock, .. } => self.return_lock(*lock, 0),
            RecordBody::Expire {
                lock,
                reason: ExpireReason::Lock,
            } => {
                let open = self.open_lock(*lock)?;
                if record.time_ms < open.expires_at {
                    return Err(Violation::TooEarly(open.expires_at));
                }
                self.return_lock(*lock, 0)
            }
            RecordBody::Expire {
                lock,
                reason: ExpireReason::Unstaked,
            } => self.unstaked(*lock, record.time_ms),
            RecordBody::Mint {
                account,
                amount,
                reason,
            } => self.mint(*account, *amount, *reason, position, &rules),
            RecordBody::Acknowledgement(acknowledgement, signature) => {
                let ours = acknowledgement.chain_id == rules.chain_id;
                if !ours {
                    return Err(InvalidTransaction::Chain.into());
                }
                if !verified && !acknowledgement.verify(signature) {
                    return Err(InvalidTransaction::Signature.into());
                }
                Ok(())
            }
            RecordBody::Seal(seal) => self.seal(seal),
        }?;
        let waiting = position.is_allocating();
        if waiting
            && !matches!(
                record.body,
                RecordBody::Genesis(_)
                    | RecordBody::Mint {
                        reason: MintReason::Genesis,
                        ..
                    }
            )
        {
            return Err(Violation::Misplaced(
                "the genesis file gives out more before this record",
            ));
        }
        Ok(())
    }

    fn open_lock(&self, id: Hash) -> Result<OpenLock, Violation> {
        match self.get(&StateKey::Lock(id)) {
            Some(Entry::Lock(lock)) => Ok(lock.clone()),
            _ => Err(Violation::NoLock),
        }
    }

    /// Resolves a lock of which `posted` was paid: the rest is the payer's again.
    fn return_lock(&mut self, id: Hash, posted: u64) -> Result<(), Violation> {
        let lock = self.open_lock(id)?;
        let rest = lock.amount - posted;
        let kept = u64::from(self.broken().short_remainder && posted > 0 && rest > 0);
        self.remove(StateKey::Lock(id));
        self.change(AccountId::Wallet(lock.payer), |account| {
            sub(&mut account.debits_pending, lock.amount - kept)
        })?;
        self.change(AccountId::Settlement, |account| {
            sub(&mut account.credits_pending, lock.amount)
        })?;
        if let Some(allowance) = self
            .allowance(lock.payer, lock.signer)
            .filter(|a| a.seq == lock.allowance_seq)
        {
            let used = allowance.used.saturating_sub(rest);
            self.put(
                StateKey::Allowance(lock.payer, lock.signer),
                Entry::Allowance(Allowance { used, ..allowance }),
            );
        }
        Ok(())
    }

    fn post(
        &mut self,
        post: &Post,
        position: &mut Position,
        rules: &ChainRules,
    ) -> Result<(), Violation> {
        let lock = self.open_lock(post.lock)?;
        position.settling = Some(Settling::follow(
            position.settling.as_ref(),
            post,
            &lock,
            rules,
        )?);
        self.return_lock(post.lock, post.posted)?;
        self.transfer(
            AccountId::Wallet(lock.payer),
            AccountId::Settlement,
            post.posted,
        )?;
        self.transfer(
            AccountId::Settlement,
            AccountId::Wallet(post.payee),
            post.posted - post.fee,
        )?;
        self.transfer(AccountId::Settlement, AccountId::Fees, post.fee)
    }

    fn unstaked(&mut self, id: Hash, now: u64) -> Result<(), Violation> {
        let Some(Entry::Unstaking(unstaking)) = self.get(&StateKey::Unstaking(id)).cloned() else {
            return Err(Violation::NoLock);
        };
        if now < unstaking.matures_at {
            return Err(Violation::TooEarly(unstaking.matures_at));
        }
        let stake = AccountId::Stake(unstaking.miner);
        self.remove(StateKey::Unstaking(id));
        self.change(stake, |account| {
            sub(&mut account.debits_pending, unstaking.amount)
        })?;
        self.transfer(
            stake,
            AccountId::Wallet(unstaking.account),
            unstaking.amount,
        )?;
        if self.account(stake).balance() == 0 {
            self.remove(StateKey::Staker(unstaking.miner));
        }
        Ok(())
    }

    fn mint(
        &mut self,
        to: Address,
        amount: u64,
        reason: MintReason,
        position: &mut Position,
        rules: &ChainRules,
    ) -> Result<(), Violation> {
        match reason {
            MintReason::Genesis => {
                let next = position.allocations.get(position.allocated);
                if next != Some(&(to, amount)) {
                    return Err(Violation::Mint(
                        "the genesis file does not give this out next",
                    ));
                }
                position.allocated += 1;
            }
            MintReason::Faucet => {
                let minted = self.account(AccountId::Issuance).debits_posted;
                let all = minted.saturating_add(amount.into());
                if amount == 0 || all > u128::from(rules.allocated) + u128::from(rules.faucet_total)
                {
                    return Err(Violation::Mint("the faucet has given out all it may"));
                }
            }
        }
        self.transfer(AccountId::Issuance, AccountId::Wallet(to), amount)
    }

    fn seal(&self, seal: &Seal) -> Result<(), Violation> {
        let issuance = self.account(AccountId::Issuance);
        for (field, expected, given) in [
            ("the seal's minted", issuance.debits_posted, seal.minted),
            ("the seal's burned", issuance.credits_posted, seal.burned),
        ] {
            if expected != given {
                return Err(Violation::Computed {
                    field,
                    expected,
                    given,
                });
            }
        }
        Ok(())
    }
}

pub(super) fn add(counter: &mut u128, amount: u64) -> Option<()> {
    *counter = counter.checked_add(amount.into())?;
    Some(())
}

pub(super) fn sub(counter: &mut u128, amount: u64) -> Option<()> {
    *counter = counter.checked_sub(amount.into())?;
    Some(())
}
