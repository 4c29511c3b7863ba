//! What a job's row says of its payment, and what the ledger is told when its outcome is decided.

use aitbc_common::hash::{Hash, sha256};
use aitbc_common::identity::PublicKey;
use aitbc_common::layouts::{
    Assignment, JobSpec, Outcome, Receipt, ReceiptEntry, StreamCheckpoint, VoidReason, locks_hash,
};
use aitbc_common::ledger::settlement::Work;
use aitbc_common::limits::MAX_LOCKS;
use aitbc_common::price::{billed_ms, billed_ms_so_far, budget_ms, price};
use aitbc_proto::v1::{JobStatus, PaymentStatus};
use bytes::Bytes;

use super::core::EngineCore;
use super::outbox::Outbox;
use crate::jobs::funding::Funding;
use crate::payments::{LockOpened, Order};
use crate::store::rows::{JobRow, LockRow, StoppedRow};

/// What a miner did until its job was stopped, as far as it is proven.
#[derive(Debug, Clone)]
pub(super) enum Evidence {
    /// A receipt of the attempt, and its signature.
    Receipt(Box<Receipt>, [u8; 64]),
    /// The newest checkpoint that the coordinator had.
    Checkpoint,
}

/// The row of a lock.
pub(super) fn lock_row(opened: &LockOpened) -> LockRow {
    let any = opened.miner_key.0 == [0; 32];
    LockRow {
        lock: Bytes::copy_from_slice(&opened.lock),
        payer: Bytes::copy_from_slice(&opened.payer.0),
        amount: opened.amount,
        expires_at: opened.expires_at,
        max_rate: opened.max_rate,
        max_fee_bps: opened.max_fee_bps.into(),
        miner_key: if any {
            Bytes::new()
        } else {
            Bytes::copy_from_slice(&opened.miner_key.0)
        },
        log_index: opened.log_index,
        returned: false,
    }
}

/// Micro-AIT in a job's open locks.
pub(super) fn open_amount(locks: &[LockRow]) -> u64 {
    let open = locks.iter().filter(|lock| !lock.returned);
    open.fold(0, |sum, lock| sum.saturating_add(lock.amount))
}

/// What these locks are to a job that wants at least so much.
pub(super) fn funding(least: u64, locks: &[LockRow]) -> Funding {
    Funding {
        least,
        open: open_amount(locks),
        places: MAX_LOCKS.saturating_sub(locks.len()) as u64,
    }
}

/// Whether a lock's terms allow to pay the work that this assignment promises.
fn pays(lock: &LockRow, assignment: &Assignment) -> bool {
    assignment.rate <= lock.max_rate
        && u32::from(assignment.fee_bps) <= lock.max_fee_bps
        && (lock.miner_key.is_empty() || lock.miner_key == assignment.miner_key.0[..])
}

/// What an assignment says of a job's locks as they are.
pub(super) fn add_locks(assignment: &mut Assignment, row: &JobRow) {
    let ids: Vec<Hash> = row.open_locks().map(LockRow::id).collect();
    if ids.is_empty() {
        return;
    }
    assignment.locked = open_amount(&row.locks);
    assignment.budget_ms = budget_ms(assignment.locked, assignment.rate);
    assignment.locks_hash = locks_hash(&ids);
}

/// A lock is adopted.
pub(super) fn adopt(row: &mut JobRow, lock: LockRow) {
    row.locks.push(lock);
    row.payment = PaymentStatus::Funded.into();
    if row.status() == JobStatus::Pending && funding(row.least_funding, &row.locks).is_enough() {
        row.status = JobStatus::Queued.into();
    }
}

/// The live attempt gets a newer assignment, with the budget of all locks.
pub(super) fn raise(row: &mut JobRow, now: u64) {
    let Some(old) = assignment(row).filter(|_| row.leased) else {
        return;
    };
    let mut new = Assignment {
        flags: 1,
        // Later than the one before, so that both ends can tell which is newer.
        issued_ms: now.max(old.issued_ms + 1),
        ..old
    };
    add_locks(&mut new, row);
    if let Some(last) = row.attempts.last_mut() {
        let before = std::mem::replace(&mut last.assignment, new.encode().into());
        last.earlier.push(before);
    }
}

/// A job completed: its locks pay for the work, or the receipt is only logged.
pub(super) fn completed(
    row: &mut JobRow,
    owner: PublicKey,
    core: &EngineCore,
    outbox: &mut Outbox,
) {
    let Some((receipt, id, observed_ms)) = delivered(row) else {
        return;
    };
    let paid = row.open_locks().next().is_some()
        && settle(row, owner, core, outbox, |row, assignment| Work {
            evidence_id: id,
            observed_ms,
            work_ms: receipt.work_ms,
            billed_ms: billed_ms(assignment, &receipt, input_len(row), observed_ms),
            ..work_of(assignment, receipt.outcome)
        });
    if !paid {
        outbox.orders.push(Order::LogReceipt(ReceiptEntry {
            job_ref: receipt.job_ref,
            attempt: receipt.attempt,
            miner: receipt.miner_key,
            receipt_id: id,
        }));
    }
}

