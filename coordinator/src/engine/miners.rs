//! Registrations, and what others see of miners.

use aitbc_common::identity::PublicKey;
use aitbc_common::ids::MinerId;
use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1::{self, ErrorReason, MinerStatus};
use bytes::Bytes;
use prost::Message;
use prost_types::Timestamp;

use super::command::{MinerChange, Reply};
use super::core::{EngineCore, Miner};
use super::turn::Turn;
use crate::jobs::lifecycle::Millis;
use crate::market::offers::UNKNOWN_REPUTATION;

/// Bytes of miners after which a page ends, so that its message is never too large.
const PAGE_BYTES: usize = 2 << 20;

impl EngineCore {
    pub(super) fn register(
        &mut self,
        turn: &mut Turn,
        key: PublicKey,
        new_id: MinerId,
        change: MinerChange,
    ) {
        if let Some(refused) = self.refuse_payee(&key, &change) {
            return turn.reply(Reply::Refused(refused));
        }
        let known = self.miner_keys.get(&key).copied();
        let id = known.unwrap_or(new_id);
        if known.is_none() {
            self.insert_miner(key, new_miner(key, id, self.now));
        }
        self.record(turn, id, change, known.is_none());
    }

    pub(super) fn update(&mut self, turn: &mut Turn, key: PublicKey, change: MinerChange) {
        if let Some(refused) = self.refuse_payee(&key, &change) {
            return turn.reply(Reply::Refused(refused));
        }
        match self.miner_keys.get(&key).copied() {
            Some(id) => self.record(turn, id, change, false),
            None => turn.refuse(
                ErrorReason::MinerNotRegistered,
                "this identity has no registered miner; register it first",
            ),
        }
    }

    pub(super) fn insert_miner(&mut self, key: PublicKey, record: v1::Miner) {
        let Ok(id) = record.miner_id.parse() else {
            return;
        };
        let last_seen_ms = record
            .registered_at
            .map_or(0, |at| u64::try_from(at.seconds).unwrap_or(0) * 1_000);
        let reputation = self.reputations.get(&key).copied();
        let miner = Miner {
            id,
            key,
            record,
            session: None,
            held: Default::default(),
            warm: None,
            last_seen_ms,
            reputation_ppm: reputation.unwrap_or(UNKNOWN_REPUTATION),
            rental: None,
        };
        self.miner_keys.insert(key, id);
        self.miners.insert(id, miner);
        self.refresh(id);
    }

    fn record(&mut self, turn: &mut Turn, id: MinerId, change: MinerChange, created: bool) {
        let Some(miner) = self.miners.get_mut(&id) else {
            return;
        };
        miner.last_seen_ms = self.now;
        let previous = miner.record.price_per_hour_micro_ait;
        let unchanged = miner.record.clone();
        change.apply(&mut miner.record);
        let previous =
            (!created && previous != miner.record.price_per_hour_micro_ait).then_some(previous);
        if created || unchanged != miner.record {
            turn.saved_miners.insert(id);
        }
        self.refresh(id);
        turn.reply_later([], move |core, _| match core.miners.get(&id) {
            Some(miner) => Reply::Registered(Box::new(miner.public()), created, previous),
            None => unknown_miner(),
        });
    }

    pub(super) fn deregister(&mut self, turn: &mut Turn, key: PublicKey, miner_id: MinerId) {
        let own = self.miner_keys.get(&key).copied();
        match own.and_then(|id| self.miners.get(&id)) {
            // Idempotent: what is gone stays gone.
            None => return turn.reply(Reply::Done),
            Some(miner) if miner.id != miner_id => {
                return turn.refuse(
                    ErrorReason::MinerNotFound,
                    format!("{miner_id} is not this identity's miner"),
                );
            }
            Some(miner) if miner.rental.is_some() => {
                let message = "somebody rents this miner; wait for the end of the rental";
                return turn.refuse(ErrorReason::MinerBusy, message);
            }
            Some(miner) if !miner.held.is_empty() => {
                let message = match miner.held.len() {
                    1 => "1 job runs on this miner; let it finish, or fail it first".to_owned(),
                    jobs => {
                        format!("{jobs} jobs run on this miner; let it finish or fail them first")
                    }
                };
                return turn.refuse(ErrorReason::MinerBusy, message);
            }
            Some(miner) => {
                if let Some(session) = &miner.session {
                    let reason = ApiError::new(
                        ErrorReason::MinerNotRegistered,
                        "the miner was deregistered",
                    );
                    turn.effect(super::command::Effect::EndSession {
                        session: session.id,
                        reason,
                    });
                    self.sessions.remove(&session.id);
                }
            }
        }
        self.miners.remove(&miner_id);
        self.miner_keys.remove(&key);
        self.unsaved_miners.remove(&miner_id);
        turn.saved_miners.remove(&miner_id);
        self.queue.remove_miner(miner_id);
        self.listings.miner_changed(&key);
        turn.removed_miners.push(key);
        turn.reply(Reply::Done);
    }

