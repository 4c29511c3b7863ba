//! The client of LedgerService that trusts nothing: every answer is proven against a checkpoint that the log's key signed,
//! and every checkpoint continues the newest one that this user has seen, which is kept per chain.

mod evidence;
mod kept;
mod lists;
mod proofs;
mod records;
mod refusals;

use std::time::Duration;

use aitbc_proto::v1::ledger_service_client::LedgerServiceClient;
use aitbc_proto::v1::{
    GetCheckpointRequest, GetCheckpointResponse, GetConsistencyProofRequest,
    GetInclusionProofRequest, GetRecordsRequest, GetStateProofRequest, GetTransactionRequest,
    LogRecord,
};
use bytes::Bytes;
use tokio::time::Instant;
use tonic::Request;

pub use self::lists::{NewestFirst, differ, sum};
pub use self::records::Records;

use self::kept::Kept;
use self::proofs::{check_entry, check_seal, hashes, resolved};
use super::channel::{AuthorizedChannel, Connection};
use super::errors::{CommandError, ExitCode};
use super::files::Home;
use super::retries::with_retries;
use crate::hash::Hash;
use crate::layouts::{Record, RecordBody};
use crate::ledger::checkpoint::{Advance, LogIdentity, Violation};
use crate::ledger::entry::{Entry, StateKey};
use crate::ledger::log::{TreeHead, leaf_hash, verify_inclusion};
use crate::ledger::tlog_proof::TlogProof;

/// Keys of one question about the state.
pub const MAX_KEYS: usize = 64;
/// How long an acknowledged record may take to be covered by a checkpoint: usually a second.
const COVER_WITHIN: Duration = Duration::from_secs(10);
/// How long the first checkpoint of a new chain may take.
const FIRST_WITHIN: Duration = Duration::from_secs(5);
/// Between two looks where the coordinator does not wait as it was asked to.
const PAUSE: Duration = Duration::from_millis(200);
/// How long one answer may take, besides what it was asked to wait.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// Tries to keep a checkpoint while other commands of this user keep theirs.
const KEEP_TRIES: usize = 16;

/// A checkpoint that the log's key signed and that continues all that this user had seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The signed text.
    pub text: String,
    /// The size and root that it states.
    pub head: TreeHead,
}

/// Entries of the state, proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenEntries {
    /// What the state has under each key, in the order asked for; none where it is absent.
    pub entries: Vec<Option<Entry>>,
    /// Records that the checkpoint covers.
    pub size: u64,
    /// The seal's number: how many stand before it.
    pub height: u64,
    /// The seal's ledger time: Unix ms.
    pub time_ms: u64,
}

/// A record that is proven to be in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenRecord {
    /// What it says.
    pub record: Record,
    /// Its bytes.
    pub leaf: Bytes,
    /// The log that it was proven in.
    pub head: TreeHead,
    /// The proof, for those who check it later.
    pub proof: TlogProof,
}

/// A transaction that is proven to be in the log, and the record that resolved it where the coordinator shows one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenTransaction {
    /// Its record.
    pub record: ProvenRecord,
    /// POST, VOID or EXPIRE of it. That there is none is the coordinator's word alone.
    pub resolution: Option<ProvenRecord>,
}

/// The ledger of a network as its proofs show it.
#[derive(Debug)]
pub struct VerifiedLedger {
    client: LedgerServiceClient<AuthorizedChannel>,
    log: LogIdentity,
    kept: Kept,
    /// The newest checkpoint of this run.
    newest: Option<Checkpoint>,
}

impl VerifiedLedger {
    /// The ledger behind a connection whose chain was compared with the pinned one. The chain id settles the log's key.
    ///
    /// # Errors
    /// The chain's genesis file cannot be kept.
    pub fn open(connection: &Connection, home: &Home) -> Result<Self, CommandError> {
        let log = LogIdentity {
            chain_id: *connection.chain_id(),
            key: *connection.log_key(),
        };
        let kept = Kept::new(home.ledger_dir(&log.chain_id), log);
        kept.keep_genesis(&connection.info.genesis)?;
        Ok(Self {
            client: connection.ledger(),
            log,
            kept,
            newest: None,
        })
    }

