//! `aitbc agent execute`.

use std::time::Duration;

use aitbc_common::agents::{Definition, ExecutionInput};
use aitbc_common::hash::hash_text;
use aitbc_common::ids::{ListingId, MinerId};
use aitbc_common::job_input::JobType;
use aitbc_common::limits::{MAX_RETRIES, MAX_TIMEOUT_MS};
use aitbc_common::money::MicroAit;
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::token::Scope;
use clap::Args;

use super::{version, watch};
use crate::agents::Stored;
use crate::commands::client::new_job::{self, NewJob};
use crate::commands::client::pay::lock_amount;
use crate::commands::client::{input, submission, submit};
use crate::context::Context;
use crate::interrupt::Interrupt;
use crate::transactions::PayerOptions;
use crate::values::{self, AgentSelector, RentalSelector};

/// How long an execution may wait for a miner, where nothing is said: 1 hour.
const WAITS_MS: u64 = 3_600_000;

const EXAMPLES: &str = "\
Examples:
  aitbc agent execute last --input \"Analyze Q3 financial data\"
  aitbc agent execute last --input \"Analyze Q3 financial data\" --budget 1
  aitbc agent execute agent_01m83xj880e60tak362xesvjfr --version 1 --input \"…\" --json
  aitbc agent execute last --input \"…\" --detach

An execution is a job: thoughts, tool calls and what they returned go to stderr as they happen, the answer to stdout once it is
proven. With --json each event is a line on stdout, and the result the last one. Ctrl-C leaves it; come back with: aitbc agent
logs last";

/// Which agent, what to do, and who may do it.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The agent's id, or last for your newest
    #[arg(value_name = "AGENT_ID")]
    agent: AgentSelector,
    /// What to do, at most 64 KiB
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    input: String,
    /// A version of the agent [default: its newest]
    #[arg(long, value_name = "N", value_parser = version, allow_hyphen_values = true)]
    version: Option<u32>,
    /// The most that it may cost, in AIT: so much is locked, what is not used returns
    #[arg(long, value_name = "AIT", value_parser = lock_amount, allow_hyphen_values = true)]
    budget: Option<MicroAit>,
    #[command(flatten)]
    payer: PayerOptions,
    /// The highest price in AIT per hour
    #[arg(long, value_name = "AIT", value_parser = values::price_per_hour, allow_hyphen_values = true)]
    max_price: Option<MicroAit>,
    /// Only this miner
    #[arg(long, value_name = "MINER_ID", value_parser = values::miner_id)]
    miner: Option<MinerId>,
    /// Only miners with at least this reputation, 0 to 1 (aitbc marketplace reputation)
    #[arg(long, value_name = "R", value_parser = values::reputation, allow_hyphen_values = true)]
    min_reputation: Option<u32>,
    /// On the miner of this listing, at the listing's price (aitbc marketplace offers list)
    #[arg(long, value_name = "LISTING_ID", value_parser = values::listing_id, conflicts_with_all = ["rental", "miner"])]
    offer: Option<ListingId>,
    /// Under this rental of yours, at no further cost: its id, or "last" for your newest (aitbc marketplace rent)
    #[arg(long, value_name = "RENTAL_ID", conflicts_with_all = ["miner", "budget"])]
    rental: Option<RentalSelector>,
    /// Time until it expires, 1s to 7d [default: 1 h more than the agent's limit of time]
    #[arg(long, value_name = "DURATION", value_parser = new_job::timeout, allow_hyphen_values = true)]
    timeout: Option<Duration>,
    /// Tries after a failure, 0 to 20 [default: 3]
    #[arg(long, value_name = "N", allow_negative_numbers = true,
          value_parser = clap::value_parser!(u32).range(0..=i64::from(MAX_RETRIES)))]
    max_retries: Option<u32>,
    /// Idempotency key, 1 to 64 characters: the same request under the same key makes one execution
    #[arg(long, value_name = "KEY", value_parser = submit::request_id)]
    request_id: Option<String>,
    /// Refuse it if no known miner could run it
    #[arg(long)]
    require_miner: bool,
    /// Do not wait for its end
    #[arg(long, conflicts_with = "cancel_on_interrupt")]
    detach: bool,
    /// Ctrl-C cancels the execution instead of leaving it
    #[arg(long)]
    cancel_on_interrupt: bool,
}

/// Submits, follows, shows.
pub async fn run(context: &Context, arguments: Arguments) -> Result<(), CommandError> {
    let payer = match arguments.budget {
        Some(amount) => Some((arguments.payer.choose(context)?, amount)),
        None => None,
    };
    let connection = context.connect(Scope::Client).await?;
    let stored = Stored::get(&connection, &arguments.agent, arguments.version).await?;
    let mut job = new_job(&stored, arguments.input)?;
    job.max_price = arguments.max_price;
    job.miner = arguments.miner;
    job.min_reputation_ppm = arguments.min_reputation.unwrap_or(0);
    job.offer = arguments.offer;
    job.timeout = arguments.timeout.unwrap_or(job.timeout);
    job.max_retries = arguments.max_retries;
    job.require_miner = arguments.require_miner;
    job.hold = arguments.budget.is_some();
    job.request_id = arguments.request_id;
    job.rental = submit::rental(&connection, arguments.rental).await?;
    let payer = submit::unlock(context, &connection, payer).await?;
    let submitted = submission::submit(context, &connection, &job).await?;
    let response = &submitted.response;
    submit::warn(context, response);
    let paid = match payer {
        Some((signer, amount)) => {
            Some(submit::pay_for(context, &connection, response, &signer, amount).await?)
        }
        None => None,
    };
    if arguments.detach {
        return submit::print_submitted(context, "Execution submitted", response, paid.as_ref());
    }
    let interrupt = Interrupt::listen(arguments.cancel_on_interrupt);
    submit::tell_submitted(context, response, paid.as_ref())?;
    let limits = Some(&stored.definition.limits);
    watch::submitted(context, &connection, submitted, interrupt, limits).await?;
    Ok(())
}

/// An execution of an agent as a job: its input names the definition that was checked.
fn new_job(stored: &Stored, input: String) -> Result<NewJob, CommandError> {
    let input = ExecutionInput {
        agent_id: stored.id.to_string(),
        version: stored.agent.version,
        config_hash: hash_text(&aitbc_common::hash::sha256(&stored.agent.definition)),
        input,
    };
    input.validate().map_err(|error| input::refused(&error))?;
    let model = new_job::model(&model(&stored.definition))?;
    let mut job = NewJob::new(JobType::Agent, model, input.to_bytes());
    let runs_ms = u64::from(stored.definition.limits.seconds) * 1_000;
    job.timeout = Duration::from_millis((WAITS_MS + runs_ms).min(MAX_TIMEOUT_MS));
    Ok(job)
}

/// `NAME[@sha256:HEX]`.
fn model(definition: &Definition) -> String {
    match &definition.model_digest {
        Some(digest) => format!("{}@{digest}", definition.model),
        None => definition.model.clone(),
    }
}
