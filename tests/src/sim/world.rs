//! A run: its parts, its events, and the loop over them.

use aitbc_common::runtime::status::ApiError;
use aitbc_coordinator::engine::command::{
    AttemptId, AttemptInfo, Command, MinerChange, Reply, SessionId,
};
use aitbc_coordinator::sessions::watch_job::Position;
use aitbc_miner::session::{AttemptKey, SpoolRecord};
use aitbc_proto::v1;
use rand::Rng;

use super::clients::{self, Call, ClientJob};
use super::context::{Context, Faults, Options};
use super::coordinator::{Caller, Coordinator};
use super::deliveries::Verification;
use super::faults::Strike;
use super::ledger::Ledger;
use super::market::{Market, Step};
use super::miners::Miner;
use super::network::{ConnectionId, Side};
use super::pollers::Poller;
use super::watches::{WatchId, WatchItem};
use super::{Report, faults, network, work};

/// Once the faults have stopped, everything must be final within this: two hours.
const SETTLE_MS: u64 = 7_200_000;
/// Events of a run, at most: more means that something spins.
const MOST_EVENTS: u64 = 2_000_000;
/// Whether everything is final is looked at this often.
const LOOK_MS: u64 = 5_000;

/// Something happens.
#[derive(Clone)]
pub enum Event {
    /// The engine takes what waits.
    Turn,
    /// Its next timer is due.
    Timer,
    Accepted(ConnectionId, usize),
    Arrives(ConnectionId, Side),
    Lost(ConnectionId, Side),
    SessionTick(SessionId),
    Signed(SessionId, AttemptId, Box<v1::Assign>),
    Renewed(SessionId, AttemptId, Box<v1::Renew>),
    Verify(Box<Verification>),
    Connect(usize, u64),
    MinerWake(usize),
    MinerUp(usize),
    ModelStep(usize, AttemptKey, u64),
    Stored(usize, u64, Box<SpoolRecord>),
    CoordinatorUp,
    Register(usize),
    Submit(usize),
    Cancel(usize),
    PollerStep(usize),
    Called(Call),
    Answered(Call, Box<Result<Reply, ApiError>>),
    /// A polled job's delivery is complete.
    Parcel(usize, u64, Box<AttemptInfo>),
    Watch(usize),
    WatchLost(WatchId),
    Watched(WatchId, usize, Box<WatchItem>),
    Strike(Strike),
    FaultsEnd,
    /// A client pays for its job.
    Pay(usize),
    /// The ledger and the engine exchange what they have to say.
    Relay,
    /// The engine answered the ledger.
    LedgerTold(Box<Reply>),
    /// Somebody of the market does something.
    Market(Step),
    /// Is everything final?
    Look,
}

/// All parts of a run.
pub struct World {
    seed: u64,
    ctx: Context,
    coordinator: Coordinator,
    miners: Vec<Miner>,
    pollers: Vec<Poller>,
    registered: Vec<bool>,
    jobs: Vec<ClientJob>,
    ledger: Ledger,
    market: Market,
    settled: bool,
}

impl World {
    pub fn new(seed: u64, options: &Options) -> Self {
        let mut ctx = Context::new(seed, options);
        let coordinator = Coordinator::new(&mut ctx);
        let rng = &mut ctx.random.people;
        let (in_session, polling) = (rng.random_range(1..=4), rng.random_range(0..=2));
        let (clients, jobs) = (
            rng.random_range(1..=3),
            rng.random_range(8..=40).min(options.jobs),
        );
        let service = coordinator.service.public();
        let miners: Vec<_> = (0..in_session)
            .map(|n| Miner::new(&mut ctx, n, service))
            .collect();
        let pollers: Vec<_> = (in_session..in_session + polling)
            .map(|n| Poller::new(&mut ctx, n))
            .collect();
        (0..in_session + polling).for_each(|n| ctx.after(0, Event::Register(n)));
        let jobs = (0..jobs).fold(Vec::with_capacity(jobs), |mut jobs: Vec<ClientJob>, n| {
            let before = n
                .checked_sub(clients)
                .map(|before| &jobs[before].submission);
            let job = ClientJob::new(&mut ctx, n, n % clients, before);
            jobs.push(job);
            jobs
        });
        faults::plan(&mut ctx, in_session);
        ctx.after(0, Event::Relay);
        let registered = vec![false; in_session + polling];
        let ledger = Ledger::new(&mut ctx);
        let market = Market::new(&mut ctx, in_session, clients);
        Self {
            seed,
            ctx,
            coordinator,
            miners,
            pollers,
            registered,
            jobs,
            ledger,
            market,
            settled: false,
        }
    }

