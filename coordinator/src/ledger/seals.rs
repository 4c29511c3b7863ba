//! Seals: about each second a record states the state's root; then the log up to it is signed.

use aitbc_common::layouts::{RecordBody, Seal};
use aitbc_common::ledger::checkpoint;
use aitbc_common::ledger::entry::{AccountId, StateKey};
use aitbc_common::ledger::state_tree::{self, Changes, StateTreeError};
use prost::Message;

use super::command::Effect;
use super::core::LedgerCore;
use super::proofs::StatePages;
use super::rows::CheckpointRow;
use super::turn::{Turn, load_entries};
use crate::store::Reads;
use crate::store::{Family, StoreError, ledger_keys as keys};

impl Turn {
    /// A seal that is durable gets its checkpoint, which may be shown once that is durable too: one root of a size, ever.
    pub fn sign_checkpoint(&mut self, core: &mut LedgerCore) {
        let Some(head) = core.unsigned.take() else {
            return;
        };
        let text = checkpoint::sign(&core.config.rules.chain_id, &head, &core.config.log_key);
        let row = CheckpointRow {
            text: text.clone(),
            size: head.size,
        };
        self.batch
            .put(Family::Active, keys::checkpoint(), row.encode_to_vec());
        self.effects.push(Effect::Released {
            checkpoint: text,
            size: head.size,
        });
    }

    /// Whether this batch ends with a seal.
    pub fn seal_if_due(
        &mut self,
        core: &mut LedgerCore,
        reads: &dyn Reads,
    ) -> Result<bool, StoreError> {
        let Some(since) = core.unsealed_since else {
            return Ok(false);
        };
        let position = core.state.position();
        let (first, count) = (
            position.first_unsealed,
            position.next - position.first_unsealed,
        );
        let due = self.now >= since + core.config.seal_ms || count >= core.config.seal_records;
        if !due || count == 0 {
            return Ok(false);
        }
        let height = position.height;
        let state_root = self.hash_state(core, reads)?;
        let issuance = core.state.account(AccountId::Issuance);
        let seal = Seal {
            height,
            first,
            count: u32::try_from(count).expect("a batch has far fewer records"),
            state_root,
            minted: issuance.debits_posted,
            burned: issuance.credits_posted,
        };
        self.record(core, RecordBody::Seal(seal), reads)?
            .expect("a seal's numbers are those of the state");
        core.state_root = state_root;
        core.unsealed.clear();
        core.unsealed_since = None;
        for first in core.unsealed_rows.drain(..) {
            self.batch.delete(Family::Active, keys::unsealed(first));
        }
        Ok(true)
    }

    /// Brings the tree up to what the state is now.
    fn hash_state(
        &mut self,
        core: &mut LedgerCore,
        reads: &dyn Reads,
    ) -> Result<aitbc_common::hash::Hash, StoreError> {
        let unsealed = core.unsealed.clone();
        let mut needed = unsealed.clone();
        needed.insert(StateKey::Account(AccountId::Issuance));
        load_entries(core, &needed, reads)?;
        let mut changes = Changes::new();
        for key in &unsealed {
            let value = core.state.get(key).map(|entry| entry.encode());
            let tree_key = key.tree_key();
            match &value {
                Some(value) => {
                    self.batch
                        .put(Family::Archive, keys::sealed(&tree_key), value.clone());
                }
                None => self.batch.delete(Family::Archive, keys::sealed(&tree_key)),
            }
            changes.insert(tree_key, value);
        }
        let update = state_tree::update(&StatePages(reads), &core.state_root, &changes).map_err(
            |error| match error {
                StateTreeError::Store(error) => error,
                other => StoreError::Corrupt(other.to_string()),
            },
        )?;
        for (id, page) in update.pages {
            match page {
                Some(page) => self.batch.put(Family::Archive, keys::page(&id), page),
                None => self.batch.delete(Family::Archive, keys::page(&id)),
            }
        }
        Ok(update.root)
    }
}
