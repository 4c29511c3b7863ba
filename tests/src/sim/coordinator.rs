//! The coordinator: the engine's core over a store that forgets what was not synced, and what its drivers would do.

use std::collections::BTreeMap;
use std::sync::Arc;

use aitbc_common::identity::{Identity, PublicKey};
use aitbc_common::runtime::status::ApiError;
use aitbc_coordinator::engine::command::{AttemptId, Command, Reply, SessionId};
use aitbc_coordinator::engine::core::{EngineConfig, EngineCore};
use aitbc_coordinator::engine::handle::EffectSink;
use aitbc_coordinator::jobs::lifecycle::BrokenRules;
use aitbc_coordinator::sessions::hub::{Cleanup, Hub, HubSink};
use aitbc_coordinator::sessions::streams::Streams;
use aitbc_coordinator::store::{self, Durability, Fence, MemoryStore, SHARDS, Store, StoreError};
use aitbc_proto::v1::ErrorReason;
use rand::Rng;
use tokio::sync::mpsc;

use super::clients::Call;
use super::context::{Context, Fault, Rule, one_in};
use super::genesis::CHAIN;
use super::sessions::Session;
use super::watches::{ServerWatch, WatchId};
use super::work::service;
use super::world::Event;

/// A failure that a session told the engine: its attempt, and what the miner is told where its delivery was refused.
pub type ToldFailure = (AttemptId, Option<ApiError>);

/// Who asked the engine something.
#[derive(Debug, Clone)]
pub enum Caller {
    /// The answer does not matter.
    Nobody,
    /// A session that opens.
    Open(SessionId),
    /// A session, with the failures among its commands and what the miner is told.
    Told(SessionId, Vec<Option<ToldFailure>>),
    /// A delivery, and what the miner is told where it was refused.
    Recorded(SessionId, AttemptId, Option<ApiError>),
    /// A call.
    Call(Call),
    /// A watch wants to know where its job stands.
    Watch(WatchId),
    /// The ledger.
    Ledger,
    /// The auditors.
    Auditor,
}

/// A coordinator that runs.
pub struct Running {
    core: EngineCore,
    pub fence: Fence,
    pub streams: Arc<Streams>,
    pub hub: Arc<Hub>,
    sink: HubSink,
    /// Keeps the hub's clean-ups open; retention is not simulated.
    _cleanups: mpsc::Receiver<Cleanup>,
    pub sessions: BTreeMap<SessionId, Session>,
    pub watches: BTreeMap<WatchId, ServerWatch>,
    waiting: Vec<(Vec<Command>, Caller)>,
    turn_due: bool,
    timer_at: u64,
    /// The engine's clock: its time at some moment, and when that was.
    clock: (u64, u64),
}

/// The coordinator: its disk, and what runs on it.
pub struct Coordinator {
    pub memory: Arc<MemoryStore>,
    pub store: Arc<dyn Store>,
    pub service: Identity,
    config: EngineConfig,
    pub running: Option<Running>,
    /// What the engine answered the auditors.
    pub auditor_heard: Option<Result<Reply, ApiError>>,
}

/// What callers get while the engine recovers or stops.
pub fn unavailable() -> ApiError {
    ApiError::new(
        ErrorReason::Unavailable,
        "the coordinator is recovering or stopping; try again",
    )
}

impl Coordinator {
    pub fn new(ctx: &mut Context) -> Self {
        let memory = Arc::new(MemoryStore::journaled());
        let mut config = EngineConfig::new(*CHAIN, 250);
        config.audits = true;
        config.broken = BrokenRules {
            skip_attempt_check: ctx.broken(Rule::AttemptCheck),
            no_requeue_on_loss: ctx.broken(Rule::RequeueOnLoss),
            fund_again: ctx.broken(Rule::DoublePost),
            pay_first_payee: ctx.broken(Rule::AssignedPayee),
            rent_again: ctx.broken(Rule::OneRenter),
            serve_strangers: ctx.broken(Rule::RentedOut),
            count_every_beat: ctx.broken(Rule::HeardBeats),
            keep_rest: ctx.broken(Rule::RentalRest),
        };
        let store: Arc<dyn Store> = memory.clone();
        let mut coordinator = Self {
            memory,
            store,
            service: service(),
            config,
            running: None,
            auditor_heard: None,
        };
        coordinator.start(ctx);
        coordinator
    }

