//! Miners in session: the real core, and what its driver, its spool and its model server would do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aitbc_common::identity::Identity;
use aitbc_common::job_input::JobType;
use aitbc_common::layouts::StreamCheckpoint;
use aitbc_miner::session::{
    Action, AttemptKey, CoreConfig, End, Event as MinerEvent, SessionCore, SpoolRecord,
};
use aitbc_proto::v1::miner_message::Message as Up;
use aitbc_proto::v1::{self, CoordinatorMessage, ErrorReason, Failure, FailureReason, Inventory};
use bytes::Bytes;
use rand::Rng;

use super::agents::{self, Execution, Step};
use super::context::{Context, Fault, START_MS, one_in};
use super::coordinator::Coordinator;
use super::genesis::CHAIN;
use super::network::{ConnectionId, DownItem, Side, connect, leave, send_up};
use super::work::{self, ENGINE, MODELS};
use super::world::Event;

/// What a model server does with a run.
#[derive(Debug, Clone, Copy)]
enum Plan {
    Finish,
    /// It fails after so many bytes.
    Fail(usize, FailureReason),
    /// It says nothing more after so many bytes.
    Stall(usize),
}

/// A run of the model server.
struct Run {
    number: u64,
    text: Bytes,
    done: usize,
    chunk: usize,
    plan: Plan,
}

/// A miner.
pub struct Miner {
    pub number: usize,
    identity: Arc<Identity>,
    service: aitbc_common::identity::PublicKey,
    inventory: Inventory,
    core: Option<SessionCore>,
    /// How often it was started: what a former life scheduled does not count.
    pub life: u64,
    connection: Option<ConnectionId>,
    spool: BTreeMap<AttemptKey, SpoolRecord>,
    runs: BTreeMap<AttemptKey, Run>,
    /// Those of agents, each with its number.
    executions: BTreeMap<AttemptKey, (u64, Execution)>,
    started_runs: u64,
    wake_at: u64,
    takeover: bool,
    /// It does not start before: Unix ms.
    pub away_until: u64,
}

fn clock(ctx: &Context) -> Duration {
    Duration::from_millis(ctx.now - START_MS)
}

fn failed(reason: FailureReason) -> Failure {
    Failure {
        reason: reason.into(),
        message: "the simulated model server failed".into(),
    }
}

/// Another output of the same attempt, signed beside the one that is sent.
fn lie(ctx: &mut Context, identity: &Identity, message: &Up) -> Option<Up> {
    let Up::Checkpoint(part) = message else {
        return None;
    };
    if !one_in(&mut ctx.random.cheats, 60) || !ctx.faults.has(Fault::Cheat) {
        return None;
    }
    let mut checkpoint = StreamCheckpoint::decode(&part.checkpoint).expect("the miner wrote it");
    checkpoint.hash[0] ^= 1;
    ctx.wire.cheats(identity.public(), &checkpoint);
    let at = (checkpoint.job_id, checkpoint.attempt);
    ctx.trace
        .fault(ctx.now, format_args!("two outputs of {at:?}"));
    Some(Up::Checkpoint(v1::Checkpoint {
        checkpoint: checkpoint.encode().to_vec().into(),
        signature: checkpoint.sign(identity).to_vec().into(),
        ..part.clone()
    }))
}

impl Miner {
    pub fn new(
        ctx: &mut Context,
        number: usize,
        service: aitbc_common::identity::PublicKey,
    ) -> Self {
        let slots = ctx.random.people.random_range(1..=3);
        let models = if number == 0 || one_in(&mut ctx.random.people, 2) {
            &MODELS[..]
        } else {
            &MODELS[..1]
        };
        Self {
            number,
            identity: Arc::new(work::miner(number)),
            service,
            inventory: Inventory {
                models: models.iter().map(|name| work::model(name)).collect(),
                slots,
                engine: ENGINE.into(),
                tools: vec![agents::TOOL.into()],
            },
            core: None,
            life: 0,
            connection: None,
            spool: BTreeMap::new(),
            runs: BTreeMap::new(),
            executions: BTreeMap::new(),
            started_runs: 0,
            wake_at: u64::MAX,
            takeover: false,
            away_until: 0,
        }
    }

