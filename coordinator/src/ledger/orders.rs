//! One function for each command.

use aitbc_common::address::Address;
use aitbc_common::hash::Hash;
use aitbc_common::identity::PublicKey;
use aitbc_common::layouts::{
    ExpireReason, FaultEntry, LockPurpose, LockTerms, MintReason, Outcome, ReceiptEntry,
    RecordBody, SignedTransaction, Transaction, TransactionKind, VoidReason,
};
use aitbc_common::ledger::entry::{Entry, OpenLock, StateKey};
use aitbc_common::ledger::settlement::{Work, fee_of, posts, rental_post};

use super::command::{MAX_ALLOWANCES, Reply, Submission};
use super::core::{Expiry, LedgerCore};
use super::turn::Turn;
use crate::payments::{LockOpened, Notice, Order};
use crate::store::Reads;
use crate::store::keys::prefix_end;
use crate::store::{Family, StoreError, ledger_keys};

/// Most expiries of one batch; the next ones follow in the next.
const EXPIRIES: usize = 1_000;

impl LedgerCore {
    pub(super) fn submit(
        &mut self,
        turn: &mut Turn,
        submission: Submission,
        reads: &dyn Reads,
    ) -> Result<Reply, StoreError> {
        let id = submission.signed.transaction.id();
        if let Some(row) = turn.transaction(&id, reads)? {
            return Ok(Reply::Recorded {
                id,
                index: row.index,
                time_ms: row.time_ms,
            });
        }
        if !self.has_room {
            return Ok(Reply::Full);
        }
        if too_many_allowances(&submission.signed.transaction, reads)? {
            return Ok(Reply::TooManyAllowances);
        }
        let body = RecordBody::Transaction(submission.signed.clone());
        let index = match turn.record(self, body, reads)? {
            Ok(index) => index,
            Err(violation) => return Ok(Reply::Refused(violation)),
        };
        match submission.signed.transaction.kind {
            TransactionKind::Lock => {
                let target = &submission.signed.transaction.target;
                let target_is_paid = turn.is_paid(target, reads)?;
                let opened = lock_opened(&submission, id, index, target_is_paid);
                turn.notify(self, &Notice::Locked(opened));
            }
            TransactionKind::Bind => {
                let identity = PublicKey(submission.signed.transaction.target);
                let wallet = self.payee_of(&identity);
                turn.notify(self, &Notice::Bound { identity, wallet });
            }
            _ => {}
        }
        Ok(Reply::Recorded {
            id,
            index,
            time_ms: turn.now,
        })
    }

    /// The wallet that an identity is bound to, where the entry is loaded.
    fn payee_of(&self, identity: &PublicKey) -> Option<Address> {
        match self.state.get(&StateKey::Binding(*identity)) {
            Some(Entry::Binding(binding)) => Some(binding.account),
            _ => None,
        }
        .filter(|account| *account != Address::default())
    }

    pub(super) fn faucet(
        &mut self,
        turn: &mut Turn,
        account: Address,
        amount: u64,
        reads: &dyn Reads,
    ) -> Result<Reply, StoreError> {
        let Some(faucet) = self.config.faucet.clone() else {
            return Ok(Reply::Empty(None));
        };
        if !self.has_room {
            return Ok(Reply::Full);
        }
        let given = turn.given(account, reads)?;
        let left = faucet.per_address.saturating_sub(given);
        if amount > left {
            return Ok(Reply::Empty(Some(left)));
        }
        let body = RecordBody::Mint {
            account,
            amount,
            reason: MintReason::Faucet,
        };
        Ok(match turn.record(self, body, reads)? {
            Ok(index) => {
                turn.give(account, given + amount);
                Reply::Given(index)
            }
            Err(_) => Reply::Empty(Some(0)),
        })
    }

