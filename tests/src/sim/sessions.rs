//! The coordinator's side of miners' sessions: the real core, and what its driver does for it.

use std::sync::Arc;

use aitbc_common::identity::PublicKey;
use aitbc_common::layouts::SessionProof;
use aitbc_common::runtime::status::ApiError;
use aitbc_coordinator::engine::command::{AttemptId, Command, Effect, Reply, Resume, SessionId};
use aitbc_coordinator::sessions::core::{Action, SessionCore, StreamKind};
use aitbc_coordinator::sessions::hub::SessionEvent;
use aitbc_coordinator::sessions::output_buffer::SPILL_BYTES;
use aitbc_coordinator::sessions::streams::{AttemptFacts, StreamsNow};
use aitbc_coordinator::sessions::verify::check_checkpoint;
use aitbc_coordinator::sessions::{messages, stored};
use aitbc_proto::v1;
use aitbc_proto::v1::coordinator_message::Message as Down;
use aitbc_proto::v1::miner_message::Message as Up;
use rand::Rng;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::context::{Context, Rule};
use super::coordinator::{Caller, Coordinator, Running, ToldFailure, unavailable};
use super::deliveries::Verification;
use super::genesis::CHAIN;
use super::network::{ConnectionId, DownItem, Side, leave, send_down};
use super::streams::new_stream;
use super::world::Event;

/// Effects that may wait for a session.
const EVENTS: usize = 1_024;

/// A miner's session.
pub struct Session {
    core: SessionCore,
    pub key: PublicKey,
    pub connection: ConnectionId,
    challenge: [u8; 32],
    events: mpsc::Receiver<SessionEvent>,
    end: CancellationToken,
    waiting: Vec<(Command, Option<ToldFailure>)>,
    telling: bool,
    tick_at: u64,
}

impl Coordinator {
    /// A miner's stream arrived.
    pub fn accepted(&mut self, ctx: &mut Context, connection: ConnectionId, key: PublicKey) {
        let Some(running) = &mut self.running else {
            return leave(ctx, connection, Side::Coordinator);
        };
        let (events_in, events) = mpsc::channel(EVENTS);
        let end = CancellationToken::new();
        let id = running.hub.add_session(events_in, end.clone());
        let challenge = ctx.random.coordinator.random();
        let core = SessionCore::new(
            id,
            key,
            format!("connection {connection}"),
            running.now(ctx.now),
        );
        let session = Session {
            core,
            key,
            connection,
            challenge,
            events,
            end,
            waiting: Vec::new(),
            telling: false,
            tick_at: u64::MAX,
        };
        running.sessions.insert(id, session);
        let challenge = v1::Challenge {
            challenge: challenge.to_vec().into(),
            chain_id: CHAIN.to_vec().into(),
        };
        send_down(
            ctx,
            connection,
            DownItem::Message(Box::new(Down::Challenge(challenge))),
        );
        self.with_session(ctx, id, |_, _, _| {});
    }

    /// A message of a miner arrived.
    pub fn arrived(&mut self, ctx: &mut Context, connection: ConnectionId) {
        let Some(message) = ctx.network.take_up(connection, ctx.now) else {
            return;
        };
        let Some(id) = self.session_of(connection) else {
            return;
        };
        super::notes::up(ctx, id, &message);
        if let Some(key) = self.miner_key(id) {
            ctx.wire.heard(key, ctx.now);
            if matches!(message, Up::Heartbeat(_)) {
                ctx.rentals.heard(key, ctx.now);
            }
        }
        self.with_session(ctx, id, |session, running, now_ms| {
            let mut streams = StreamsNow {
                streams: &running.streams,
                now_ms,
            };
            session.core.message(message, &mut streams, now_ms);
        });
        self.pump(ctx);
    }

    /// The coordinator learns that a miner's stream ended.
    pub fn connection_lost(&mut self, ctx: &mut Context, connection: ConnectionId) {
        if let Some(id) = self.session_of(connection)
            && let Some(running) = &mut self.running
        {
            ctx.trace
                .note(ctx.now, format_args!("session {id} is lost"));
            running.sessions.remove(&id);
            running.hub.remove_session(id);
            running.ask(
                ctx,
                vec![Command::CloseSession { session: id }],
                Caller::Nobody,
            );
        }
    }

    fn session_of(&self, connection: ConnectionId) -> Option<SessionId> {
        let sessions = &self.running.as_ref()?.sessions;
        sessions
            .iter()
            .find(|(_, session)| session.connection == connection)
            .map(|(id, _)| *id)
    }

    /// A session's deadline may have come.
    pub fn session_tick(&mut self, ctx: &mut Context, id: SessionId) {
        self.with_session(ctx, id, |session, _, now_ms| {
            session.tick_at = u64::MAX;
            session.core.tick(now_ms);
        });
    }

