//! Orders and notices as the outboxes store them: protobuf messages of the store's own. Tags are frozen; removed ones are
//! never used again.

use aitbc_common::address::Address;
use aitbc_common::hash::Hash;
use aitbc_common::identity::PublicKey;
use aitbc_common::ids::{JobId, ListingId, RentalId};
use aitbc_common::layouts::{
    Acknowledgement, Contradiction, FaultReason, LockPurpose, Outcome, ReceiptEntry, VoidReason,
};
use aitbc_common::ledger::settlement::Work;
use bytes::Bytes;
use prost::Message;

use super::{LockOpened, Notice, Order, RentalTerms};
use crate::store::{StoreError, rows::decode};

mod messages;

pub use messages::{
    AcknowledgementRow, BoundRow, FaultRow, LockRow, NoticeRow, OrderRow, ReceiptRow,
    RentalPaidRow, RentalTermsRow, ReturnedRow, SettleRow, SettledRow, SlashRow,
};

fn copied(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

fn fixed<const N: usize>(bytes: &Bytes) -> Result<[u8; N], StoreError> {
    bytes.as_ref().try_into().map_err(|_| damaged())
}

fn damaged() -> StoreError {
    StoreError::Corrupt("a row of an outbox is damaged".into())
}

/// An order's row.
#[must_use]
pub fn order(order: &Order) -> OrderRow {
    match order {
        Order::Void { lock, reason } => OrderRow {
            void_lock: copied(lock),
            reason: *reason as u32,
            ..OrderRow::default()
        },
        Order::Settle {
            job,
            owner,
            work,
            locks,
        } => OrderRow {
            settle: Some(settle_row(&job.0, owner, locks, work)),
            ..OrderRow::default()
        },
        Order::PayRental {
            rental,
            renter,
            lock,
            work,
        } => OrderRow {
            rental: Some(settle_row(&rental.0, renter, &[*lock], work)),
            ..OrderRow::default()
        },
        Order::LogFault {
            lock,
            job_ref,
            attempt,
            miner,
            reason,
        } => OrderRow {
            fault: Some(FaultRow {
                lock: copied(lock),
                job_ref: copied(job_ref),
                attempt: (*attempt).into(),
                miner: copied(&miner.0),
                reason: *reason as u32,
            }),
            ..OrderRow::default()
        },
        Order::Slash(evidence) => OrderRow {
            slash: Some(SlashRow {
                miner: copied(&evidence.miner.0),
                statements: evidence.encode().into(),
            }),
            ..OrderRow::default()
        },
        Order::LogReceipt(entry) => OrderRow {
            receipt: Some(ReceiptRow {
                job_ref: copied(&entry.job_ref),
                attempt: entry.attempt.into(),
                miner: copied(&entry.miner.0),
                receipt_id: copied(&entry.receipt_id),
            }),
            ..OrderRow::default()
        },
        Order::LogAcknowledgement(acknowledgement, signature) => OrderRow {
            acknowledgement: Some(AcknowledgementRow {
                layout: acknowledgement.encode().into(),
                signature: copied(signature),
            }),
            ..OrderRow::default()
        },
    }
}

fn settle_row(id: &[u8; 16], owner: &PublicKey, locks: &[Hash], work: &Work) -> SettleRow {
    SettleRow {
        job: copied(id),
        owner: copied(&owner.0),
        locks: locks.iter().map(|lock| copied(lock)).collect(),
        job_ref: copied(&work.job_ref),
        attempt: work.attempt.into(),
        outcome: work.outcome as u32,
        miner: copied(&work.miner.0),
        payee: copied(&work.payee.0),
        evidence_id: copied(&work.evidence_id),
        gpu: copied(&work.gpu),
        rate: work.rate,
        observed_ms: work.observed_ms,
        work_ms: work.work_ms,
        billed_ms: work.billed_ms,
    }
}

fn work(row: &SettleRow) -> Result<Work, StoreError> {
    let outcome = u8::try_from(row.outcome).ok().and_then(Outcome::from_byte);
    Ok(Work {
        job_ref: fixed(&row.job_ref)?,
        attempt: attempt(row.attempt)?,
        outcome: outcome.ok_or_else(damaged)?,
        miner: PublicKey(fixed(&row.miner)?),
        payee: Address(fixed(&row.payee)?),
        evidence_id: fixed(&row.evidence_id)?,
        gpu: fixed(&row.gpu)?,
        rate: row.rate,
        observed_ms: row.observed_ms,
        work_ms: row.work_ms,
        billed_ms: row.billed_ms,
    })
}

fn attempt(attempt: u32) -> Result<u16, StoreError> {
    u16::try_from(attempt).map_err(|_| damaged())
}

fn rental_terms_row(terms: &RentalTerms) -> RentalTermsRow {
    RentalTermsRow {
        new_id: copied(&terms.new_id.0),
        extends: terms.extends.map(|id| copied(&id.0)).unwrap_or_default(),
        listing: copied(&terms.listing.0),
        renter: copied(&terms.renter.0),
        salt: copied(&terms.salt),
        term_ms: terms.term_ms,
        rate: terms.rate,
    }
}

fn rental_terms(row: &RentalTermsRow) -> Result<RentalTerms, StoreError> {
    let extends = (!row.extends.is_empty())
        .then(|| fixed(&row.extends))
        .transpose()?;
    Ok(RentalTerms {
        new_id: RentalId(fixed(&row.new_id)?),
        extends: extends.map(RentalId),
        listing: ListingId(fixed(&row.listing)?),
        renter: PublicKey(fixed(&row.renter)?),
        salt: fixed(&row.salt)?,
        term_ms: row.term_ms,
        rate: row.rate,
    })
}

/// The order of a row.
///
/// # Errors
/// A damaged row.
pub fn read_order(row: &OrderRow) -> Result<Order, StoreError> {
    if let Some(settle) = &row.settle {
        return Ok(Order::Settle {
            job: JobId(fixed(&settle.job)?),
            owner: PublicKey(fixed(&settle.owner)?),
            locks: settle.locks.iter().map(fixed).collect::<Result<_, _>>()?,
            work: work(settle)?,
        });
    }
    if let Some(rental) = &row.rental {
        let lock = rental.locks.first().ok_or_else(damaged)?;
        return Ok(Order::PayRental {
            rental: RentalId(fixed(&rental.job)?),
            renter: PublicKey(fixed(&rental.owner)?),
            lock: fixed(lock)?,
            work: work(rental)?,
        });
    }
    if let Some(fault) = &row.fault {
        let reason = u8::try_from(fault.reason).ok();
        return Ok(Order::LogFault {
            lock: fixed(&fault.lock)?,
            job_ref: fixed(&fault.job_ref)?,
            attempt: attempt(fault.attempt)?,
            miner: PublicKey(fixed(&fault.miner)?),
            reason: reason
                .and_then(FaultReason::from_byte)
                .ok_or_else(damaged)?,
        });
    }
    if let Some(slash) = &row.slash {
        let miner = PublicKey(fixed(&slash.miner)?);
        let evidence = Contradiction::decode(miner, &slash.statements).map_err(|_| damaged())?;
        return Ok(Order::Slash(Box::new(evidence)));
    }
    if let Some(receipt) = &row.receipt {
        return Ok(Order::LogReceipt(ReceiptEntry {
            job_ref: fixed(&receipt.job_ref)?,
            attempt: attempt(receipt.attempt)?,
            miner: PublicKey(fixed(&receipt.miner)?),
            receipt_id: fixed(&receipt.receipt_id)?,
        }));
    }
    if let Some(row) = &row.acknowledgement {
        let acknowledgement = Acknowledgement::decode(&row.layout).map_err(|_| damaged())?;
        return Ok(Order::LogAcknowledgement(
            acknowledgement,
            fixed(&row.signature)?,
        ));
    }
    let reason = u8::try_from(row.reason)
        .ok()
        .and_then(VoidReason::from_byte);
    Ok(Order::Void {
        lock: fixed(&row.void_lock)?,
        reason: reason.ok_or_else(damaged)?,
    })
}

fn lock_row(lock: &LockOpened) -> LockRow {
    LockRow {
        lock: copied(&lock.lock),
        target: copied(&lock.target),
        purpose: lock.purpose as u32,
        payer: copied(&lock.payer.0),
        amount: lock.amount,
        expires_at: lock.expires_at,
        max_rate: lock.max_rate,
        max_fee_bps: lock.max_fee_bps.into(),
        miner_key: copied(&lock.miner_key.0),
        log_index: lock.log_index,
        job: lock.job.map(|job| copied(&job.0)).unwrap_or_default(),
        owner: lock.owner.map(|owner| copied(&owner.0)).unwrap_or_default(),
        target_is_paid: lock.target_is_paid,
        by: lock.by.map(|by| copied(&by.0)).unwrap_or_default(),
        rental: lock.rental.as_ref().map(rental_terms_row),
    }
}

/// A notice's row.
#[must_use]
pub fn notice(notice: &Notice) -> Vec<u8> {
    let row = match notice {
        Notice::Locked(lock) => NoticeRow {
            locked: Some(lock_row(lock)),
            ..NoticeRow::default()
        },
        Notice::Settled {
            job,
            owner,
            posted,
            fee,
            returned,
        } => NoticeRow {
            settled: Some(SettledRow {
                job: copied(&job.0),
                owner: copied(&owner.0),
                posted: *posted,
                fee: *fee,
                returned: *returned,
            }),
            ..NoticeRow::default()
        },
        Notice::RentalPaid {
            rental,
            renter,
            lock,
            number,
            posted,
            fee,
            returned,
        } => NoticeRow {
            rental: Some(RentalPaidRow {
                rental: copied(&rental.0),
                renter: copied(&renter.0),
                lock: copied(lock),
                number: (*number).into(),
                posted: *posted,
                fee: *fee,
                returned: *returned,
            }),
            ..NoticeRow::default()
        },
        Notice::Bound { identity, wallet } => NoticeRow {
            bound: Some(BoundRow {
                identity: copied(&identity.0),
                wallet: wallet.map(|wallet| copied(&wallet.0)).unwrap_or_default(),
            }),
            ..NoticeRow::default()
        },
        Notice::Returned {
            lock,
            target,
            amount,
        } => NoticeRow {
            returned: Some(ReturnedRow {
                lock: copied(lock),
                target: copied(target),
                amount: *amount,
            }),
            ..NoticeRow::default()
        },
    };
    row.encode_to_vec()
}

/// The notice of a row's bytes.
///
/// # Errors
/// A damaged row.
pub fn read_notice(bytes: Bytes) -> Result<Notice, StoreError> {
    let row: NoticeRow = decode(bytes)?;
    if let Some(lock) = row.locked {
        let purpose = u8::try_from(lock.purpose)
            .ok()
            .and_then(LockPurpose::from_byte);
        let job = (!lock.job.is_empty())
            .then(|| fixed(&lock.job))
            .transpose()?;
        let owner = (!lock.owner.is_empty())
            .then(|| fixed(&lock.owner))
            .transpose()?;
        let by = (!lock.by.is_empty()).then(|| fixed(&lock.by)).transpose()?;
        return Ok(Notice::Locked(LockOpened {
            lock: fixed(&lock.lock)?,
            target: fixed(&lock.target)?,
            purpose: purpose.ok_or_else(damaged)?,
            payer: Address(fixed(&lock.payer)?),
            amount: lock.amount,
            expires_at: lock.expires_at,
            max_rate: lock.max_rate,
            max_fee_bps: u16::try_from(lock.max_fee_bps).map_err(|_| damaged())?,
            miner_key: PublicKey(fixed(&lock.miner_key)?),
            log_index: lock.log_index,
            job: job.map(JobId),
            owner: owner.map(PublicKey),
            by: by.map(PublicKey),
            target_is_paid: lock.target_is_paid,
            rental: lock.rental.as_ref().map(rental_terms).transpose()?,
        }));
    }
    if let Some(settled) = row.settled {
        return Ok(Notice::Settled {
            job: JobId(fixed(&settled.job)?),
            owner: PublicKey(fixed(&settled.owner)?),
            posted: settled.posted,
            fee: settled.fee,
            returned: settled.returned,
        });
    }
    if let Some(rental) = row.rental {
        return Ok(Notice::RentalPaid {
            rental: RentalId(fixed(&rental.rental)?),
            renter: PublicKey(fixed(&rental.renter)?),
            lock: fixed(&rental.lock)?,
            number: attempt(rental.number)?,
            posted: rental.posted,
            fee: rental.fee,
            returned: rental.returned,
        });
    }
    if let Some(bound) = row.bound {
        let wallet = (!bound.wallet.is_empty())
            .then(|| fixed(&bound.wallet))
            .transpose()?;
        return Ok(Notice::Bound {
            identity: PublicKey(fixed(&bound.identity)?),
            wallet: wallet.map(Address),
        });
    }
    let returned = row.returned.ok_or_else(damaged)?;
    Ok(Notice::Returned {
        lock: fixed(&returned.lock)?,
        target: fixed(&returned.target)?,
        amount: returned.amount,
    })
}
