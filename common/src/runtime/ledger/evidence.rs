//! What the log has of a receipt, and whether it has what others say to have seen.

use std::time::Duration;

use aitbc_proto::v1::ListEvidenceRecordsRequest;
use tokio::time::Instant;

use super::{PAUSE, ProvenRecord, VerifiedLedger, refusals, within};
use crate::hash::Hash;
use crate::layouts::{Record, RecordBody};
use crate::ledger::log::{TreeHead, verify_consistency};
use crate::runtime::errors::CommandError;
use crate::runtime::retries::with_retries;

/// How long a log that somebody else has seen may take to be shown.
const WITNESSED_WITHIN: Duration = Duration::from_secs(3);

impl VerifiedLedger {
    /// The records that rest on a receipt or a stream checkpoint, proven, oldest first. Waits for at most `patience` until one is
    /// `wanted` and covered by a checkpoint; what is not covered then is left out. That there are no others is the
    /// coordinator's word alone.
    ///
    /// # Errors
    /// Exit code 8 where what it shows is another record, or not proven.
    pub async fn evidence(
        &mut self,
        id: &Hash,
        patience: Duration,
        wanted: impl Fn(&RecordBody) -> bool,
    ) -> Result<Vec<ProvenRecord>, CommandError> {
        let end = Instant::now() + patience;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let request = ListEvidenceRecordsRequest {
                evidence_id: id.to_vec().into(),
            };
            let client = self.client.clone();
            let shown = with_retries(client, request, |mut client, request| async move {
                let request = within(request, Duration::ZERO);
                client.list_evidence_records(request).await
            });
            let shown = shown.await?.records;
            let is_ordered = shown.windows(2).all(|two| two[0].index < two[1].index);
            if !is_ordered {
                return Err(refusals::proof(
                    "the records of the receipt are not shown oldest first, each once",
                ));
            }
            let mut last = None;
            for record in &shown {
                let decoded = Record::decode(&record.leaf).map_err(refusals::proof)?;
                if decoded.body.evidence_id() != Some(id) {
                    return Err(refusals::proof(
                        "it shows another record than those of the receipt",
                    ));
                }
                if wanted(&decoded.body) {
                    last = last.max(Some(record.index));
                }
            }
            if last.is_none() && !left.is_zero() {
                tokio::time::sleep(PAUSE.min(left)).await;
                continue;
            }
            let size = last.map_or(1, |last| last.saturating_add(1));
            let (checkpoint, _) = self.newest(size, left).await?;
            let mut proven = Vec::new();
            for record in shown {
                if record.index < checkpoint.head.size {
                    proven.push(self.prove(record).await?);
                }
            }
            return Ok(proven);
        }
    }

    /// Demands that the log begins with the one that somebody else has seen and signed; `statement` is kept as evidence where
    /// it does not.
    ///
    /// # Errors
    /// Exit code 8 where the log contradicts the statement: one of both lies.
    pub async fn demand(
        &mut self,
        witnessed: &TreeHead,
        statement: &str,
    ) -> Result<(), CommandError> {
        if witnessed.size == 0 {
            return Ok(());
        }
        let (checkpoint, _) = self.newest(witnessed.size, WITNESSED_WITHIN).await?;
        let head = checkpoint.head;
        let kept = self.kept.clone();
        let contradiction =
            |problem: String| refusals::contradiction(&kept, &checkpoint.text, statement, &problem);
        if head.size < witnessed.size {
            return Err(contradiction(format!(
                "it saw a ledger of {} records, the coordinator shows one of {}",
                witnessed.size, head.size
            )));
        }
        let proof = self.consistency(witnessed, &head).await?;
        verify_consistency(&proof, witnessed, &head).map_err(|error| {
            contradiction(format!(
                "of the ledger's first {} records it saw others ({error})",
                witnessed.size
            ))
        })
    }

    /// Whether a log that its key signed is proven to begin with these records.
    ///
    /// # Errors
    /// The coordinator gives no proof.
    pub async fn begins_with(
        &mut self,
        first: &TreeHead,
        signed: &TreeHead,
    ) -> Result<bool, CommandError> {
        let proof = self.consistency(first, signed).await?;
        Ok(verify_consistency(&proof, first, signed).is_ok())
    }
}
