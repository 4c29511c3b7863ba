//! The engine's core: state, and the order in which a batch of commands is carried out. No clock, thread or randomness;
//! it reads stored rows through the [`Reads`] it is given and writes nothing: it returns the batch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aitbc_common::hash::Hash;
use aitbc_common::identity::PublicKey;
use aitbc_common::ids::{JobId, MinerId, RentalId};
use aitbc_common::layouts::StreamCheckpoint;
use aitbc_proto::v1::{self, JobStatus};

use super::aging::Changed;
use super::bindings::Bindings;
use super::command::{AttemptId, Command, Effect, RentalSelector, Reply, SessionId};
use super::figures::JobCounts;
use super::listings::Listings;
use super::models::Models;
use super::recent::Recent;
use super::rentals::Rentals;
use super::requirements::OwnerRequirements;
use super::timers::Timer;
use super::turn::Turn;
use crate::jobs::lifecycle::{BrokenRules, Job, Millis};
use crate::jobs::matching::Requirement;
use crate::jobs::queue::{ClassId, Queue};
use crate::market::board::Change;
use crate::store::rows::{AttemptRow, LockRow, StoppedRow};
use crate::store::{Batch, Reads, StoreError};

/// Finished attempts that are remembered, so that a repeated delivery gets its answer.
pub(super) const REMEMBERED_ATTEMPTS: usize = 10_000;
/// Finished jobs whose owners are remembered, at most; about 2 MB.
pub(super) const REMEMBERED_ENDED: usize = 20_000;
/// Funded specifications that are remembered, at most; about 10 MB.
pub(super) const REMEMBERED_FUNDED: usize = 100_000;

/// Times and bounds. All durations in milliseconds.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// The chain.
    pub chain_id: Hash,
    /// The market's fee in hundredths of a percent.
    pub fee_bps: u16,
    /// An assignment must be accepted within this: 5 s.
    pub accept_ms: u64,
    /// A running attempt is lost when nothing was heard of it for this long: 30 s.
    pub lease_ms: u64,
    /// The lease of a polled job where the miner does not say: 10 minutes.
    pub poll_lease_ms: u64,
    /// A running attempt is lost when neither output nor tokens grow for this long: 11 minutes (10 to load a model, 1 to stall).
    pub progress_ms: u64,
    /// A job goes back to a miner that failed it when no other live one matches for this long: 10 s.
    pub exclusion_ms: u64,
    /// A stopped paid attempt's receipt is waited for this long: 30 s.
    pub receipt_ms: u64,
    /// Jobs wait for funds, and only paid ones run.
    pub funding_required: bool,
    /// Settled jobs that may be audited are noted for the auditors.
    pub audits: bool,
    /// Live jobs of one identity, at most.
    pub jobs_per_identity: usize,
    /// Test-only.
    pub broken: BrokenRules,
}

impl EngineConfig {
    /// The defaults, for this chain.
    #[must_use]
    pub fn new(chain_id: Hash, fee_bps: u16) -> Self {
        Self {
            chain_id,
            fee_bps,
            accept_ms: 5_000,
            lease_ms: 30_000,
            poll_lease_ms: 600_000,
            progress_ms: 660_000,
            exclusion_ms: 10_000,
            receipt_ms: 30_000,
            funding_required: false,
            audits: false,
            jobs_per_identity: 100_000,
            broken: BrokenRules::default(),
        }
    }
}

/// What a batch of commands comes to. Nothing of it may be seen before `batch` is durable.
#[derive(Debug, Default)]
pub struct Output {
    /// To be committed, synced. Empty = nothing to commit.
    pub batch: Batch,
    /// One for each command, in order.
    pub replies: Vec<Reply>,
    /// What readers look up: to be told before the replies.
    pub published: Vec<Change>,
    /// In order.
    pub effects: Vec<Effect>,
}

/// A live job.
#[derive(Debug)]
pub(super) struct LiveJob {
    pub job: Job,
    pub owner: PublicKey,
    pub priority: i32,
    pub tag: u64,
    pub requirement: Arc<Requirement>,
    /// Its queue, while it waits there.
    pub class: Option<ClassId>,
    pub lease: Option<Box<Lease>>,
    /// Until when the miner that lost the last attempt may go on with it, to deliver late.
    pub late_until: Millis,
    /// Hash of its specification.
    pub job_ref: Hash,
    /// The locks that were adopted for it.
    pub paid: Option<Box<Paid>>,
    /// Micro-AIT that must be locked before it starts; 0 = any lock starts it.
    pub least_funding: u64,
}

