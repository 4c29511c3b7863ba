//! The auditors at work: draws settled jobs, runs them again, records what is found. All that is decided is in the store before
//! it is done, and each step may be repeated: a crash loses nothing and runs nothing twice.

use std::collections::btree_map::{BTreeMap, Entry};
use std::sync::Arc;
use std::time::Duration;

use aitbc_common::hash::Hash;
use aitbc_common::ledger::audits;
use aitbc_common::market::day_of;
use aitbc_common::runtime::status::ApiError;
use aitbc_common::wallet::WalletKey;
use bytes::Bytes;
use prost::Message;
use tokio_util::sync::CancellationToken;

use super::figures::{Event, Figures};
use super::plan::{self, Next, Verdict};
use super::rows::{self, AuditRow, SeedRow, WorkRow};
use crate::engine::handle::EngineHandle;
use crate::engine::payment::assignment;
use crate::ledger::command::{AuditRecord, Command as ToLedger, Reply as FromLedger};
use crate::ledger::driver::LedgerHandle;
use crate::market::SharedBook;
use crate::sessions::stored::{blocking, store_error};
use crate::store::keys::prefix_end;
use crate::store::rows::{JobRow, decode};
use crate::store::{Batch, Durability, Family, Page, Store, keys};

/// Audits under way at once; what is drawn beyond is not audited.
pub const UNDER_WAY: usize = 64;
/// Settled jobs that are looked at in one go.
const CANDIDATES: usize = 200;
/// How often there is a look.
const TICK: Duration = Duration::from_millis(500);
/// The first and the longest pause after something fails.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// An audit that has not ended by then never will: Unix ms after its draw.
const LONGEST_MS: u64 = 3 * 3_600_000;

/// The auditors.
pub struct Auditor {
    /// Where jobs, records and audits are.
    pub store: Arc<dyn Store>,
    /// Runs jobs again.
    pub engine: EngineHandle,
    /// Takes their locks, and what is found.
    pub ledger: LedgerHandle,
    /// Knows reputations.
    pub book: Arc<SharedBook>,
    /// The wallets that pay, as the genesis file names them, ascending by address.
    pub wallets: Vec<WalletKey>,
    /// The chain.
    pub chain_id: Hash,
    /// The market's fee in hundredths of a percent.
    pub fee_bps: u16,
    /// Micro-AIT that are locked for audits on a day, at most.
    pub per_day: u64,
    /// A wallet that lacks money gets some from the faucet.
    pub has_faucet: bool,
    /// What became of audits.
    pub figures: Arc<Figures>,
    /// Ends it.
    pub shutdown: CancellationToken,
}

