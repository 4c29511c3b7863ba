//! One miner's session: its stream, its core, and what the core asks for.

mod slow;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use aitbc_common::hash::Hash;
use aitbc_common::identity::{Identity, PublicKey};
use aitbc_common::ids::MinerId;
use aitbc_common::layouts::SessionProof;
use aitbc_common::limits::SESSION_BATCH_BYTES;
use aitbc_common::runtime::random_bytes;
use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1::coordinator_message::Message as Down;
use aitbc_proto::v1::{
    self, CoordinatorMessage, ErrorReason, OpenSessionRequest, OpenSessionResponse,
};
use futures_util::FutureExt;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::core::{Action, SessionCore, StreamKind};
use super::hub::{Hub, SessionEvent};
use super::inbox::{self, Batch, Share};
use super::messages;
use super::output_buffer::{OutputBuffer, SPILL_BYTES};
use super::streams::{Streams, StreamsNow};
use super::verify::{Task, VerifyPool};
use crate::engine::command::{AttemptId, Command, Effect, SessionId};
use crate::engine::handle::EngineHandle;
use crate::ledger::driver::Published;

/// Events of the engine and the pool that may wait; one more closes the session.
const EVENTS: usize = 1_024;
/// Responses that may wait for the connection.
const RESPONSES: usize = 4;
/// Messages that may wait for a slow miner; one more closes the session.
const PENDING: usize = 4_096;
/// Commands at the engine after which no more messages are taken until it has answered some.
const COMMANDS: usize = 1_024;
/// Messages of one batch; a miner's own bounds leave it far below.
const MESSAGES: usize = 16_384;
/// Items taken at once before anything is sent.
const AT_ONCE: usize = 64;
/// Time for the last messages of a session that ends.
const FAREWELL: Duration = Duration::from_secs(2);

/// What sessions share.
#[derive(Clone)]
pub struct SessionContext {
    /// The engine.
    pub engine: EngineHandle,
    /// Who hears of its effects.
    pub hub: Arc<Hub>,
    /// Streams of live attempts.
    pub streams: Arc<Streams>,
    /// Threads for signatures.
    pub pool: Arc<VerifyPool>,
    /// Key that signs assignments.
    pub service: Identity,
    /// KiB of large results that readers may have in memory, all together.
    pub loads: Arc<Semaphore>,
    /// The ledger's newest checkpoint.
    pub published: watch::Receiver<Published>,
    /// The chain.
    pub chain_id: Hash,
    /// Cancelled when the coordinator drains.
    pub shutdown: CancellationToken,
}

/// What a session sends.
pub type SessionResponses = ReceiverStream<Result<OpenSessionResponse, Status>>;

/// What waits for the engine: a command, and for a failure its attempt and what the miner is told.
type Told = (Command, Option<(AttemptId, Option<ApiError>)>);

/// Opens a session for the identity that the call's token named.
#[must_use]
pub fn open(
    context: &SessionContext,
    key: PublicKey,
    peer: String,
    up: Streaming<OpenSessionRequest>,
) -> SessionResponses {
    let (down, responses) = mpsc::channel(RESPONSES);
    let (events_in, events) = mpsc::channel(EVENTS);
    let end = context.shutdown.child_token();
    let id = context.hub.add_session(events_in.clone(), end.clone());
    let now = context.engine.now_ms();
    let driver = Driver {
        context: context.clone(),
        id,
        key,
        challenge: random_bytes(),
        core: SessionCore::new(id, key, peer, now),
        inbox: inbox::start(up),
        events,
        events_in,
        end,
        down,
        pending: VecDeque::new(),
        waiting: Vec::new(),
        telling: 0,
        shares: Vec::new(),
        signing: Vec::new(),
        closed_with: None,
    };
    tokio::spawn(driver.run());
    ReceiverStream::new(responses)
}

