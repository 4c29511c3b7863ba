//! Runs a [`SessionCore`]: the stream, the clock, the model, the spool.

use std::sync::Arc;
use std::time::Duration;

use aitbc_common::identity::Identity;
use aitbc_common::runtime::backoff::FullJitter;
use aitbc_common::runtime::channel::CoordinatorUrl;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::connect::{Incident, Live};
use super::coordinator::USUAL_LEASE;
use super::{Action, AttemptKey, End, Event, Notice, SessionCore};
use crate::execution::Executor;
use crate::model_server::ServerState;
use crate::runner::Runner;
use crate::spool::SpoolWriter;

/// The first pause before connecting again is at most this long, then twice as long each time …
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// … but never longer than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
const _: () = assert!(
    LONGEST_PAUSE.as_millis() * 2 < USUAL_LEASE.as_millis(),
    "a coordinator that restarts waits one lease for the miners that run its jobs"
);
/// Nothing is due for this long: look again anyway.
const IDLE: Duration = Duration::from_secs(3600);

/// What a driver tells its operator.
#[derive(Debug, Clone)]
pub enum Report {
    /// From the session.
    Notice(Notice),
    /// The coordinator cannot be reached, or gave the session up.
    CoordinatorAway {
        /// Why.
        message: String,
        /// When it is tried again.
        retry_in: Duration,
    },
    /// The model server changed.
    Server(ServerState),
}

/// Where reports go; an error ends the session as a drain does.
pub type ReportSink = Box<dyn FnMut(Report) -> Result<(), ()> + Send>;

type Stored = (AttemptKey, Result<(), String>);

enum Link {
    Waiting { until: Instant },
    Connecting(BoxFuture<'static, Result<Live, Event>>),
    Live(Box<Live>),
}

/// What a session is run with.
pub struct Driver<R> {
    core: SessionCore,
    origin: Instant,
    url: CoordinatorUrl,
    identity: Arc<Identity>,
    link: Link,
    backoff: FullJitter,
    executor: Executor<R>,
    events: mpsc::Receiver<Event>,
    server: watch::Receiver<ServerState>,
    spool: SpoolWriter,
    stores: FuturesUnordered<BoxFuture<'static, Stored>>,
    report: ReportSink,
    ended: Option<End>,
}

/// What woke the driver up.
enum Wake {
    Drain,
    Event(Event),
    Server,
    Link(Incident),
    Connected(Result<Live, Event>),
    Connect,
    Tick,
}

impl<R: Runner> Driver<R> {
    /// A driver of this core; `executor` reports to `events`.
    pub fn new(
        core: SessionCore,
        (url, identity): (CoordinatorUrl, Arc<Identity>),
        (executor, events): (Executor<R>, mpsc::Receiver<Event>),
        server: watch::Receiver<ServerState>,
        spool: SpoolWriter,
        report: ReportSink,
    ) -> Self {
        let now = Instant::now();
        Self {
            core,
            origin: now,
            url,
            identity,
            link: Link::Waiting { until: now },
            backoff: FullJitter::new(FIRST_PAUSE, LONGEST_PAUSE),
            executor,
            events,
            server,
            spool,
            stores: FuturesUnordered::new(),
            report,
            ended: None,
        }
    }

    /// Holds the session until it ends for good. `drain`: finish what runs, then end.
    pub async fn run(mut self, drain: CancellationToken) -> End {
        let mut draining = false;
        let mut server_gone = false;
        loop {
            self.send();
            if let Some(end) = self.ended.take() {
                if let Link::Live(live) = self.link {
                    live.close().await;
                }
                return end;
            }
            let due = self.due();
            let wake = tokio::select! {
                () = drain.cancelled(), if !draining => Wake::Drain,
                Some(event) = self.events.recv() => Wake::Event(event),
                Some((key, stored)) = self.stores.next(), if !self.stores.is_empty() => Wake::Event(match stored {
                    Ok(()) => Event::Stored(key),
                    Err(message) => Event::NotStored { key, message },
                }),
                changed = self.server.changed(), if !server_gone => {
                    server_gone = changed.is_err();
                    Wake::Server
                }
                wake = next(&mut self.link) => wake,
                () = sleep_until(due) => Wake::Tick,
            };
            draining |= matches!(wake, Wake::Drain);
            self.wake(wake).await;
        }
    }