    /// After a commit: sessions take their effects, watches their changes.
    pub fn effects_performed(&mut self, ctx: &mut Context) {
        let ids: Vec<SessionId> = self
            .running
            .iter()
            .flat_map(|running| running.sessions.keys().copied())
            .collect();
        for id in ids {
            self.with_session(ctx, id, |session, _, _| {
                if session.end.is_cancelled() {
                    session.core.close(unavailable());
                }
            });
        }
        self.pump(ctx);
    }

    pub fn session_opened(
        &mut self,
        ctx: &mut Context,
        id: SessionId,
        answer: Result<Reply, ApiError>,
    ) {
        let (store, service) = (Arc::clone(&self.store), self.service.clone());
        let broken = ctx.broken(Rule::ResumeOffset);
        self.with_session(ctx, id, |session, running, now_ms| {
            let mut renewals = Vec::new();
            if let Ok(Reply::SessionOpened(resumes)) = &answer {
                for resume in resumes {
                    let Resume::Continue(info) = resume else {
                        continue;
                    };
                    let facts =
                        AttemptFacts::sign(info, &service).expect("the engine's layouts parse");
                    if facts.assignment.flags == 1 {
                        renewals.push((info.attempt, messages::renew(info, facts.signature)));
                    }
                    if let Some(stream) = running.streams.get(info.attempt) {
                        stream.renew(&facts);
                    } else {
                        let stream = new_stream(facts, broken);
                        stored::restore(&store, &stream).expect("a store in memory can be read");
                        running.streams.insert(stream).accept();
                    }
                }
            }
            let streams = StreamsNow {
                streams: &running.streams,
                now_ms,
            };
            session.core.opened(answer, &streams, now_ms);
            for (attempt, renew) in renewals {
                session.core.renewed(attempt, renew);
            }
        });
    }

    pub fn session_told(
        &mut self,
        ctx: &mut Context,
        id: SessionId,
        failures: Vec<Option<ToldFailure>>,
        answers: Vec<Result<Reply, ApiError>>,
    ) {
        self.with_session(ctx, id, |session, _, _| {
            session.telling = false;
            for (failure, answer) in failures.into_iter().zip(answers) {
                let Some((attempt, refusal)) = failure else {
                    continue;
                };
                let outcome = match (answer, refusal) {
                    (Ok(_), Some(refusal)) => Err(refusal),
                    (answer, _) => answer.map(|_| ()),
                };
                session.core.recorded(attempt, outcome);
            }
        });
    }

    pub fn session_recorded(
        &mut self,
        ctx: &mut Context,
        id: SessionId,
        attempt: AttemptId,
        outcome: Result<(), ApiError>,
    ) {
        self.with_session(ctx, id, |session, _, _| {
            session.core.recorded(attempt, outcome)
        });
    }

    /// An assignment was signed.
    pub fn signed(
        &mut self,
        ctx: &mut Context,
        id: SessionId,
        attempt: AttemptId,
        assign: v1::Assign,
    ) {
        self.with_session(ctx, id, |session, _, _| {
            session.core.signed(attempt, assign);
        });
    }

    /// A newer assignment was signed.
    pub fn renewed(
        &mut self,
        ctx: &mut Context,
        id: SessionId,
        attempt: AttemptId,
        renew: v1::Renew,
    ) {
        self.with_session(ctx, id, |session, _, _| {
            session.core.renewed(attempt, renew)
        });
    }

    /// Lets something happen to a session, then does what its core wants.
    fn with_session(
        &mut self,
        ctx: &mut Context,
        id: SessionId,
        step: impl FnOnce(&mut Session, &mut Running, u64),
    ) {
        let Some(running) = &mut self.running else {
            return;
        };
        let Some(mut session) = running.sessions.remove(&id) else {
            return;
        };
        let now_ms = running.now(ctx.now);
        step(&mut session, running, now_ms);
        while let Ok(event) = session.events.try_recv() {
            if let SessionEvent::Effects(effects) = event {
                effects
                    .into_iter()
                    .for_each(|effect| self.effect(ctx, id, &mut session, effect));
            }
        }
        loop {
            let actions = session.core.take_actions();
            if actions.is_empty() {
                break;
            }
            for action in actions {
                self.act(ctx, id, &mut session, action);
            }
        }
        let Some(running) = &mut self.running else {
            return;
        };
        if !session.telling && !session.waiting.is_empty() {
            session.telling = true;
            let (commands, failures) = session.waiting.drain(..).unzip();
            running.ask(ctx, commands, Caller::Told(id, failures));
        }
        if session.core.is_closed() {
            running.hub.remove_session(id);
            running.ask(
                ctx,
                vec![Command::CloseSession { session: id }],
                Caller::Nobody,
            );
            return;
        }
        let due = session.core.deadline_ms();
        if session.tick_at > due {
            session.tick_at = due;
            ctx.after(due.saturating_sub(now_ms), Event::SessionTick(id));
        }
        running.sessions.insert(id, session);
    }