    /// Runs to the end, or to the first violation.
    pub fn run(mut self) -> Report {
        while !self.settled && self.ctx.checker.violation.is_none() {
            let Some(event) = self.ctx.next() else {
                self.ctx.checker.violated("nothing happens any more".into());
                break;
            };
            self.ctx.trace.totals.events += 1;
            if self.ctx.trace.totals.events > MOST_EVENTS {
                self.ctx
                    .checker
                    .violated("too many events: something spins".into());
            }
            self.happen(event);
        }
        let mut totals = self.ctx.trace.totals;
        totals.virtual_ms = self.ctx.now - super::context::START_MS;
        totals.completed = self.ctx.checker.completed();
        let now = self.ctx.now - super::context::START_MS;
        let violation = self
            .ctx
            .checker
            .violation
            .take()
            .map(|violation| format!("at {now} ms: {violation}"));
        let (trace_hash, log) = self.ctx.trace.finish();
        Report {
            seed: self.seed,
            trace_hash,
            violation,
            totals,
            log,
        }
    }

    fn happen(&mut self, event: Event) {
        let ctx = &mut self.ctx;
        match event {
            Event::Turn => self.coordinator.turn(ctx),
            Event::Timer => self.coordinator.timer(ctx),
            Event::Accepted(connection, miner) => {
                self.coordinator
                    .accepted(ctx, connection, work::miner(miner).public());
            }
            Event::Arrives(connection, Side::Coordinator) => {
                self.coordinator.arrived(ctx, connection)
            }
            Event::Arrives(connection, Side::Miner) => {
                if let Some(miner) = ctx.network.miner(connection) {
                    self.miners[miner].arrived(ctx, connection);
                }
            }
            Event::Lost(connection, Side::Coordinator) => {
                self.coordinator.connection_lost(ctx, connection)
            }
            Event::Lost(connection, Side::Miner) => {
                if let Some(miner) = ctx.network.miner(connection) {
                    self.miners[miner].connection_lost(ctx, connection);
                }
            }
            Event::SessionTick(session) => self.coordinator.session_tick(ctx, session),
            Event::Signed(session, attempt, assign) => {
                self.coordinator.signed(ctx, session, attempt, *assign)
            }
            Event::Renewed(session, attempt, renew) => {
                self.coordinator.renewed(ctx, session, attempt, *renew)
            }
            Event::Verify(verification) => self.coordinator.verify(ctx, &verification),
            Event::Connect(miner, life) => self.miners[miner].connect(ctx, life),
            Event::MinerWake(miner) => self.miners[miner].wake(ctx),
            Event::MinerUp(miner) => self.miners[miner].start(ctx),
            Event::ModelStep(miner, key, number) => {
                let coordinator = &self.coordinator;
                self.miners[miner].model_step(ctx, key, number, coordinator);
            }
            Event::Stored(miner, life, record) => self.miners[miner].stored(ctx, life, *record),
            Event::CoordinatorUp => {
                if self.coordinator.running.is_none() {
                    self.coordinator.start(ctx);
                }
            }
            Event::Strike(strike) => self.strike(strike),
            Event::FaultsEnd => self.stop_faults(),
            Event::Look => self.look(),
            Event::Relay => self.ledger.relay(ctx, &mut self.coordinator),
            Event::LedgerTold(reply) => self.ledger.told(*reply),
            event => self.people(event),
        }
    }

