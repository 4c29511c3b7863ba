//! MinerService.

use std::sync::Arc;

use aitbc_common::ids::{MinerId, shard_of};
use aitbc_common::names::canonical_model;
use aitbc_common::runtime::random_bytes;
use aitbc_common::runtime::status::ApiError;
use aitbc_common::token::Scope;
use aitbc_proto::v1;
use aitbc_proto::v1::miner_service_server::MinerService;
use tonic::{Request, Response, Status, Streaming};

use super::{Services, deliveries, polling, unexpected, validate, validate_miner};
use crate::engine::command::{Command, Reply};
use crate::sessions::driver::{self, SessionResponses};
use crate::sessions::messages;

/// Answers MinerService.
#[derive(Clone)]
pub struct Miners(pub Arc<Services>);

impl Miners {
    async fn register(
        &self,
        request: Request<v1::RegisterMinerRequest>,
    ) -> Result<v1::RegisterMinerResponse, ApiError> {
        let key = self.0.caller(&request, Scope::Miner)?;
        let change = Box::new(validate_miner::registration(request.into_inner())?);
        let new_id = MinerId::new(
            self.0.context.engine.now_ms(),
            shard_of(&key),
            random_bytes(),
        );
        match self
            .0
            .call(Command::Register {
                key,
                new_id,
                change,
            })
            .await?
        {
            Reply::Registered(miner, created, previous) => Ok(v1::RegisterMinerResponse {
                warnings: validate_miner::gpu_warnings(&miner.gpus),
                miner: Some(*miner),
                created,
                previous_price_per_hour_micro_ait: previous,
            }),
            _ => Err(unexpected()),
        }
    }

    async fn update(
        &self,
        request: Request<v1::UpdateMinerRequest>,
    ) -> Result<v1::UpdateMinerResponse, ApiError> {
        let key = self.0.caller(&request, Scope::Miner)?;
        let change = Box::new(validate_miner::update(request.into_inner())?);
        match self.0.call(Command::Update { key, change }).await? {
            Reply::Registered(miner, ..) => Ok(v1::UpdateMinerResponse {
                miner: Some(*miner),
            }),
            _ => Err(unexpected()),
        }
    }

    async fn get(
        &self,
        request: Request<v1::GetMinerRequest>,
    ) -> Result<v1::GetMinerResponse, ApiError> {
        let caller = self.0.caller(&request, Scope::Read)?;
        let miner_id = match request.get_ref().miner_id.as_str() {
            "" => None,
            id => Some(validate::miner_id(id)?),
        };
        match self.0.call(Command::GetMiner { miner_id, caller }).await? {
            Reply::Miner(miner) => Ok(v1::GetMinerResponse {
                miner: Some(*miner),
            }),
            _ => Err(unexpected()),
        }
    }

    async fn list(
        &self,
        request: Request<v1::ListMinersRequest>,
    ) -> Result<v1::ListMinersResponse, ApiError> {
        self.0.caller(&request, Scope::Read)?;
        let request = request.into_inner();
        let limit = validate::page_size(request.page_size, 50)?;
        let after = match request.page_token.as_str() {
            "" => None,
            token => Some(
                token
                    .parse::<MinerId>()
                    .map_err(|_| validate::bad_page_token())?,
            ),
        };
        let model = match request.model.as_str() {
            "" => None,
            name => {
                let wrong = |error: aitbc_common::names::ModelNameError| {
                    ApiError::field("model", format!("{error}; {}", error.hint()))
                };
                Some(canonical_model(name).map_err(wrong)?)
            }
        };
        match self
            .0
            .call(Command::ListMiners {
                after,
                limit,
                model,
            })
            .await?
        {
            Reply::Miners(miners, more) => {
                let last = miners
                    .last()
                    .filter(|_| more)
                    .map(|miner| miner.miner_id.clone());
                Ok(v1::ListMinersResponse {
                    miners,
                    next_page_token: last.unwrap_or_default(),
                })
            }
            _ => Err(unexpected()),
        }
    }

    async fn deregister(
        &self,
        request: Request<v1::DeregisterMinerRequest>,
    ) -> Result<v1::DeregisterMinerResponse, ApiError> {
        let key = self.0.caller(&request, Scope::Miner)?;
        let miner_id = validate::miner_id(&request.get_ref().miner_id)?;
        self.0.call(Command::Deregister { key, miner_id }).await?;
        Ok(v1::DeregisterMinerResponse {
            miner_id: miner_id.to_string(),
        })
    }