impl Auditor {
    /// Works until shutdown.
    pub async fn run(self) {
        let mut pause = PAUSE.0;
        let mut looked_to_ms = 0;
        while !self.shutdown.is_cancelled() {
            let wait = match self.step(&mut looked_to_ms).await {
                Ok(more) => {
                    pause = PAUSE.0;
                    if more { Duration::ZERO } else { TICK }
                }
                Err(error) => {
                    tracing::warn!(error = %error.message, "audits wait");
                    let wait = pause;
                    pause = (pause * 2).min(PAUSE.1);
                    wait
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.shutdown.cancelled() => {}
            }
        }
    }

    /// One look at everything; whether more settled jobs wait.
    async fn step(&self, looked_to_ms: &mut u64) -> Result<bool, ApiError> {
        let now = self.engine.now_ms();
        self.keep_seeds(now).await?;
        let more = self.draw(now, looked_to_ms).await?;
        let mut under_way = self.under_way().await?;
        for at in 0..under_way.len() {
            let mut audit = under_way[at].clone();
            self.advance(&mut audit, &under_way, now).await?;
            under_way[at] = audit;
        }
        Ok(more)
    }

    async fn under_way(&self) -> Result<Vec<AuditRow>, ApiError> {
        let page = self
            .scan(
                Family::Active,
                rows::audits(),
                prefix_end(&rows::audits()),
                UNDER_WAY,
            )
            .await?;
        let rows = page.rows.into_iter();
        rows.map(|(_, row)| decode(row).map_err(|error| store_error(&error)))
            .collect()
    }

    /// Looks at what was settled since; whether more waits.
    async fn draw(&self, now: u64, looked_to_ms: &mut u64) -> Result<bool, ApiError> {
        let from = rows::candidates_from(*looked_to_ms);
        let page = self
            .scan(Family::Active, from, rows::candidates_end(), CANDIDATES)
            .await?;
        if page.rows.is_empty() {
            return Ok(false);
        }
        let mut more = page.next.is_some();
        let mut under_way = self.under_way().await?.len();
        let mut batch = Batch::new();
        let (mut counted, mut looked_to) = (Vec::new(), *looked_to_ms);
        let mut seeds = BTreeMap::new();
        for (key, _) in page.rows {
            let Some((settled_ms, owner, job)) = rows::parse_candidate(&key) else {
                batch.delete(Family::Active, key);
                continue;
            };
            let day = day_of(settled_ms);
            let seed = match seeds.entry(day) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(unknown) => *unknown.insert(self.seed(day).await?),
            };
            let Some((seed, since_ms)) = seed else {
                if day >= day_of(now) {
                    // The log does not have the day's commitment yet.
                    more = false;
                    break;
                }
                batch.delete(Family::Active, key);
                continue;
            };
            looked_to = settled_ms;
            if settled_ms < since_ms {
                // The seed was not settled then.
                batch.delete(Family::Active, key);
                continue;
            }
            let row = self.archived(keys::archived_job(&owner, job)).await?;
            if let Some(drawn) = row.and_then(|row| self.drawn(&seed, &row, now)) {
                if under_way < UNDER_WAY {
                    under_way += 1;
                    counted.push(Event::Drawn);
                    let row = AuditRow {
                        owner: Bytes::copy_from_slice(&owner.0),
                        job_id: Bytes::copy_from_slice(&job.0),
                        ..drawn.1
                    };
                    batch.put(Family::Active, rows::audit(&drawn.0), row.encode_to_vec());
                } else {
                    counted.push(Event::Crowded);
                }
            }
            batch.delete(Family::Active, key);
        }
        self.commit(batch).await?;
        *looked_to_ms = looked_to;
        counted
            .into_iter()
            .for_each(|event| self.figures.count(event));
        Ok(more)
    }

    /// The audit of a settled job, by its job_ref, where the seed draws it.
    fn drawn(&self, seed: &Hash, row: &JobRow, now: u64) -> Option<(Hash, AuditRow)> {
        let work = WorkRow::of(row.delivery.as_ref()?);
        let receipt = work.work()?.receipt;
        let reputation = self.book.read().reputation(&receipt.miner_key, day_of(now));
        if !audits::is_drawn(seed, &receipt.job_ref, reputation.ppm) {
            return None;
        }
        let audit = AuditRow {
            work: Some(work),
            drawn_ms: now,
            paid: row.paid,
            rate: assignment(row)?.rate,
            payer: row.locks.first()?.payer.clone(),
            reputation_ppm: reputation.ppm,
            ..AuditRow::default()
        };
        Some((receipt.job_ref, audit))
    }

    /// The seed that draws on this day, once the log has its commitment, and since when it has.
    async fn seed(&self, day: u32) -> Result<Option<(Hash, u64)>, ApiError> {
        let row: Option<SeedRow> = self.read(Family::Active, rows::seed(day)).await?;
        let committed = row.filter(|row| row.committed);
        Ok(committed.and_then(|row| Some((row.seed.as_ref().try_into().ok()?, row.committed_ms))))
    }

    async fn advance(
        &self,
        audit: &mut AuditRow,
        under_way: &[AuditRow],
        now: u64,
    ) -> Result<(), ApiError> {
        let Some(drawn) = audit.work.as_ref().and_then(WorkRow::work) else {
            return self.end(audit, Verdict::Unfinished).await;
        };
        let runs: Vec<_> = audit.runs.iter().map(rows::RunRow::run).collect();
        match plan::next(&drawn, &runs) {
            Next::Over(verdict) => self.end(audit, verdict).await,
            Next::Wait if now.saturating_sub(audit.drawn_ms) > LONGEST_MS => {
                self.end(audit, Verdict::Unfinished).await
            }
            Next::Wait => self.go_on(audit).await,
            Next::Run(payees) => {
                if self.begin_run(audit, payees, under_way, now).await? {
                    self.go_on(audit).await?;
                }
                Ok(())
            }
        }
    }