    /// What clients and pollers do, and what reaches them.
    fn people(&mut self, event: Event) {
        let ctx = &mut self.ctx;
        match event {
            Event::Register(miner) if !self.registered[miner] => {
                clients::call(ctx, Call::Register(miner));
                ctx.after(1_000, Event::Register(miner));
            }
            Event::Submit(job) => self.jobs[job].submit(ctx, job),
            Event::Cancel(job) => self.jobs[job].cancel(ctx, job),
            Event::Pay(job) => {
                let job = &self.jobs[job];
                if let Some(id) = job.id {
                    self.ledger.pay(ctx, id, &job.submission);
                }
            }
            Event::PollerStep(number) => {
                if let Some(poller) = self
                    .pollers
                    .iter_mut()
                    .find(|poller| poller.number == number)
                {
                    poller.step(ctx);
                }
            }
            Event::Market(step) => {
                self.market
                    .step(ctx, step, &mut self.ledger, &mut self.jobs);
            }
            Event::Called(call) => self.called(call),
            Event::Answered(call, answer) => self.answered(call, *answer),
            Event::Parcel(number, round, info) => {
                if let Some(poller) = self.pollers.iter().find(|poller| poller.number == number) {
                    poller.parcel(&mut self.coordinator, ctx, round, &info);
                }
            }
            Event::Watch(job) => self.watch(job),
            Event::WatchLost(watch) => {
                if let Some(running) = &mut self.coordinator.running {
                    running.watches.remove(&watch);
                }
                let job = usize::try_from(watch >> 32).unwrap_or_default();
                if let Some(watcher) = &mut self.jobs[job].watcher {
                    watcher.lost(ctx, watch, job);
                }
            }
            Event::Watched(watch, job, item) => {
                let Some(watcher) = &mut self.jobs[job].watcher else {
                    return;
                };
                if let Err(problem) = watcher.arrived(ctx, watch, job, *item) {
                    ctx.checker
                        .violated(format!("the watcher of request {job}: {problem}"));
                }
            }
            _ => {}
        }
    }

    fn watch(&mut self, job: usize) {
        let (ctx, client) = (&mut self.ctx, &mut self.jobs[job]);
        let (Some(job_id), Some(watcher)) = (client.id, &mut client.watcher) else {
            return;
        };
        if let Some((watch, (attempt, offset))) = watcher.connect(ctx, job) {
            let position = Position { attempt, offset };
            ctx.trace
                .note(ctx.now, format_args!("watch of {job_id} from {position:?}"));
            self.coordinator
                .watch(ctx, watch, job, job_id, client.submission.owner, position);
        }
    }

    fn called(&mut self, call: Call) {
        let (ctx, coordinator) = (&mut self.ctx, &mut self.coordinator);
        match call {
            Call::Submit(job) | Call::Cancel(job) => {
                clients::arrived(coordinator, ctx, &self.jobs[job], call)
            }
            Call::Market(asked) => {
                if let Some(command) = self.market.command(ctx, asked) {
                    coordinator.ask(ctx, vec![command], Caller::Call(call));
                }
            }
            Call::Poller(number, round, asked) => {
                if let Some(poller) = self.pollers.iter().find(|poller| poller.number == number) {
                    poller.called(coordinator, ctx, round, asked);
                }
            }
            Call::Register(miner) => {
                let change: MinerChange = match self.miners.get(miner) {
                    Some(miner) => miner.change(),
                    None => self.pollers[miner - self.miners.len()].change(),
                };
                let key = work::miner(miner).public();
                let command = Command::Register {
                    key,
                    new_id: work::miner_id(miner),
                    change: Box::new(MinerChange {
                        price: Some(work::price(miner)),
                        payout: Some(work::payout(miner)),
                        ..change
                    }),
                };
                coordinator.ask(ctx, vec![command], Caller::Call(call));
            }
        }
    }

