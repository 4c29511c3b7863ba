//! What is to be done once a batch is durable.

use aitbc_common::identity::PublicKey;
use aitbc_common::ids::JobId;
use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1;

use super::command::{AttemptId, AttemptInfo, SessionId};
use crate::store::rows::{AttemptRow, JobRow};

/// What is to be done after the commit.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Give a session a job.
    Assign {
        /// The session.
        session: SessionId,
        /// What to run.
        info: Box<AttemptInfo>,
        /// Time left until the job expires.
        time_left_ms: u64,
    },
    /// Tell a session to stop an attempt.
    CancelAttempt {
        /// The session.
        session: SessionId,
        /// The attempt.
        attempt: AttemptId,
        /// The job's status.
        status: v1::JobStatus,
        /// Its locks pay for a receipt that comes within 30 s.
        receipt: bool,
    },
    /// Give a session a newer assignment of a running attempt.
    Renew {
        /// The session.
        session: SessionId,
        /// With the new assignment.
        info: Box<AttemptInfo>,
    },
    /// Have a session tell of each heartbeat while its miner is rented, also where nothing is new.
    Attend {
        /// The session.
        session: SessionId,
        /// Whether, from now on.
        each: bool,
    },
    /// The ledger has orders up to this number to apply.
    OrdersPending(u64),
    /// End a session.
    EndSession {
        /// The session.
        session: SessionId,
        /// Why.
        reason: ApiError,
    },
    /// Tell watchers.
    Changed(Box<JobChange>),
}

/// A job's status changed.
#[derive(Debug, Clone)]
pub struct JobChange {
    /// Number of the change; rises over all jobs.
    pub change: u64,
    /// Its owner.
    pub owner: PublicKey,
    /// The job.
    pub job_id: JobId,
    /// Its idempotency key.
    pub request_id: String,
    /// Its status as users see it.
    pub status: v1::JobStatus,
    /// Its newest attempt.
    pub attempt: u32,
    /// Unix time in ms.
    pub at_ms: u64,
    /// The live attempt where it just started (accepted), for watchers of its output.
    pub started: Option<Box<AttemptRow>>,
    /// The whole row, where the job is final.
    pub row: Option<Box<JobRow>>,
    /// A stopped attempt's receipt is waited for: its streams stay.
    pub keeps_attempt: bool,
    /// The owner's oldest live job after this change: part of a WatchJobs cursor.
    pub oldest_live: Option<JobId>,
}
