//! JobService.

use std::collections::BTreeSet;
use std::sync::Arc;

use aitbc_common::hash::sha256;
use aitbc_common::identity::PublicKey;
use aitbc_common::job_input::JobType;
use aitbc_common::layouts::{JobSpec, Requirements};
use aitbc_common::limits::JOBS_PER_BATCH;
use aitbc_common::runtime::status::ApiError;
use aitbc_common::token::Scope;
use aitbc_proto::v1::job_service_server::JobService;
use aitbc_proto::v1::{self, ErrorReason};
use prost::Message;
use tonic::{Request, Response, Status};

use super::job_ids::new_job_id;
use super::{
    Services, convert, job_history, job_lists, job_results, market_figures, unexpected, validate,
};
use crate::engine::command::{AgentRun, Command, ExplainSubject, JobView, Reply, Submission};
use crate::jobs::explain::InputSize;
use crate::sessions::responses::ResponseStream;
use crate::sessions::watch_job::{self, Position};
use crate::sessions::watch_jobs::{self, Cursor};
use crate::store::rows::uuid;

/// Largest result document that WatchJobs sends inline.
const MAX_INLINE_RESULT: u32 = 64 << 10;

/// Answers JobService.
#[derive(Clone)]
pub struct Jobs(pub Arc<Services>);

fn submitted(reply: Reply) -> Result<v1::SubmitJobResponse, ApiError> {
    match reply {
        Reply::Submitted(submitted) => Ok(convert::submitted(&submitted)),
        _ => Err(unexpected()),
    }
}

impl Jobs {
    async fn submit(
        &self,
        request: Request<v1::SubmitJobRequest>,
    ) -> Result<v1::SubmitJobResponse, ApiError> {
        let owner = self.0.authenticator.authenticate(&request, Scope::Client)?;
        self.0.limits.submits(&owner, 1)?;
        let (chain_id, now_ms) = (self.0.context.chain_id, self.0.context.engine.now_ms());
        let mut submission = validate::submission(request.into_inner(), owner, chain_id, now_ms)?;
        self.0.agents.attach(&mut submission).await?;
        submitted(self.0.call(Command::Submit(Box::new(submission))).await?)
    }

    async fn submit_all(
        &self,
        request: Request<v1::SubmitJobsRequest>,
    ) -> Result<v1::SubmitJobsResponse, ApiError> {
        let owner = self.0.authenticator.authenticate(&request, Scope::Client)?;
        self.0.context.engine.stats().message_in();
        let jobs = request.into_inner().jobs;
        if jobs.is_empty() || jobs.len() > JOBS_PER_BATCH {
            return Err(ApiError::field(
                "jobs",
                format!("has {}, takes 1 to {JOBS_PER_BATCH}", jobs.len()),
            ));
        }
        let ids: BTreeSet<&str> = jobs.iter().map(|job| job.request_id.as_str()).collect();
        if ids.len() < jobs.len() {
            return Err(ApiError::field(
                "jobs.request_id",
                "occurs twice: each job takes one of its own",
            ));
        }
        self.0.limits.submits(&owner, jobs.len())?;
        let (chain_id, now_ms) = (self.0.context.chain_id, self.0.context.engine.now_ms());
        let mut commands = Vec::with_capacity(jobs.len());
        let mut checked = Vec::with_capacity(jobs.len());
        for job in jobs {
            let submission = match validate::submission(job, owner, chain_id, now_ms) {
                Ok(mut submission) => {
                    let attached = self.0.agents.attach(&mut submission).await;
                    attached.map(|()| submission)
                }
                Err(error) => Err(error),
            };
            checked.push(submission.map(|submission| {
                commands.push(Command::Submit(Box::new(submission)));
            }));
        }
        let mut replies = self.0.context.engine.call_all(commands).await.into_iter();
        let results = checked.into_iter().map(|checked: Result<(), ApiError>| {
            let answer = checked
                .and_then(|()| replies.next().unwrap_or_else(|| Err(unexpected())))
                .and_then(submitted);
            let result = match answer {
                Ok(submitted) => v1::submit_jobs_result::Result::Submitted(submitted),
                Err(error) => v1::submit_jobs_result::Result::Error(error.to_request_error()),
            };
            v1::SubmitJobsResult {
                result: Some(result),
            }
        });
        self.0.context.engine.stats().message_out();
        Ok(v1::SubmitJobsResponse {
            results: results.collect(),
        })
    }

