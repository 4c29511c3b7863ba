//! One batch in the making: records, the rows they change, and what is to be told.

use std::collections::{BTreeMap, BTreeSet};

use aitbc_common::address::Address;
use aitbc_common::hash::Hash;
use aitbc_common::layouts::{
    ExpireReason, MintReason, Outcome, Record, RecordBody, TransactionKind, VoidReason,
};
use aitbc_common::ledger::entry::{AccountId, Entry, StateKey};
use aitbc_common::ledger::log;
use aitbc_common::ledger::violation::Violation;
use bytes::Bytes;
use prost::Message;

use super::command::{Command, Effect, Reply};
use super::core::{Expiry, LedgerCore, Output};
use super::rows::{FaucetRow, LedgerRow, TransactionRow, UnsealedRow, stored_record};
use crate::jobs::lifecycle::Millis;
use crate::payments::{Notice, Order, rows as payment_rows};
use crate::store::Reads;
use crate::store::{Batch, Family, StoreError, ledger_keys as keys, rows};

/// A batch in the making.
pub(super) struct Turn {
    pub now: Millis,
    pub batch: Batch,
    pub replies: Vec<Reply>,
    pub effects: Vec<Effect>,
    /// Leaves of this batch.
    pub leaves: Vec<Vec<u8>>,
    /// Keys of the state that changed in this batch.
    pub changed: BTreeSet<StateKey>,
    /// Transactions that are recorded, stored before or in this batch.
    transactions: BTreeMap<Hash, Option<TransactionRow>>,
    /// What addresses had from the faucet.
    faucet: BTreeMap<Address, u64>,
    /// Orders were carried out: that is stored even where they changed nothing, because the jobs forget them then.
    pub heard: bool,
    /// Jobs that this batch pays.
    paid: BTreeSet<Hash>,
    sealed: bool,
}

impl Turn {
    pub fn new(now: Millis) -> Self {
        Self {
            now,
            batch: Batch::new(),
            replies: Vec::new(),
            effects: Vec::new(),
            leaves: Vec::new(),
            changed: BTreeSet::new(),
            transactions: BTreeMap::new(),
            faucet: BTreeMap::new(),
            heard: false,
            paid: BTreeSet::new(),
            sealed: false,
        }
    }

    /// Reads at once what the commands are sure to need.
    pub fn load(
        &mut self,
        core: &mut LedgerCore,
        commands: &[Command],
        reads: &dyn Reads,
    ) -> Result<(), StoreError> {
        let mut bodies = Vec::new();
        let mut transactions = Vec::new();
        for command in commands {
            match command {
                Command::Submit(submission) => {
                    transactions.push(submission.signed.transaction.id());
                    bodies.push(RecordBody::Transaction(submission.signed.clone()));
                }
                Command::Faucet { account, .. } => bodies.push(RecordBody::Mint {
                    account: *account,
                    amount: 0,
                    reason: MintReason::Faucet,
                }),
                Command::Orders { orders, .. } => {
                    let locks = orders.iter().flat_map(|order| match order {
                        Order::Void { lock, .. }
                        | Order::PayRental { lock, .. }
                        | Order::LogFault { lock, .. } => std::slice::from_ref(lock),
                        Order::Settle { locks, .. } => locks,
                        Order::Slash(_) | Order::LogReceipt(_) | Order::LogAcknowledgement(..) => {
                            &[]
                        }
                    });
                    bodies.extend(locks.map(|lock| RecordBody::Void {
                        lock: *lock,
                        reason: VoidReason::Finished,
                    }));
                }
                Command::TrimNotices { .. } | Command::ExpireUntil { .. } | Command::Audit(_) => {}
            }
        }
        self.load_transactions(&transactions, reads)?;
        // What a lock touches is known only once the lock is.
        for _ in 0..2 {
            let missing = bodies.iter().flat_map(|body| core.state.missing(body));
            let missing: BTreeSet<StateKey> = missing.collect();
            load_entries(core, &missing, reads)?;
        }
        Ok(())
    }

