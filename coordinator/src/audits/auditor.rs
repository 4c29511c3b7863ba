//! The auditors' steps: they draw settled jobs, run them again, record what is found. All that is decided is in the store
//! before it is done, and each step may be repeated: a crash loses nothing and runs nothing twice. No clock, randomness or
//! thread in it: [`super::network::Network`].

use std::collections::btree_map::{BTreeMap, Entry};

use aitbc_common::hash::Hash;
use aitbc_common::ledger::audits;
use aitbc_common::market::day_of;
use aitbc_common::runtime::status::ApiError;
use aitbc_common::wallet::WalletKey;
use bytes::Bytes;
use prost::Message;

use super::figures::Event;
use super::network::Network;
use super::plan::{self, Next, Verdict};
use super::rows::{self, AuditRow, SeedRow, WorkRow};
use crate::engine::payment::assignment;
use crate::ledger::command::{AuditRecord, Command as ToLedger, Reply as FromLedger};
use crate::sessions::stored::store_error;
use crate::store::keys::prefix_end;
use crate::store::rows::{JobRow, decode};
use crate::store::{Batch, Family, keys};

/// Audits under way at once; what is drawn beyond is not audited.
pub const UNDER_WAY: usize = 64;
/// Settled jobs that are looked at in one go.
const CANDIDATES: usize = 200;
/// Findings of a miner that are counted.
const FINDINGS: usize = 10_000;
/// An audit that has not ended by then never will: Unix ms after its draw.
const LONGEST_MS: u64 = 3 * 3_600_000;

/// What a test does otherwise.
#[derive(Debug, Clone, Copy, Default)]
pub struct BrokenRules {
    /// Draw every job.
    pub draw_all: bool,
    /// Begin a run before it is stored.
    pub run_unstored: bool,
}

/// The auditors.
pub struct Auditor {
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
    /// For tests.
    pub broken: BrokenRules,
    /// Candidates that were settled before were looked at: Unix ms. 0 at first, and after a failure.
    pub looked_to_ms: u64,
}

impl Auditor {
    /// One look at everything; whether more settled jobs wait. After an error the same look is safe to repeat.
    pub fn step(&mut self, network: &mut dyn Network) -> Result<bool, ApiError> {
        let now = network.now_ms();
        self.keep_seeds(network, now)?;
        let more = self.draw(network, now)?;
        let mut under_way = under_way(network)?;
        for at in 0..under_way.len() {
            let mut audit = under_way[at].clone();
            self.advance(network, &mut audit, &under_way, now)?;
            under_way[at] = audit;
        }
        Ok(more)
    }