    fn effect(&mut self, ctx: &mut Context, id: SessionId, session: &mut Session, effect: Effect) {
        match effect {
            Effect::Assign {
                info, time_left_ms, ..
            } => {
                session.core.assigned(info.attempt);
                let facts =
                    AttemptFacts::sign(&info, &self.service).expect("the engine's layouts parse");
                let (attempt, signature) = (info.attempt, facts.signature);
                if let Some(running) = &self.running {
                    let broken = ctx.broken(Rule::ResumeOffset);
                    running.streams.insert(new_stream(facts, broken));
                }
                let assign = messages::assign(*info, signature, time_left_ms);
                let delay = ctx.random.coordinator.random_range(0..3);
                ctx.after(delay, Event::Signed(id, attempt, Box::new(assign)));
            }
            Effect::Attend { each, .. } => {
                session
                    .core
                    .attend(each && !ctx.broken(Rule::Attended), ctx.now);
            }
            Effect::Renew { info, .. } => {
                let facts =
                    AttemptFacts::sign(&info, &self.service).expect("the engine's layouts parse");
                if let Some(stream) = self
                    .running
                    .as_ref()
                    .and_then(|running| running.streams.get(info.attempt))
                {
                    stream.renew(&facts);
                }
                let renew = messages::renew(&info, facts.signature);
                let delay = ctx.random.coordinator.random_range(0..3);
                ctx.after(delay, Event::Renewed(id, info.attempt, Box::new(renew)));
            }
            Effect::CancelAttempt {
                attempt,
                status,
                receipt,
                ..
            } => {
                let streams = self.running.as_ref().map(|running| &running.streams);
                let stream = streams.and_then(|streams| streams.get(attempt));
                let arrived = stream.map_or(0, |stream| stream.output_len());
                session
                    .core
                    .cancelled(attempt, status, receipt.then_some(arrived));
            }
            Effect::EndSession { reason, .. } => session.core.close(reason),
            Effect::Changed(_) | Effect::OrdersPending(_) => {}
        }
    }

    fn act(&mut self, ctx: &mut Context, id: SessionId, session: &mut Session, action: Action) {
        let Some(running) = &mut self.running else {
            return;
        };
        match action {
            Action::Send(message) => send_down(
                ctx,
                session.connection,
                DownItem::Message(Box::new(message)),
            ),
            Action::CheckProof { miner_id, proof } => {
                let layout = SessionProof {
                    chain_id: *CHAIN,
                    challenge: session.challenge,
                    miner_id,
                };
                session
                    .core
                    .proof_checked(miner_id, layout.verify(&session.key, &proof));
            }
            Action::Open(command) => running.ask(ctx, vec![command], Caller::Open(id)),
            Action::Tell(command) => session.waiting.push((command, None)),
            Action::Fail {
                attempt,
                failure,
                refusal,
            } => {
                let command = Command::Fail {
                    miner_key: session.key,
                    attempt,
                    failure,
                };
                session.waiting.push((command, Some((attempt, refusal))));
            }
            Action::Complete(attempt, complete) => {
                deliver(ctx, running, id, session, attempt, complete)
            }
            Action::Checkpoint(attempt, checkpoint) => {
                if let Some(stream) = running.streams.get(attempt) {
                    let command = check_checkpoint(&stream, &checkpoint);
                    session
                        .waiting
                        .extend(command.map(|command| (command, None)));
                }
            }
            Action::Arrived(attempt, kind) => self.store_much(session, attempt, kind),
            Action::Close(error) => {
                send_down(ctx, session.connection, DownItem::End(Box::new(error)));
                leave(ctx, session.connection, Side::Coordinator);
            }
        }
    }

    /// Stores what is too much of a stream for memory; where that fails, the miner sends it again.
    fn store_much(&mut self, session: &mut Session, attempt: AttemptId, kind: StreamKind) {
        let stream = self
            .running
            .as_ref()
            .and_then(|running| running.streams.get(attempt));
        let Some(stream) = stream else { return };
        let is_handed_over = stream.is_handed_over(kind);
        let is_much = stream.with(kind, |buffer| {
            buffer.len() - buffer.stored() >= SPILL_BYTES as u64
        });
        if (is_much || is_handed_over) && self.spill(&stream, kind, is_handed_over).is_err() {
            self.running
                .iter()
                .for_each(|running| drop(running.streams.remove(attempt)));
            session.core.close(unavailable());
        }
    }
}

/// A delivery goes to be verified, if its streams are there.
fn deliver(
    ctx: &mut Context,
    running: &Running,
    id: SessionId,
    session: &mut Session,
    attempt: AttemptId,
    complete: Box<v1::Complete>,
) {
    let Some(stream) = running.streams.get(attempt) else {
        let gone = ApiError::new(
            v1::ErrorReason::StaleAttempt,
            "the job has ended or is elsewhere",
        );
        return session.core.recorded(attempt, Err(gone));
    };
    let verification = Verification {
        stream,
        miner: session.key,
        complete,
        session: id,
    };
    let delay = ctx.random.coordinator.random_range(0..10);
    ctx.after(delay, Event::Verify(Box::new(verification)));
}