    fn load_transactions(&mut self, ids: &[Hash], reads: &dyn Reads) -> Result<(), StoreError> {
        let unknown: Vec<&Hash> = ids
            .iter()
            .filter(|id| !self.transactions.contains_key(*id))
            .collect();
        let names: Vec<_> = unknown.iter().map(|id| keys::transaction(id)).collect();
        let wanted: Vec<_> = names
            .iter()
            .map(|name| (Family::Archive, name.as_slice()))
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        for (id, row) in unknown.into_iter().zip(reads.get_many(&wanted)?) {
            self.transactions
                .insert(*id, row.map(rows::decode).transpose()?);
        }
        Ok(())
    }

    /// Where a transaction is recorded.
    pub fn transaction(
        &mut self,
        id: &Hash,
        reads: &dyn Reads,
    ) -> Result<Option<TransactionRow>, StoreError> {
        self.load_transactions(&[*id], reads)?;
        Ok(self.transactions.get(id).copied().flatten())
    }

    /// Micro-AIT that an address had from the faucet.
    pub fn given(&mut self, account: Address, reads: &dyn Reads) -> Result<u64, StoreError> {
        if let Some(given) = self.faucet.get(&account) {
            return Ok(*given);
        }
        let row = reads
            .get_many(&[(Family::Archive, &keys::faucet(account))])?
            .into_iter()
            .next()
            .flatten();
        let row: FaucetRow = row.map(rows::decode).transpose()?.unwrap_or_default();
        self.faucet.insert(account, row.given);
        Ok(row.given)
    }

    pub fn give(&mut self, account: Address, given: u64) {
        self.faucet.insert(account, given);
        self.batch.put(
            Family::Archive,
            keys::faucet(account),
            FaucetRow { given }.encode_to_vec(),
        );
    }

    /// Whether something paid for this job before, or in this batch.
    pub fn is_paid(&self, job_ref: &Hash, reads: &dyn Reads) -> Result<bool, StoreError> {
        let key = keys::paid(job_ref);
        let stored = reads.get_many(&[(Family::Archive, key.as_slice())])?;
        Ok(self.paid.contains(job_ref) || stored.iter().any(Option::is_some))
    }

    /// Whether nothing paid for this job before, not in this batch either; from now on something does.
    pub fn pays_first(&mut self, job_ref: &Hash, reads: &dyn Reads) -> Result<bool, StoreError> {
        let first = !self.is_paid(job_ref, reads)?;
        if first {
            self.paid.insert(*job_ref);
            self.batch
                .put(Family::Archive, keys::paid(job_ref), Bytes::new());
        }
        Ok(first)
    }

    /// Appends a record: its index, or the rule that refuses it.
    pub fn record(
        &mut self,
        core: &mut LedgerCore,
        body: RecordBody,
        reads: &dyn Reads,
    ) -> Result<Result<u64, Violation>, StoreError> {
        self.load_for(core, &body, reads)?;
        let resolved = resolved_by(core, &body);
        let staker = staker_of(core, &body);
        let index = core.state.position().next;
        let record = Record {
            index,
            time_ms: self.now,
            body,
        };
        if let Err(violation) = core.state.apply(&record, true) {
            return Ok(Err(violation));
        }
        core.counted.count(&record.body);
        self.sealed = matches!(record.body, RecordBody::Seal(_));
        let changed = core.state.take_changed();
        for key in &changed {
            if let StateKey::Account(AccountId::Wallet(account)) = key {
                self.batch.put(
                    Family::Archive,
                    keys::history(*account, index),
                    Bytes::new(),
                );
            }
        }
        if let Some(staker) = staker {
            let row = keys::history(staker, index);
            self.batch.put(Family::Archive, row, Bytes::new());
        }
        self.changed.extend(changed);
        if let Some((id, expiry)) = resolved {
            let row = self.transaction(&id, reads)?.unwrap_or_default();
            let resolution = Some(index);
            self.put_transaction(id, TransactionRow { resolution, ..row });
            core.expiries.remove(&expiry);
        }
        if let RecordBody::Transaction(signed) = &record.body {
            let id = signed.transaction.id();
            let row = TransactionRow {
                index,
                resolution: None,
                time_ms: self.now,
            };
            self.put_transaction(id, row);
            core.expiries.extend(expiry_of(core, id));
            if signed.transaction.kind == TransactionKind::Stake {
                let row = keys::stake(signed.transaction.account, &signed.transaction.target);
                self.batch.put(Family::Archive, row, Bytes::new());
            }
        }
        if let Some(id) = record.body.evidence_id() {
            let name = keys::evidence(id, index);
            self.batch.put(Family::Archive, name, Bytes::new());
        }
        self.leaves.push(record.encode());
        Ok(Ok(index))
    }

