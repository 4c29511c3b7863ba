//! What an execution asks of the coordinator, again while it cannot be reached.

use std::time::Duration;

use aitbc_common::hash::Hash;
use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::runtime::status::ApiError;
use aitbc_common::token::Scope;
use aitbc_proto::v1::fetch_execution_response::Part;
use aitbc_proto::v1::{ConfirmEventsRequest, ErrorReason, FailureReason, FetchExecutionRequest};
use bytes::Bytes;
use tonic::Status;

use super::driver::Host;
use crate::execution::{RunFailure, failed, refused};
use crate::session::AttemptKey;

/// How long the coordinator may be away.
const PATIENCE: Duration = Duration::from_secs(120);
/// The pause before it is asked again.
const PAUSE: Duration = Duration::from_millis(500);
/// A call may take this long.
const CALL_TIME: Duration = Duration::from_secs(30);
/// The events of an execution, at most: as its output.
const MAX_EVENTS_BYTES: usize = aitbc_common::limits::OUTPUT_BYTES as usize;

/// The coordinator, for one attempt.
pub struct Coordinator<'a> {
    host: &'a Host,
    key: AttemptKey,
    connection: Option<Connection>,
}

enum Trouble {
    /// It may work again.
    Passing(String),
    Final(RunFailure),
}

impl From<CommandError> for Trouble {
    fn from(error: CommandError) -> Self {
        Self::Passing(error.message)
    }
}

impl From<Status> for Trouble {
    fn from(status: Status) -> Self {
        let reason = ApiError::from_status(&status).map(|error| error.reason);
        let message = CommandError::from(status).message;
        match reason {
            Some(ErrorReason::StaleAttempt | ErrorReason::JobNotFound) => {
                Self::Final(RunFailure::Cancelled)
            }
            Some(
                ErrorReason::AgentNotFound
                | ErrorReason::FileMissing
                | ErrorReason::InvalidField
                | ErrorReason::InvalidInput,
            ) => Self::Final(refused(message)),
            Some(ErrorReason::Unimplemented) => {
                Self::Final(failed(FailureReason::Operator, message))
            }
            _ => Self::Passing(message),
        }
    }
}

impl<'a> Coordinator<'a> {
    /// For this attempt.
    pub fn new(host: &'a Host, key: AttemptKey) -> Self {
        Self {
            host,
            key,
            connection: None,
        }
    }

    /// The definition, and the bytes of the events so far.
    pub async fn beginning(&mut self) -> Result<(Bytes, Vec<u8>), RunFailure> {
        let (mut definition, mut events) = (Bytes::new(), Vec::new());
        let parts = self.fetch(Bytes::new(), MAX_EVENTS_BYTES).await?;
        for part in parts {
            match part {
                Part::Definition(bytes) => definition = bytes,
                Part::Events(bytes) => events.extend_from_slice(&bytes),
                Part::Data(_) => {}
            }
        }
        Ok((definition, events))
    }

    /// The bytes of a file, in pieces; of this length at most.
    pub async fn file(&mut self, hash: &Hash, length: usize) -> Result<Vec<Bytes>, RunFailure> {
        let parts = self.fetch(hash.to_vec().into(), length).await?;
        let data = parts.into_iter().filter_map(|part| match part {
            Part::Data(bytes) => Some(bytes),
            _ => None,
        });
        Ok(data.collect())
    }

    async fn fetch(&mut self, file: Bytes, most: usize) -> Result<Vec<Part>, RunFailure> {
        let asked = FetchExecutionRequest {
            job_id: self.key.job.to_string(),
            attempt: self.key.attempt.into(),
            file,
        };
        let began = tokio::time::Instant::now();
        loop {
            let trouble = match self.fetch_once(asked.clone(), most).await {
                Ok(parts) => return Ok(parts),
                Err(trouble) => trouble,
            };
            self.pause(trouble, began).await?;
        }
    }

    async fn fetch_once(
        &mut self,
        asked: FetchExecutionRequest,
        most: usize,
    ) -> Result<Vec<Part>, Trouble> {
        let mut agents = self.connected().await?.agents();
        let opened = tokio::time::timeout(CALL_TIME, agents.fetch_execution(asked)).await;
        let mut stream = opened.map_err(|_| silent())??.into_inner();
        let (mut parts, mut bytes) = (Vec::new(), 0);
        loop {
            let message = tokio::time::timeout(CALL_TIME, stream.message()).await;
            let Some(message) = message.map_err(|_| silent())?? else {
                return Ok(parts);
            };
            let Some(part) = message.part else { continue };
            if let Part::Events(data) | Part::Data(data) = &part {
                bytes += data.len();
            }
            if bytes > most {
                let message = "the coordinator sends more than there can be".to_owned();
                return Err(Trouble::Final(failed(FailureReason::Garbage, message)));
            }
            parts.push(part);
        }
    }

    /// Returns once so many bytes of the output are stored.
    pub async fn confirm(&mut self, bytes: u64) -> Result<(), RunFailure> {
        let asked = ConfirmEventsRequest {
            job_id: self.key.job.to_string(),
            attempt: self.key.attempt.into(),
            bytes,
        };
        let began = tokio::time::Instant::now();
        loop {
            let trouble = match self.confirm_once(asked.clone()).await {
                Ok(()) => return Ok(()),
                Err(trouble) => trouble,
            };
            self.pause(trouble, began).await?;
        }
    }

    async fn confirm_once(&mut self, asked: ConfirmEventsRequest) -> Result<(), Trouble> {
        let mut agents = self.connected().await?.agents();
        let confirmed = tokio::time::timeout(CALL_TIME, agents.confirm_events(asked)).await;
        confirmed.map_err(|_| silent())??;
        Ok(())
    }

    async fn connected(&mut self) -> Result<&Connection, Trouble> {
        if self.connection.is_none() {
            let (url, identity) = (&self.host.url, self.host.identity.clone());
            self.connection = Some(Connection::open(url, identity, Scope::Miner).await?);
        }
        Ok(self.connection.as_ref().expect("it was just opened"))
    }

    async fn pause(
        &mut self,
        trouble: Trouble,
        began: tokio::time::Instant,
    ) -> Result<(), RunFailure> {
        let message = match trouble {
            Trouble::Final(failure) => return Err(failure),
            Trouble::Passing(message) => message,
        };
        self.connection = None;
        if began.elapsed() >= PATIENCE {
            return Err(failed(FailureReason::Returned, message));
        }
        tokio::time::sleep(PAUSE).await;
        Ok(())
    }
}

fn silent() -> Trouble {
    Trouble::Passing("the coordinator does not answer".into())
}