struct Driver {
    context: SessionContext,
    id: SessionId,
    key: PublicKey,
    challenge: [u8; 32],
    core: SessionCore,
    inbox: mpsc::Receiver<Batch>,
    events: mpsc::Receiver<SessionEvent>,
    events_in: mpsc::Sender<SessionEvent>,
    end: CancellationToken,
    down: mpsc::Sender<Result<OpenSessionResponse, Status>>,
    pending: VecDeque<CoordinatorMessage>,
    waiting: Vec<Told>,
    /// Commands that the engine has not answered.
    telling: usize,
    /// Room in the inbox that is taken until the engine has answered what waits.
    shares: Vec<Share>,
    signing: Vec<Task>,
    closed_with: Option<ApiError>,
}

impl Driver {
    async fn run(mut self) {
        let (challenge, chain_id) = (
            self.challenge.to_vec().into(),
            self.context.chain_id.to_vec().into(),
        );
        self.send(Down::Challenge(v1::Challenge {
            challenge,
            chain_id,
        }));
        while !self.core.is_closed() {
            self.flush();
            let wait = self
                .core
                .deadline_ms()
                .saturating_sub(self.context.engine.now_ms());
            tokio::select! {
                biased;
                () = self.end.cancelled() => self.core.close(ended()),
                Some(event) = self.events.recv() => self.events_arrived(event),
                () = self.down.closed() => break,
                () = room(&self.down), if !self.pending.is_empty() => continue,
                batch = self.inbox.recv(), if self.telling < COMMANDS => match batch {
                    Some(batch) => self.batches_arrived(batch),
                    None => break,
                },
                () = tokio::time::sleep(Duration::from_millis(wait)) => self.core.tick(self.context.engine.now_ms()),
            }
            self.carry_out().await;
        }
        self.carry_out().await;
        self.context.hub.remove_session(self.id);
        let farewell = self.farewell();
        let _cut_off = tokio::time::timeout(FAREWELL, farewell).await;
        // Its answer does not matter: the session is gone either way.
        let _ = self
            .context
            .engine
            .call(Command::CloseSession { session: self.id })
            .await;
    }

    /// Sends what the connection takes at once.
    fn flush(&mut self) {
        while !self.pending.is_empty() {
            let Ok(permit) = self.down.try_reserve() else {
                return;
            };
            permit.send(Ok(next_batch(&mut self.pending)));
            self.context.engine.stats().message_out();
        }
    }

    async fn farewell(&mut self) {
        while !self.pending.is_empty() {
            if self
                .down
                .send(Ok(next_batch(&mut self.pending)))
                .await
                .is_err()
            {
                return;
            }
        }
        if let Some(error) = self.closed_with.take() {
            let _gone = self.down.send(Err(error.into())).await;
        }
    }

    fn batches_arrived(&mut self, first: Batch) {
        self.batch(first);
        for _ in 1..AT_ONCE {
            match self.inbox.try_recv() {
                Ok(batch) => self.batch(batch),
                Err(_) => break,
            }
        }
    }

    fn batch(&mut self, (batch, share): Batch) {
        self.context.engine.stats().message_in();
        self.shares.push(share);
        if batch.messages.len() > MESSAGES {
            let message = format!("a batch has more than {MESSAGES} messages");
            return self
                .core
                .close(ApiError::new(ErrorReason::SessionProtocol, message));
        }
        let now_ms = self.context.engine.now_ms();
        let mut streams = StreamsNow {
            streams: &self.context.streams,
            now_ms,
        };
        for message in batch.messages {
            match message.message {
                Some(message) => self.core.message(message, &mut streams, now_ms),
                None => self.core.close(ApiError::new(
                    ErrorReason::SessionProtocol,
                    "a message of a kind that this coordinator does not know",
                )),
            }
        }
    }

    fn events_arrived(&mut self, first: SessionEvent) {
        self.event(first);
        for _ in 1..AT_ONCE {
            match self.events.try_recv() {
                Ok(event) => self.event(event),
                Err(_) => break,
            }
        }
    }

