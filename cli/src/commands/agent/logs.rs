//! `aitbc agent logs`.

use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::token::Scope;
use aitbc_proto::v1::{Job, JobType};
use clap::Args;

use super::{executions, watch};
use crate::agents::Stored;
use crate::commands::client::follow::Target;
use crate::commands::client::records;
use crate::commands::client::status::{get, id_of};
use crate::context::Context;
use crate::interrupt::Interrupt;
use crate::values::{AgentSelector, JobSelector};

const EXAMPLES: &str = "\
Examples:
  aitbc agent logs last
  aitbc agent logs job_01m83xj880emq8k9w39qsaekf4 --json

One that runs is followed to its end; Ctrl-C leaves it. What the coordinator did with it: aitbc client logs";

/// Which execution.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The job's id, or last for your newest execution
    #[arg(value_name = "JOB_ID")]
    job: JobSelector,
}

/// Shows the events of an execution as `agent execute` does.
pub async fn run(context: &Context, arguments: Arguments) -> Result<(), CommandError> {
    let connection = context.connect(Scope::Client).await?;
    let job = execution(&connection, &arguments.job).await?;
    let job_id = id_of(&job)?;
    let asked = job.agent_id.parse().map(AgentSelector::Id);
    // An agent that was deleted since has no limits to tell of.
    let stored = match asked {
        Ok(agent) => Stored::get(&connection, &agent, Some(job.agent_version))
            .await
            .ok(),
        Err(_) => None,
    };
    let target = Target {
        job_id: job_id.to_string(),
        trust: records::trust(context, &connection, job_id)?,
        interrupt: Interrupt::listen(false),
    };
    let limits = stored.as_ref().map(|stored| &stored.definition.limits);
    watch::to_its_end(context, &connection, target, limits).await?;
    Ok(())
}

async fn execution(connection: &Connection, asked: &JobSelector) -> Result<Job, CommandError> {
    let job = match asked {
        JobSelector::Id(_) => get(connection, asked).await?,
        JobSelector::Last => {
            let newest = executions::newest(connection, None, 1).await?;
            newest.into_iter().next().ok_or_else(|| {
                CommandError::new(
                    ExitCode::NotFound,
                    "JOB_NOT_FOUND",
                    "this identity has no execution yet",
                )
                .with_hint("run an agent with: aitbc agent execute last --input TEXT")
            })?
        }
    };
    if job.r#type() == JobType::Agent {
        return Ok(job);
    }
    let id = &job.job_id;
    Err(
        CommandError::usage(format!("{id} is no execution of an agent")).with_hint(format!(
            "see what happened to a job with: aitbc client logs {id}; executions: aitbc agent executions"
        )),
    )
}