    pub(super) fn orders(
        &mut self,
        turn: &mut Turn,
        first_sequence: u64,
        orders: Vec<Order>,
        reads: &dyn Reads,
    ) -> Result<Reply, StoreError> {
        for (sequence, order) in (first_sequence..).zip(orders) {
            let next = self.applied_orders + 1;
            if sequence > next {
                // A gap: nothing may be passed over. The relay reads again from where this ledger stands.
                break;
            }
            if sequence < next && !self.config.broken.repeat_orders {
                continue;
            }
            self.apply_order(turn, order, reads)?;
            self.applied_orders = self.applied_orders.max(sequence);
            turn.heard = true;
        }
        Ok(Reply::Applied(self.applied_orders))
    }

    fn apply_order(
        &mut self,
        turn: &mut Turn,
        order: Order,
        reads: &dyn Reads,
    ) -> Result<(), StoreError> {
        match order {
            Order::Void { lock, reason } => self.void(turn, lock, reason, reads)?,
            Order::Settle {
                job,
                owner,
                work,
                locks,
            } => {
                let paid = self.settle(turn, &work, &locks, reads)?;
                turn.notify(
                    self,
                    &Notice::Settled {
                        job,
                        owner,
                        posted: paid.posted,
                        fee: paid.fee,
                        returned: paid.returned,
                    },
                );
            }
            Order::PayRental {
                rental,
                renter,
                lock,
                work,
            } => {
                let paid = self.pay_rental(turn, &work, lock, reads)?;
                let notice = Notice::RentalPaid {
                    rental,
                    renter,
                    lock,
                    number: work.attempt,
                    posted: paid.posted,
                    fee: paid.fee,
                    returned: paid.returned,
                };
                turn.notify(self, &notice);
            }
            Order::LogFault {
                lock,
                job_ref,
                attempt,
                miner,
                reason,
            } => {
                let fault = FaultEntry {
                    job_ref,
                    attempt,
                    miner,
                    client: Address::default(),
                    reason,
                    weight: 0,
                    lock,
                };
                self.log_fault(turn, fault, reads)?;
            }
            Order::Slash(evidence) => self.slash(turn, *evidence, reads)?,
            Order::LogReceipt(entry) => {
                turn.record(self, RecordBody::Receipt(entry), reads)?
                    .expect("a receipt's record has no rule of its own");
            }
            Order::LogAcknowledgement(acknowledgement, signature) => {
                let body = RecordBody::Acknowledgement(acknowledgement, signature);
                turn.record(self, body, reads)?
                    .expect("its chain and signature were checked when it came");
            }
        }
        Ok(())
    }

    /// Returns what has come to its end; orders that were decided before have been applied.
    pub(super) fn expire(
        &mut self,
        turn: &mut Turn,
        until_ms: u64,
        reads: &dyn Reads,
    ) -> Result<Reply, StoreError> {
        let end = (until_ms.saturating_add(1), Expiry::Lock(Hash::default()));
        let due: Vec<_> = self.expiries.range(..end).take(EXPIRIES).copied().collect();
        for (at, expiry) in &due {
            let (lock, reason) = match expiry {
                Expiry::Lock(lock) => (*lock, ExpireReason::Lock),
                Expiry::Unstaking(id) => (*id, self.leaving(turn, *id, reads)?),
            };
            let open = self.open_lock(turn, lock, reads)?;
            if turn
                .record(self, RecordBody::Expire { lock, reason }, reads)?
                .is_err()
            {
                self.expiries.remove(&(*at, *expiry));
            } else if let Some(open) = open {
                self.notify_returned(turn, lock, &open);
            }
        }
        if due.len() == EXPIRIES {
            self.announced_expiry = 0;
        }
        Ok(Reply::Done)
    }

    /// Whether what is being unstaked comes back to its wallet, or was slashed.
    fn leaving(
        &mut self,
        turn: &mut Turn,
        lock: Hash,
        reads: &dyn Reads,
    ) -> Result<ExpireReason, StoreError> {
        let reason = ExpireReason::Unstaked;
        turn.load_for(self, &RecordBody::Expire { lock, reason }, reads)?;
        let Some(Entry::Unstaking(unstaking)) = self.state.get(&StateKey::Unstaking(lock)) else {
            return Ok(reason);
        };
        Ok(match self.state.get(&StateKey::Forfeit(unstaking.miner)) {
            Some(Entry::Forfeit(forfeit)) if unstaking.matures_at <= forfeit.until => {
                ExpireReason::Forfeited
            }
            _ => reason,
        })
    }

