//! The miner's side of a session, without clock, I/O or randomness: events in, actions out, messages on demand.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use aitbc_common::hash::Hash;
use aitbc_common::identity::{Identity, PublicKey};
use aitbc_common::ids::MinerId;
use aitbc_proto::v1::miner_message::Message;
use aitbc_proto::v1::{Drain, ErrorReason, FailureReason, Inventory, MinerHeartbeat};

use super::attempt::{Attempt, Stage, failure};
use super::coordinator::USUAL_LEASE;
use super::history::{Closed, History};
use super::witness::Witness;
use super::{Action, AttemptKey, End, Event, Notice, SpoolRecord};

/// The coordinator must speak within this after the stream is open, and again after Hello.
const HANDSHAKE_TIME: Duration = Duration::from_secs(15);
/// Running attempts are given back this long after a drain began.
const DRAIN_TIME: Duration = Duration::from_secs(30);
/// What is unacknowledged then may still be delivered for this long.
const DRAIN_GRACE: Duration = Duration::from_secs(2);
/// Messages that may wait besides output; more means that the coordinator asks without ever reading.
pub(super) const WAITING_MESSAGES: usize = 4096;

/// What does not change while a core lives.
#[derive(Debug, Clone)]
pub struct CoreConfig {
    /// The miner's key.
    pub identity: Arc<Identity>,
    /// Its id.
    pub miner_id: MinerId,
    /// The chain it works on.
    pub chain_id: Hash,
    /// The key that signs assignments on that chain.
    pub service_key: PublicKey,
    /// The key that signs that chain's ledger.
    pub log_key: PublicKey,
    /// Take over from a live session of this miner.
    pub takeover: bool,
    /// The miner's version, for Hello.
    pub version: String,
    /// Accept this many jobs in all, then end; `None` = go on.
    pub job_limit: Option<u32>,
}

/// Where the connection stands.
#[derive(Debug, Clone)]
pub(super) enum Phase {
    Offline,
    /// Waits for Challenge.
    Connected {
        until: Duration,
    },
    /// Waits for Welcome.
    Greeted {
        until: Duration,
    },
    Open(Open),
    Ended,
}

/// An open session.
#[derive(Debug, Clone)]
pub(super) struct Open {
    pub(super) heartbeat_interval: Duration,
    pub(super) lease: Duration,
    pub(super) next_heartbeat: Duration,
    /// When the last heartbeat came back.
    pub(super) heard: Duration,
    pub(super) sequence: u64,
}

/// A miner's session logic.
///
/// Feed it with [`SessionCore::handle`], perform the actions in order, send what [`SessionCore::outgoing`] gives whenever the
/// stream can take more, and call it with [`Event::Tick`] at [`SessionCore::next_deadline`]. All times are durations since
/// one origin of the caller's choice, and never go back. Equal calls give equal answers.
#[derive(Debug)]
pub struct SessionCore {
    pub(super) config: CoreConfig,
    pub(super) phase: Phase,
    pub(super) inventory: Inventory,
    pub(super) attempts: BTreeMap<AttemptKey, Attempt>,
    pub(super) history: History,
    /// Messages besides output, in order; for the current connection only.
    pub(super) waiting: VecDeque<Message>,
    /// The attempt that was served last, for fairness.
    pub(super) served: Option<AttemptKey>,
    pub(super) actions: Vec<Action>,
    /// Jobs that may still be accepted.
    pub(super) jobs_left: Option<u32>,
    pub(super) jobs_failed: u32,
    pub(super) drain_until: Option<Duration>,
    /// Until when a session of this miner that the coordinator still has is probably our own.
    pub(super) own_session_until: Option<Duration>,
    /// A job was refused for want of a slot: the coordinator wants to know when there is one.
    pub(super) owes_heartbeat: bool,
    pub(super) witness: Witness,
}

impl SessionCore {
    /// A core that is not connected. `spooled` are finished attempts that were not acknowledged in a former life.
    pub fn new(config: CoreConfig, inventory: Inventory, spooled: Vec<SpoolRecord>) -> Self {
        let attempts = spooled
            .into_iter()
            .filter_map(|record| Some((record.key, Attempt::from_record(record)?)))
            .collect();
        Self {
            jobs_left: config.job_limit,
            witness: Witness::new(config.chain_id, config.log_key),
            config,
            phase: Phase::Offline,
            inventory,
            attempts,
            history: History::default(),
            waiting: VecDeque::new(),
            served: None,
            actions: Vec::new(),
            jobs_failed: 0,
            drain_until: None,
            own_session_until: None,
            owes_heartbeat: false,
        }
    }

