//! Changes of a job's stored row. They are decided while the row is not loaded, and applied once it is.

use aitbc_common::address::Address;
use aitbc_common::hash::Hash;
use aitbc_common::identity::PublicKey;
use aitbc_common::ids::MinerId;
use aitbc_common::layouts::{Acknowledgement, Assignment, JobSpec, NO_BUDGET, VoidReason};
use aitbc_proto::v1;
use bytes::Bytes;

use super::acknowledgements;
use super::core::EngineCore;
use super::outbox::Outbox;
use super::payment::{self, Evidence};
use crate::jobs::lifecycle::Millis;
use crate::payments::LockOpened;
use crate::store::rows::{AttemptRow, DeliveryRow, JobRow, LockRow, StoppedRow};

/// Attempts kept in a job's history: the newest.
const ATTEMPTS_KEPT: usize = 64;

/// What a miner is promised.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    pub miner_id: MinerId,
    pub miner_name: String,
    pub miner_key: PublicKey,
    pub payee: Address,
    pub rate: u64,
    pub prompt_speed: u32,
    pub output_speed: u32,
    /// It is taken by hand, for so long.
    pub poll_lease_ms: Option<Millis>,
}

#[derive(Debug)]
pub(super) enum Edit {
    /// A new attempt.
    Lease {
        attempt: u16,
        terms: Box<Terms>,
        at_ms: Millis,
    },
    /// The newest attempt, which is done by hand, has a new lease of this length.
    Extend(Millis),
    /// The newest attempt ended.
    End {
        outcome: v1::AttemptOutcome,
        failure: Option<v1::Failure>,
        started_ms: Millis,
        at_ms: Millis,
    },
    /// It waits again.
    Requeue {
        not_before_ms: Millis,
        retries_spent: u32,
    },
    /// This miner failed it.
    Exclude(MinerId),
    /// Miners that failed it may have it again.
    Readmit,
    /// It is final.
    Finish {
        status: v1::JobStatus,
        failure: Option<v1::Failure>,
        retries_spent: u32,
        at_ms: Millis,
    },
    /// What the miner delivered; without an observed time where it was lost before.
    Deliver(Box<DeliveryRow>),
    /// A lock is adopted; a live attempt gets a newer assignment.
    Fund {
        lock: Box<LockRow>,
        /// Its place in its queue.
        tag: u64,
        at_ms: Millis,
    },
    /// It waits for funds.
    NeedFunds,
    /// It was stopped; what its locks pay is decided later.
    Owe,
    /// It ended without paid work.
    GiveBack(VoidReason),
    /// It was stopped, and now it is known what its locks pay.
    Stopped(Box<StoppedRow>, Evidence),
    /// A lock for it, now that it is final.
    PayLate(Box<LockOpened>),
    /// Its locks paid: micro-AIT paid, of that the fee, and returned.
    Settled(u64, u64, u64),
    /// A lock ended by itself.
    LockReturned(Hash),
    /// Input, output and result go.
    DeleteContent,
    /// Its owner says what became of the result.
    Acknowledge(Box<Acknowledgement>, [u8; 64]),
}

impl Edit {
    pub fn apply(
        self,
        row: &mut JobRow,
        owner: PublicKey,
        core: &mut EngineCore,
        outbox: &mut Outbox,
    ) {
        match self {
            Self::Lease {
                attempt,
                terms,
                at_ms,
            } => lease(row, core, attempt, &terms, at_ms),
            Self::Extend(lease_ms) => extend(row, lease_ms),
            Self::End {
                outcome,
                failure,
                started_ms,
                at_ms,
            } => {
                row.leased = false;
                if let Some(last) = row.attempts.last_mut() {
                    last.outcome = outcome.into();
                    last.failure = failure;
                    // A late receipt ends an attempt that had ended before: when it started stays.
                    last.started_ms = last.started_ms.max(started_ms);
                    last.ended_ms = at_ms;
                }
            }
            Self::Requeue {
                not_before_ms,
                retries_spent,
            } => {
                row.not_before_ms = not_before_ms;
                row.retries_spent = retries_spent;
            }
            Self::Exclude(miner) => row.excluded.push(Bytes::copy_from_slice(&miner.0)),
            Self::Readmit => row.excluded.clear(),
            Self::Finish {
                status,
                failure,
                retries_spent,
                at_ms,
            } => {
                row.status = status.into();
                row.failure = failure;
                row.retries_spent = retries_spent;
                row.finished_ms = at_ms.max(1);
            }
            Self::Deliver(delivery) => {
                row.delivery = Some(observed(*delivery, row));
                payment::completed(row, owner, core, outbox);
            }
            Self::Fund { lock, tag, at_ms } => {
                row.tag = tag;
                payment::adopt(row, *lock);
                payment::raise(row, at_ms);
                remember(row, core);
            }
            Self::NeedFunds => row.status = v1::JobStatus::Pending.into(),
            Self::Owe => row.payment = v1::PaymentStatus::Settling.into(),
            Self::GiveBack(reason) => payment::give_back(row, reason, outbox),
            Self::Stopped(stopped, evidence) => {
                payment::stopped(row, owner, core, outbox, &stopped, evidence);
            }
            Self::PayLate(opened) => payment::pay_late(row, owner, core, outbox, &opened),
            Self::Settled(posted, fee, returned) => {
                payment::settled(row, (posted, fee, returned), outbox);
                outbox.settled(row, owner, core, (posted, fee));
            }
            Self::LockReturned(lock) => payment::returned(row, lock, outbox),
            Self::DeleteContent => delete_content(row),
            Self::Acknowledge(acknowledgement, signature) => {
                acknowledgements::keep(row, owner, *acknowledgement, signature, outbox);
            }
        }
    }
}

