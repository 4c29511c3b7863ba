//! Submissions: admission, idempotency, the queue.

use std::sync::Arc;
use std::time::Duration;

use aitbc_common::identity::PublicKey;
use aitbc_common::layouts::JobSpec;
use aitbc_proto::v1::{self, ErrorReason, JobStatus};
use bytes::Bytes;

use super::command::{Reply, Submission, Submitted};
use super::core::{EngineCore, LiveJob};
use super::payment;
use super::rentals::Agreed;
use super::requirements::PER_OWNER;
use super::timers::Timer;
use super::turn::Turn;
use crate::jobs::explain::nearest_model;
use crate::jobs::lifecycle::{Job, Phase};
use crate::jobs::matching::{Filter, Requirement, removed_by};
use crate::jobs::queue::Waiting;
use crate::store::rows::{JobRow, RequestRow, address, uuid};
use aitbc_common::ids::JobId;
use aitbc_common::money::MicroAit;
use aitbc_common::runtime::status::ApiError;

/// When a refused submission may be tried again.
const FULL_RETRY: Duration = Duration::from_secs(1);
/// When a submission may be tried again that was refused for a full disk.
const FULL_DISK_RETRY: Duration = Duration::from_secs(30);

fn full_disk() -> ApiError {
    let message =
        "the coordinator's disk is nearly full; no new jobs are taken until there is room";
    ApiError::new(ErrorReason::StorageFull, message).retry_after(FULL_DISK_RETRY)
}

impl EngineCore {
    pub(super) fn submit(&mut self, turn: &mut Turn, submission: Submission) {
        let request_key = submission.request_key();
        if let Some(used) = turn.used_request(&request_key) {
            let (same, job) = (
                used.body_hash == submission.body_hash[..],
                uuid(&used.job_id).unwrap_or_default(),
            );
            return if same {
                self.answer_again(turn, &submission, JobId(job))
            } else {
                refuse_reuse(turn, &submission.request_id)
            };
        }
        let agreed = match self.agreed(&submission.owner, &submission.requirements) {
            Ok(agreed) => agreed,
            Err(refused) => return turn.reply(Reply::Refused(refused)),
        };
        if let Some(rate) = agreed.rate.filter(|rate| *rate > submission.spec.max_rate) {
            let message = format!(
                "the listing asks {} AIT/hour and the job accepts at most {}",
                MicroAit(rate),
                MicroAit(submission.spec.max_rate)
            );
            return turn.refuse(ErrorReason::NoMatchingMiner, message);
        }
        // Work under a rental is paid for by the rental.
        let waits = submission.requirements.rental.is_none()
            && (submission.hold || submission.least_funding > 0 || self.config.funding_required);
        let requirement = self
            .queue
            .shared(requirement_of(&submission, &agreed, waits));
        let warnings = self.warnings(&requirement);
        if let Some(error) = self.over_bounds(&submission.owner, &requirement) {
            return turn.reply(Reply::Refused(error));
        }
        if let (true, Some(warning)) = (submission.require_miner, warnings.first()) {
            return turn.refuse(ErrorReason::NoMatchingMiner, warning.message.clone());
        }
        if !self.has_room {
            return turn.reply(Reply::Refused(full_disk()));
        }
        // A job that waits for funds takes its turn once it has them.
        let tag = if waits {
            0
        } else {
            self.queue.new_tag(&requirement, &submission.owner)
        };
        let mut row = new_row(&submission, &agreed, turn.now, tag);
        if waits {
            row.status = JobStatus::Pending.into();
            row.needs_funds = true;
        }
        let request = RequestRow {
            body_hash: Bytes::copy_from_slice(&submission.body_hash),
            job_id: row.job_id.clone(),
            created_ms: turn.now,
            attempt: 0,
        };
        turn.use_request(request_key, request);
        self.insert_job(&row, submission.owner, requirement);
        let (job_id, owner) = (submission.job_id, submission.owner);
        turn.add(owner, row);
        self.enqueue(job_id);
        let status = if waits {
            JobStatus::Pending
        } else {
            JobStatus::Queued
        };
        self.changed(turn, job_id, owner, status);
        turn.reply_later([(job_id, owner)], move |core, rows| {
            core.submitted(job_id, rows.get(&job_id), warnings)
        });
    }