    fn event(&mut self, event: SessionEvent) {
        match event {
            SessionEvent::Effects(effects) => {
                effects.into_iter().for_each(|effect| self.effect(effect))
            }
            SessionEvent::Signed(attempt, assign) => {
                if !self.core.signed(attempt, *assign) {
                    self.context.streams.remove(attempt);
                }
            }
            SessionEvent::Renewed(attempt, renew) => self.core.renewed(attempt, *renew),
            SessionEvent::Recorded(attempt, outcome) => self.core.recorded(attempt, outcome),
            SessionEvent::Told(commands, failures) => {
                self.telling = self.telling.saturating_sub(commands);
                for (attempt, answer, refusal) in failures {
                    let outcome = match (answer, refusal) {
                        (Ok(_), Some(refusal)) => Err(refusal),
                        (answer, _) => answer.map(|_| ()),
                    };
                    self.core.recorded(attempt, outcome);
                }
            }
        }
    }

    fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::Assign {
                info, time_left_ms, ..
            } => {
                let attempt = info.attempt;
                self.core.assigned(attempt);
                let (events, end) = (self.events_in.clone(), self.end.clone());
                let signed = Box::new(move |assign| {
                    report(
                        &events,
                        &end,
                        SessionEvent::Signed(attempt, Box::new(assign)),
                    )
                });
                self.signing.push(Task::Sign {
                    info,
                    time_left_ms,
                    signed,
                });
            }
            Effect::Renew { info, .. } => {
                let attempt = info.attempt;
                let (events, end) = (self.events_in.clone(), self.end.clone());
                let signed = Box::new(move |renew| {
                    let renewed = SessionEvent::Renewed(attempt, Box::new(renew));
                    report(&events, &end, renewed)
                });
                self.signing.push(Task::Renew { info, signed });
            }
            Effect::CancelAttempt {
                attempt,
                status,
                receipt,
                ..
            } => {
                tracing::debug!(job_id = %attempt.job_id, attempt.attempt, ?status, "stopped by the engine");
                let stream = self.context.streams.get(attempt);
                let arrived = stream.map_or(0, |stream| stream.output_len());
                self.core
                    .cancelled(attempt, status, receipt.then_some(arrived));
            }
            Effect::Attend { each, .. } => {
                let now_ms = self.context.engine.now_ms();
                self.core.attend(each, now_ms);
            }
            Effect::EndSession { reason, .. } => self.core.close(reason),
            Effect::Changed(_) | Effect::OrdersPending(_) => {}
        }
    }

    async fn carry_out(&mut self) {
        loop {
            let actions = self.core.take_actions();
            if actions.is_empty() {
                break;
            }
            for action in actions {
                if let Some(slow) = self.act(action) {
                    // Boxed: an idle session need not hold the room that this takes.
                    Box::pin(self.act_slowly(slow)).await;
                }
                if self.pending.len() > PENDING {
                    self.core.close(behind());
                }
            }
        }
        for task in std::mem::take(&mut self.signing) {
            self.context.pool.submit(self.id, task).await;
        }
        self.tell();
    }

    /// Does what takes no time; what does comes back.
    fn act(&mut self, action: Action) -> Option<Action> {
        match action {
            Action::Send(mut message) => {
                self.add_checkpoint(&mut message);
                self.send(message);
            }
            Action::CheckProof { miner_id, proof } => self.check_proof(miner_id, &proof),
            Action::Open(_) | Action::Complete(..) => return Some(action),
            Action::Tell(command) => self.waiting.push((command, None)),
            Action::Fail {
                attempt,
                failure,
                refusal,
            } => {
                let command = Command::Fail {
                    miner_key: self.key,
                    attempt,
                    failure,
                };
                self.waiting.push((command, Some((attempt, refusal))));
            }
            Action::Checkpoint(attempt, checkpoint) => {
                if let Some(stream) = self.context.streams.get(attempt) {
                    self.context
                        .pool
                        .offer(self.id, Task::Checkpoint { stream, checkpoint });
                }
            }
            Action::Arrived(attempt, kind) => {
                return self.must_spill(attempt, kind).then_some(action);
            }
            Action::Close(error) => self.closed_with = Some(error),
        }
        None
    }

    fn must_spill(&self, attempt: AttemptId, kind: StreamKind) -> bool {
        let long = |buffer: &mut OutputBuffer| buffer.len() - buffer.stored() >= SPILL_BYTES as u64;
        let stream = self.context.streams.get(attempt);
        stream.is_some_and(|stream| stream.is_handed_over(kind) || stream.with(kind, long))
    }

    fn check_proof(&mut self, miner_id: MinerId, proof: &[u8]) {
        let layout = SessionProof {
            chain_id: self.context.chain_id,
            challenge: self.challenge,
            miner_id,
        };
        self.core
            .proof_checked(miner_id, layout.verify(&self.key, proof));
    }

    /// What the miner hears now and then also says how far the ledger is.
    fn add_checkpoint(&self, message: &mut Down) {
        let checkpoint = match message {
            Down::Welcome(welcome) => &mut welcome.checkpoint,
            Down::Heartbeat(echo) => &mut echo.checkpoint,
            _ => return,
        };
        checkpoint.clone_from(&self.context.published.borrow().checkpoint);
    }

    fn send(&mut self, message: Down) {
        self.pending.push_back(CoordinatorMessage {
            message: Some(message),
        });
    }

    /// Gives the engine what waits. Its place in the engine's channel is taken before this returns, so that what comes
    /// later, also from another thread, stays behind it.
    fn tell(&mut self) {
        // What gave no commands gives its room back here.
        let shares = std::mem::take(&mut self.shares);
        if self.waiting.is_empty() {
            return;
        }
        let count = self.waiting.len();
        self.telling += count;
        let (commands, tags): (Vec<_>, Vec<_>) = self.waiting.drain(..).unzip();
        let (engine, events) = (self.context.engine.clone(), self.events_in.clone());
        // Without the runtime's budget: a poll that only yields would not take the place.
        let call = async move { engine.call_all(commands).await };
        let mut asked = Box::pin(tokio::task::unconstrained(call));
        let at_once = (&mut asked).now_or_never();
        tokio::spawn(async move {
            let answers = match at_once {
                Some(answers) => answers,
                None => asked.await,
            };
            let failures = answers.into_iter().zip(tags);
            let failures = failures.filter_map(|(answer, tag)| {
                tag.map(|(attempt, refusal)| (attempt, answer, refusal))
            });
            drop(shares);
            let told = SessionEvent::Told(count, failures.collect());
            // A session that ended meanwhile needs no answer.
            let _ = events.send(told).await;
        });
    }
}

