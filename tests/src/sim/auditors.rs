//! The auditors' own steps over the coordinator of the run. Whatever they ask may fail, before or after it is done, and the
//! machine may stop between any two things that they do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aitbc_common::address::Address;
use aitbc_common::hash::Hash;
use aitbc_common::identity::PublicKey;
use aitbc_common::ids::JobId;
use aitbc_common::layouts::{FaultReason, JobSpec, RecordBody};
use aitbc_common::ledger::audit::Audit;
use aitbc_common::ledger::entry::AccountId;
use aitbc_common::market::day_of;
use aitbc_common::runtime::status::ApiError;
use aitbc_coordinator::audits::auditor::{Auditor, BrokenRules};
use aitbc_coordinator::audits::figures::Event as Happened;
use aitbc_coordinator::audits::network::Network;
use aitbc_coordinator::audits::rows::{self as audit_rows, AuditRow, SeedRow, SpentRow};
use aitbc_coordinator::engine::command::{Command, Reply};
use aitbc_coordinator::ledger::command::{self as ledger, AuditRecord};
use aitbc_coordinator::store::rows::{self, JobRow, decode};
use aitbc_coordinator::store::{Batch, Family, Operation, Store, keys, keys::prefix_end};
use rand::Rng;

use super::context::{Context, Fault, Rule};
use super::coordinator::{Caller, Coordinator, unavailable};
use super::genesis::{self, CHAIN};
use super::ledger::Ledger;
use super::trace::Totals;
use super::work;
use super::world::Event;

/// A reputation that all miners have, as the engine takes them to: in millionths.
const REPUTATION: u32 = 25_000;

/// The auditors, and what is known of what they do.
pub struct Auditors {
    auditor: Auditor,
    known: Known,
}

/// What is known of what they do.
#[derive(Default)]
struct Known {
    /// Micro-AIT of fees that the payers paid.
    fees: u64,
    /// Of each day: since when its seed draws.
    draws_since: BTreeMap<u32, u64>,
    /// job_ref of each job that was drawn.
    drawn: BTreeSet<Hash>,
    /// What a job asks, by its job_ref: of those that were drawn and of those that run them again.
    asked: BTreeMap<Hash, Vec<u8>>,
    /// Jobs that run others again.
    runs: u64,
}

impl Auditors {
    pub fn new(ctx: &mut Context) -> Self {
        let rng = &mut ctx.random.cheats;
        let fees = [0, 100_000, u64::MAX / 4, u64::MAX / 4][rng.random_range(0..4)];
        let per_day = [100_000, u64::MAX / 4, u64::MAX / 4][rng.random_range(0..3)];
        Self {
            auditor: Auditor {
                wallets: genesis::auditors(),
                chain_id: *CHAIN,
                fee_bps: 250,
                per_day,
                has_faucet: false,
                broken: BrokenRules {
                    draw_all: true,
                    run_unstored: ctx.broken(Rule::RunStored),
                },
                looked_to_ms: 0,
            },
            known: Known {
                fees,
                ..Known::default()
            },
        }
    }

    /// Audits that are not over, and settled jobs that were not looked at.
    pub fn unsettled(&self, store: &Arc<dyn Store>) -> usize {
        let (from, end) = (audit_rows::candidates_from(0), audit_rows::candidates_end());
        let rows = |from: &[u8], end: &[u8]| {
            let page = store.scan(Family::Active, from..end, usize::MAX);
            page.map_or(1, |page| page.rows.len())
        };
        let audits = audit_rows::audits();
        rows(&from, &end) + rows(&audits, &prefix_end(&audits))
    }

    /// Whoever was found wrong did work wrong, once per job, and all of it was kept; every paid job that may be audited was
    /// noted, and drawn where its day's seed was there; the auditors paid what their audits are said to have cost, and no
    /// more than the fees cover. Jobs that were found wrong.
    pub fn check(
        &self,
        log: &[RecordBody],
        audit: &Audit,
        noted: &BTreeMap<JobId, u64>,
        store: &Arc<dyn Store>,
    ) -> Result<usize, String> {
        let mut found = BTreeSet::new();
        for record in log {
            let RecordBody::Fault(fault) = record else {
                continue;
            };
            if fault.reason != FaultReason::Wrong {
                continue;
            }
            if !found.insert((fault.miner, fault.job_ref)) {
                return Err("a finding is in the log twice".into());
            }
            let asked = self.known.asked.get(&fault.job_ref);
            let asked = asked.ok_or("a job was found wrong that nobody looked at")?;
            if !work::is_wrong(asked, &fault.miner) {
                return Err("an honest miner was found wrong".into());
            }
        }
        if found != stored_findings(store)? {
            return Err("the log has other findings than the auditors".into());
        }
        self.check_draws(noted, store)?;
        self.check_costs(audit, store)?;
        Ok(found.len())
    }

