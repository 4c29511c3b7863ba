//! The engine's thread: takes what waits in the channel, applies it, commits once, answers, performs effects.

use std::collections::VecDeque;
use std::sync::{Arc, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::command::Command;
use super::core::{EngineConfig, EngineCore};
use super::handle::{Done, EffectSink, EngineClock, EngineHandle, Request, unavailable};
use super::stats::EngineStats;
use crate::store::{Durability, Fence, SHARDS, Store, StoreError};

/// Requests that may wait for the engine.
const CHANNEL: usize = 4_096;
/// Commands of one batch, unless one request alone has more.
const BATCH_COMMANDS: usize = 2_000;
/// The engine looks at its timers at least this often.
const TICK: Duration = Duration::from_millis(500);
/// The first and the longest wait between attempts to recover.
const RECOVERY_WAIT: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// Whether there is room on the disk for new jobs; asked about once a second.
pub type HasRoom = Box<dyn Fn() -> bool + Send>;

/// A running engine.
pub struct Engine {
    /// For callers.
    pub handle: EngineHandle,
    /// Ends when all handles are gone, or with an error when the disk failed to sync: the process must end then.
    pub thread: JoinHandle<Result<(), StoreError>>,
}

/// Claims all shards of `store`, recovers and starts the engine's thread.
pub fn start(
    store: Arc<dyn Store>,
    config: EngineConfig,
    mut sink: Box<dyn EffectSink>,
    has_room: HasRoom,
) -> Result<Engine, StoreError> {
    let fence = store.claim(0..=SHARDS - 1)?;
    let mut core = EngineCore::recover(config.clone(), wall_ms(), &store)?;
    core.set_epoch(fence.epoch());
    let clock = Arc::new(EngineClock::new(core.now()));
    let (requests, receiver) = mpsc::channel(CHANNEL);
    let fence = Arc::new(RwLock::new(fence));
    let stats = Arc::new(EngineStats::default());
    stats.show(core.figures());
    sink.publish(core.all_offers());
    let handle = EngineHandle {
        requests,
        fence: Arc::clone(&fence),
        store: Arc::clone(&store),
        clock: Arc::clone(&clock),
        stats: Arc::clone(&stats),
    };
    let driver = Driver {
        core,
        config,
        store,
        fence,
        clock,
        stats,
        sink,
        has_room,
        waiting: VecDeque::new(),
    };
    let thread = std::thread::Builder::new()
        .name("engine".into())
        .spawn(move || driver.run(receiver));
    let thread = thread
        .map_err(|error| StoreError::Unavailable(format!("no thread for the engine: {error}")))?;
    Ok(Engine { handle, thread })
}

struct Driver {
    core: EngineCore,
    config: EngineConfig,
    store: Arc<dyn Store>,
    fence: Arc<RwLock<Fence>>,
    clock: Arc<EngineClock>,
    stats: Arc<EngineStats>,
    sink: Box<dyn EffectSink>,
    has_room: HasRoom,
    waiting: VecDeque<Request>,
}

impl Driver {
    fn run(mut self, mut receiver: mpsc::Receiver<Request>) -> Result<(), StoreError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        let runtime = runtime.map_err(|error| {
            StoreError::Unavailable(format!("no runtime for the engine: {error}"))
        })?;
        let mut room_asked = Instant::now();
        self.core.set_has_room((self.has_room)());
        let mut taken = Vec::new();
        loop {
            if self.waiting.is_empty() {
                let until = self.next_wake();
                let count = runtime.block_on(async {
                    tokio::time::timeout_at(until, receiver.recv_many(&mut taken, BATCH_COMMANDS))
                        .await
                });
                if count == Ok(0) {
                    tracing::info!("engine stopped {}", self.stats);
                    return Ok(());
                }
                self.waiting.extend(taken.drain(..));
            }
            if room_asked.elapsed() >= Duration::from_secs(1) {
                room_asked = Instant::now();
                self.core.set_has_room((self.has_room)());
            }
            let (commands, callers) = self.next_batch();
            if let Err(error) = self.carry_out(commands, callers) {
                self.recover(error, &mut receiver)?;
            }
        }
    }

    fn next_wake(&self) -> Instant {
        let now = self.clock.now_ms();
        let due = self
            .core
            .next_timer()
            .map_or(TICK, |at| Duration::from_millis(at.saturating_sub(now)));
        Instant::now() + due.min(TICK)
    }

    fn next_batch(&mut self) -> (Vec<Command>, Vec<(usize, Done)>) {
        let mut commands = Vec::new();
        let mut callers = Vec::new();
        while let Some(request) = self.waiting.front() {
            if !commands.is_empty() && commands.len() + request.commands.len() > BATCH_COMMANDS {
                break;
            }
            let Some(request) = self.waiting.pop_front() else {
                break;
            };
            callers.push((request.commands.len(), request.done));
            commands.extend(request.commands);
        }
        (commands, callers)
    }

    fn carry_out(
        &mut self,
        commands: Vec<Command>,
        callers: Vec<(usize, Done)>,
    ) -> Result<(), StoreError> {
        self.stats.turn(commands.len());
        let outcome = self
            .core
            .apply(self.clock.now_ms(), commands, &self.store)
            .and_then(|output| {
                if !output.batch.is_empty() {
                    let fence = self
                        .fence
                        .read()
                        .expect("no holder of this lock panics")
                        .clone();
                    let (operations, bytes) = (output.batch.len(), output.batch.bytes());
                    self.store
                        .commit(&fence, output.batch, Durability::Synced)?;
                    self.stats.commit(operations, bytes);
                }
                Ok((output.replies, output.published, output.effects))
            });
        match outcome {
            Ok((replies, published, effects)) => {
                if !published.is_empty() {
                    self.sink.publish(published);
                }
                self.stats.show(self.core.figures());
                let mut replies = replies.into_iter();
                for (count, done) in callers {
                    done(
                        replies
                            .by_ref()
                            .take(count)
                            .map(refusals_as_errors)
                            .collect(),
                    );
                }
                if !effects.is_empty() {
                    self.sink.perform(effects);
                }
                Ok(())
            }
            Err(error) => {
                callers
                    .into_iter()
                    .for_each(|(count, done)| refuse(count, done));
                Err(error)
            }
        }
    }

    /// Drops all memory, opens the store anew and recovers by the start-up path, until it works. A failed sync ends the
    /// process: the operating system may have dropped what it could not write.
    fn recover(
        &mut self,
        error: StoreError,
        receiver: &mut mpsc::Receiver<Request>,
    ) -> Result<(), StoreError> {
        let mut error = error;
        let mut wait = RECOVERY_WAIT.0;
        loop {
            tracing::error!(%error, hint = error.hint(), "a commit failed; recovering from the store");
            if let StoreError::SyncFailed(_) | StoreError::Corrupt(_) = error {
                self.sink.reset();
                return Err(error);
            }
            self.refuse_waiting(receiver);
            match self.try_recover() {
                Ok(()) => {
                    self.sink.reset();
                    self.sink.publish(self.core.all_offers());
                    return Ok(());
                }
                Err(again) => error = again,
            }
            std::thread::park_timeout(wait);
            wait = (wait * 2).min(RECOVERY_WAIT.1);
        }
    }

    fn try_recover(&mut self) -> Result<(), StoreError> {
        self.store.reopen()?;
        let fence = self.store.claim(0..=SHARDS - 1)?;
        let mut core = EngineCore::recover(self.config.clone(), self.clock.now_ms(), &self.store)?;
        core.keep_reputations(&mut self.core);
        self.core = core;
        self.core.set_epoch(fence.epoch());
        *self.fence.write().expect("no holder of this lock panics") = fence;
        self.core.set_has_room((self.has_room)());
        Ok(())
    }

    fn refuse_waiting(&mut self, receiver: &mut mpsc::Receiver<Request>) {
        while let Ok(request) = receiver.try_recv() {
            self.waiting.push_back(request);
            if self.waiting.len() > CHANNEL {
                break;
            }
        }
        self.waiting
            .drain(..)
            .for_each(|request| refuse(request.commands.len(), request.done));
    }
}

fn refuse(count: usize, done: Done) {
    done((0..count).map(|_| Err(unavailable())).collect());
}

fn refusals_as_errors(
    reply: super::command::Reply,
) -> Result<super::command::Reply, aitbc_common::runtime::status::ApiError> {
    match reply {
        super::command::Reply::Refused(error) => Err(error),
        reply => Ok(reply),
    }
}

fn wall_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