    /// Entries of the state as of the newest checkpoint: 1 to [`MAX_KEYS`].
    ///
    /// # Errors
    /// Exit code 8 where anything about the answer is not proven or goes back behind what was seen.
    pub async fn entries(&mut self, keys: &[StateKey]) -> Result<ProvenEntries, CommandError> {
        let before = self.kept.read()?;
        let request = GetStateProofRequest {
            keys: keys.iter().map(|key| key.bytes().into()).collect(),
        };
        let answer = with_retries(
            self.client.clone(),
            request,
            |mut client, request| async move {
                client
                    .get_state_proof(within(request, Duration::ZERO))
                    .await
            },
        )
        .await?;
        let head = self.accept(before, answer.checkpoint.clone()).await?.head;
        let (time_ms, seal) = check_seal(&answer, &head)?;
        if answer.proofs.len() != keys.len() {
            return Err(refusals::proof(format_args!(
                "{} entries of the state were asked for and {} came",
                keys.len(),
                answer.proofs.len()
            )));
        }
        let entries = keys.iter().zip(&answer.proofs);
        let entries = entries.map(|(key, proof)| check_entry(&seal, key, &proof.proof));
        Ok(ProvenEntries {
            entries: entries.collect::<Result<_, _>>()?,
            size: head.size,
            height: seal.height,
            time_ms,
        })
    }

    /// Waits, 10 s at most, until a checkpoint covers a record that was acknowledged.
    ///
    /// # Errors
    /// Exit code 8 where none does: the record is withheld.
    pub async fn covers(&mut self, index: u64) -> Result<(), CommandError> {
        self.covering(index).await.map(|_| ())
    }

    /// Proves that the record with this index and these bytes is in the log, once a checkpoint covers it; gives the log that
    /// it was proven in.
    ///
    /// # Errors
    /// Exit code 8 where it is not.
    pub async fn included(&mut self, index: u64, leaf: &[u8]) -> Result<TreeHead, CommandError> {
        let (head, _) = self.inclusion(index, leaf).await?;
        Ok(head)
    }

    async fn inclusion(
        &mut self,
        index: u64,
        leaf: &[u8],
    ) -> Result<(TreeHead, TlogProof), CommandError> {
        let Checkpoint { text, head } = self.covering(index).await?;
        let request = GetInclusionProofRequest {
            index,
            size: head.size,
        };
        let client = self.client.clone();
        let answer = with_retries(client, request, |mut client, request| async move {
            client
                .get_inclusion_proof(within(request, Duration::ZERO))
                .await
        });
        let answer = answer.await.map_err(|error| {
            instead(
                error,
                &format!("record {index}, which its checkpoint covers"),
            )
        })?;
        let hashes = hashes(&answer.hashes)?;
        verify_inclusion(&hashes, index, &leaf_hash(leaf), &head).map_err(|error| {
            refusals::proof(format_args!(
                "record {index} is not shown to be in the log: {error}"
            ))
        })?;
        let proof = TlogProof {
            index,
            hashes,
            checkpoint: text,
        };
        Ok((head, proof))
    }

    /// The newest checkpoint, kept from now on, and how many records there are, sealed or not, by the coordinator's word.
    ///
    /// # Errors
    /// Exit code 8 where it does not continue what was seen.
    pub async fn checkpoint(&mut self) -> Result<(Checkpoint, u64), CommandError> {
        self.newest(1, FIRST_WITHIN).await
    }

    /// The record at a place that a checkpoint covers, proven.
    ///
    /// # Errors
    /// Exit code 8 where it is not shown, or not proven.
    pub async fn record(&mut self, index: u64) -> Result<ProvenRecord, CommandError> {
        self.covers(index).await?;
        let mut records = self.records(index, index + 1).await.map_err(|error| {
            instead(
                error,
                &format!("record {index}, which its checkpoint covers"),
            )
        })?;
        let leaf = records.next().await?.and_then(|mut leaves| leaves.pop());
        let leaf = leaf.ok_or_else(|| refusals::withheld(format_args!("record {index}")))?;
        self.prove(LogRecord { index, leaf }).await
    }