/// A stopped job's outcome is decided: what was proven is paid, or its locks return.
pub(super) fn stopped(
    row: &mut JobRow,
    owner: PublicKey,
    core: &EngineCore,
    outbox: &mut Outbox,
    stopped: &StoppedRow,
    evidence: Evidence,
) {
    let (outcome, reason) = stop_reasons(row.status());
    let observed_ms = stopped.observed_ms;
    let paid = match evidence {
        Evidence::Receipt(receipt, signature) => {
            row.evidence = receipt.encode().into();
            row.evidence_signature = Bytes::copy_from_slice(&signature);
            settle(row, owner, core, outbox, |row, assignment| Work {
                evidence_id: receipt.id(&signature),
                observed_ms,
                work_ms: receipt.work_ms,
                billed_ms: billed_ms(assignment, &receipt, input_len(row), observed_ms),
                ..work_of(assignment, outcome)
            })
        }
        Evidence::Checkpoint => match StreamCheckpoint::decode(&stopped.checkpoint) {
            Ok(checkpoint) => {
                row.evidence = stopped.checkpoint.clone();
                row.evidence_signature = stopped.checkpoint_signature.clone();
                settle(row, owner, core, outbox, |_, assignment| Work {
                    evidence_id: checkpoint.id(&stopped.checkpoint_signature),
                    observed_ms,
                    work_ms: checkpoint.work_ms,
                    billed_ms: billed_ms_so_far(assignment, &checkpoint, observed_ms),
                    ..work_of(assignment, outcome)
                })
            }
            Err(_) => false,
        },
    };
    if !paid {
        give_back(row, reason, outbox);
    }
}

/// How a stopped job is paid, and why its locks return otherwise.
pub(super) fn stop_reasons(status: JobStatus) -> (Outcome, VoidReason) {
    match status {
        JobStatus::Expired => (Outcome::Deadline, VoidReason::Deadline),
        _ => (Outcome::Cancelled, VoidReason::Cancelled),
    }
}

/// All open locks return whole.
pub(super) fn give_back(row: &mut JobRow, reason: VoidReason, outbox: &mut Outbox) {
    give_back_where(row, reason, outbox, |_| true);
}

fn give_back_where(
    row: &mut JobRow,
    reason: VoidReason,
    outbox: &mut Outbox,
    which: impl Fn(&LockRow) -> bool,
) {
    let open = row.locks.iter_mut().filter(|lock| !lock.returned);
    for lock in open.filter(|lock| which(lock)) {
        lock.returned = true;
        row.returned = row.returned.saturating_add(lock.amount);
        row.payment = PaymentStatus::Refunded.into();
        outbox.void(lock.id(), reason);
    }
}

/// Orders the payment of the newest attempt's work; locks whose terms do not allow it return. False = none pays.
fn settle(
    row: &mut JobRow,
    owner: PublicKey,
    core: &EngineCore,
    outbox: &mut Outbox,
    work: impl FnOnce(&JobRow, &Assignment) -> Work,
) -> bool {
    let Some(assignment) = assignment(row) else {
        return false;
    };
    give_back_where(row, VoidReason::Terms, outbox, |lock| {
        !pays(lock, &assignment)
    });
    let locks: Vec<Hash> = row.open_locks().map(LockRow::id).collect();
    if locks.is_empty() {
        return false;
    }
    let gpu = gpu(row, core);
    row.payment = PaymentStatus::Settling.into();
    let mut work = Work {
        gpu,
        ..work(row, &assignment)
    };
    if core.config.broken.pay_first_payee
        && let Some(first) = row.attempts.first()
        && let Ok(first) = Assignment::decode(&first.assignment)
    {
        work.payee = first.payee;
    }
    outbox.orders.push(Order::Settle {
        job: row.id(),
        owner,
        work,
        locks,
    });
    true
}

/// The newest assignment of the newest attempt.
pub(crate) fn assignment(row: &JobRow) -> Option<Assignment> {
    Assignment::decode(&row.attempts.last()?.assignment).ok()
}

fn input_len(row: &JobRow) -> u64 {
    JobSpec::decode(&row.spec).map_or(0, |spec| spec.input_len)
}

