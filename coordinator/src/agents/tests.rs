//! The registry over a real engine thread and a store in memory.

use std::sync::Arc;

use aitbc_common::agents::{AgentType, Definition, ExecutionInput, FileRef, Limits};
use aitbc_common::hash::{hash_text, sha256};
use aitbc_common::identity::PublicKey;
use aitbc_proto::v1::ErrorReason;
use bytes::Bytes;

use super::Registry;
use super::registry::{AGENTS, Agent, Which};
use crate::engine::core::EngineConfig;
use crate::engine::driver as engine;
use crate::engine::handle::Nobody;
use crate::store::{MemoryStore, Store};

const OWNER: PublicKey = PublicKey([1; 32]);
const OTHER: PublicKey = PublicKey([2; 32]);

fn registry() -> Registry {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let config = EngineConfig::new([7; 32], 250);
    let engine = engine::start(store, config, Box::new(Nobody), Box::new(|| true)).unwrap();
    Registry::new(engine.handle)
}

fn definition(system: &str, files: &[&[u8]]) -> Definition {
    let file = |(n, bytes): (usize, &&[u8])| FileRef {
        name: format!("{n}.csv"),
        sha256: hash_text(&sha256(bytes)),
        bytes: bytes.len() as u64,
    };
    Definition {
        agent_type: AgentType::Analysis,
        model: "llama3:latest".into(),
        model_digest: None,
        system: system.into(),
        tools: vec!["sql".into(), "calculator".into()],
        files: files.iter().enumerate().map(file).collect(),
        limits: Limits::default(),
        options: serde_json::Map::new(),
        egress_after_untrusted: false,
    }
}

fn bytes(definition: &Definition) -> Bytes {
    definition.to_bytes().into()
}

async fn create(registry: &Registry, name: &str, definition: &Definition) -> Agent {
    let created = registry.create(OWNER, name.into(), bytes(definition)).await;
    let (agent, is_new) = created.unwrap();
    assert!(is_new);
    agent
}

#[tokio::test]
async fn the_same_agent_again_is_the_one_that_is_there() {
    let registry = registry();
    let first = definition("one", &[]);
    let agent = create(&registry, "a", &first).await;
    let again = registry.create(OWNER, "a".into(), bytes(&first)).await;
    let (again, is_new) = again.unwrap();
    assert_eq!((again.id(), is_new), (agent.id(), false));
    let second = bytes(&definition("two", &[]));
    let taken = registry.create(OWNER, "a".into(), second.clone()).await;
    assert_eq!(taken.unwrap_err().reason, ErrorReason::AgentExists);
    // Another identity has names of its own, and sees nothing of this one's.
    assert!(registry.create(OTHER, "a".into(), second).await.unwrap().1);
    let foreign = registry.get(OTHER, Which::Id(agent.id()), None).await;
    assert_eq!(foreign.unwrap_err().reason, ErrorReason::AgentNotFound);
    let later = create(&registry, "b", &first).await;
    let last = registry.get(OWNER, Which::Last, None).await.unwrap();
    assert_eq!(last.id(), later.id());
}

#[tokio::test]
async fn a_changed_definition_is_a_new_version_and_the_old_one_stays() {
    let registry = registry();
    let (first, second) = (definition("one", &[]), definition("two", &[]));
    let agent = create(&registry, "a", &first).await;
    let which = Which::Id(agent.id());
    let update = |name: Option<&str>, definition: &Definition| {
        registry.update(
            OWNER,
            which,
            name.map(str::to_owned),
            Some(bytes(definition)),
        )
    };
    assert!(
        !update(Some("new"), &first).await.unwrap().1,
        "the name alone"
    );
    let (agent, changed) = update(None, &second).await.unwrap();
    assert_eq!(
        (agent.version, changed, &agent.row.name[..]),
        (2, true, "new")
    );
    let old = registry.get(OWNER, which, Some(1)).await.unwrap();
    assert_eq!(old.definition, first);
    let none = registry.get(OWNER, which, Some(3)).await;
    assert_eq!(none.unwrap_err().reason, ErrorReason::AgentNotFound);
}

#[tokio::test]
async fn an_execution_names_a_version_with_its_hash_and_its_model() {
    let registry = registry();
    let read = definition("one", &[]);
    let agent = create(&registry, "a", &read).await;
    let input = ExecutionInput {
        agent_id: agent.id().to_string(),
        version: 1,
        config_hash: hash_text(&read.config_hash()),
        input: "go".into(),
    };
    let executed = async |owner, model: &str, input: &ExecutionInput| {
        registry.executed(owner, model, &input.to_bytes()).await
    };
    let run = executed(OWNER, "llama3:latest", &input).await.unwrap();
    assert_eq!((run.id, run.version), (agent.id(), 1));
    assert_eq!(run.tools, ["calculator", "sql"], "sorted");
    let reason = |refused: Result<_, aitbc_common::runtime::status::ApiError>| {
        refused
            .map(|_: crate::engine::command::AgentRun| ())
            .unwrap_err()
            .reason
    };
    let other_hash = ExecutionInput {
        config_hash: hash_text(&[9; 32]),
        ..input.clone()
    };
    let wrong = executed(OWNER, "llama3:latest", &other_hash).await;
    assert_eq!(reason(wrong), ErrorReason::InvalidField);
    let wrong = executed(OWNER, "mistral:latest", &input).await;
    assert_eq!(reason(wrong), ErrorReason::InvalidField);
    let foreign = executed(OTHER, "llama3:latest", &input).await;
    assert_eq!(reason(foreign), ErrorReason::AgentNotFound);
    registry.delete(OWNER, Which::Last).await.unwrap();
    let gone = executed(OWNER, "llama3:latest", &input).await;
    assert_eq!(reason(gone), ErrorReason::AgentNotFound);
}

#[tokio::test]
async fn files_are_kept_once_and_read_back_whole() {
    let registry = registry();
    let long = vec![7; 600_000];
    let read = definition("one", &[&long, b"short"]);
    let missing = registry.create(OWNER, "a".into(), bytes(&read)).await;
    assert_eq!(missing.unwrap_err().reason, ErrorReason::FileMissing);
    let hash = sha256(&long);
    let wrong = registry
        .put_file(OWNER, hash, Bytes::from_static(b"other"))
        .await;
    assert_eq!(wrong.unwrap_err().reason, ErrorReason::InvalidField);
    for file in [long.clone().into(), Bytes::from_static(b"short")] {
        let hash = sha256(&file);
        let size = file.len() as u64;
        assert!(!registry.has_file(OWNER, hash, size).await.unwrap());
        registry.put_file(OWNER, hash, file).await.unwrap();
        assert!(registry.has_file(OWNER, hash, size).await.unwrap());
        assert!(!registry.has_file(OTHER, hash, size).await.unwrap());
    }
    create(&registry, "a", &read).await;
    let mut back = Vec::new();
    while let Some(chunk) = registry
        .read_file(OWNER, hash, back.len() as u64)
        .await
        .unwrap()
    {
        back.extend_from_slice(&chunk);
    }
    assert_eq!(back, long);
}

#[tokio::test]
async fn one_identity_has_so_many_agents_and_no_more() {
    let registry = registry();
    for n in 0..AGENTS {
        create(&registry, &n.to_string(), &definition("one", &[])).await;
    }
    let more = bytes(&definition("one", &[]));
    let more = registry.create(OWNER, "more".into(), more).await;
    assert_eq!(more.unwrap_err().reason, ErrorReason::TooManyAgents);
    assert_eq!(registry.list(OWNER).await.unwrap().len(), AGENTS);
}
