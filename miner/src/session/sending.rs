//! Which part of an attempt is sent next, and when.

use std::time::Duration;

use aitbc_common::job_input::JobType;
use aitbc_common::limits::CHUNK_BYTES;
use aitbc_proto::v1::miner_message::Message;
use aitbc_proto::v1::{Fail, Output, OutputKind};
use bytes::Bytes;

use super::AttemptKey;
use super::attempt::{Attempt, Stage};

/// Output waits until there is this much of it …
const COALESCE_BYTES: usize = 256;
/// … or this long.
const COALESCE_TIME: Duration = Duration::from_millis(40);
/// A Complete or Fail that was not answered for this long is sent again.
const ANSWER_TIME: Duration = Duration::from_secs(30);

impl Attempt {
    /// The next message to send, with at most `limit` bytes of data.
    pub(super) fn next_message(
        &mut self,
        key: AttemptKey,
        now: Duration,
        limit: usize,
    ) -> Option<Message> {
        if let Stage::Failed(_) = self.stage {
            return self.conclude(key, now);
        }
        if let Some((offset, message)) = self
            .checkpoint
            .take_if(|(offset, _)| *offset <= self.sent_output)
            && offset == self.sent_output
        {
            return Some(Message::Checkpoint(message));
        }
        if let Some(end) = self.sendable(now) {
            let end = end.min(self.sent_output.saturating_add(limit.min(CHUNK_BYTES)));
            let data = Bytes::copy_from_slice(&self.output[self.sent_output..end]);
            let offset = std::mem::replace(&mut self.sent_output, end);
            return Some(part(key, OutputKind::Output, offset, data));
        }
        if self.is_running() {
            return None;
        }
        if self.sent_result < self.result.len() {
            let end = self
                .result
                .len()
                .min(self.sent_result.saturating_add(limit.min(CHUNK_BYTES)));
            let data = self.result.slice(self.sent_result..end);
            let offset = std::mem::replace(&mut self.sent_result, end);
            return Some(part(key, OutputKind::Result, offset, data));
        }
        self.conclude(key, now)
    }

    /// Up to where output is to be sent now.
    fn sendable(&self, now: Duration) -> Option<usize> {
        let waiting = self
            .output
            .len()
            .checked_sub(self.sent_output)
            .filter(|waiting| *waiting > 0)?;
        // A checkpoint follows exactly the bytes that it covers, so that a watcher can check it as it reads.
        if let Some((offset, _)) = self.checkpoint
            && offset > self.sent_output
        {
            return Some(offset);
        }
        let now_or_never = !self.is_running()
            || self.sent_output == 0
            || waiting >= COALESCE_BYTES
            || now >= self.waiting_since.saturating_add(self.coalesces_for());
        now_or_never.then_some(self.output.len())
    }

    /// How long output waits for company. An agent's comes in whole steps, and its next tool waits until it is stored.
    fn coalesces_for(&self) -> Duration {
        match self.run() {
            Some(run) if run.promise.spec.job_type == JobType::Agent => Duration::ZERO,
            _ => COALESCE_TIME,
        }
    }

    fn conclude(&mut self, key: AttemptKey, now: Duration) -> Option<Message> {
        let unanswered = self
            .concluded
            .is_none_or(|sent| now >= sent.saturating_add(ANSWER_TIME));
        if !unanswered || now < self.not_before {
            return None;
        }
        let message = match &self.stage {
            Stage::Done { complete, .. } => Message::Complete(complete.clone()),
            Stage::Failed(failure) => Message::Fail(Fail {
                job_id: key.job.to_string(),
                attempt: u32::from(key.attempt),
                failure: Some(failure.clone()),
            }),
            Stage::Running(_) | Stage::Storing { .. } => return None,
        };
        self.concluded = Some(now);
        Some(message)
    }

    /// When time alone makes something ready to be sent.
    pub(super) fn next_flush(&self) -> Option<Duration> {
        match &self.stage {
            Stage::Running(_) if self.sent_output < self.output.len() => {
                Some(self.waiting_since.saturating_add(self.coalesces_for()))
            }
            Stage::Done { .. } | Stage::Failed(_) => Some(
                self.concluded
                    .map_or(self.not_before, |sent| sent.saturating_add(ANSWER_TIME)),
            ),
            _ => None,
        }
    }
}

fn part(key: AttemptKey, kind: OutputKind, offset: usize, data: Bytes) -> Message {
    Message::Output(Output {
        job_id: key.job.to_string(),
        attempt: u32::from(key.attempt),
        kind: kind as i32,
        offset: offset as u64,
        data,
    })
}
