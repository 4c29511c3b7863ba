//! The agents of all identities: created, given new versions, deleted; and what a submission executes.

use std::collections::BTreeSet;

use aitbc_common::agents::{Definition, ExecutionInput};
use aitbc_common::hash::{Hash, parse_hash_text, sha256};
use aitbc_common::identity::PublicKey;
use aitbc_common::ids::{AgentId, shard_of};
use aitbc_common::job_input::JobType;
use aitbc_common::runtime::random_bytes;
use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1::ErrorReason;
use bytes::Bytes;
use prost::Message;
use tokio::sync::{Mutex, Semaphore};

use super::rows::{self, AgentRow, FileRow, VersionRow};
use crate::engine::command::{AgentRun, Command, Submission};
use crate::engine::handle::EngineHandle;
use crate::sessions::stored::blocking;
use crate::store::keys::prefix_end;
use crate::store::rows::{decode, uuid};
use crate::store::{Batch, Family, StoreError};

/// Agents of one identity, at most.
pub const AGENTS: usize = 100;
/// Versions of one agent, at most.
pub const VERSIONS: u32 = 1_000;
/// Uploads at once: each is in memory until it is whole.
const UPLOADS: usize = 4;

/// Keeps agents and files. Changes are made one after the other.
pub struct Registry {
    pub(super) engine: EngineHandle,
    pub(super) changes: Mutex<()>,
    pub(super) uploads: Semaphore,
}

/// An agent as of a version.
#[derive(Debug, Clone)]
pub struct Agent {
    /// What does not change with its versions.
    pub row: AgentRow,
    /// Which version.
    pub version: u32,
    /// When it was made, and its definition's bytes.
    pub stored: VersionRow,
    /// The definition.
    pub definition: Definition,
}

impl Agent {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> AgentId {
        AgentId(uuid(&self.row.id).unwrap_or_default())
    }

    /// What matching needs of it.
    #[must_use]
    pub fn run(&self) -> AgentRun {
        let tools: BTreeSet<_> = self.definition.tools.iter().cloned().collect();
        AgentRun {
            id: self.id(),
            version: self.version,
            tools: tools.into_iter().collect(),
        }
    }
}

/// Which agent a caller means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// This one.
    Id(AgentId),
    /// The caller's newest.
    Last,
}

impl Registry {
    /// Over this engine's store.
    #[must_use]
    pub fn new(engine: EngineHandle) -> Self {
        Self {
            engine,
            changes: Mutex::default(),
            uploads: Semaphore::new(UPLOADS),
        }
    }

    /// An agent's newest version, or this one.
    pub async fn get(
        &self,
        owner: PublicKey,
        which: Which,
        version: Option<u32>,
    ) -> Result<Agent, ApiError> {
        let known = self.all(owner).await?;
        let row = match which {
            Which::Id(id) => known.into_iter().find(|row| row.id[..] == id.0),
            Which::Last => known.into_iter().next_back(),
        };
        let row = row.ok_or_else(|| not_found(which))?;
        let number = version.unwrap_or(row.version);
        self.version(owner, row, number).await
    }

    async fn version(
        &self,
        owner: PublicKey,
        row: AgentRow,
        version: u32,
    ) -> Result<Agent, ApiError> {
        let id = AgentId(uuid(&row.id).unwrap_or_default());
        let key = rows::version(&owner, id, version);
        let stored: Option<VersionRow> = self.read(key).await?;
        let Some(stored) = stored else {
            let message = format!(
                "{id} has no version {version}: its newest is {}",
                row.version
            );
            return Err(ApiError::new(ErrorReason::AgentNotFound, message));
        };
        let definition = Definition::read(&stored.definition)
            .map_err(|error| ApiError::new(ErrorReason::Internal, error.to_string()))?;
        Ok(Agent {
            row,
            version,
            stored,
            definition,
        })
    }

    /// The newest versions of all agents of an identity, oldest agent first.
    pub async fn list(&self, owner: PublicKey) -> Result<Vec<Agent>, ApiError> {
        let mut agents = Vec::new();
        for row in self.all(owner).await? {
            let version = row.version;
            agents.push(self.version(owner, row, version).await?);
        }
        Ok(agents)
    }

    async fn all(&self, owner: PublicKey) -> Result<Vec<AgentRow>, ApiError> {
        self.scan(rows::agents_of(&owner), AGENTS, |_, row| decode(row))
            .await
    }

