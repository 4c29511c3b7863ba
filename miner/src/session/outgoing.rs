//! What is sent, and when: batches are made on demand, so that nothing piles up before a slow stream.

use std::time::Duration;

use aitbc_common::limits::SESSION_BATCH_BYTES;
use aitbc_proto::v1::MinerMessage;
use aitbc_proto::v1::miner_message::Message;

use super::AttemptKey;
use super::attempt::Attempt;
use super::core::{Phase, SessionCore};

/// Most output of one attempt in a message while several attempts share a batch.
const PART_BYTES: usize = 64 << 10;
/// Room that a message takes besides its data.
const ENVELOPE_BYTES: usize = 256;

impl SessionCore {
    /// The messages to send now, in order: at most 256 KiB unless one alone is larger; `None` where nothing waits.
    ///
    /// To be called when the stream can take a batch, after [`SessionCore::handle`] and at [`SessionCore::next_flush`].
    pub fn outgoing(&mut self, now: Duration) -> Option<Vec<MinerMessage>> {
        if !matches!(self.phase, Phase::Greeted { .. } | Phase::Open(_)) {
            return None;
        }
        let mut batch = Vec::new();
        let mut bytes = 0;
        while let Some(message) = self.waiting.front() {
            let size = size(message);
            if bytes > 0 && bytes + size > SESSION_BATCH_BYTES {
                return Some(batch);
            }
            bytes += size;
            batch.extend(self.waiting.pop_front().map(wrap));
        }
        if self.is_open() {
            self.add_attempts(now, &mut batch, bytes);
        }
        (!batch.is_empty()).then_some(batch)
    }

    /// Takes turns among the attempts, beginning after the one that was served last.
    fn add_attempts(&mut self, now: Duration, batch: &mut Vec<MinerMessage>, mut bytes: usize) {
        let mut keys: Vec<AttemptKey> = self.attempts.keys().copied().collect();
        let first = self
            .served
            .map_or(0, |served| keys.partition_point(|key| *key <= served));
        keys.rotate_left(first);
        let mut idle = 0;
        for key in keys.iter().cycle() {
            let room = SESSION_BATCH_BYTES.saturating_sub(bytes + ENVELOPE_BYTES);
            if idle == keys.len() || room < PART_BYTES && !batch.is_empty() {
                return;
            }
            match self
                .attempts
                .get_mut(key)
                .and_then(|attempt| attempt.next_message(*key, now, room.min(PART_BYTES)))
            {
                Some(message) => {
                    bytes += size(&message);
                    batch.push(wrap(message));
                    self.served = Some(*key);
                    idle = 0;
                }
                None => idle += 1,
            }
        }
    }

    /// When time alone makes something ready for [`SessionCore::outgoing`]; output waits up to 40 ms for
    /// company, that of agents does not.
    pub fn next_flush(&self) -> Option<Duration> {
        if !self.waiting.is_empty() {
            return Some(Duration::ZERO);
        }
        if !self.is_open() {
            return None;
        }
        self.attempts.values().filter_map(Attempt::next_flush).min()
    }
}

fn size(message: &Message) -> usize {
    message.encoded_len() + 8
}

fn wrap(message: Message) -> MinerMessage {
    MinerMessage {
        message: Some(message),
    }
}
