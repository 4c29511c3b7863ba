//! Miners' sessions: opening, inventory, accept, heartbeat, closing.

use std::collections::BTreeSet;
use std::time::Duration;

use aitbc_common::identity::PublicKey;
use aitbc_common::ids::MinerId;
use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1::{self, ErrorReason, JobStatus};

use super::attempts::lost_outcome;
use super::command::{AttemptId, Effect, HeldAttempt, Reply, Resume, SessionId};
use super::core::{EngineCore, LiveJob, Session};
use super::timers::{Timer, failure};
use super::turn::Turn;
use crate::jobs::lifecycle::{Event, Phase};

/// Assignments in a row that a session may let lapse before it is closed.
const MISSES: u32 = 3;
/// When a miner that was turned away may come back.
const RIVAL_RETRY: Duration = Duration::from_secs(10);

/// A session that begins.
pub(super) struct Opening {
    pub session: SessionId,
    pub key: PublicKey,
    pub miner_id: MinerId,
    pub peer: String,
    pub takeover: bool,
    pub running: Vec<HeldAttempt>,
    pub spooled: Vec<HeldAttempt>,
}

impl EngineCore {
    pub(super) fn open_session(&mut self, turn: &mut Turn, opening: Opening) {
        let Some(miner) = self
            .miners
            .get_mut(&opening.miner_id)
            .filter(|miner| miner.key == opening.key)
        else {
            let message = format!(
                "{} is not this identity's registered miner; register it first",
                opening.miner_id
            );
            return turn.refuse(ErrorReason::MinerNotRegistered, message);
        };
        if let Some(rival) = &miner.session {
            if !opening.takeover {
                return turn.reply(Reply::Refused(rival_refusal(rival)));
            }
            let message = format!("taken over from {}", opening.peer);
            turn.effect(Effect::EndSession {
                session: rival.id,
                reason: ApiError::new(ErrorReason::SessionExists, message),
            });
            self.sessions.remove(&rival.id);
        }
        miner.session = Some(Session {
            id: opening.session,
            peer: opening.peer.clone(),
            since_ms: self.now,
            slots: None,
            heartbeat_slots: u32::MAX,
            tools: std::collections::BTreeSet::new(),
            models: Vec::new(),
            suspended: false,
            misses: 0,
            draining: false,
        });
        miner.last_seen_ms = self.now;
        self.sessions.insert(opening.session, opening.miner_id);
        self.drop_unnamed(turn, opening.miner_id, &opening.running, &opening.spooled);
        let mut keep = Vec::new();
        let mut abandon = Vec::new();
        for held in opening.running.iter().chain(&opening.spooled) {
            self.recall_start(held, opening.miner_id);
            if self.may_deliver(held.attempt, opening.miner_id) {
                keep.push(held.attempt)
            } else {
                abandon.push(held.attempt)
            }
        }
        self.take_over(turn, &opening);
        let needed: Vec<_> = keep
            .iter()
            .filter_map(|a| Some((a.job_id, self.owner_of(a.job_id)?)))
            .collect();
        turn.reply_later(needed, move |core, rows| {
            let kept = keep
                .into_iter()
                .map(|attempt| match core.attempt_info(attempt, rows) {
                    Some(info) => Resume::Continue(Box::new(info)),
                    None => Resume::Abandon(attempt),
                });
            Reply::SessionOpened(
                kept.chain(abandon.into_iter().map(Resume::Abandon))
                    .collect(),
            )
        });
    }

    /// When an attempt started is not known after a restart; its miner knows. It cannot claim a time before the lease,
    /// which is what counts where nobody knows.
    fn recall_start(&mut self, held: &HeldAttempt, miner: MinerId) {
        let now = self.now;
        let live = self.jobs.get_mut(&held.attempt.job_id).filter(|live| {
            live.job.attempt == held.attempt.attempt
                && matches!(live.job.phase, Phase::Processing { miner: holder, .. } if holder == miner)
        });
        if let (Some(lease), Some(ago)) = (
            live.and_then(|live| live.lease.as_mut()),
            held.accepted_ago_ms,
        ) && lease.started_ms == 0
        {
            lease.started_ms = now.saturating_sub(ago).max(lease.attempt.assigned_ms);
        }
    }

    /// Whether this miner's result of the attempt would still count.
    fn may_deliver(&self, attempt: AttemptId, miner: MinerId) -> bool {
        if self.stopped_of(attempt, miner).is_some() {
            return true;
        }
        let Some(live) = self
            .jobs
            .get(&attempt.job_id)
            .filter(|live| live.job.attempt == attempt.attempt)
        else {
            return false;
        };
        let late =
            matches!(live.job.phase, Phase::Queued { .. }) && live.job.last_miner == Some(miner);
        late || live.job.phase.holder() == Some(miner)
    }