    /// What it registers.
    pub fn change(&self) -> aitbc_coordinator::engine::command::MinerChange {
        aitbc_coordinator::engine::command::MinerChange {
            models: Some(self.inventory.models.clone()),
            slots: Some(self.inventory.slots),
            ..Default::default()
        }
    }

    /// The process starts with what is in its spool.
    pub fn start(&mut self, ctx: &mut Context) {
        if self.core.is_some() || ctx.now < self.away_until {
            return;
        }
        self.life += 1;
        let config = CoreConfig {
            identity: Arc::clone(&self.identity),
            miner_id: work::miner_id(self.number),
            chain_id: *CHAIN,
            service_key: self.service,
            log_key: self.service,
            takeover: std::mem::take(&mut self.takeover),
            version: "0.1.0".into(),
            job_limit: None,
        };
        self.core = Some(SessionCore::new(
            config,
            self.inventory.clone(),
            self.spool.values().cloned().collect(),
        ));
        ctx.after(0, Event::Connect(self.number, self.life));
    }

    /// The process stops at once.
    pub fn crash(&mut self, ctx: &mut Context) {
        self.core = None;
        self.runs.clear();
        self.executions.clear();
        self.life += 1;
        if let Some(connection) = self.connection.take() {
            super::network::cut(ctx, connection);
        }
    }

    /// Its operator asks it to stop.
    pub fn drain(&mut self, ctx: &mut Context) {
        self.handle(ctx, MinerEvent::Drain);
    }

    /// Begins a connection.
    pub fn connect(&mut self, ctx: &mut Context, life: u64) {
        if life != self.life || self.core.is_none() || self.connection.is_some() {
            return;
        }
        self.connection = Some(connect(ctx, self.number));
        self.handle(ctx, MinerEvent::Connected);
    }

    /// Something arrived from the coordinator.
    pub fn arrived(&mut self, ctx: &mut Context, connection: ConnectionId) {
        let Some(item) = ctx.network.take_down(connection, ctx.now) else {
            return;
        };
        if self.connection != Some(connection) {
            return;
        }
        match item {
            DownItem::Message(message) => {
                ctx.wire.got(&message);
                self.handle(
                    ctx,
                    MinerEvent::Message(CoordinatorMessage {
                        message: Some(*message),
                    }),
                );
            }
            DownItem::End(error) => {
                self.connection = None;
                let event = MinerEvent::Disconnected {
                    reason: error.reason,
                    message: error.message,
                    retry_after: error.retry_after,
                };
                self.handle(ctx, event);
            }
        }
    }

    /// It learns that its connection is gone.
    pub fn connection_lost(&mut self, ctx: &mut Context, connection: ConnectionId) {
        if self.connection == Some(connection) {
            self.connection = None;
            let (reason, message) = (ErrorReason::Unspecified, "the connection broke".to_owned());
            self.handle(
                ctx,
                MinerEvent::Disconnected {
                    reason,
                    message,
                    retry_after: None,
                },
            );
        }
    }

    /// Its next deadline may have come.
    pub fn wake(&mut self, ctx: &mut Context) {
        if self.wake_at <= ctx.now {
            self.wake_at = u64::MAX;
            self.handle(ctx, MinerEvent::Tick);
        }
    }

    fn handle(&mut self, ctx: &mut Context, event: MinerEvent) {
        let now = clock(ctx);
        let Some(core) = &mut self.core else { return };
        for action in core.handle(now, event) {
            self.act(ctx, action);
        }
        self.send(ctx);
    }

