//! AgentService.

use std::sync::Arc;

use aitbc_common::agents::{MAX_DEFINITION_BYTES, MAX_FILES};
use aitbc_common::hash::{Hash, sha256};
use aitbc_common::identity::PublicKey;
use aitbc_common::runtime::status::ApiError;
use aitbc_common::token::Scope;
use aitbc_proto::v1::agent_service_server::AgentService;
use aitbc_proto::v1::fetch_execution_response::Part as Fetched;
use aitbc_proto::v1::upload_file_request::Part as Uploaded;
use aitbc_proto::v1::{self, ErrorReason};
use bytes::{Bytes, BytesMut};
use tonic::{Request, Response, Status, Streaming};

use super::deliveries::{next_message, no_part};
use super::{Services, convert, unexpected, validate};
use crate::agents::registry::{Agent, Which};
use crate::agents::{events, files};
use crate::engine::command::{AttemptInfo, Command, ExplainSubject, Reply};
use crate::jobs::explain::InputSize;
use crate::sessions::responses::{ResponseStream, Responses, WATCHER_PATIENCE};

/// Characters of an agent's name.
const NAME_CHARS: usize = 64;
/// Longest silence in an upload.
const PART_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);
/// Longest time of an upload.
const UPLOAD_WITHIN: std::time::Duration = std::time::Duration::from_secs(300);

/// Answers AgentService.
#[derive(Clone)]
pub struct Agents(pub Arc<Services>);

fn name(name: String) -> Result<String, ApiError> {
    let length = name.chars().count();
    if length == 0 || length > NAME_CHARS || name.trim() != name {
        let problem = format!(
            "has {length} characters, takes 1 to {NAME_CHARS} without white space at either end"
        );
        return Err(ApiError::field("name", problem));
    }
    validate::short_text("name", name, 4 * NAME_CHARS)
}

fn definition(definition: Bytes) -> Result<Bytes, ApiError> {
    if definition.len() > MAX_DEFINITION_BYTES {
        let message = format!(
            "definition: has {} bytes, takes at most {MAX_DEFINITION_BYTES}",
            definition.len()
        );
        return Err(ApiError::new(ErrorReason::TooLarge, message));
    }
    Ok(definition)
}

fn which(id: &str) -> Result<Which, ApiError> {
    if id == "last" {
        return Ok(Which::Last);
    }
    let id = id.parse().map_err(|error: aitbc_common::ids::IdError| {
        ApiError::field("agent_id", format!("{error}; {}", error.hint()))
    })?;
    Ok(Which::Id(id))
}

fn hash(field: &str, bytes: &[u8]) -> Result<Hash, ApiError> {
    bytes
        .try_into()
        .map_err(|_| ApiError::field(field, format!("has {} bytes, takes 32", bytes.len())))
}

fn listed(agent: &Agent) -> v1::Agent {
    let definition = &agent.definition;
    v1::Agent {
        agent_id: agent.id().to_string(),
        name: agent.row.name.clone(),
        r#type: definition.agent_type.to_string(),
        version: agent.version,
        config_hash: sha256(&agent.stored.definition).to_vec().into(),
        definition: Bytes::new(),
        model: definition.model.clone(),
        tools: definition.tools.clone(),
        files: definition
            .files
            .iter()
            .map(|file| file.name.clone())
            .collect(),
        created_at: convert::timestamp(agent.row.created_ms),
        updated_at: convert::timestamp(agent.stored.created_ms),
        matching_miners: 0,
    }
}

