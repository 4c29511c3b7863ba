//! LedgerService, honest and not. Every lie is told as well as one can who has the log's key.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aitbc_common::hash::Hash;
use aitbc_common::identity::Identity;
use aitbc_common::layouts::Record;
use aitbc_common::ledger::checkpoint::{self, LogIdentity};
use aitbc_common::ledger::log::TreeHead;
use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1::ledger_service_client::LedgerServiceClient;
use aitbc_proto::v1::ledger_service_server::LedgerService;
use aitbc_proto::v1::*;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use super::{Lie, MESSAGE_BYTES, Shared, Streamed, pass_on};

/// The record that [`Lie::RecordRetimed`] is about.
const RETIMED: u64 = 5;

pub(super) struct Ledger {
    pub channel: Channel,
    pub shared: Arc<Mutex<Shared>>,
}

/// What was said before, for later lies.
#[derive(Debug, Default)]
pub(super) struct Earlier {
    /// The log's key, where the liar is to have it.
    pub log_key: Option<Identity>,
    first: Option<String>,
    newest: Option<String>,
    state: Option<GetStateProofResponse>,
    evidence: Option<ListEvidenceRecordsResponse>,
    /// Transactions that were refused, and can be recorded at any time.
    refused: Vec<SubmitTransactionRequest>,
}

impl Earlier {
    /// What was refused and is recorded all the same.
    pub fn take_refused(&mut self) -> Vec<SubmitTransactionRequest> {
        std::mem::take(&mut self.refused)
    }
}

impl Ledger {
    fn client(&self) -> LedgerServiceClient<Channel> {
        LedgerServiceClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES)
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lie(&self) -> Lie {
        self.shared().lie
    }

    fn twist_checkpoint(&self, text: &mut String) {
        let mut shared = self.shared();
        let lie = shared.lie;
        let earlier = &mut shared.ledger;
        match lie {
            Lie::Rollback => *text = earlier.first.clone().expect("one was asked for before"),
            Lie::RecordWithheld => {
                *text = earlier.newest.clone().expect("one was asked for before")
            }
            Lie::Fork => {
                let key = earlier
                    .log_key
                    .as_ref()
                    .expect("the liar has the log's key");
                let (chain_id, mut head) = read(text, key);
                head.root[0] ^= 1;
                *text = checkpoint::sign(&chain_id, &head, key);
            }
            Lie::LogKeyChanged => {
                let key = earlier
                    .log_key
                    .as_ref()
                    .expect("the liar has the log's key");
                let (chain_id, head) = read(text, key);
                *text = checkpoint::sign(&chain_id, &head, &Identity::from_seed(&[9; 32]));
            }
            _ => {
                earlier.first.get_or_insert_with(|| text.clone());
                earlier.newest = Some(text.clone());
            }
        }
    }
}

/// Chain, size and root of an honest checkpoint.
fn read(text: &str, key: &Identity) -> (Hash, TreeHead) {
    let origin = text.lines().next().expect("a checkpoint has lines");
    let mut chain_id = Hash::default();
    let digits = origin.strip_prefix("aitbc/").expect("an origin");
    hex::decode_to_slice(digits, &mut chain_id).expect("a chain id");
    let log = LogIdentity {
        chain_id,
        key: key.public(),
    };
    (chain_id, log.open(text).expect("an honest checkpoint"))
}

fn twist_hashes(hashes: &mut [Bytes]) {
    if let Some(hash) = hashes.last_mut() {
        *hash = flipped(hash);
    }
}

/// The same record a millisecond later: the time is told, and nothing else gives the lie away.
fn retime(leaf: &[u8]) -> Bytes {
    let mut record = Record::decode(leaf).expect("the coordinator's record is one");
    record.time_ms += 1;
    record.encode().into()
}

/// Each as often, one beside the other.
fn repeated<T: Clone>(list: &[T], times: usize) -> Vec<T> {
    list.iter()
        .flat_map(|one| std::iter::repeat_n(one, times))
        .cloned()
        .collect()
}

/// The same with one bit of the last byte changed.
fn flipped(bytes: &Bytes) -> Bytes {
    let mut bytes = BytesMut::from(&bytes[..]);
    if let Some(byte) = bytes.last_mut() {
        *byte ^= 1;
    }
    bytes.freeze()
}

#[tonic::async_trait]
impl LedgerService for Ledger {
    pass_on! {
        get_transaction(GetTransactionRequest) -> GetTransactionResponse;
    }

    async fn list_transactions(
        &self,
        request: Request<ListTransactionsRequest>,
    ) -> Result<Response<ListTransactionsResponse>, Status> {
        let mut answer = self.client().list_transactions(request).await?;
        if self.lie() == Lie::HistoryRepeated {
            answer.get_mut().records = repeated(&answer.get_ref().records, 2);
        }
        Ok(answer)
    }

    async fn get_account(
        &self,
        request: Request<GetAccountRequest>,
    ) -> Result<Response<GetAccountResponse>, Status> {
        let mut answer = self.client().get_account(request).await?;
        let shared = self.shared();
        let account = answer.get_mut();
        match shared.lie {
            Lie::NonceSkipped if !shared.ledger.refused.is_empty() => account.next_nonce += 1,
            Lie::NonceUsed if shared.ledger.refused.is_empty() => account.next_nonce -= 1,
            Lie::StakeRepeated => account.stakes = repeated(&account.stakes, 30),
            _ => {}
        }
        drop(shared);
        Ok(answer)
    }

