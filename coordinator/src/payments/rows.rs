//! Orders and notices as the outboxes store them: protobuf messages of the store's own. Tags are frozen; removed ones are
//! never used again.

use aitbc_common::address::Address;
use aitbc_common::identity::PublicKey;
use aitbc_common::ids::JobId;
use aitbc_common::layouts::{Acknowledgement, LockPurpose, Outcome, ReceiptEntry, VoidReason};
use aitbc_common::ledger::settlement::Work;
use bytes::Bytes;
use prost::Message;

use super::{LockOpened, Notice, Order};
use crate::store::{StoreError, rows::decode};

/// One [`Order`].
#[derive(Clone, PartialEq, Message)]
pub struct OrderRow {
    /// A lock to return (its tx_id), with `reason`.
    #[prost(bytes = "bytes", tag = "1")]
    pub void_lock: Bytes,
    /// Why: the byte of a VOID record.
    #[prost(uint32, tag = "2")]
    pub reason: u32,
    /// A job to settle.
    #[prost(message, optional, tag = "3")]
    pub settle: Option<SettleRow>,
    /// Unpaid work to log.
    #[prost(message, optional, tag = "4")]
    pub receipt: Option<ReceiptRow>,
    /// What an owner says of a receipt.
    #[prost(message, optional, tag = "5")]
    pub acknowledgement: Option<AcknowledgementRow>,
}

/// [`Order::Settle`].
#[derive(Clone, PartialEq, Message)]
pub struct SettleRow {
    /// UUID bytes of the job's id.
    #[prost(bytes = "bytes", tag = "1")]
    pub job: Bytes,
    /// The owner's key.
    #[prost(bytes = "bytes", tag = "2")]
    pub owner: Bytes,
    /// tx_ids of the locks.
    #[prost(bytes = "bytes", repeated, tag = "3")]
    pub locks: Vec<Bytes>,
    /// job_ref.
    #[prost(bytes = "bytes", tag = "4")]
    pub job_ref: Bytes,
    /// The attempt.
    #[prost(uint32, tag = "5")]
    pub attempt: u32,
    /// The byte of the outcome.
    #[prost(uint32, tag = "6")]
    pub outcome: u32,
    /// Who ran it.
    #[prost(bytes = "bytes", tag = "7")]
    pub miner: Bytes,
    /// Who is paid.
    #[prost(bytes = "bytes", tag = "8")]
    pub payee: Bytes,
    /// Id of receipt or checkpoint.
    #[prost(bytes = "bytes", tag = "9")]
    pub evidence_id: Bytes,
    /// Hash of the GPU's name.
    #[prost(bytes = "bytes", tag = "10")]
    pub gpu: Bytes,
    /// Micro-AIT per hour.
    #[prost(uint64, tag = "11")]
    pub rate: u64,
    /// Milliseconds.
    #[prost(uint64, tag = "12")]
    pub observed_ms: u64,
    /// Milliseconds.
    #[prost(uint64, tag = "13")]
    pub work_ms: u64,
    /// Milliseconds.
    #[prost(uint64, tag = "14")]
    pub billed_ms: u64,
}

/// [`Order::LogReceipt`].
#[derive(Clone, PartialEq, Message)]
pub struct ReceiptRow {
    /// job_ref.
    #[prost(bytes = "bytes", tag = "1")]
    pub job_ref: Bytes,
    /// The attempt.
    #[prost(uint32, tag = "2")]
    pub attempt: u32,
    /// Who ran it.
    #[prost(bytes = "bytes", tag = "3")]
    pub miner: Bytes,
    /// Id of the receipt.
    #[prost(bytes = "bytes", tag = "4")]
    pub receipt_id: Bytes,
}

/// [`Order::LogAcknowledgement`].
#[derive(Clone, PartialEq, Message)]
pub struct AcknowledgementRow {
    /// Its layout.
    #[prost(bytes = "bytes", tag = "1")]
    pub layout: Bytes,
    /// The owner's signature over it.
    #[prost(bytes = "bytes", tag = "2")]
    pub signature: Bytes,
}

/// One [`Notice`].
#[derive(Clone, PartialEq, Message)]
pub struct NoticeRow {
    /// A new lock.
    #[prost(message, optional, tag = "1")]
    pub locked: Option<LockRow>,
    /// A job that was settled.
    #[prost(message, optional, tag = "2")]
    pub settled: Option<SettledRow>,
    /// A lock that returned.
    #[prost(message, optional, tag = "3")]
    pub returned: Option<ReturnedRow>,
    /// An identity whose payee was bound.
    #[prost(message, optional, tag = "4")]
    pub bound: Option<BoundRow>,
}