    fn send(&mut self, ctx: &mut Context) {
        let now = clock(ctx);
        let Some(core) = &mut self.core else { return };
        if let Some(connection) = self.connection {
            while let Some(batch) = core.outgoing(now) {
                for message in batch.into_iter().filter_map(|message| message.message) {
                    let lie = lie(ctx, &self.identity, &message);
                    for message in [Some(message), lie].into_iter().flatten() {
                        ctx.wire.sends(self.identity.public(), &message);
                        send_up(ctx, connection, message);
                    }
                }
            }
        }
        let flush = self.connection.and(core.next_flush());
        let due = [core.next_deadline(), flush].into_iter().flatten().min();
        if let Some(due) = due {
            let due = START_MS + u64::try_from(due.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX);
            let due = due.max(ctx.now + 1);
            if due < self.wake_at {
                self.wake_at = due;
                ctx.after(due - ctx.now, Event::MinerWake(self.number));
            }
        }
    }

    fn act(&mut self, ctx: &mut Context, action: Action) {
        match action {
            Action::Start(start) if start.job_type == JobType::Agent => {
                self.started_runs += 1;
                let execution = Execution::new(&start.model.name, start.input);
                self.executions
                    .insert(start.key, (self.started_runs, execution));
                let step = Event::ModelStep(self.number, start.key, self.started_runs);
                ctx.after(1, step);
            }
            Action::Start(start) => self.run(ctx, start.key, &start.input),
            Action::Stop(key) => {
                self.runs.remove(&key);
                self.executions.remove(&key);
            }
            Action::Store(record) => {
                let delay = ctx.random.models.random_range(1..20);
                ctx.after(delay, Event::Stored(self.number, self.life, record));
            }
            Action::Forget(key) => drop(self.spool.remove(&key)),
            Action::Close {
                retry_after,
                message,
            } => {
                ctx.trace.note(
                    ctx.now,
                    format_args!("miner {} reconnects: {message}", self.number),
                );
                if let Some(connection) = self.connection.take() {
                    leave(ctx, connection, Side::Miner);
                }
                let backoff = ctx.random.network.random_range(50..3_000);
                let delay = retry_after.map_or(backoff, |after| {
                    u64::try_from(after.as_millis()).unwrap_or(backoff)
                });
                ctx.after(delay, Event::Connect(self.number, self.life));
            }
            Action::Notice(_) => {}
            Action::End(end) => self.ended(ctx, &end),
        }
    }

    /// The process ends by itself; its operator starts it again.
    fn ended(&mut self, ctx: &mut Context, end: &End) {
        ctx.trace
            .note(ctx.now, format_args!("miner {} ends: {end:?}", self.number));
        self.takeover =
            matches!(end, End::SessionExists { .. }) && one_in(&mut ctx.random.people, 2);
        if let Some(connection) = self.connection.take() {
            leave(ctx, connection, Side::Miner);
        }
        self.core = None;
        self.runs.clear();
        self.executions.clear();
        self.life += 1;
        let delay = ctx.random.people.random_range(1_000..30_000);
        ctx.after(delay, Event::MinerUp(self.number));
    }

    fn run(&mut self, ctx: &mut Context, key: AttemptKey, input: &[u8]) {
        let made = work::text(input, key.job, key.attempt, &self.identity.public());
        let text = Bytes::from(made);
        let faulty = ctx.faults.has(Fault::Model);
        let rng = &mut ctx.random.models;
        let at = rng.random_range(0..=text.len());
        let reasons = [
            FailureReason::EngineUnavailable,
            FailureReason::StreamCut,
            FailureReason::OutOfMemory,
        ];
        let plan = match rng.random_range(0..20) {
            0 | 1 if faulty => Plan::Fail(at, reasons[rng.random_range(0..reasons.len())]),
            2 if faulty => Plan::Stall(at),
            _ => Plan::Finish,
        };
        let pieces = rng.random_range(1..=8);
        let chunk = text.len().div_ceil(pieces).max(1);
        self.started_runs += 1;
        let run = Run {
            number: self.started_runs,
            text,
            done: 0,
            chunk,
            plan,
        };
        let first = rng.random_range(5..2_000);
        ctx.after(first, Event::ModelStep(self.number, key, run.number));
        self.runs.insert(key, run);
        let held = self.runs.len();
        if held > usize::try_from(self.inventory.slots).unwrap_or(usize::MAX) {
            ctx.checker.violated(format!(
                "miner {} runs {held} jobs in {} slots",
                self.number, self.inventory.slots
            ));
        }
    }

