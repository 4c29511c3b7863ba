//! `aitbc agent delete`.

use aitbc_common::runtime::errors::CommandError;
use aitbc_common::token::Scope;
use aitbc_proto::v1::DeleteAgentRequest;
use clap::Args;
use serde_json::json;

use crate::agents::Stored;
use crate::context::Context;
use crate::values::AgentSelector;

const EXAMPLES: &str = "\
Examples:
  aitbc agent delete agent_01m83xj880e60tak362xesvjfr
  aitbc agent delete last --json

All its versions are deleted, and the files that no other agent of yours names. What it answered stays: see aitbc agent
executions.";

/// Which agent.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Its id, or last for your newest
    #[arg(value_name = "AGENT_ID")]
    agent: AgentSelector,
}

/// Deletes and says so.
pub async fn run(context: &Context, arguments: Arguments) -> Result<(), CommandError> {
    let connection = context.connect(Scope::Client).await?;
    // By its id: "last", sent again after a lost answer, would be the next one.
    let stored = Stored::get(&connection, &arguments.agent, None).await?;
    let request = DeleteAgentRequest {
        agent_id: stored.id.to_string(),
    };
    connection.agents().delete_agent(request).await?;
    let text = format!(
        "{} ({}) is deleted, with all its versions",
        stored.id, stored.agent.name
    );
    let document = json!({"agent_id": stored.id.to_string(), "deleted": true});
    context.result(&document, text)
}
