//! The ledger's thread: takes what waits in the channel, applies it, commits once, answers, performs effects.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use aitbc_common::runtime::status::ApiError;
use aitbc_common::runtime::unix_ms;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::command::{Command, Effect, Reply};
use super::core::{Figures, LedgerConfig, LedgerCore, Output};
use super::rows::CheckpointRow;
use crate::engine::driver::HasRoom;
use crate::engine::handle::{EngineClock, unavailable};
use crate::store::{
    Durability, Family, Fence, LEDGER_PARTITION, Store, StoreError, ledger_keys as keys, rows,
};

/// Commands that may wait for the ledger.
const CHANNEL: usize = 4_096;
/// Commands of one batch.
const BATCH_COMMANDS: usize = 1_000;
/// The ledger looks at its timers at least this often.
const TICK: Duration = Duration::from_millis(500);
/// The first and the longest wait between attempts to recover.
const RECOVERY_WAIT: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// What the newest signed checkpoint is, and how far the log goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Published {
    /// The checkpoint's text; empty until there is one.
    pub checkpoint: String,
    /// Records that it covers.
    pub size: u64,
    /// Index of the next record, sealed or not.
    pub next: u64,
    /// A smaller checkpoint followed one that was shown, ever since the start.
    pub shrunk: bool,
}

/// Signals of the ledger's thread; each holds its newest value.
#[derive(Debug)]
pub struct Signals {
    /// The newest checkpoint.
    pub published: watch::Sender<Published>,
    /// Rises when there are notices for the jobs.
    pub notices: watch::Sender<u64>,
    /// Until when expiries are due: Unix ms.
    pub expiry_due: watch::Sender<u64>,
    /// What there is, as of the last batch.
    pub figures: watch::Sender<Figures>,
}

impl Default for Signals {
    fn default() -> Self {
        Self {
            published: watch::Sender::new(Published::default()),
            notices: watch::Sender::new(0),
            expiry_due: watch::Sender::new(0),
            figures: watch::Sender::new(Figures::default()),
        }
    }
}

struct Request {
    command: Command,
    done: oneshot::Sender<Result<Reply, ApiError>>,
}

/// Sends commands to the ledger; cheap to clone.
#[derive(Clone)]
pub struct LedgerHandle {
    requests: mpsc::Sender<Request>,
    store: Arc<dyn Store>,
    signals: Arc<Signals>,
}

impl LedgerHandle {
    /// Carries out one command. Waits while the ledger's channel is full.
    pub async fn call(&self, command: Command) -> Result<Reply, ApiError> {
        let (done, receive) = oneshot::channel();
        if self.requests.send(Request { command, done }).await.is_err() {
            return Err(unavailable());
        }
        receive.await.unwrap_or_else(|_| Err(unavailable()))
    }

    /// The same, for threads that may block.
    pub fn blocking_call(&self, command: Command) -> Result<Reply, ApiError> {
        let (done, receive) = oneshot::channel();
        let request = Request { command, done };
        if self.requests.blocking_send(request).is_err() {
            return Err(unavailable());
        }
        receive
            .blocking_recv()
            .unwrap_or_else(|_| Err(unavailable()))
    }

    /// The store, for reads.
    #[must_use]
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    /// Signals of the ledger's thread.
    #[must_use]
    pub fn signals(&self) -> &Signals {
        &self.signals
    }
}

/// A running ledger.
pub struct Ledger {
    /// For callers.
    pub handle: LedgerHandle,
    /// Ends when all handles are gone, or with an error when the disk failed to sync: the process must end then.
    pub thread: JoinHandle<Result<(), StoreError>>,
}

/// Claims the ledger's partition of `store`, recovers (a new log gets its first records) and starts the thread.
pub fn start(
    store: Arc<dyn Store>,
    config: LedgerConfig,
    has_room: HasRoom,
) -> Result<Ledger, StoreError> {
    let fence = store.claim(LEDGER_PARTITION..=LEDGER_PARTITION)?;
    let core = LedgerCore::recover(config.clone(), unix_ms(), &store)?;
    let signals = Arc::new(Signals::default());
    let (requests, receiver) = mpsc::channel(CHANNEL);
    let clock = EngineClock::new(core.now());
    let mut driver = Driver {
        core,
        config,
        store: Arc::clone(&store),
        fence,
        clock,
        signals: Arc::clone(&signals),
        has_room,
    };
    driver.publish_stored()?;
    if driver.core.is_new() {
        let output = driver.core.begin(&driver.store)?;
        driver.commit(output, Vec::new())?;
    }
    let thread = std::thread::Builder::new()
        .name("ledger".into())
        .spawn(move || driver.run(receiver))
        .map_err(|error| StoreError::Unavailable(format!("no thread for the ledger: {error}")))?;
    let handle = LedgerHandle {
        requests,
        store,
        signals,
    };
    Ok(Ledger { handle, thread })
}

struct Driver {
    core: LedgerCore,
    config: LedgerConfig,
    store: Arc<dyn Store>,
    fence: Fence,
    clock: EngineClock,
    signals: Arc<Signals>,
    has_room: HasRoom,
}

