//! Keys of the ledger's tables. Frozen: a change needs a new table byte. All stand in one partition of their own.

use aitbc_common::address::Address;
use aitbc_common::hash::Hash;
use aitbc_common::identity::PublicKey;
use aitbc_common::ledger::entry::StateKey;
use aitbc_common::ledger::state_tree::PageId;

use super::LEDGER_PARTITION;

/// The ledger's own row: [`super::Family::Active`].
const LEDGER: u8 = b'L';
/// The newest signed checkpoint: [`super::Family::Active`].
const CHECKPOINT: u8 = b'c';
/// Keys of the state that changed since the newest seal, by batch: [`super::Family::Active`].
const UNSEALED: u8 = b'd';
/// What the ledger has to tell the jobs: [`super::Family::Active`].
const NOTICE: u8 = b'n';
/// The state as of now: [`super::Family::Active`].
const STATE: u8 = b's';
/// Records and their hashes: [`super::Family::Archive`].
const RECORD: u8 = b'l';
/// Where transactions and what resolved them are: [`super::Family::Archive`].
const TRANSACTION: u8 = b't';
/// Records of each wallet: [`super::Family::Archive`].
const HISTORY: u8 = b'h';
/// What each address had from the faucet: [`super::Family::Archive`].
const FAUCET: u8 = b'f';
/// Pages of the state tree, as of the newest seal: [`super::Family::Archive`].
const PAGE: u8 = b'p';
/// Values in the state tree, as of the newest seal: [`super::Family::Archive`].
const SEALED: u8 = b'v';
/// Jobs that were paid: [`super::Family::Archive`].
const PAID: u8 = b'j';
/// Records that rest on a receipt or a stream checkpoint: [`super::Family::Archive`].
const EVIDENCE: u8 = b'e';
/// Miners on which a wallet has staked: [`super::Family::Archive`].
const STAKES: u8 = b'k';

fn key(table: u8, rest: &[u8]) -> Vec<u8> {
    [&[LEDGER_PARTITION, table], rest].concat()
}

/// The ledger's own row.
#[must_use]
pub fn ledger() -> Vec<u8> {
    key(LEDGER, &[])
}

/// The newest signed checkpoint.
#[must_use]
pub fn checkpoint() -> Vec<u8> {
    key(CHECKPOINT, &[])
}

/// Keys that changed in the batch whose first record this is.
#[must_use]
pub fn unsealed(first_index: u64) -> Vec<u8> {
    key(UNSEALED, &first_index.to_be_bytes())
}

/// Prefix of all of them.
#[must_use]
pub fn all_unsealed() -> Vec<u8> {
    key(UNSEALED, &[])
}

/// A notice.
#[must_use]
pub fn notice(sequence: u64) -> Vec<u8> {
    key(NOTICE, &sequence.to_be_bytes())
}

/// Prefix of all notices.
#[must_use]
pub fn notices() -> Vec<u8> {
    key(NOTICE, &[])
}

/// The number at the end of a key of [`notice`], [`unsealed`], [`record`] or [`evidence`].
#[must_use]
pub fn number(key: &[u8]) -> Option<u64> {
    key.last_chunk().map(|number| u64::from_be_bytes(*number))
}

/// An entry of the state.
#[must_use]
pub fn state(entry: &StateKey) -> Vec<u8> {
    key(STATE, &entry.bytes())
}

/// Prefix of all entries of one type.
#[must_use]
pub fn state_of_type(kind: u8) -> Vec<u8> {
    key(STATE, &[kind])
}

/// Prefix of the allowances that a wallet gave.
#[must_use]
pub fn allowances_of(account: Address) -> Vec<u8> {
    let first = StateKey::Allowance(account, PublicKey::default()).bytes();
    key(STATE, &first[..first.len() - 32])
}

/// The entry of a key of [`state`].
#[must_use]
pub fn parse_state(key: &[u8]) -> Option<StateKey> {
    StateKey::from_bytes(key.get(2..)?)
}

/// A record and its hashes.
#[must_use]
pub fn record(index: u64) -> Vec<u8> {
    key(RECORD, &index.to_be_bytes())
}

/// Where a transaction is.
#[must_use]
pub fn transaction(id: &Hash) -> Vec<u8> {
    key(TRANSACTION, id)
}

/// Prefix of a wallet's records, newest first.
#[must_use]
pub fn history_of(account: Address) -> Vec<u8> {
    key(HISTORY, &account.0)
}

/// A record that changed a wallet.
#[must_use]
pub fn history(account: Address, index: u64) -> Vec<u8> {
    let mut key = history_of(account);
    key.extend((!index).to_be_bytes());
    key
}

/// What an address had from the faucet.
#[must_use]
pub fn faucet(account: Address) -> Vec<u8> {
    key(FAUCET, &account.0)
}

/// A job that was paid, by its job_ref.
#[must_use]
pub fn paid(job_ref: &Hash) -> Vec<u8> {
    key(PAID, job_ref)
}

/// Prefix of the records that rest on a receipt or a stream checkpoint, oldest first.
#[must_use]
pub fn evidence_of(id: &Hash) -> Vec<u8> {
    key(EVIDENCE, id)
}

/// A record that rests on it.
#[must_use]
pub fn evidence(id: &Hash, index: u64) -> Vec<u8> {
    let mut key = evidence_of(id);
    key.extend(index.to_be_bytes());
    key
}

/// A page of the state tree.
#[must_use]
pub fn page(id: &PageId) -> Vec<u8> {
    key(PAGE, &id.to_bytes())
}

/// A value in the state tree.
#[must_use]
pub fn sealed(tree_key: &Hash) -> Vec<u8> {
    key(SEALED, tree_key)
}

/// Prefix of the miners on which a wallet has staked.
#[must_use]
pub fn stakes_of(account: Address) -> Vec<u8> {
    key(STAKES, &account.0)
}

/// A miner on which a wallet has staked.
#[must_use]
pub fn stake(account: Address, miner: &Hash) -> Vec<u8> {
    let mut key = stakes_of(account);
    key.extend(miner);
    key
}
