//! Auditors: they commit to seeds, look at the settled jobs that may be audited, and find some of them wrong. Each thing is
//! said until it is answered, twice now and then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aitbc_common::hash::Hash;
use aitbc_common::layouts::{FaultEntry, FaultReason, Receipt, RecordBody};
use aitbc_common::ledger::audits;
use aitbc_common::market::{FULL_FEE, day_of};
use aitbc_coordinator::audits::rows as audit_rows;
use aitbc_coordinator::ledger::command::{AuditRecord, Command, Reply};
use aitbc_coordinator::store::rows::{self, JobRow};
use aitbc_coordinator::store::{Family, Store, keys};
use rand::Rng;

use super::context::{Context, one_in};
use super::coordinator::Coordinator;
use super::genesis::{self, CHAIN};
use super::ledger::Ledger;

/// What the auditors know, and what they said.
#[derive(Default)]
pub struct Auditors {
    /// Jobs that were looked at, by their job_ref: what is found of them.
    looked_at: BTreeMap<Hash, Option<FaultEntry>>,
    unanswered: BTreeSet<Hash>,
    recorded: BTreeSet<Hash>,
    committed: bool,
}

impl Ledger {
    /// The auditors have a look.
    pub(super) fn audit_work(&mut self, ctx: &mut Context, coordinator: &mut Coordinator) {
        for (job_ref, found) in candidates(&coordinator.store) {
            if self.auditors.looked_at.contains_key(&job_ref) {
                continue;
            }
            let is_wrong = one_in(&mut ctx.random.cheats, 4);
            if is_wrong {
                self.auditors.unanswered.insert(job_ref);
            }
            self.auditors
                .looked_at
                .insert(job_ref, is_wrong.then_some(found));
        }
        let known = &self.auditors;
        let found = known.unanswered.iter();
        let found = found.filter_map(|job_ref| known.looked_at[job_ref].clone());
        let mut said: Vec<_> = found.map(AuditRecord::Found).collect();
        if !known.committed {
            let day = day_of(ctx.now);
            said.extend([day, day + 1].map(|day| AuditRecord::Commit {
                day,
                commitment: audits::commitment(&CHAIN, day, &[9; 32]),
            }));
        }
        // Too early, always: a day is longer than a run.
        said.push(AuditRecord::Reveal {
            day: day_of(ctx.now),
            seed: [9; 32],
        });
        if ctx.random.cheats.random() {
            said.extend(said.clone());
        }
        let is_lost = one_in(&mut ctx.random.cheats, 8);
        let commands: Vec<_> = said.iter().cloned().map(Command::Audit).collect();
        let Some(replies) = self.step(ctx, coordinator, commands) else {
            return;
        };
        for (said, reply) in said.into_iter().zip(replies) {
            let is_recorded = matches!(reply, Reply::Audited(_));
            match said {
                // The first answer may have got lost: then it is refused, being in the log.
                AuditRecord::Found(fault) if !is_lost => {
                    self.auditors.unanswered.remove(&fault.job_ref);
                    self.auditors.recorded.insert(fault.job_ref);
                }
                AuditRecord::Commit { .. } if !is_lost => self.auditors.committed = true,
                AuditRecord::Reveal { .. } if is_recorded => {
                    ctx.checker.violated("a seed was told on its day".into());
                }
                _ => {}
            }
        }
    }
}

impl Auditors {
    /// Findings that are not recorded yet.
    pub fn unsettled(&self) -> usize {
        self.unanswered.len()
    }

    /// Each finding is in the log once, and nothing else is; every paid job that may be audited was noted.
    pub fn check(&self, log: &[RecordBody], store: &Arc<dyn Store>) -> Result<usize, String> {
        let mut found = BTreeSet::new();
        for record in log {
            let RecordBody::Fault(fault) = record else {
                continue;
            };
            if fault.reason == FaultReason::Wrong && !found.insert(fault.job_ref) {
                return Err("a finding is in the log twice".into());
            }
        }
        if found != self.recorded {
            return Err("the log has other findings than the auditors".into());
        }
        let noted: BTreeSet<_> = candidates(store)
            .into_iter()
            .map(|(job_ref, _)| job_ref)
            .collect();
        for row in super::check::stored_jobs(store)?.into_values() {
            let Some(fault) = finding(&row).filter(|_| row.paid > 0) else {
                continue;
            };
            if !noted.contains(&fault.job_ref) {
                return Err(format!("{} was settled and is no candidate", row.id()));
            }
        }
        Ok(found.len())
    }
}

/// The jobs that may be drawn, and what a finding of each would say.
fn candidates(store: &Arc<dyn Store>) -> Vec<(Hash, FaultEntry)> {
    let (from, end) = (audit_rows::candidates_from(0), audit_rows::candidates_end());
    let page = store.scan(Family::Active, &from..&end, usize::MAX);
    let rows = page
        .expect("a store in memory can be read")
        .rows
        .into_iter();
    let found = rows.filter_map(|(key, _)| {
        let (_, owner, job) = audit_rows::parse_candidate(&key)?;
        let key = keys::archived_job(&owner, job);
        let stored = store.get_many(&[(Family::Archive, &key)]).ok()?.pop()??;
        finding(&rows::decode::<JobRow>(stored).ok()?)
    });
    found.map(|fault| (fault.job_ref, fault)).collect()
}

fn finding(row: &JobRow) -> Option<FaultEntry> {
    let delivery = row.delivery.as_ref()?;
    if !aitbc_coordinator::audits::may_be_drawn(row) {
        return None;
    }
    let receipt = Receipt::decode(&delivery.receipt).ok()?;
    Some(FaultEntry {
        job_ref: receipt.job_ref,
        attempt: receipt.attempt,
        miner: receipt.miner_key,
        client: genesis::auditor(),
        reason: FaultReason::Wrong,
        weight: FULL_FEE,
        lock: receipt.output_hash,
    })
}