    async fn wake(&mut self, wake: Wake) {
        match wake {
            Wake::Drain => self.handle(Event::Drain).await,
            Wake::Event(event) => self.handle(event).await,
            Wake::Server => {
                let state = self.server.borrow_and_update().clone();
                let inventory = state.inventory.clone();
                self.tell(Report::Server(state));
                self.handle(Event::Inventory(inventory)).await;
            }
            Wake::Connect => {
                self.link = Link::Connecting(Box::pin(Live::open(
                    self.url.clone(),
                    self.identity.clone(),
                )));
            }
            Wake::Connected(Ok(live)) => {
                self.link = Link::Live(Box::new(live));
                self.handle(Event::Connected).await;
            }
            Wake::Connected(Err(event)) => self.handle(event).await,
            Wake::Link(Incident::Received(batch)) => {
                for message in batch.messages {
                    self.handle(Event::Message(message)).await;
                }
            }
            Wake::Link(Incident::Writable) => {}
            Wake::Link(Incident::Ended(event)) => self.handle(event).await,
            Wake::Tick => self.handle(Event::Tick).await,
        }
    }

    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// When the core is due, or has something to send by then.
    fn due(&self) -> Instant {
        let writable = matches!(&self.link, Link::Live(live) if live.is_writable());
        let flush = writable.then(|| self.core.next_flush()).flatten();
        let due = self.core.next_deadline().into_iter().chain(flush).min();
        due.and_then(|due| self.origin.checked_add(due))
            .unwrap_or_else(|| Instant::now() + IDLE)
    }

    fn send(&mut self) {
        if let Link::Live(live) = &mut self.link
            && live.is_writable()
            && let Some(batch) = self.core.outgoing(self.origin.elapsed())
        {
            live.send(batch);
        }
    }

    fn tell(&mut self, report: Report) {
        if (self.report)(report).is_err() && self.ended.is_none() {
            // Nobody reads the log any more.
            self.ended = Some(End::Drained);
        }
    }

    async fn handle(&mut self, event: Event) {
        let was_open = self.core.is_open();
        let now = self.now();
        for action in self.core.handle(now, event) {
            self.perform(action).await;
        }
        if self.core.is_open() && !was_open {
            self.backoff.reset();
        }
    }

    async fn perform(&mut self, action: Action) {
        match action {
            Action::Start(start) => self.executor.start(*start),
            Action::Stop(key) => self.executor.stop(key),
            Action::Store(record) => {
                let key = record.key;
                let answer = self.spool.store(record).await;
                self.stores.push(Box::pin(async move {
                    let stored = answer
                        .await
                        .unwrap_or_else(|_| Err("the spool's thread ended".to_owned()));
                    (key, stored)
                }));
            }
            Action::Forget(key) => self.spool.forget(key).await,
            Action::Close {
                retry_after,
                message,
            } => {
                let jitter = self.backoff.next(&mut rand::rng());
                let retry_in =
                    retry_after.map_or(jitter, |pause| pause.saturating_add(jitter.min(pause)));
                let until = Instant::now() + retry_in;
                if let Link::Live(live) = std::mem::replace(&mut self.link, Link::Waiting { until })
                {
                    tokio::spawn(live.close());
                }
                self.tell(Report::CoordinatorAway { message, retry_in });
            }
            Action::Notice(notice) => self.tell(Report::Notice(notice)),
            Action::End(end) => self.ended = Some(end),
        }
    }
}

async fn next(link: &mut Link) -> Wake {
    match link {
        Link::Waiting { until } => {
            sleep_until(*until).await;
            Wake::Connect
        }
        Link::Connecting(connecting) => Wake::Connected(connecting.await),
        Link::Live(live) => Wake::Link(live.next().await),
    }
}
