//! `aitbc agent create`.

use std::path::PathBuf;

use aitbc_common::agents::AgentType;
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::token::Scope;
use aitbc_proto::v1::CreateAgentRequest;
use clap::Args;

use super::agent_type;
use crate::agents::{CONFIG_FILE, load, upload};
use crate::commands::client::status::empty_answer;
use crate::context::Context;
use crate::output::agent::{agent_json, agent_line};
use crate::retries::with_retries;

const EXAMPLES: &str = "\
Examples:
  aitbc agent create --name data_analyzer --type analysis
  aitbc agent create --name librarian --type research --config librarian.json --json

The config (aitbc agent init writes one) and its files are sent to the coordinator. The same again changes nothing; what
changed is sent with: aitbc agent update";

/// What to create.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Its name among your agents, 1 to 64 characters
    #[arg(long, value_name = "NAME")]
    name: String,
    /// What the agent is for: analysis, research, chat or custom
    #[arg(long = "type", value_name = "TYPE", default_value = "analysis", value_parser = agent_type)]
    agent_type: AgentType,
    /// The config
    #[arg(long, value_name = "FILE", default_value = CONFIG_FILE)]
    config: PathBuf,
}

/// Reads the config, uploads what is missing, creates the agent.
pub async fn run(context: &Context, arguments: Arguments) -> Result<(), CommandError> {
    let loaded = load(&arguments.config, arguments.agent_type)?;
    let connection = context.connect(Scope::Client).await?;
    upload(context, &connection, &loaded.files).await?;
    let request = CreateAgentRequest {
        name: arguments.name,
        definition: loaded.definition.to_bytes().into(),
    };
    let answer = with_retries(
        connection.agents(),
        request,
        |mut agents, request| async move { agents.create_agent(request).await },
    )
    .await?;
    let agent = answer.agent.ok_or_else(|| empty_answer("the agent"))?;
    let mut document = agent_json(&agent);
    document["created"] = answer.created.into();
    let before = if answer.created { "" } else { ", as before" };
    context.result(
        &document,
        format!("Agent ready{before}: {}", agent_line(&agent)),
    )?;
    context.next("aitbc agent execute last --input \"…\"");
    Ok(())
}
