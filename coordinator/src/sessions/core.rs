//! The coordinator's side of a miner's session, without clock, socket or store: events in, actions out.
//!
//! ```text
//! CHALLENGED ──hello, proof checked, engine says yes──▶ OPEN ──drain──▶ DRAINING
//!     │ 5 s, any other message, a bad proof               │ 30 s without heartbeat, the engine ends it
//!     └───────────────────────────────────────────────────┴──────────▶ CLOSED
//! ```
//!
//! Any message may arrive twice, and a miner may name attempts that it lost meanwhile: both are harmless.

mod checkpoints;
mod deliveries;

use std::collections::BTreeMap;

use aitbc_common::identity::PublicKey;
use aitbc_common::ids::MinerId;
use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1::coordinator_message::Message as Down;
use aitbc_proto::v1::miner_message::Message as Up;
use aitbc_proto::v1::{self, ErrorReason};

pub use super::action::{Action, AttemptStreams, Progress, StreamKind};
use super::messages;
use super::output_buffer::Append;
use crate::engine::command::{AttemptId, Command, HeldAttempt, Reply, Resume, SessionId};

/// A Hello must come within this many milliseconds: 5 s.
pub const HELLO_WITHIN_MS: u64 = 5_000;
/// A heartbeat is due each so many milliseconds: 10 s.
pub const HEARTBEAT_MS: u64 = 10_000;
/// Missed heartbeats that end a session.
pub const MISSES: u64 = 3;
/// A running attempt without a heartbeat for so many milliseconds is lost: 30 s.
pub const LEASE_MS: u64 = HEARTBEAT_MS * MISSES;
/// An assignment must be accepted within this many milliseconds: 5 s.
pub const ACCEPT_WITHIN_MS: u64 = 5_000;
/// Heartbeats without news after which the engine hears only of every so many.
const QUIET: u32 = 3;
/// Acknowledgements that are remembered, to answer a repeated delivery alike.
const REMEMBERED: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Challenged,
    Opening,
    Open,
    Draining,
    Closed,
}

/// What a session has of an attempt.
#[derive(Debug, Default)]
struct Held {
    /// A Complete or Fail of it is at the engine.
    delivering: bool,
    /// It was stopped: nothing counts any more but a receipt for what came before.
    stopped: bool,
    /// Where the last Resend of each stream began.
    resent: [Option<u64>; 2],
    /// Bytes of the result at the last Complete that did not fit.
    short_result: Option<u64>,
    /// When its next checkpoint may be verified, in ms of the driver's clock.
    checkpoint_at_ms: u64,
    /// The newest one that waits for that, and the offset it is for.
    checkpoint: Option<(u64, v1::Checkpoint)>,
}

/// One session.
#[derive(Debug)]
pub struct SessionCore {
    session: SessionId,
    key: PublicKey,
    peer: String,
    state: State,
    /// When it ends unless something is heard, in ms of the driver's clock.
    deadline_ms: u64,
    /// When the first of the checkpoints that wait may be verified.
    checkpoints_due_ms: Option<u64>,
    hello: Option<Box<v1::Hello>>,
    /// As the last heartbeat said.
    free_slots: u32,
    /// Heartbeats since there was news.
    quiet: u32,
    /// Each heartbeat is news.
    attends: bool,
    held: BTreeMap<AttemptId, Held>,
    done: Vec<(AttemptId, Option<v1::RequestError>)>,
    actions: Vec<Action>,
}

impl SessionCore {
    /// A session whose challenge was just sent, of the identity that the token named.
    #[must_use]
    pub fn new(session: SessionId, key: PublicKey, peer: String, now_ms: u64) -> Self {
        Self {
            session,
            key,
            peer,
            state: State::Challenged,
            deadline_ms: now_ms + HELLO_WITHIN_MS,
            checkpoints_due_ms: None,
            hello: None,
            free_slots: 0,
            quiet: 0,
            attends: false,
            held: BTreeMap::new(),
            done: Vec::new(),
            actions: Vec::new(),
        }
    }