    async fn retry(
        &self,
        request: Request<v1::RetryJobRequest>,
    ) -> Result<v1::RetryJobResponse, ApiError> {
        let owner = self.0.authenticator.authenticate(&request, Scope::Client)?;
        self.0.limits.submits(&owner, 1)?;
        let request = request.into_inner();
        validate::request_id(&request.request_id)?;
        let view = self
            .0
            .job(owner, validate::job_selector(&request.job_id)?)
            .await?;
        let submission = retry_submission(&request, &view, owner, self.0.context.engine.now_ms())?;
        match self.0.call(Command::Submit(Box::new(submission))).await? {
            Reply::Submitted(submitted) => Ok(v1::RetryJobResponse {
                spec: submitted.view.row.spec.clone(),
                submitted: Some(convert::submitted(&submitted)),
            }),
            _ => Err(unexpected()),
        }
    }

    async fn cancel(
        &self,
        request: Request<v1::CancelJobRequest>,
    ) -> Result<v1::CancelJobResponse, ApiError> {
        let owner = self.0.caller(&request, Scope::Client)?;
        let job = validate::job_selector(&request.get_ref().job_id)?;
        match self.0.call(Command::Cancel { owner, job }).await? {
            Reply::Cancelled(view, cancelled) => {
                let job = Some(convert::job_view(&view, &self.0.context.streams));
                Ok(v1::CancelJobResponse { job, cancelled })
            }
            _ => Err(unexpected()),
        }
    }

    async fn delete(
        &self,
        request: Request<v1::DeleteJobRequest>,
    ) -> Result<v1::DeleteJobResponse, ApiError> {
        let owner = self.0.caller(&request, Scope::Client)?;
        let job = validate::job_selector(&request.get_ref().job_id)?;
        match self.0.call(Command::Delete { owner, job }).await? {
            Reply::Deleted(job_id) => Ok(v1::DeleteJobResponse {
                job_id: job_id.to_string(),
            }),
            _ => Err(unexpected()),
        }
    }

    async fn acknowledge(
        &self,
        request: Request<v1::AcknowledgeResultRequest>,
    ) -> Result<v1::AcknowledgeResultResponse, ApiError> {
        let owner = self.0.caller(&request, Scope::Client)?;
        let request = request.into_inner();
        let job = validate::job_selector(&request.job_id)?;
        let (acknowledgement, signature) = validate::acknowledgement(
            &request,
            owner,
            &self.0.context.chain_id,
            self.0.context.engine.now_ms(),
        )?;
        let command = Command::Acknowledge {
            job,
            acknowledgement: Box::new(acknowledgement),
            signature,
        };
        match self.0.call(command).await? {
            Reply::Job(view) => Ok(v1::AcknowledgeResultResponse {
                job: Some(convert::job_view(&view, &self.0.context.streams)),
            }),
            _ => Err(unexpected()),
        }
    }

    async fn explain(
        &self,
        request: Request<v1::ExplainJobRequest>,
    ) -> Result<v1::ExplainJobResponse, ApiError> {
        let owner = self.0.caller(&request, Scope::Read)?;
        let request = request.into_inner();
        let mut limit = None;
        let subject = match request.subject {
            Some(v1::explain_job_request::Subject::JobId(job_id)) => {
                ExplainSubject::Job(validate::job_selector(&job_id)?)
            }
            Some(v1::explain_job_request::Subject::Spec(spec)) => {
                limit = spec.max_price_per_hour_micro_ait;
                let checked = validate::spec(spec, owner, self.0.context.chain_id, false)?;
                let is_agent = checked.spec.job_type == JobType::Agent && !checked.input.is_empty();
                let tools = if is_agent {
                    let executed = self
                        .0
                        .agents
                        .executed(owner, &checked.model, &checked.input);
                    executed.await?.tools
                } else {
                    Vec::new()
                };
                ExplainSubject::Spec {
                    job_type: checked.spec.job_type,
                    model: checked.model,
                    model_digest: checked.spec.model_digest,
                    requirements: checked.requirements,
                    max_rate: checked.spec.max_rate,
                    input: InputSize {
                        bytes: checked.spec.input_len,
                        output_tokens: checked.output_tokens,
                    },
                    paid: request.paid,
                    tools,
                }
            }
            None => {
                return Err(ApiError::field(
                    "subject",
                    "is missing: give a job id or a specification",
                ));
            }
        };
        match self.0.call(Command::Explain { owner, subject }).await? {
            Reply::Explained(mut explained) => {
                let board = &self.0.context.hub.board;
                let now = self.0.context.engine.now_ms();
                market_figures::quote(board, &self.0.book, now, limit, &mut explained);
                Ok(*explained)
            }
            _ => Err(unexpected()),
        }
    }

