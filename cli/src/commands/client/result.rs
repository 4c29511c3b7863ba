//! `aitbc client result`: a job's output, and whether its proof checks.

use std::borrow::Cow;
use std::path::PathBuf;

use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::runtime::terminal::print_line;
use aitbc_common::token::Scope;
use aitbc_common::verify::ReceiptFile;
use clap::Args;

use super::acknowledge::acknowledge;
use super::delivery::{Delivery, print_content, proof_parts, write_file};
use super::follow::{Target, follow};
use super::ledger_proof::Logged;
use super::proof_text::{proof_line, result_json};
use super::show::{completed, tell_payment};
use super::status::{get, id_of, is_final};
use super::submission::about;
use super::watchers::Silent;
use super::{fetch, ledger_proof, records};
use crate::context::Context;
use crate::interrupt::Interrupt;
use crate::output::clean_err;
use crate::values::JobSelector;

const EXAMPLES: &str = "\
Examples:
  aitbc client result last --wait
  aitbc client result job_01m83xj880emq8k9w39qsaekf4 --output answer.txt --receipt receipt.json
  aitbc client result last --json

The output goes to stdout, byte for byte, of an agent's execution the answer; the proof of execution to stderr.";

/// Which job, and where to.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Its id, or last for your newest
    #[arg(value_name = "JOB_ID")]
    job: JobSelector,
    /// Wait until it is finished
    #[arg(long)]
    wait: bool,
    /// Write the output to this file instead of stdout
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Of an agent's execution: every event as it came, one a line, instead of the answer alone
    #[arg(long)]
    raw: bool,
    /// Save the receipt; aitbc client verify checks it without a network
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
}

/// Fetches, checks, prints; nothing that does not check is printed.
pub async fn run(context: &Context, arguments: Arguments) -> Result<(), CommandError> {
    let connection = context.connect(Scope::Client).await?;
    let delivery = deliver(context, &connection, &arguments).await?;
    if matches!(arguments.job, JobSelector::Last) {
        // Only the coordinator knows which one that is: the user is to see it.
        context.note(&delivery.job.job_id);
    }
    let logged = ledger_proof::logged(context, &connection, &delivery).await?;
    let acknowledged = acknowledge(context, &connection, &delivery).await;
    if let Some(path) = &arguments.receipt {
        let mut file = ReceiptFile::new(&proof_parts(&delivery.proof));
        file.ledger = logged.as_ref().map(Logged::proof);
        if let Some(acknowledged) = acknowledged {
            file.acknowledgement = acknowledged.layout;
            file.acknowledgement_sig = acknowledged.signature;
        }
        write_file(path, &file.to_bytes())?;
    }
    let content = if arguments.raw {
        Cow::Borrowed(&delivery.output[..])
    } else {
        delivery.content()
    };
    if let Some(path) = &arguments.output {
        write_file(path, &content)?;
    }
    if context.json {
        let document = result_json(&delivery, logged.as_ref());
        return print_line(with_events(document, &delivery));
    }
    if arguments.output.is_none() {
        print_content(&content)?;
    }
    context.note(clean_err(&proof_line(&delivery)));
    tell_payment(context, &delivery, logged.as_ref());
    if let Some(calls) = &delivery.verified.document.tool_calls {
        context.note(format_args!(
            "the model asks for {} tool calls: aitbc client result {} --json",
            calls.len(),
            delivery.job.job_id
        ));
    }
    Ok(())
}

/// The document of an execution's result with its events, as they came.
fn with_events(mut document: String, delivery: &Delivery) -> String {
    if !matches!(delivery.execution(), Some(Ok(_))) {
        return document;
    }
    let events = String::from_utf8_lossy(&delivery.output);
    let events: Vec<&str> = events.lines().collect();
    document.truncate(document.len() - 1);
    format!("{document},\"events\":[{}]}}", events.join(","))
}

async fn deliver(
    context: &Context,
    connection: &Connection,
    arguments: &Arguments,
) -> Result<Delivery, CommandError> {
    let job = get(connection, &arguments.job).await?;
    let job_id = id_of(&job)?;
    if !arguments.wait || is_final(&job) {
        // The specification is needed only for a job that has a result.
        let trust = || records::trust(context, connection, job_id);
        let id = job_id.to_string();
        return fetch::delivery(connection, &id, trust)
            .await
            .map_err(about(&id));
    }
    let target = Target {
        job_id: job_id.to_string(),
        trust: records::trust(context, connection, job_id)?,
        interrupt: Interrupt::listen(false),
    };
    completed(follow(connection, target, &mut Silent).await?)
}