    /// Looks at what was settled since; whether more waits.
    fn draw(&mut self, network: &mut dyn Network, now: u64) -> Result<bool, ApiError> {
        let from = rows::candidates_from(self.looked_to_ms);
        let end = rows::candidates_end();
        let page = network.scan(Family::Active, &from, &end, CANDIDATES)?;
        if page.rows.is_empty() {
            return Ok(false);
        }
        let mut more = page.next.is_some();
        let mut under_way = under_way(network)?.len();
        let mut batch = Batch::new();
        let (mut counted, mut looked_to) = (Vec::new(), self.looked_to_ms);
        let mut seeds = BTreeMap::new();
        for (key, _) in page.rows {
            let Some((settled_ms, owner, job)) = rows::parse_candidate(&key) else {
                batch.delete(Family::Active, key);
                continue;
            };
            let day = day_of(settled_ms);
            let seed = match seeds.entry(day) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(unknown) => *unknown.insert(seed(network, day)?),
            };
            if seed.is_none() && day >= day_of(now) {
                // The log does not have the day's commitment yet.
                more = false;
                break;
            }
            batch.delete(Family::Active, key);
            looked_to = settled_ms;
            // What was settled before the seed was is not drawn.
            let Some((seed, _)) = seed.filter(|(_, since_ms)| *since_ms <= settled_ms) else {
                continue;
            };
            let row = network.archived(&keys::archived_job(&owner, job))?;
            let drawn = row.and_then(|row| self.drawn(network, &seed, &row, now));
            match drawn {
                None => {}
                Some(_) if under_way >= UNDER_WAY => counted.push(Event::Crowded),
                Some((job_ref, audit)) => {
                    under_way += 1;
                    counted.push(Event::Drawn);
                    let audit = AuditRow {
                        owner: Bytes::copy_from_slice(&owner.0),
                        job_id: Bytes::copy_from_slice(&job.0),
                        ..audit
                    };
                    batch.put(Family::Active, rows::audit(&job_ref), audit.encode_to_vec());
                }
            }
        }
        network.keep(batch)?;
        self.looked_to_ms = looked_to;
        counted.into_iter().for_each(|event| network.count(event));
        Ok(more)
    }

    /// The audit of a settled job, by its job_ref, where the seed draws it.
    fn drawn(
        &self,
        network: &dyn Network,
        seed: &Hash,
        row: &JobRow,
        now: u64,
    ) -> Option<(Hash, AuditRow)> {
        let work = WorkRow::of(row.delivery.as_ref()?);
        let receipt = work.work()?.receipt;
        let reputation_ppm = network.reputation_ppm(&receipt.miner_key, day_of(now));
        if !self.broken.draw_all && !audits::is_drawn(seed, &receipt.job_ref, reputation_ppm) {
            return None;
        }
        let audit = AuditRow {
            work: Some(work),
            drawn_ms: now,
            paid: row.paid,
            rate: assignment(row)?.rate,
            payer: row.locks.first()?.payer.clone(),
            reputation_ppm,
            ..AuditRow::default()
        };
        Some((receipt.job_ref, audit))
    }

    fn advance(
        &self,
        network: &mut dyn Network,
        audit: &mut AuditRow,
        under_way: &[AuditRow],
        now: u64,
    ) -> Result<(), ApiError> {
        let Some(drawn) = audit.work.as_ref().and_then(WorkRow::work) else {
            return self.end(network, audit, Verdict::Unfinished);
        };
        let runs: Vec<_> = audit.runs.iter().map(rows::RunRow::run).collect();
        match plan::next(&drawn, &runs) {
            Next::Over(verdict) => self.end(network, audit, verdict),
            Next::Wait if now.saturating_sub(audit.drawn_ms) > LONGEST_MS => {
                self.end(network, audit, Verdict::Unfinished)
            }
            Next::Wait => self.go_on(network, audit),
            Next::Run(payees) => {
                if self.begin_run(network, audit, payees, under_way, now)? {
                    self.go_on(network, audit)?;
                }
                Ok(())
            }
        }
    }

    /// Records what is found, and forgets the audit.
    fn end(
        &self,
        network: &mut dyn Network,
        audit: &AuditRow,
        verdict: Verdict,
    ) -> Result<(), ApiError> {
        let mut batch = Batch::new();
        let event = match verdict {
            Verdict::Agreed => Event::Agreed,
            Verdict::Undecided => Event::Undecided,
            Verdict::Unfinished => Event::Unfinished,
            Verdict::Wrong(work, evidence) => {
                let miner = work.receipt.miner_key;
                let found = rows::findings_of(&miner);
                let end = prefix_end(&found);
                let before = network.scan(Family::Archive, &found, &end, FINDINGS)?;
                // Each auditor's findings of a day count once: the next one says it.
                let auditor = self.wallets[before.rows.len() % self.wallets.len()].address();
                let fault = plan::finding(&work, evidence, auditor);
                match network.ledger(ToLedger::Audit(AuditRecord::Found(fault)))? {
                    FromLedger::Audited(index) => {
                        network.note(format_args!(
                            "an audit found work of {miner} wrong: record {index}"
                        ));
                    }
                    // It was recorded before a crash.
                    other => {
                        network.note(format_args!("a finding was not recorded again: {other:?}"))
                    }
                }
                let key = rows::finding(&miner, &work.receipt.job_ref);
                batch.put(Family::Archive, key, audit.encode_to_vec());
                Event::Wrong
            }
        };
        forget(network, audit, batch, event)
    }
}

/// Audits under way.
pub fn under_way(network: &dyn Network) -> Result<Vec<AuditRow>, ApiError> {
    let (from, end) = (rows::audits(), prefix_end(&rows::audits()));
    let page = network.scan(Family::Active, &from, &end, UNDER_WAY)?;
    let rows = page.rows.into_iter();
    rows.map(|(_, row)| decode(row).map_err(|error| store_error(&error)))
        .collect()
}

/// The seed that draws on this day, once the log has its commitment, and since when it has.
fn seed(network: &dyn Network, day: u32) -> Result<Option<(Hash, u64)>, ApiError> {
    let row: Option<SeedRow> = network.read(Family::Active, &rows::seed(day))?;
    let committed = row.filter(|row| row.committed);
    Ok(committed.and_then(|row| Some((row.seed.as_ref().try_into().ok()?, row.committed_ms))))
}

/// The audit is over.
pub(super) fn forget(
    network: &mut dyn Network,
    audit: &AuditRow,
    mut batch: Batch,
    event: Event,
) -> Result<(), ApiError> {
    super::wallets::settle(network, audit, &mut batch)?;
    if let Some(key) = key_of(audit) {
        batch.delete(Family::Active, key);
    }
    // Nobody else keeps what the runs were given and gave. Of an audit that is gone nobody would ask again.
    super::runs::delete_copies(network, audit)?;
    network.keep(batch)?;
    network.count(event);
    Ok(())
}

/// Stores an audit as it is now.
pub(super) fn keep(
    network: &mut dyn Network,
    audit: &AuditRow,
    mut batch: Batch,
) -> Result<(), ApiError> {
    if let Some(key) = key_of(audit) {
        batch.put(Family::Active, key, audit.encode_to_vec());
    }
    network.keep(batch)
}

fn key_of(audit: &AuditRow) -> Option<Vec<u8>> {
    let work = audit.work.as_ref()?.work()?;
    Some(rows::audit(&work.receipt.job_ref))
}
