//! `aitbc agent list`.

use aitbc_common::runtime::errors::CommandError;
use aitbc_common::token::Scope;
use aitbc_proto::v1::ListAgentsRequest;
use clap::Args;

use crate::context::Context;
use crate::output::agent::{AGENT_HEADER, agent_row, listed_agent_json};
use crate::output::json::page;
use crate::output::table;
use crate::retries::with_retries;

const EXAMPLES: &str = "\
Examples:
  aitbc agent list
  aitbc agent list --json";

/// Nothing to choose.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {}

/// Asks and prints, oldest first: an identity has at most 100.
pub async fn run(context: &Context, _arguments: Arguments) -> Result<(), CommandError> {
    let connection = context.connect(Scope::Read).await?;
    let request = ListAgentsRequest {};
    let answer = with_retries(
        connection.agents(),
        request,
        |mut agents, request| async move { agents.list_agents(request).await },
    )
    .await?;
    let agents = answer.agents;
    let document = page("agents", agents.iter().map(listed_agent_json).collect(), "");
    if agents.is_empty() {
        context.result(&document, "you have no agent")?;
        context.next("aitbc agent init");
        return Ok(());
    }
    context.result(
        &document,
        table::render(&AGENT_HEADER, agents.iter().map(agent_row).collect()),
    )
}
