//! The invariants of a run, checked after every step.
//!
//! No acknowledged job is ever missing; the first final state of a job stays, byte for byte; attempts rise, at most one
//! is live, and only the live one (or the last, while the job waits) delivers; no job waits while a free miner matches
//! it; nobody has more attempts than slots; an honest delivery is never refused; what a watcher printed is what the
//! accepted attempt made; once the faults stop, every job becomes final.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aitbc_common::ids::JobId;
use aitbc_common::layouts::{Assignment, Receipt};
use aitbc_coordinator::audits::rows as audit_rows;
use aitbc_coordinator::engine::command::{AttemptId, Effect};
use aitbc_coordinator::store::rows::{self, JobRow};
use aitbc_coordinator::store::{Batch, Family, Operation, Store};
use aitbc_proto::v1::{AttemptOutcome, JobStatus};
use bytes::Bytes;

/// What is known to be true.
#[derive(Debug, Default)]
pub struct Checker {
    /// The first thing that was not.
    pub violation: Option<String>,
    acknowledged: BTreeSet<JobId>,
    /// Rows as last committed.
    rows: BTreeMap<JobId, JobRow>,
    assigned: BTreeMap<JobId, u16>,
    /// Settled jobs that auditors may draw, and when they were settled: Unix ms.
    pub noted: BTreeMap<JobId, u64>,
}

/// All jobs in a store; each must be in one table only.
pub fn stored_jobs(store: &Arc<dyn Store>) -> Result<BTreeMap<JobId, JobRow>, String> {
    let mut jobs = BTreeMap::new();
    for family in [Family::Active, Family::Archive] {
        let page = store
            .scan(family, &[0]..&[u8::MAX], usize::MAX)
            .map_err(|error| error.to_string())?;
        for (key, value) in page.rows {
            let Some(row) = job_row(family, &key, &value) else {
                continue;
            };
            if let Some(twin) = jobs.insert(row.id(), row) {
                return Err(format!("{} is stored twice", twin.id()));
            }
        }
    }
    Ok(jobs)
}

/// The job of a stored row; `None` where it is another kind of row.
pub(super) fn job_row(family: Family, key: &[u8], value: &Bytes) -> Option<JobRow> {
    let table = match family {
        Family::Active => b'j',
        Family::Archive => b'a',
        Family::Output => return None,
    };
    (key.get(1) == Some(&table))
        .then(|| rows::decode(value.clone()).ok())
        .flatten()
}

