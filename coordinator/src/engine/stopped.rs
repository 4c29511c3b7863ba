//! Jobs that were stopped while a paid attempt ran. Its miner has 30 s to send a receipt for what it did until then; after
//! that its newest checkpoint counts, and where there is none the locks return.

use aitbc_common::hash::Hash;
use aitbc_common::identity::PublicKey;
use aitbc_common::ids::{JobId, MinerId};
use aitbc_common::layouts::{JobSpec, NO_MAX_RATE, Outcome, VoidReason};
use aitbc_proto::v1::{self, ErrorReason, FailureReason, JobStatus, PaymentStatus};
use bytes::Bytes;

use super::command::{AttemptId, Completion, Effect, JobChange, Reply};
use super::core::{EngineCore, Stopped};
use super::edits::Edit;
use super::funding::SETTLING_MS;
use super::payment::{self, Evidence, stop_reasons};
use super::timers::{Timer, failure};
use super::turn::Turn;
use crate::jobs::lifecycle::{Event, Millis, Phase};
use crate::store::rows::{JobRow, StoppedRow};
use aitbc_common::ledger::transactions::MIN_LOCK;
use aitbc_common::limits::MAX_LOCKS;
use aitbc_common::runtime::status::ApiError;

/// A miner may see a deadline this much before the engine does, in milliseconds.
const EARLY_MS: u64 = 1_000;

impl EngineCore {
    /// A job is about to be stopped: where a paid attempt runs, its receipt is waited for.
    pub(super) fn await_receipt(&mut self, job_id: JobId) {
        let Some(live) = self.jobs.get(&job_id).filter(|live| live.job.funded) else {
            return;
        };
        let (Phase::Processing { miner, .. }, Some(lease)) = (live.job.phase, &live.lease) else {
            return;
        };
        if lease.attempt.polled {
            return;
        }
        let began = if lease.started_ms > 0 {
            lease.started_ms
        } else {
            lease.attempt.assigned_ms
        };
        let (checkpoint, signature) = lease.checkpoint.as_deref().map_or_else(
            || (Bytes::new(), Bytes::new()),
            |(checkpoint, signature)| {
                let signature = Bytes::copy_from_slice(signature);
                (checkpoint.encode().into(), signature)
            },
        );
        let row = StoppedRow {
            attempt: live.job.attempt.into(),
            miner_id: Bytes::copy_from_slice(&miner.0),
            observed_ms: self.now.saturating_sub(began),
            deadline_ms: live.job.deadline,
            checkpoint,
            checkpoint_signature: signature,
            ..StoppedRow::default()
        };
        let (owner, until) = (live.owner, self.now + self.config.receipt_ms);
        self.stopped.insert(job_id, Stopped { owner, row, until });
        self.timers.insert((until, Timer::Receipt(job_id)));
    }

    /// A job is final: what becomes of its locks, unless a receipt pays for its completion.
    pub(super) fn end_payment(
        &mut self,
        turn: &mut Turn,
        job_id: JobId,
        owner: PublicKey,
        status: JobStatus,
    ) {
        if let Some(stopped) = self.stopped.get_mut(&job_id) {
            let (outcome, _) = stop_reasons(status);
            stopped.row.outcome = outcome as u32;
            stopped.row.status = status.into();
            let row = Some(stopped.row.clone());
            turn.outbox.stopped.push((owner, job_id, row));
            return turn.edit(job_id, owner, Edit::Owe);
        }
        let funded = self.jobs.get(&job_id).is_some_and(|live| live.job.funded);
        if !funded || status == JobStatus::Completed {
            return;
        }
        let reason = match status {
            JobStatus::Failed => VoidReason::Failed,
            status => stop_reasons(status).1,
        };
        turn.edit(job_id, owner, Edit::GiveBack(reason));
    }

