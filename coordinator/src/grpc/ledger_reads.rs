//! What LedgerService reads from the store; the ledger's thread is not asked.

use std::sync::Arc;
use std::time::Duration;

use aitbc_common::address::Address;
use aitbc_common::hash::Hash;
use aitbc_common::identity::PublicKey;
use aitbc_common::layouts::{Record, RecordBody};
use aitbc_common::ledger::entry::{Account, AccountId, Entry, StateKey};
use aitbc_common::ledger::{log, state_tree};
use aitbc_common::runtime::status::ApiError;
use aitbc_common::runtime::unix_ms;
use aitbc_proto::v1::{self, ErrorReason};
use bytes::Bytes;

use super::convert;
use crate::ledger::driver::{LedgerHandle, Published};
use crate::ledger::proofs::{LogRows, StatePages, leaf, log_refusal};
use crate::ledger::rows::{LedgerRow, TransactionRow, split_record};
use crate::sessions::stored::blocking;
use crate::store::{Family, Store, StoreError, keys::prefix_end, ledger_keys as keys, rows};

/// Stakes told of one wallet.
const MAX_STAKES: usize = 1_000;
/// Records that are told of one receipt: 16 locks may pay for it.
const EVIDENCE_RECORDS: usize = 64;
/// Keys of one state proof.
const MAX_KEYS: usize = 64;
/// Bytes of leaves in one message.
const LEAVES_BYTES: usize = 128 << 10;
/// Leaves read at once.
const LEAVES: u64 = 1_024;
/// A state proof that was read across a seal is read again this often, with a pause.
const PROOF_TRIES: usize = 50;
const PROOF_PAUSE: Duration = Duration::from_millis(20);

type Reads = Arc<dyn Store>;

fn entry(store: &Reads, key: &StateKey) -> Result<Option<Entry>, StoreError> {
    let name = keys::state(key);
    let row = store
        .get_many(&[(Family::Active, name.as_slice())])?
        .into_iter()
        .next()
        .flatten();
    row.map(|bytes| {
        Entry::decode(key, &bytes).map_err(|error| StoreError::Corrupt(error.to_string()))
    })
    .transpose()
}

fn account_of(store: &Reads, id: AccountId) -> Result<Account, StoreError> {
    Ok(match entry(store, &StateKey::Account(id))? {
        Some(Entry::Account(account)) => account,
        _ => Account::default(),
    })
}

/// An account as of now.
pub(super) fn account(
    store: &Reads,
    address: Address,
    identity: Option<PublicKey>,
) -> Result<v1::GetAccountResponse, StoreError> {
    let account = account_of(store, AccountId::Wallet(address))?;
    let prefix = keys::stakes_of(address);
    let end = prefix_end(&prefix);
    let mut stakes = Vec::new();
    for (name, _) in store.scan(Family::Archive, &prefix..&end, MAX_STAKES)?.rows {
        let Some(miner) = name.last_chunk::<32>().map(|key| PublicKey(*key)) else {
            continue;
        };
        if entry(store, &StateKey::Staker(miner))? != Some(Entry::Staker(address)) {
            continue;
        }
        let stake = account_of(store, AccountId::Stake(miner))?;
        stakes.push(v1::Stake {
            miner_key: miner.0.to_vec().into(),
            staked_micro_ait: micro(stake.available()),
            leaving_micro_ait: micro(stake.debits_pending),
        });
    }
    let allowance = match identity {
        Some(identity) => entry(store, &StateKey::Allowance(address, identity))?,
        None => None,
    };
    let allowance = match allowance {
        Some(Entry::Allowance(allowance)) => Some(v1::Allowance {
            amount_micro_ait: allowance.amount,
            used_micro_ait: allowance.used,
            expires_at: convert::timestamp(allowance.expires_at),
            seq: allowance.seq,
            next_nonce: allowance.nonce,
        }),
        _ => None,
    };
    Ok(v1::GetAccountResponse {
        available_micro_ait: micro(account.available()),
        locked_micro_ait: micro(account.debits_pending),
        next_nonce: account.nonce,
        stakes,
        allowance,
        time: convert::timestamp(ledger_time(store)?),
    })
}

