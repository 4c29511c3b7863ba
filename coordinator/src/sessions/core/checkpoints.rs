//! Checkpoints, at most a few each second: verifying one is dear, and a newer one says all that an older one did.

use aitbc_common::layouts::StreamCheckpoint;
use aitbc_proto::v1;

use super::{Action, SessionCore};

/// Time between two checkpoints of an attempt that are verified; a miner signs one each second.
pub const CHECKPOINT_EVERY_MS: u64 = 250;
/// Bytes of a signature.
const SIGNATURE_BYTES: usize = 64;

impl SessionCore {
    /// Has it verified now, or later unless a newer one comes.
    pub(super) fn checkpoint(&mut self, checkpoint: v1::Checkpoint, now_ms: u64) {
        let Some(attempt) = self.attempt(&checkpoint.job_id, checkpoint.attempt) else {
            return;
        };
        let held = self.held.get_mut(&attempt);
        let Some(held) = held.filter(|held| !held.stopped) else {
            return;
        };
        let Ok(layout) = StreamCheckpoint::decode(&checkpoint.checkpoint) else {
            return;
        };
        if checkpoint.signature.len() != SIGNATURE_BYTES {
            return;
        }
        if now_ms >= held.checkpoint_at_ms {
            held.checkpoint_at_ms = now_ms + CHECKPOINT_EVERY_MS;
            held.checkpoint = None;
            return self.actions.push(Action::Checkpoint(attempt, checkpoint));
        }
        let waiting = held.checkpoint.as_ref();
        if waiting.is_none_or(|(offset, _)| *offset < layout.offset) {
            held.checkpoint = Some((layout.offset, checkpoint));
            let due = held.checkpoint_at_ms;
            self.checkpoints_due_ms = Some(self.checkpoints_due_ms.map_or(due, |at| at.min(due)));
        }
    }

    /// Has those verified that waited long enough.
    pub(super) fn release_checkpoints(&mut self, now_ms: u64) {
        if self.checkpoints_due_ms.is_none_or(|due| now_ms < due) {
            return;
        }
        self.checkpoints_due_ms = None;
        for (attempt, held) in &mut self.held {
            if held.checkpoint.is_none() || held.stopped {
                held.checkpoint = None;
                continue;
            }
            if now_ms < held.checkpoint_at_ms {
                let due = held.checkpoint_at_ms;
                self.checkpoints_due_ms =
                    Some(self.checkpoints_due_ms.map_or(due, |at| at.min(due)));
            } else if let Some((_, checkpoint)) = held.checkpoint.take() {
                held.checkpoint_at_ms = now_ms + CHECKPOINT_EVERY_MS;
                self.actions.push(Action::Checkpoint(*attempt, checkpoint));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use aitbc_proto::v1::miner_message::Message as Up;

    use super::*;
    use crate::sessions::core_tests::{Buffers, attempt, open};

    fn send(core: &mut SessionCore, buffers: &mut Buffers, offset: u64, now_ms: u64) {
        let layout = StreamCheckpoint {
            flags: 0,
            chain_id: [1; 32],
            job_id: attempt().job_id,
            attempt: 2,
            job_ref: [2; 32],
            offset,
            hash: [3; 32],
            tokens_out: 1,
            work_ms: 1,
        };
        let checkpoint = v1::Checkpoint {
            job_id: attempt().job_id.to_string(),
            attempt: 2,
            checkpoint: layout.encode().into(),
            signature: vec![0; SIGNATURE_BYTES].into(),
        };
        core.message(Up::Checkpoint(checkpoint), buffers, now_ms);
    }

    /// The offsets of the checkpoints that are verified.
    fn verified(core: &mut SessionCore) -> Vec<u64> {
        let offset = |action| match action {
            Action::Checkpoint(_, checkpoint) => Some(
                StreamCheckpoint::decode(&checkpoint.checkpoint)
                    .unwrap()
                    .offset,
            ),
            _ => None,
        };
        core.take_actions().into_iter().filter_map(offset).collect()
    }

    #[test]
    fn of_many_checkpoints_a_few_each_second_are_verified_and_always_the_newest() {
        let (mut core, mut buffers) = open();
        for now in 1_000..11_000 {
            core.tick(now);
            send(&mut core, &mut buffers, now, now);
            // Delivered again, after a newer one.
            send(&mut core, &mut buffers, now - 5, now);
        }
        let seen = verified(&mut core);
        assert!((39..=41).contains(&seen.len()), "{} in 10 s", seen.len());
        assert!(seen.is_sorted(), "{seen:?}");
        let due = core.deadline_ms();
        assert!(due <= 11_000 + CHECKPOINT_EVERY_MS);
        core.tick(due);
        assert_eq!(verified(&mut core), [10_999], "the last one is not lost");
        assert!(
            core.deadline_ms() > due + CHECKPOINT_EVERY_MS,
            "nothing waits"
        );
        // One each second, as miners sign them, goes on at once.
        send(&mut core, &mut buffers, 20_000, due + 1_000);
        assert_eq!(verified(&mut core), [20_000]);
    }

    #[test]
    fn what_is_no_checkpoint_is_not_kept() {
        let (mut core, mut buffers) = open();
        let garbage = v1::Checkpoint {
            job_id: attempt().job_id.to_string(),
            attempt: 2,
            checkpoint: vec![0; 1 << 20].into(),
            signature: vec![0; SIGNATURE_BYTES].into(),
        };
        core.message(Up::Checkpoint(garbage), &mut buffers, 3);
        assert!(verified(&mut core).is_empty());
    }
}