/// The locks of a live job.
#[derive(Debug)]
pub(super) struct Paid {
    /// In log order.
    pub locks: Vec<LockRow>,
    /// The highest rate that its specification allows.
    pub spec_rate: u64,
}

/// The live attempt of a job.
#[derive(Debug, Default)]
pub(super) struct Lease {
    /// Its row, as of when it was leased.
    pub attempt: AttemptRow,
    pub request_id: String,
    /// When the miner accepted it; 0 = not yet, or not known after a restart.
    pub started_ms: Millis,
    pub output_bytes: u64,
    pub output_tokens: u64,
    /// When its output or its tokens last grew.
    pub progress_ms: Millis,
    /// The newest checkpoint of a paid attempt, and its signature.
    pub checkpoint: Option<Box<(StreamCheckpoint, [u8; 64])>>,
    /// Whether the store has one of this attempt.
    pub checkpoint_stored: bool,
}

/// A final job with locks whose stopped attempt may still bring a receipt.
#[derive(Debug)]
pub(super) struct Stopped {
    pub owner: PublicKey,
    pub row: StoppedRow,
    pub until: Millis,
}

/// A registered miner.
#[derive(Debug)]
pub(super) struct Miner {
    pub id: MinerId,
    pub key: PublicKey,
    pub record: v1::Miner,
    pub session: Option<Session>,
    /// The attempts it holds.
    pub held: BTreeSet<AttemptId>,
    /// The model it ran last, and when.
    pub warm: Option<(String, Millis)>,
    pub last_seen_ms: Millis,
    /// In millionths.
    pub reputation_ppm: u32,
    /// The rental that it serves, and nothing else.
    pub rental: Option<RentalId>,
}

/// A miner's live session.
#[derive(Debug)]
pub(super) struct Session {
    pub id: SessionId,
    pub peer: String,
    pub since_ms: Millis,
    /// What it can run; `None` until its inventory arrived.
    pub slots: Option<u32>,
    /// Slots by its newest heartbeat.
    pub heartbeat_slots: u32,
    /// The tools that agents may use there; none = it runs no agents.
    pub tools: BTreeSet<String>,
    pub models: Vec<v1::MinerModel>,
    /// It let an assignment lapse: no more until its next heartbeat.
    pub suspended: bool,
    pub misses: u32,
    pub draining: bool,
}

/// The engine's state.
#[derive(Debug)]
pub struct EngineCore {
    pub(super) config: EngineConfig,
    pub(super) queue: Queue,
    pub(super) jobs: BTreeMap<JobId, LiveJob>,
    pub(super) owners: BTreeMap<PublicKey, BTreeSet<JobId>>,
    pub(super) requirements: OwnerRequirements,
    pub(super) miners: BTreeMap<MinerId, Miner>,
    pub(super) miner_keys: BTreeMap<PublicKey, MinerId>,
    pub(super) bindings: Bindings,
    pub(super) listings: Listings,
    pub(super) rentals: Rentals,
    /// In millionths; who is not in it is unknown.
    pub(super) reputations: BTreeMap<PublicKey, u32>,
    pub(super) sessions: BTreeMap<SessionId, MinerId>,
    pub(super) timers: BTreeSet<(Millis, Timer)>,
    pub(super) stopped: BTreeMap<JobId, Stopped>,
    /// Jobs whose newest checkpoint is not stored yet.
    pub(super) unsaved_checkpoints: BTreeSet<JobId>,
    /// The live jobs, counted by status.
    pub(super) counts: JobCounts,
    /// What became of jobs by the newest deliveries: of whom, and the hash of the receipt.
    pub(super) done: Recent<AttemptId, (MinerId, (JobStatus, Hash))>,
    /// Which job each specification's locks are for: the log pays for a specification once, and who runs a second job of the
    /// same one would work for nothing.
    pub(super) funded: Recent<Hash, JobId>,
    /// Whose the newest finished jobs are: a lock for one may be under way, by somebody who does not know.
    pub(super) ended: Recent<JobId, PublicKey>,
    /// Miners that contradicted themselves in these attempts.
    pub(super) contradicted: Recent<AttemptId, PublicKey>,
    pub(super) change: u64,
    /// Number of the newest notice of the ledger that was applied.
    pub(super) notices: u64,
    /// Number of the newest order to the ledger.
    pub(super) orders: u64,
    /// Orders up to this number are deleted.
    pub(super) trimmed: u64,
    pub(super) now: Millis,
    /// Miners whose counters are not stored yet, and when that is due.
    pub(super) unsaved_miners: BTreeSet<MinerId>,
    pub(super) save_miners_at: Millis,
    pub(super) changed_since_sweep: Changed,
    /// Whether new jobs are taken.
    pub(super) has_room: bool,
    pub(super) models: Models,
    /// Prices that jobs are not regrouped by yet: of each range of classes, the highest.
    pub(super) regroups: BTreeMap<u64, u64>,
    /// Not before this is a new price looked at: the writer has others to serve.
    pub(super) regroup_at: Millis,
    /// Of the store's fence: rises with every recovery.
    pub(super) epoch: u64,
}

