//! What each kind of transaction does.

use super::draft::{Draft, add};
use super::entry::{AccountId, Allowance, Binding, Entry, OpenLock, StateKey, Unstaking};
use super::violation::Violation;
use crate::address::Address;
use crate::genesis::SUPPLY_BOUND;
use crate::hash::Hash;
use crate::identity::PublicKey;
use crate::layouts::{
    AllowTerms, BindConsent, LockTerms, Record, SignMode, SignedTransaction, Transaction,
    TransactionKind, target_address,
};

const HOUR_MS: u64 = 3_600_000;
/// A transaction is valid for at most this long: 24 hours.
pub const MAX_VALIDITY_MS: u64 = 24 * HOUR_MS;
/// The least that is worth locking, in micro-AIT.
pub const MIN_LOCK: u64 = 1_000;
/// A lock or an allowance holds for at most this long: 400 days.
pub const MAX_TERM_MS: u64 = 400 * 24 * HOUR_MS;
/// What leaves a stake can still be slashed for this long: 7 days.
pub const UNSTAKING_MS: u64 = 7 * 24 * HOUR_MS;

impl Draft<'_> {
    pub(super) fn transaction(
        &mut self,
        signed: &SignedTransaction,
        record: &Record,
        chain_id: &Hash,
    ) -> Result<(), Violation> {
        let transaction = &signed.transaction;
        let now = record.time_ms;
        within(now, transaction.valid_until, MAX_VALIDITY_MS)?;
        if transaction.sign_mode == SignMode::Wallet {
            self.use_nonce(transaction)?;
        }
        match transaction.kind {
            TransactionKind::Transfer => self.transfer_to(signed),
            TransactionKind::Lock => self.lock(signed, record),
            TransactionKind::Stake => self.stake(signed),
            TransactionKind::Unstake => self.unstake(signed, now),
            TransactionKind::Bind => self.bind(signed, now, chain_id),
            TransactionKind::Allow => self.allow(signed, now),
        }
    }

    fn use_nonce(&mut self, transaction: &Transaction) -> Result<(), Violation> {
        let id = AccountId::Wallet(transaction.account);
        let expected = self.account(id).nonce;
        if !(self.broken().skip_nonces && transaction.nonce > expected) {
            check_nonce(expected, transaction.nonce)?;
        }
        self.change(id, |account| {
            account.nonce = transaction.nonce.checked_add(1)?;
            Some(())
        })
    }

    fn transfer_to(&mut self, signed: &SignedTransaction) -> Result<(), Violation> {
        let transaction = &signed.transaction;
        let to =
            target_address(&transaction.target).ok_or(Violation::Target("a wallet's address"))?;
        bounded(transaction.amount, 1)?;
        let from = AccountId::Wallet(transaction.account);
        self.require_funds(from, transaction.amount)?;
        self.transfer(from, AccountId::Wallet(to), transaction.amount)
    }

    fn lock(&mut self, signed: &SignedTransaction, record: &Record) -> Result<(), Violation> {
        let transaction = &signed.transaction;
        let terms = LockTerms::decode(&signed.payload)?;
        let now = record.time_ms;
        bounded(transaction.amount, MIN_LOCK)?;
        within(now, terms.expires_at, MAX_TERM_MS)?;
        let (signer, allowance_seq) = match transaction.signing_identity() {
            Some(identity) => (identity, self.use_allowance(transaction, identity, now)?),
            None => (PublicKey::default(), 0),
        };
        let payer = AccountId::Wallet(transaction.account);
        self.require_funds(payer, transaction.amount)?;
        let lock = OpenLock {
            payer: transaction.account,
            signer,
            allowance_seq,
            target: transaction.target,
            purpose: terms.purpose,
            amount: transaction.amount,
            expires_at: terms.expires_at,
            max_rate: terms.max_rate,
            max_fee_bps: terms.max_fee_bps,
            miner_key: terms.miner_key,
            log_index: record.index,
            newest: 0,
        };
        self.change(payer, |account| {
            add(&mut account.debits_pending, transaction.amount)
        })?;
        self.change(AccountId::Settlement, |account| {
            add(&mut account.credits_pending, transaction.amount)
        })?;
        self.put(StateKey::Lock(transaction.id()), Entry::Lock(lock));
        Ok(())
    }

    /// Takes a lock's amount from an allowance; the allowance's number.
    fn use_allowance(
        &mut self,
        transaction: &Transaction,
        identity: PublicKey,
        now: u64,
    ) -> Result<u32, Violation> {
        let account = transaction.account;
        let allowance = self
            .allowance(account, identity)
            .ok_or(Violation::NoAllowance(account))?;
        check_nonce(allowance.nonce, transaction.nonce)?;
        if allowance.amount == 0 || now > allowance.expires_at {
            return Err(Violation::NoAllowance(account));
        }
        let left = allowance.amount.saturating_sub(allowance.used);
        if transaction.amount > left {
            return Err(Violation::Allowance {
                left,
                asked: transaction.amount,
            });
        }
        let used = allowance.used + transaction.amount;
        let nonce = allowance.nonce.checked_add(1).ok_or(Violation::Overflow)?;
        self.put(
            StateKey::Allowance(account, identity),
            Entry::Allowance(Allowance {
                used,
                nonce,
                ..allowance
            }),
        );
        Ok(allowance.seq)
    }

    fn stake(&mut self, signed: &SignedTransaction) -> Result<(), Violation> {
        let transaction = &signed.transaction;
        no_payload(signed)?;
        bounded(transaction.amount, 1)?;
        let miner = PublicKey(transaction.target);
        // The binding carries the identity's consent: nobody else takes a miner's place.
        let bound = self.binding(miner).account;
        if bound != transaction.account {
            let wallet = (bound != Address::default()).then_some(bound);
            return Err(Violation::NotBound(wallet));
        }
        self.require_staker(miner, transaction.account, true)?;
        let from = AccountId::Wallet(transaction.account);
        self.require_funds(from, transaction.amount)?;
        self.put(StateKey::Staker(miner), Entry::Staker(transaction.account));
        self.transfer(from, AccountId::Stake(miner), transaction.amount)
    }

    fn unstake(&mut self, signed: &SignedTransaction, now: u64) -> Result<(), Violation> {
        let transaction = &signed.transaction;
        no_payload(signed)?;
        bounded(transaction.amount, 1)?;
        let miner = PublicKey(transaction.target);
        self.require_staker(miner, transaction.account, false)?;
        let stake = AccountId::Stake(miner);
        self.require_funds(stake, transaction.amount)?;
        self.change(stake, |account| {
            add(&mut account.debits_pending, transaction.amount)
        })?;
        // What was slashed is told by when it matures: what is staked and unstaked after that matures later.
        let forfeited_until = self.forfeit(miner).until;
        let unstaking = Unstaking {
            account: transaction.account,
            miner,
            amount: transaction.amount,
            matures_at: now
                .checked_add(UNSTAKING_MS)
                .and_then(|at| Some(at.max(forfeited_until.checked_add(1)?)))
                .ok_or(Violation::Overflow)?,
        };
        self.put(
            StateKey::Unstaking(transaction.id()),
            Entry::Unstaking(unstaking),
        );
        Ok(())
    }

    fn require_staker(
        &self,
        miner: PublicKey,
        account: Address,
        first_may: bool,
    ) -> Result<(), Violation> {
        match self.get(&StateKey::Staker(miner)) {
            Some(Entry::Staker(staker)) if *staker == account => Ok(()),
            Some(Entry::Staker(staker)) => Err(Violation::Staker(*staker)),
            _ if first_may => Ok(()),
            _ => Err(Violation::NoStake),
        }
    }

    fn bind(
        &mut self,
        signed: &SignedTransaction,
        now: u64,
        chain_id: &Hash,
    ) -> Result<(), Violation> {
        let transaction = &signed.transaction;
        let consent = BindConsent::decode(&signed.payload)?;
        no_amount(transaction)?;
        let identity = PublicKey(transaction.target);
        let before = self.binding(identity);
        let bound = before.account != Address::default();
        if bound && before.account != transaction.account {
            return Err(Violation::Bound(before.account));
        }
        // Each number is used: a wallet that lets an identity go cannot take all that are left with it.
        let next = before.seq.checked_add(1).ok_or(Violation::Overflow)?;
        if consent.seq != next {
            return Err(Violation::Successor {
                expected: next,
                given: consent.seq,
            });
        }
        let account = if bound && consent.is_release() {
            Address::default()
        } else if now <= consent.valid_until
            && consent.verify(chain_id, transaction.account, &identity)
        {
            transaction.account
        } else {
            return Err(Violation::Consent);
        };
        self.put(
            StateKey::Binding(identity),
            Entry::Binding(Binding {
                account,
                seq: consent.seq,
            }),
        );
        Ok(())
    }

    fn allow(&mut self, signed: &SignedTransaction, now: u64) -> Result<(), Violation> {
        let transaction = &signed.transaction;
        let terms = AllowTerms::decode(&signed.payload)?;
        let identity = PublicKey(transaction.target);
        let before = self
            .allowance(transaction.account, identity)
            .unwrap_or_default();
        if terms.seq <= before.seq {
            return Err(Violation::Sequence {
                last: before.seq,
                given: terms.seq,
            });
        }
        if transaction.amount > 0 {
            bounded(transaction.amount, 1)?;
            within(now, terms.expires_at, MAX_TERM_MS)?;
        }
        let allowance = Allowance {
            seq: terms.seq,
            expires_at: terms.expires_at,
            amount: transaction.amount,
            used: 0,
            nonce: before.nonce,
        };
        self.put(
            StateKey::Allowance(transaction.account, identity),
            Entry::Allowance(allowance),
        );
        Ok(())
    }
}

fn check_nonce(expected: u64, given: u64) -> Result<(), Violation> {
    if expected == given {
        Ok(())
    } else {
        Err(Violation::Nonce { expected, given })
    }
}

fn within(now: u64, until: u64, longest: u64) -> Result<(), Violation> {
    if until < now {
        return Err(Violation::Expired {
            valid_until: until,
            now,
        });
    }
    if until - now > longest {
        return Err(Violation::TooLong(longest / HOUR_MS));
    }
    Ok(())
}

fn bounded(amount: u64, least: u64) -> Result<(), Violation> {
    if (least..SUPPLY_BOUND).contains(&amount) {
        return Ok(());
    }
    Err(Violation::Amount(least, SUPPLY_BOUND - 1))
}

fn no_amount(transaction: &Transaction) -> Result<(), Violation> {
    if transaction.amount == 0 {
        Ok(())
    } else {
        Err(Violation::Amount(0, 0))
    }
}

fn no_payload(signed: &SignedTransaction) -> Result<(), Violation> {
    if signed.payload.is_empty() {
        Ok(())
    } else {
        Err(Violation::Target("without a payload"))
    }
}