    /// Whether a lost attempt may go on: it could deliver until its job is leased again, but holds a slot meanwhile.
    fn may_go_on(&self, attempt: AttemptId, miner: MinerId) -> bool {
        let live = self.jobs.get(&attempt.job_id);
        self.may_deliver(attempt, miner) && live.is_some_and(|live| self.now < live.late_until)
    }

    /// Attempts that the miner should have and does not name are over.
    fn drop_unnamed(
        &mut self,
        turn: &mut Turn,
        miner_id: MinerId,
        running: &[HeldAttempt],
        spooled: &[HeldAttempt],
    ) {
        let named: BTreeSet<AttemptId> = running
            .iter()
            .chain(spooled)
            .map(|held| held.attempt)
            .collect();
        let Some(miner) = self.miners.get(&miner_id) else {
            return;
        };
        let gone: Vec<AttemptId> = miner.held.difference(&named).copied().collect();
        for attempt in gone {
            let lease = self
                .jobs
                .get(&attempt.job_id)
                .and_then(|live| live.lease.as_ref());
            let Some(lease) = lease.filter(|lease| !lease.attempt.polled) else {
                continue;
            };
            let (reason, message) = lost_outcome(lease.started_ms > 0);
            self.end_attempt(turn, attempt, miner_id, failure(reason, message));
        }
    }

    /// Renews the lease of a running attempt; one that is not accepted yet is accepted by this. False = it is not live.
    fn hold(&mut self, turn: &mut Turn, held: &HeldAttempt, miner: MinerId) -> bool {
        let now = self.now;
        let lease_until = now + self.config.lease_ms;
        let progress_ms = self.config.progress_ms;
        let accepts = self.is_leased(held.attempt);
        let its_own = |live: &&mut LiveJob| {
            live.job.attempt == held.attempt.attempt && live.job.phase.holder() == Some(miner)
        };
        if let Some(lease) = self
            .jobs
            .get_mut(&held.attempt.job_id)
            .filter(its_own)
            .and_then(|live| live.lease.as_mut())
        {
            if held.output_bytes > lease.output_bytes || held.output_tokens > lease.output_tokens {
                lease.output_bytes = lease.output_bytes.max(held.output_bytes);
                lease.output_tokens = lease.output_tokens.max(held.output_tokens);
                lease.progress_ms = now;
            }
            if !accepts
                && lease.progress_ms > 0
                && now.saturating_sub(lease.progress_ms) > progress_ms
            {
                return true; // Its lease is not renewed, and ends.
            }
        }
        let event = Event::Hold {
            attempt: held.attempt.attempt,
            miner,
            lease_until,
        };
        let held_on = self.advance(turn, held.attempt.job_id, event, None).is_ok();
        if held_on && accepts {
            self.timers
                .insert((lease_until, Timer::Lease(held.attempt)));
        }
        held_on
    }

    /// What a new session holds is the engine's too, from now on.
    fn take_over(&mut self, turn: &mut Turn, opening: &Opening) {
        let miner = opening.miner_id;
        for held in &opening.running {
            if self.is_stopped(held.attempt) {
                self.stop_stale(turn, opening.session, held.attempt);
            }
            self.hold(turn, held, miner);
        }
        self.refresh(miner);
        if self
            .miners
            .get(&miner)
            .is_some_and(|miner| miner.rental.is_some())
        {
            self.attend(turn, miner);
        }
    }

    pub(super) fn close_session(&mut self, turn: &mut Turn, session: SessionId) {
        if let Some(id) = self.sessions.remove(&session)
            && let Some(miner) = self.miners.get_mut(&id)
            && miner
                .session
                .as_ref()
                .is_some_and(|live| live.id == session)
        {
            miner.session = None;
            miner.last_seen_ms = self.now;
            self.refresh(id);
        }
        turn.reply(Reply::Done);
    }

    /// The miner of a live session, marked as seen.
    fn seen(&mut self, session: SessionId) -> Option<MinerId> {
        let id = *self.sessions.get(&session)?;
        self.miners.get_mut(&id)?.last_seen_ms = self.now;
        Some(id)
    }

    fn session_mut(&mut self, miner: MinerId) -> Option<&mut Session> {
        self.miners.get_mut(&miner)?.session.as_mut()
    }

    /// A miner in session says which tools agents may use there; before its inventory, with which it counts.
    pub(super) fn offer_tools(&mut self, session: SessionId, tools: Vec<String>) {
        if let Some(id) = self.seen(session)
            && let Some(live) = self.session_mut(id)
        {
            live.tools = tools.into_iter().collect();
        }
    }