impl EngineCore {
    /// Carries out `commands` at `now` (Unix ms; time never goes back). On an error nothing is to be committed and the
    /// core must be dropped and recovered, as after any failed commit.
    pub fn apply(
        &mut self,
        now: Millis,
        commands: Vec<Command>,
        reads: &dyn Reads,
    ) -> Result<Output, StoreError> {
        self.now = self.now.max(now);
        let mut turn = Turn::new(self.now);
        turn.load_request_ids(&commands, reads)?;
        self.fire_timers(&mut turn);
        for command in commands {
            self.carry_out(&mut turn, command, reads)?;
        }
        self.dispatch(&mut turn);
        self.publish_providers(&mut turn);
        turn.finish(self, reads)
    }

    /// When the next timer is due (Unix ms), if any.
    #[must_use]
    pub fn next_timer(&self) -> Option<Millis> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// The engine's time: Unix ms.
    #[must_use]
    pub fn now(&self) -> Millis {
        self.now
    }

    /// Without room on the disk, submissions are refused; everything else goes on.
    pub fn set_has_room(&mut self, has_room: bool) {
        self.has_room = has_room;
    }

    /// The epoch of the fence under which it commits. A delivery that was checked under an earlier one is refused: the
    /// store may have lost chunks that it names.
    pub fn set_epoch(&mut self, epoch: u64) {
        self.epoch = epoch;
    }

