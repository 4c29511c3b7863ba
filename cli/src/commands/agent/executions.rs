//! `aitbc agent executions`.

use std::collections::HashMap;

use aitbc_common::ids::AgentId;
use aitbc_common::money::MicroAit;
use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::runtime::terminal::rfc3339_ms;
use aitbc_common::token::Scope;
use aitbc_proto::v1::{Job, JobType, ListAgentsRequest, ListJobsRequest};
use clap::Args;

use crate::agents::Stored;
use crate::commands::client::job_text::{listed_payment, status_name};
use crate::commands::client::list::listed;
use crate::context::Context;
use crate::output::json::{page, timestamp_ms};
use crate::output::{short_id, table};
use crate::retries::with_retries;
use crate::values::AgentSelector;

/// Jobs that are looked through, at most, and how many at once.
const MOST_JOBS: usize = 10_000;
const PAGE_JOBS: u32 = 1_000;

const EXAMPLES: &str = "\
Examples:
  aitbc agent executions
  aitbc agent executions last --limit 10
  aitbc agent executions agent_01m83xj880e60tak362xesvjfr --json

Executions are jobs: aitbc client status, pay, cancel and result take their ids.";

/// Whose, and how many.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Only of this agent: its id, or last for your newest
    #[arg(value_name = "AGENT_ID")]
    agent: Option<AgentSelector>,
    /// How many, 1 to 1,000, of your newest 10,000 jobs
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000), allow_negative_numbers = true)]
    limit: u32,
}

/// Asks and prints, newest first.
pub async fn run(context: &Context, arguments: Arguments) -> Result<(), CommandError> {
    let connection = context.connect(Scope::Read).await?;
    let agent = match arguments.agent {
        Some(AgentSelector::Last) => Some(
            Stored::get(&connection, &AgentSelector::Last, None)
                .await?
                .id,
        ),
        // One that was deleted has executions still.
        Some(AgentSelector::Id(id)) => Some(id),
        None => None,
    };
    let limit = usize::try_from(arguments.limit).unwrap_or(usize::MAX);
    let jobs = newest(&connection, agent, limit).await?;
    let document = page("executions", jobs.iter().map(listed).collect(), "");
    if jobs.is_empty() {
        context.result(&document, "no executions")?;
        context.next("aitbc agent execute last --input \"…\"");
        return Ok(());
    }
    let names = if context.json {
        HashMap::new()
    } else {
        names(&connection).await?
    };
    let header = [
        "JOB",
        "STATUS",
        "AGENT",
        ">VERSION",
        "MINER",
        "SUBMITTED",
        ">TOKENS",
        ">COST",
        "PAYMENT",
    ];
    let rows = jobs.iter().map(|job| row(job, &names)).collect();
    context.result(&document, table::render(&header, rows))
}

/// The newest executions of this identity, of this agent where one is given.
pub async fn newest(
    connection: &Connection,
    agent: Option<AgentId>,
    limit: usize,
) -> Result<Vec<Job>, CommandError> {
    let agent = agent.map(|agent| agent.to_string());
    let (mut found, mut seen, mut page_token) = (Vec::new(), 0, String::new());
    loop {
        let request = ListJobsRequest {
            page_size: PAGE_JOBS,
            page_token,
            statuses: Vec::new(),
        };
        let answer = with_retries(connection.jobs(), request, |mut jobs, request| async move {
            jobs.list_jobs(request).await
        })
        .await?;
        seen += answer.jobs.len();
        let wanted = answer.jobs.into_iter().filter(|job| {
            job.r#type() == JobType::Agent
                && agent.as_ref().is_none_or(|agent| *agent == job.agent_id)
        });
        found.extend(wanted.take(limit - found.len()));
        page_token = answer.next_page_token;
        if found.len() >= limit || page_token.is_empty() || seen >= MOST_JOBS {
            return Ok(found);
        }
    }
}

/// The names of this identity's agents.
async fn names(connection: &Connection) -> Result<HashMap<String, String>, CommandError> {
    let request = ListAgentsRequest {};
    let answer = with_retries(
        connection.agents(),
        request,
        |mut agents, request| async move { agents.list_agents(request).await },
    )
    .await?;
    let agents = answer.agents.into_iter();
    Ok(agents.map(|agent| (agent.agent_id, agent.name)).collect())
}

fn row(job: &Job, names: &HashMap<String, String>) -> Vec<String> {
    let unknown = || "–".to_owned();
    let miner = Some(&job.miner_name).filter(|name| !name.is_empty());
    let agent = names.get(&job.agent_id).cloned();
    let cost = job
        .cost_micro_ait
        .or(Some(job.paid_micro_ait).filter(|paid| *paid > 0));
    vec![
        job.job_id.clone(),
        status_name(job.status),
        agent.unwrap_or_else(|| short_id(&job.agent_id)),
        job.agent_version.to_string(),
        miner.cloned().unwrap_or_else(unknown),
        job.created_at
            .as_ref()
            .map_or_else(unknown, |time| rfc3339_ms(timestamp_ms(time))),
        job.output_tokens
            .map_or_else(unknown, |tokens| tokens.to_string()),
        cost.map_or_else(unknown, |cost| format!("{} AIT", MicroAit(cost))),
        listed_payment(job),
    ]
}
