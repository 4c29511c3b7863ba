//! Miners without a session: they take one job at a time, and say themselves how long they need.

use aitbc_common::hash::{Hash, sha256};
use aitbc_common::identity::PublicKey;
use aitbc_common::ids::{JobId, MinerId};
use aitbc_proto::v1::{ErrorReason, JobStatus};
use bytes::Bytes;

use super::command::{AttemptId, Reply};
use super::core::EngineCore;
use super::edits::Edit;
use super::submit::refuse_reuse;
use super::timers::Timer;
use super::turn::{RequestKey, Turn, poll_key};
use crate::jobs::lifecycle::{Event, Phase};
use crate::store::rows::{RequestRow, uuid};

impl EngineCore {
    pub(super) fn poll(
        &mut self,
        turn: &mut Turn,
        key: PublicKey,
        lease_ms: u64,
        request_id: &str,
    ) {
        let Some(miner) = self
            .miner_keys
            .get(&key)
            .and_then(|id| self.miners.get_mut(id))
        else {
            return turn.refuse(
                ErrorReason::MinerNotRegistered,
                "this identity has no registered miner; register it first",
            );
        };
        miner.last_seen_ms = self.now;
        let id = miner.id;
        let body_hash = sha256(&lease_ms.to_be_bytes());
        let request_key = poll_key(key, request_id);
        if let Some(used) = request_key.as_ref().and_then(|key| turn.used_request(key)) {
            if used.body_hash != body_hash[..] {
                return refuse_reuse(turn, request_id);
            }
            let attempt = AttemptId {
                job_id: JobId(uuid(&used.job_id).unwrap_or_default()),
                attempt: u16::try_from(used.attempt).unwrap_or_default(),
            };
            return self.poll_again(turn, id, attempt);
        }
        if miner.record.paused {
            return turn.refuse(
                ErrorReason::MinerPaused,
                "this miner is paused; resume it first",
            );
        }
        if miner.free_poll_slots() == 0 {
            let held: Vec<_> = miner
                .held
                .iter()
                .take(3)
                .map(|attempt| attempt.job_id.to_string())
                .collect();
            let slots = match miner.record.slots {
                1 => "the one slot of this miner is".to_owned(),
                slots => format!("all {slots} slots of this miner are"),
            };
            let message = format!("{slots} taken ({})", held.join(", "));
            return turn.refuse(ErrorReason::NoFreeSlot, message);
        }
        let request = request_key.map(|key| (key, body_hash));
        self.take_job(turn, id, lease_ms, request);
    }

    /// The answer to an earlier poll again, while its attempt is held.
    fn poll_again(&self, turn: &mut Turn, miner: MinerId, attempt: AttemptId) {
        let live = self.jobs.get(&attempt.job_id);
        let held = live.filter(|live| live.job.attempt == attempt.attempt);
        match held.map(|live| (live.owner, live.job.phase)) {
            Some((owner, phase @ Phase::Processing { lease_until, .. }))
                if phase.holder() == Some(miner) =>
            {
                turn.reply_later([(attempt.job_id, owner)], move |core, rows| {
                    let info = core.attempt_info(attempt, rows);
                    Reply::Polled(info.map(|info| Box::new((info, lease_until))))
                });
            }
            _ => turn.refuse(
                ErrorReason::StaleAttempt,
                "the job of this poll is not held any more; poll with a new request id",
            ),
        }
    }

    /// Leases the next job to a miner that has a free slot.
    fn take_job(
        &mut self,
        turn: &mut Turn,
        id: MinerId,
        lease_ms: u64,
        request: Option<(RequestKey, Hash)>,
    ) {
        let offer = self
            .miners
            .get(&id)
            .map(|miner| miner.offer(true, miner.record.models.is_empty()));
        let Some((waiting, _)) = offer.and_then(|offer| self.queue.take_for(id, &offer)) else {
            return turn.reply(Reply::Polled(None));
        };
        if let Some(live) = self.jobs.get_mut(&waiting.job) {
            live.class = None;
        }
        let lease_until = self.now.saturating_add(lease_ms);
        let Some(attempt) = self.lease(
            turn,
            waiting.job,
            id,
            Event::Take {
                miner: id,
                lease_until,
            },
        ) else {
            return turn.reply(Reply::Polled(None));
        };
        if let Some((request_key, body_hash)) = request {
            let row = RequestRow {
                body_hash: Bytes::copy_from_slice(&body_hash),
                job_id: Bytes::copy_from_slice(&waiting.job.0),
                created_ms: self.now,
                attempt: attempt.attempt.into(),
            };
            turn.use_request(request_key, row);
        }
        self.refresh(id);
        self.changed(turn, waiting.job, waiting.owner, JobStatus::Processing);
        turn.reply_later([(waiting.job, waiting.owner)], move |core, rows| {
            Reply::Polled(
                core.attempt_info(attempt, rows)
                    .map(|info| Box::new((info, lease_until))),
            )
        });
    }

    pub(super) fn extend_lease(
        &mut self,
        turn: &mut Turn,
        key: PublicKey,
        attempt: AttemptId,
        lease_ms: u64,
    ) {
        let Some(miner) = self.miner_keys.get(&key).copied() else {
            return turn.refuse(
                ErrorReason::MinerNotRegistered,
                "this identity has no registered miner",
            );
        };
        let lease_until = self.now.saturating_add(lease_ms);
        let before = self.jobs.get(&attempt.job_id).map(|live| live.job.phase);
        let event = Event::Hold {
            attempt: attempt.attempt,
            miner,
            lease_until,
        };
        match self.advance(turn, attempt.job_id, event, None) {
            Ok(_) => {
                if let Some(live) = self.jobs.get_mut(&attempt.job_id) {
                    if let Some(lease) = &mut live.lease {
                        lease.attempt.poll_lease_ms = lease_ms;
                    }
                    turn.edit(attempt.job_id, live.owner, Edit::Extend(lease_ms));
                }
                // A longer lease is found by the timer of the shorter one, which then waits on.
                if !matches!(before, Some(Phase::Processing { lease_until: old, .. }) if old <= lease_until)
                {
                    self.timers.insert((lease_until, Timer::Lease(attempt)));
                }
                turn.reply(Reply::LeaseExtended(lease_until));
            }
            Err(_) => turn.refuse(
                ErrorReason::StaleAttempt,
                "this attempt is not live: it ended, or another miner has the job",
            ),
        }
    }
}