    async fn get_payable(
        &self,
        request: Request<GetPayableRequest>,
    ) -> Result<Response<GetPayableResponse>, Status> {
        let mut answer = self.client().get_payable(request).await?;
        if self.lie() == Lie::DeadlineFarAway
            && let Some(deadline) = &mut answer.get_mut().deadline
        {
            deadline.seconds += 300 * 86_400;
        }
        Ok(answer)
    }

    async fn submit_transaction(
        &self,
        request: Request<SubmitTransactionRequest>,
    ) -> Result<Response<SubmitTransactionResponse>, Status> {
        let lie = self.lie();
        let copy = request.get_ref().clone();
        if lie == Lie::NonceSkipped {
            self.shared().ledger.refused.push(copy);
            let error = ApiError::new(ErrorReason::Nonce, "the nonce is another");
            return Err(error.into());
        }
        let answer = self.client().submit_transaction(request).await;
        if lie == Lie::NonceUsed && answer.is_err() {
            self.shared().ledger.refused.push(copy);
        }
        answer
    }

    async fn list_evidence_records(
        &self,
        request: Request<ListEvidenceRecordsRequest>,
    ) -> Result<Response<ListEvidenceRecordsResponse>, Status> {
        let mut answer = self.client().list_evidence_records(request).await?;
        let shown = answer.get_mut();
        let mut shared = self.shared();
        match shared.lie {
            Lie::OtherEvidence => {
                let earlier = shared.ledger.evidence.clone();
                *shown = earlier.expect("another's was asked for before");
            }
            Lie::EvidenceChanged => {
                for record in &mut shown.records {
                    record.leaf = retime(&record.leaf);
                }
            }
            Lie::EvidenceWithheld => shown.records.clear(),
            Lie::EvidenceRepeated => shown.records = repeated(&shown.records, 2),
            Lie::EvidenceCut => {
                let is_post = |record: &LogRecord| record.leaf.get(1) == Some(&3);
                if let Some(last) = shown.records.iter().rposition(is_post) {
                    shown.records.remove(last);
                }
            }
            _ if !shown.records.is_empty() => {
                shared.ledger.evidence.get_or_insert_with(|| shown.clone());
            }
            _ => {}
        }
        Ok(answer)
    }

    async fn get_checkpoint(
        &self,
        request: Request<GetCheckpointRequest>,
    ) -> Result<Response<GetCheckpointResponse>, Status> {
        let mut answer = self.client().get_checkpoint(request).await?;
        self.twist_checkpoint(&mut answer.get_mut().checkpoint);
        Ok(answer)
    }

    type GetRecordsStream = Streamed<GetRecordsResponse>;

    async fn get_records(
        &self,
        request: Request<GetRecordsRequest>,
    ) -> Result<Response<Self::GetRecordsStream>, Status> {
        if self.lie() == Lie::RecordWithheld {
            return Ok(Response::new(Box::pin(tokio_stream::empty())));
        }
        let retimed = self.lie() == Lie::RecordRetimed;
        let answer = self.client().get_records(request).await?;
        let twisted = move |part: Result<GetRecordsResponse, Status>| {
            let mut part = part?;
            let place = RETIMED
                .checked_sub(part.start)
                .and_then(|at| usize::try_from(at).ok());
            let told = place.and_then(|place| part.leaves.get_mut(place));
            if let Some(leaf) = told.filter(|_| retimed) {
                *leaf = retime(leaf);
            }
            Ok(part)
        };
        Ok(answer.map(|records| records.map(twisted).boxed()))
    }

    async fn get_inclusion_proof(
        &self,
        request: Request<GetInclusionProofRequest>,
    ) -> Result<Response<GetInclusionProofResponse>, Status> {
        let mut answer = self.client().get_inclusion_proof(request).await?;
        if self.lie() == Lie::InclusionChanged {
            twist_hashes(&mut answer.get_mut().hashes);
        }
        Ok(answer)
    }

    async fn get_consistency_proof(
        &self,
        request: Request<GetConsistencyProofRequest>,
    ) -> Result<Response<GetConsistencyProofResponse>, Status> {
        let mut answer = self.client().get_consistency_proof(request).await?;
        if self.lie() == Lie::ConsistencyChanged {
            twist_hashes(&mut answer.get_mut().hashes);
        }
        Ok(answer)
    }

    async fn get_state_proof(
        &self,
        request: Request<GetStateProofRequest>,
    ) -> Result<Response<GetStateProofResponse>, Status> {
        let mut answer = self.client().get_state_proof(request).await?;
        let mut shared = self.shared();
        match shared.lie {
            Lie::StateStale => {
                let earlier = shared.ledger.state.clone();
                *answer.get_mut() = earlier.expect("the same was asked before");
            }
            Lie::StateChanged => {
                for proof in &mut answer.get_mut().proofs {
                    proof.proof = flipped(&proof.proof);
                }
            }
            _ => shared.ledger.state = Some(answer.get_ref().clone()),
        }
        Ok(answer)
    }
}