    /// The model server generates a little more.
    pub fn model_step(
        &mut self,
        ctx: &mut Context,
        key: AttemptKey,
        number: u64,
        coordinator: &Coordinator,
    ) {
        if self.executions.contains_key(&key) {
            return self.agent_step(ctx, key, number, coordinator);
        }
        let Some(run) = self.runs.get_mut(&key).filter(|run| run.number == number) else {
            return;
        };
        let mut end = (run.done + run.chunk).min(run.text.len());
        match run.plan {
            Plan::Fail(at, reason) if end >= at => {
                self.runs.remove(&key);
                return self.handle(
                    ctx,
                    MinerEvent::Failed {
                        key,
                        failure: failed(reason),
                    },
                );
            }
            Plan::Stall(at) if end >= at => end = at.max(run.done),
            _ => {}
        }
        let data = run.text.slice(run.done..end);
        let stalls = matches!(run.plan, Plan::Stall(at) if end >= at);
        run.done = end;
        let finished = end == run.text.len() && !stalls;
        let output_tokens = u32::try_from(end / 4).unwrap_or(u32::MAX);
        let content = finished.then(|| run.text.clone());
        self.handle(
            ctx,
            MinerEvent::Output {
                key,
                data,
                output_tokens,
            },
        );
        if let Some(content) = content {
            self.runs.remove(&key);
            let content = String::from_utf8_lossy(&content).into_owned();
            self.handle(
                ctx,
                MinerEvent::Finished {
                    key,
                    result: Box::new(work::run_result(content)),
                },
            );
        } else if !stalls {
            let rng = &mut ctx.random.models;
            let pause = if one_in(rng, 10) {
                rng.random_range(1_000..40_000)
            } else {
                rng.random_range(5..1_500)
            };
            ctx.after(pause, Event::ModelStep(self.number, key, number));
        }
    }

    /// An agent goes on a little.
    fn agent_step(
        &mut self,
        ctx: &mut Context,
        key: AttemptKey,
        number: u64,
        coordinator: &Coordinator,
    ) {
        let execution = self.executions.get_mut(&key);
        let Some((_, execution)) = execution.filter(|(known, _)| *known == number) else {
            return;
        };
        if ctx.faults.has(Fault::Model) && one_in(&mut ctx.random.models, 60) {
            self.executions.remove(&key);
            let failure = failed(FailureReason::EngineUnavailable);
            return self.handle(ctx, MinerEvent::Failed { key, failure });
        }
        let pause = match execution.step(ctx, key, coordinator) {
            Step::Wait => 200,
            Step::Output(data) => {
                let output_tokens = 1;
                let output = MinerEvent::Output {
                    key,
                    data,
                    output_tokens,
                };
                self.handle(ctx, output);
                ctx.random.models.random_range(1..1_500)
            }
            Step::Done(content) => {
                self.executions.remove(&key);
                let result = Box::new(work::run_result(content));
                return self.handle(ctx, MinerEvent::Finished { key, result });
            }
        };
        ctx.after(pause, Event::ModelStep(self.number, key, number));
    }

    /// A record is in the spool, or the disk refused it.
    pub fn stored(&mut self, ctx: &mut Context, life: u64, record: SpoolRecord) {
        if life != self.life {
            return;
        }
        let key = record.key;
        if ctx.faults.has(Fault::Model) && one_in(&mut ctx.random.models, 100) {
            return self.handle(
                ctx,
                MinerEvent::NotStored {
                    key,
                    message: "no space left".into(),
                },
            );
        }
        self.spool.insert(key, record);
        self.handle(ctx, MinerEvent::Stored(key));
    }
}