    /// A delivery for a stopped job is paid; any other comes back.
    pub(super) fn complete_stopped(
        &mut self,
        turn: &mut Turn,
        completion: Completion,
        miner: MinerId,
        receipt_hash: Hash,
    ) -> Option<Completion> {
        let (attempt, outcome) = (completion.attempt, completion.receipt.outcome);
        let live = self.jobs.get(&attempt.job_id);
        if outcome == Outcome::Deadline
            && live.is_some_and(|live| live.job.deadline <= self.now + EARLY_MS)
            && self.holds(attempt, miner)
        {
            self.stop_job(turn, attempt.job_id, Event::Expire);
        }
        if let Some(stopped) = self.stopped_of(attempt, miner) {
            let status = stopped.row.status();
            let receipt = Box::new(completion.receipt);
            let evidence = Evidence::Receipt(receipt, completion.signature);
            self.decide(turn, attempt.job_id, evidence);
            self.done.insert(attempt, (miner, (status, receipt_hash)));
            turn.reply(Reply::Completed(status));
            return None;
        }
        if matches!(outcome, Outcome::Complete | Outcome::Budget) {
            return Some(completion);
        }
        let message = format!("the receipt's outcome is {outcome:?}, and the job was not stopped");
        let reason = failure(FailureReason::InvalidResult, &message);
        match self.end_attempt(turn, attempt, miner, reason) {
            Some(_) => turn.refuse(ErrorReason::ReceiptInvalid, message),
            None => turn.refuse(
                ErrorReason::StaleAttempt,
                "this attempt is not live: it ended, or another miner has the job",
            ),
        }
        None
    }

    /// No receipt came in time.
    pub(super) fn receipt_due(&mut self, turn: &mut Turn, job_id: JobId) {
        self.decide(turn, job_id, Evidence::Checkpoint);
    }

    /// A stopped job's miner contradicted itself: its checkpoint is worth nothing.
    pub(super) fn pay_nothing(&mut self, turn: &mut Turn, job_id: JobId) {
        if let Some(stopped) = self.stopped.get_mut(&job_id) {
            stopped.row.checkpoint.clear();
            stopped.row.checkpoint_signature.clear();
        }
        self.decide(turn, job_id, Evidence::Checkpoint);
    }

    /// Up to when locks may return by their own expiry: those of jobs that are not decided yet end later. After a long
    /// downtime these are jobs whose deadline is not noticed, or whose last receipt is waited for.
    pub(super) fn expirable_until(&self, until_ms: Millis) -> Millis {
        // An adopted lock outlives its job's deadline by this.
        let decided = |deadline: Millis| deadline.saturating_add(SETTLING_MS).saturating_sub(1);
        let overdue = until_ms.saturating_sub(SETTLING_MS);
        let live = self.timers.iter().take_while(|(at, _)| *at <= overdue);
        let live =
            live.filter_map(|(at, timer)| matches!(timer, Timer::Deadline(_)).then_some(*at));
        let stopped = self.stopped.values().map(|stopped| stopped.row.deadline_ms);
        let oldest = live.chain(stopped).min();
        oldest.map_or(until_ms, |oldest| until_ms.min(decided(oldest)))
    }

    fn decide(&mut self, turn: &mut Turn, job_id: JobId, evidence: Evidence) {
        let Some(stopped) = self.stopped.remove(&job_id) else {
            return;
        };
        self.timers.remove(&(stopped.until, Timer::Receipt(job_id)));
        let owner = stopped.owner;
        turn.outbox.stopped.push((owner, job_id, None));
        let edit = Edit::Stopped(Box::new(stopped.row), evidence);
        turn.edit_any(job_id, owner, edit);
        self.paid_changed(turn, job_id, owner);
    }

    /// Whether this attempt's job was stopped and its receipt is waited for.
    pub(super) fn is_stopped(&self, attempt: AttemptId) -> bool {
        let stopped = self.stopped.get(&attempt.job_id);
        stopped.is_some_and(|stopped| stopped.row.attempt == u32::from(attempt.attempt))
    }

    /// The same, where it is this miner's.
    pub(super) fn stopped_of(&self, attempt: AttemptId, miner: MinerId) -> Option<&Stopped> {
        let stopped = self.stopped.get(&attempt.job_id)?;
        let its = stopped.row.attempt == u32::from(attempt.attempt)
            && stopped.row.miner_id == miner.0[..];
        its.then_some(stopped)
    }