impl Agents {
    async fn whole(&self, owner: PublicKey, agent: &Agent) -> Result<v1::Agent, ApiError> {
        let digest = agent.definition.model_digest.as_deref();
        let subject = ExplainSubject::Spec {
            job_type: aitbc_common::job_input::JobType::Agent,
            model: agent.definition.model.clone(),
            model_digest: digest
                .and_then(aitbc_common::hash::parse_hash_text)
                .unwrap_or_default(),
            requirements: aitbc_common::layouts::Requirements::default(),
            max_rate: aitbc_common::layouts::NO_MAX_RATE,
            input: InputSize {
                bytes: 0,
                output_tokens: None,
            },
            paid: true,
            tools: agent.run().tools,
        };
        let Reply::Explained(explained) = self.0.call(Command::Explain { owner, subject }).await?
        else {
            return Err(unexpected());
        };
        Ok(v1::Agent {
            definition: agent.stored.definition.clone(),
            matching_miners: explained.matching_miners,
            ..listed(agent)
        })
    }

    async fn create(
        &self,
        request: Request<v1::CreateAgentRequest>,
    ) -> Result<v1::CreateAgentResponse, ApiError> {
        let owner = self.0.caller(&request, Scope::Client)?;
        let request = request.into_inner();
        let (name, definition) = (name(request.name)?, definition(request.definition)?);
        let (agent, created) = self.0.agents.create(owner, name, definition).await?;
        let agent = Some(self.whole(owner, &agent).await?);
        Ok(v1::CreateAgentResponse { agent, created })
    }

    async fn update(
        &self,
        request: Request<v1::UpdateAgentRequest>,
    ) -> Result<v1::UpdateAgentResponse, ApiError> {
        let owner = self.0.caller(&request, Scope::Client)?;
        let request = request.into_inner();
        let which = which(&request.agent_id)?;
        let name = (!request.name.is_empty()).then(|| name(request.name));
        let definition = Some(definition(request.definition)?).filter(|given| !given.is_empty());
        let updated = self
            .0
            .agents
            .update(owner, which, name.transpose()?, definition);
        let (agent, changed) = updated.await?;
        let agent = Some(self.whole(owner, &agent).await?);
        Ok(v1::UpdateAgentResponse { agent, changed })
    }

    async fn upload(
        &self,
        request: Request<Streaming<v1::UploadFileRequest>>,
    ) -> Result<v1::UploadFileResponse, ApiError> {
        let owner = self.0.caller(&request, Scope::Client)?;
        let mut parts = request.into_inner();
        let Some(Uploaded::File(file)) = next_part(&mut parts).await? else {
            let problem = "the first message must be file, what is uploaded";
            return Err(ApiError::field("part", problem));
        };
        let hash = hash("file.sha256", &file.sha256)?;
        files::check_size(file.size)?;
        if self.0.agents.has_file(owner, hash, file.size).await? {
            return Ok(v1::UploadFileResponse { was_there: true });
        }
        let _room = self.0.agents.upload_room().await?;
        let size = usize::try_from(file.size).unwrap_or(usize::MAX);
        let mut bytes = BytesMut::new();
        while let Some(part) = next_part(&mut parts).await? {
            let Uploaded::Data(data) = part else {
                return Err(ApiError::field(
                    "part",
                    "after the first message come the bytes",
                ));
            };
            if bytes.len() + data.len() > size {
                return Err(ApiError::field("file.size", "more bytes were sent"));
            }
            bytes.extend_from_slice(&data);
        }
        if bytes.len() < size {
            let problem = format!("is {size} bytes, and {} were sent", bytes.len());
            return Err(ApiError::field("file.size", problem));
        }
        self.0.agents.put_file(owner, hash, bytes.freeze()).await?;
        Ok(v1::UploadFileResponse { was_there: false })
    }

    /// The live attempt of a calling miner.
    async fn live(
        &self,
        miner_key: PublicKey,
        job_id: &str,
        attempt: u32,
    ) -> Result<Box<AttemptInfo>, ApiError> {
        let asked = Command::GetAttempt {
            miner_key,
            attempt: validate::attempt(job_id, attempt)?,
            receipt: Hash::default(),
            said: None,
        };
        match self.0.call(asked).await? {
            Reply::AttemptInfo(info) => Ok(info),
            _ => Err(ApiError::new(
                ErrorReason::StaleAttempt,
                "this attempt is not live",
            )),
        }
    }

