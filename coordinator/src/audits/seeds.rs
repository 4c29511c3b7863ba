//! Seeds: each day's is settled in the log the day before, draws on its day, and is told two days later.

use aitbc_common::hash::Hash;
use aitbc_common::ledger::audits;
use aitbc_common::ledger::entry::{AuditSeed, Entry, StateKey};
use aitbc_common::market::day_of;
use aitbc_common::runtime::random_bytes;
use aitbc_common::runtime::status::ApiError;
use bytes::Bytes;
use prost::Message;

use super::driver::Auditor;
use super::rows::{self, SeedRow};
use crate::ledger::command::{AuditRecord, Command, Reply};
use crate::store::keys::{DAY_MS, prefix_end};
use crate::store::rows::decode;
use crate::store::{Batch, Family, ledger_keys};

/// Seeds that are kept, at most: of today, tomorrow, and those that are not told yet.
const SEEDS: usize = 1_000;

impl Auditor {
    /// Settles today's and tomorrow's seeds, and tells those whose time has come.
    pub(super) async fn keep_seeds(&self, now: u64) -> Result<(), ApiError> {
        let today = day_of(now);
        for day in [today, today.saturating_add(1)] {
            let row: Option<SeedRow> = self.read(Family::Active, rows::seed(day)).await?;
            match row {
                Some(row) if row.committed => {}
                Some(row) => self.commit_to(day, row).await?,
                None => self.commit_to(day, self.new_seed(day).await?).await?,
            }
        }
        let page = self
            .scan(
                Family::Active,
                rows::seeds(),
                prefix_end(&rows::seeds()),
                SEEDS,
            )
            .await?;
        for (key, row) in page.rows {
            let row: SeedRow =
                decode(row).map_err(|error| crate::sessions::stored::store_error(&error))?;
            let Some(day) = rows::seed_day(&key) else {
                continue;
            };
            if now >= (u64::from(day) + 2) * DAY_MS && self.tell(day, &row).await? {
                let mut batch = Batch::new();
                batch.delete(Family::Active, key);
                batch.delete(Family::Active, rows::spent(day));
                self.commit(batch).await?;
            }
        }
        Ok(())
    }

    async fn new_seed(&self, day: u32) -> Result<SeedRow, ApiError> {
        let seed = random_bytes::<32>();
        let row = SeedRow {
            seed: Bytes::copy_from_slice(&seed),
            ..SeedRow::default()
        };
        self.put_seed(day, &row).await?;
        Ok(row)
    }

    async fn put_seed(&self, day: u32, row: &SeedRow) -> Result<(), ApiError> {
        let mut batch = Batch::new();
        batch.put(Family::Active, rows::seed(day), row.encode_to_vec());
        self.commit(batch).await
    }

    async fn commit_to(&self, day: u32, row: SeedRow) -> Result<(), ApiError> {
        let Ok(seed) = Hash::try_from(row.seed.as_ref()) else {
            return Ok(());
        };
        let commitment = audits::commitment(&self.chain_id, day, &seed);
        let said = AuditRecord::Commit { day, commitment };
        let reply = self.ledger.call(Command::Audit(said)).await?;
        let is_ours = match reply {
            Reply::Audited(_) => true,
            // It was recorded before a crash, or another seed was.
            _ => self
                .in_log(day)
                .await?
                .is_some_and(|known| known.commitment == commitment),
        };
        if is_ours {
            let row = SeedRow {
                committed: true,
                committed_ms: self.engine.now_ms(),
                ..row
            };
            return self.put_seed(day, &row).await;
        }
        Ok(())
    }

    /// Whether the log has the seed now, or can never have it.
    async fn tell(&self, day: u32, row: &SeedRow) -> Result<bool, ApiError> {
        let Ok(seed) = Hash::try_from(row.seed.as_ref()) else {
            return Ok(true);
        };
        if !row.committed {
            return Ok(true);
        }
        let said = AuditRecord::Reveal { day, seed };
        let reply = self.ledger.call(Command::Audit(said)).await?;
        let known = self.in_log(day).await?;
        Ok(matches!(reply, Reply::Audited(_)) || known.is_none_or(|known| known.seed == seed))
    }

    /// What the log says of a day's seed.
    async fn in_log(&self, day: u32) -> Result<Option<AuditSeed>, ApiError> {
        let entry = self.entry(StateKey::AuditSeed(day)).await?;
        Ok(entry.and_then(|entry| match entry {
            Entry::AuditSeed(seed) => Some(seed),
            _ => None,
        }))
    }

    /// An entry of the ledger's state as of now.
    pub(super) async fn entry(&self, key: StateKey) -> Result<Option<Entry>, ApiError> {
        let stored = self
            .read_bytes(Family::Active, ledger_keys::state(&key))
            .await?;
        Ok(stored.and_then(|bytes| Entry::decode(&key, &bytes).ok()))
    }
}
