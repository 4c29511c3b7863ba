//! The scripted coordinator's calls.

use std::pin::Pin;

use aitbc_common::genesis::chain_id;
use aitbc_common::identity::PublicKey;
use aitbc_common::runtime::status::ApiError;
use aitbc_common::runtime::unix_ms;
use aitbc_common::token;
use aitbc_proto::v1::get_result_response::Part;
use aitbc_proto::v1::job_service_server::JobService;
use aitbc_proto::v1::network_service_server::NetworkService;
use aitbc_proto::v1::*;
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use super::{Coordinator, OUTPUT, genesis, result, service};

fn owner<T>(request: &Request<T>) -> PublicKey {
    let header = request
        .metadata()
        .get("authorization")
        .unwrap()
        .to_str()
        .unwrap();
    let token = header.strip_prefix("Bearer ").unwrap();
    token::verify(token, &chain_id(&genesis()), unix_ms() / 1_000)
        .unwrap()
        .identity
}

#[tonic::async_trait]
impl NetworkService for Coordinator {
    async fn get_network_info(
        &self,
        _request: Request<GetNetworkInfoRequest>,
    ) -> Result<Response<GetNetworkInfoResponse>, Status> {
        Ok(Response::new(GetNetworkInfoResponse {
            chain_id: chain_id(&genesis()).to_vec().into(),
            service_key: service().public().0.to_vec().into(),
            genesis: genesis().into(),
            ..Default::default()
        }))
    }

    async fn faucet(
        &self,
        _: Request<aitbc_proto::v1::FaucetRequest>,
    ) -> Result<Response<aitbc_proto::v1::FaucetResponse>, Status> {
        Err(Status::unimplemented("this coordinator has no faucet"))
    }
}

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn streamed<T: Send + 'static>(items: Vec<Result<T, Status>>) -> Response<Streamed<T>> {
    Response::new(Box::pin(tokio_stream::iter(items)))
}

#[tonic::async_trait]
impl JobService for Coordinator {
    type WatchJobStream = Streamed<WatchJobResponse>;
    type WatchJobsStream = Streamed<WatchJobsResponse>;
    type GetResultStream = Streamed<GetResultResponse>;

    async fn submit_job(
        &self,
        request: Request<SubmitJobRequest>,
    ) -> Result<Response<SubmitJobResponse>, Status> {
        let owner = owner(&request);
        self.change(|script| {
            let request = request.into_inner();
            script.submitted.push(request.clone());
            if script.submits_that_fail > 0 {
                script.submits_that_fail -= 1;
                return Err(ApiError::new(ErrorReason::Unavailable, "recovering").into());
            }
            let spec = script.understood(&request.spec.unwrap(), owner);
            script.spec = Some(spec.clone());
            Ok(Response::new(script.answer(&spec)))
        })
    }

    async fn get_job(
        &self,
        _request: Request<GetJobRequest>,
    ) -> Result<Response<GetJobResponse>, Status> {
        Ok(Response::new(GetJobResponse {
            job: Some(self.change(|script| script.job())),
        }))
    }

    async fn list_jobs(
        &self,
        _request: Request<ListJobsRequest>,
    ) -> Result<Response<ListJobsResponse>, Status> {
        let jobs = vec![self.change(|script| script.job())];
        Ok(Response::new(ListJobsResponse {
            jobs,
            next_page_token: "more".into(),
        }))
    }

    async fn cancel_job(
        &self,
        _request: Request<CancelJobRequest>,
    ) -> Result<Response<CancelJobResponse>, Status> {
        Ok(Response::new(CancelJobResponse {
            job: Some(self.change(|script| script.job())),
            cancelled: true,
        }))
    }

    async fn retry_job(
        &self,
        request: Request<RetryJobRequest>,
    ) -> Result<Response<RetryJobResponse>, Status> {
        self.change(|script| {
            let mut spec = script.spec.clone().unwrap();
            spec.salt = request.get_ref().salt[..].try_into().unwrap();
            spec.input_len += u64::from(script.retries_another);
            Ok(Response::new(RetryJobResponse {
                submitted: Some(script.answer(&spec)),
                spec: spec.encode().into(),
            }))
        })
    }

    async fn delete_job(
        &self,
        request: Request<DeleteJobRequest>,
    ) -> Result<Response<DeleteJobResponse>, Status> {
        Ok(Response::new(DeleteJobResponse {
            job_id: request.into_inner().job_id,
        }))
    }

    async fn watch_job(
        &self,
        request: Request<WatchJobRequest>,
    ) -> Result<Response<Self::WatchJobStream>, Status> {
        let request = request.into_inner();
        let items = self.change(|script| {
            script.positions.push((request.attempt, request.offset));
            let steps = script.streams.pop_front().unwrap_or_default();
            let batch = |event| WatchJobEvent { event: Some(event) };
            steps
                .into_iter()
                .map(|say| {
                    let events = script.events(say)?.into_iter().map(batch).collect();
                    Ok(WatchJobResponse { events })
                })
                .collect()
        });
        Ok(streamed(items))
    }

    async fn get_result(
        &self,
        request: Request<GetResultRequest>,
    ) -> Result<Response<Self::GetResultStream>, Status> {
        let offset = usize::try_from(request.into_inner().output_offset).unwrap();
        self.change(|script| {
            if !script.completed && script.attempt == 0 {
                return Err(ApiError::new(ErrorReason::NotFinished, "not finished").into());
            }
            let header = ResultHeader {
                job: Some(script.job()),
                proof: Some(script.proof(|_| {})),
                ..Default::default()
            };
            let parts = [
                Part::Header(header),
                Part::Output(OUTPUT[offset..].into()),
                Part::Result(result().into()),
            ];
            Ok(streamed(
                parts
                    .map(|part| Ok(GetResultResponse { part: Some(part) }))
                    .to_vec(),
            ))
        })
    }

    async fn list_job_events(
        &self,
        _request: Request<ListJobEventsRequest>,
    ) -> Result<Response<ListJobEventsResponse>, Status> {
        Ok(Response::new(ListJobEventsResponse::default()))
    }

    async fn acknowledge_result(
        &self,
        _request: Request<AcknowledgeResultRequest>,
    ) -> Result<Response<AcknowledgeResultResponse>, Status> {
        Err(Status::unimplemented("not played"))
    }

    async fn explain_job(
        &self,
        _request: Request<ExplainJobRequest>,
    ) -> Result<Response<ExplainJobResponse>, Status> {
        Ok(Response::new(ExplainJobResponse::default()))
    }

    async fn submit_jobs(
        &self,
        _request: Request<SubmitJobsRequest>,
    ) -> Result<Response<SubmitJobsResponse>, Status> {
        Err(Status::unimplemented("not played"))
    }

    async fn watch_jobs(
        &self,
        _request: Request<WatchJobsRequest>,
    ) -> Result<Response<Self::WatchJobsStream>, Status> {
        Err(Status::unimplemented("not played"))
    }

    async fn list_models(
        &self,
        _request: Request<ListModelsRequest>,
    ) -> Result<Response<ListModelsResponse>, Status> {
        Err(Status::unimplemented("not played"))
    }
}
