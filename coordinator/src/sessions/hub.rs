//! Carries the engine's effects to sessions and watchers, on the engine's thread and without ever waiting.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aitbc_common::identity::PublicKey;
use aitbc_common::ids::JobId;
use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1::{self, ErrorReason};
use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::core::StreamKind;
use super::streams::{AttemptStream, Streams};
use crate::engine::command::{AttemptId, Effect, JobChange, Reply, SessionId};
use crate::engine::handle::EffectSink;
use crate::market::Board;
use crate::market::board::Change as MarketChange;

/// Changes that may wait for one follower of all of an owner's jobs; one that falls behind reads the store again.
const OWNER_CHANGES: usize = 1_024;
/// Clean-ups that may wait; those beyond are left to retention.
const CLEANUPS: usize = 1_024;

/// A change of a job with what its watchers need.
#[derive(Debug)]
pub struct Change {
    /// The change.
    pub change: JobChange,
    /// The signature of the newest assignment, where it is at hand.
    pub signature: Option<[u8; 64]>,
}

/// Something for a session.
#[derive(Debug)]
pub enum SessionEvent {
    /// Effects of one commit.
    Effects(Vec<Effect>),
    /// An assignment is signed.
    Signed(AttemptId, Box<v1::Assign>),
    /// A newer assignment of a running attempt is signed.
    Renewed(AttemptId, Box<v1::Renew>),
    /// A delivery or failure was dealt with.
    Recorded(AttemptId, Result<(), ApiError>),
    /// So many commands that were told to the engine are done, and what became of the failures among them.
    Told(
        usize,
        Vec<(AttemptId, Result<Reply, ApiError>, Option<ApiError>)>,
    ),
}

/// Stored chunks that nobody needs any more.
#[derive(Debug)]
pub struct Cleanup {
    /// The attempt.
    pub attempt: AttemptId,
    /// Which of its streams.
    pub kinds: Vec<StreamKind>,
}

struct Session {
    events: mpsc::Sender<SessionEvent>,
    end: CancellationToken,
}

#[derive(Default)]
struct Watched {
    jobs: BTreeMap<JobId, watch::Sender<Option<Arc<Change>>>>,
    owners: BTreeMap<PublicKey, broadcast::Sender<Arc<Change>>>,
    closed: bool,
}

/// Who listens to the engine.
pub struct Hub {
    streams: Arc<Streams>,
    sessions: Mutex<BTreeMap<SessionId, Session>>,
    watched: Mutex<Watched>,
    next_session: AtomicU64,
    last_change: AtomicU64,
    activity: watch::Sender<u64>,
    orders: watch::Sender<u64>,
    cleanups: mpsc::Sender<Cleanup>,
    /// What offers show.
    pub board: Arc<Board>,
}

/// A subscription to one job; ends when dropped.
pub struct JobSubscription {
    hub: Arc<Hub>,
    job_id: JobId,
    /// The newest change since the subscription began.
    pub changes: watch::Receiver<Option<Arc<Change>>>,
}

impl Drop for JobSubscription {
    fn drop(&mut self) {
        let mut watched = self.hub.watched();
        if watched
            .jobs
            .get(&self.job_id)
            .is_some_and(|sender| sender.receiver_count() <= 1)
        {
            watched.jobs.remove(&self.job_id);
        }
    }
}

impl Hub {
    /// A hub without listeners, and the clean-ups it asks for.
    #[must_use]
    pub fn new(streams: Arc<Streams>) -> (Arc<Self>, mpsc::Receiver<Cleanup>) {
        let (cleanups, receiver) = mpsc::channel(CLEANUPS);
        let hub = Self {
            streams,
            sessions: Mutex::default(),
            watched: Mutex::default(),
            next_session: AtomicU64::new(1),
            last_change: AtomicU64::new(0),
            activity: watch::Sender::new(0),
            orders: watch::Sender::new(0),
            cleanups,
            board: Arc::default(),
        };
        (Arc::new(hub), receiver)
    }

    fn sessions(&self) -> MutexGuard<'_, BTreeMap<SessionId, Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a session: its effects go to `events`; `end` is cancelled where it must end at once.
    pub fn add_session(
        &self,
        events: mpsc::Sender<SessionEvent>,
        end: CancellationToken,
    ) -> SessionId {
        let id = self.next_session.fetch_add(1, Ordering::Relaxed);
        self.sessions().insert(id, Session { events, end });
        id
    }

    /// Forgets a session.
    pub fn remove_session(&self, session: SessionId) {
        self.sessions().remove(&session);
    }

    /// Live sessions.
    #[must_use]
    pub fn session_count(&self) -> usize {
        self.sessions().len()
    }

    /// Follows one job from now on; an error where the coordinator stops.
    pub fn watch_job(self: &Arc<Self>, job_id: JobId) -> Result<JobSubscription, ApiError> {
        let mut watched = self.watched();
        if watched.closed {
            return Err(stopping());
        }
        let sender = watched
            .jobs
            .entry(job_id)
            .or_insert_with(|| watch::Sender::new(None));
        let mut changes = sender.subscribe();
        changes.mark_unchanged();
        Ok(JobSubscription {
            hub: Arc::clone(self),
            job_id,
            changes,
        })
    }