    async fn fetch(
        &self,
        request: Request<v1::FetchExecutionRequest>,
    ) -> Result<ResponseStream<v1::FetchExecutionResponse>, ApiError> {
        let miner = self.0.caller(&request, Scope::Miner)?;
        let request = request.into_inner();
        let info = self.live(miner, &request.job_id, request.attempt).await?;
        let file = match &request.file[..] {
            [] => None,
            bytes => Some(hash("file", bytes)?),
        };
        let input =
            aitbc_common::agents::ExecutionInput::read(&info.input).map_err(validate::bad_input)?;
        let id = input.agent().map_err(validate::bad_input)?;
        let got = self
            .0
            .agents
            .get(info.owner, Which::Id(id), Some(input.version));
        let agent = got.await?;
        let (responses, stream) = Responses::new(WATCHER_PATIENCE);
        let services = Arc::clone(&self.0);
        tokio::spawn(async move {
            let sent = match file {
                None => send_beginning(&services, &info, &agent, &responses).await,
                Some(file) => send_file(&services, &info, &agent, file, &responses).await,
            };
            responses.end(sent);
        });
        Ok(stream)
    }
}

async fn send_beginning(
    services: &Services,
    info: &AttemptInfo,
    agent: &Agent,
    responses: &Responses<v1::FetchExecutionResponse>,
) -> Result<(), ApiError> {
    let part = |part| v1::FetchExecutionResponse { part: Some(part) };
    let definition = agent.stored.definition.clone();
    responses
        .send(part(Fetched::Definition(definition)))
        .await?;
    let engine = &services.context.engine;
    let Some(former) = events::former(engine, info.attempt).await? else {
        return Ok(());
    };
    let mut offset = 0;
    loop {
        let chunks = events::read(engine, former, offset).await?;
        if chunks.is_empty() {
            return Ok(());
        }
        for chunk in chunks {
            offset += chunk.len() as u64;
            responses.send(part(Fetched::Events(chunk))).await?;
        }
    }
}

async fn send_file(
    services: &Services,
    info: &AttemptInfo,
    agent: &Agent,
    file: Hash,
    responses: &Responses<v1::FetchExecutionResponse>,
) -> Result<(), ApiError> {
    let text = aitbc_common::hash::hash_text(&file);
    let named = agent
        .definition
        .files
        .iter()
        .find(|known| known.sha256 == text);
    let Some(named) = named else {
        return Err(ApiError::field("file", "is none of the execution's files"));
    };
    let mut offset = 0;
    while offset < named.bytes {
        let read = services.agents.read_file(info.owner, file, offset);
        let Some(chunk) = read.await?.filter(|chunk| !chunk.is_empty()) else {
            let message = format!("the file {:?} is not there any more", named.name);
            return Err(ApiError::new(ErrorReason::FileMissing, message));
        };
        offset += chunk.len() as u64;
        let part = Some(Fetched::Data(chunk));
        responses.send(v1::FetchExecutionResponse { part }).await?;
    }
    Ok(())
}

async fn next_part(
    parts: &mut Streaming<v1::UploadFileRequest>,
) -> Result<Option<Uploaded>, ApiError> {
    match next_message(parts, PART_WITHIN, "UploadFile").await? {
        Some(message) => Ok(Some(message.part.ok_or_else(no_part)?)),
        None => Ok(None),
    }
}

#[tonic::async_trait]
impl AgentService for Agents {
    type FetchExecutionStream = ResponseStream<v1::FetchExecutionResponse>;

    async fn create_agent(
        &self,
        request: Request<v1::CreateAgentRequest>,
    ) -> Result<Response<v1::CreateAgentResponse>, Status> {
        Ok(Response::new(self.create(request).await?))
    }