    async fn models(
        &self,
        request: Request<v1::ListModelsRequest>,
    ) -> Result<v1::ListModelsResponse, ApiError> {
        self.0.authenticator.public(&request)?;
        let request = request.into_inner();
        let size = validate::page_size(request.page_size, 100)?;
        let after = match request.page_token.as_str() {
            "" => None,
            token => Some(validate::model_token(token)?),
        };
        let command = Command::ListModels { after, limit: size };
        let Reply::Models(models, more) = self.0.call(command).await? else {
            return Err(unexpected());
        };
        let last = models.last().filter(|_| more);
        Ok(v1::ListModelsResponse {
            next_page_token: last.map(convert::model_token).unwrap_or_default(),
            models,
        })
    }

    async fn watch(
        &self,
        request: Request<v1::WatchJobRequest>,
    ) -> Result<ResponseStream<v1::WatchJobResponse>, ApiError> {
        let owner = self.0.caller(&request, Scope::Read)?;
        let request = request.into_inner();
        let job = validate::job_selector(&request.job_id)?;
        let position = Position {
            attempt: request.attempt,
            offset: request.offset,
        };
        watch_job::start(&self.0.context, owner, job, position).await
    }

    fn watch_all(
        &self,
        request: &Request<v1::WatchJobsRequest>,
    ) -> Result<ResponseStream<v1::WatchJobsResponse>, ApiError> {
        let owner = self.0.caller(request, Scope::Read)?;
        let v1::WatchJobsRequest {
            cursor,
            inline_result_bytes: inline,
        } = request.get_ref();
        if *inline > MAX_INLINE_RESULT {
            return Err(ApiError::field(
                "inline_result_bytes",
                format!("is {inline}, takes 0 to {MAX_INLINE_RESULT}"),
            ));
        }
        let cursor = if cursor.is_empty() {
            None
        } else {
            Some(Cursor::decode(cursor)?)
        };
        watch_jobs::start(&self.0.context, owner, cursor, *inline)
    }
}

/// A new job from a final one's stored input.
fn retry_submission(
    request: &v1::RetryJobRequest,
    view: &JobView,
    owner: PublicKey,
    now_ms: u64,
) -> Result<Submission, ApiError> {
    let row = &view.row;
    // "last" may mean the job that this very request made before.
    let repeated = row.request_id == request.request_id && !row.retry_of.is_empty();
    if !convert::is_final(view.status) && !repeated {
        let message = format!("{} has not ended: cancel it first, or wait", row.id());
        return Err(ApiError::new(ErrorReason::WrongStatus, message));
    }
    if row.content_deleted {
        let message = format!("the input of {} was deleted: submit the job anew", row.id());
        return Err(ApiError::new(ErrorReason::ResultDeleted, message));
    }
    let mut spec = JobSpec::decode(&row.spec).map_err(|error| {
        ApiError::new(
            ErrorReason::Internal,
            format!("a stored specification: {error}"),
        )
    })?;
    let salt = request.salt.as_ref().try_into();
    spec.salt = salt.map_err(|_| {
        ApiError::field(
            "salt",
            format!("has {} bytes, takes 32 random ones", request.salt.len()),
        )
    })?;
    Ok(Submission {
        job_id: new_job_id(now_ms, &owner),
        owner,
        request_id: request.request_id.clone(),
        body_hash: sha256(&request.encode_to_vec()),
        spec,
        model: row.model.clone(),
        requirements: Requirements {
            min_vram_gib: row.min_vram_gib,
            miner: uuid(&row.only_miner).map(aitbc_common::ids::MinerId),
            min_reputation_ppm: row.min_reputation_ppm,
            offer: uuid(&row.offer).map(aitbc_common::ids::ListingId),
            rental: uuid(&row.rental).map(aitbc_common::ids::RentalId),
        },
        input: row.input.clone(),
        priority: row.priority,
        max_retries: row.max_retries,
        require_miner: false,
        retry_of: Some(row.id()),
        hold: row.needs_funds,
        least_funding: row.least_funding,
        not_paid_at: Vec::new(),
        agent: uuid(&row.agent).map(|id| AgentRun {
            id: aitbc_common::ids::AgentId(id),
            version: row.agent_version,
            tools: row.tools.clone(),
        }),
    })
}