/// Ledger time is never behind the newest record, wherever the wall clock stands.
fn ledger_time(store: &Reads) -> Result<u64, StoreError> {
    let name = keys::ledger();
    let row = store
        .get_many(&[(Family::Active, name.as_slice())])?
        .into_iter()
        .next()
        .flatten();
    let row: LedgerRow = row.map(rows::decode).transpose()?.unwrap_or_default();
    Ok(unix_ms().max(row.time_ms))
}

/// Balances stay below 2^63, as the supply does.
fn micro(amount: u128) -> u64 {
    u64::try_from(amount).unwrap_or(u64::MAX)
}

fn record(store: &Reads, index: u64) -> Result<Option<v1::LogRecord>, StoreError> {
    Ok(leaf(store, index)?.map(|leaf| v1::LogRecord {
        index,
        leaf: leaf.into(),
    }))
}

/// A transaction and what became of it.
pub(super) fn transaction(
    store: &Reads,
    id: &Hash,
) -> Result<Option<v1::GetTransactionResponse>, StoreError> {
    let name = keys::transaction(id);
    let row = store
        .get_many(&[(Family::Archive, name.as_slice())])?
        .into_iter()
        .next()
        .flatten();
    let Some(row) = row.map(rows::decode::<TransactionRow>).transpose()? else {
        return Ok(None);
    };
    let resolution = match row.resolution {
        Some(index) => record(store, index)?,
        None => None,
    };
    Ok(Some(v1::GetTransactionResponse {
        record: record(store, row.index)?,
        resolution,
    }))
}

/// Records that rest on a receipt or a stream checkpoint, oldest first.
pub(super) fn evidence(store: &Reads, id: &Hash) -> Result<Vec<v1::LogRecord>, StoreError> {
    let prefix = keys::evidence_of(id);
    let end = prefix_end(&prefix);
    let page = store.scan(Family::Archive, &prefix..&end, EVIDENCE_RECORDS)?;
    let mut records = Vec::new();
    for index in page.rows.iter().filter_map(|(name, _)| keys::number(name)) {
        records.extend(record(store, index)?);
    }
    Ok(records)
}

/// A page of a wallet's records, newest first; `before` is the last index of the page before.
pub(super) fn history(
    store: &Reads,
    address: Address,
    before: Option<u64>,
    size: usize,
) -> Result<v1::ListTransactionsResponse, StoreError> {
    let prefix = keys::history_of(address);
    let end = prefix_end(&prefix);
    let start = match before {
        Some(0) => return Ok(v1::ListTransactionsResponse::default()),
        Some(index) => keys::history(address, index - 1),
        None => prefix,
    };
    let page = store.scan(Family::Archive, &start..&end, size)?;
    let indexes = page
        .rows
        .iter()
        .filter_map(|(name, _)| keys::number(name).map(|inverted| !inverted));
    let mut records = Vec::new();
    for index in indexes {
        records.extend(record(store, index)?);
    }
    let last = records.last().filter(|_| page.next.is_some());
    let next_page_token = last
        .map(|record| record.index.to_string())
        .unwrap_or_default();
    Ok(v1::ListTransactionsResponse {
        records,
        next_page_token,
    })
}