impl Checker {
    /// Something is not as it must be.
    pub fn violated(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    /// A batch is durable.
    pub fn committed(&mut self, batch: &Batch) {
        let candidates = &audit_rows::candidates_from(0)[..2];
        for operation in batch.operations() {
            let Operation::Put(family, key, value) = operation else {
                continue;
            };
            if let Some(row) = job_row(*family, key, value) {
                self.row(row);
            } else if key.starts_with(candidates) {
                self.note(key);
            }
        }
    }

    fn row(&mut self, row: JobRow) {
        let known = self.rows.get(&row.id());
        if let Err(problem) =
            check_row(&row).and_then(|()| known.map_or(Ok(()), |known| check_step(known, &row)))
        {
            self.violated(format!("{} {problem}", row.id()));
        }
        self.rows.insert(row.id(), row);
    }

    fn note(&mut self, candidate: &[u8]) {
        if let Some((settled_ms, _, job)) = audit_rows::parse_candidate(candidate) {
            self.noted.insert(job, settled_ms);
        }
    }

    /// Effects are about to be performed.
    pub fn performed(&mut self, effects: &[Effect]) {
        for effect in effects {
            if let Effect::Assign { info, .. } = effect {
                let AttemptId { job_id, attempt } = info.attempt;
                let locked = Assignment::decode(&info.assignment).map_or(0, |a| a.locked);
                let wants = self.rows.get(&job_id).filter(|row| row.needs_funds);
                if wants.is_some_and(|row| locked < row.least_funding.max(1)) {
                    self.violated(format!("{job_id} runs for {locked} micro-AIT: too little"));
                }
                let before = self.assigned.insert(job_id, attempt);
                if before.is_some_and(|before| before >= attempt) {
                    self.violated(format!(
                        "{job_id}: attempt {attempt} was given out after {before:?}"
                    ));
                }
            }
        }
    }

    /// The coordinator read its store.
    pub fn recovered(&mut self, store: &Arc<dyn Store>) {
        let stored = match stored_jobs(store) {
            Ok(stored) => stored,
            Err(problem) => return self.violated(problem),
        };
        let (from, end) = (audit_rows::candidates_from(0), audit_rows::candidates_end());
        let candidates = store.scan(Family::Active, &from..&end, usize::MAX);
        for (key, _) in candidates.map_or_else(|_| Vec::new(), |page| page.rows) {
            self.note(&key);
        }
        for job in self.acknowledged.iter().chain(self.rows.keys()) {
            if !stored.contains_key(job) {
                return self.violated(format!("{job} was acknowledged and is lost"));
            }
        }
        stored.into_values().for_each(|row| self.row(row));
    }

    /// A client knows that its job was taken.
    pub fn acknowledged(&mut self, job: JobId, row: JobRow) {
        self.acknowledged.insert(job);
        if !self.rows.contains_key(&job) {
            self.violated(format!("{job} was acknowledged and is not stored: {row:?}"));
        }
    }

    /// A watcher was told that this is a job's end.
    pub fn watched(&mut self, row: &JobRow, status: JobStatus) {
        let same = self
            .rows
            .get(&row.id())
            .is_some_and(|known| outcome(known) == outcome(row) && known.status() == status);
        if !same {
            self.violated(format!(
                "a watcher saw another end of {} than the stored one",
                row.id()
            ));
        }
    }

    /// A delivery was refused; all miners are honest. Only where the engine's clock lost time in a crash, a miner rightly
    /// ends a run at a deadline that the engine has not reached.
    pub fn refused_delivery(&mut self, attempt: AttemptId, problem: &str) {
        if problem.contains("outcome is Deadline") {
            return;
        }
        self.violated(format!(
            "the delivery of {}/{} was refused: {problem}",
            attempt.job_id, attempt.attempt
        ));
    }

    /// Jobs that are not final, of those that were acknowledged.
    pub fn unfinished(&self) -> Vec<JobId> {
        let open = |job: &&JobId| self.rows.get(job).is_none_or(|row| row.finished_ms == 0);
        self.acknowledged.iter().filter(open).copied().collect()
    }

    /// Jobs that completed.
    pub fn completed(&self) -> u64 {
        self.rows
            .values()
            .filter(|row| row.status() == JobStatus::Completed)
            .count() as u64
    }
}

fn check_row(row: &JobRow) -> Result<(), String> {
    let running = row
        .attempts
        .iter()
        .filter(|attempt| attempt.outcome() == AttemptOutcome::Running)
        .count();
    if running != usize::from(row.leased) {
        return Err(format!(
            "has {running} live attempts, and leased is {}",
            row.leased
        ));
    }
    if !row
        .attempts
        .windows(2)
        .all(|pair| pair[0].attempt < pair[1].attempt)
    {
        return Err("has attempts that do not rise".into());
    }
    let last = row.attempts.last();
    if last.map_or(0, |last| last.attempt) != row.attempt {
        return Err("counts other attempts than it has".into());
    }
    if row.leased && row.finished_ms > 0 {
        return Err("is final and leased".into());
    }
    if (row.status() == JobStatus::Completed) != row.delivery.is_some() {
        return Err("is completed without a delivery, or the other way round".into());
    }
    let (Some(delivery), Some(last)) = (&row.delivery, last) else {
        return Ok(());
    };
    let parsed = (
        Receipt::decode(&delivery.receipt),
        Assignment::decode(&last.assignment),
    );
    let (Ok(receipt), Ok(assignment)) = parsed else {
        return Err("has layouts that do not parse".into());
    };
    if receipt.attempt != assignment.attempt || receipt.miner_key != assignment.miner_key {
        return Err(format!(
            "took a result of attempt {} instead of {}",
            receipt.attempt, assignment.attempt
        ));
    }
    Ok(())
}

/// A row without what its payment still changes once the job is final.
fn outcome(row: &JobRow) -> JobRow {
    JobRow {
        locks: Vec::new(),
        payment: 0,
        paid: 0,
        fee: 0,
        returned: 0,
        evidence: Bytes::new(),
        evidence_signature: Bytes::new(),
        change: 0,
        ..row.clone()
    }
}

/// What is left of it once its owner deletes what it was given and gave.
fn without_content(mut row: JobRow) -> JobRow {
    row.input = Bytes::new();
    row.content_deleted = true;
    if let Some(delivery) = &mut row.delivery {
        delivery.result = None;
    }
    row
}

fn check_step(before: &JobRow, after: &JobRow) -> Result<(), String> {
    if after.attempt < before.attempt {
        return Err(format!(
            "went from attempt {} back to {}",
            before.attempt, after.attempt
        ));
    }
    let (was, is) = (outcome(before), outcome(after));
    let was = if is.content_deleted {
        without_content(was)
    } else {
        was
    };
    if before.finished_ms > 0 && was != is {
        return Err(format!(
            "was {:?} and changed to {:?}",
            before.status(),
            after.status()
        ));
    }
    if after.retries_spent < before.retries_spent {
        return Err("took back a spent retry".into());
    }
    Ok(())
}
