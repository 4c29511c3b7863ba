//! `aitbc agent update`.

use std::path::{Path, PathBuf};

use aitbc_common::runtime::errors::CommandError;
use aitbc_common::token::Scope;
use aitbc_proto::v1::UpdateAgentRequest;
use clap::Args;

use crate::agents::{CONFIG_FILE, Stored, load, upload};
use crate::commands::client::status::empty_answer;
use crate::context::Context;
use crate::output::agent::{agent_json, agent_line};
use crate::retries::with_retries;
use crate::values::AgentSelector;

const EXAMPLES: &str = "\
Examples:
  aitbc agent update last
  aitbc agent update agent_01m83xj880e60tak362xesvjfr --config analyzer.json
  aitbc agent update last --name q3_analyzer

A changed config, or a changed file that it names, is the agent's next version; its type stays. Earlier versions can still be
executed.";

/// Which agent, and what becomes of it.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Its id, or last for your newest
    #[arg(value_name = "AGENT_ID")]
    agent: AgentSelector,
    /// The config [default: agent_config.json where no --name is given]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Its new name, 1 to 64 characters
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    name: Option<String>,
}

/// Sends what changed and says what the agent is now.
pub async fn run(context: &Context, arguments: Arguments) -> Result<(), CommandError> {
    let connection = context.connect(Scope::Client).await?;
    let before = Stored::get(&connection, &arguments.agent, None).await?;
    let config = match (&arguments.config, &arguments.name) {
        (None, None) => Some(Path::new(CONFIG_FILE)),
        (config, _) => config.as_deref(),
    };
    let definition = match config {
        Some(path) => {
            let loaded = load(path, before.definition.agent_type)?;
            upload(context, &connection, &loaded.files).await?;
            loaded.definition.to_bytes()
        }
        None => Vec::new(),
    };
    let request = UpdateAgentRequest {
        agent_id: before.id.to_string(),
        definition: definition.into(),
        name: arguments.name.unwrap_or_default(),
    };
    let answer = with_retries(
        connection.agents(),
        request,
        |mut agents, request| async move { agents.update_agent(request).await },
    )
    .await?;
    let agent = answer.agent.ok_or_else(|| empty_answer("the agent"))?;
    let renamed = agent.name != before.agent.name;
    let what = match (answer.changed, renamed) {
        (false, false) => "Agent unchanged",
        (false, true) => "Agent renamed",
        (true, _) => "Agent updated",
    };
    let mut document = agent_json(&agent);
    document["changed"] = answer.changed.into();
    context.result(&document, format!("{what}: {}", agent_line(&agent)))
}