    /// A transaction by its id, proven, and what became of it.
    ///
    /// # Errors
    /// Exit code 5 where the coordinator knows none; exit code 8 where what it shows is not that, or not proven.
    pub async fn transaction(&mut self, id: &Hash) -> Result<ProvenTransaction, CommandError> {
        let request = GetTransactionRequest {
            transaction_id: id.to_vec().into(),
        };
        let answer = with_retries(
            self.client.clone(),
            request,
            |mut client, request| async move {
                client
                    .get_transaction(within(request, Duration::ZERO))
                    .await
            },
        )
        .await?;
        let shown = answer
            .record
            .ok_or_else(|| refusals::withheld("the one of a transaction that it knows"))?;
        let record = self.prove(shown).await?;
        let is_it = matches!(&record.record.body, RecordBody::Transaction(signed) if signed.transaction.id() == *id);
        if !is_it {
            return Err(refusals::proof(
                "it shows another record than the transaction's",
            ));
        }
        let resolution = match answer.resolution {
            None => None,
            Some(shown) => Some(self.prove(shown).await?),
        };
        if let Some(resolution) = &resolution
            && resolved(&resolution.record.body) != Some(id)
        {
            return Err(refusals::proof(
                "it shows another record than the one that resolved the transaction",
            ));
        }
        Ok(ProvenTransaction { record, resolution })
    }

    /// Records from `start` on, up to before `end`.
    ///
    /// # Errors
    /// There are not so many.
    pub async fn records(&mut self, start: u64, end: u64) -> Result<Records, CommandError> {
        let request = GetRecordsRequest { start, end };
        let client = self.client.clone();
        let stream = with_retries(client, request, |mut client, request| async move {
            client.get_records(request).await
        })
        .await?;
        Ok(Records::new(stream, start, end))
    }