impl Driver {
    fn run(mut self, mut receiver: mpsc::Receiver<Request>) -> Result<(), StoreError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(|error| {
                StoreError::Unavailable(format!("no runtime for the ledger: {error}"))
            })?;
        let mut room_asked = Instant::now();
        let mut taken = Vec::new();
        loop {
            let until = self.next_wake();
            let count = runtime.block_on(async {
                tokio::time::timeout_at(until, receiver.recv_many(&mut taken, BATCH_COMMANDS)).await
            });
            if count == Ok(0) {
                return Ok(());
            }
            if room_asked.elapsed() >= Duration::from_secs(1) {
                room_asked = Instant::now();
                self.core.set_has_room((self.has_room)());
            }
            let (commands, callers): (Vec<_>, Vec<_>) = taken
                .drain(..)
                .map(|request: Request| (request.command, request.done))
                .unzip();
            if let Err(error) = self.carry_out(commands, callers) {
                self.recover(error, &mut receiver)?;
            }
        }
    }

    /// Ledger time: monotonic, and never behind the wall clock, which alone goes on while the machine sleeps.
    fn now_ms(&self) -> u64 {
        self.clock.caught_up(unix_ms())
    }

    fn next_wake(&self) -> Instant {
        let now = self.now_ms();
        let due = self
            .core
            .next_timer()
            .map_or(TICK, |at| Duration::from_millis(at.saturating_sub(now)));
        Instant::now() + due.min(TICK)
    }

    fn carry_out(
        &mut self,
        commands: Vec<Command>,
        callers: Vec<oneshot::Sender<Result<Reply, ApiError>>>,
    ) -> Result<(), StoreError> {
        let applied = self.core.apply(self.now_ms(), commands, &self.store);
        match applied {
            Ok(output) => self.commit(output, callers),
            Err(error) => {
                refuse(callers);
                Err(error)
            }
        }
    }

    fn commit(
        &mut self,
        output: Output,
        callers: Vec<oneshot::Sender<Result<Reply, ApiError>>>,
    ) -> Result<(), StoreError> {
        if !output.batch.is_empty()
            && let Err(error) = self
                .store
                .commit(&self.fence, output.batch, Durability::Synced)
        {
            refuse(callers);
            return Err(error);
        }
        for (reply, caller) in output.replies.into_iter().zip(callers) {
            // The caller may have gone; what it asked for is done all the same.
            let _ = caller.send(Ok(reply));
        }
        for effect in output.effects {
            self.perform(effect);
        }
        self.show_figures();
        Ok(())
    }

    fn perform(&self, effect: Effect) {
        match effect {
            Effect::NoticesPending => self.signals.notices.send_modify(|count| *count += 1),
            Effect::Released { checkpoint, size } => {
                self.publish(checkpoint, size);
            }
            Effect::ExpiryDue { until_ms } => {
                self.signals.expiry_due.send_replace(until_ms);
            }
            Effect::Appended { next } => {
                self.signals
                    .published
                    .send_modify(|published| published.next = next);
            }
        }
    }

    fn publish(&self, checkpoint: String, size: u64) {
        self.signals.published.send_modify(|published| {
            if size < published.size && !published.shrunk {
                published.shrunk = true;
                tracing::error!(
                    shown = published.size,
                    now = size,
                    "the newest checkpoint is smaller than one that was shown; stop, keep the data folder and report it"
                );
            }
            published.checkpoint = checkpoint;
            published.size = size;
        });
    }

    /// Shows what was shown before the start, or before a recovery.
    fn publish_stored(&self) -> Result<(), StoreError> {
        let name = keys::checkpoint();
        let stored = self.store.get_many(&[(Family::Active, name.as_slice())])?;
        let stored = stored.into_iter().next().flatten();
        let row: CheckpointRow = stored.map(rows::decode).transpose()?.unwrap_or_default();
        self.publish(row.text, row.size);
        let next = self.core.next_index();
        self.signals
            .published
            .send_modify(|published| published.next = next);
        self.signals.notices.send_modify(|count| *count += 1);
        self.show_figures();
        Ok(())
    }

    fn show_figures(&self) {
        let figures = self.core.figures();
        let (broken, before) = (figures.broken(), self.signals.figures.send_replace(figures));
        if !broken.is_empty() && broken != before.broken() {
            tracing::error!(invariants = ?broken, "the ledger's sums are wrong; stop, keep the data folder and report it");
        }
    }

    /// Drops all memory and recovers by the start-up path, until it works. Where another writer reopened the store, that
    /// is a new claim; else the store is opened anew, which ends that writer's claim in turn.
    fn recover(
        &mut self,
        mut error: StoreError,
        receiver: &mut mpsc::Receiver<Request>,
    ) -> Result<(), StoreError> {
        let mut wait = RECOVERY_WAIT.0;
        loop {
            tracing::error!(%error, hint = error.hint(), "a commit of the ledger failed; recovering from the store");
            if let StoreError::SyncFailed(_) | StoreError::Corrupt(_) = error {
                return Err(error);
            }
            while let Ok(request) = receiver.try_recv() {
                refuse(vec![request.done]);
            }
            match self.try_recover(&error) {
                Ok(()) => return Ok(()),
                Err(again) => error = again,
            }
            std::thread::park_timeout(wait);
            wait = (wait * 2).min(RECOVERY_WAIT.1);
        }
    }

    fn try_recover(&mut self, error: &StoreError) -> Result<(), StoreError> {
        if *error != StoreError::Fenced {
            self.store.reopen()?;
        }
        self.fence = self.store.claim(LEDGER_PARTITION..=LEDGER_PARTITION)?;
        self.core = LedgerCore::recover(self.config.clone(), self.now_ms(), &self.store)?;
        self.core.set_has_room((self.has_room)());
        self.publish_stored()
    }
}

fn refuse(callers: Vec<oneshot::Sender<Result<Reply, ApiError>>>) {
    for caller in callers {
        // The caller may have gone.
        let _ = caller.send(Err(unavailable()));
    }
}
