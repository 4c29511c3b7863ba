//! What one record changes, rule by rule.

use std::collections::BTreeMap;

use super::broken::BrokenRules;
use super::entry::{Account, AccountId, Allowance, Binding, Entry, Forfeit, OpenLock, StateKey};
use super::position::{ChainRules, Position};
use super::settlement::{Settling, check_rental, computed, fee_of};
use super::state::State;
use super::violation::Violation;
use crate::address::Address;
use crate::hash::Hash;
use crate::identity::PublicKey;
use crate::layouts::{
    ExpireReason, FaultEntry, FaultReason, InvalidTransaction, LockPurpose, MintReason, Outcome,
    Post, Record, RecordBody, Seal,
};

/// A record half carried out: it sees its own changes, and nothing else does.
pub(super) struct Draft<'a> {
    pub(super) state: &'a State,
    pub(super) changes: BTreeMap<StateKey, Option<Entry>>,
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

    /// Of an identity that never was bound, all is zero.
    pub fn binding(&self, identity: PublicKey) -> Binding {
        match self.get(&StateKey::Binding(identity)) {
            Some(Entry::Binding(binding)) => *binding,
            _ => Binding::default(),
        }
    }

    pub fn allowance(&self, account: Address, identity: PublicKey) -> Option<Allowance> {
        match self.get(&StateKey::Allowance(account, identity)) {
            Some(Entry::Allowance(allowance)) => Some(*allowance),
            _ => None,
        }
    }

    /// Of a miner from which nothing that was slashed is being unstaked, all is zero.
    pub fn forfeit(&self, miner: PublicKey) -> Forfeit {
        match self.get(&StateKey::Forfeit(miner)) {
            Some(Entry::Forfeit(forfeit)) => *forfeit,
            _ => Forfeit::default(),
        }
    }

    pub fn carry_out(
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
            RecordBody::Fault(fault) if fault.reason == FaultReason::Wrong => {
                self.found_wrong(fault, &rules)
            }
            RecordBody::Fault(fault) => self.fault(fault, &rules),
            RecordBody::AuditCommit { day, commitment } => {
                self.commit_seed(*day, *commitment, record.time_ms, &rules)
            }
            RecordBody::AuditReveal { day, seed } => {
                self.reveal_seed(*day, *seed, record.time_ms, &rules)
            }
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
                reason: reason @ (ExpireReason::Unstaked | ExpireReason::Forfeited),
            } => self.unstaked(*lock, *reason, record.time_ms),
            RecordBody::Mint {
                account,
                amount,
                reason,
            } => self.mint(*account, *amount, *reason, position, &rules),
            RecordBody::Slash(slash) => self.slash(slash, record.time_ms, &rules, verified),
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
        if post.outcome.is_rental() {
            check_rental(post, &lock, rules)?;
            position.settling = None;
        } else {
            let before = position.settling.as_ref();
            position.settling = Some(Settling::follow(before, post, &lock, rules)?);
        }
        if post.outcome == Outcome::Rental {
            self.draw(post, &lock)?;
        } else {
            self.return_lock(post.lock, post.posted)?;
        }
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

    /// A rental's lock pays for a time and holds the rest.
    fn draw(&mut self, post: &Post, lock: &OpenLock) -> Result<(), Violation> {
        let drawn = OpenLock {
            amount: lock.amount - post.posted,
            newest: post.attempt,
            ..lock.clone()
        };
        self.put(StateKey::Lock(post.lock), Entry::Lock(drawn));
        self.change(AccountId::Wallet(lock.payer), |account| {
            sub(&mut account.debits_pending, post.posted)
        })?;
        self.change(AccountId::Settlement, |account| {
            sub(&mut account.credits_pending, post.posted)
        })
    }

    /// A miner failed an attempt that this lock would have paid; it stays as it is.
    fn fault(&mut self, fault: &FaultEntry, rules: &ChainRules) -> Result<(), Violation> {
        let lock = self.open_lock(fault.lock)?;
        let terms = [
            (
                lock.purpose == LockPurpose::Job && lock.target == fault.job_ref,
                "this job",
            ),
            (lock.payer == fault.client, "this client"),
            (
                lock.miner_key.0 == [0; 32] || lock.miner_key == fault.miner,
                "this miner",
            ),
        ];
        if let Some((_, what)) = terms.into_iter().find(|(kept, _)| !kept) {
            return Err(Violation::Terms(what));
        }
        if fault.attempt <= lock.newest {
            return Err(Violation::Sequence {
                last: lock.newest.into(),
                given: fault.attempt.into(),
            });
        }
        computed("weight", fee_of(lock.amount, rules.fee_bps), fault.weight)?;
        let blamed = OpenLock {
            newest: fault.attempt,
            ..lock
        };
        self.put(StateKey::Lock(fault.lock), Entry::Lock(blamed));
        Ok(())
    }

    fn unstaked(&mut self, id: Hash, reason: ExpireReason, now: u64) -> Result<(), Violation> {
        let Some(Entry::Unstaking(unstaking)) = self.get(&StateKey::Unstaking(id)).cloned() else {
            return Err(Violation::NoLock);
        };
        if now < unstaking.matures_at {
            return Err(Violation::TooEarly(unstaking.matures_at));
        }
        let stake = AccountId::Stake(unstaking.miner);
        self.remove(StateKey::Unstaking(id));
        let forfeited = unstaking.matures_at <= self.forfeit(unstaking.miner).until;
        if forfeited != (reason == ExpireReason::Forfeited) {
            return Err(Violation::Forfeited(forfeited));
        }
        if forfeited {
            return self.settle_forfeit(&unstaking);
        }
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
