//! One attempt: its output and result, and how much of them the coordinator was sent.

use std::time::Duration;

use aitbc_common::hash::Sha256Stream;
use aitbc_common::limits::RESULT_BYTES;
use aitbc_proto::v1::{
    Checkpoint, Complete, Failure, FailureReason, MinerModel, Renew, RunningAttempt,
};
use bytes::{Bytes, BytesMut};

use super::evidence::{Promise, Signer, outcome};
use super::{AttemptKey, CoreConfig, SpoolRecord, Summary};
use crate::runner::{FinishReason, RunResult, result_document};

/// Time between two checkpoints.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);
/// A paid run may go on for this long after its deadline.
const PAID_GRACE: Duration = Duration::from_secs(5);

/// A run that goes on.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) promise: Promise,
    pub(super) model: MinerModel,
    pub(super) engine: String,
    /// When the job expires.
    pub(super) deadline: Duration,
    first_token: Option<Duration>,
    output_tokens: u32,
    hash: Sha256Stream,
    checkpoint_at: Duration,
    checkpointed: u64,
}

impl Run {
    pub(super) fn new(
        promise: Promise,
        model: MinerModel,
        engine: String,
        deadline: Duration,
    ) -> Self {
        Self {
            promise,
            model,
            engine,
            deadline,
            first_token: None,
            output_tokens: 0,
            hash: Sha256Stream::default(),
            checkpoint_at: Duration::ZERO,
            checkpointed: 0,
        }
    }

    /// Time since the first token; loading the model is not work.
    pub(super) fn generating(&self, now: Duration) -> Duration {
        self.first_token
            .map_or(Duration::ZERO, |first| now.saturating_sub(first))
    }

    /// When the budget is spent, if there is one and it runs.
    pub(super) fn budget_end(&self) -> Option<Duration> {
        let budget = self.promise.assignment.budget_ms;
        (budget != u64::MAX).then_some(())?;
        self.first_token
            .map(|first| first.saturating_add(Duration::from_millis(budget)))
    }

    pub(super) fn output_tokens(&self) -> u32 {
        self.output_tokens
    }

    /// When the run ends at the latest. A paid one waits for the coordinator's word at the deadline, which says how much
    /// of the output counts.
    pub(super) fn ends_at(&self) -> Duration {
        if self.promise.assignment.locked > 0 {
            self.deadline.saturating_add(PAID_GRACE)
        } else {
            self.deadline
        }
    }
}

/// Where an attempt stands.
#[derive(Debug)]
pub(super) enum Stage {
    Running(Box<Run>),
    /// Finished; on its way into the spool.
    Storing {
        complete: Complete,
        summary: Summary,
    },
    /// Finished and in the spool.
    Done {
        complete: Complete,
        summary: Summary,
    },
    Failed(Failure),
}

/// One attempt that the coordinator has not yet acknowledged.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) stage: Stage,
    /// When it was accepted; `None` for one out of the spool.
    accepted: Option<Duration>,
    /// When its first output came.
    first_output: Option<Duration>,
    pub(super) output: BytesMut,
    pub(super) result: Bytes,
    pub(super) sent_output: usize,
    pub(super) sent_result: usize,
    /// Since when output waits to be sent.
    pub(super) waiting_since: Duration,
    /// Signed and not yet sent: the offset it is for, and the message.
    pub(super) checkpoint: Option<(usize, Checkpoint)>,
    /// When Complete or Fail was sent.
    pub(super) concluded: Option<Duration>,
    /// Complete or Fail waits until then.
    pub(super) not_before: Duration,
}

impl Attempt {
    pub(super) fn start(run: Run, now: Duration) -> Self {
        let stage = Stage::Running(Box::new(run));
        Self {
            accepted: Some(now),
            ..Self::new(stage, BytesMut::new(), Bytes::new())
        }
    }

    /// A finished one out of the spool; `None` where the record is damaged.
    pub(super) fn from_record(record: SpoolRecord) -> Option<Self> {
        let receipt = record.receipt()?;
        let summary = Summary {
            outcome: receipt.outcome,
            input_tokens: receipt.tokens_in,
            output_tokens: receipt.tokens_out,
            work_ms: receipt.work_ms,
            cost: record.cost,
        };
        let stage = Stage::Done {
            complete: record.complete,
            summary,
        };
        Some(Self::new(
            stage,
            BytesMut::from(&record.output[..]),
            record.result,
        ))
    }