    pub(super) fn rate(&mut self, turn: &mut Turn, reputations: Vec<(PublicKey, u32)>) {
        for (key, ppm) in reputations {
            if self.reputations.insert(key, ppm) == Some(ppm) {
                continue;
            }
            let id = self.miner_keys.get(&key).copied();
            if let Some(miner) = id.and_then(|id| self.miners.get_mut(&id)) {
                miner.reputation_ppm = ppm;
                let id = miner.id;
                self.refresh(id);
            }
        }
        turn.reply(Reply::Done);
    }

    /// Reputations are not stored: they come over from the memory before.
    pub fn keep_reputations(&mut self, before: &mut Self) {
        self.reputations = std::mem::take(&mut before.reputations);
        let ids: Vec<MinerId> = self.miners.keys().copied().collect();
        for id in ids {
            if let Some(miner) = self.miners.get_mut(&id)
                && let Some(ppm) = self.reputations.get(&miner.key)
            {
                miner.reputation_ppm = *ppm;
            }
            self.refresh(id);
        }
    }

    pub(super) fn list_miners(
        &self,
        after: Option<MinerId>,
        limit: usize,
        model: Option<&str>,
    ) -> Reply {
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let offers = |miner: &&Miner| {
            model.is_none_or(|model| miner.models().iter().any(|offered| offered.name == model))
        };
        let mut miners = self
            .miners
            .range((from, std::ops::Bound::Unbounded))
            .map(|(_, miner)| miner)
            .filter(offers);
        let mut page = Vec::new();
        let mut bytes = 0;
        while page.len() < limit && bytes < PAGE_BYTES {
            let Some(miner) = miners.next() else { break };
            let miner = miner.public();
            bytes += miner.encoded_len();
            page.push(miner);
        }
        let more = miners.next().is_some();
        Reply::Miners(page, more)
    }

    pub(super) fn get_miner(&self, id: Option<MinerId>, caller: PublicKey) -> Reply {
        let id = id.or_else(|| self.miner_keys.get(&caller).copied());
        match (id, id.and_then(|id| self.miners.get(&id))) {
            (_, Some(miner)) => Reply::Miner(Box::new(miner.public())),
            (None, _) => {
                let message = "this identity has no registered miner; register it first";
                Reply::Refused(ApiError::new(ErrorReason::MinerNotRegistered, message))
            }
            (Some(id), None) => Reply::Refused(ApiError::new(
                ErrorReason::MinerNotFound,
                format!("no miner {id}"),
            )),
        }
    }
}

impl Miner {
    /// As others see it.
    fn public(&self) -> v1::Miner {
        let mut record = self.record.clone();
        record.models = self.models().to_vec();
        record.running_jobs = u32::try_from(self.held.len()).unwrap_or(u32::MAX);
        record.last_seen_at = Some(timestamp(self.last_seen_ms));
        let status = match &self.session {
            None if self.record.paused => MinerStatus::Paused,
            None => MinerStatus::Away,
            Some(session) if session.draining => MinerStatus::Draining,
            Some(_) if self.record.paused => MinerStatus::Paused,
            Some(_) if self.free_slots() > 0 => MinerStatus::Ready,
            Some(_) => MinerStatus::Busy,
        };
        record.status = status.into();
        record
    }
}

impl MinerChange {
    fn apply(self, miner: &mut v1::Miner) {
        fn set<T>(field: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *field = value;
            }
        }
        set(&mut miner.name, self.name);
        set(&mut miner.gpus, self.gpus);
        set(&mut miner.models, self.models);
        set(&mut miner.slots, self.slots);
        set(&mut miner.price_per_hour_micro_ait, self.price);
        set(
            &mut miner.payout_address,
            self.payout.map(|address| Bytes::copy_from_slice(&address)),
        );
        set(&mut miner.paused, self.paused);
        set(&mut miner.paid_only, self.paid_only);
        set(&mut miner.engine, self.engine);
        set(&mut miner.processor, self.processor);
        set(&mut miner.memory_gib, self.memory_gib);
    }
}

fn new_miner(key: PublicKey, id: MinerId, now: Millis) -> v1::Miner {
    v1::Miner {
        miner_id: id.to_string(),
        public_key: Bytes::copy_from_slice(&key.0),
        slots: 1,
        registered_at: Some(timestamp(now)),
        ..Default::default()
    }
}

fn unknown_miner() -> Reply {
    Reply::Refused(ApiError::new(ErrorReason::MinerNotFound, "no such miner"))
}

pub(super) fn timestamp(ms: Millis) -> Timestamp {
    let nanos = i32::try_from(ms % 1_000 * 1_000_000).unwrap_or(0);
    Timestamp {
        seconds: i64::try_from(ms / 1_000).unwrap_or(i64::MAX),
        nanos,
    }
}
