//! What the engine is asked.

use aitbc_common::address::Address;
use aitbc_common::hash::Hash;
use aitbc_common::identity::PublicKey;
use aitbc_common::ids::{AgentId, JobId, ListingId, MinerId, RentalId};
use aitbc_common::layouts::{Acknowledgement, Contradiction, SignedStatement, StreamCheckpoint};
use aitbc_proto::v1;
use bytes::Bytes;

use super::aging::AgedJob;
pub use super::effect::{Effect, JobChange};
pub use super::held::HeldAttempt;
pub use super::listings::NewListing;
pub use super::reply::{AttemptInfo, JobView, Reply, Resume, Submitted};
use crate::jobs::matching::Requirement;
use crate::market::listing::TermsChange;
use crate::payments::Notice;
use crate::store::Batch;

/// Number of a miner's session, unique while the process runs.
pub type SessionId = u64;

/// Canonical name and digest of a model: there may be several of one name.
pub type ModelKey = (String, Bytes);

/// An attempt of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId {
    /// The job.
    pub job_id: JobId,
    /// Its attempt, from 1.
    pub attempt: u16,
}

/// Which job a caller means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobSelector {
    /// This one.
    Id(JobId),
    /// The caller's newest.
    Last,
}

/// The agent whose execution a job is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentRun {
    /// Its id.
    pub id: AgentId,
    /// Its version.
    pub version: u32,
    /// The tools that it may use, sorted.
    pub tools: Vec<String>,
}

/// A validated submission.
#[derive(Debug, Clone)]
pub struct Submission {
    /// The new job's id, made by the caller from its clock and randomness.
    pub job_id: JobId,
    /// Who submits.
    pub owner: PublicKey,
    /// Idempotency key.
    pub request_id: String,
    /// SHA-256 of the request's body, to tell a repeated request from another one.
    pub body_hash: [u8; 32],
    /// The specification.
    pub spec: aitbc_common::layouts::JobSpec,
    /// Canonical model name.
    pub model: String,
    /// What it asks of miners.
    pub requirements: aitbc_common::layouts::Requirements,
    /// The input document.
    pub input: Bytes,
    /// Rank among the owner's jobs.
    pub priority: i32,
    /// Failed attempts it allows.
    pub max_retries: u32,
    /// Refuse it when no known miner matches.
    pub require_miner: bool,
    /// The job it retries.
    pub retry_of: Option<JobId>,
    /// Keep it pending until funds are locked for it.
    pub hold: bool,
    /// Micro-AIT that must be locked before it starts; 0 = any lock does. More than that holds it, as `hold` does.
    pub least_funding: u64,
    /// No miner that is paid at one of these, sorted: an audit runs elsewhere.
    pub not_paid_at: Vec<Address>,
    /// The agent that it executes.
    pub agent: Option<AgentRun>,
}

/// A delivery whose receipt, signature and hashes were verified against the attempt's assignment.
#[derive(Debug, Clone)]
pub struct Completion {
    /// The attempt.
    pub attempt: AttemptId,
    /// Who delivers: must hold the attempt.
    pub miner_key: PublicKey,
    /// Receipt layout.
    pub receipt: aitbc_common::layouts::Receipt,
    /// The miner's signature over it.
    pub signature: [u8; 64],
    /// Canonical name of the served model.
    pub served_model: String,
    /// Model server and version.
    pub engine: String,
    /// Why the output ended.
    pub finish_reason: v1::FinishReason,
    /// The result document where it is small; `None` = its chunks are in the output table.
    pub result: Option<Bytes>,
    /// Bytes of the result document.
    pub result_len: u64,
    /// The output is the result's `content`, so that its chunks need not be kept.
    pub output_in_result: bool,
    /// Unix time in ms of the first output; 0 = none.
    pub first_token_ms: u64,
    /// The engine's epoch under which its bytes arrived.
    pub epoch: u64,
}

