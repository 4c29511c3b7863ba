//! Miners without a session: they take one job at a time, and say themselves how long they need.

use aitbc_common::identity::PublicKey;
use aitbc_proto::v1::{ErrorReason, JobStatus};

use super::command::{AttemptId, Reply};
use super::core::EngineCore;
use super::timers::Timer;
use super::turn::Turn;
use crate::jobs::lifecycle::{Event, Phase};

impl EngineCore {
    pub(super) fn poll(&mut self, turn: &mut Turn, key: PublicKey, lease_ms: u64) {
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
            let message = format!(
                "all {} slots of this miner are taken ({})",
                miner.record.slots,
                held.join(", ")
            );
            return turn.refuse(ErrorReason::NoFreeSlot, message);
        }
        let offer = miner.offer(true, miner.record.models.is_empty());
        let Some((waiting, _)) = self.queue.take_for(id, &offer) else {
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