    /// Live jobs, for gauges and tests.
    #[must_use]
    pub fn live_jobs(&self) -> usize {
        self.jobs.len()
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each command: a table")]
    fn carry_out(
        &mut self,
        turn: &mut Turn,
        command: Command,
        reads: &dyn Reads,
    ) -> Result<(), StoreError> {
        match command {
            Command::Submit(submission) => self.submit(turn, *submission),
            Command::Cancel { owner, job } => self.cancel(turn, owner, job, reads)?,
            Command::Delete { owner, job } => self.delete(turn, owner, job, reads)?,
            Command::Acknowledge {
                job,
                acknowledgement,
                signature,
            } => self.acknowledge(turn, job, *acknowledgement, signature, reads)?,
            Command::GetJob { owner, job } => self.get_job(turn, owner, job, reads)?,
            Command::Explain { owner, subject } => self.explain(turn, owner, subject, reads)?,
            Command::ListModels { after, limit } => {
                let reply = self.list_models(after.as_ref(), limit);
                turn.reply(reply);
            }
            Command::ListMiners {
                after,
                limit,
                model,
            } => turn.reply(self.list_miners(after, limit, model.as_deref())),
            Command::PickMiner {
                requirement,
                random,
            } => turn.reply(Reply::Picked(self.queue.pick(&requirement, random))),
            Command::Keep(batch) => {
                turn.kept.append(batch);
                turn.reply(Reply::Done);
            }
            Command::GetMiner { miner_id, caller } => turn.reply(self.get_miner(miner_id, caller)),
            Command::Register {
                key,
                new_id,
                change,
            } => self.register(turn, key, new_id, *change),
            Command::Update { key, change } => self.update(turn, key, *change),
            Command::Deregister { key, miner_id } => self.deregister(turn, key, miner_id),
            Command::OpenSession {
                session,
                key,
                miner_id,
                peer,
                takeover,
                running,
                spooled,
            } => {
                let opening = super::sessions::Opening {
                    session,
                    key,
                    miner_id,
                    peer,
                    takeover,
                    running,
                    spooled,
                };
                self.open_session(turn, opening);
            }
            Command::CloseSession { session } => self.close_session(turn, session),
            Command::Inventory {
                session,
                models,
                slots,
                engine,
                tools,
            } => {
                self.offer_tools(session, tools);
                self.inventory(turn, session, models, slots, engine);
            }
            Command::Accept { session, attempt } => self.accept(turn, session, attempt),
            Command::Reject {
                session,
                attempt,
                failure,
            } => self.reject(turn, session, attempt, failure),
            Command::Heartbeat {
                session,
                running,
                free_slots,
            } => self.heartbeat(turn, session, running, free_slots),
            Command::Drain { session } => self.drain(turn, session),
            Command::Complete(completion) => self.complete(turn, *completion, reads)?,
            Command::Fail {
                miner_key,
                attempt,
                failure,
            } => self.fail(turn, miner_key, attempt, failure),
            Command::Poll {
                miner_key,
                lease_ms,
                request_id,
            } => self.poll(turn, miner_key, lease_ms, &request_id),
            Command::ExtendLease {
                miner_key,
                attempt,
                lease_ms,
            } => self.extend_lease(turn, miner_key, attempt, lease_ms),
            Command::GetAttempt {
                miner_key,
                attempt,
                receipt,
                said,
            } => {
                let said = (receipt, said.as_deref());
                self.get_attempt(turn, miner_key, attempt, said, reads)?;
            }
            Command::Checkpointed {
                attempt,
                checkpoint,
                signature,
            } => self.checkpointed(turn, attempt, *checkpoint, signature),
            Command::Contradicted { attempt, evidence } => {
                self.contradicted(turn, attempt, *evidence);
            }
            Command::Notices { first, notices } => self.notices(turn, first, notices, reads)?,
            Command::TrimOrders { through } => {
                let mut outbox = std::mem::take(&mut turn.outbox);
                let trimmed = outbox.trim(self, through, reads);
                turn.outbox = outbox;
                trimmed?;
                turn.reply(Reply::Done);
            }
            Command::GetExpirable { until_ms } => {
                turn.reply(Reply::Expirable(self.expirable_until(until_ms)));
            }
            Command::GetPayable { job, owner, caller } => {
                self.get_payable(turn, job, owner, caller);
            }
            Command::GetMissing(jobs) => turn.reply(Reply::Missing(self.missing_of(jobs))),
            Command::GetEarnings { miner_key, days } => {
                self.get_earnings(turn, &miner_key, days, reads)?;
            }
            Command::CreateListing { provider, new } => self.create_listing(turn, provider, *new),
            Command::UpdateListing {
                provider,
                id,
                change,
            } => self.update_listing(turn, provider, id, change),
            Command::WithdrawListing { provider, id } => self.withdraw_listing(turn, provider, id),
            Command::ReleaseRental { renter, id } => self.release_rental(turn, renter, id),
            Command::GetRental(selector) => {
                let kept = match selector {
                    RentalSelector::Id(id) => self.rentals.get(id),
                    RentalSelector::Lock(lock) => self.rentals.of_lock(&lock),
                };
                turn.reply(Reply::Rental(kept.cloned().map(Box::new)));
            }
            Command::ListRentals { caller } => {
                let all = self.rentals.of(&caller).chain(self.rentals.at(&caller));
                turn.reply(Reply::Rentals(all.cloned().collect()));
            }
            Command::Rate(reputations) => self.rate(turn, reputations),
            Command::BeginSweep => self.begin_sweep(turn),
            Command::Sweep(jobs) => self.sweep(turn, jobs),
            Command::Tick => turn.reply(Reply::Done),
        }
        Ok(())
    }
}
