//! Watching a job, the client's side: the real verifier, which resumes where it was.

use aitbc_common::agents::Event as AgentEvent;
use aitbc_common::identity::PublicKey;
use aitbc_common::layouts::Outcome;
use aitbc_common::verify::{AttemptStart, ProofParts, StreamVerifier, Trust, VerifyError};
use aitbc_coordinator::engine::command::Submission;
use aitbc_coordinator::grpc::convert;
use aitbc_coordinator::store::rows::JobRow;
use aitbc_proto::v1::JobStatus;
use rand::Rng;

use super::context::{Context, Fault};
use super::genesis::CHAIN;
use super::watches::{WatchId, WatchItem};
use super::work::{self, service};
use super::world::Event;

/// A client that watches a job.
pub struct Watcher {
    verifier: StreamVerifier,
    bytes: Vec<u8>,
    stream: Option<WatchId>,
    /// Streams so far.
    streams: u64,
    pub done: bool,
}

impl Watcher {
    pub fn new(owner: PublicKey, submission: &Submission) -> Self {
        let trust = Trust {
            chain_id: *CHAIN,
            service_key: service().public(),
            owner,
            job_id: None,
            spec: Some(submission.spec.clone()),
        };
        Self {
            verifier: StreamVerifier::new(trust),
            bytes: Vec::new(),
            stream: None,
            streams: 0,
            done: false,
        }
    }

    /// Begins a stream where the last one ended.
    pub fn connect(&mut self, ctx: &mut Context, job: usize) -> Option<(WatchId, (u32, u64))> {
        if self.done || self.stream.is_some() {
            return None;
        }
        self.streams += 1;
        let id = (job as u64) << 32 | self.streams;
        self.stream = Some(id);
        if ctx.faults.has(Fault::Cut) {
            let breaks = ctx.random.network.random_range(100..60_000);
            ctx.after(breaks, Event::WatchLost(id));
        }
        Some((id, self.verifier.position()))
    }

    /// The stream broke.
    pub fn lost(&mut self, ctx: &mut Context, id: WatchId, job: usize) {
        if self.stream == Some(id) {
            self.stream = None;
            let backoff = ctx.random.network.random_range(10..1_500);
            ctx.after(backoff, Event::Watch(job));
        }
    }

    /// Something arrived; a problem is a lie of the coordinator, or a fault of ours.
    pub fn arrived(
        &mut self,
        ctx: &mut Context,
        id: WatchId,
        job: usize,
        item: WatchItem,
    ) -> Result<(), String> {
        if self.stream != Some(id) || self.done {
            return Ok(());
        }
        let text = |error: VerifyError| error.to_string();
        match item {
            WatchItem::Started {
                attempt,
                assignment,
                signature,
            } => {
                let start = self
                    .verifier
                    .start(attempt, &assignment, &signature)
                    .map_err(text)?;
                if matches!(start, AttemptStart::New) {
                    self.bytes.clear();
                }
            }
            WatchItem::Output {
                attempt,
                offset,
                data,
            } => {
                self.verifier.output(attempt, offset, &data).map_err(text)?;
                self.bytes.extend_from_slice(&data);
            }
            WatchItem::Checkpoint {
                attempt,
                layout,
                signature,
            } => {
                self.verifier
                    .checkpoint(attempt, &layout, &signature)
                    .map_err(text)?;
            }
            WatchItem::Ended => self.lost(ctx, id, job),
            WatchItem::Finished {
                row,
                status,
                result,
            } => {
                self.done = true;
                ctx.checker.watched(&row, status);
                if status == JobStatus::Completed {
                    self.finish(ctx, &row, &result.unwrap_or_default())?;
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self, ctx: &mut Context, row: &JobRow, result: &[u8]) -> Result<(), String> {
        let last = row.attempts.last().ok_or("completed without an attempt")?;
        let proof = convert::proof(row, None, &service());
        let parts = ProofParts {
            spec: &proof.spec,
            assignment: &proof.assignment,
            assignment_signature: &proof.assignment_signature,
            receipt: &proof.receipt,
            receipt_signature: &proof.receipt_signature,
            service_key: &proof.service_key,
        };
        let verified = self
            .verifier
            .finish(&parts, result)
            .map_err(|error| error.to_string())?;
        let by_budget = verified.proof.receipt.outcome == Outcome::Budget;
        let attempt = u16::try_from(last.attempt).unwrap_or(u16::MAX);
        if !row.agent.is_empty() {
            return self.execution(ctx, row, by_budget);
        }
        let miner = verified.proof.receipt.miner_key;
        let made = work::text(&row.input, row.id(), attempt, &miner);
        let same = if by_budget {
            made.as_bytes().starts_with(&self.bytes)
        } else {
            self.bytes == made.as_bytes()
        };
        if !same {
            return Err(format!(
                "the watcher of {} has other bytes than attempt {attempt} made",
                row.id()
            ));
        }
        ctx.trace.totals.watched_bytes += self.bytes.len() as u64;
        Ok(())
    }

    /// What was put out is a whole execution, whoever began it.
    fn execution(&self, ctx: &mut Context, row: &JobRow, by_budget: bool) -> Result<(), String> {
        let (events, whole) = AgentEvent::read(&self.bytes)
            .map_err(|problem| format!("{} is no execution: {problem}", row.id()))?;
        let is_answered = matches!(events.last(), Some(AgentEvent::Answer { .. }));
        if !by_budget && (whole < self.bytes.len() || !is_answered) {
            return Err(format!("{} has no answer", row.id()));
        }
        ctx.trace.totals.watched_bytes += self.bytes.len() as u64;
        Ok(())
    }
}