    /// Loads what a record touches.
    pub fn load_for(
        &mut self,
        core: &mut LedgerCore,
        body: &RecordBody,
        reads: &dyn Reads,
    ) -> Result<(), StoreError> {
        loop {
            let missing: BTreeSet<StateKey> = core.state.missing(body).into_iter().collect();
            if missing.is_empty() {
                return Ok(());
            }
            load_entries(core, &missing, reads)?;
        }
    }

    fn put_transaction(&mut self, id: Hash, row: TransactionRow) {
        self.transactions.insert(id, Some(row));
        self.batch
            .put(Family::Archive, keys::transaction(&id), row.encode_to_vec());
    }

    /// Tells the jobs.
    pub fn notify(&mut self, core: &mut LedgerCore, notice: &Notice) {
        core.last_notice += 1;
        self.batch.put(
            Family::Active,
            keys::notice(core.last_notice),
            payment_rows::notice(notice),
        );
        if !self.effects.contains(&Effect::NoticesPending) {
            self.effects.push(Effect::NoticesPending);
        }
    }

    pub fn drop_notice(&mut self, sequence: u64) {
        self.batch.delete(Family::Active, keys::notice(sequence));
    }

    /// Seals if that is due, and writes all rows.
    pub fn finish(
        mut self,
        core: &mut LedgerCore,
        reads: &dyn Reads,
    ) -> Result<Output, StoreError> {
        if !self.leaves.is_empty() {
            core.unsealed_since.get_or_insert(self.now);
        }
        self.put_state(core);
        let changed = std::mem::take(&mut self.changed);
        core.unsealed.extend(&changed);
        let first = core.head.size;
        if !self.seal_if_due(core, reads)? && !self.leaves.is_empty() {
            let row = UnsealedRow {
                keys: changed.iter().map(|key| key.bytes().into()).collect(),
                since_ms: core.unsealed_since.unwrap_or(self.now),
            };
            self.batch
                .put(Family::Active, keys::unsealed(first), row.encode_to_vec());
            core.unsealed_rows.push(first);
        }
        if !self.leaves.is_empty() {
            self.append(core, reads)?;
            self.effects.push(Effect::Appended {
                next: core.head.size,
            });
        }
        if self.heard || !self.batch.is_empty() {
            self.put_ledger(core);
        }
        Ok(Output {
            batch: self.batch,
            replies: self.replies,
            effects: self.effects,
        })
    }

    fn put_state(&mut self, core: &LedgerCore) {
        for key in &self.changed {
            match core.state.get(key) {
                Some(entry) => self
                    .batch
                    .put(Family::Active, keys::state(key), entry.encode()),
                None => self.batch.delete(Family::Active, keys::state(key)),
            }
        }
    }