    /// A lock returns whole, as the jobs ordered: they need no notice. One that is not open any more has come to its own end
    /// before.
    fn void(
        &mut self,
        turn: &mut Turn,
        lock: Hash,
        reason: VoidReason,
        reads: &dyn Reads,
    ) -> Result<(), StoreError> {
        if self.open_lock(turn, lock, reads)?.is_some() {
            turn.record(self, RecordBody::Void { lock, reason }, reads)?
                .expect("an open lock may always return");
        }
        Ok(())
    }

    /// One chain: all locks that are still open pay, in the order of the log. Where a rule refuses that, all return.
    fn settle(
        &mut self,
        turn: &mut Turn,
        work: &Work,
        locks: &[Hash],
        reads: &dyn Reads,
    ) -> Result<Paid, StoreError> {
        let mut open = Vec::with_capacity(locks.len());
        for lock in locks {
            if let Some(entry) = self.open_lock(turn, *lock, reads)? {
                open.push((*lock, entry));
            }
        }
        open.sort_by_key(|(_, lock)| lock.log_index);
        let total: u64 = open.iter().map(|(_, lock)| lock.amount).sum();
        let allowed = open
            .iter()
            .all(|(_, lock)| allows(lock, work, self.config.rules.fee_bps));
        let billed = work.billed_ms <= work.observed_ms.min(work.work_ms);
        let mut paid = Paid::default();
        // Two jobs may have one specification, and so one job_ref: the log pays for it once.
        let payable = allowed && billed && !open.is_empty();
        let pays =
            payable && (turn.pays_first(&work.job_ref, reads)? || self.config.broken.pay_again);
        if !pays {
            let reason = if payable {
                VoidReason::Finished
            } else {
                VoidReason::Terms
            };
            for (lock, _) in open {
                turn.record(self, RecordBody::Void { lock, reason }, reads)?
                    .expect("an open lock may always return");
            }
            // Nobody pays for it; that it was done is logged like any unpaid work.
            if work.outcome == Outcome::Complete {
                let entry = ReceiptEntry {
                    job_ref: work.job_ref,
                    attempt: work.attempt,
                    miner: work.miner,
                    receipt_id: work.evidence_id,
                };
                turn.record(self, RecordBody::Receipt(entry), reads)?
                    .expect("a receipt's record has no rule of its own");
            }
            return Ok(Paid {
                returned: total,
                ..paid
            });
        }
        let amounts: Vec<_> = open
            .iter()
            .map(|(lock, entry)| (*lock, entry.amount))
            .collect();
        for post in posts(work, &amounts, self.config.rules.fee_bps) {
            paid.posted += post.posted;
            paid.fee += post.fee;
            let recorded = turn.record(self, RecordBody::Post(post), reads)?;
            // Two payments of one job that follow each other are no chain.
            if !self.config.broken.pay_again {
                recorded.expect(
                    "the chain follows from the work and the locks, whose terms were checked",
                );
            }
        }
        paid.returned = total - paid.posted;
        Ok(paid)
    }

    /// A time of a rental, from its lock. Where a rule refuses that, the lock returns; one that is not open any more has come
    /// to its own end before.
    fn pay_rental(
        &mut self,
        turn: &mut Turn,
        work: &Work,
        lock: Hash,
        reads: &dyn Reads,
    ) -> Result<Paid, StoreError> {
        let Some(open) = self.open_lock(turn, lock, reads)? else {
            return Ok(Paid::default());
        };
        let post = rental_post(work, lock, open.amount, self.config.rules.fee_bps);
        let (posted, fee) = (post.posted, post.fee);
        if turn.record(self, RecordBody::Post(post), reads)?.is_err() {
            let reason = VoidReason::Terms;
            turn.record(self, RecordBody::Void { lock, reason }, reads)?
                .expect("an open lock may always return");
            return Ok(Paid {
                returned: open.amount,
                ..Paid::default()
            });
        }
        let ends = work.outcome == Outcome::RentalEnd;
        Ok(Paid {
            posted,
            fee,
            returned: if ends { open.amount - posted } else { 0 },
        })
    }