    /// Whose job this is, while the engine has to do with it.
    pub(super) fn owner_of(&self, job: JobId) -> Option<PublicKey> {
        let live = self.jobs.get(&job).map(|live| live.owner);
        live.or_else(|| self.stopped.get(&job).map(|stopped| stopped.owner))
    }

    /// Tells watchers that a job's payment changed; its status stays.
    pub(super) fn paid_changed(&mut self, turn: &mut Turn, job_id: JobId, owner: PublicKey) {
        self.change += 1;
        let (change, at_ms) = (self.change, self.now);
        let oldest_live = self
            .owners
            .get(&owner)
            .and_then(|jobs| jobs.first().copied());
        let keeps_attempt = self.stopped.contains_key(&job_id);
        turn.changes.insert(job_id, change);
        turn.effect_later(move |core, rows| {
            let row = rows.owned(&job_id, &owner)?;
            let status = core.view(row.clone()).status;
            Some(Effect::Changed(Box::new(JobChange {
                change,
                owner,
                job_id,
                request_id: row.request_id.clone(),
                status,
                attempt: row.attempt,
                at_ms,
                started: None,
                row: (row.finished_ms > 0).then(|| Box::new(row.clone())),
                keeps_attempt,
                oldest_live,
            })))
        });
    }

    pub(super) fn get_payable(
        &mut self,
        turn: &mut Turn,
        job: JobId,
        owner: Option<PublicKey>,
        caller: Option<PublicKey>,
    ) {
        let Some(owner) = self.owner_of(job).or(owner) else {
            return turn.reply(unknown(job));
        };
        turn.reply_later([(job, owner)], move |core, rows| {
            match rows.owned(&job, &owner) {
                Some(row) => Reply::Payable(Box::new(v1::GetPayableResponse {
                    yours: caller == Some(owner),
                    ..core.payable(row, caller)
                })),
                None => unknown(job),
            }
        });
    }

    fn payable(&self, row: &JobRow, caller: Option<PublicKey>) -> v1::GetPayableResponse {
        let spec = JobSpec::decode(&row.spec).ok();
        let live = self.jobs.get(&row.id());
        let least_lock = live.map_or(Some(MIN_LOCK), |live| self.least_lock(live, caller));
        let refusal = match row.payment() {
            _ if least_lock.is_none() && row.locks.len() < MAX_LOCKS => {
                "the last 4 of its 16 payments are kept for its owner"
            }
            _ if least_lock.is_none() => "it has its 16 locks",
            _ if live.is_some() || payment::payable_late(row, self) => "",
            PaymentStatus::Settling => "its payment is being settled",
            PaymentStatus::Settled => "it is paid",
            _ if row.status() == JobStatus::Completed => "it is completed and takes no payment",
            _ => "it ended without a result",
        };
        let max_rate = spec.as_ref().map(|spec| spec.max_rate);
        v1::GetPayableResponse {
            job_ref: spec
                .as_ref()
                .map(|spec| spec.job_ref().to_vec().into())
                .unwrap_or_default(),
            payable: refusal.is_empty(),
            refusal: refusal.into(),
            max_price_per_hour_micro_ait: max_rate.filter(|rate| *rate != NO_MAX_RATE),
            fee_bps: self.config.fee_bps.into(),
            deadline: Some(super::miners::timestamp(row.deadline_ms)),
            locked_micro_ait: payment::open_amount(&row.locks),
            cost_micro_ait: payment::cost(row),
            least_micro_ait: live.and_then(|live| self.least_funds(live)),
            least_lock_micro_ait: least_lock.filter(|_| refusal.is_empty()),
            least_funding_micro_ait: live.map_or(0, |live| live.least_funding),
            yours: false,
        }
    }
}

fn unknown(job: JobId) -> Reply {
    let message = format!("no unfinished job {job}: it is not known, or it has ended");
    Reply::Refused(ApiError::new(ErrorReason::JobNotFound, message))
}
