//! The streams of live attempts: written by sessions, read by watchers, kept across a miner's reconnect.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aitbc_common::hash::Hash;

use aitbc_common::ids::JobId;
use aitbc_common::job_input::JobType;

use aitbc_common::limits::{OUTPUT_BYTES, RESULT_BYTES};
use bytes::Bytes;
use tokio::sync::watch;

pub use super::facts::{AttemptFacts, Issued};

use super::core::{AttemptStreams, Progress, StreamKind};
use super::output_buffer::{Append, OutputBuffer, Read, Spill};
use super::said::Said;
use crate::engine::command::AttemptId;

/// A signed checkpoint of an attempt's output, verified.
#[derive(Debug, Clone)]
pub struct SignedCheckpoint {
    /// Bytes of output it covers.
    pub offset: u64,
    /// SHA-256 of them, as the miner signed it.
    pub hash: Hash,
    /// Stream checkpoint layout.
    pub layout: Bytes,
    /// The miner's signature.
    pub signature: Bytes,
}

#[derive(Debug)]
struct State {
    output: OutputBuffer,
    result: OutputBuffer,
    checkpoint: Option<SignedCheckpoint>,
    said: Said,
    /// Of the first output; 0 = it came at a time that is not known.
    first_ms: Option<u64>,
    accepted: bool,
    issued: Vec<Issued>,
}

/// The two streams of an attempt.
#[derive(Debug)]
pub struct AttemptStream {
    /// What was promised.
    pub facts: AttemptFacts,
    state: Mutex<State>,
    /// Rises with everything that a watcher could send.
    version: watch::Sender<u64>,
}

impl AttemptStream {
    /// Empty streams.
    #[must_use]
    pub fn new(facts: AttemptFacts) -> Self {
        let state = State {
            output: OutputBuffer::new(OUTPUT_BYTES),
            result: OutputBuffer::new(RESULT_BYTES),
            checkpoint: None,
            said: Said::default(),
            first_ms: None,
            accepted: false,
            issued: facts.issued.clone(),
        };
        Self {
            facts,
            state: Mutex::new(state),
            version: watch::Sender::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `act` on one of the two buffers.
    pub fn with<T>(&self, kind: StreamKind, act: impl FnOnce(&mut OutputBuffer) -> T) -> T {
        let mut state = self.state();
        match kind {
            StreamKind::Output => act(&mut state.output),
            StreamKind::Result => act(&mut state.result),
        }
    }

    /// Takes a chunk that arrived at `now_ms` (Unix time).
    pub fn append(&self, kind: StreamKind, offset: u64, data: &[u8], now_ms: u64) -> Append {
        let appended = self.with(kind, |buffer| buffer.append(offset, data));
        if kind == StreamKind::Output && matches!(appended, Append::Appended(_)) {
            let mut state = self.state();
            state.first_ms.get_or_insert(now_ms);
            drop(state);
            self.notify();
        }
        appended
    }

    /// Bytes from `offset` of the output.
    #[must_use]
    pub fn read_output(&self, offset: u64, max: usize) -> Read {
        self.state().output.read(offset, max)
    }

    /// What should be stored of a stream now.
    #[must_use]
    pub fn spill(&self, kind: StreamKind, all: bool) -> Option<Spill> {
        self.with(kind, |buffer| buffer.spill(all))
    }

    /// Whether a stream is stored as it comes, because the next attempt goes on from it.
    #[must_use]
    pub fn is_handed_over(&self, kind: StreamKind) -> bool {
        kind == StreamKind::Output && self.facts.spec.job_type == JobType::Agent
    }

    /// The store has a stream up to here.
    pub fn stored(&self, kind: StreamKind, offset: u64) {
        self.with(kind, |buffer| buffer.confirm(offset));
        self.notify();
    }

    /// The attempt has a newer assignment.
    pub fn renew(&self, facts: &AttemptFacts) {
        let mut state = self.state();
        if state.issued.len() < facts.issued.len() {
            state.issued.clone_from(&facts.issued);
        }
    }

    /// All assignments of the attempt, oldest first: its receipt may name any of them.
    #[must_use]
    pub fn issued(&self) -> Vec<Issued> {
        self.state().issued.clone()
    }

    /// Whether locks pay for it.
    #[must_use]
    pub fn is_paid(&self) -> bool {
        self.state().issued.last().is_some_and(|newest| newest.paid)
    }

    /// Keeps the newest checkpoint; one that contradicts the bytes that are here is dropped. Whether it was kept.
    pub fn set_checkpoint(&self, checkpoint: SignedCheckpoint) -> bool {
        let mut state = self.state();
        let output = &state.output;
        let fits = checkpoint.offset < output.len()
            || (checkpoint.offset == output.len() && checkpoint.hash == output.digest());
        let newer = state
            .checkpoint
            .as_ref()
            .is_none_or(|old| old.offset < checkpoint.offset);
        if fits && newer {
            state.checkpoint = Some(checkpoint);
            drop(state);
            self.notify();
        }
        fits && newer
    }

    /// The newest checkpoint.
    #[must_use]
    pub fn checkpoint(&self) -> Option<SignedCheckpoint> {
        self.state().checkpoint.clone()
    }

    /// Runs `act` on what the miner signed.
    pub fn with_said<T>(&self, act: impl FnOnce(&mut Said) -> T) -> T {
        act(&mut self.state().said)
    }

    /// Unix time in ms of the first output; 0 = none, or not known.
    #[must_use]
    pub fn first_ms(&self) -> u64 {
        self.state().first_ms.unwrap_or(0)
    }

    /// Its miner says when the first output came, in Unix ms: that counts where it is not known here.
    pub fn recall_first(&self, at_ms: u64) {
        let mut state = self.state();
        if state.first_ms == Some(0) {
            state.first_ms = Some(at_ms.max(1));
        }
    }

    /// Bytes of output so far.
    #[must_use]
    pub fn output_len(&self) -> u64 {
        self.state().output.len()
    }

    /// The attempt goes on from what was stored of it: when its first output came is not known any more.
    pub fn resume(&self) {
        let mut state = self.state();
        state.first_ms = Some(0);
        state.accepted = true;
        drop(state);
        self.notify();
    }

    /// The miner accepted the attempt.
    pub fn accept(&self) {
        self.state().accepted = true;
        self.notify();
    }

    /// Whether the miner accepted it.
    #[must_use]
    pub fn accepted(&self) -> bool {
        self.state().accepted
    }

    /// How far both streams are.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let state = self.state();
        Progress {
            output_len: state.output.len(),
            output_hash: state.output.digest(),
            result_len: state.result.len(),
            result_hash: state.result.digest(),
        }
    }

    /// Whether the store has part of a stream.
    #[must_use]
    pub fn has_stored(&self) -> bool {
        let state = self.state();
        state.output.stored() > 0 || state.result.stored() > 0
    }

    /// Sees every later change.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    fn notify(&self) {
        self.version.send_modify(|version| *version += 1);
    }
}

