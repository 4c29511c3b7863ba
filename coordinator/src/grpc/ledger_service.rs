//! LedgerService.

use std::sync::Arc;
use std::time::Duration;

use aitbc_common::address::Address;
use aitbc_common::identity::PublicKey;
use aitbc_common::ids::JobId;
use aitbc_common::layouts::{SignedTransaction, TransactionKind};
use aitbc_common::ledger::violation::Violation;
use aitbc_common::runtime::status::ApiError;
use aitbc_common::token::Scope;
use aitbc_proto::v1::ledger_service_server::LedgerService;
use aitbc_proto::v1::{self, ErrorReason};
use tonic::{Request, Response, Status};

use super::rentals;
use super::{RECORD_READERS, Services, convert, ledger_reads as reads, unexpected, validate};
use crate::auth::address_of;
use crate::engine::command::{Command as ToJobs, Reply as FromJobs};
use crate::ledger::command::{Command, MAX_ALLOWANCES, Reply, Submission, admit};
use crate::ledger::core::BrokenRules;
use crate::sessions::responses::{ResponseStream, Responses};
use crate::sessions::stored::blocking;

/// The longest wait for a checkpoint.
const MAX_WAIT_MS: u64 = 20_000;
/// A reader of records that takes nothing for this long is dropped.
const PATIENCE: Duration = Duration::from_secs(60);

/// Answers LedgerService.
#[derive(Clone)]
pub struct Ledger(pub Arc<Services>);

#[tonic::async_trait]
impl LedgerService for Ledger {
    async fn get_account(
        &self,
        request: Request<v1::GetAccountRequest>,
    ) -> Result<Response<v1::GetAccountResponse>, Status> {
        self.0.authenticator.public(&request)?;
        let request = request.into_inner();
        let address = address("address", &request.address)?;
        let identity = optional_key("allowance_of", &request.allowance_of)?;
        let store = self.0.ledger.store();
        let answer = blocking(move || reads::account(&store, address, identity)).await?;
        Ok(Response::new(answer))
    }

    async fn get_payable(
        &self,
        request: Request<v1::GetPayableRequest>,
    ) -> Result<Response<v1::GetPayableResponse>, Status> {
        let caller = self.optional_caller(&request)?;
        let request = request.into_inner();
        let job = job_id(&request.job_id)?;
        let owner = optional_key("owner", &request.owner)?.or(caller);
        let ask = ToJobs::GetPayable { job, owner, caller };
        match self.0.call(ask).await? {
            FromJobs::Payable(payable) => Ok(Response::new(*payable)),
            _ => Err(unexpected().into()),
        }
    }

    async fn submit_transaction(
        &self,
        request: Request<v1::SubmitTransactionRequest>,
    ) -> Result<Response<v1::SubmitTransactionResponse>, Status> {
        let caller = self.optional_caller(&request)?;
        let from = address_of(&request);
        let request = request.into_inner();
        let job = match request.job_id.as_str() {
            "" => None,
            id => Some(job_id(id)?),
        };
        let owner = optional_key("job_owner", &request.job_owner)?.or(caller);
        let now = self.0.context.engine.now_ms();
        let rental = rentals::hint(request.rental.as_ref(), caller, now)?;
        let chain_id = self.0.network.chain_id;
        let signed = SignedTransaction::decode(&request.transaction);
        let signed = signed.map_err(|error| refusal(&error.into()))?;
        let grant = matches!(
            signed.transaction.kind,
            TransactionKind::Allow | TransactionKind::Bind
        );
        // Before the signature, which is dear to check.
        self.0.limits.transaction(from, caller.as_ref(), grant)?;
        let signed =
            tokio::task::spawn_blocking(move || admit(signed, &chain_id, BrokenRules::default()));
        let signed = signed
            .await
            .map_err(|_| unexpected())?
            .map_err(|error| refusal(&error.into()))?;
        let submission = Submission {
            signed,
            job,
            owner,
            rental,
            caller,
        };
        match self
            .0
            .ledger
            .call(Command::Submit(Box::new(submission)))
            .await?
        {
            Reply::Recorded { id, index, time_ms } => {
                Ok(Response::new(v1::SubmitTransactionResponse {
                    transaction_id: id.to_vec().into(),
                    index,
                    time: convert::timestamp(time_ms),
                }))
            }
            Reply::Refused(violation) => Err(refusal(&violation).into()),
            Reply::Full => Err(full().into()),
            Reply::TooManyAllowances => Err(ApiError::new(
                ErrorReason::TransactionRefused,
                format!(
                    "this wallet has given allowances to {MAX_ALLOWANCES} identities, the bound; use one of those, or another wallet"
                ),
            )
            .into()),
            _ => Err(unexpected().into()),
        }
    }