    /// Creates an agent; whether it is new.
    pub async fn create(
        &self,
        owner: PublicKey,
        name: String,
        definition: Bytes,
    ) -> Result<(Agent, bool), ApiError> {
        let _change = self.changes.lock().await;
        let read = self.check(owner, &definition).await?;
        let known = self.all(owner).await?;
        if let Some(row) = known.iter().find(|row| row.name == name) {
            let version = row.version;
            let same = self.version(owner, row.clone(), version).await?;
            if same.stored.definition == definition {
                return Ok((same, false));
            }
            return Err(exists(&name, same.id()));
        }
        if known.len() >= AGENTS {
            return Err(too_many(format!(
                "this identity has {AGENTS} agents already"
            )));
        }
        let now = self.engine.now_ms();
        let newest = known.last().and_then(|row| uuid(&row.id)).map(AgentId);
        // Ids rise, so that the newest is the last also where several are created in a millisecond.
        let at = newest.map_or(now, |newest| now.max(newest.created_ms() + 1));
        let id = AgentId::new(at, shard_of(&owner), random_bytes());
        let row = AgentRow {
            id: Bytes::copy_from_slice(&id.0),
            name,
            version: 1,
            created_ms: now,
        };
        let agent = self.put(owner, row, definition, read, now).await?;
        Ok((agent, true))
    }

    /// Gives an agent another definition or name; whether it has another version than before.
    pub async fn update(
        &self,
        owner: PublicKey,
        which: Which,
        name: Option<String>,
        definition: Option<Bytes>,
    ) -> Result<(Agent, bool), ApiError> {
        let _change = self.changes.lock().await;
        let mut agent = self.get(owner, which, None).await?;
        if let Some(name) = name {
            let known = self.all(owner).await?;
            let other = known
                .iter()
                .find(|row| row.name == name && row.id != agent.row.id);
            if let Some(other) = other {
                return Err(exists(&name, AgentId(uuid(&other.id).unwrap_or_default())));
            }
            agent.row.name = name;
        }
        let definition = definition.unwrap_or_else(|| agent.stored.definition.clone());
        if definition == agent.stored.definition {
            let mut batch = Batch::new();
            let key = rows::agent(&owner, agent.id());
            batch.put(Family::Active, key, agent.row.encode_to_vec());
            self.engine.call(Command::Keep(batch)).await?;
            return Ok((agent, false));
        }
        let read = self.check(owner, &definition).await?;
        if agent.row.version >= VERSIONS {
            return Err(too_many(format!(
                "{} has {VERSIONS} versions already",
                agent.id()
            )));
        }
        let row = AgentRow {
            version: agent.row.version + 1,
            ..agent.row
        };
        let now = self.engine.now_ms();
        let agent = self.put(owner, row, definition, read, now).await?;
        Ok((agent, true))
    }

    async fn put(
        &self,
        owner: PublicKey,
        row: AgentRow,
        definition: Bytes,
        read: Definition,
        now: u64,
    ) -> Result<Agent, ApiError> {
        let agent = Agent {
            version: row.version,
            row,
            stored: VersionRow {
                definition,
                created_ms: now,
            },
            definition: read,
        };
        let mut batch = Batch::new();
        let key = rows::agent(&owner, agent.id());
        batch.put(Family::Active, key, agent.row.encode_to_vec());
        let key = rows::version(&owner, agent.id(), agent.version);
        batch.put(Family::Active, key, agent.stored.encode_to_vec());
        self.engine.call(Command::Keep(batch)).await?;
        Ok(agent)
    }

    /// Deletes an agent, its versions, and files that nothing names any more.
    pub async fn delete(&self, owner: PublicKey, which: Which) -> Result<AgentId, ApiError> {
        let _change = self.changes.lock().await;
        let agent = self.get(owner, which, None).await?;
        let mut batch = Batch::new();
        batch.delete(Family::Active, rows::agent(&owner, agent.id()));
        let versions = rows::versions(&owner, agent.id());
        batch.delete_range(Family::Active, versions.clone(), prefix_end(&versions));
        self.engine.call(Command::Keep(batch)).await?;
        self.sweep(owner).await?;
        Ok(agent.id())
    }