/// Jobs whose ended attempts are remembered: those of the last seconds under load.
const REMEMBERED: usize = 16_384;

/// All streams of live attempts.
#[derive(Debug, Default)]
pub struct Streams {
    live: Mutex<Live>,
}

#[derive(Debug, Default)]
struct Live {
    streams: BTreeMap<AttemptId, Arc<AttemptStream>>,
    /// The newest attempt that is over, of jobs that changed lately. Streams are made off the engine's thread: those
    /// that come after the end of their attempt would stay for ever.
    ended: BTreeMap<JobId, u16>,
    order: VecDeque<JobId>,
}

impl Live {
    fn end(&mut self, job_id: JobId, attempt: u16) {
        if self.ended.insert(job_id, attempt).is_none() {
            self.order.push_back(job_id);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.ended.remove(&oldest);
        }
    }
}

impl Streams {
    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds streams, unless the attempt has some of this epoch: those are returned instead. Those of an attempt that is
    /// over are only the caller's.
    pub fn insert(&self, stream: AttemptStream) -> Arc<AttemptStream> {
        let mut live = self.live();
        let AttemptId { job_id, attempt } = stream.facts.attempt;
        if live
            .ended
            .get(&job_id)
            .is_some_and(|ended| attempt <= *ended)
        {
            return Arc::new(stream);
        }
        let epoch = stream.facts.epoch;
        let stream = Arc::new(stream);
        let known = live.streams.entry(stream.facts.attempt);
        let known = known.or_insert_with(|| Arc::clone(&stream));
        if known.facts.epoch < epoch {
            *known = stream;
        }
        Arc::clone(known)
    }

    /// An attempt's streams.
    #[must_use]
    pub fn get(&self, attempt: AttemptId) -> Option<Arc<AttemptStream>> {
        self.live().streams.get(&attempt).cloned()
    }