    /// Follows all of an owner's jobs from now on: the feed, and the number of the newest change before it.
    pub fn watch_owner(
        &self,
        owner: PublicKey,
    ) -> Result<(broadcast::Receiver<Arc<Change>>, u64), ApiError> {
        let mut watched = self.watched();
        if watched.closed {
            return Err(stopping());
        }
        // Followers that have gone leave nothing behind; they are looked for only where a new one comes.
        watched.owners.retain(|_, feed| feed.receiver_count() > 0);
        let sender = watched
            .owners
            .entry(owner)
            .or_insert_with(|| broadcast::channel(OWNER_CHANGES).0);
        Ok((sender.subscribe(), self.last_change.load(Ordering::Acquire)))
    }

    /// Sees that something changed, whatever it was.
    #[must_use]
    pub fn activity(&self) -> watch::Receiver<u64> {
        self.activity.subscribe()
    }

    /// Sees the number of the newest order to the ledger that is durable; 0 = none since the start.
    #[must_use]
    pub fn orders(&self) -> watch::Receiver<u64> {
        self.orders.subscribe()
    }

    /// Ends all watchers, now and later; sessions end by themselves.
    pub fn close(&self) {
        let mut watched = self.watched();
        watched.closed = true;
        watched.jobs.clear();
        watched.owners.clear();
    }

    fn changed(&self, change: JobChange) {
        let attempt = u16::try_from(change.attempt).unwrap_or(u16::MAX);
        let id = AttemptId {
            job_id: change.job_id,
            attempt,
        };
        let live = self.streams.get(id);
        // Not where the attempt's assignment was renewed: then it is signed again.
        let started = change.started.as_deref();
        let newest = started.or_else(|| change.row.as_ref()?.attempts.last());
        let same = |stream: &&Arc<AttemptStream>| {
            newest.is_some_and(|newest| newest.assignment == stream.facts.assignment_bytes)
        };
        let signature = live.as_ref().filter(same);
        let signature = signature.map(|stream| stream.facts.signature);
        if let (Some(_), Some(stream)) = (&change.started, &live) {
            stream.accept();
        }
        for gone in self.streams.remove_before(
            change.job_id,
            attempt,
            change.row.is_some() && !change.keeps_attempt,
        ) {
            let is_needed = change.row.is_none() && gone.is_handed_over(StreamKind::Output);
            if gone.has_stored() && !is_needed {
                let kinds = unneeded(&change, gone.facts.attempt);
                let _left_to_retention = self.cleanups.try_send(Cleanup {
                    attempt: gone.facts.attempt,
                    kinds,
                });
            }
        }
        let (job_id, owner, number) = (change.job_id, change.owner, change.change);
        let change = Arc::new(Change { change, signature });
        let mut watched = self.watched();
        // Under the same lock as subscriptions: what comes after one has a higher number.
        self.last_change.fetch_max(number, Ordering::Release);
        if let Some(sender) = watched.jobs.get(&job_id) {
            sender.send_replace(Some(Arc::clone(&change)));
        }
        if let Some(sender) = watched.owners.get(&owner)
            && sender.send(change).is_err()
        {
            watched.owners.remove(&owner);
        }
    }
}

/// The streams of an attempt that a final or newer attempt makes superfluous.
fn unneeded(change: &JobChange, attempt: AttemptId) -> Vec<StreamKind> {
    let delivery = change.row.as_ref().and_then(|row| row.delivery.as_ref());
    match delivery.filter(|_| change.attempt == u32::from(attempt.attempt)) {
        None => vec![StreamKind::Output, StreamKind::Result],
        Some(delivery) => {
            let mut kinds = Vec::new();
            if delivery.output_in_result {
                kinds.push(StreamKind::Output);
            }
            if delivery.result.is_some() {
                kinds.push(StreamKind::Result);
            }
            kinds
        }
    }
}

fn stopping() -> ApiError {
    ApiError::new(
        ErrorReason::Unavailable,
        "the coordinator is stopping; come back in a moment",
    )
    .retry_after(std::time::Duration::from_secs(1))
}

/// The hub as the engine calls it.
pub struct HubSink(pub Arc<Hub>);

impl EffectSink for HubSink {
    fn publish(&mut self, changes: Vec<MarketChange>) {
        self.0.board.note(changes);
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        let mut sessions: BTreeMap<SessionId, Vec<Effect>> = BTreeMap::new();
        let mut any_change = false;
        for effect in effects {
            match effect {
                Effect::Assign { session, .. }
                | Effect::CancelAttempt { session, .. }
                | Effect::Renew { session, .. }
                | Effect::Attend { session, .. }
                | Effect::EndSession { session, .. } => {
                    sessions.entry(session).or_default().push(effect)
                }
                Effect::OrdersPending(through) => {
                    self.0.orders.send_replace(through);
                }
                Effect::Changed(change) => {
                    any_change = true;
                    self.0.changed(*change);
                }
            }
        }
        let live = self.0.sessions();
        for (session, effects) in sessions {
            if let Some(session) = live.get(&session)
                && session
                    .events
                    .try_send(SessionEvent::Effects(effects))
                    .is_err()
            {
                session.end.cancel();
            }
        }
        drop(live);
        if any_change {
            self.0.activity.send_modify(|count| *count += 1);
        }
    }

    fn reset(&mut self) {
        self.0
            .sessions()
            .values()
            .for_each(|session| session.end.cancel());
        let mut watched = self.0.watched();
        watched.jobs.clear();
        watched.owners.clear();
        drop(watched);
        self.0.streams.clear();
        self.0.board.reset();
    }
}