    fn answered(&mut self, call: Call, answer: Result<Reply, ApiError>) {
        let ctx = &mut self.ctx;
        match call {
            Call::Submit(job) => self.jobs[job].submitted(ctx, job, answer),
            Call::Cancel(job) => self.jobs[job].cancel_answered(ctx, answer),
            Call::Market(asked) => self.market.answered(ctx, asked, answer),
            Call::Poller(number, round, _) => {
                let service = &self.coordinator.service;
                if let Some(poller) = self
                    .pollers
                    .iter_mut()
                    .find(|poller| poller.number == number)
                {
                    poller.answered(ctx, service, round, answer);
                }
            }
            Call::Register(miner) => {
                if answer.is_ok()
                    && !std::mem::replace(&mut self.registered[miner], true)
                    && let Some(miner) = self.miners.get_mut(miner)
                {
                    miner.start(ctx);
                }
            }
        }
    }

    fn strike(&mut self, strike: Strike) {
        let ctx = &mut self.ctx;
        ctx.trace.fault(ctx.now, format_args!("{strike:?}"));
        match strike {
            Strike::Cut(n) => {
                let live = ctx.network.live();
                if !live.is_empty() {
                    network::cut(ctx, live[n % live.len()]);
                }
            }
            Strike::Block(miner, ms) => {
                let until = ctx.now + ms;
                ctx.network.block(miner, until);
            }
            Strike::Coordinator(down) => {
                self.coordinator.crash(ctx);
                ctx.after(down, Event::CoordinatorUp);
            }
            Strike::Drain(miner) => self.miners[miner].drain(ctx),
            Strike::Vanish(miner, down) => {
                self.miners[miner].away_until = ctx.now + down;
                self.miners[miner].crash(ctx);
                ctx.after(down, Event::MinerUp(miner));
            }
            Strike::Miner(miner, down) => {
                if self.registered[miner] {
                    self.miners[miner].crash(ctx);
                    ctx.after(down, Event::MinerUp(miner));
                }
            }
        }
    }

    /// From here on everything works.
    fn stop_faults(&mut self) {
        let ctx = &mut self.ctx;
        ctx.trace.note(ctx.now, format_args!("faults stop"));
        ctx.faults = Faults::none();
        ctx.after(0, Event::CoordinatorUp);
        for (miner, _) in self
            .registered
            .iter()
            .enumerate()
            .filter(|(_, registered)| **registered)
        {
            if miner < self.miners.len() {
                ctx.after(1, Event::MinerUp(miner));
            }
        }
        ctx.after(LOOK_MS, Event::Look);
    }

    fn look(&mut self) {
        let ctx = &mut self.ctx;
        let unfinished = ctx.checker.unfinished();
        let unanswered = self
            .jobs
            .iter()
            .filter(|job| job.id.is_none() && !job.too_late)
            .count();
        let watching = self
            .jobs
            .iter()
            .filter(|job| {
                !job.too_late && job.watcher.as_ref().is_some_and(|watcher| !watcher.done)
            })
            .count();
        let unsettled = self.ledger.unsettled(&self.coordinator) + ctx.rentals.open();
        if unfinished.is_empty() && unanswered == 0 && watching == 0 && unsettled == 0 {
            self.ledger.mature(ctx, &mut self.coordinator);
            // A last crash: everything must be there without what was not synced.
            self.coordinator.crash(ctx);
            self.coordinator.start(ctx);
            self.ledger.follow(ctx, &self.coordinator.store, u64::MAX);
            let totals = &mut ctx.trace.totals;
            let store = &self.coordinator.store;
            let audited = self.ledger.audit(store, &ctx.checker, totals);
            if let Err(problem) = audited.and_then(|()| ctx.rentals.settled(store)) {
                ctx.checker.violated(problem);
            }
            self.settled = true;
            return;
        }
        if ctx.now - super::context::START_MS > ctx.options.faulty_ms + SETTLE_MS {
            ctx.checker.violated(format!(
                "long after the faults stopped: {unfinished:?} are not final, {unanswered} unanswered, {watching} watched, {unsettled} unsettled"
            ));
        }
        ctx.after(LOOK_MS, Event::Look);
    }
}