    /// Records what is found, and forgets the audit.
    async fn end(&self, audit: &AuditRow, verdict: Verdict) -> Result<(), ApiError> {
        let mut batch = Batch::new();
        let event = match verdict {
            Verdict::Agreed => Event::Agreed,
            Verdict::Undecided => Event::Undecided,
            Verdict::Unfinished => Event::Unfinished,
            Verdict::Wrong(work, evidence) => {
                let miner = work.receipt.miner_key;
                let found = rows::findings_of(&miner);
                let before = self
                    .scan(Family::Archive, found.clone(), prefix_end(&found), 10_000)
                    .await?;
                // Each auditor's findings of a day count once: the next one says it.
                let auditor = self.wallets[before.rows.len() % self.wallets.len()].address();
                let fault = plan::finding(&work, evidence, auditor);
                let said = AuditRecord::Found(fault);
                match self.ledger.call(ToLedger::Audit(said)).await? {
                    FromLedger::Audited(index) => {
                        tracing::warn!(%miner, record = index, "an audit found work wrong");
                    }
                    // It was recorded before a crash.
                    other => tracing::info!(%miner, ?other, "a finding was not recorded"),
                }
                let key = rows::finding(&miner, &work.receipt.job_ref);
                batch.put(Family::Archive, key, audit.encode_to_vec());
                Event::Wrong
            }
        };
        self.forget(audit, batch, event).await
    }

    /// The audit is over.
    pub(super) async fn forget(
        &self,
        audit: &AuditRow,
        mut batch: Batch,
        event: Event,
    ) -> Result<(), ApiError> {
        self.settle(audit, &mut batch).await?;
        if let Some(key) = key_of(audit) {
            batch.delete(Family::Active, key);
        }
        self.commit(batch).await?;
        self.delete_copies(audit).await;
        self.figures.count(event);
        Ok(())
    }

    /// Stores an audit as it is now.
    pub(super) async fn keep(&self, audit: &AuditRow, mut batch: Batch) -> Result<(), ApiError> {
        if let Some(key) = key_of(audit) {
            batch.put(Family::Active, key, audit.encode_to_vec());
        }
        self.commit(batch).await
    }

    pub(super) async fn archived(&self, key: Vec<u8>) -> Result<Option<JobRow>, ApiError> {
        self.read(Family::Archive, key).await
    }

    pub(super) async fn read<R: Message + Default + 'static>(
        &self,
        family: Family,
        key: Vec<u8>,
    ) -> Result<Option<R>, ApiError> {
        let stored = self.read_bytes(family, key).await?;
        let row = stored.map(decode).transpose();
        row.map_err(|error| store_error(&error))
    }

    pub(super) async fn read_bytes(
        &self,
        family: Family,
        key: Vec<u8>,
    ) -> Result<Option<Bytes>, ApiError> {
        let store = Arc::clone(&self.store);
        blocking(move || Ok(store.get_many(&[(family, &key)])?.pop().flatten())).await
    }

    pub(super) async fn scan(
        &self,
        family: Family,
        from: Vec<u8>,
        end: Vec<u8>,
        limit: usize,
    ) -> Result<Page, ApiError> {
        let store = Arc::clone(&self.store);
        blocking(move || store.scan(family, &from..&end, limit)).await
    }

    pub(super) async fn commit(&self, batch: Batch) -> Result<(), ApiError> {
        if batch.is_empty() {
            return Ok(());
        }
        let (store, fence) = (Arc::clone(&self.store), self.engine.fence());
        blocking(move || store.commit(&fence, batch, Durability::Synced)).await
    }
}

fn key_of(audit: &AuditRow) -> Option<Vec<u8>> {
    let work = audit.work.as_ref()?.work()?;
    Some(rows::audit(&work.receipt.job_ref))
}
