//! Gives waiting jobs to free miners.

use std::sync::Arc;

use aitbc_common::ids::{JobId, MinerId};

use super::command::{AttemptId, AttemptInfo, Effect};
use super::core::{EngineCore, Lease, Miner};
use super::edits::{Edit, Terms};
use super::timers::Timer;
use super::turn::{Rows, Turn};
use crate::jobs::lifecycle::{Event, Millis, step};
use crate::jobs::matching::{ModelOffer, Offer};
use crate::jobs::queue::Supply;

/// A model counts as loaded for this long after its last job, in milliseconds: Ollama's default `keep_alive`.
pub(super) const WARM_MS: u64 = 300_000;

impl EngineCore {
    /// Leases jobs until no waiting job has a free miner that matches.
    pub(super) fn dispatch(&mut self, turn: &mut Turn) {
        while let Some((waiting, _, miner)) = self.queue.next_match() {
            let accept_by = self.now + self.config.accept_ms;
            if let Some(live) = self.jobs.get_mut(&waiting.job) {
                live.class = None;
            }
            self.lease(turn, waiting.job, miner, Event::Assign { miner, accept_by });
            self.refresh_load(miner);
        }
    }

    /// Begins an attempt: by `Event::Assign` through the miner's session, or by `Event::Take` for one that polls.
    pub(super) fn lease(
        &mut self,
        turn: &mut Turn,
        job_id: JobId,
        miner_id: MinerId,
        event: Event,
    ) -> Option<AttemptId> {
        let broken = self.config.broken;
        let (live, miner) = (self.jobs.get_mut(&job_id)?, self.miners.get_mut(&miner_id)?);
        let (next, _) = step(&live.job, event, self.now, broken).ok()?;
        self.counts.change(live.job.status(), next.status());
        live.job = next;
        let attempt = AttemptId {
            job_id,
            attempt: next.attempt,
        };
        let poll_lease_ms = match event {
            Event::Take { lease_until, .. } => Some(lease_until.saturating_sub(self.now)),
            _ => None,
        };
        let started_ms = poll_lease_ms.map_or(0, |_| self.now);
        live.lease = Some(Box::new(Lease {
            started_ms,
            progress_ms: self.now,
            ..Lease::default()
        }));
        miner.held.insert(attempt);
        miner.warm = Some((live.requirement.model.clone(), self.now));
        let model = live.requirement.model.clone();
        let agreed = live.requirement.rate;
        let terms = Box::new(terms(miner, &model, agreed, poll_lease_ms));
        turn.edit(
            job_id,
            live.owner,
            Edit::Lease {
                attempt: next.attempt,
                terms,
                at_ms: self.now,
            },
        );
        match (event, miner.session.as_ref().map(|session| session.id)) {
            (Event::Take { lease_until, .. }, _) => {
                self.timers.insert((lease_until, Timer::Lease(attempt)));
            }
            (Event::Assign { accept_by, .. }, Some(session)) => {
                self.timers.insert((accept_by, Timer::Accept(attempt)));
                let now = self.now;
                turn.effect_later(move |core, rows| {
                    let info = core.attempt_info(attempt, rows)?;
                    let time_left_ms = info.deadline_ms.saturating_sub(now);
                    Some(Effect::Assign {
                        session,
                        info: Box::new(info),
                        time_left_ms,
                    })
                });
            }
            _ => {}
        }
        Some(attempt)
    }

    /// What a delivery for an attempt is verified against.
    pub(super) fn attempt_info(&self, attempt: AttemptId, rows: &Rows) -> Option<AttemptInfo> {
        let row = rows.get(&attempt.job_id)?;
        let stored = row
            .attempts
            .iter()
            .find(|stored| stored.attempt == u32::from(attempt.attempt))?;
        let owner = aitbc_common::layouts::JobSpec::decode(&row.spec)
            .ok()?
            .owner;
        Some(AttemptInfo {
            attempt,
            spec: row.spec.clone(),
            assignment: stored.assignment.clone(),
            earlier: stored.earlier.clone(),
            model: row.model.clone(),
            input: row.input.clone(),
            deadline_ms: row.deadline_ms,
            owner,
            epoch: self.epoch,
        })
    }

