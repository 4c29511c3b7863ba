//! Agents as the coordinator keeps them, checked.

use aitbc_common::agents::Definition;
use aitbc_common::hash::sha256;
use aitbc_common::ids::AgentId;
use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_proto::v1::{Agent, GetAgentRequest};
use serde_json::Value;

use crate::retries::with_retries;
use crate::values::AgentSelector;

/// An agent whose definition is the one that its hash covers.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// As the coordinator tells it.
    pub agent: Agent,
    /// Its id.
    pub id: AgentId,
    /// What it is.
    pub definition: Definition,
}

impl Stored {
    /// Asks for an agent: its newest version, or this one.
    pub async fn get(
        connection: &Connection,
        asked: &AgentSelector,
        version: Option<u32>,
    ) -> Result<Self, CommandError> {
        let request = GetAgentRequest {
            agent_id: asked.to_string(),
            version: version.unwrap_or(0),
        };
        let answer = with_retries(
            connection.agents(),
            request,
            |mut agents, request| async move { agents.get_agent(request).await },
        )
        .await?;
        let stored = Self::check(answer.agent.unwrap_or_default(), asked)?;
        match version {
            Some(version) if version != stored.agent.version => Err(contradiction(format!(
                "asked for version {version} of {}, the coordinator answered with version {}",
                stored.id, stored.agent.version
            ))),
            _ => Ok(stored),
        }
    }

    /// Whether an answer is about the agent that was asked for, and its definition the one that its hash covers; exit code 8
    /// where it is not.
    pub fn check(agent: Agent, asked: &AgentSelector) -> Result<Self, CommandError> {
        let shown: String = agent.agent_id.chars().take(40).collect();
        let id: AgentId = agent.agent_id.parse().map_err(|_| {
            contradiction(format!("the coordinator answered with the agent {shown:?}"))
        })?;
        if matches!(asked, AgentSelector::Id(asked) if *asked != id) {
            return Err(contradiction(format!(
                "asked for {asked}, the coordinator answered about {id}"
            )));
        }
        if agent.config_hash[..] != sha256(&agent.definition) {
            return Err(contradiction(format!(
                "the definition of {id} does not hash to its config hash"
            )));
        }
        let definition = Definition::read(&agent.definition)
            .map_err(|error| contradiction(format!("the definition of {id} is none: {error}")))?;
        Ok(Self {
            agent,
            id,
            definition,
        })
    }

    /// The definition as JSON, as it is stored.
    pub fn document(&self) -> Value {
        serde_json::from_slice(&self.agent.definition).unwrap_or_default()
    }
}

fn contradiction(message: String) -> CommandError {
    CommandError::new(ExitCode::ProofFailed, "PROOF_WRONG_AGENT", message)
        .with_hint("do not use this agent; the coordinator, or something on the way to it, lies")
}

#[cfg(test)]
mod tests {
    use aitbc_common::agents::{AgentType, Limits};

    use super::*;

    #[test]
    fn another_agent_and_another_definition_are_noticed() {
        let definition = Definition {
            agent_type: AgentType::Custom,
            model: "llama3:latest".into(),
            model_digest: None,
            system: String::new(),
            tools: vec![],
            files: vec![],
            limits: Limits::default(),
            options: serde_json::Map::new(),
            egress_after_untrusted: false,
        };
        let bytes = serde_json::to_vec(&definition).unwrap();
        let id = AgentId::new(1_000, 2, [3; 10]);
        let agent = Agent {
            agent_id: id.to_string(),
            config_hash: sha256(&bytes).to_vec().into(),
            definition: bytes.into(),
            ..Agent::default()
        };
        let asked = AgentSelector::Id(id);
        let checked = Stored::check(agent.clone(), &asked).unwrap();
        assert_eq!((checked.id, &checked.definition), (id, &definition));
        assert!(Stored::check(agent.clone(), &AgentSelector::Last).is_ok());
        let other = AgentSelector::Id(AgentId::new(1_000, 2, [4; 10]));
        let lies = [
            (agent.clone(), other),
            (
                Agent {
                    config_hash: vec![0; 32].into(),
                    ..agent.clone()
                },
                asked,
            ),
            (
                Agent {
                    agent_id: "agent_x".into(),
                    ..agent.clone()
                },
                asked,
            ),
            (
                Agent {
                    config_hash: sha256(b"{}").to_vec().into(),
                    definition: b"{}".to_vec().into(),
                    ..agent
                },
                asked,
            ),
        ];
        for (lie, asked) in lies {
            let error = Stored::check(lie, &asked).unwrap_err();
            assert_eq!(error.exit, ExitCode::ProofFailed, "{}", error.message);
        }
    }
}