    /// When [`Self::tick`] has to be called at the latest, in ms of the driver's clock.
    #[must_use]
    pub fn deadline_ms(&self) -> u64 {
        self.checkpoints_due_ms
            .map_or(self.deadline_ms, |due| due.min(self.deadline_ms))
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// What is to be done since the last call, in order.
    pub fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// Time passed.
    pub fn tick(&mut self, now_ms: u64) {
        if self.is_closed() {
            return;
        }
        self.release_checkpoints(now_ms);
        if now_ms < self.deadline_ms {
            return;
        }
        let problem = match self.state {
            State::Challenged | State::Opening => "no valid Hello came within 5 s",
            _ => "no heartbeat came for 30 s",
        };
        self.close(ApiError::new(ErrorReason::SessionProtocol, problem));
    }

    /// A message of the miner arrived.
    pub fn message(&mut self, message: Up, streams: &mut dyn AttemptStreams, now_ms: u64) {
        match (self.state, message) {
            (State::Closed, _) => {}
            (State::Challenged, Up::Hello(hello)) => self.hello(hello),
            (State::Challenged, _) => self.protocol("the first message must be Hello"),
            (_, Up::Hello(_)) => {}
            (State::Opening, _) => self.protocol("wait for Welcome before the next message"),
            (State::Open | State::Draining, message) => {
                self.deadline_ms = now_ms + LEASE_MS;
                self.open_message(message, streams, now_ms);
            }
        }
    }

    fn open_message(&mut self, message: Up, streams: &mut dyn AttemptStreams, now_ms: u64) {
        let session = self.session;
        if !matches!(message, Up::Heartbeat(_)) {
            self.quiet = 0;
        }
        match message {
            Up::Hello(_) => {}
            Up::Inventory(inventory) => match messages::inventory(session, inventory) {
                Ok(command) => self.actions.push(Action::Tell(command)),
                Err(error) => self.close(error),
            },
            Up::Accept(v1::Accept { job_id, attempt }) => {
                if let Some(attempt) = self.attempt(&job_id, attempt)
                    && self.held.contains_key(&attempt)
                {
                    self.actions
                        .push(Action::Tell(Command::Accept { session, attempt }));
                }
            }
            Up::Reject(v1::Reject {
                job_id,
                attempt,
                failure,
            }) => {
                if let Some(attempt) = self.attempt(&job_id, attempt)
                    && self.held.remove(&attempt).is_some()
                {
                    let failure = messages::failure(failure);
                    self.actions.push(Action::Tell(Command::Reject {
                        session,
                        attempt,
                        failure,
                    }));
                }
            }
            Up::Output(output) => self.output(&output, streams),
            Up::Checkpoint(checkpoint) => self.checkpoint(checkpoint, now_ms),
            Up::Complete(complete) => self.complete(complete, streams),
            Up::Fail(fail) => self.fail(fail),
            Up::Heartbeat(heartbeat) => {
                let sequence = heartbeat.sequence;
                self.actions
                    .push(Action::Send(Down::Heartbeat(v1::CoordinatorHeartbeat {
                        sequence,
                        ..v1::CoordinatorHeartbeat::default()
                    })));
                self.heartbeat(&heartbeat);
            }
            Up::Drain(_) => {
                self.state = State::Draining;
                self.actions.push(Action::Tell(Command::Drain { session }));
            }
        }
    }

    /// From now on tells the engine of each heartbeat, or no more. The one before counts where the next may be late for a beat.
    pub fn attend(&mut self, each: bool, now_ms: u64) {
        let is_new = each && !self.attends;
        self.attends = each;
        let heard_ms = self.deadline_ms.saturating_sub(LEASE_MS);
        if is_new && self.quiet > 0 && now_ms.saturating_sub(heard_ms) <= HEARTBEAT_MS / 2 {
            self.actions.push(Action::Tell(Command::Heartbeat {
                session: self.session,
                running: Vec::new(),
                free_slots: self.free_slots,
            }));
        }
    }

    /// Tells the engine, but only each third time once an idle session has nothing new to say and nobody attends to it.
    fn heartbeat(&mut self, heartbeat: &v1::MinerHeartbeat) {
        let running = messages::held_attempts(&heartbeat.running);
        let free_slots = if self.state == State::Draining {
            0
        } else {
            heartbeat.free_slots
        };
        let idle = running.is_empty() && self.free_slots == free_slots;
        self.quiet = if idle {
            self.quiet.saturating_add(1)
        } else {
            0
        };
        self.free_slots = free_slots;
        if self.attends || self.quiet < QUIET || self.quiet.is_multiple_of(QUIET) {
            self.actions.push(Action::Tell(Command::Heartbeat {
                session: self.session,
                running,
                free_slots,
            }));
        }
    }

    fn hello(&mut self, hello: v1::Hello) {
        let Ok(miner_id) = hello.miner_id.parse() else {
            return self.protocol("Hello names no valid miner id: register first and use the id that registration gave");
        };
        self.state = State::Opening;
        self.actions.push(Action::CheckProof {
            miner_id,
            proof: hello.proof.clone(),
        });
        self.hello = Some(Box::new(hello));
    }

    /// The driver checked the proof of Hello.
    pub fn proof_checked(&mut self, miner_id: MinerId, valid: bool) {
        let Some(hello) = self.hello.take() else {
            return;
        };
        if !valid {
            let message = "the proof in Hello does not answer this stream's challenge: sign chain id, challenge and miner id with the miner's own key";
            return self.close(ApiError::new(ErrorReason::SessionProofInvalid, message));
        }
        let (running, spooled) = (
            messages::held_attempts(&hello.running),
            messages::held_attempts(&hello.spooled),
        );
        for HeldAttempt { attempt, .. } in running.iter().chain(&spooled) {
            self.held.insert(*attempt, Held::default());
        }
        self.actions.push(Action::Open(Command::OpenSession {
            session: self.session,
            key: self.key,
            miner_id,
            peer: self.peer.clone(),
            takeover: hello.takeover,
            running,
            spooled,
        }));
    }

    /// The engine answered Open; the streams of attempts that continue are there.
    pub fn opened(
        &mut self,
        answer: Result<Reply, ApiError>,
        streams: &dyn AttemptStreams,
        now_ms: u64,
    ) {
        if self.state != State::Opening {
            return;
        }
        let resumes = match answer {
            Ok(Reply::SessionOpened(resumes)) => resumes,
            Ok(_) => {
                return self.close(ApiError::new(
                    ErrorReason::Internal,
                    "the engine gave another answer",
                ));
            }
            Err(error) => return self.close(error),
        };
        let mut attempts = Vec::with_capacity(resumes.len());
        self.held.clear();
        for resume in resumes {
            let attempt = match &resume {
                Resume::Continue(info) => info.attempt,
                Resume::Abandon(attempt) => *attempt,
            };
            let progress = streams
                .progress(attempt)
                .filter(|_| matches!(resume, Resume::Continue(_)));
            if progress.is_some() {
                self.held.insert(attempt, Held::default());
            }
            attempts.push(messages::resume(attempt, progress.as_ref()));
        }
        self.state = State::Open;
        self.deadline_ms = now_ms + LEASE_MS;
        self.actions
            .push(Action::Send(messages::welcome(self.session, attempts)));
    }

    /// The engine gave this session an attempt; its Assign follows once it is signed.
    pub fn assigned(&mut self, attempt: AttemptId) {
        self.quiet = 0;
        self.held.insert(attempt, Held::default());
    }

    /// The assignment is signed. False = the attempt was cancelled meanwhile: it is not sent, and its streams may go.
    pub fn signed(&mut self, attempt: AttemptId, assign: v1::Assign) -> bool {
        let held = self.held.contains_key(&attempt);
        if held && !self.is_closed() {
            self.actions.push(Action::Send(Down::Assign(assign)));
        }
        held
    }

    /// The attempt's newer assignment is signed.
    pub fn renewed(&mut self, attempt: AttemptId, renew: v1::Renew) {
        if self.held.contains_key(&attempt) && !self.is_closed() {
            self.actions.push(Action::Send(Down::Renew(renew)));
        }
    }

    /// The engine stops an attempt. `receipt` = its receipt over at most so many bytes of output, those that arrived, is
    /// waited for.
    pub fn cancelled(&mut self, attempt: AttemptId, status: v1::JobStatus, receipt: Option<u64>) {
        self.quiet = 0;
        if receipt.is_some() {
            self.held.entry(attempt).or_default().stopped = true;
        } else {
            self.held.remove(&attempt);
        }
        if !self.is_closed() {
            self.actions
                .push(Action::Send(messages::cancel(attempt, status, receipt)));
        }
    }

    fn output(&mut self, output: &v1::Output, streams: &mut dyn AttemptStreams) {
        let kind = match output.kind() {
            v1::OutputKind::Output => StreamKind::Output,
            v1::OutputKind::Result => StreamKind::Result,
            v1::OutputKind::Unspecified => return self.protocol("Output names no stream"),
        };
        if output.data.len() > aitbc_common::limits::CHUNK_BYTES {
            return self.protocol("a chunk has more than 256 KiB");
        }
        let Some(attempt) = self.attempt(&output.job_id, output.attempt) else {
            return;
        };
        let closed = |held: &Held| held.delivering || held.stopped;
        if self.held.get(&attempt).is_none_or(closed) {
            return;
        }
        match streams.append(attempt, kind, output.offset, &output.data) {
            Some(Append::Appended(_)) => self.actions.push(Action::Arrived(attempt, kind)),
            Some(Append::Gap { have }) => self.resend(attempt, kind, have, false),
            Some(Append::TooLarge { limit }) => {
                let problem = format!("more than {limit} bytes on one stream");
                self.invalid(attempt, problem);
            }
            Some(Append::Duplicate) | None => {}
        }
    }

    /// Asks for a stream from `have` on; for a gap only once, as the chunks behind it leave a gap too.
    fn resend(&mut self, attempt: AttemptId, kind: StreamKind, have: u64, again: bool) {
        let Some(held) = self.held.get_mut(&attempt) else {
            return;
        };
        let asked = &mut held.resent[kind as usize - 1];
        if *asked != Some(have) || again {
            *asked = Some(have);
            self.actions
                .push(Action::Send(messages::resend(attempt, kind, have)));
        }
    }

    fn attempt(&mut self, job_id: &str, attempt: u32) -> Option<AttemptId> {
        let parsed = messages::attempt(job_id, attempt);
        if parsed.is_none() {
            self.protocol("a message names no valid job id and attempt");
        }
        parsed
    }

    fn protocol(&mut self, problem: &str) {
        self.close(ApiError::new(ErrorReason::SessionProtocol, problem));
    }

    /// Ends the session: says goodbye and closes the stream with this error.
    pub fn close(&mut self, error: ApiError) {
        if self.is_closed() {
            return;
        }
        self.state = State::Closed;
        self.actions
            .push(Action::Send(messages::going_away(&error)));
        self.actions.push(Action::Close(error));
    }
}