    fn append(&mut self, core: &mut LedgerCore, reads: &dyn Reads) -> Result<(), StoreError> {
        let hashes: Vec<Hash> = self
            .leaves
            .iter()
            .map(|leaf| log::leaf_hash(leaf))
            .collect();
        let appended = log::append(&super::proofs::LogRows(reads), core.head.size, &hashes)
            .map_err(|error| StoreError::Corrupt(error.to_string()))?;
        for ((index, hashes), leaf) in appended.rows.iter().zip(&self.leaves) {
            self.batch.put(
                Family::Archive,
                keys::record(*index),
                stored_record(hashes, leaf),
            );
        }
        core.head = appended.head;
        if self.sealed {
            core.unsigned = Some(core.head);
            if core.config.broken.sign_before_sync {
                self.sign_checkpoint(core);
            }
        }
        Ok(())
    }

    fn put_ledger(&mut self, core: &LedgerCore) {
        let position = core.state.position();
        let row = LedgerRow {
            next: position.next,
            time_ms: position.time_ms,
            height: position.height,
            first_unsealed: position.first_unsealed,
            root: Bytes::copy_from_slice(&core.head.root),
            state_root: Bytes::copy_from_slice(&core.state_root),
            applied_orders: core.applied_orders,
            last_notice: core.last_notice,
            unsigned_root: core
                .unsigned
                .map(|head| Bytes::copy_from_slice(&head.root))
                .unwrap_or_default(),
            counted: Some(core.counted.row()),
        };
        self.batch
            .put(Family::Active, keys::ledger(), row.encode_to_vec());
    }
}

/// The open lock or unstaking that a record resolves, and when that would have come to its end.
fn resolved_by(core: &LedgerCore, body: &RecordBody) -> Option<(Hash, (Millis, Expiry))> {
    let id = match body {
        // A rental's lock stays open until its last payment.
        RecordBody::Post(post) if post.outcome != Outcome::Rental => post.lock,
        RecordBody::Void { lock, .. } | RecordBody::Expire { lock, .. } => *lock,
        _ => return None,
    };
    Some((id, expiry_of(core, id)?))
}

/// Whose stake a slash burns, or will not return: the record is in that wallet's history, though its account does not change.
fn staker_of(core: &LedgerCore, body: &RecordBody) -> Option<Address> {
    match body {
        RecordBody::Slash(slash) => match core.state.get(&StateKey::Staker(slash.evidence.miner)) {
            Some(Entry::Staker(staker)) => Some(*staker),
            _ => None,
        },
        RecordBody::Expire {
            lock,
            reason: ExpireReason::Forfeited,
        } => match core.state.get(&StateKey::Unstaking(*lock)) {
            Some(Entry::Unstaking(unstaking)) => Some(unstaking.account),
            _ => None,
        },
        _ => None,
    }
}

/// When an open lock or an unstaking comes to its end.
fn expiry_of(core: &LedgerCore, id: Hash) -> Option<(Millis, Expiry)> {
    if let Some(Entry::Lock(lock)) = core.state.get(&StateKey::Lock(id)) {
        return Some((lock.expires_at, Expiry::Lock(id)));
    }
    match core.state.get(&StateKey::Unstaking(id)) {
        Some(Entry::Unstaking(unstaking)) => Some((unstaking.matures_at, Expiry::Unstaking(id))),
        _ => None,
    }
}

pub(super) fn load_entries(
    core: &mut LedgerCore,
    wanted: &BTreeSet<StateKey>,
    reads: &dyn Reads,
) -> Result<(), StoreError> {
    if wanted.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = wanted.iter().map(keys::state).collect();
    let read: Vec<_> = names
        .iter()
        .map(|name| (Family::Active, name.as_slice()))
        .collect();
    for (key, value) in wanted.iter().zip(reads.get_many(&read)?) {
        let entry = value.map(|bytes| decode_entry(key, &bytes)).transpose()?;
        core.state.load(*key, entry);
    }
    Ok(())
}

/// An entry's stored bytes.
pub(super) fn decode_entry(key: &StateKey, bytes: &[u8]) -> Result<Entry, StoreError> {
    Entry::decode(key, bytes).map_err(|error| StoreError::Corrupt(error.to_string()))
}