    /// Counts what they did.
    pub fn add_to(&self, totals: &mut Totals) {
        totals.audits += self.known.drawn.len() as u64;
        totals.audit_runs += self.known.runs;
    }

    fn check_draws(
        &self,
        noted: &BTreeMap<JobId, u64>,
        store: &Arc<dyn Store>,
    ) -> Result<(), String> {
        for row in super::check::stored_jobs(store)?.into_values() {
            let spec = JobSpec::decode(&row.spec).map_err(|error| error.to_string())?;
            let job_ref = spec.job_ref();
            let is_run =
                self.known.asked.contains_key(&job_ref) && !self.known.drawn.contains(&job_ref);
            if is_run && row.delivery.is_some() && !row.content_deleted {
                return Err(format!("{} was kept after its audit", row.id()));
            }
            if !aitbc_coordinator::audits::may_be_drawn(&row) || row.paid == 0 {
                continue;
            }
            let Some(settled_ms) = noted.get(&row.id()) else {
                return Err(format!("{} was settled and is no candidate", row.id()));
            };
            let since = self.known.draws_since.get(&day_of(*settled_ms));
            let may_be_drawn = since.is_some_and(|since| since <= settled_ms);
            if may_be_drawn != self.known.drawn.contains(&job_ref) {
                let is = if may_be_drawn { "not drawn" } else { "drawn" };
                return Err(format!("{} is {is}", row.id()));
            }
        }
        Ok(())
    }

    fn check_costs(&self, audit: &Audit, store: &Arc<dyn Store>) -> Result<(), String> {
        let paid = genesis::auditors().into_iter().map(|wallet| {
            let account = audit.state().account(AccountId::Wallet(wallet.address()));
            genesis::OWNED - u64::try_from(account.available()).unwrap_or(0)
        });
        let paid: u64 = paid.sum();
        let mut cost = 0;
        for payer in [genesis::payer(), genesis::staker(), genesis::thief()]
            .into_iter()
            .chain(genesis::passers_by())
        {
            let payer = payer.address();
            let (from, end) = (
                audit_rows::cost(&payer.0, 0),
                audit_rows::cost(&payer.0, u32::MAX),
            );
            let page = store.scan(Family::Active, &from..&end, usize::MAX);
            for (_, row) in page.map_err(|error| error.to_string())?.rows {
                cost += decode::<SpentRow>(row)
                    .map_err(|error| error.to_string())?
                    .locked;
            }
        }
        if paid != cost || paid > self.known.fees {
            let fees = self.known.fees;
            return Err(format!(
                "the auditors paid {paid}, their audits cost {cost}, and the fees are {fees}"
            ));
        }
        Ok(())
    }
}

fn stored_findings(store: &Arc<dyn Store>) -> Result<BTreeSet<(PublicKey, Hash)>, String> {
    let first = audit_rows::findings_of(&PublicKey([0; 32]));
    let last = audit_rows::findings_of(&PublicKey([u8::MAX; 32]));
    let page = store.scan(Family::Archive, &first..&prefix_end(&last), usize::MAX);
    let rows = page.map_err(|error| error.to_string())?.rows.into_iter();
    rows.map(|(key, _)| {
        let miner = key.get(2..34).and_then(|miner| miner.try_into().ok());
        let job_ref = key.get(34..).and_then(|job_ref| job_ref.try_into().ok());
        let (miner, job_ref) = miner.zip(job_ref).ok_or("a finding has another key")?;
        Ok((PublicKey(miner), job_ref))
    })
    .collect()
}

impl Ledger {
    /// The auditors have a look.
    pub(super) fn audit_work(&mut self, ctx: &mut Context, coordinator: &mut Coordinator) {
        self.with_auditors(ctx, coordinator, |auditor, network| {
            if auditor.step(network).is_err() && network.random()[0] % 2 == 0 {
                // They were in the machine that stopped.
                auditor.looked_to_ms = 0;
            }
        });
    }

    /// Days pass: the auditors tell the seeds.
    pub(super) fn tell_seeds(&mut self, ctx: &mut Context, coordinator: &mut Coordinator) {
        self.with_auditors(ctx, coordinator, |auditor, network| {
            let now = network.now_ms();
            // Nothing fails any more.
            let _told = auditor.keep_seeds(network, now);
        });
    }

    fn with_auditors(
        &mut self,
        ctx: &mut Context,
        coordinator: &mut Coordinator,
        look: impl FnOnce(&mut Auditor, &mut dyn Network),
    ) {
        let Some(mut auditors) = self.auditors.take() else {
            return;
        };
        let Auditors { auditor, known } = &mut *auditors;
        if coordinator.running.is_some() {
            let mut network = Simulated {
                ctx,
                coordinator,
                ledger: self,
                known,
            };
            look(auditor, &mut network);
        }
        self.auditors = Some(auditors);
    }
}

