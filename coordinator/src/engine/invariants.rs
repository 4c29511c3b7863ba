//! Whether the engine's memory fits together: looked at by tests and by the simulator, never in service.

use std::collections::{BTreeMap, BTreeSet};

use aitbc_common::ids::MinerId;

use super::command::AttemptId;
use super::core::{EngineCore, LiveJob};
use super::timers::Timer;
use crate::jobs::lifecycle::Phase;

impl EngineCore {
    /// Says what does not fit: a job waits although a free miner matches it, a live job that nothing would ever move, or
    /// a miner with other attempts than the jobs say, or with more than its slots. Looks at everything.
    pub fn check(&self) -> Result<(), String> {
        if let Some((job, miner)) = self.queue.idle_match() {
            return Err(format!("{job} waits although {miner} is free and matches"));
        }
        if self.requirements.jobs() != self.jobs.len() {
            return Err(format!(
                "{} jobs are counted by their requirements and {} live",
                self.requirements.jobs(),
                self.jobs.len()
            ));
        }
        self.check_counts()?;
        let mut held: BTreeMap<MinerId, BTreeSet<AttemptId>> = BTreeMap::new();
        let leases: BTreeSet<AttemptId> = self
            .timers
            .iter()
            .filter_map(|(_, timer)| match timer {
                Timer::Lease(attempt) => Some(*attempt),
                _ => None,
            })
            .collect();
        for live in self.jobs.values() {
            let id = live.job.id;
            self.check_job(live, &leases)
                .map_err(|problem| format!("{id} {problem}"))?;
            if let Some(miner) = live.job.phase.holder() {
                let attempt = AttemptId {
                    job_id: id,
                    attempt: live.job.attempt,
                };
                held.entry(miner).or_default().insert(attempt);
            }
        }
        for miner in self.miners.values() {
            let should = held.remove(&miner.id).unwrap_or_default();
            if miner.held != should {
                return Err(format!(
                    "{} holds {:?} and should hold {should:?}",
                    miner.id, miner.held
                ));
            }
            let session = miner.session.as_ref().and_then(|session| session.slots);
            let slots = session.unwrap_or(0).max(miner.record.slots) as usize;
            if should.len() > slots {
                return Err(format!(
                    "{} holds {} attempts in {slots} slots",
                    miner.id,
                    should.len()
                ));
            }
        }
        let waits = |job, until| self.timers.contains(&(until, Timer::Receipt(job)));
        if let Some((job, _)) = self
            .stopped
            .iter()
            .find(|(job, stopped)| self.jobs.contains_key(job) || !waits(**job, stopped.until))
        {
            return Err(format!("{job} was stopped, and nothing would settle it"));
        }
        match held.pop_first() {
            Some((miner, attempts)) => Err(format!(
                "{miner} is not registered and holds {}",
                attempts.len()
            )),
            None => Ok(()),
        }
    }

    fn check_job(&self, live: &LiveJob, leases: &BTreeSet<AttemptId>) -> Result<(), String> {
        let job = &live.job;
        let attempt = AttemptId {
            job_id: job.id,
            attempt: job.attempt,
        };
        let waits = live.class.is_some();
        let timer = |at, timer| self.timers.contains(&(at, timer));
        let moves = match job.phase {
            Phase::Queued { not_before } => waits || timer(not_before, Timer::Ready(job.id)),
            Phase::Pending => !waits && job.needs_funds && !job.enough,
            Phase::Leased { accept_by, .. } => timer(accept_by, Timer::Accept(attempt)),
            Phase::Processing { .. } => leases.contains(&attempt),
            _ => return Err("is final and still in memory".into()),
        };
        if !moves || !timer(job.deadline, Timer::Deadline(job.id)) {
            return Err(format!("is {:?} and nothing would move it", job.phase));
        }
        let locks = live.paid.iter().flat_map(|paid| &paid.locks);
        let paid = locks.filter(|lock| !lock.returned).count() > 0;
        if paid != job.funded {
            return Err("is funded without locks, or the other way round".into());
        }
        if job.enough != live.funding().is_enough() {
            return Err("has enough funds and does not know it, or the other way round".into());
        }
        if live.lease.is_some() == job.phase.holder().is_none() || waits && live.lease.is_some() {
            return Err("waits and runs at once, or neither".into());
        }
        Ok(())
    }
}