/// Some leaves from `start` on, at least one.
pub(super) fn leaves(store: &Reads, start: u64, end: u64) -> Result<Vec<Bytes>, StoreError> {
    let (from, to) = (keys::record(start), keys::record(end.min(start + LEAVES)));
    let limit = usize::try_from(LEAVES).unwrap_or(usize::MAX);
    let mut leaves = Vec::new();
    let mut bytes = 0;
    for ((_, row), index) in store
        .scan(Family::Archive, &from..&to, limit)?
        .rows
        .into_iter()
        .zip(start..)
    {
        let Some((_, leaf)) = split_record(&row) else {
            return Err(StoreError::Corrupt(format!("record {index} is damaged")));
        };
        bytes += leaf.len();
        if bytes > LEAVES_BYTES && !leaves.is_empty() {
            break;
        }
        leaves.push(row.slice_ref(leaf));
    }
    if leaves.is_empty() {
        return Err(StoreError::Corrupt(format!("record {start} is missing")));
    }
    Ok(leaves)
}

fn hashes(proof: Vec<Hash>) -> Vec<Bytes> {
    proof.into_iter().map(|hash| hash.to_vec().into()).collect()
}

/// Proof that a record is in the log of a size.
pub(super) fn inclusion(store: &Reads, index: u64, size: u64) -> Result<Vec<Bytes>, ApiError> {
    let proof = log::prove_inclusion(&LogRows(store), index, size);
    proof.map(hashes).map_err(|error| log_refusal(&error))
}

/// Proof that the log of one size begins with that of another.
pub(super) fn consistency(store: &Reads, old: u64, new: u64) -> Result<Vec<Bytes>, ApiError> {
    let proof = log::prove_consistency(&LogRows(store), old, new);
    proof.map(hashes).map_err(|error| log_refusal(&error))
}

/// The keys that a caller asks for.
pub(super) fn state_keys(given: &[Bytes]) -> Result<Vec<StateKey>, ApiError> {
    if given.is_empty() || given.len() > MAX_KEYS {
        return Err(ApiError::field(
            "keys",
            format!("has {} keys, 1 to {MAX_KEYS} are allowed", given.len()),
        ));
    }
    let parse = |key: &Bytes| {
        StateKey::from_bytes(key)
            .ok_or_else(|| ApiError::field("keys", "has bytes that are no key of the state"))
    };
    given.iter().map(parse).collect()
}

/// Proofs against the newest checkpoint. While a seal is written and its checkpoint is not out yet, what is stored is newer
/// than the checkpoint: then it is read again.
pub(super) async fn state_proof(
    ledger: &LedgerHandle,
    wanted: Vec<StateKey>,
) -> Result<v1::GetStateProofResponse, ApiError> {
    for _ in 0..PROOF_TRIES {
        let published = ledger.signals().published.borrow().clone();
        let (store, keys) = (ledger.store(), wanted.clone());
        if published.size > 0
            && let Some(proof) = blocking(move || Ok(proofs_at(&store, &published, &keys))).await?
        {
            return Ok(proof);
        }
        tokio::time::sleep(PROOF_PAUSE).await;
    }
    let message = "the ledger is being sealed; ask again";
    Err(ApiError::new(ErrorReason::Unavailable, message).retry_after(Duration::from_secs(1)))
}

fn proofs_at(
    store: &Reads,
    published: &Published,
    wanted: &[StateKey],
) -> Option<v1::GetStateProofResponse> {
    let last = published.size.checked_sub(1)?;
    let seal = leaf(store, last).ok()??;
    let RecordBody::Seal(body) = Record::decode(&seal).ok()?.body else {
        return None;
    };
    let mut proofs = Vec::with_capacity(wanted.len());
    for key in wanted {
        let tree_key = key.tree_key();
        let proof = state_tree::prove(&StatePages(store), &body.state_root, &tree_key).ok()?;
        let value = proof.verify(&body.state_root, &tree_key).ok()?;
        proofs.push(v1::StateProof {
            key: key.bytes().into(),
            value: value.map(Bytes::copy_from_slice).unwrap_or_default(),
            proof: proof.encode().into(),
        });
    }
    Some(v1::GetStateProofResponse {
        checkpoint: published.checkpoint.clone(),
        seal_inclusion: inclusion(store, last, published.size).ok()?,
        seal: seal.into(),
        proofs,
    })
}