    /// A fault, with what the lock says of client and weight; passed over where the lock is not open any more.
    fn log_fault(
        &mut self,
        turn: &mut Turn,
        fault: FaultEntry,
        reads: &dyn Reads,
    ) -> Result<(), StoreError> {
        let Some(open) = self.open_lock(turn, fault.lock, reads)? else {
            return Ok(());
        };
        let fault = FaultEntry {
            client: open.payer,
            weight: fee_of(open.amount, self.config.rules.fee_bps),
            ..fault
        };
        // A lock that names another miner, or this attempt before, has nothing to say of it.
        let _refused = turn.record(self, RecordBody::Fault(fault), reads)?;
        Ok(())
    }

    fn open_lock(
        &mut self,
        turn: &mut Turn,
        lock: Hash,
        reads: &dyn Reads,
    ) -> Result<Option<OpenLock>, StoreError> {
        let reason = VoidReason::Finished;
        turn.load_for(self, &RecordBody::Void { lock, reason }, reads)?;
        Ok(match self.state.get(&StateKey::Lock(lock)) {
            Some(Entry::Lock(open)) => Some(open.clone()),
            _ => None,
        })
    }

    fn notify_returned(&mut self, turn: &mut Turn, lock: Hash, open: &OpenLock) {
        let notice = Notice::Returned {
            lock,
            target: open.target,
            amount: open.amount,
        };
        turn.notify(self, &notice);
    }
}

/// Whether this allowance would be one more of its wallet than may be. The log's rules allow any number: what is recorded
/// stays valid.
fn too_many_allowances(transaction: &Transaction, reads: &dyn Reads) -> Result<bool, StoreError> {
    if transaction.kind != TransactionKind::Allow {
        return Ok(false);
    }
    let key = StateKey::Allowance(transaction.account, PublicKey(transaction.target));
    let known = reads.get_many(&[(Family::Active, &ledger_keys::state(&key))])?;
    if known.iter().any(Option::is_some) {
        return Ok(false);
    }
    let first = ledger_keys::allowances_of(transaction.account);
    let end = prefix_end(&first);
    let given = reads.scan(Family::Active, &first..&end, MAX_ALLOWANCES)?;
    Ok(given.rows.len() >= MAX_ALLOWANCES)
}

/// What a job's locks came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Paid {
    posted: u64,
    fee: u64,
    returned: u64,
}

fn allows(lock: &OpenLock, work: &Work, fee_bps: u16) -> bool {
    lock.purpose == LockPurpose::Job
        && lock.target == work.job_ref
        && work.rate <= lock.max_rate
        && fee_bps <= lock.max_fee_bps
        && (lock.miner_key.0 == [0; 32] || lock.miner_key == work.miner)
}

fn lock_opened(submission: &Submission, id: Hash, index: u64, target_is_paid: bool) -> LockOpened {
    let SignedTransaction {
        transaction,
        payload,
        ..
    } = &submission.signed;
    let terms = LockTerms::decode(payload).expect("the rules have read the terms");
    LockOpened {
        lock: id,
        target: transaction.target,
        purpose: terms.purpose,
        payer: transaction.account,
        amount: transaction.amount,
        expires_at: terms.expires_at,
        max_rate: terms.max_rate,
        max_fee_bps: terms.max_fee_bps,
        miner_key: terms.miner_key,
        log_index: index,
        job: submission.job,
        owner: submission.owner,
        by: transaction.signing_identity().or(submission.caller),
        target_is_paid,
        rental: submission.rental.clone(),
    }
}
