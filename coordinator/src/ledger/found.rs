//! What miners were found to have done: contradictions that slash a stake, and what auditors say.

use aitbc_common::layouts::{Contradiction, RecordBody, Slash};
use aitbc_common::ledger::entry::AccountId;

use super::command::{AuditRecord, Reply};
use super::core::LedgerCore;
use super::turn::Turn;
use crate::store::Reads;
use crate::store::StoreError;

impl LedgerCore {
    /// What the auditors say is recorded where the rules allow it.
    pub(super) fn audit(
        &mut self,
        turn: &mut Turn,
        said: AuditRecord,
        reads: &dyn Reads,
    ) -> Result<Reply, StoreError> {
        let body = match said {
            AuditRecord::Commit { day, commitment } => RecordBody::AuditCommit { day, commitment },
            AuditRecord::Reveal { day, seed } => RecordBody::AuditReveal { day, seed },
            AuditRecord::Found(fault) => RecordBody::Fault(fault),
        };
        let recorded = turn.record(self, body, reads)?;
        Ok(recorded.map_or_else(Reply::Refused, Reply::Audited))
    }

    /// Burns what is staked on a miner that contradicted itself: nothing where nothing is, or where it was for this attempt.
    pub(super) fn slash(
        &mut self,
        turn: &mut Turn,
        evidence: Contradiction,
        reads: &dyn Reads,
    ) -> Result<(), StoreError> {
        let stake = AccountId::Stake(evidence.miner);
        let mut slash = Slash {
            amount: 0,
            evidence,
        };
        let body = RecordBody::Slash(Box::new(slash.clone()));
        turn.load_for(self, &body, reads)?;
        slash.amount = u64::try_from(self.state.account(stake).balance())
            .expect("less than 2^63 micro-AIT are ever made");
        let _refused = turn.record(self, RecordBody::Slash(Box::new(slash)), reads)?;
        Ok(())
    }
}