    /// Starts, or recovers: claims the store and reads it.
    pub fn start(&mut self, ctx: &mut Context) {
        let fence = self
            .store
            .claim(0..=SHARDS - 1)
            .expect("a store in memory can be claimed");
        // The wall clock may have been set back meanwhile.
        let rng = &mut ctx.random.coordinator;
        let set_back = if one_in(rng, 4) {
            rng.random_range(0..600_000)
        } else {
            0
        };
        let core = EngineCore::recover(self.config.clone(), ctx.now - set_back, &self.store);
        let mut core = core.expect("rows that the engine wrote can be read");
        core.set_epoch(fence.epoch());
        let streams = Arc::new(Streams::default());
        let (hub, cleanups) = Hub::new(Arc::clone(&streams));
        let clock = (core.now(), ctx.now);
        self.running = Some(Running {
            core,
            fence,
            streams,
            sink: HubSink(Arc::clone(&hub)),
            hub,
            _cleanups: cleanups,
            sessions: BTreeMap::new(),
            watches: BTreeMap::new(),
            waiting: Vec::new(),
            turn_due: false,
            timer_at: u64::MAX,
            clock,
        });
        ctx.checker.recovered(&self.store);
        let (now, totals) = (ctx.now, &mut ctx.trace.totals);
        if let Err(problem) = ctx.rentals.recovered(&self.store, &ctx.wire, now, totals) {
            ctx.checker.violated(problem);
        }
        ctx.after(0, Event::Turn);
    }

    /// The machine stops: memory is gone, and a part of what was not synced.
    pub fn crash(&mut self, ctx: &mut Context) {
        let lost = ctx.random.faults.random_range(0..=self.memory.unsynced());
        self.memory.crash(lost);
        if let Some(running) = self.running.take() {
            for session in running.sessions.values() {
                super::network::cut(ctx, session.connection);
            }
            for watch in running.watches.keys() {
                let learned = ctx.random.faults.random_range(0..200);
                ctx.after(learned, Event::WatchLost(*watch));
            }
        }
    }

    /// The engine carries out what waits, commits it once, answers and performs effects.
    pub fn turn(&mut self, ctx: &mut Context) {
        let Some(running) = &mut self.running else {
            return;
        };
        running.turn_due = false;
        let now = running.now(ctx.now);
        let mut commands = Vec::new();
        let mut callers = Vec::new();
        for (asked, caller) in std::mem::take(&mut running.waiting) {
            callers.push((asked.len(), caller));
            commands.extend(asked);
        }
        ctx.trace
            .note(ctx.now, format_args!("turn of {} commands", commands.len()));
        let outcome = running
            .core
            .apply(now, commands, &self.store)
            .and_then(|output| {
                if let Err(problem) = running.core.check() {
                    ctx.checker.violated(problem);
                }
                if !output.batch.is_empty() {
                    strike_store(ctx, &self.memory);
                    ctx.trace.totals.commits += 1;
                    let synced = if ctx.broken(Rule::Sync) {
                        Durability::Buffered
                    } else {
                        Durability::Synced
                    };
                    self.store
                        .commit(&running.fence, output.batch.clone(), synced)?;
                }
                Ok(output)
            });
        match outcome {
            Ok(output) => {
                ctx.checker.committed(&output.batch);
                let (now, totals) = (ctx.now, &mut ctx.trace.totals);
                if let Err(problem) = ctx.rentals.committed(&output.batch, &ctx.wire, now, totals) {
                    ctx.checker.violated(problem);
                }
                ctx.checker.performed(&output.effects);
                for effect in &output.effects {
                    super::notes::effect(ctx, effect);
                }
                let mut replies = output.replies.into_iter();
                for (count, caller) in callers {
                    let answers = replies
                        .by_ref()
                        .take(count)
                        .map(refusals_as_errors)
                        .collect();
                    self.answer(ctx, caller, answers);
                }
                if let Some(running) = &mut self.running {
                    running.sink.perform(output.effects);
                }
                self.effects_performed(ctx);
                self.set_timer(ctx);
            }
            Err(error) => self.recover(ctx, &error, callers),
        }
    }

    /// A commit failed: all memory goes, and comes back from the store.
    fn recover(&mut self, ctx: &mut Context, error: &StoreError, callers: Vec<(usize, Caller)>) {
        ctx.trace
            .note(ctx.now, format_args!("commit failed: {error}"));
        if matches!(error, StoreError::SyncFailed(_)) {
            self.crash(ctx);
            ctx.after(2_000, Event::CoordinatorUp);
            return;
        }
        for (count, caller) in callers {
            self.answer(
                ctx,
                caller,
                (0..count).map(|_| Err(unavailable())).collect(),
            );
        }
        let Some(running) = &mut self.running else {
            return;
        };
        for (asked, caller) in std::mem::take(&mut running.waiting) {
            self.answer(
                ctx,
                caller,
                asked.iter().map(|_| Err(unavailable())).collect(),
            );
        }
        if let Some(running) = &mut self.running {
            running.sink.reset();
        }
        self.effects_performed(ctx);
        self.store
            .reopen()
            .expect("a store in memory can be opened");
        let Some(old) = self.running.take() else {
            return;
        };
        for session in old.sessions.values() {
            super::network::leave(ctx, session.connection, super::network::Side::Coordinator);
        }
        self.start(ctx);
    }