/// [`LockOpened`].
#[derive(Clone, PartialEq, Message)]
pub struct LockRow {
    /// tx_id.
    #[prost(bytes = "bytes", tag = "1")]
    pub lock: Bytes,
    /// job_ref or rental_ref.
    #[prost(bytes = "bytes", tag = "2")]
    pub target: Bytes,
    /// The byte of the purpose.
    #[prost(uint32, tag = "3")]
    pub purpose: u32,
    /// Whose money it is.
    #[prost(bytes = "bytes", tag = "4")]
    pub payer: Bytes,
    /// Micro-AIT.
    #[prost(uint64, tag = "5")]
    pub amount: u64,
    /// Unix ms.
    #[prost(uint64, tag = "6")]
    pub expires_at: u64,
    /// Micro-AIT per hour.
    #[prost(uint64, tag = "7")]
    pub max_rate: u64,
    /// Hundredths of a percent.
    #[prost(uint32, tag = "8")]
    pub max_fee_bps: u32,
    /// The one miner; 32 zero bytes = any.
    #[prost(bytes = "bytes", tag = "9")]
    pub miner_key: Bytes,
    /// Index of its record.
    #[prost(uint64, tag = "10")]
    pub log_index: u64,
    /// UUID bytes of the job's id, or empty.
    #[prost(bytes = "bytes", tag = "11")]
    pub job: Bytes,
    /// The owner's key, or empty.
    #[prost(bytes = "bytes", tag = "12")]
    pub owner: Bytes,
    /// The log has paid for this target before.
    #[prost(bool, tag = "13")]
    pub target_is_paid: bool,
    /// The identity that locks it, or empty.
    #[prost(bytes = "bytes", tag = "14")]
    pub by: Bytes,
}

/// [`Notice::Settled`].
#[derive(Clone, PartialEq, Message)]
pub struct SettledRow {
    /// UUID bytes of the job's id.
    #[prost(bytes = "bytes", tag = "1")]
    pub job: Bytes,
    /// The owner's key.
    #[prost(bytes = "bytes", tag = "2")]
    pub owner: Bytes,
    /// Micro-AIT.
    #[prost(uint64, tag = "3")]
    pub posted: u64,
    /// Micro-AIT.
    #[prost(uint64, tag = "4")]
    pub fee: u64,
    /// Micro-AIT.
    #[prost(uint64, tag = "5")]
    pub returned: u64,
}

/// [`Notice::Bound`].
#[derive(Clone, PartialEq, Message)]
pub struct BoundRow {
    /// The identity's key.
    #[prost(bytes = "bytes", tag = "1")]
    pub identity: Bytes,
    /// The wallet's address, or empty.
    #[prost(bytes = "bytes", tag = "2")]
    pub wallet: Bytes,
}

/// [`Notice::Returned`].
#[derive(Clone, PartialEq, Message)]
pub struct ReturnedRow {
    /// tx_id.
    #[prost(bytes = "bytes", tag = "1")]
    pub lock: Bytes,
    /// job_ref.
    #[prost(bytes = "bytes", tag = "2")]
    pub target: Bytes,
    /// Micro-AIT.
    #[prost(uint64, tag = "3")]
    pub amount: u64,
}

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
            settle: Some(SettleRow {
                job: copied(&job.0),
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

/// The order of a row.
///
/// # Errors
/// A damaged row.
pub fn read_order(row: &OrderRow) -> Result<Order, StoreError> {
    let attempt = |attempt: u32| u16::try_from(attempt).map_err(|_| damaged());
    if let Some(settle) = &row.settle {
        let outcome = u8::try_from(settle.outcome)
            .ok()
            .and_then(Outcome::from_byte);
        return Ok(Order::Settle {
            job: JobId(fixed(&settle.job)?),
            owner: PublicKey(fixed(&settle.owner)?),
            locks: settle.locks.iter().map(fixed).collect::<Result<_, _>>()?,
            work: Work {
                job_ref: fixed(&settle.job_ref)?,
                attempt: attempt(settle.attempt)?,
                outcome: outcome.ok_or_else(damaged)?,
                miner: PublicKey(fixed(&settle.miner)?),
                payee: Address(fixed(&settle.payee)?),
                evidence_id: fixed(&settle.evidence_id)?,
                gpu: fixed(&settle.gpu)?,
                rate: settle.rate,
                observed_ms: settle.observed_ms,
                work_ms: settle.work_ms,
                billed_ms: settle.billed_ms,
            },
        });
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

/// A notice's row.
#[must_use]
pub fn notice(notice: &Notice) -> Vec<u8> {
    let row = match notice {
        Notice::Locked(lock) => NoticeRow {
            locked: Some(LockRow {
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
            }),
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