/// A registration or a change of one; `None` leaves a field as it is.
#[derive(Debug, Clone, Default)]
pub struct MinerChange {
    /// Name.
    pub name: Option<String>,
    /// GPUs.
    pub gpus: Option<Vec<v1::Gpu>>,
    /// Models.
    pub models: Option<Vec<v1::MinerModel>>,
    /// Slots.
    pub slots: Option<u32>,
    /// Price in micro-AIT per hour and slot.
    pub price: Option<u64>,
    /// Payout address.
    pub payout: Option<[u8; 20]>,
    /// Whether it takes no new jobs.
    pub paused: Option<bool>,
    /// Whether it takes only jobs that are paid for.
    pub paid_only: Option<bool>,
    /// Model server and version.
    pub engine: Option<String>,
    /// Processor.
    pub processor: Option<String>,
    /// Main memory in GiB.
    pub memory_gib: Option<u32>,
}

/// Something to do. Every command gets exactly one [`Reply`], after the commit that made it durable.
#[derive(Debug, Clone)]
pub enum Command {
    /// A new job → [`Reply::Submitted`].
    Submit(Box<Submission>),
    /// Cancels a job → [`Reply::Cancelled`].
    Cancel {
        /// The caller.
        owner: PublicKey,
        /// The job.
        job: JobSelector,
    },
    /// Deletes a final job's content → [`Reply::Deleted`].
    Delete {
        /// The caller.
        owner: PublicKey,
        /// The job.
        job: JobSelector,
    },
    /// What a job's owner says of its receipt; of this chain and signed by the owner → [`Reply::Job`].
    Acknowledge {
        /// The job.
        job: JobSelector,
        /// What the owner says; the owner is the caller.
        acknowledgement: Box<Acknowledgement>,
        /// The owner's signature.
        signature: [u8; 64],
    },
    /// Where a job stands, with what only memory knows → [`Reply::Job`].
    GetJob {
        /// The caller.
        owner: PublicKey,
        /// The job.
        job: JobSelector,
    },
    /// Which miners match → [`Reply::Explained`].
    Explain {
        /// The caller.
        owner: PublicKey,
        /// What to explain.
        subject: ExplainSubject,
    },
    /// All models → [`Reply::Models`], by name and digest, as of a moment ago, starting behind `after`, at most `limit`.
    ListModels {
        /// The last one of the page before.
        after: Option<ModelKey>,
        /// Rows wanted.
        limit: usize,
    },
    /// All miners → [`Reply::Miners`], by id, starting after `after`, at most `limit`.
    ListMiners {
        /// The last id of the page before.
        after: Option<MinerId>,
        /// Rows wanted.
        limit: usize,
        /// Only those that offer this canonical model.
        model: Option<String>,
    },
    /// One of all live miners that match, each with the same chance → [`Reply::Picked`]. It looks at all miners.
    PickMiner {
        /// What is asked of it.
        requirement: Box<Requirement>,
        /// Any number.
        random: u64,
    },
    /// Rows that are others' own: part of the engine's next commit, so that they need no right to write → [`Reply::Done`].
    Keep(Batch),
    /// One miner → [`Reply::Miner`].
    GetMiner {
        /// Its id; `None` = the caller's own.
        miner_id: Option<MinerId>,
        /// The caller.
        caller: PublicKey,
    },
    /// Registers or changes the caller's miner → [`Reply::Registered`].
    Register {
        /// The miner's identity.
        key: PublicKey,
        /// Id for a new one, made by the caller.
        new_id: MinerId,
        /// Its fields; for a new miner, missing ones get their defaults.
        change: Box<MinerChange>,
    },
    /// Changes the caller's miner, which must exist → [`Reply::Registered`].
    Update {
        /// The miner's identity.
        key: PublicKey,
        /// New values.
        change: Box<MinerChange>,
    },
    /// Removes the caller's miner → [`Reply::Done`].
    Deregister {
        /// The miner's identity.
        key: PublicKey,
        /// Its id.
        miner_id: MinerId,
    },
    /// A proven session begins → [`Reply::SessionOpened`].
    OpenSession {
        /// The session.
        session: SessionId,
        /// The miner's identity (proven).
        key: PublicKey,
        /// The id it named.
        miner_id: MinerId,
        /// Where it comes from, for the message to a rival.
        peer: String,
        /// Take over from a live session.
        takeover: bool,
        /// Attempts that run there.
        running: Vec<HeldAttempt>,
        /// Attempts that are done there and not acknowledged.
        spooled: Vec<HeldAttempt>,
    },
    /// A session's stream ended; its leases run on → [`Reply::Done`].
    CloseSession {
        /// The session.
        session: SessionId,
    },
    /// What a miner can run → [`Reply::Done`].
    Inventory {
        /// The session.
        session: SessionId,
        /// Models.
        models: Vec<v1::MinerModel>,
        /// Slots.
        slots: u32,
        /// Model server and version.
        engine: String,
        /// The tools that agents may use there.
        tools: Vec<String>,
    },
    /// An assignment is taken → [`Reply::Done`].
    Accept {
        /// The session.
        session: SessionId,
        /// The attempt.
        attempt: AttemptId,
    },
    /// An assignment is not taken → [`Reply::Done`].
    Reject {
        /// The session.
        session: SessionId,
        /// The attempt.
        attempt: AttemptId,
        /// Why.
        failure: v1::Failure,
    },
    /// Renews leases and credits → [`Reply::Done`].
    Heartbeat {
        /// The session.
        session: SessionId,
        /// Attempts that run.
        running: Vec<HeldAttempt>,
        /// Free slots.
        free_slots: u32,
    },
    /// The miner takes no more jobs → [`Reply::Done`].
    Drain {
        /// The session.
        session: SessionId,
    },
    /// A verified delivery → [`Reply::Completed`].
    Complete(Box<Completion>),
    /// An attempt failed or is handed back → [`Reply::Failed`].
    Fail {
        /// Who had it.
        miner_key: PublicKey,
        /// The attempt.
        attempt: AttemptId,
        /// Why; `RETURNED` and `BUSY` spend no attempt.
        failure: v1::Failure,
    },
    /// Leases and accepts one job at once, without a session → [`Reply::Polled`].
    Poll {
        /// The miner's identity.
        miner_key: PublicKey,
        /// Length of the lease.
        lease_ms: u64,
        /// Idempotency key; empty = none.
        request_id: String,
    },
    /// Prolongs the lease of a polled job → [`Reply::LeaseExtended`].
    ExtendLease {
        /// The miner's identity.
        miner_key: PublicKey,
        /// The attempt.
        attempt: AttemptId,
        /// Length from now.
        lease_ms: u64,
    },
    /// What a delivery for this attempt is verified against → [`Reply::AttemptInfo`].
    GetAttempt {
        /// Who asks: must hold it or have held it last.
        miner_key: PublicKey,
        /// The attempt.
        attempt: AttemptId,
        /// [`receipt_hash`](super::receipt_hash) of what is to be delivered: recorded before, it is answered
        /// as then.
        receipt: Hash,
        /// The same receipt as its miner signed it, to be compared with one that was recorded; `None` where it does not
        /// parse. Its signature is not verified yet.
        said: Option<Box<SignedStatement>>,
    },
    /// A running paid attempt's newest checkpoint, verified and of bytes that arrived → [`Reply::Done`].
    Checkpointed {
        /// The attempt.
        attempt: AttemptId,
        /// What the miner signed.
        checkpoint: Box<StreamCheckpoint>,
        /// Its signature.
        signature: [u8; 64],
    },
    /// The attempt's miner signed two different outputs of it, as was verified → always [`Reply::Refused`].
    Contradicted {
        /// The attempt.
        attempt: AttemptId,
        /// Both statements.
        evidence: Box<Contradiction>,
    },
    /// What the ledger tells, with dense numbers; what was applied before is skipped → [`Reply::NoticesApplied`].
    Notices {
        /// Number of the first, from 1.
        first: u64,
        /// In the order of their numbers.
        notices: Vec<Notice>,
    },
    /// The ledger applied all orders up to this number: at most 1,000 of their rows are deleted → [`Reply::Done`].
    TrimOrders {
        /// The number.
        through: u64,
    },
    /// Up to when, at most `until_ms`, locks may return by their own expiry once all orders are applied that this answer
    /// follows → [`Reply::Expirable`].
    GetExpirable {
        /// Ledger time, Unix ms.
        until_ms: u64,
    },
    /// What a payer needs to know of a job → [`Reply::Payable`].
    GetPayable {
        /// The job.
        job: JobId,
        /// Its owner: needed only once it is final.
        owner: Option<PublicKey>,
        /// Who asks, where that is known.
        caller: Option<PublicKey>,
    },
    /// What those of these jobs lack that wait for money → [`Reply::Missing`].
    GetMissing(Vec<JobId>),
    /// What a miner earned in the last `days` days (UTC), today included → [`Reply::Earnings`].
    GetEarnings {
        /// The miner's identity.
        miner_key: PublicKey,
        /// From 1.
        days: u32,
    },
    /// Lists a GPU of the caller, or brings its listing up to date → [`Reply::Listed`].
    CreateListing {
        /// The identity of the miner that serves it.
        provider: PublicKey,
        /// The GPU.
        new: Box<NewListing>,
    },
    /// Changes a listing of the caller → [`Reply::Listed`].
    UpdateListing {
        /// Whose it must be.
        provider: PublicKey,
        /// Which.
        id: ListingId,
        /// New values.
        change: TermsChange,
    },
    /// Takes a listing of the caller off the market → [`Reply::Done`].
    WithdrawListing {
        /// Whose it must be.
        provider: PublicKey,
        /// Which.
        id: ListingId,
    },
    /// Gives a rental back → [`Reply::Rental`].
    ReleaseRental {
        /// Whose it must be.
        renter: PublicKey,
        /// Which.
        id: RentalId,
    },
    /// A rental that is under way or not all paid for yet → [`Reply::Rental`].
    GetRental(RentalSelector),
    /// A caller's such rentals, as renter and as provider → [`Reply::Rentals`], oldest first.
    ListRentals {
        /// The caller.
        caller: PublicKey,
    },
    /// Reputations of miners changed, in millionths → [`Reply::Done`]. They are not stored.
    Rate(Vec<(PublicKey, u32)>),
    /// Finished jobs are about to be read from the store, to age them → [`Reply::Done`].
    BeginSweep,
    /// What became of those that were read since; jobs that changed meanwhile stay as they are → [`Reply::Done`].
    Sweep(Vec<AgedJob>),
    /// Time passes: timers fire → [`Reply::Done`].
    Tick,
}

/// Which rental.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RentalSelector {
    /// By its id.
    Id(RentalId),
    /// By a lock that it adopted.
    Lock(Hash),
}

/// What to explain.
#[derive(Debug, Clone)]
pub enum ExplainSubject {
    /// An existing job.
    Job(JobSelector),
    /// An unsent specification.
    Spec {
        /// What it computes.
        job_type: aitbc_common::job_input::JobType,
        /// Canonical model name.
        model: String,
        /// Pinned digest, or zero.
        model_digest: [u8; 32],
        /// What it asks of miners.
        requirements: aitbc_common::layouts::Requirements,
        /// Highest price; [`aitbc_common::layouts::NO_MAX_RATE`] = any.
        max_rate: u64,
        /// Its input.
        input: crate::jobs::explain::InputSize,
        /// It will be paid for.
        paid: bool,
        /// The tools that an agent's execution may use, sorted.
        tools: Vec<String>,
    },
}