    /// Asks the engine; the answer comes to `caller` after the commit.
    pub fn ask(&mut self, ctx: &mut Context, commands: Vec<Command>, caller: Caller) {
        match &mut self.running {
            Some(running) => running.ask(ctx, commands, caller),
            None => self.answer(
                ctx,
                caller,
                commands.iter().map(|_| Err(unavailable())).collect(),
            ),
        }
    }

    fn answer(
        &mut self,
        ctx: &mut Context,
        caller: Caller,
        mut answers: Vec<Result<Reply, ApiError>>,
    ) {
        match caller {
            Caller::Nobody => {}
            Caller::Ledger => {
                for reply in answers.into_iter().flatten() {
                    ctx.after(0, Event::LedgerTold(Box::new(reply)));
                }
            }
            Caller::Auditor => self.auditor_heard = answers.pop(),
            Caller::Call(call) => {
                let answer = answers.pop().unwrap_or_else(|| Err(unavailable()));
                super::clients::answered(self, ctx, call, answer);
            }
            Caller::Watch(watch) => self.watch_answered(
                ctx,
                watch,
                answers.pop().unwrap_or_else(|| Err(unavailable())),
            ),
            Caller::Open(session) => {
                self.session_opened(
                    ctx,
                    session,
                    answers.pop().unwrap_or_else(|| Err(unavailable())),
                );
            }
            Caller::Told(session, failures) => self.session_told(ctx, session, failures, answers),
            Caller::Recorded(session, attempt, refusal) => {
                let answer = answers.pop().unwrap_or_else(|| Err(unavailable()));
                let outcome = match (answer, refusal) {
                    (Err(error), _) => Err(error),
                    (Ok(_), Some(refusal)) => Err(refusal),
                    (Ok(_), None) => Ok(()),
                };
                self.session_recorded(ctx, session, attempt, outcome);
            }
        }
    }

    /// Looks at the engine's next timer.
    fn set_timer(&mut self, ctx: &mut Context) {
        let Some(running) = &mut self.running else {
            return;
        };
        let (base, since) = running.clock;
        let Some(at) = running.core.next_timer() else {
            return;
        };
        let at = (at.saturating_sub(base) + since).max(ctx.now);
        if running.timer_at > at || running.timer_at <= ctx.now {
            running.timer_at = at;
            ctx.after(at - ctx.now, Event::Timer);
        }
    }

    /// The engine's timer is due.
    pub fn timer(&mut self, ctx: &mut Context) {
        if let Some(running) = &mut self.running
            && running.timer_at <= ctx.now
        {
            running.timer_at = u64::MAX;
            self.turn(ctx);
        }
    }

    /// A verified delivery's owner.
    pub fn miner_key(&self, session: SessionId) -> Option<PublicKey> {
        Some(self.running.as_ref()?.sessions.get(&session)?.key)
    }
}

impl Running {
    pub fn ask(&mut self, ctx: &mut Context, commands: Vec<Command>, caller: Caller) {
        self.waiting.push((commands, caller));
        if !std::mem::replace(&mut self.turn_due, true) {
            let rng = &mut ctx.random.coordinator;
            let delay = if one_in(rng, 60) {
                rng.random_range(5..300)
            } else {
                rng.random_range(0..5)
            };
            ctx.after(delay, Event::Turn);
        }
    }

    /// The engine's time: Unix ms.
    pub fn now(&self, now: u64) -> u64 {
        let (base, since) = self.clock;
        base + (now - since)
    }
}

fn refusals_as_errors(reply: Reply) -> Result<Reply, ApiError> {
    match reply {
        Reply::Refused(error) => Err(error),
        reply => Ok(reply),
    }
}

/// The store may fail at the next commit, or another coordinator may have claimed it.
pub fn strike_store(ctx: &mut Context, memory: &MemoryStore) {
    if !ctx.strikes(Fault::Commit, 120) {
        return;
    }
    let kinds = [
        store::Fault::Fenced,
        store::Fault::UnknownApplied,
        store::Fault::UnknownNotApplied,
        store::Fault::Full,
        store::Fault::SyncFailed,
    ];
    let kind = ctx.random.faults.random_range(0..=kinds.len());
    match kinds.get(kind) {
        Some(fault) => memory.inject(*fault),
        None => drop(memory.claim(0..=SHARDS - 1)),
    }
    ctx.trace
        .fault(ctx.now, format_args!("the store: {:?}", kinds.get(kind)));
}