    async fn get_transaction(
        &self,
        request: Request<v1::GetTransactionRequest>,
    ) -> Result<Response<v1::GetTransactionResponse>, Status> {
        self.0.authenticator.public(&request)?;
        let id: [u8; 32] = fixed("transaction_id", &request.into_inner().transaction_id)?;
        let store = self.0.ledger.store();
        let found = blocking(move || reads::transaction(&store, &id)).await?;
        let found = found.ok_or_else(|| {
            ApiError::new(
                ErrorReason::RecordNotFound,
                format!("no transaction 0x{} is recorded", hex::encode(id)),
            )
        })?;
        Ok(Response::new(found))
    }

    async fn list_evidence_records(
        &self,
        request: Request<v1::ListEvidenceRecordsRequest>,
    ) -> Result<Response<v1::ListEvidenceRecordsResponse>, Status> {
        self.0.authenticator.public(&request)?;
        let id: [u8; 32] = fixed("evidence_id", &request.into_inner().evidence_id)?;
        let store = self.0.ledger.store();
        let records = blocking(move || reads::evidence(&store, &id)).await?;
        Ok(Response::new(v1::ListEvidenceRecordsResponse { records }))
    }

    async fn list_transactions(
        &self,
        request: Request<v1::ListTransactionsRequest>,
    ) -> Result<Response<v1::ListTransactionsResponse>, Status> {
        self.0.authenticator.public(&request)?;
        let request = request.into_inner();
        let address = address("address", &request.address)?;
        let size = validate::page_size(request.page_size, 50)?;
        let before = match request.page_token.as_str() {
            "" => None,
            token => Some(
                token
                    .parse::<u64>()
                    .map_err(|_| validate::bad_page_token())?,
            ),
        };
        let store = self.0.ledger.store();
        Ok(Response::new(
            blocking(move || reads::history(&store, address, before, size)).await?,
        ))
    }

    async fn get_checkpoint(
        &self,
        request: Request<v1::GetCheckpointRequest>,
    ) -> Result<Response<v1::GetCheckpointResponse>, Status> {
        self.0.authenticator.public(&request)?;
        let request = request.into_inner();
        let wait_ms = validate::duration_ms("wait", request.wait, 0, (0, MAX_WAIT_MS))?;
        let mut published = self.0.ledger.signals().published.subscribe();
        let covered = published.wait_for(|published| published.size >= request.min_size.max(1));
        tokio::select! {
            // Neither a wait that ends nor a stop is an error: the newest is answered.
            _ = tokio::time::timeout(Duration::from_millis(wait_ms), covered) => {}
            () = self.0.context.shutdown.cancelled() => {}
        }
        let newest = self.0.ledger.signals().published.borrow().clone();
        Ok(Response::new(v1::GetCheckpointResponse {
            checkpoint: newest.checkpoint,
            next_index: newest.next,
        }))
    }

    type GetRecordsStream = ResponseStream<v1::GetRecordsResponse>;

    async fn get_records(
        &self,
        request: Request<v1::GetRecordsRequest>,
    ) -> Result<Response<Self::GetRecordsStream>, Status> {
        self.0.authenticator.public(&request)?;
        let v1::GetRecordsRequest { start, end } = request.into_inner();
        let published = self.0.ledger.signals().published.borrow().clone();
        let end = if end == 0 { published.size } else { end };
        if start > end || end > published.next {
            let message = format!(
                "there are records 0 to {} and {start} to {end} were asked for",
                published.next
            );
            return Err(ApiError::new(ErrorReason::RecordNotFound, message).into());
        }
        let place = Arc::clone(&self.0.record_readers).try_acquire_owned();
        let place = place.map_err(|_| {
            let message = format!("{RECORD_READERS} callers are reading records, the bound");
            ApiError::new(ErrorReason::RateLimited, message).retry_after(Duration::from_secs(1))
        })?;
        let (responses, stream) = Responses::new(PATIENCE);
        let store = self.0.ledger.store();
        tokio::spawn(async move {
            let _place = place;
            let outcome = async {
                let mut next = start;
                while next < end {
                    let store = Arc::clone(&store);
                    let leaves = blocking(move || reads::leaves(&store, next, end)).await?;
                    let count = leaves.len() as u64;
                    responses
                        .send(v1::GetRecordsResponse {
                            start: next,
                            leaves,
                        })
                        .await?;
                    next += count;
                }
                Ok(())
            };
            let outcome = outcome.await;
            responses.end(outcome);
        });
        Ok(Response::new(stream))
    }