    /// Tells the queue what a miner offers and has free now.
    pub(super) fn refresh(&mut self, id: MinerId) {
        match self.miners.get(&id) {
            Some(miner) => {
                self.listings.miner_changed(&miner.key);
                let mut supply = supply(miner, self.now);
                if self.config.broken.serve_strangers {
                    supply.offer.rental = None;
                }
                let price = miner.record.price_per_hour_micro_ait;
                let known = self.queue.price_up_to(price) == Some(price);
                self.queue.set_miner(id, supply);
                if !known {
                    self.regroup(price);
                }
            }
            None => self.queue.remove_miner(id),
        }
    }

    /// The same where only jobs came or went: what the miner offers is as before.
    pub(super) fn refresh_load(&mut self, id: MinerId) {
        match self.miners.get(&id) {
            Some(miner) => {
                let warm = warm_model(miner, self.now);
                self.queue
                    .set_load(id, miner.free_slots(), miner.held.len(), warm);
            }
            None => self.queue.remove_miner(id),
        }
    }
}

fn terms(miner: &Miner, model: &str, agreed: Option<u64>, poll_lease_ms: Option<Millis>) -> Terms {
    let offered = miner.models().iter().find(|offered| offered.name == model);
    Terms {
        miner_id: miner.id,
        miner_name: miner.record.name.clone(),
        miner_key: miner.key,
        payee: miner.payee(),
        rate: agreed.unwrap_or(miner.record.price_per_hour_micro_ait),
        prompt_speed: offered.map_or(0, |model| model.prompt_speed),
        output_speed: offered.map_or(0, |model| model.output_speed),
        poll_lease_ms,
    }
}

impl Miner {
    /// What it can run: by its session's inventory, else by its registration.
    pub(super) fn models(&self) -> &[aitbc_proto::v1::MinerModel] {
        match &self.session {
            Some(session) if session.slots.is_some() => &session.models,
            _ => &self.record.models,
        }
    }

    /// Slots that are free for polling.
    pub(super) fn free_poll_slots(&self) -> usize {
        (self.record.slots as usize).saturating_sub(self.held.len())
    }

    /// Slots that are free for its session.
    pub(super) fn free_slots(&self) -> usize {
        let Some(session) = &self.session else {
            return 0;
        };
        let Some(slots) = session
            .slots
            .filter(|_| !session.suspended && !session.draining && !self.record.paused)
        else {
            return 0;
        };
        (slots.min(session.heartbeat_slots) as usize).saturating_sub(self.held.len())
    }

    /// What it offers. `live` as given: it is in session, or polls right now.
    pub(super) fn offer(&self, live: bool, any_model: bool) -> Offer {
        let models = self.models().iter().map(|model| {
            let offer = ModelOffer {
                digest: model.digest.as_ref().try_into().unwrap_or_default(),
                context_tokens: model.context_tokens,
                prompt_speed: model.prompt_speed,
                output_speed: model.output_speed,
                embeddings: model.embeddings,
            };
            (model.name.clone(), offer)
        });
        Offer {
            models: models.collect(),
            any_model,
            vram_gib: self
                .record
                .gpus
                .iter()
                .map(|gpu| gpu.vram_gib)
                .max()
                .unwrap_or(0),
            price: self.record.price_per_hour_micro_ait,
            live,
            reputation_ppm: self.reputation_ppm,
            rental: self.rental,
            paused: self.record.paused
                || self
                    .session
                    .as_ref()
                    .is_some_and(|session| session.draining),
            paid_only: self.record.paid_only,
            payee: self.payee(),
            tools: self
                .session
                .as_ref()
                .map(|session| session.tools.clone())
                .unwrap_or_default(),
        }
    }
}

fn supply(miner: &Miner, now: Millis) -> Supply {
    let live = miner.session.is_some();
    Supply {
        offer: miner.offer(live, miner.record.models.is_empty() && !live),
        free_slots: miner.free_slots(),
        load: miner.held.len(),
        warm_model: warm_model(miner, now).map(str::to_owned),
    }
}

fn warm_model(miner: &Miner, now: Millis) -> Option<&str> {
    let (model, _) = miner.warm.as_ref().filter(|(_, at)| at + WARM_MS >= now)?;
    Some(model)
}

/// A requirement with one more miner excluded.
pub(super) fn excluding(
    requirement: &Arc<crate::jobs::matching::Requirement>,
    miner: MinerId,
) -> crate::jobs::matching::Requirement {
    let mut next = (**requirement).clone();
    if let Err(at) = next.excluded.binary_search(&miner) {
        next.excluded.insert(at, miner);
    }
    next
}
