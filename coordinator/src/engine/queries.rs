//! What callers ask about jobs.

use aitbc_common::hash::Hash;
use aitbc_common::identity::PublicKey;
use aitbc_common::ids::{JobId, MinerId};
use aitbc_common::layouts::{JobSpec, SignedStatement};
use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1::{ErrorReason, JobStatus};

use super::command::{AttemptId, ExplainSubject, JobSelector, JobView, Reply};
use super::core::EngineCore;
use super::submit::requirement_of_row;
use super::turn::Turn;
use crate::jobs::explain::{InputSize, explain};
use crate::jobs::matching::Requirement;
use crate::store::Reads;
use crate::store::rows::JobRow;
use crate::store::{Family, StoreError, keys};

impl EngineCore {
    /// The job a caller means; `None` where there is none. Whether it is the caller's shows only with its row.
    pub(super) fn select(
        &self,
        turn: &Turn,
        owner: PublicKey,
        job: JobSelector,
        reads: &dyn Reads,
    ) -> Result<Option<JobId>, StoreError> {
        if let JobSelector::Id(id) = job {
            return Ok(Some(id));
        }
        let live = self
            .owners
            .get(&owner)
            .and_then(|jobs| jobs.last().copied());
        let prefix = keys::archived_jobs_of(&owner);
        let page = reads.scan(Family::Archive, &prefix..&keys::prefix_end(&prefix), 1)?;
        let archived = page
            .rows
            .first()
            .and_then(|(key, _)| keys::parse_job(key))
            .map(|(_, id)| id);
        Ok(live.max(turn.newest_touched(owner)).max(archived))
    }

    pub(super) fn get_job(
        &mut self,
        turn: &mut Turn,
        owner: PublicKey,
        job: JobSelector,
        reads: &dyn Reads,
    ) -> Result<(), StoreError> {
        let Some(id) = self.select(turn, owner, job, reads)? else {
            turn.reply(not_found(job));
            return Ok(());
        };
        turn.reply_later([(id, owner)], move |core, rows| {
            match rows.owned(&id, &owner) {
                Some(row) => Reply::Job(Box::new(core.view(row.clone()))),
                None => not_found(job),
            }
        });
        Ok(())
    }

    /// A row with what only memory knows of it.
    pub(super) fn view(&self, row: JobRow) -> JobView {
        let mut view = JobView {
            status: row.status(),
            queue_position: None,
            estimated_start_ms: None,
            missing: None,
            started_ms: 0,
            row,
        };
        let counts = view.row.leased || view.row.finished_ms > 0;
        if let Some(last) = view.row.attempts.last().filter(|_| counts) {
            view.started_ms = last.started_ms;
        }
        let Some(live) = self
            .jobs
            .get(&view.row.id())
            .filter(|_| view.row.finished_ms == 0)
        else {
            return view;
        };
        view.status = live.job.status();
        view.missing = self.missing_funds(live);
        if let Some(lease) = &live.lease {
            view.started_ms = view.started_ms.max(lease.started_ms);
        }
        if let Some(class) = live.class {
            let position = self
                .queue
                .position(class, live.owner, live.priority, live.job.id);
            view.estimated_start_ms =
                position.and_then(|position| self.queue.estimate_ms(class, position));
            view.queue_position = position.and_then(|position| u32::try_from(position).ok());
        } else if view.status != JobStatus::Processing && live.lease.is_some() {
            view.estimated_start_ms = Some(0);
        }
        view
    }

