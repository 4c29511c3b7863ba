//! What the engine answers.

use aitbc_common::identity::PublicKey;
use aitbc_common::ids::{JobId, ListingId, MinerId};
use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1;
use bytes::Bytes;

use super::command::AttemptId;
use super::rentals::Kept;
use crate::store::rows::JobRow;

/// A job's row and what only memory knows of it.
#[derive(Debug, Clone)]
pub struct JobView {
    /// The row.
    pub row: JobRow,
    /// Its status as users see it.
    pub status: v1::JobStatus,
    /// Place in its queue, from 1, while it waits.
    pub queue_position: Option<u32>,
    /// Estimated time until it starts.
    pub estimated_start_ms: Option<u64>,
    /// Micro-AIT that must still be locked before a miner gets it, where it waits for that.
    pub missing: Option<u64>,
    /// Unix time in ms when the live attempt was accepted; 0 = not yet.
    pub started_ms: u64,
}

/// What a submitter learns.
#[derive(Debug, Clone)]
pub struct Submitted {
    /// The job.
    pub view: JobView,
    /// Known miners that match.
    pub matching_miners: u32,
    /// Known miners.
    pub known_miners: u32,
    /// Of those, where none matches, the ones that would if they were there.
    pub away_miners: u32,
    /// What to know about it.
    pub warnings: Vec<v1::Warning>,
}

/// What a delivery is verified against.
#[derive(Debug, Clone)]
pub struct AttemptInfo {
    /// The attempt.
    pub attempt: AttemptId,
    /// Job spec layout.
    pub spec: Bytes,
    /// Assignment layout, the newest (its signature follows from it).
    pub assignment: Bytes,
    /// The attempt's assignments before it, oldest first: a receipt may name one that a raise crossed.
    pub earlier: Vec<Bytes>,
    /// Canonical model name.
    pub model: String,
    /// Input document.
    pub input: Bytes,
    /// Unix time in ms when the job expires.
    pub deadline_ms: u64,
    /// The job's owner.
    pub owner: PublicKey,
    /// The engine's epoch: what arrives for the attempt counts until the next one.
    pub epoch: u64,
}

/// A miner may keep an attempt that it named, or not.
#[derive(Debug, Clone)]
pub enum Resume {
    /// Go on.
    Continue(Box<AttemptInfo>),
    /// Drop it.
    Abandon(AttemptId),
}

/// An answer.
#[derive(Debug, Clone)]
pub enum Reply {
    /// Nothing to say.
    Done,
    /// To Submit.
    Submitted(Box<Submitted>),
    /// To Cancel: the job after it, and whether it is cancelled.
    Cancelled(Box<JobView>, bool),
    /// To Delete.
    Deleted(JobId),
    /// To GetJob and Acknowledge.
    Job(Box<JobView>),
    /// To Explain.
    Explained(Box<v1::ExplainJobResponse>),
    /// To ListModels: the page, and whether more follow.
    Models(Vec<v1::ModelSummary>, bool),
    /// To ListMiners: the page, and whether more follow.
    Miners(Vec<v1::Miner>, bool),
    /// To PickMiner; `None` = none matches.
    Picked(Option<MinerId>),
    /// To GetMiner.
    Miner(Box<v1::Miner>),
    /// To Register and Update: the miner, whether it is new, its price before where that changed.
    Registered(Box<v1::Miner>, bool, Option<u64>),
    /// To OpenSession: one answer for each attempt named.
    SessionOpened(Vec<Resume>),
    /// To Complete: the job's status. Repeating a recorded completion answers the same.
    Completed(v1::JobStatus),
    /// To Fail.
    Failed(v1::JobStatus),
    /// To Poll: the attempt and the end of its lease (Unix ms), or nothing.
    Polled(Option<Box<(AttemptInfo, u64)>>),
    /// To ExtendLease: its end, Unix ms.
    LeaseExtended(u64),
    /// To GetAttempt.
    AttemptInfo(Box<AttemptInfo>),
    /// To Notices: the number of the newest that was ever applied.
    NoticesApplied(u64),
    /// To GetExpirable: Unix ms.
    Expirable(u64),
    /// To GetPayable.
    Payable(Box<v1::GetPayableResponse>),
    /// To GetMissing: micro-AIT of each that lacks some.
    Missing(Vec<(JobId, u64)>),
    /// To GetEarnings: newest day first, at most 1,000.
    Earnings(Vec<v1::Earning>),
    /// To CreateListing and UpdateListing.
    Listed {
        /// Which.
        id: ListingId,
        /// Whether it is new.
        created: bool,
        /// Its rate before, where that changed.
        previous_rate: Option<u64>,
    },
    /// To ReleaseRental and GetRental.
    Rental(Option<Box<Kept>>),
    /// To ListRentals.
    Rentals(Vec<Kept>),
    /// To any of them.
    Refused(ApiError),
}