impl Edit {
    /// The job's row is gone: nothing is left to change.
    pub fn miss(self, outbox: &mut Outbox) {
        if let Self::PayLate(opened) = self {
            outbox.void(opened.lock, VoidReason::UnknownJob);
        }
    }
}

/// A result that came after its attempt was given up: observed since that began.
fn observed(mut delivery: DeliveryRow, row: &JobRow) -> DeliveryRow {
    if let (0, Some(last)) = (delivery.observed_ms, row.attempts.last()) {
        let began = if last.started_ms > 0 {
            last.started_ms
        } else {
            last.assigned_ms
        };
        delivery.observed_ms = last.ended_ms.saturating_sub(began);
    }
    delivery
}

fn delete_content(row: &mut JobRow) {
    row.input = Bytes::new();
    row.content_deleted = true;
    if let Some(delivery) = &mut row.delivery {
        delivery.result = None;
    }
}

/// The live attempt in memory is as in the row.
fn remember(row: &JobRow, core: &mut EngineCore) {
    let live = core.jobs.get_mut(&row.id());
    let lease = live.and_then(|live| live.lease.as_mut());
    if let (Some(lease), Some(attempt)) = (lease, row.live_attempt()) {
        lease.attempt = attempt.clone();
        lease.request_id.clone_from(&row.request_id);
    }
}

fn extend(row: &mut JobRow, lease_ms: Millis) {
    if let Some(last) = row.attempts.last_mut() {
        last.poll_lease_ms = lease_ms;
    }
}

fn lease(row: &mut JobRow, core: &mut EngineCore, attempt: u16, terms: &Terms, at_ms: Millis) {
    // The row was written by this program: an undecodable spec would be damage, and every proof on it would fail anyway.
    let job_ref = JobSpec::decode(&row.spec).map_or(Hash::default(), |spec| spec.job_ref());
    let mut assignment = Assignment {
        flags: 0,
        attempt,
        chain_id: core.config.chain_id,
        job_id: row.id(),
        job_ref,
        miner_key: terms.miner_key,
        payee: terms.payee,
        rate: terms.rate,
        fee_bps: core.config.fee_bps,
        locked: 0,
        budget_ms: NO_BUDGET,
        prompt_speed: terms.prompt_speed,
        output_speed: terms.output_speed,
        issued_ms: at_ms,
        locks_hash: Hash::default(),
    };
    payment::add_locks(&mut assignment, row);
    let new = AttemptRow {
        attempt: u32::from(attempt),
        miner_id: Bytes::copy_from_slice(&terms.miner_id.0),
        miner_name: terms.miner_name.clone(),
        outcome: v1::AttemptOutcome::Running.into(),
        failure: None,
        assigned_ms: at_ms,
        ended_ms: 0,
        assignment: assignment.encode().into(),
        started_ms: terms.poll_lease_ms.map_or(0, |_| at_ms),
        polled: terms.poll_lease_ms.is_some(),
        poll_lease_ms: terms.poll_lease_ms.unwrap_or(0),
        earlier: Vec::new(),
    };
    row.attempt = u32::from(attempt);
    row.leased = true;
    row.attempts.push(new);
    if row.attempts.len() > ATTEMPTS_KEPT {
        row.attempts.remove(0);
    }
    remember(row, core);
}