    /// The newest checkpoint of this chain that this user has seen, whoever showed it.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn seen(log: LogIdentity, home: &Home) -> Result<Option<Checkpoint>, CommandError> {
        Kept::new(home.ledger_dir(&log.chain_id), log).read()
    }

    /// The log of a chain that this user has met before: no network is needed.
    ///
    /// # Errors
    /// What is kept of it cannot be read.
    pub fn known(chain_id: &Hash, home: &Home) -> Result<Option<LogIdentity>, CommandError> {
        kept::known_log(&home.ledger_dir(chain_id), chain_id)
    }

    /// Which log it is.
    #[must_use]
    pub fn log(&self) -> &LogIdentity {
        &self.log
    }

    /// Proves that a record that was shown is in the log, once a checkpoint covers it.
    ///
    /// # Errors
    /// Exit code 8 where it is not.
    pub async fn prove(&mut self, shown: LogRecord) -> Result<ProvenRecord, CommandError> {
        let (head, proof) = self.inclusion(shown.index, &shown.leaf).await?;
        let record = Record::decode(&shown.leaf)
            .ok()
            .filter(|record| record.index == shown.index)
            .ok_or_else(|| refusals::proof(format_args!("record {} is no record", shown.index)))?;
        Ok(ProvenRecord {
            record,
            leaf: shown.leaf,
            head,
            proof,
        })
    }

    async fn covering(&mut self, index: u64) -> Result<Checkpoint, CommandError> {
        let covers = |checkpoint: &Checkpoint| checkpoint.head.size > index;
        if let Some(newest) = self.newest.as_ref().filter(|newest| covers(newest)) {
            return Ok(newest.clone());
        }
        let end = Instant::now() + COVER_WITHIN;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let (checkpoint, _) = self.newest(index.saturating_add(1), left).await?;
            if covers(&checkpoint) {
                return Ok(checkpoint);
            }
            if left.is_zero() {
                return Err(refusals::withheld(format_args!(
                    "after {} s no checkpoint covers record {index}, the newest covers {}",
                    COVER_WITHIN.as_secs(),
                    checkpoint.head.size
                )));
            }
            tokio::time::sleep(PAUSE.min(left)).await;
        }
    }

    async fn newest(
        &mut self,
        min_size: u64,
        wait: Duration,
    ) -> Result<(Checkpoint, u64), CommandError> {
        let before = self.kept.read()?;
        // A request's durations are whole milliseconds.
        let wait = Duration::from_millis(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        let request = GetCheckpointRequest {
            min_size,
            wait: prost_types::Duration::try_from(whole_ms(wait)).ok(),
        };
        let client = self.client.clone();
        let answer: GetCheckpointResponse =
            with_retries(client, request, |mut client, request| async move {
                client.get_checkpoint(within(request, wait)).await
            })
            .await?;
        if answer.checkpoint.is_empty() && before.is_none() {
            let message = "the coordinator has no checkpoint yet";
            return Err(
                CommandError::new(ExitCode::Unreachable, "UNAVAILABLE", message)
                    .with_hint("try again in a moment")
                    .as_retryable(),
            );
        }
        let checkpoint = self.accept(before, answer.checkpoint).await?;
        Ok((checkpoint, answer.next_index))
    }

    /// Demands that a checkpoint continues the newest one that was seen `before` it was asked for, and keeps it.
    async fn accept(
        &mut self,
        before: Option<Checkpoint>,
        text: String,
    ) -> Result<Checkpoint, CommandError> {
        let head = self.log.open(&text).map_err(|error| {
            refusals::violation(&self.kept, &error.into(), before.as_ref(), &text)
        })?;
        let shown = Checkpoint { text, head };
        if let Some(seen) = before.filter(|seen| head.size < seen.head.size) {
            let violation = Violation::Rollback {
                pinned: seen.head,
                new: head,
            };
            return Err(refusals::violation(
                &self.kept,
                &violation,
                Some(&seen),
                &shown.text,
            ));
        }
        for _ in 0..KEEP_TRIES {
            let kept = self.kept.read()?;
            let (old, new) = match &kept {
                // Another command of this user has kept a later one meanwhile: that is no rollback.
                Some(kept) if kept.head.size > head.size => (&shown, kept),
                Some(kept) => (kept, &shown),
                None => {
                    if self.kept.replace(None, &shown)? {
                        break;
                    }
                    continue;
                }
            };
            let proof = self.consistency(&old.head, &new.head).await?;
            let advance = self
                .log
                .advance(&old.head, &new.text, &proof)
                .map_err(|violation| {
                    refusals::violation(&self.kept, &violation, Some(old), &new.text)
                })?;
            let is_newer = advance != Advance::Same && new.head == head;
            if !is_newer || self.kept.replace(kept.as_ref(), &shown)? {
                break;
            }
        }
        self.newest = Some(shown.clone());
        Ok(shown)
    }

    async fn consistency(
        &mut self,
        old: &TreeHead,
        new: &TreeHead,
    ) -> Result<Vec<Hash>, CommandError> {
        if old.size == 0 || old.size == new.size {
            return Ok(Vec::new());
        }
        let request = GetConsistencyProofRequest {
            old_size: old.size,
            new_size: new.size,
        };
        let client = self.client.clone();
        let answer = with_retries(client, request, |mut client, request| async move {
            client
                .get_consistency_proof(within(request, Duration::ZERO))
                .await
        });
        let answer = answer.await.map_err(|error| {
            let what = format!(
                "one between its checkpoints of {} and {}",
                old.size, new.size
            );
            instead(error, &what)
        })?;
        hashes(&answer.hashes)
    }
}

/// A refusal of what a signed checkpoint says is there is not the caller's mistake.
fn instead(error: CommandError, what: &str) -> CommandError {
    let is_refusal = matches!(error.exit, ExitCode::Usage | ExitCode::NotFound);
    if is_refusal {
        refusals::withheld(format_args!("{what} ({error})"))
    } else {
        error
    }
}

/// Requests take whole milliseconds.
fn whole_ms(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

fn within<T>(message: T, wait: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(ANSWER_WITHIN + wait);
    request
}