    /// Why this owner may not have one more live job with these requirements.
    fn over_bounds(&self, owner: &PublicKey, requirement: &Requirement) -> Option<ApiError> {
        let live = self.owners.get(owner).map_or(0, |jobs| jobs.len());
        let message = if live >= self.config.jobs_per_identity {
            format!(
                "{live} jobs of this identity are unfinished, the bound; wait for some to finish"
            )
        } else if self.requirements.has_room(owner, requirement) {
            return None;
        } else {
            format!(
                "{PER_OWNER} different requirements of unfinished jobs of this identity, the bound; use the same model, \
                 --max-price and other requirements for more of them, or wait for some to finish"
            )
        };
        Some(ApiError::new(ErrorReason::RateLimited, message).retry_after(FULL_RETRY))
    }

    /// Makes the live job of a row: new, or read at recovery.
    pub(super) fn insert_job(
        &mut self,
        row: &JobRow,
        owner: PublicKey,
        requirement: Arc<Requirement>,
    ) {
        let job = Job {
            id: row.id(),
            phase: if row.status() == JobStatus::Pending {
                Phase::Pending
            } else {
                Phase::Queued {
                    not_before: row.not_before_ms,
                }
            },
            attempt: u16::try_from(row.attempt).unwrap_or(u16::MAX),
            last_miner: row.attempts.last().map(|attempt| attempt.miner()),
            retries_spent: row.retries_spent,
            max_retries: row.max_retries,
            deadline: row.deadline_ms,
            needs_funds: row.needs_funds,
            funded: row.open_locks().next().is_some(),
            enough: payment::funding(row.least_funding, &row.locks).is_enough(),
        };
        let (paid, requirement) = self.paid_requirement(row, requirement);
        let live = LiveJob {
            job,
            owner,
            priority: row.priority,
            tag: row.tag,
            requirement,
            class: None,
            lease: None,
            late_until: self.now + self.config.progress_ms,
            job_ref: JobSpec::decode(&row.spec)
                .map_or_else(|_| Default::default(), |spec| spec.job_ref()),
            paid,
            least_funding: row.least_funding,
        };
        self.requirements.add(owner, &live.requirement);
        self.counts.enter(job.status());
        self.jobs.insert(job.id, live);
        self.owners.entry(owner).or_default().insert(job.id);
        self.timers.insert((job.deadline, Timer::Deadline(job.id)));
    }

    /// Puts a queued job where miners find it, or waits for the end of its backoff.
    pub(super) fn enqueue(&mut self, job_id: JobId) {
        self.requeue_by_funds(job_id);
        let Some(live) = self.jobs.get_mut(&job_id) else {
            return;
        };
        let Phase::Queued { not_before } = live.job.phase else {
            return;
        };
        if live.class.is_some() {
            return;
        }
        if not_before > self.now {
            self.timers.insert((not_before, Timer::Ready(job_id)));
            return;
        }
        let waiting = Waiting {
            job: job_id,
            owner: live.owner,
            priority: live.priority,
            tag: live.tag,
        };
        let excluded = !live.requirement.excluded.is_empty();
        live.class = Some(self.queue.push(&live.requirement, waiting));
        if excluded {
            self.timers
                .insert((self.now + self.config.exclusion_ms, Timer::Readmit(job_id)));
        }
    }

    fn answer_again(&mut self, turn: &mut Turn, submission: &Submission, job_id: JobId) {
        let needed = [(job_id, submission.owner)];
        turn.reply_later(needed, move |core, rows| {
            core.submitted(job_id, rows.get(&job_id), Vec::new())
        });
    }