    pub(super) fn explain(
        &mut self,
        turn: &mut Turn,
        owner: PublicKey,
        subject: ExplainSubject,
        reads: &dyn Reads,
    ) -> Result<(), StoreError> {
        match subject {
            ExplainSubject::Spec {
                job_type,
                model,
                model_digest,
                requirements,
                max_rate,
                input,
                paid,
                tools,
            } => {
                let agreed = match self.agreed(&owner, &requirements) {
                    Ok(agreed) => agreed,
                    Err(refused) => {
                        turn.reply(Reply::Refused(refused));
                        return Ok(());
                    }
                };
                let requirement = Requirement {
                    job_type,
                    model,
                    digest: model_digest,
                    min_vram_gib: requirements.min_vram_gib,
                    max_rate,
                    only_miner: agreed.miner.or(requirements.miner),
                    min_reputation_ppm: requirements.min_reputation_ppm,
                    rate: agreed.rate,
                    rental: requirements.rental,
                    excluded: Vec::new(),
                    not_paid_at: Vec::new(),
                    tools,
                    paid: paid || self.config.funding_required,
                };
                turn.reply(self.explained(requirement, input, None));
            }
            ExplainSubject::Job(job) => {
                let Some(id) = self.select(turn, owner, job, reads)? else {
                    turn.reply(not_found(job));
                    return Ok(());
                };
                turn.reply_later([(id, owner)], move |core, rows| {
                    let Some(row) = rows.owned(&id, &owner) else {
                        return not_found(job);
                    };
                    let live = core.jobs.get(&id);
                    let input = InputSize {
                        bytes: JobSpec::decode(&row.spec).map_or(0, |spec| spec.input_len),
                        output_tokens: None,
                    };
                    let requirement = live.map(|live| core.wanted(live));
                    let missing = live.and_then(|live| core.missing_funds(live));
                    match requirement.or_else(|| requirement_of_row(row)) {
                        Some(requirement) => core.explained(requirement, input, missing),
                        None => not_found(job),
                    }
                });
            }
        }
        Ok(())
    }

    fn explained(&self, requirement: Requirement, input: InputSize, missing: Option<u64>) -> Reply {
        let describe = |id: MinerId| {
            let record = self.miners.get(&id).map(|miner| &miner.record);
            let gpu = record.and_then(|record| record.gpus.first());
            (
                record.map_or_else(String::new, |record| record.name.clone()),
                gpu.map_or_else(String::new, |gpu| gpu.model.clone()),
            )
        };
        let fee_bps = self.config.fee_bps;
        let mut response = explain(&self.queue, &requirement, Some((input, fee_bps)), describe);
        response.warnings = self.warnings(&requirement);
        response.least_micro_ait = self.least_for(&requirement);
        response.missing_micro_ait = missing;
        if response.free_miners > 0 && missing.is_none() {
            response.estimated_start = Some(prost_types::Duration::default());
        }
        Reply::Explained(Box::new(response))
    }

    pub(super) fn get_attempt(
        &mut self,
        turn: &mut Turn,
        key: PublicKey,
        attempt: AttemptId,
        said: (Hash, Option<&SignedStatement>),
        reads: &dyn Reads,
    ) -> Result<(), StoreError> {
        let miner = self.miner_keys.get(&key).copied();
        let live = self.jobs.get(&attempt.job_id).filter(|live| {
            live.job.attempt == attempt.attempt
                && live.job.last_miner.is_some()
                && live.job.last_miner == miner
        });
        let Some(live) = live else {
            // A repeated delivery is recognised by its miner; everyone else learns nothing about the job.
            return self.not_live(turn, key, attempt, said, reads);
        };
        turn.reply_later([(attempt.job_id, live.owner)], move |core, rows| match core
            .attempt_info(attempt, rows)
        {
            Some(info) => Reply::AttemptInfo(Box::new(info)),
            None => Reply::Refused(ApiError::new(
                ErrorReason::StaleAttempt,
                "this attempt is not live",
            )),
        });
        Ok(())
    }
}

pub(super) fn no_job(job: JobSelector) -> String {
    match job {
        JobSelector::Id(id) => format!("no job {id}"),
        JobSelector::Last => "this identity has no job yet".into(),
    }
}

pub(super) fn not_found(job: JobSelector) -> Reply {
    Reply::Refused(ApiError::new(ErrorReason::JobNotFound, no_job(job)))
}
