//! `aitbc run`: ask a model and print the answer.

use std::ffi::OsString;
use std::time::Duration;

use aitbc_common::job_input::JobType;
use aitbc_common::money::MicroAit;
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::token::Scope;
use clap::Args;

use super::client::input::{self, Source};
use super::client::new_job::{self, Model, NewJob};
use super::client::show::{self, Telling};
use super::client::{submission, submit};
use crate::context::Context;
use crate::interrupt::Interrupt;
use crate::values;

const EXAMPLES: &str = "\
Examples:
  aitbc run llama3 \"Why is the sky blue?\"
  echo '{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}' | aitbc run llama3 --data -";

/// What to ask whom.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The model, with the digest it must have where that matters
    #[arg(value_name = "MODEL", value_parser = new_job::model)]
    model: Model,
    /// What to ask
    #[arg(value_name = "PROMPT", required_unless_present = "data")]
    prompt: Option<OsString>,
    /// The whole input document instead: JSON, @FILE, or - for stdin
    #[arg(
        long,
        value_name = "JSON",
        conflicts_with = "prompt",
        allow_hyphen_values = true
    )]
    data: Option<OsString>,
    /// The highest price in AIT per hour
    #[arg(long, value_name = "AIT", value_parser = values::price_per_hour, allow_hyphen_values = true)]
    max_price: Option<MicroAit>,
    /// Time until the job expires, 1s to 7d
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = new_job::timeout, allow_hyphen_values = true)]
    timeout: Duration,
    /// Ctrl-C cancels the job instead of leaving it
    #[arg(long)]
    cancel_on_interrupt: bool,
}

/// Submits, follows, prints the output alone.
pub async fn run(context: &Context, arguments: Arguments) -> Result<(), CommandError> {
    let source = match (arguments.data, arguments.prompt) {
        (Some(data), _) => Source::Data(data),
        (None, Some(prompt)) => Source::Prompt(prompt),
        (None, None) => unreachable!("the command line takes one of the two"),
    };
    let mut job = NewJob::new(
        JobType::Inference,
        arguments.model,
        input::read(JobType::Inference, &source, false)?,
    );
    job.max_price = arguments.max_price;
    job.timeout = arguments.timeout;
    let connection = context.connect(Scope::Client).await?;
    let submitted = submission::submit(context, &connection, &job).await?;
    let interrupt = Interrupt::listen(arguments.cancel_on_interrupt);
    submit::warn(context, &submitted.response);
    show::submitted(
        context,
        &connection,
        submitted,
        interrupt,
        Telling::OutputOnly,
    )
    .await?;
    Ok(())
}