    fn submitted(&self, job_id: JobId, row: Option<&JobRow>, warnings: Vec<v1::Warning>) -> Reply {
        let Some(row) = row else {
            return Reply::Refused(ApiError::new(
                ErrorReason::JobNotFound,
                format!("{job_id} is not kept any more"),
            ));
        };
        let live = self.jobs.get(&job_id);
        let serving = |live: &LiveJob| {
            self.queue
                .miners()
                .filter(|(id, s)| removed_by(&live.requirement, *id, &s.offer).is_none())
                .count()
        };
        let matching = match live.map(|live| (live, live.class)) {
            Some((_, Some(class))) => self.queue.serving(class),
            Some((live, None)) => serving(live),
            None => 0,
        };
        // Only asked where nobody matches: it looks at every miner.
        let away = live.filter(|_| matching == 0);
        let away = away.map_or(0, |live| self.away(&live.requirement));
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Reply::Submitted(Box::new(Submitted {
            view: self.view(row.clone()),
            matching_miners: number(matching),
            known_miners: number(self.miners.len()),
            away_miners: number(away),
            warnings,
        }))
    }

    /// Miners that would match if they were there.
    fn away(&self, requirement: &Requirement) -> usize {
        let miners = self.queue.asked(requirement);
        let removed = miners.map(|(id, supply)| removed_by(requirement, id, &supply.offer));
        removed.filter(|by| *by == Some(Filter::Live)).count()
    }

    /// What to know about a job that no known miner declared to run.
    pub(super) fn warnings(&self, requirement: &Requirement) -> Vec<v1::Warning> {
        if self.queue.anyone_could_run(requirement) {
            return Vec::new();
        }
        let model = &requirement.model;
        let served = self
            .queue
            .miners()
            .any(|(_, supply)| supply.offer.models.contains_key(model));
        let warning = |reason: ErrorReason, message: String| {
            vec![v1::Warning {
                reason: reason.into(),
                message,
            }]
        };
        if served {
            let explained = crate::jobs::explain::explain(&self.queue, requirement, None, |_| {
                Default::default()
            });
            let passing = Filter::ALL.into_iter().filter(|filter| filter.passes());
            let passing: Vec<_> = passing.map(Filter::name).collect();
            let details: Vec<_> = explained
                .filters
                .into_iter()
                .filter(|filter| !passing.contains(&filter.filter.as_str()))
                .map(|filter| filter.detail)
                .collect();
            return warning(
                ErrorReason::NoMatchingMiner,
                format!("no known miner matches: {}", details.join("; ")),
            );
        }
        let undeclared = self.queue.miners().filter(|(_, s)| s.offer.any_model);
        let message = match (self.miners.len(), nearest_model(&self.queue, model)) {
            (0, _) => format!("no miner is registered yet, so none serves {model}"),
            (_, Some(nearest)) => {
                format!("no known miner serves {model}; the nearest model is {nearest}")
            }
            (_, None) if undeclared.count() > 0 => format!(
                "no known miner declares {model}; one that declared no models may take the job by polling"
            ),
            (_, None) => format!("no known miner serves {model}"),
        };
        warning(ErrorReason::UnknownModel, message)
    }
}

pub(super) fn refuse_reuse(turn: &mut Turn, request_id: &str) {
    let message =
        format!("request id {request_id:?} was used for another request in the last 24 hours");
    turn.refuse(ErrorReason::RequestIdReused, message);
}

