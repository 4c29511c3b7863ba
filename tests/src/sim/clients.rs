//! Clients: they submit until they are answered, cancel some jobs, and watch some.

use aitbc_common::hash::sha256;
use aitbc_common::ids::{JobId, RentalId};
use aitbc_common::runtime::status::ApiError;
use aitbc_coordinator::engine::command::{Command, JobSelector, Reply, Submission};
use aitbc_proto::v1::{ErrorReason, JobStatus};
use rand::Rng;

use super::context::{Context, Fault, one_in};
use super::coordinator::{Caller, Coordinator};
use super::market::Asked;
use super::network::latency;
use super::payers::PLENTY;
use super::watchers::Watcher;
use super::work;
use super::world::Event;

/// A unary call: which client's, or which poller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Submits a job.
    Submit(usize),
    /// Cancels it.
    Cancel(usize),
    /// A poller's call, of its so-many-th round.
    Poller(usize, u64, PollerCall),
    /// A miner registers.
    Register(usize),
    /// Somebody of the market.
    Market(Asked),
}

/// What a poller asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PollerCall {
    Poll,
    Extend,
    Return,
    /// The first half of CompleteJob: what the delivery is verified against.
    Deliver,
    /// The second half: its parts have arrived.
    Complete,
}

/// A client's job.
pub struct ClientJob {
    pub submission: Submission,
    pub id: Option<JobId>,
    cancels: bool,
    pub cancelled: bool,
    pub watcher: Option<Watcher>,
    /// Its rental was over before it was submitted.
    pub too_late: bool,
}

impl ClientJob {
    /// Job `n` of client `by`, now and then with the specification of the client's job before: two of its programs ask the
    /// same.
    pub fn new(ctx: &mut Context, n: usize, by: usize, before: Option<&Submission>) -> Self {
        let rng = &mut ctx.random.people;
        let mut submission = work::submission(rng, n, by);
        let mut copied = false;
        if let Some(before) = before
            && !before.hold
            && one_in(&mut ctx.random.ledger, 6)
        {
            submission = Submission {
                request_id: submission.request_id,
                ..before.clone()
            };
            copied = true;
        }
        let rng = &mut ctx.random.people;
        let cancels = one_in(rng, 10);
        let watches = one_in(rng, 2);
        let begins = rng.random_range(0..ctx.options.faulty_ms * 2 / 3);
        // One of two with the same specification is never paid, and would wait for ever.
        submission.hold = !copied && one_in(&mut ctx.random.ledger, 8);
        if submission.hold && one_in(&mut ctx.random.ledger, 2) {
            submission.least_funding = PLENTY;
        }
        ctx.after(begins, Event::Submit(n));
        let watcher = watches.then(|| Watcher::new(work::client(by).public(), &submission));
        Self {
            submission,
            id: None,
            cancels,
            cancelled: false,
            watcher,
            too_late: false,
        }
    }

    /// Job `n`, under a rental of client `by`.
    pub fn under(ctx: &mut Context, n: usize, by: usize, rental: RentalId) -> Self {
        let rng = &mut ctx.random.market;
        let mut submission = work::submission(rng, n, by);
        submission.requirements.rental = Some(rental);
        submission.spec.requirements_hash = submission.requirements.hash();
        submission.body_hash = sha256(&submission.spec.encode());
        let (cancels, watches) = (one_in(rng, 10), one_in(rng, 2));
        ctx.after(0, Event::Submit(n));
        Self {
            watcher: watches.then(|| Watcher::new(work::client(by).public(), &submission)),
            submission,
            id: None,
            cancels,
            cancelled: false,
            too_late: false,
        }
    }

    /// Submits, and again until there is an answer.
    pub fn submit(&mut self, ctx: &mut Context, n: usize) {
        if self.id.is_none() && !self.too_late {
            call(ctx, Call::Submit(n));
            let again = ctx.random.people.random_range(500..5_000);
            ctx.after(again, Event::Submit(n));
        }
    }

    /// Cancels, and again until there is an answer.
    pub fn cancel(&mut self, ctx: &mut Context, n: usize) {
        if !self.cancelled {
            call(ctx, Call::Cancel(n));
            let again = ctx.random.people.random_range(500..5_000);
            ctx.after(again, Event::Cancel(n));
        }
    }

