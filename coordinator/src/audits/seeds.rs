//! Seeds: each day's is settled in the log the day before, draws on its day, and is told two days later.

use aitbc_common::hash::Hash;
use aitbc_common::ledger::audits;
use aitbc_common::ledger::entry::{AuditSeed, Entry, StateKey};
use aitbc_common::market::day_of;
use aitbc_common::runtime::status::ApiError;
use bytes::Bytes;
use prost::Message;

use super::auditor::Auditor;
use super::network::Network;
use super::rows::{self, SeedRow};
use crate::ledger::command::{AuditRecord, Command, Reply};
use crate::sessions::stored::store_error;
use crate::store::keys::{DAY_MS, prefix_end};
use crate::store::rows::decode;
use crate::store::{Batch, Family};

/// Seeds that are kept, at most: of today, tomorrow, and those that are not told yet.
const SEEDS: usize = 1_000;

impl Auditor {
    /// Settles today's and tomorrow's seeds, and tells those whose time has come.
    pub fn keep_seeds(&self, network: &mut dyn Network, now: u64) -> Result<(), ApiError> {
        let today = day_of(now);
        for day in [today, today.saturating_add(1)] {
            let row: Option<SeedRow> = network.read(Family::Active, &rows::seed(day))?;
            match row {
                Some(row) if row.committed => {}
                Some(row) => self.commit_to(network, day, row)?,
                None => {
                    let row = new_seed(network, day)?;
                    self.commit_to(network, day, row)?;
                }
            }
        }
        let (from, end) = (rows::seeds(), prefix_end(&rows::seeds()));
        let page = network.scan(Family::Active, &from, &end, SEEDS)?;
        for (key, row) in page.rows {
            let row: SeedRow = decode(row).map_err(|error| store_error(&error))?;
            let Some(day) = rows::seed_day(&key) else {
                continue;
            };
            if now >= (u64::from(day) + 2) * DAY_MS && tell(network, day, &row)? {
                let mut batch = Batch::new();
                batch.delete(Family::Active, key);
                batch.delete(Family::Active, rows::spent(day));
                network.keep(batch)?;
            }
        }
        Ok(())
    }

    fn commit_to(&self, network: &mut dyn Network, day: u32, row: SeedRow) -> Result<(), ApiError> {
        let Ok(seed) = Hash::try_from(row.seed.as_ref()) else {
            return Ok(());
        };
        let commitment = audits::commitment(&self.chain_id, day, &seed);
        let said = AuditRecord::Commit { day, commitment };
        let is_ours = match network.ledger(Command::Audit(said))? {
            Reply::Audited(_) => true,
            // It was recorded before a crash, or another seed was.
            _ => in_log(network, day)?.is_some_and(|known| known.commitment == commitment),
        };
        if is_ours {
            let row = SeedRow {
                committed: true,
                committed_ms: network.now_ms(),
                ..row
            };
            return put_seed(network, day, &row);
        }
        Ok(())
    }
}

fn new_seed(network: &mut dyn Network, day: u32) -> Result<SeedRow, ApiError> {
    let seed = network.random();
    let row = SeedRow {
        seed: Bytes::copy_from_slice(&seed),
        ..SeedRow::default()
    };
    put_seed(network, day, &row)?;
    Ok(row)
}

fn put_seed(network: &mut dyn Network, day: u32, row: &SeedRow) -> Result<(), ApiError> {
    let mut batch = Batch::new();
    batch.put(Family::Active, rows::seed(day), row.encode_to_vec());
    network.keep(batch)
}

/// Whether the log has the seed now, or can never have it.
fn tell(network: &mut dyn Network, day: u32, row: &SeedRow) -> Result<bool, ApiError> {
    let Ok(seed) = Hash::try_from(row.seed.as_ref()) else {
        return Ok(true);
    };
    if !row.committed {
        return Ok(true);
    }
    let said = AuditRecord::Reveal { day, seed };
    let reply = network.ledger(Command::Audit(said))?;
    let known = in_log(network, day)?;
    Ok(matches!(reply, Reply::Audited(_)) || known.is_none_or(|known| known.seed == seed))
}

/// What the log says of a day's seed.
fn in_log(network: &dyn Network, day: u32) -> Result<Option<AuditSeed>, ApiError> {
    let entry = network.entry(StateKey::AuditSeed(day))?;
    Ok(entry.and_then(|entry| match entry {
        Entry::AuditSeed(seed) => Some(seed),
        _ => None,
    }))
}