async fn room(down: &mpsc::Sender<Result<OpenSessionResponse, Status>>) {
    // The room itself is taken later; a connection that has gone is noticed elsewhere.
    let _ = down.reserve().await;
}

/// From threads that must not wait: a session that does not keep up ends.
fn report(events: &mpsc::Sender<SessionEvent>, end: &CancellationToken, event: SessionEvent) {
    if events.try_send(event).is_err() {
        end.cancel();
    }
}

/// What waits, up to the bound of a batch; at least one message.
fn next_batch(pending: &mut VecDeque<CoordinatorMessage>) -> OpenSessionResponse {
    let mut messages = Vec::with_capacity(pending.len().min(64));
    let mut bytes = 0;
    while let Some(message) = pending.front() {
        bytes += messages::encoded_len(message);
        if bytes > SESSION_BATCH_BYTES && !messages.is_empty() {
            break;
        }
        messages.extend(pending.pop_front());
    }
    OpenSessionResponse { messages }
}

fn ended() -> ApiError {
    ApiError::new(
        ErrorReason::Unavailable,
        "the coordinator recovers or stops; come back in a moment",
    )
    .retry_after(Duration::from_secs(1))
}

fn behind() -> ApiError {
    ApiError::new(
        ErrorReason::Unavailable,
        "this session does not keep up with what is sent; come back",
    )
    .retry_after(Duration::from_secs(1))
}