    /// The answer to a submission arrived.
    pub fn submitted(&mut self, ctx: &mut Context, n: usize, answer: Result<Reply, ApiError>) {
        let submitted = match answer {
            Ok(Reply::Submitted(submitted)) => submitted,
            Err(error) if error.reason == ErrorReason::RentalNotFound => {
                self.too_late = self.id.is_none();
                return;
            }
            _ => return,
        };
        let id = submitted.view.row.id();
        match self.id {
            Some(known) if known != id => ctx
                .checker
                .violated(format!("request {n} made two jobs: {known} and {id}")),
            Some(_) => {}
            None => {
                self.id = Some(id);
                ctx.trace.totals.jobs += 1;
                let is_rented = self.submission.requirements.rental.is_some();
                ctx.trace.totals.rental_jobs += u64::from(is_rented);
                ctx.trace.note(ctx.now, format_args!("request {n} is {id}"));
                ctx.checker.acknowledged(id, submitted.view.row);
                if self.cancels {
                    let delay = ctx.random.people.random_range(0..20_000);
                    ctx.after(delay, Event::Cancel(n));
                }
                if !is_rented {
                    super::payers::plan(ctx, n, self);
                }
                if self.watcher.is_some() {
                    ctx.after(0, Event::Watch(n));
                }
            }
        }
    }

    /// The answer to a cancellation arrived.
    pub fn cancel_answered(&mut self, ctx: &mut Context, answer: Result<Reply, ApiError>) {
        let Ok(Reply::Cancelled(view, cancelled)) = answer else {
            return;
        };
        self.cancelled = true;
        if cancelled != (view.status == JobStatus::Cancelled) || view.row.finished_ms == 0 {
            ctx.checker.violated(format!(
                "{} was cancelled and is {:?}",
                view.row.id(),
                view.status
            ));
        }
    }
}

/// Sends a call; it may be lost, or arrive twice.
pub fn call(ctx: &mut Context, call: Call) {
    let lost = ctx.strikes(Fault::Calls, 12);
    let twice = ctx.strikes(Fault::Calls, 12);
    if !lost {
        let delay = latency(ctx);
        ctx.after(delay, Event::Called(call));
    }
    if twice {
        let delay = latency(ctx) + ctx.random.network.random_range(0..3_000);
        ctx.after(delay, Event::Called(call));
    }
}

/// The engine answered a call.
pub fn answered(
    coordinator: &mut Coordinator,
    ctx: &mut Context,
    call: Call,
    answer: Result<Reply, ApiError>,
) {
    if let Call::Poller(poller, round, PollerCall::Deliver) = call {
        // The receipt was looked at; the parts of the delivery follow, at the caller's speed.
        if let Ok(Reply::AttemptInfo(info)) = answer {
            let rng = &mut ctx.random.network;
            let delay = if one_in(rng, 2) {
                rng.random_range(0..200)
            } else {
                rng.random_range(0..25_000)
            };
            ctx.after(delay, Event::Parcel(poller, round, info));
            return;
        }
    }
    let _ = coordinator;
    if !ctx.strikes(Fault::Calls, 12) {
        let delay = latency(ctx);
        ctx.after(delay, Event::Answered(call, Box::new(answer)));
    }
}

/// The engine's commands for a client's call.
pub fn command(ctx: &mut Context, job: &ClientJob, call: Call) -> Command {
    let owner = job.submission.owner;
    match (call, job.id) {
        (Call::Cancel(_), Some(id)) => Command::Cancel {
            owner,
            job: JobSelector::Id(id),
        },
        _ => {
            let job_id = work::new_job_id(&mut ctx.random.coordinator, ctx.now, &job.submission);
            ctx.wire.submits(job_id, job.submission.spec.job_ref());
            Command::Submit(Box::new(Submission {
                job_id,
                ..job.submission.clone()
            }))
        }
    }
}

/// Asks the engine for a client's call.
pub fn arrived(coordinator: &mut Coordinator, ctx: &mut Context, job: &ClientJob, call: Call) {
    let command = command(ctx, job, call);
    coordinator.ask(ctx, vec![command], Caller::Call(call));
}
