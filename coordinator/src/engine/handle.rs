//! What the rest of the coordinator calls.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1::ErrorReason;
use tokio::sync::{mpsc, oneshot};

use super::command::{Command, Effect, Reply};
use super::stats::EngineStats;
use crate::market::board::Change;
use crate::store::{Fence, Store};

/// When a caller may come back while the engine recovers.
const RETRY: Duration = Duration::from_millis(500);

/// Who performs effects once they are durable. Called on the engine's thread after each commit: must never block.
pub trait EffectSink: Send + 'static {
    /// What readers look up changed: called before the answers are given.
    fn publish(&mut self, _changes: Vec<Change>) {}

    /// In order.
    fn perform(&mut self, effects: Vec<Effect>);

    /// A commit failed and memory was rebuilt from the store: sessions and watchers must end and come back.
    fn reset(&mut self);
}

/// Performs nothing.
#[cfg(test)]
pub(crate) struct Nobody;

#[cfg(test)]
impl EffectSink for Nobody {
    fn perform(&mut self, _: Vec<Effect>) {}
    fn reset(&mut self) {}
}

/// What is called with the answers to some commands.
pub(super) type Done = Box<dyn FnOnce(Vec<Result<Reply, ApiError>>) + Send>;

/// Commands that are carried out in order, in one batch.
pub(super) struct Request {
    pub commands: Vec<Command>,
    pub done: Done,
}

/// The engine's time: the later of the newest stored time and the wall clock at start, monotonic after.
#[derive(Debug)]
pub struct EngineClock {
    base_ms: AtomicU64,
    started: Instant,
}

impl EngineClock {
    pub(crate) fn new(base_ms: u64) -> Self {
        Self {
            base_ms: AtomicU64::new(base_ms),
            started: Instant::now(),
        }
    }

    /// The same, gone on to `wall` first where that is ahead: time that passed while the machine slept. It never goes back.
    pub(crate) fn caught_up(&self, wall: u64) -> u64 {
        let now = self.now_ms();
        self.base_ms
            .fetch_add(wall.saturating_sub(now), Ordering::Relaxed);
        now.max(wall)
    }

    /// Unix time in milliseconds.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        let elapsed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.base_ms.load(Ordering::Relaxed).saturating_add(elapsed)
    }
}

/// Sends commands to the engine; cheap to clone.
#[derive(Clone)]
pub struct EngineHandle {
    pub(super) requests: mpsc::Sender<Request>,
    pub(super) fence: Arc<RwLock<Fence>>,
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<EngineClock>,
    pub(super) stats: Arc<EngineStats>,
}

impl EngineHandle {
    /// Carries out one command. Waits while the engine's channel is full.
    pub async fn call(&self, command: Command) -> Result<Reply, ApiError> {
        self.call_all(vec![command])
            .await
            .pop()
            .unwrap_or_else(|| Err(unavailable()))
    }

    /// Carries out several commands in order and in one batch; one answer for each.
    pub async fn call_all(&self, commands: Vec<Command>) -> Vec<Result<Reply, ApiError>> {
        let count = commands.len();
        let (send, receive) = oneshot::channel();
        let done: Done = Box::new(move |replies| {
            // The caller may have gone; what it asked for is done all the same.
            let _ = send.send(replies);
        });
        let refused = || (0..count).map(|_| Err(unavailable())).collect();
        if self
            .requests
            .send(Request { commands, done })
            .await
            .is_err()
        {
            return refused();
        }
        receive.await.unwrap_or_else(|_| refused())
    }

    /// The same as [`Self::call`], for threads that may block.
    pub fn blocking_call(&self, command: Command) -> Result<Reply, ApiError> {
        let (send, receive) = oneshot::channel();
        self.blocking_call_all(vec![command], move |replies| {
            // The caller waits for it.
            let _ = send.send(replies);
        });
        let replies = receive.blocking_recv().ok();
        replies
            .and_then(|mut replies| replies.pop())
            .unwrap_or_else(|| Err(unavailable()))
    }

    /// The same for threads outside the runtime. `done` is called on the engine's thread and must not block.
    pub fn blocking_call_all(
        &self,
        commands: Vec<Command>,
        done: impl FnOnce(Vec<Result<Reply, ApiError>>) + Send + 'static,
    ) {
        let count = commands.len();
        let request = Request {
            commands,
            done: Box::new(done),
        };
        if let Err(refused) = self.requests.blocking_send(request) {
            (refused.0.done)((0..count).map(|_| Err(unavailable())).collect());
        }
    }

    /// The right to commit output bytes, as of now.
    #[must_use]
    pub fn fence(&self) -> Fence {
        self.fence
            .read()
            .expect("no holder of this lock panics")
            .clone()
    }

    /// The store, for reads and for output bytes.
    #[must_use]
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    /// What was done since the start.
    #[must_use]
    pub fn stats(&self) -> &EngineStats {
        &self.stats
    }

    /// The engine's time: Unix ms.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }
}

/// The engine recovers or stops.
pub(crate) fn unavailable() -> ApiError {
    ApiError::new(
        ErrorReason::Unavailable,
        "the coordinator is recovering or stopping; try again",
    )
    .retry_after(RETRY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_follows_the_wall_clock_forward_and_never_back() {
        const DAY: u64 = 86_400_000;
        let clock = EngineClock::new(DAY);
        assert!(
            (DAY..2 * DAY).contains(&clock.caught_up(0)),
            "the wall clock is behind"
        );
        // The machine slept for a week.
        assert_eq!(clock.caught_up(8 * DAY), 8 * DAY);
        // The wall clock is set back: time goes on from where it was, and does not stand still.
        let before = clock.caught_up(5);
        assert!((8 * DAY..9 * DAY).contains(&before));
        assert!(
            clock.now_ms() >= before,
            "the monotonic clock itself has moved on"
        );
    }
}
