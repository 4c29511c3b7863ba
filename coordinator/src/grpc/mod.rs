//! The services, one thin file each: authenticate, decode, call, encode.

mod agent_service;
pub mod convert;
mod deliveries;
mod job_history;
mod job_ids;
mod job_lists;
mod job_results;
mod job_service;
mod ledger_reads;
mod ledger_service;
mod market_figures;
mod marketplace_service;
mod miner_service;
mod network_service;
mod offers;
mod polling;
mod rentals;
pub mod validate;
pub mod validate_listing;
pub mod validate_miner;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use aitbc_common::identity::PublicKey;
use aitbc_common::runtime::status::ApiError;
use aitbc_common::token::Scope;
use aitbc_proto::v1::ErrorReason;
use tokio::sync::Semaphore;
use tonic::Request;

use crate::agents::Registry;
use crate::audits::figures::Figures;
use crate::auth::Authenticator;
use crate::engine::command::{Command, JobSelector, JobView, Reply};
use crate::ledger::driver::LedgerHandle;
use crate::limits::Limits;
use crate::market::SharedBook;
use crate::network::Network;
use crate::sessions::driver::SessionContext;
use crate::shares::Shares;

pub use agent_service::Agents;
pub use job_service::Jobs;
pub use ledger_service::Ledger;
pub use marketplace_service::Market;
pub use miner_service::Miners;
pub use network_service::NetworkInfo;

/// Deliveries by CompleteJob that are taken at once; each may hold 36 MiB. Others wait, first come, first served.
const DELIVERIES: usize = 8;
/// Of these and of those that wait, deliveries of one identity: slow ones leave places for others.
const DELIVERIES_PER_IDENTITY: usize = 2;

/// Callers that read the ledger's records at once; each holds some messages of 128 KiB.
const RECORD_READERS: usize = 64;

/// What the services share.
pub struct Services {
    /// The engine and what surrounds it.
    pub context: SessionContext,
    /// The network.
    pub network: Network,
    /// Checks tokens.
    pub authenticator: Authenticator,
    /// How often callers may call.
    pub limits: Arc<Limits>,
    deliveries: Semaphore,
    deliveries_by_identity: Shares<PublicKey>,
    record_readers: Arc<Semaphore>,
    /// The ledger.
    pub ledger: LedgerHandle,
    /// What the market makes of it.
    pub book: Arc<SharedBook>,
    /// What became of audits of work.
    pub audits: Arc<Figures>,
    /// Agents and their files.
    pub agents: Registry,
}

impl Services {
    /// The parts put together.
    #[must_use]
    pub fn new(
        context: SessionContext,
        network: Network,
        authenticator: Authenticator,
        limits: Arc<Limits>,
        ledger: LedgerHandle,
    ) -> Arc<Self> {
        let agents = Registry::new(context.engine.clone());
        Arc::new(Self {
            context,
            network,
            authenticator,
            limits,
            deliveries: Semaphore::new(DELIVERIES),
            deliveries_by_identity: Shares::new(DELIVERIES_PER_IDENTITY),
            record_readers: Arc::new(Semaphore::new(RECORD_READERS)),
            ledger,
            book: Arc::default(),
            audits: Arc::default(),
            agents,
        })
    }

    /// The caller, whose token must cover `needed`; the call counts against its limit.
    fn caller<T>(&self, request: &Request<T>, needed: Scope) -> Result<PublicKey, ApiError> {
        let caller = self.authenticator.authenticate(request, needed)?;
        self.limits.call(&caller)?;
        Ok(caller)
    }

    async fn call(&self, command: Command) -> Result<Reply, ApiError> {
        self.context.engine.call(command).await
    }

    async fn job(&self, owner: PublicKey, job: JobSelector) -> Result<JobView, ApiError> {
        match self.call(Command::GetJob { owner, job }).await? {
            Reply::Job(view) => Ok(*view),
            _ => Err(unexpected()),
        }
    }
}

/// An answer that does not fit its command.
fn unexpected() -> ApiError {
    ApiError::new(
        ErrorReason::Internal,
        "the engine gave another answer than asked for; please report this",
    )
}
