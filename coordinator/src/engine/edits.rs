//! Changes of a job's stored row. They are decided while the row is not loaded, and applied once it is.

use aitbc_common::address::Address;
use aitbc_common::hash::Hash;
use aitbc_common::identity::PublicKey;
use aitbc_common::ids::MinerId;
use aitbc_common::layouts::{Assignment, JobSpec};
use aitbc_proto::v1;
use bytes::Bytes;

use super::core::EngineCore;
use crate::jobs::lifecycle::Millis;
use crate::store::rows::{AttemptRow, DeliveryRow, JobRow};

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
    pub polled: bool,
}

#[derive(Debug)]
pub(super) enum Edit {
    /// A new attempt.
    Lease {
        attempt: u16,
        terms: Box<Terms>,
        at_ms: Millis,
    },
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
    /// What the miner delivered.
    Deliver(Box<DeliveryRow>),
    /// Input, output and result go.
    DeleteContent,
}

impl Edit {
    pub fn apply(self, row: &mut JobRow, core: &mut EngineCore) {
        match self {
            Self::Lease {
                attempt,
                terms,
                at_ms,
            } => lease(row, core, attempt, &terms, at_ms),
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
            Self::Deliver(delivery) => row.delivery = Some(*delivery),
            Self::DeleteContent => {
                row.input = Bytes::new();
                row.content_deleted = true;
                if let Some(delivery) = &mut row.delivery {
                    delivery.result = None;
                }
            }
        }
    }
}

fn lease(row: &mut JobRow, core: &mut EngineCore, attempt: u16, terms: &Terms, at_ms: Millis) {
    // The row was written by this program: an undecodable spec would be damage, and every proof on it would fail anyway.
    let job_ref = JobSpec::decode(&row.spec).map_or(Hash::default(), |spec| spec.job_ref());
    let assignment = Assignment {
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
        budget_ms: u64::MAX,
        prompt_speed: terms.prompt_speed,
        output_speed: terms.output_speed,
        issued_ms: at_ms,
        locks_hash: Hash::default(),
    };
    let new = AttemptRow {
        attempt: u32::from(attempt),
        miner_id: Bytes::copy_from_slice(&terms.miner_id.0),
        miner_name: terms.miner_name.clone(),
        outcome: v1::AttemptOutcome::Running.into(),
        failure: None,
        assigned_ms: at_ms,
        ended_ms: 0,
        assignment: assignment.encode().into(),
        started_ms: if terms.polled { at_ms } else { 0 },
        polled: terms.polled,
    };
    row.attempt = u32::from(attempt);
    row.leased = true;
    row.attempts.push(new.clone());
    if row.attempts.len() > ATTEMPTS_KEPT {
        row.attempts.remove(0);
    }
    let live = core
        .jobs
        .get_mut(&row.id())
        .and_then(|live| live.lease.as_mut());
    if let Some(lease) = live.filter(|_| attempt == row.attempt as u16) {
        lease.attempt = new;
        lease.request_id.clone_from(&row.request_id);
    }
}
