//! Checks of single answers against a checkpoint that was accepted.

use aitbc_proto::v1::GetStateProofResponse;
use bytes::Bytes;

use super::refusals;
use crate::hash::Hash;
use crate::layouts::{Record, RecordBody, Seal};
use crate::ledger::entry::{Entry, StateKey};
use crate::ledger::log::{TreeHead, leaf_hash, verify_inclusion};
use crate::ledger::state_tree;
use crate::runtime::errors::CommandError;

/// The lock or unstaking that a record resolves.
pub(super) fn resolved(body: &RecordBody) -> Option<&Hash> {
    match body {
        RecordBody::Post(post) => Some(&post.lock),
        RecordBody::Void { lock, .. } | RecordBody::Expire { lock, .. } => Some(lock),
        _ => None,
    }
}

/// Time and content of the seal that is a checkpoint's last leaf.
pub(super) fn check_seal(
    answer: &GetStateProofResponse,
    head: &TreeHead,
) -> Result<(u64, Seal), CommandError> {
    let last = head
        .size
        .checked_sub(1)
        .ok_or_else(|| refusals::proof("its log is empty"))?;
    let proof = hashes(&answer.seal_inclusion)?;
    verify_inclusion(&proof, last, &leaf_hash(&answer.seal), head).map_err(|error| {
        refusals::proof(format_args!(
            "the seal is not shown to be the checkpoint's: {error}"
        ))
    })?;
    match Record::decode(&answer.seal) {
        Ok(Record {
            body: RecordBody::Seal(seal),
            time_ms,
            ..
        }) => Ok((time_ms, seal)),
        _ => Err(refusals::proof("the checkpoint does not end with a seal")),
    }
}

/// What the state has under a key, by the bytes of a proof.
pub(super) fn check_entry(
    seal: &Seal,
    key: &StateKey,
    proof: &[u8],
) -> Result<Option<Entry>, CommandError> {
    let value =
        state_tree::verify(&seal.state_root, &key.tree_key(), proof).map_err(refusals::proof)?;
    value
        .map(|value| Entry::decode(key, &value))
        .transpose()
        .map_err(refusals::proof)
}

/// Hashes of a proof.
pub(super) fn hashes(given: &[Bytes]) -> Result<Vec<Hash>, CommandError> {
    let hash = |bytes: &Bytes| Hash::try_from(&bytes[..]).ok();
    let hashes: Option<Vec<Hash>> = given.iter().map(hash).collect();
    hashes.ok_or_else(|| refusals::proof("a hash of it has not 32 bytes"))
}