    /// Takes an event; what to do about it, in order.
    pub fn handle(&mut self, now: Duration, event: Event) -> Vec<Action> {
        if matches!(self.phase, Phase::Ended) {
            return Vec::new();
        }
        match event {
            Event::Connected => {
                self.disconnected(now, ErrorReason::Unspecified);
                self.phase = Phase::Connected {
                    until: now.saturating_add(HANDSHAKE_TIME),
                };
            }
            Event::Message(message) => {
                if let Some(message) = message.message {
                    self.message(now, message);
                }
            }
            Event::Disconnected {
                reason,
                message,
                retry_after,
            } => {
                let was_open = self.disconnected(now, reason);
                self.refused(now, was_open, reason, message, retry_after);
            }
            Event::Output {
                key,
                data,
                output_tokens,
            } => self.output(now, key, &data, output_tokens),
            Event::Finished { key, result } => self.finished(now, key, &result),
            Event::Failed { key, failure } => self.failed(key, failure),
            Event::Stored(key) => {
                if let Some(attempt) = self.attempts.get_mut(&key) {
                    attempt.stored();
                }
            }
            Event::NotStored { key, message } => {
                if self
                    .attempts
                    .get(&key)
                    .is_some_and(|attempt| matches!(attempt.stage, Stage::Storing { .. }))
                {
                    let message = format!("the miner cannot keep the result: {message}");
                    self.conclude_failed(key, failure(FailureReason::Operator, message));
                }
            }
            Event::Inventory(inventory) => self.set_inventory(now, inventory),
            Event::Drain => self.drain(now),
            Event::Tick => {}
        }
        self.tick(now);
        self.check_end(now);
        std::mem::take(&mut self.actions)
    }

    /// When [`Event::Tick`] is due at the latest.
    pub fn next_deadline(&self) -> Option<Duration> {
        let connection = match &self.phase {
            Phase::Offline => None,
            Phase::Connected { until } | Phase::Greeted { until } => Some(*until),
            Phase::Open(open) => Some(
                open.next_heartbeat
                    .min(open.heard.saturating_add(open.lease)),
            ),
            Phase::Ended => return None,
        };
        let drain = self.drain_until.map(|until| {
            if self.running() > 0 {
                until
            } else {
                until.saturating_add(DRAIN_GRACE)
            }
        });
        self.attempts
            .values()
            .filter_map(Attempt::next_deadline)
            .chain(connection)
            .chain(drain)
            .min()
    }

    /// Attempts that run.
    pub fn running(&self) -> usize {
        self.attempts
            .values()
            .filter(|attempt| attempt.is_running())
            .count()
    }