    fn new(stage: Stage, output: BytesMut, result: Bytes) -> Self {
        Self {
            stage,
            accepted: None,
            first_output: None,
            output,
            result,
            sent_output: 0,
            sent_result: 0,
            waiting_since: Duration::ZERO,
            checkpoint: None,
            concluded: None,
            not_before: Duration::ZERO,
        }
    }

    pub(super) fn run(&self) -> Option<&Run> {
        match &self.stage {
            Stage::Running(run) => Some(run),
            _ => None,
        }
    }

    /// Takes a slot.
    pub(super) fn is_running(&self) -> bool {
        self.run().is_some()
    }

    /// Bytes of output and result that it keeps in memory.
    pub(super) fn bytes(&self) -> usize {
        self.output.len() + self.result.len()
    }

    pub(super) fn output_bytes(&self) -> usize {
        self.output.len()
    }

    pub(super) fn output_text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }

    pub(super) fn describe(&self, key: AttemptKey) -> RunningAttempt {
        RunningAttempt {
            job_id: key.job.to_string(),
            attempt: u32::from(key.attempt),
            output_bytes: self.output.len() as u64,
            output_tokens: self.run().map_or(0, |run| run.output_tokens.into()),
            accepted_ago: None,
            first_output_ago: None,
        }
    }

    /// The same with its times, for a coordinator that may not know it any more.
    pub(super) fn introduce(&self, key: AttemptKey, now: Duration) -> RunningAttempt {
        let ago = |at: Option<Duration>| now.saturating_sub(at?).try_into().ok();
        RunningAttempt {
            accepted_ago: ago(self.accepted),
            first_output_ago: ago(self.first_output),
            ..self.describe(key)
        }
    }

    /// A newer assignment of the same attempt: its receipt will name it.
    pub(super) fn renew(&mut self, promise: Promise, deadline: Duration) {
        if let Stage::Running(run) = &mut self.stage
            && promise.assignment.issued_ms >= run.promise.assignment.issued_ms
        {
            run.promise = promise;
            run.deadline = deadline;
        }
    }

    /// The same by a message that changes nothing but the budget.
    pub(super) fn raise(&mut self, renew: &Renew, config: &CoreConfig) -> Result<(), String> {
        if let Stage::Running(run) = &self.stage {
            let promise = run.promise.renewed(renew, config)?;
            let deadline = run.deadline;
            self.renew(promise, deadline);
        }
        Ok(())
    }

    /// Takes more output.
    pub(super) fn append(&mut self, now: Duration, data: &[u8], output_tokens: u32) {
        let Stage::Running(run) = &mut self.stage else {
            return;
        };
        if run.first_token.is_none() {
            run.first_token = Some(now);
            run.checkpoint_at = now.saturating_add(CHECKPOINT_INTERVAL);
        }
        run.output_tokens = run.output_tokens.max(output_tokens);
        if data.is_empty() {
            return;
        }
        self.first_output.get_or_insert(now);
        if self.sent_output == self.output.len() {
            self.waiting_since = now;
        }
        run.hash.update(data);
        self.output.extend_from_slice(data);
    }

    /// Signs a checkpoint where one is due; whether it did.
    pub(super) fn tick_checkpoint(
        &mut self,
        now: Duration,
        identity: &aitbc_common::identity::Identity,
    ) -> bool {
        let Stage::Running(run) = &mut self.stage else {
            return false;
        };
        if run.hash.len() == run.checkpointed || now < run.checkpoint_at {
            return false;
        }
        let work_ms = u64::try_from(run.generating(now).as_millis()).unwrap_or(u64::MAX);
        let message = run
            .promise
            .checkpoint(identity, &run.hash, run.output_tokens, work_ms);
        run.checkpointed = run.hash.len();
        run.checkpoint_at = now.saturating_add(CHECKPOINT_INTERVAL);
        self.checkpoint = Some((self.output.len(), message));
        true
    }

    /// Ends the run: signs the receipt. The record goes into the spool.
    pub(super) fn finish(
        &mut self,
        key: AttemptKey,
        signer: Signer<'_>,
        result: &RunResult,
    ) -> Result<SpoolRecord, Failure> {
        let Stage::Running(run) = &mut self.stage else {
            return Err(failure(
                FailureReason::Unspecified,
                "it does not run".to_owned(),
            ));
        };
        if result.content.as_bytes() != &self.output[..] {
            let message = "the result is not what was streamed before".to_owned();
            return Err(failure(FailureReason::Garbage, message));
        }
        let document = Bytes::from(result_document(result));
        if document.len() as u64 > RESULT_BYTES {
            let message = format!(
                "the result has {} bytes; at most {RESULT_BYTES} can be delivered",
                document.len()
            );
            return Err(failure(FailureReason::InputRefused, message));
        }
        let (complete, cost) = run.promise.complete(
            signer,
            (&run.model, &run.engine),
            &run.hash,
            &document,
            result,
        );
        let summary = summary(result, cost);
        Ok(self.conclude_with(key, document, complete, summary))
    }

    fn conclude_with(
        &mut self,
        key: AttemptKey,
        document: Bytes,
        complete: Complete,
        summary: Summary,
    ) -> SpoolRecord {
        self.result = document.clone();
        self.stage = Stage::Storing {
            complete: complete.clone(),
            summary,
        };
        SpoolRecord {
            key,
            output: Bytes::copy_from_slice(&self.output),
            result: document,
            complete,
            cost: summary.cost,
        }
    }

    /// Ends a run that was stopped: signs a receipt over at most `limit` bytes of its output, without a result document.
    pub(super) fn finish_stopped(
        &mut self,
        now: Duration,
        key: AttemptKey,
        signer: Signer<'_>,
        reason: FinishReason,
        limit: usize,
    ) -> Option<SpoolRecord> {
        let result = self.partial_result(now, reason);
        let run = self.run()?;
        let output = &self.output[..self.output.len().min(limit)];
        let mut hash = Sha256Stream::default();
        hash.update(output);
        let served = (&run.model, run.engine.as_str());
        let (complete, cost) = run.promise.complete(signer, served, &hash, b"", &result);
        let summary = summary(&result, cost);
        self.output.truncate(limit);
        self.sent_output = self.sent_output.min(self.output.len());
        self.checkpoint = None;
        Some(self.conclude_with(key, Bytes::new(), complete, summary))
    }

    /// What a run that is ended early has produced so far.
    pub(super) fn partial_result(&self, now: Duration, finish_reason: FinishReason) -> RunResult {
        let run = self.run();
        let generating = run.map_or(Duration::ZERO, |run| run.generating(now));
        RunResult {
            content: self.output_text(),
            thinking: String::new(),
            tool_calls: Vec::new(),
            embeddings: None,
            finish_reason,
            tokens_in: 0,
            tokens_out: run.map_or(0, Run::output_tokens),
            prompt_eval_duration: Duration::ZERO,
            eval_duration: generating,
            load_duration: Duration::ZERO,
        }
    }

    /// It is in the spool: the receipt may go.
    pub(super) fn stored(&mut self) -> bool {
        let Stage::Storing { complete, summary } = &self.stage else {
            return false;
        };
        self.stage = Stage::Done {
            complete: complete.clone(),
            summary: *summary,
        };
        true
    }

    pub(super) fn fail(&mut self, failure: Failure) {
        self.stage = Stage::Failed(failure);
        self.concluded = None;
    }

    /// Sends from these offsets on a new connection, or after a Resend (`None` = as it is).
    pub(super) fn rewind(&mut self, output: Option<u64>, result: Option<u64>) {
        let clamp =
            |offset: u64, length: usize| usize::try_from(offset).unwrap_or(usize::MAX).min(length);
        if let Some(offset) = output {
            self.sent_output = clamp(offset, self.output.len());
        }
        if let Some(offset) = result {
            self.sent_result = clamp(offset, self.result.len());
        }
        self.waiting_since = Duration::ZERO;
        self.concluded = None;
        self.not_before = Duration::ZERO;
    }

    /// The coordinator could not take Complete or Fail just now.
    pub(super) fn postpone(&mut self, until: Duration) {
        self.concluded = None;
        self.not_before = until;
    }

    /// When time alone changes its state: a checkpoint or an end is due.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        let run = self.run()?;
        let checkpoint = (run.hash.len() > run.checkpointed).then_some(run.checkpoint_at);
        [Some(run.ends_at()), run.budget_end(), checkpoint]
            .into_iter()
            .flatten()
            .min()
    }
}

fn summary(result: &RunResult, cost: u64) -> Summary {
    Summary {
        outcome: outcome(result.finish_reason),
        input_tokens: result.tokens_in,
        output_tokens: result.tokens_out,
        work_ms: u64::try_from(result.work_duration().as_millis()).unwrap_or(u64::MAX),
        cost,
    }
}

/// A failure with a message of at most 1,024 bytes.
pub(super) fn failure(reason: FailureReason, mut message: String) -> Failure {
    crate::text::cut(&mut message, aitbc_common::limits::FAILURE_MESSAGE_BYTES);
    Failure {
        reason: reason as i32,
        message,
    }
}