#[tonic::async_trait]
impl JobService for Jobs {
    type WatchJobStream = ResponseStream<v1::WatchJobResponse>;
    type WatchJobsStream = ResponseStream<v1::WatchJobsResponse>;
    type GetResultStream = ResponseStream<v1::GetResultResponse>;

    async fn submit_job(
        &self,
        request: Request<v1::SubmitJobRequest>,
    ) -> Result<Response<v1::SubmitJobResponse>, Status> {
        Ok(Response::new(self.submit(request).await?))
    }

    async fn submit_jobs(
        &self,
        request: Request<v1::SubmitJobsRequest>,
    ) -> Result<Response<v1::SubmitJobsResponse>, Status> {
        Ok(Response::new(self.submit_all(request).await?))
    }

    async fn get_job(
        &self,
        request: Request<v1::GetJobRequest>,
    ) -> Result<Response<v1::GetJobResponse>, Status> {
        let owner = self.0.caller(&request, Scope::Read)?;
        let view = self
            .0
            .job(owner, validate::job_selector(&request.get_ref().job_id)?)
            .await?;
        let job = Some(convert::job_view(&view, &self.0.context.streams));
        Ok(Response::new(v1::GetJobResponse { job }))
    }

    async fn list_jobs(
        &self,
        request: Request<v1::ListJobsRequest>,
    ) -> Result<Response<v1::ListJobsResponse>, Status> {
        let owner = self.0.caller(&request, Scope::Read)?;
        Ok(Response::new(
            job_lists::list(&self.0.context, owner, request.into_inner()).await?,
        ))
    }

    async fn cancel_job(
        &self,
        request: Request<v1::CancelJobRequest>,
    ) -> Result<Response<v1::CancelJobResponse>, Status> {
        Ok(Response::new(self.cancel(request).await?))
    }

    async fn retry_job(
        &self,
        request: Request<v1::RetryJobRequest>,
    ) -> Result<Response<v1::RetryJobResponse>, Status> {
        Ok(Response::new(self.retry(request).await?))
    }

    async fn delete_job(
        &self,
        request: Request<v1::DeleteJobRequest>,
    ) -> Result<Response<v1::DeleteJobResponse>, Status> {
        Ok(Response::new(self.delete(request).await?))
    }

    async fn watch_job(
        &self,
        request: Request<v1::WatchJobRequest>,
    ) -> Result<Response<Self::WatchJobStream>, Status> {
        Ok(Response::new(self.watch(request).await?))
    }

    async fn watch_jobs(
        &self,
        request: Request<v1::WatchJobsRequest>,
    ) -> Result<Response<Self::WatchJobsStream>, Status> {
        Ok(Response::new(self.watch_all(&request)?))
    }

    async fn get_result(
        &self,
        request: Request<v1::GetResultRequest>,
    ) -> Result<Response<Self::GetResultStream>, Status> {
        let owner = self.0.caller(&request, Scope::Read)?;
        let request = request.into_inner();
        let view = self
            .0
            .job(owner, validate::job_selector(&request.job_id)?)
            .await?;
        Ok(Response::new(
            job_results::start(&self.0.context, view, request.output_offset).await?,
        ))
    }

    async fn acknowledge_result(
        &self,
        request: Request<v1::AcknowledgeResultRequest>,
    ) -> Result<Response<v1::AcknowledgeResultResponse>, Status> {
        Ok(Response::new(self.acknowledge(request).await?))
    }

    async fn list_job_events(
        &self,
        request: Request<v1::ListJobEventsRequest>,
    ) -> Result<Response<v1::ListJobEventsResponse>, Status> {
        let owner = self.0.caller(&request, Scope::Read)?;
        let view = self
            .0
            .job(owner, validate::job_selector(&request.get_ref().job_id)?)
            .await?;
        Ok(Response::new(job_history::page(
            &view,
            &self.0.context.streams,
            request.get_ref(),
        )?))
    }

    async fn explain_job(
        &self,
        request: Request<v1::ExplainJobRequest>,
    ) -> Result<Response<v1::ExplainJobResponse>, Status> {
        Ok(Response::new(self.explain(request).await?))
    }

    async fn list_models(
        &self,
        request: Request<v1::ListModelsRequest>,
    ) -> Result<Response<v1::ListModelsResponse>, Status> {
        Ok(Response::new(self.models(request).await?))
    }
}
