//! Which epoch owns each shard of an open store.

use std::ops::RangeInclusive;

use super::{Fence, LEDGER_PARTITION, StoreError};

const PARTITIONS: usize = LEDGER_PARTITION as usize + 1;

/// The claims of one open store. Claims end when it is closed; only the last epoch is kept, so that
/// an old fence never looks like a new one.
#[derive(Debug)]
pub(super) struct Fences {
    last_epoch: u64,
    owners: [u64; PARTITIONS],
}

impl Fences {
    /// No shard is claimed; epochs go on after `last_epoch`.
    pub(super) fn new(last_epoch: u64) -> Self {
        Self {
            last_epoch,
            owners: [0; PARTITIONS],
        }
    }

    pub(super) fn last_epoch(&self) -> u64 {
        self.last_epoch
    }

    /// Gives `shards` to a new epoch, after `persist` has made that epoch durable.
    pub(super) fn claim(
        &mut self,
        shards: RangeInclusive<u8>,
        persist: impl FnOnce(u64) -> Result<(), StoreError>,
    ) -> Result<Fence, StoreError> {
        if shards.is_empty() || *shards.end() > LEDGER_PARTITION {
            return Err(StoreError::Unavailable(format!(
                "shards {}..={} cannot be claimed: there are 0 to {LEDGER_PARTITION}",
                shards.start(),
                shards.end(),
            )));
        }
        let epoch = self.last_epoch + 1;
        // An epoch whose write failed may be stored nevertheless: it is spent either way.
        self.last_epoch = epoch;
        persist(epoch)?;
        for shard in shards.clone() {
            self.owners[usize::from(shard)] = epoch;
        }
        Ok(Fence { epoch, shards })
    }

    /// Whether `fence` still owns all its shards.
    pub(super) fn check(&self, fence: &Fence) -> Result<(), StoreError> {
        let owned = fence
            .shards()
            .all(|shard| self.owners[usize::from(shard)] == fence.epoch);
        if owned {
            Ok(())
        } else {
            Err(StoreError::Fenced)
        }
    }
}