/// What the auditors see and do in a run.
struct Simulated<'a> {
    ctx: &'a mut Context,
    coordinator: &'a mut Coordinator,
    ledger: &'a mut Ledger,
    known: &'a mut Known,
}

impl Simulated<'_> {
    /// The machine stops, or what is asked goes lost.
    fn strikes(&mut self) -> bool {
        if self.ctx.strikes(Fault::CoordinatorCrash, 400) {
            let now = self.ctx.now;
            self.ctx
                .trace
                .fault(now, format_args!("the machine stops in an audit"));
            self.coordinator.crash(self.ctx);
            self.ctx.after(2_000, Event::CoordinatorUp);
            return true;
        }
        self.ctx.strikes(Fault::Calls, 40)
    }

    /// Learns what the auditors decided.
    fn learn(&mut self, batch: &Batch) {
        let (audits, seeds) = (audit_rows::audits(), audit_rows::seeds());
        for operation in batch.operations() {
            let Operation::Put(Family::Active, key, value) = operation else {
                continue;
            };
            if key.starts_with(&audits)
                && let Ok(audit) = decode::<AuditRow>(value.clone())
                && let Some(work) = audit.work.as_ref().and_then(audit_rows::WorkRow::work)
            {
                self.known.drawn.insert(work.receipt.job_ref);
                if let Some(row) = self.drawn_job(&audit) {
                    self.known
                        .asked
                        .entry(work.receipt.job_ref)
                        .or_insert_with(|| row.input.to_vec());
                }
            }
            if key.starts_with(&seeds)
                && let Ok(seed) = decode::<SeedRow>(value.clone())
                && let (true, Some(day)) = (seed.committed, audit_rows::seed_day(key))
            {
                self.known.draws_since.insert(day, seed.committed_ms);
            }
        }
    }

    fn drawn_job(&self, audit: &AuditRow) -> Option<JobRow> {
        let (owner, job) = audit.job()?;
        let key = keys::archived_job(&owner, job);
        let stored = self.coordinator.store.get_many(&[(Family::Archive, &key)]);
        rows::decode(stored.ok()?.pop()??).ok()
    }
}

impl Network for Simulated<'_> {
    fn store(&self) -> &Arc<dyn Store> {
        &self.coordinator.store
    }

    fn now_ms(&self) -> u64 {
        let running = self.coordinator.running.as_ref();
        running.map_or(self.ctx.now, |running| running.now(self.ctx.now))
    }

    fn random(&mut self) -> [u8; 32] {
        self.ctx.random.cheats.random()
    }

    fn engine(&mut self, command: Command) -> Result<Reply, ApiError> {
        if self.strikes() {
            return Err(unavailable());
        }
        if let Command::Submit(run) = &command {
            let job_ref = run.spec.job_ref();
            self.ctx.wire.submits(run.job_id, job_ref);
            let before = self.known.asked.insert(job_ref, run.input.to_vec());
            self.known.runs += u64::from(before.is_none());
        }
        // What is asked to be kept may be there whatever comes of it.
        if let Command::Keep(batch) = &command {
            self.learn(batch);
        }
        self.coordinator
            .ask(self.ctx, vec![command], Caller::Auditor);
        self.coordinator.turn(self.ctx);
        let answer = self.coordinator.auditor_heard.take();
        let answer = answer.unwrap_or_else(|| Err(unavailable()));
        if let Ok(Reply::Submitted(submitted)) = &answer {
            let row = submitted.view.row.clone();
            self.ctx.checker.acknowledged(row.id(), row);
        }
        if self.strikes() {
            return Err(unavailable());
        }
        answer
    }

    fn ledger(&mut self, command: ledger::Command) -> Result<ledger::Reply, ApiError> {
        if self.strikes() || self.coordinator.running.is_none() {
            return Err(unavailable());
        }
        let replies = self
            .ledger
            .step(self.ctx, self.coordinator, vec![command.clone()]);
        let reply = replies.and_then(|mut replies| replies.pop());
        // Findings are rare, and their answers go lost often.
        let finds = matches!(command, ledger::Command::Audit(AuditRecord::Found(_)));
        if self.strikes() || finds && self.ctx.strikes(Fault::Calls, 2) {
            return Err(unavailable());
        }
        reply.ok_or_else(unavailable)
    }

    fn reputation_ppm(&self, _: &PublicKey, _: u32) -> u32 {
        REPUTATION
    }

    fn fees(&self, _: &Address, _: u32) -> u64 {
        self.known.fees
    }

    fn count(&self, _: Happened) {}

    fn note(&mut self, what: std::fmt::Arguments<'_>) {
        let now = self.ctx.now;
        self.ctx.trace.note(now, what);
    }
}