fn gpu(row: &JobRow, core: &EngineCore) -> Hash {
    let miner = row.attempts.last().map(|attempt| attempt.miner());
    let record = miner.and_then(|miner| core.miners.get(&miner));
    let gpu = record.and_then(|miner| miner.record.gpus.first());
    gpu.map_or_else(Hash::default, |gpu| sha256(gpu.model.as_bytes()))
}

/// Without its evidence and times.
fn work_of(assignment: &Assignment, outcome: Outcome) -> Work {
    Work {
        job_ref: assignment.job_ref,
        attempt: assignment.attempt,
        outcome,
        miner: assignment.miner_key,
        payee: assignment.payee,
        evidence_id: Hash::default(),
        gpu: Hash::default(),
        rate: assignment.rate,
        observed_ms: 0,
        work_ms: 0,
        billed_ms: 0,
    }
}

/// A completed job's receipt, its id and the observed time in ms.
fn delivered(row: &JobRow) -> Option<(Receipt, Hash, u64)> {
    let delivery = row.delivery.as_ref()?;
    let receipt = Receipt::decode(&delivery.receipt).ok()?;
    let id = receipt.id(&delivery.signature);
    Some((receipt, id, delivery.observed_ms))
}

/// What a completed job's work costs, in micro-AIT, whether it is paid or not.
pub(crate) fn cost(row: &JobRow) -> Option<u64> {
    let (receipt, _, observed_ms) = delivered(row)?;
    let assignment = assignment(row)?;
    Some(price(&assignment, &receipt, input_len(row), observed_ms))
}

/// A lock for a job that is final: a completed one that nobody paid is settled at once, where payment is optional.
pub(super) fn pay_late(
    row: &mut JobRow,
    owner: PublicKey,
    core: &mut EngineCore,
    outbox: &mut Outbox,
    opened: &LockOpened,
) {
    if let Some(reason) = refuse_late(row, core, opened) {
        return outbox.void(opened.lock, reason);
    }
    outbox.opened.push((opened.lock, row.id(), owner));
    row.locks.push(lock_row(opened));
    let Some((receipt, id, observed_ms)) = delivered(row) else {
        return give_back(row, VoidReason::Finished, outbox);
    };
    let paid = settle(row, owner, core, outbox, |row, assignment| Work {
        evidence_id: id,
        observed_ms,
        work_ms: receipt.work_ms,
        billed_ms: billed_ms(assignment, &receipt, input_len(row), observed_ms),
        ..work_of(assignment, receipt.outcome)
    });
    if paid {
        core.funded.insert(opened.target, row.id());
    } else {
        give_back(row, VoidReason::Terms, outbox);
    }
}

fn refuse_late(row: &JobRow, core: &EngineCore, opened: &LockOpened) -> Option<VoidReason> {
    let job_ref = JobSpec::decode(&row.spec).map(|spec| spec.job_ref());
    if job_ref != Ok(opened.target) {
        return Some(VoidReason::WrongTarget);
    }
    // Locks for two jobs of one specification may come at once.
    let funded = core.funded.get(&opened.target);
    if funded.is_some_and(|other| *other != row.id()) && !core.config.broken.fund_again {
        return Some(VoidReason::WrongTarget);
    }
    if !payable_late(row, core) {
        return Some(VoidReason::Finished);
    }
    let pays = assignment(row).is_some_and(|assignment| pays(&lock_row(opened), &assignment));
    (!pays).then_some(VoidReason::Terms)
}

/// Whether a final job takes a payment.
pub(super) fn payable_late(row: &JobRow, core: &EngineCore) -> bool {
    !core.config.funding_required
        && row.status() == JobStatus::Completed
        && row.open_locks().next().is_none()
        && row.paid == 0
        && row.locks.len() < MAX_LOCKS
}

/// The ledger paid a job's locks out.
pub(super) fn settled(
    row: &mut JobRow,
    (posted, fee, returned): (u64, u64, u64),
    outbox: &mut Outbox,
) {
    outbox.closed.extend(row.open_locks().map(LockRow::id));
    row.paid = row.paid.saturating_add(posted);
    row.fee = row.fee.saturating_add(fee);
    row.returned = row.returned.saturating_add(returned);
    let status = if row.paid > 0 {
        PaymentStatus::Settled
    } else {
        PaymentStatus::Refunded
    };
    row.payment = status.into();
}

/// A lock ended by itself, or could not be settled.
pub(super) fn returned(row: &mut JobRow, lock: Hash, outbox: &mut Outbox) {
    let found = row.locks.iter_mut().find(|known| known.id() == lock);
    let Some(found) = found.filter(|known| !known.returned) else {
        return;
    };
    found.returned = true;
    row.returned = row.returned.saturating_add(found.amount);
    outbox.closed.push(lock);
    if row.open_locks().next().is_none() && row.paid == 0 {
        row.payment = PaymentStatus::Refunded.into();
    }
}