    /// Forgets an attempt's streams; their readers keep them.
    pub fn remove(&self, attempt: AttemptId) -> Option<Arc<AttemptStream>> {
        self.live().streams.remove(&attempt)
    }

    /// Forgets the streams of a job's attempts before `attempt`, for good, and where the job is final (`also_last`)
    /// those of `attempt` too.
    pub fn remove_before(
        &self,
        job_id: JobId,
        attempt: u16,
        also_last: bool,
    ) -> Vec<Arc<AttemptStream>> {
        let mut live = self.live();
        let ended = if also_last {
            attempt
        } else {
            attempt.saturating_sub(1)
        };
        if ended == 0 {
            return Vec::new();
        }
        live.end(job_id, ended);
        let id = |attempt| AttemptId { job_id, attempt };
        let gone = live.streams.range(id(0)..=id(ended));
        let gone: Vec<AttemptId> = gone.map(|(attempt, _)| *attempt).collect();
        gone.iter()
            .filter_map(|attempt| live.streams.remove(attempt))
            .collect()
    }

    /// Forgets everything: after a failed commit, what the store lost must come again.
    pub fn clear(&self) {
        self.live().streams.clear();
    }
}

/// The streams as a session at some time sees them.
#[derive(Debug)]
pub struct StreamsNow<'a> {
    /// The streams.
    pub streams: &'a Streams,
    /// Unix time in ms.
    pub now_ms: u64,
}

impl AttemptStreams for StreamsNow<'_> {
    fn append(
        &mut self,
        attempt: AttemptId,
        kind: StreamKind,
        offset: u64,
        data: &[u8],
    ) -> Option<Append> {
        Some(
            self.streams
                .get(attempt)?
                .append(kind, offset, data, self.now_ms),
        )
    }

    fn progress(&self, attempt: AttemptId) -> Option<Progress> {
        Some(self.streams.get(attempt)?.progress())
    }
}

#[cfg(test)]
mod tests {
    use super::super::delivery_tests::facts;
    use super::*;

    #[test]
    fn streams_that_come_after_the_end_of_their_attempt_do_not_stay() {
        let (streams, facts) = (Streams::default(), facts());
        let AttemptId { job_id, attempt } = facts.attempt;
        let of_attempt = |attempt| {
            let mut facts = facts.clone();
            facts.attempt.attempt = attempt;
            AttemptStream::new(facts)
        };
        // Cancelled before its assignment was signed.
        assert!(streams.remove_before(job_id, attempt, true).is_empty());
        streams.insert(of_attempt(attempt));
        assert!(streams.get(facts.attempt).is_none());
        // One that was lost before it was signed; the next one lives.
        let other = Streams::default();
        other.remove_before(job_id, 2, false);
        other.insert(of_attempt(1));
        let live = other.insert(of_attempt(2)).facts.attempt;
        assert!(other.get(facts.attempt).is_none() && other.get(live).is_some());
        assert_eq!(other.remove_before(job_id, 2, true).len(), 1);
        // What arrived before a recovery gives way to what comes after it.
        let (streams, mut later) = (Streams::default(), facts.clone());
        later.epoch += 1;
        for (facts, epoch) in [(&facts, 1), (&later, 2), (&facts, 2)] {
            assert_eq!(
                streams
                    .insert(AttemptStream::new(facts.clone()))
                    .facts
                    .epoch,
                epoch
            );
        }
        // What is remembered is bounded.
        for number in 0..2 * REMEMBERED as u64 {
            other.remove_before(JobId::new(number, 0, [0; 10]), 1, true);
        }
        assert_eq!(other.live().ended.len(), REMEMBERED);
    }

    #[test]
    fn after_a_restart_the_time_of_the_first_output_is_not_known() {
        let stream = AttemptStream::new(facts());
        stream.append(StreamKind::Output, 0, b"Hello", 7);
        stream.append(StreamKind::Output, 5, b", world", 8);
        assert_eq!(stream.first_ms(), 7);
        let stream = AttemptStream::new(facts());
        stream.resume();
        stream.append(StreamKind::Output, 0, b"Hello", 7);
        assert!(stream.first_ms() == 0 && stream.accepted());
        stream.recall_first(5);
        stream.recall_first(6);
        assert_eq!(stream.first_ms(), 5, "its miner knows it");
    }
}
