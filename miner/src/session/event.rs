//! What goes into a [`super::SessionCore`] and what comes out of it.

use std::fmt;
use std::time::Duration;

use aitbc_common::ids::JobId;
use aitbc_common::job_input::JobType;
use aitbc_common::layouts::Outcome;
use aitbc_proto::v1::{CoordinatorMessage, ErrorReason, Failure, Inventory, MinerModel};
use bytes::Bytes;

use super::SpoolRecord;
use crate::runner::RunResult;

/// One attempt to run a job.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptKey {
    /// The job.
    pub job: JobId,
    /// The attempt, from 1.
    pub attempt: u16,
}

impl AttemptKey {
    /// From the fields of a message; `None` where they name no attempt.
    pub fn parse(job_id: &str, attempt: u32) -> Option<Self> {
        let attempt = u16::try_from(attempt).ok().filter(|attempt| *attempt > 0)?;
        Some(Self {
            job: job_id.parse().ok()?,
            attempt,
        })
    }
}

impl fmt::Debug for AttemptKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.job, self.attempt)
    }
}

/// Something happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// The stream is open; the coordinator speaks first.
    Connected,
    /// The coordinator said something.
    Message(CoordinatorMessage),
    /// The stream ended or could not be opened. Answered with [`Action::Close`] or [`Action::End`].
    Disconnected {
        /// Why, where the coordinator said so.
        reason: ErrorReason,
        /// For people.
        message: String,
        /// Come back after this, where the coordinator said so.
        retry_after: Option<Duration>,
    },
    /// A run produced more.
    Output {
        /// Whose.
        key: AttemptKey,
        /// The next bytes; may be empty where only thoughts or tool calls were generated.
        data: Bytes,
        /// Tokens generated so far.
        output_tokens: u32,
    },
    /// A run ended with a result.
    Finished {
        /// Whose.
        key: AttemptKey,
        /// What it produced.
        result: Box<RunResult>,
    },
    /// A run failed.
    Failed {
        /// Whose.
        key: AttemptKey,
        /// Why.
        failure: Failure,
    },
    /// [`Action::Store`] is durable.
    Stored(AttemptKey),
    /// [`Action::Store`] failed.
    NotStored {
        /// Whose record.
        key: AttemptKey,
        /// Why, for people.
        message: String,
    },
    /// What can be run has changed.
    Inventory(Inventory),
    /// Take no more jobs, finish the running ones, end.
    Drain,
    /// [`super::SessionCore::next_deadline`] has come, or nothing in particular happened.
    Tick,
}

/// Something to do.
#[derive(Debug, Clone)]
pub enum Action {
    /// Run a job.
    Start(Box<JobStart>),
    /// Stop a run, so that the model stops too. Nothing that it reports from now on counts.
    Stop(AttemptKey),
    /// Make this durable, then report [`Event::Stored`] or [`Event::NotStored`].
    Store(Box<SpoolRecord>),
    /// Delete what was stored; need not be durable.
    Forget(AttemptKey),
    /// Give the connection up (no [`Event::Disconnected`] is needed); connect again, unless [`Action::End`] comes with it.
    Close {
        /// Not before this has passed; `None` = the usual backoff.
        retry_after: Option<Duration>,
        /// Why, for people.
        message: String,
    },
    /// Tell the operator.
    Notice(Notice),
    /// The session is over for good; comes once, last.
    End(End),
}

/// A job to run.
#[derive(Debug, Clone)]
pub struct JobStart {
    /// Which attempt.
    pub key: AttemptKey,
    /// What it computes.
    pub job_type: JobType,
    /// The model to run it on.
    pub model: MinerModel,
    /// The input document, not yet parsed; its hash is the spec's.
    pub input: Bytes,
    /// How long its locks pay for; `None` = no budget.
    pub paid_for: Option<Duration>,
    /// Micro-AIT per hour.
    pub rate: u64,
}

/// Why a session is over for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It was asked to drain, and nothing runs any more.
    Drained,
    /// It took as many jobs as it should.
    JobsDone {
        /// How many of them failed.
        failed: u32,
    },
    /// Another session of this miner is live.
    SessionExists {
        /// Since when and from where.
        message: String,
    },
    /// The coordinator is on another chain than before.
    WrongChain,
    /// The coordinator will not have this miner.
    Refused {
        /// Its kind.
        reason: ErrorReason,
        /// For people.
        message: String,
    },
}

/// What an operator wants to see.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// The session is open and waits for jobs.
    Polling {
        /// Free slots.
        free_slots: u32,
    },
    /// A job was accepted.
    JobReceived {
        /// Which attempt.
        key: AttemptKey,
        /// What it computes.
        job_type: JobType,
        /// Canonical name of the model.
        model: String,
        /// Micro-AIT locked for it; 0 = unfunded.
        locked: u64,
    },
    /// A run goes on.
    Progress {
        /// Which attempt.
        key: AttemptKey,
        /// Tokens generated so far.
        output_tokens: u32,
        /// Time since the first of them.
        generating: Duration,
    },
    /// A run has ended with a result.
    Inference {
        /// Which attempt.
        key: AttemptKey,
        /// What it did.
        summary: Summary,
    },
    /// A result was delivered and recorded.
    Submitted {
        /// Which attempt.
        key: AttemptKey,
        /// What it did.
        summary: Summary,
    },
    /// A result was refused for good.
    Refused {
        /// Which attempt.
        key: AttemptKey,
        /// Why.
        message: String,
    },
    /// A run failed.
    JobFailed {
        /// Which attempt.
        key: AttemptKey,
        /// Why.
        failure: Failure,
    },
    /// An attempt was stopped by the coordinator.
    JobStopped {
        /// Which attempt.
        key: AttemptKey,
        /// Why, for people.
        reason: &'static str,
    },
    /// An assignment was not taken.
    JobRejected {
        /// Which attempt.
        key: AttemptKey,
        /// Why.
        failure: Failure,
    },
    /// The coordinator does not wait for the result of a run that has ended.
    NotWanted {
        /// Which attempt.
        key: AttemptKey,
        /// Why.
        reason: &'static str,
    },
    /// Nothing runs; waiting for jobs.
    Waiting,
    /// No more jobs are taken.
    Draining {
        /// Attempts that still run.
        running: usize,
    },
    /// The coordinator said something that does not fit.
    Odd {
        /// What.
        message: String,
    },
}

/// What a finished run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// How it ended.
    pub outcome: Outcome,
    /// Tokens of the prompt.
    pub input_tokens: u32,
    /// Tokens generated.
    pub output_tokens: u32,
    /// Milliseconds the model worked.
    pub work_ms: u64,
    /// Micro-AIT that this is worth by the assignment, at most.
    pub cost: u64,
}
