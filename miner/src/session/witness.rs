//! What the miner has seen of the ledger. Its receipts say so: a client holds that against the ledger that it is shown.

use aitbc_common::hash::Hash;
use aitbc_common::identity::PublicKey;
use aitbc_common::ledger::checkpoint::LogIdentity;
use aitbc_common::ledger::log::TreeHead;

/// The newest checkpoint that the coordinator has told.
#[derive(Debug, Clone)]
pub(super) struct Witness {
    log: LogIdentity,
    newest: Option<TreeHead>,
}

impl Witness {
    pub(super) fn new(chain_id: Hash, log_key: PublicKey) -> Self {
        let log = LogIdentity {
            chain_id,
            key: log_key,
        };
        Self { log, newest: None }
    }

    /// Takes a checkpoint that the log's key signed, unless it is older than the one before. What contradicts that one is an
    /// error, and is not taken.
    pub(super) fn see(&mut self, checkpoint: &str) -> Result<(), String> {
        let head = self
            .log
            .open(checkpoint)
            .map_err(|error| error.to_string())?;
        match &self.newest {
            Some(before) if head.size < before.size => Err(format!(
                "the ledger went back from {} records to {}",
                before.size, head.size
            )),
            Some(before) if head.size == before.size && head.root != before.root => Err(format!(
                "the ledger forked: two roots of {} records",
                head.size
            )),
            _ if head.size == 0 => Ok(()),
            _ => {
                self.newest = Some(head);
                Ok(())
            }
        }
    }

    /// Size and root for a receipt; zeros where none was seen.
    pub(super) fn seen(&self) -> (u64, Hash) {
        self.newest
            .map_or((0, Hash::default()), |head| (head.size, head.root))
    }
}

#[cfg(test)]
mod tests {
    use aitbc_common::identity::Identity;
    use aitbc_common::ledger::checkpoint::sign;

    use super::*;

    const CHAIN: Hash = [7; 32];

    fn told(size: u64, root: u8, key: u8) -> String {
        let head = TreeHead {
            size,
            root: [root; 32],
        };
        sign(&CHAIN, &head, &Identity::from_seed(&[key; 32]))
    }

    #[test]
    fn the_newest_signed_checkpoint_is_what_was_seen() {
        let mut witness = Witness::new(CHAIN, Identity::from_seed(&[1; 32]).public());
        assert_eq!(witness.seen(), (0, [0; 32]));
        witness.see(&told(4, 4, 1)).unwrap();
        witness.see(&told(9, 9, 1)).unwrap();
        witness.see(&told(9, 9, 1)).unwrap();
        for (lie, problem) in [
            (told(8, 8, 1), "went back"),
            (told(9, 8, 1), "forked"),
            (told(10, 8, 2), "not signed"),
            (String::new(), "not a checkpoint"),
        ] {
            let refused = witness.see(&lie).unwrap_err();
            assert!(refused.contains(problem), "{refused}");
        }
        assert_eq!(witness.seen(), (9, [9; 32]));
    }
}