    pub(super) fn inventory(
        &mut self,
        turn: &mut Turn,
        session: SessionId,
        models: Vec<v1::MinerModel>,
        slots: u32,
        engine: String,
    ) {
        if let Some(id) = self.seen(session) {
            if let Some(live) = self.session_mut(id) {
                live.models = models;
                live.slots = Some(slots);
                live.heartbeat_slots = u32::MAX;
            }
            if let Some(miner) = self.miners.get_mut(&id)
                && !engine.is_empty()
            {
                miner.record.engine = engine;
            }
            self.refresh(id);
        }
        turn.reply(Reply::Done);
    }

    pub(super) fn accept(&mut self, turn: &mut Turn, session: SessionId, attempt: AttemptId) {
        if let Some(miner) = self.seen(session) {
            if let Some(live) = self.session_mut(miner) {
                live.misses = 0;
            }
            let held = HeldAttempt {
                attempt,
                output_bytes: 0,
                output_tokens: 0,
                accepted_ago_ms: None,
                first_output_ago_ms: None,
            };
            if !self.hold(turn, &held, miner) {
                self.stop_stale(turn, session, attempt);
            }
        }
        turn.reply(Reply::Done);
    }

    pub(super) fn reject(
        &mut self,
        turn: &mut Turn,
        session: SessionId,
        attempt: AttemptId,
        failure: v1::Failure,
    ) {
        if let Some(miner) = self.seen(session) {
            self.suspend_quietly(miner);
            self.end_attempt(turn, attempt, miner, failure);
        }
        turn.reply(Reply::Done);
    }

    pub(super) fn heartbeat(
        &mut self,
        turn: &mut Turn,
        session: SessionId,
        running: Vec<HeldAttempt>,
        free_slots: u32,
    ) {
        if let Some(miner) = self.seen(session) {
            for held in &running {
                if !self.hold(turn, held, miner) && !self.may_go_on(held.attempt, miner) {
                    self.stop_stale(turn, session, held.attempt);
                }
            }
            let named = running
                .iter()
                .filter(|held| self.holds(held.attempt, miner))
                .count();
            let named = u32::try_from(named).unwrap_or(u32::MAX);
            if let Some(live) = self.session_mut(miner) {
                live.heartbeat_slots = named.saturating_add(free_slots);
                live.suspended = false;
            }
            self.refresh(miner);
        }
        turn.reply(Reply::Done);
    }

    fn stop_stale(&mut self, turn: &mut Turn, session: SessionId, attempt: AttemptId) {
        let status = self
            .jobs
            .get(&attempt.job_id)
            .map_or(JobStatus::Unspecified, |live| live.job.status());
        let stopped = self.stopped.get(&attempt.job_id);
        turn.effect(Effect::CancelAttempt {
            session,
            attempt,
            status: stopped.map_or(status, |stopped| stopped.row.status()),
            receipt: self.is_stopped(attempt),
        });
    }

    pub(super) fn drain(&mut self, turn: &mut Turn, session: SessionId) {
        if let Some(miner) = self.seen(session) {
            if let Some(live) = self.session_mut(miner) {
                live.draining = true;
            }
            self.refresh(miner);
        }
        turn.reply(Reply::Done);
    }

    /// No more jobs for a session until its next heartbeat.
    pub(super) fn suspend_quietly(&mut self, miner: MinerId) {
        if let Some(live) = self.session_mut(miner) {
            live.suspended = true;
            self.refresh(miner);
        }
    }

    /// The same, because it let an assignment lapse; the third time in a row ends the session.
    pub(super) fn suspend(&mut self, turn: &mut Turn, miner: MinerId) {
        if let Some(live) = self.session_mut(miner) {
            live.suspended = true;
            live.misses += 1;
            if live.misses >= MISSES {
                let message = format!("{MISSES} assignments in a row were not accepted in time");
                let reason = ApiError::new(ErrorReason::SessionProtocol, message);
                turn.effect(Effect::EndSession {
                    session: live.id,
                    reason,
                });
            }
        }
        self.refresh(miner);
    }
}

/// One miner has one session: the one that is there stays.
fn rival_refusal(rival: &Session) -> ApiError {
    let since = i64::try_from(rival.since_ms).unwrap_or(0);
    let since = jiff::Timestamp::from_millisecond(since).unwrap_or_default();
    let message = format!(
        "this miner has a live session since {since:.0} from {}",
        rival.peer
    );
    ApiError::new(ErrorReason::SessionExists, message).retry_after(RIVAL_RETRY)
}