    async fn fail(
        &self,
        request: Request<v1::FailJobRequest>,
    ) -> Result<v1::FailJobResponse, ApiError> {
        let miner_key = self.0.authenticator.authenticate(&request, Scope::Miner)?;
        let request = request.into_inner();
        let attempt = validate::attempt(&request.job_id, request.attempt)?;
        let failure = messages::failure(request.failure);
        match self
            .0
            .call(Command::Fail {
                miner_key,
                attempt,
                failure,
            })
            .await?
        {
            Reply::Failed(status) => Ok(v1::FailJobResponse {
                status: status.into(),
            }),
            _ => Err(unexpected()),
        }
    }
}

impl Miners {
    async fn earnings(
        &self,
        request: Request<v1::GetEarningsRequest>,
    ) -> Result<v1::GetEarningsResponse, ApiError> {
        let miner_key = self.0.caller(&request, Scope::Miner)?;
        let days = match request.get_ref().days {
            0 => 30,
            days @ 1..=90 => days,
            days => return Err(ApiError::field("days", format!("is {days}, takes 1 to 90"))),
        };
        let command = Command::GetEarnings { miner_key, days };
        match self.0.call(command).await? {
            Reply::Earnings(earnings) => Ok(v1::GetEarningsResponse { earnings }),
            _ => Err(unexpected()),
        }
    }
}

#[tonic::async_trait]
impl MinerService for Miners {
    type OpenSessionStream = SessionResponses;

    async fn register_miner(
        &self,
        request: Request<v1::RegisterMinerRequest>,
    ) -> Result<Response<v1::RegisterMinerResponse>, Status> {
        Ok(Response::new(self.register(request).await?))
    }

    async fn update_miner(
        &self,
        request: Request<v1::UpdateMinerRequest>,
    ) -> Result<Response<v1::UpdateMinerResponse>, Status> {
        Ok(Response::new(self.update(request).await?))
    }

    async fn get_miner(
        &self,
        request: Request<v1::GetMinerRequest>,
    ) -> Result<Response<v1::GetMinerResponse>, Status> {
        Ok(Response::new(self.get(request).await?))
    }

    async fn list_miners(
        &self,
        request: Request<v1::ListMinersRequest>,
    ) -> Result<Response<v1::ListMinersResponse>, Status> {
        Ok(Response::new(self.list(request).await?))
    }

    async fn deregister_miner(
        &self,
        request: Request<v1::DeregisterMinerRequest>,
    ) -> Result<Response<v1::DeregisterMinerResponse>, Status> {
        Ok(Response::new(self.deregister(request).await?))
    }

    async fn open_session(
        &self,
        request: Request<Streaming<v1::OpenSessionRequest>>,
    ) -> Result<Response<Self::OpenSessionStream>, Status> {
        let key = self.0.caller(&request, Scope::Miner)?;
        let peer = request.remote_addr().map_or_else(
            || "an unknown address".into(),
            |address| address.to_string(),
        );
        Ok(Response::new(driver::open(
            &self.0.context,
            key,
            peer,
            request.into_inner(),
        )))
    }

    async fn poll_job(
        &self,
        request: Request<v1::PollJobRequest>,
    ) -> Result<Response<v1::PollJobResponse>, Status> {
        let miner = self.0.caller(&request, Scope::Miner)?;
        Ok(Response::new(
            polling::poll(&self.0, miner, request.into_inner()).await?,
        ))
    }

    async fn extend_lease(
        &self,
        request: Request<v1::ExtendLeaseRequest>,
    ) -> Result<Response<v1::ExtendLeaseResponse>, Status> {
        let miner = self.0.caller(&request, Scope::Miner)?;
        Ok(Response::new(
            polling::extend(&self.0, miner, &request.into_inner()).await?,
        ))
    }

    async fn complete_job(
        &self,
        request: Request<Streaming<v1::CompleteJobRequest>>,
    ) -> Result<Response<v1::CompleteJobResponse>, Status> {
        let miner = self.0.authenticator.authenticate(&request, Scope::Miner)?;
        Ok(Response::new(
            deliveries::complete(&self.0, miner, request.into_inner()).await?,
        ))
    }

    async fn get_earnings(
        &self,
        request: Request<v1::GetEarningsRequest>,
    ) -> Result<Response<v1::GetEarningsResponse>, Status> {
        Ok(Response::new(self.earnings(request).await?))
    }

    async fn fail_job(
        &self,
        request: Request<v1::FailJobRequest>,
    ) -> Result<Response<v1::FailJobResponse>, Status> {
        Ok(Response::new(self.fail(request).await?))
    }
}