fn requirement_of(submission: &Submission, agreed: &Agreed, waits: bool) -> Requirement {
    Requirement {
        job_type: submission.spec.job_type,
        model: submission.model.clone(),
        digest: submission.spec.model_digest,
        min_vram_gib: submission.requirements.min_vram_gib,
        max_rate: submission.spec.max_rate,
        only_miner: agreed.miner.or(submission.requirements.miner),
        min_reputation_ppm: submission.requirements.min_reputation_ppm,
        rate: agreed.rate,
        rental: submission.requirements.rental,
        excluded: Vec::new(),
        not_paid_at: submission.not_paid_at.clone(),
        tools: tools_of(submission),
        paid: waits || submission.requirements.rental.is_some(),
    }
}

/// The requirements of a stored job, but for what its locks add.
pub(super) fn requirement_of_row(row: &JobRow) -> Option<Requirement> {
    let spec = JobSpec::decode(&row.spec).ok()?;
    let mut excluded: Vec<_> = row
        .excluded
        .iter()
        .filter_map(uuid)
        .map(aitbc_common::ids::MinerId)
        .collect();
    excluded.sort_unstable();
    Some(Requirement {
        job_type: spec.job_type,
        model: row.model.clone(),
        digest: spec.model_digest,
        min_vram_gib: row.min_vram_gib,
        max_rate: spec.max_rate,
        only_miner: uuid(&row.agreed_miner)
            .or_else(|| uuid(&row.only_miner))
            .map(aitbc_common::ids::MinerId),
        min_reputation_ppm: row.min_reputation_ppm,
        rate: row.agreed_price(),
        rental: uuid(&row.rental).map(aitbc_common::ids::RentalId),
        excluded,
        not_paid_at: row.not_paid_at.iter().filter_map(address).collect(),
        tools: row.tools.clone(),
        paid: row.status() == JobStatus::Pending || !row.rental.is_empty(),
    })
}

fn tools_of(submission: &Submission) -> Vec<String> {
    let agent = submission.agent.as_ref();
    agent.map(|agent| agent.tools.clone()).unwrap_or_default()
}

fn new_row(submission: &Submission, agreed: &Agreed, now: u64, tag: u64) -> JobRow {
    let deadline_ms = now.saturating_add(submission.spec.deadline_ms);
    let id_bytes = |bytes: &[u8; 16]| Bytes::copy_from_slice(bytes);
    JobRow {
        job_id: id_bytes(&submission.job_id.0),
        spec: submission.spec.encode().into(),
        model: submission.model.clone(),
        request_id: submission.request_id.clone(),
        priority: submission.priority,
        max_retries: submission.max_retries,
        created_ms: now,
        deadline_ms: agreed
            .until
            .map_or(deadline_ms, |until| until.min(deadline_ms)),
        tag,
        retry_of: submission
            .retry_of
            .map(|job| id_bytes(&job.0))
            .unwrap_or_default(),
        min_vram_gib: submission.requirements.min_vram_gib,
        only_miner: submission
            .requirements
            .miner
            .map(|miner| id_bytes(&miner.0))
            .unwrap_or_default(),
        min_reputation_ppm: submission.requirements.min_reputation_ppm,
        offer: submission
            .requirements
            .offer
            .map(|offer| id_bytes(&offer.0))
            .unwrap_or_default(),
        rental: submission
            .requirements
            .rental
            .map(|rental| id_bytes(&rental.0))
            .unwrap_or_default(),
        agreed_miner: agreed
            .miner
            .map(|miner| id_bytes(&miner.0))
            .unwrap_or_default(),
        agreed_rate: agreed.rate.unwrap_or(0),
        status: JobStatus::Queued.into(),
        least_funding: submission.least_funding,
        not_paid_at: submission
            .not_paid_at
            .iter()
            .map(|address| Bytes::copy_from_slice(&address.0))
            .collect(),
        agent: submission
            .agent
            .as_ref()
            .map(|agent| id_bytes(&agent.id.0))
            .unwrap_or_default(),
        agent_version: submission.agent.as_ref().map_or(0, |agent| agent.version),
        tools: tools_of(submission),
        input: submission.input.clone(),
        ..JobRow::default()
    }
}