    /// Whether the session is open.
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open(_))
    }

    /// Finished attempts that the coordinator has not yet acknowledged.
    pub fn unacknowledged(&self) -> usize {
        self.attempts.len() - self.running()
    }

    pub(super) fn notice(&mut self, notice: Notice) {
        self.actions.push(Action::Notice(notice));
    }

    /// Sends a message besides output, if the session is open.
    pub(super) fn send(&mut self, now: Duration, message: Message) {
        if self.waiting.len() >= WAITING_MESSAGES {
            self.close(
                now,
                None,
                "the coordinator does not read what it asks for".to_owned(),
            );
        } else if self.is_open() {
            self.waiting.push_back(message);
        }
    }

    /// Gives the connection up; runs go on.
    pub(super) fn close(&mut self, now: Duration, retry_after: Option<Duration>, message: String) {
        if !matches!(self.phase, Phase::Offline | Phase::Ended) {
            self.disconnected(now, ErrorReason::Unspecified);
            self.actions.push(Action::Close {
                retry_after,
                message,
            });
        }
    }

    /// Whether a session was open.
    pub(super) fn disconnected(&mut self, now: Duration, reason: ErrorReason) -> bool {
        self.waiting.clear();
        let lease = match &self.phase {
            Phase::Open(open) => Some(open.lease),
            // The coordinator may have opened a session, and its Welcome was lost.
            Phase::Greeted { .. } if reason != ErrorReason::SessionExists => Some(USUAL_LEASE),
            _ => None,
        };
        let until = lease.map(|lease| now.saturating_add(lease * 2));
        self.own_session_until = self.own_session_until.max(until);
        let was_open = self.is_open();
        self.phase = Phase::Offline;
        was_open
    }

    pub(super) fn end(&mut self, end: End) {
        self.phase = Phase::Ended;
        let running: Vec<_> = self
            .attempts
            .iter()
            .filter(|(_, a)| a.is_running())
            .map(|(key, _)| *key)
            .collect();
        self.actions.extend(running.into_iter().map(Action::Stop));
        self.actions.push(Action::End(end));
    }

    /// Forgets an attempt for good.
    pub(super) fn forget(&mut self, key: AttemptKey) {
        if let Some(attempt) = self.attempts.remove(&key) {
            match attempt.stage {
                Stage::Running(_) => self.actions.push(Action::Stop(key)),
                Stage::Storing { .. } | Stage::Done { .. } => {
                    self.actions.push(Action::Forget(key))
                }
                Stage::Failed(_) => {}
            }
        }
        self.history.insert(key, Closed::Gone);
    }

    fn set_inventory(&mut self, now: Duration, inventory: Inventory) {
        if self.inventory == inventory {
            return;
        }
        self.inventory = inventory;
        self.send(now, Message::Inventory(self.announced()));
        self.heartbeat(now);
    }

    /// The inventory with no more slots than jobs will be accepted.
    pub(super) fn announced(&self) -> Inventory {
        let mut inventory = self.inventory.clone();
        if self.drain_until.is_some() {
            inventory.slots = 0;
        }
        inventory.slots = inventory
            .slots
            .min(self.config.job_limit.unwrap_or(u32::MAX));
        inventory
    }

    pub(super) fn slot_freed(&mut self, now: Duration) {
        if std::mem::take(&mut self.owes_heartbeat) {
            self.heartbeat(now);
        }
    }

    /// Says what runs and what is free, now.
    pub(super) fn heartbeat(&mut self, now: Duration) {
        let running = self
            .attempts
            .iter()
            .filter(|(_, attempt)| !matches!(attempt.stage, Stage::Failed(_)));
        let running = running
            .map(|(key, attempt)| attempt.describe(*key))
            .collect();
        let free_slots = self.free_slots();
        let Phase::Open(open) = &mut self.phase else {
            return;
        };
        open.sequence += 1;
        open.next_heartbeat = now.saturating_add(open.heartbeat_interval);
        let sequence = open.sequence;
        self.send(
            now,
            Message::Heartbeat(MinerHeartbeat {
                sequence,
                running,
                free_slots,
            }),
        );
    }

    fn drain(&mut self, now: Duration) {
        if self.drain_until.is_some() {
            return;
        }
        self.drain_until = Some(now.saturating_add(DRAIN_TIME));
        self.notice(Notice::Draining {
            running: self.running(),
        });
        self.send(now, Message::Drain(Drain {}));
    }

    /// Does what time alone makes due.
    fn tick(&mut self, now: Duration) {
        match &self.phase {
            Phase::Connected { until } | Phase::Greeted { until } if now >= *until => {
                self.close(now, None, "the coordinator does not answer".to_owned());
            }
            Phase::Open(open) if now >= open.heard.saturating_add(open.lease) => {
                let message = format!("no answer for {} s", open.lease.as_secs());
                self.close(now, None, message);
            }
            Phase::Open(open) if now >= open.next_heartbeat => self.heartbeat(now),
            _ => {}
        }
        let keys: Vec<AttemptKey> = self
            .attempts
            .iter()
            .filter(|(_, attempt)| {
                attempt
                    .next_deadline()
                    .is_some_and(|deadline| deadline <= now)
            })
            .map(|(key, _)| *key)
            .collect();
        for key in keys {
            self.tick_attempt(now, key);
        }
        if self.drain_until.is_some_and(|until| now >= until) {
            let running: Vec<_> = self
                .attempts
                .iter()
                .filter(|(_, a)| a.is_running())
                .map(|(key, _)| *key)
                .collect();
            for key in running {
                self.actions.push(Action::Stop(key));
                self.conclude_failed(
                    key,
                    failure(FailureReason::Returned, "the miner stops".to_owned()),
                );
            }
        }
    }

    fn check_end(&mut self, now: Duration) {
        if matches!(self.phase, Phase::Ended) {
            return;
        }
        let busy = self
            .attempts
            .values()
            .any(|a| matches!(a.stage, Stage::Running(_) | Stage::Storing { .. }));
        let overdue = |until: Duration| now >= until.saturating_add(DRAIN_GRACE);
        let delivered = !busy && (self.attempts.is_empty() || !self.is_open());
        if let Some(until) = self.drain_until
            && (delivered || overdue(until))
        {
            self.end(End::Drained);
        } else if self.jobs_left == Some(0) && self.attempts.is_empty() {
            self.end(End::JobsDone {
                failed: self.jobs_failed,
            });
        }
    }

    /// The coordinator gave the session up, or never opened it.
    pub(super) fn refused(
        &mut self,
        now: Duration,
        was_open: bool,
        reason: ErrorReason,
        message: String,
        retry_after: Option<Duration>,
    ) {
        let own = !was_open && self.own_session_until.is_some_and(|until| now < until);
        match reason {
            ErrorReason::SessionExists if own => {
                let message = format!("it still has this miner's former session: {message}");
                self.actions.push(Action::Close {
                    retry_after,
                    message,
                });
            }
            ErrorReason::SessionExists => self.end(End::SessionExists { message }),
            ErrorReason::MinerNotRegistered
            | ErrorReason::SessionProofInvalid
            | ErrorReason::WrongChain
            | ErrorReason::WrongScope => self.end(End::Refused { reason, message }),
            _ => self.actions.push(Action::Close {
                retry_after,
                message,
            }),
        }
    }
}
