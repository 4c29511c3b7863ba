//! NetworkService.

use std::sync::Arc;

use aitbc_common::limits;
use aitbc_common::runtime::unix_ms;
use aitbc_common::token::MAX_LIFETIME_S;
use aitbc_proto::v1::network_service_server::NetworkService;
use aitbc_proto::v1::{self, NetworkProfile};
use tonic::{Request, Response, Status};

use super::{Services, convert};
use crate::retention::Retention;
use crate::sessions::messages::duration;

/// Answers NetworkService.
#[derive(Clone)]
pub struct NetworkInfo {
    /// What the services share.
    pub services: Arc<Services>,
    /// How long things are kept.
    pub retention: Retention,
    /// Live jobs of one identity, at most.
    pub jobs_per_identity: u32,
}

#[tonic::async_trait]
impl NetworkService for NetworkInfo {
    async fn get_network_info(
        &self,
        request: Request<v1::GetNetworkInfoRequest>,
    ) -> Result<Response<v1::GetNetworkInfoResponse>, Status> {
        self.services.authenticator.public(&request)?;
        let network = &self.services.network;
        let dev = network.genesis.profile == "dev";
        Ok(Response::new(v1::GetNetworkInfoResponse {
            chain_id: network.chain_id.to_vec().into(),
            profile: if dev {
                NetworkProfile::Dev
            } else {
                NetworkProfile::Standard
            }
            .into(),
            service_key: network.genesis.service_key.to_vec().into(),
            log_key: network.genesis.log_key.to_vec().into(),
            fee_bps: network.genesis.fee_bps.into(),
            limits: Some(v1::NetworkLimits {
                input_bytes: limits::INPUT_BYTES as u64,
                output_bytes: limits::OUTPUT_BYTES,
                message_bytes: limits::MESSAGE_BYTES as u64,
                jobs_per_batch: u32::try_from(limits::JOBS_PER_BATCH).unwrap_or(u32::MAX),
                waiting_jobs_per_identity: self.jobs_per_identity,
                content_retention: Some(duration(self.retention.content_ms)),
                summary_retention: Some(duration(self.retention.summary_ms)),
                token_lifetime: Some(duration(MAX_LIFETIME_S * 1_000)),
            }),
            version: env!("CARGO_PKG_VERSION").into(),
            funding_required: !dev,
            time: convert::timestamp(unix_ms()),
            genesis: network.genesis_bytes.clone(),
        }))
    }

    async fn faucet(
        &self,
        _: Request<v1::FaucetRequest>,
    ) -> Result<Response<v1::FaucetResponse>, Status> {
        Err(Status::unimplemented("this coordinator has no ledger"))
    }
}