    /// Checks a definition: it says what it may, and its files are there.
    async fn check(&self, owner: PublicKey, definition: &Bytes) -> Result<Definition, ApiError> {
        let read = Definition::read(definition).map_err(refused)?;
        for file in &read.files {
            let hash = parse_hash_text(&file.sha256).unwrap_or_default();
            let stored: Option<FileRow> = self.read(rows::file(&owner, &hash)).await?;
            if stored.is_none_or(|stored| stored.size != file.bytes) {
                let message = format!("the file {:?} was not uploaded", file.name);
                return Err(ApiError::new(ErrorReason::FileMissing, message));
            }
        }
        Ok(read)
    }

    /// What a submission executes, where it is an agent's: it names a version of one of the caller's agents, with its hash and
    /// its model.
    pub async fn attach(&self, submission: &mut Submission) -> Result<(), ApiError> {
        if submission.spec.job_type == JobType::Agent && submission.agent.is_none() {
            let (owner, model) = (submission.owner, &submission.model);
            submission.agent = Some(self.executed(owner, model, &submission.input).await?);
        }
        Ok(())
    }

    /// What an execution with this input executes.
    pub async fn executed(
        &self,
        owner: PublicKey,
        model: &str,
        input: &[u8],
    ) -> Result<AgentRun, ApiError> {
        let input = ExecutionInput::read(input).map_err(refused)?;
        let id = input.agent().map_err(refused)?;
        let agent = self.get(owner, Which::Id(id), Some(input.version)).await?;
        if input.definition_hash() != Some(sha256(&agent.stored.definition)) {
            let problem = format!("is not that of version {} of {id}", input.version);
            return Err(ApiError::field("spec.input.config_hash", problem));
        }
        if agent.definition.model != model {
            let problem = format!("is {model}, and {id} runs on {}", agent.definition.model);
            return Err(ApiError::field("spec.model", problem));
        }
        Ok(agent.run())
    }

    /// Files that any version of any agent of this identity names.
    pub(super) async fn named_files(&self, owner: PublicKey) -> Result<BTreeSet<Hash>, ApiError> {
        let prefix = rows::versions_of(&owner);
        let versions = self
            .scan(prefix, AGENTS * VERSIONS as usize, |_, row| {
                let row: VersionRow = decode(row)?;
                let read = Definition::read(&row.definition);
                Ok(read.map(|read| read.files).unwrap_or_default())
            })
            .await?;
        let hashes = versions.iter().flatten();
        Ok(hashes
            .filter_map(|file| parse_hash_text(&file.sha256))
            .collect())
    }

    pub(super) async fn read<R: Message + Default + 'static>(
        &self,
        key: Vec<u8>,
    ) -> Result<Option<R>, ApiError> {
        let store = self.engine.store();
        blocking(move || {
            let stored = store.get_many(&[(Family::Active, &key)])?.pop().flatten();
            stored.map(decode).transpose()
        })
        .await
    }

    /// The rows with a prefix.
    pub(super) async fn scan<T: Send + 'static>(
        &self,
        prefix: Vec<u8>,
        limit: usize,
        read: impl Fn(&[u8], Bytes) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<Vec<T>, ApiError> {
        let store = self.engine.store();
        blocking(move || {
            let (mut from, end) = (Bytes::from(prefix.clone()), prefix_end(&prefix));
            let mut rows = Vec::new();
            loop {
                let page = store.scan(Family::Active, &from..&end, limit - rows.len())?;
                for (key, value) in page.rows {
                    rows.push(read(&key, value)?);
                }
                match page.next {
                    Some(next) if rows.len() < limit => from = next,
                    _ => return Ok(rows),
                }
            }
        })
        .await
    }
}

fn refused(error: aitbc_common::job_input::InputError) -> ApiError {
    let field = error.field.clone().unwrap_or_else(|| "input".to_owned());
    let mut refusal = ApiError::new(
        ErrorReason::InvalidInput,
        format!("{}; {}", error.message, error.hint),
    );
    refusal.fields.push((field, error.message));
    refusal
}

fn exists(name: &str, id: AgentId) -> ApiError {
    let message = format!("{id} is called {name:?} and has another definition");
    ApiError::new(ErrorReason::AgentExists, message)
}

pub(super) fn too_many(message: String) -> ApiError {
    ApiError::new(ErrorReason::TooManyAgents, message)
}

fn not_found(which: Which) -> ApiError {
    let message = match which {
        Which::Id(id) => format!("no agent {id}"),
        Which::Last => "this identity has no agent yet".into(),
    };
    ApiError::new(ErrorReason::AgentNotFound, message)
}
