//! What auditors see and do, so that their steps have no clock, randomness or thread of their own.

use std::sync::Arc;

use aitbc_common::address::Address;
use aitbc_common::identity::PublicKey;
use aitbc_common::ledger::entry::{Entry, StateKey};
use aitbc_common::runtime::status::ApiError;
use bytes::Bytes;
use prost::Message;

use super::figures::Event;
use crate::engine::command::{Command as ToEngine, Reply as FromEngine};
use crate::ledger::command::{Command as ToLedger, Reply as FromLedger};
use crate::sessions::stored::store_error;
use crate::store::rows::{JobRow, decode};
use crate::store::{Batch, Family, Page, Store, ledger_keys};

/// The rest of the coordinator. Whatever fails may have happened all the same.
pub trait Network {
    /// Where jobs, records and audits are.
    fn store(&self) -> &Arc<dyn Store>;

    /// The jobs' time: Unix ms.
    fn now_ms(&self) -> u64;

    /// 32 random bytes.
    fn random(&mut self) -> [u8; 32];

    /// Asks the one writer of jobs.
    fn engine(&mut self, command: ToEngine) -> Result<FromEngine, ApiError>;

    /// Asks the one writer of the log.
    fn ledger(&mut self, command: ToLedger) -> Result<FromLedger, ApiError>;

    /// A miner's reputation on a day since 1970, in millionths.
    fn reputation_ppm(&self, miner: &PublicKey, day: u32) -> u32;

    /// Micro-AIT of fees that a wallet paid in the 30 days that end with this one.
    fn fees(&self, payer: &Address, today: u32) -> u64;

    /// It happened once more.
    fn count(&self, event: Event);

    /// For the operator's log.
    fn note(&mut self, what: std::fmt::Arguments<'_>);
}

impl dyn Network + '_ {
    /// As many random bytes, at most 32.
    pub(super) fn random_part<const N: usize>(&mut self) -> [u8; N] {
        let random = self.random();
        *random.first_chunk().expect("nobody asks for more than 32")
    }

    pub(super) fn read<R: Message + Default>(
        &self,
        family: Family,
        key: &[u8],
    ) -> Result<Option<R>, ApiError> {
        let row = self.read_bytes(family, key)?.map(decode).transpose();
        row.map_err(|error| store_error(&error))
    }

    fn read_bytes(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, ApiError> {
        let found = self.store().get_many(&[(family, key)]);
        let mut found = found.map_err(|error| store_error(&error))?;
        Ok(found.pop().flatten())
    }

    pub(super) fn scan(
        &self,
        family: Family,
        from: &[u8],
        end: &[u8],
        limit: usize,
    ) -> Result<Page, ApiError> {
        let page = self.store().scan(family, from..end, limit);
        page.map_err(|error| store_error(&error))
    }

    /// A job that is over.
    pub(super) fn archived(&self, key: &[u8]) -> Result<Option<JobRow>, ApiError> {
        self.read(Family::Archive, key)
    }

    /// An entry of the ledger's state as of now.
    pub(super) fn entry(&self, key: StateKey) -> Result<Option<Entry>, ApiError> {
        let stored = self.read_bytes(Family::Active, &ledger_keys::state(&key))?;
        Ok(stored.and_then(|bytes| Entry::decode(&key, &bytes).ok()))
    }

    /// Makes rows durable.
    pub(super) fn keep(&mut self, batch: Batch) -> Result<(), ApiError> {
        if !batch.is_empty() {
            self.engine(ToEngine::Keep(batch))?;
        }
        Ok(())
    }
}