    async fn update_agent(
        &self,
        request: Request<v1::UpdateAgentRequest>,
    ) -> Result<Response<v1::UpdateAgentResponse>, Status> {
        Ok(Response::new(self.update(request).await?))
    }

    async fn get_agent(
        &self,
        request: Request<v1::GetAgentRequest>,
    ) -> Result<Response<v1::GetAgentResponse>, Status> {
        let owner = self.0.caller(&request, Scope::Read)?;
        let request = request.into_inner();
        let version = Some(request.version).filter(|version| *version > 0);
        let got = self.0.agents.get(owner, which(&request.agent_id)?, version);
        let agent = Some(self.whole(owner, &got.await?).await?);
        Ok(Response::new(v1::GetAgentResponse { agent }))
    }

    async fn list_agents(
        &self,
        request: Request<v1::ListAgentsRequest>,
    ) -> Result<Response<v1::ListAgentsResponse>, Status> {
        let owner = self.0.caller(&request, Scope::Read)?;
        let agents = self.0.agents.list(owner).await?;
        let agents = agents.iter().map(listed).collect();
        Ok(Response::new(v1::ListAgentsResponse { agents }))
    }

    async fn delete_agent(
        &self,
        request: Request<v1::DeleteAgentRequest>,
    ) -> Result<Response<v1::DeleteAgentResponse>, Status> {
        let owner = self.0.caller(&request, Scope::Client)?;
        let deleted = self
            .0
            .agents
            .delete(owner, which(&request.get_ref().agent_id)?);
        let agent_id = deleted.await?.to_string();
        Ok(Response::new(v1::DeleteAgentResponse { agent_id }))
    }

    async fn find_missing_files(
        &self,
        request: Request<v1::FindMissingFilesRequest>,
    ) -> Result<Response<v1::FindMissingFilesResponse>, Status> {
        let owner = self.0.caller(&request, Scope::Read)?;
        let asked = request.into_inner().sha256;
        if asked.len() > MAX_FILES {
            let problem = format!("has {}, takes at most {MAX_FILES}", asked.len());
            return Err(ApiError::field("sha256", problem).into());
        }
        let hashes = asked.iter().map(|bytes| hash("sha256", bytes));
        let missing = self
            .0
            .agents
            .missing(owner, hashes.collect::<Result<_, _>>()?);
        let missing = missing.await?;
        let sha256 = missing.iter().map(|hash| hash.to_vec().into()).collect();
        Ok(Response::new(v1::FindMissingFilesResponse { sha256 }))
    }

    async fn upload_file(
        &self,
        request: Request<Streaming<v1::UploadFileRequest>>,
    ) -> Result<Response<v1::UploadFileResponse>, Status> {
        let uploaded = tokio::time::timeout(UPLOAD_WITHIN, self.upload(request)).await;
        let uploaded = uploaded.unwrap_or_else(|_| {
            let message = "the upload took longer than 300 s";
            Err(ApiError::new(ErrorReason::Unavailable, message))
        });
        Ok(Response::new(uploaded?))
    }

    async fn fetch_execution(
        &self,
        request: Request<v1::FetchExecutionRequest>,
    ) -> Result<Response<Self::FetchExecutionStream>, Status> {
        Ok(Response::new(self.fetch(request).await?))
    }

    async fn confirm_events(
        &self,
        request: Request<v1::ConfirmEventsRequest>,
    ) -> Result<Response<v1::ConfirmEventsResponse>, Status> {
        let miner = self.0.caller(&request, Scope::Miner)?;
        let request = request.into_inner();
        let info = self.live(miner, &request.job_id, request.attempt).await?;
        let context = &self.0.context;
        events::confirm(
            &context.engine,
            &context.streams,
            info.attempt,
            request.bytes,
        )
        .await?;
        Ok(Response::new(v1::ConfirmEventsResponse {}))
    }
}