    async fn get_inclusion_proof(
        &self,
        request: Request<v1::GetInclusionProofRequest>,
    ) -> Result<Response<v1::GetInclusionProofResponse>, Status> {
        self.0.authenticator.public(&request)?;
        let v1::GetInclusionProofRequest { index, size } = request.into_inner();
        self.sealed("size", size)?;
        let store = self.0.ledger.store();
        let proof = blocking(move || Ok(reads::inclusion(&store, index, size))).await??;
        Ok(Response::new(v1::GetInclusionProofResponse {
            hashes: proof,
        }))
    }

    async fn get_consistency_proof(
        &self,
        request: Request<v1::GetConsistencyProofRequest>,
    ) -> Result<Response<v1::GetConsistencyProofResponse>, Status> {
        self.0.authenticator.public(&request)?;
        let v1::GetConsistencyProofRequest { old_size, new_size } = request.into_inner();
        self.sealed("new_size", new_size)?;
        let store = self.0.ledger.store();
        let proof = blocking(move || Ok(reads::consistency(&store, old_size, new_size))).await??;
        Ok(Response::new(v1::GetConsistencyProofResponse {
            hashes: proof,
        }))
    }

    async fn get_state_proof(
        &self,
        request: Request<v1::GetStateProofRequest>,
    ) -> Result<Response<v1::GetStateProofResponse>, Status> {
        self.0.authenticator.public(&request)?;
        let keys = reads::state_keys(&request.into_inner().keys)?;
        reads::state_proof(&self.0.ledger, keys)
            .await
            .map(Response::new)
            .map_err(Into::into)
    }
}

impl Ledger {
    /// A public call; where it carries a token, whose.
    fn optional_caller<T>(&self, request: &Request<T>) -> Result<Option<PublicKey>, ApiError> {
        self.0.authenticator.public(request)?;
        let has_token = request.metadata().contains_key("authorization");
        has_token
            .then(|| self.0.caller(request, Scope::Read))
            .transpose()
    }

    /// Proofs are given for what a checkpoint covers.
    fn sealed(&self, field: &str, size: u64) -> Result<(), ApiError> {
        let newest = self.0.ledger.signals().published.borrow().size;
        if size <= newest {
            return Ok(());
        }
        Err(ApiError::field(
            field,
            format!("is {size}, the newest checkpoint covers {newest} records"),
        ))
    }
}

/// A rule's refusal as callers see it.
#[must_use]
pub fn refusal(violation: &Violation) -> ApiError {
    let reason = match violation {
        Violation::Invalid(_) | Violation::Layout(_) => ErrorReason::TransactionInvalid,
        Violation::Nonce { .. } => ErrorReason::Nonce,
        Violation::Funds { .. } | Violation::Allowance { .. } | Violation::NoStake => {
            ErrorReason::InsufficientFunds
        }
        Violation::NotBound(_) => ErrorReason::MinerNotBound,
        _ => ErrorReason::TransactionRefused,
    };
    ApiError::new(reason, violation.to_string())
}

pub(super) fn full() -> ApiError {
    let message =
        "the coordinator's disk is nearly full; no transactions are taken until there is room";
    ApiError::new(ErrorReason::StorageFull, message).retry_after(Duration::from_secs(30))
}

pub(super) fn address(field: &str, bytes: &[u8]) -> Result<Address, ApiError> {
    Ok(Address(fixed(field, bytes)?))
}

fn job_id(text: &str) -> Result<JobId, ApiError> {
    text.parse()
        .map_err(|error: aitbc_common::ids::IdError| ApiError::field("job_id", error.to_string()))
}

fn optional_key(field: &str, bytes: &[u8]) -> Result<Option<PublicKey>, ApiError> {
    (!bytes.is_empty())
        .then(|| fixed(field, bytes).map(PublicKey))
        .transpose()
}

fn fixed<const N: usize>(field: &str, bytes: &[u8]) -> Result<[u8; N], ApiError> {
    bytes
        .try_into()
        .map_err(|_| ApiError::field(field, format!("has {} bytes instead of {N}", bytes.len())))
}
