//! Attempts' streams, as the coordinator's sessions fill them and its store keeps them.

use aitbc_common::limits::CHUNK_BYTES;
use aitbc_coordinator::engine::command::AttemptId;
use aitbc_coordinator::sessions::core::StreamKind;
use aitbc_coordinator::sessions::output_buffer::OutputBuffer;
use aitbc_coordinator::sessions::streams::{AttemptFacts, AttemptStream};
use aitbc_coordinator::store::{Batch, Durability, Family, StoreError, keys};

use super::coordinator::Coordinator;

/// The streams of an attempt; on request with the rule broken that a chunk goes where its offset says.
pub fn new_stream(facts: AttemptFacts, ignores_offsets: bool) -> AttemptStream {
    let stream = AttemptStream::new(facts);
    if ignores_offsets {
        for kind in [StreamKind::Output, StreamKind::Result] {
            stream.with(kind, OutputBuffer::ignore_offsets);
        }
    }
    stream
}

impl Coordinator {
    /// Stores what is too much of a stream for memory, or all of it; not synced.
    pub fn spill(
        &self,
        stream: &AttemptStream,
        kind: StreamKind,
        all: bool,
    ) -> Result<(), StoreError> {
        let Some(running) = &self.running else {
            return Ok(());
        };
        let Some(spill) = stream.spill(kind, all) else {
            return Ok(());
        };
        let AttemptId { job_id, attempt } = stream.facts.attempt;
        let mut batch = Batch::new();
        let mut offset = spill.offset;
        for chunk in spill.data.chunks(CHUNK_BYTES) {
            batch.put(
                Family::Output,
                keys::output(job_id, attempt, kind as u8, offset),
                chunk.to_vec(),
            );
            offset += chunk.len() as u64;
        }
        self.store
            .commit(&running.fence, batch, Durability::Buffered)?;
        stream.with(kind, |buffer| buffer.confirm(offset));
        Ok(())
    }
}
