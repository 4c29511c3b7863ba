//! `aitbc client`: submit jobs, follow them, fetch and check results.

pub mod acknowledge;
pub mod cancel;
mod delete;
pub mod delivery;
mod explain;
pub mod fetch;
pub mod follow;
mod funds;
pub mod input;
pub mod job_text;
pub mod ledger_proof;
pub mod list;
mod lock_bound;
mod logs;
pub mod new_job;
pub mod pay;
mod payment;
mod payment_errors;
pub mod proof_text;
pub mod records;
mod result;
mod retry;
pub mod show;
pub mod status;
pub mod submission;
pub mod submit;
mod verify;
pub mod watchers;

use aitbc_common::runtime::errors::CommandError;
use clap::{Args, Subcommand};

pub use funds::check_payer;
pub use payment::{Paid, Payable, fee_bps, job_payment};

use crate::context::Context;
use crate::values::JobSelector;

/// Its verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Submit a job
    Submit(submit::Arguments),
    /// Show where a job stands
    Status(status::Arguments),
    /// Print a job's output and check its proof
    Result(result::Arguments),
    /// Lock money for a job
    Pay(pay::Arguments),
    /// Check a saved receipt, without a network
    Verify(verify::Arguments),
    /// List your jobs, newest first
    List(list::Arguments),
    /// Cancel a job
    #[command(after_help = cancel::EXAMPLES)]
    Cancel(OneJob),
    /// Submit a finished job once more, as a new job
    Retry(retry::Arguments),
    /// Delete a finished job's input, output and result
    #[command(after_help = delete::EXAMPLES)]
    Delete(OneJob),
    /// Show what happened to a job
    Logs(logs::Arguments),
}

/// Which job.
#[derive(Debug, Args)]
pub struct OneJob {
    /// Its id, or last for your newest
    #[arg(value_name = "JOB_ID")]
    job: JobSelector,
}

/// Carries out a verb.
pub async fn run(context: &Context, command: Command) -> Result<(), CommandError> {
    match command {
        Command::Submit(arguments) => submit::run(context, arguments).await,
        Command::Status(arguments) => status::run(context, arguments).await,
        Command::Result(arguments) => result::run(context, arguments).await,
        Command::Pay(arguments) => pay::run(context, arguments).await,
        Command::Verify(arguments) => verify::run(context, &arguments),
        Command::List(arguments) => list::run(context, arguments).await,
        Command::Cancel(arguments) => cancel::run(context, arguments).await,
        Command::Retry(arguments) => retry::run(context, arguments).await,
        Command::Delete(arguments) => delete::run(context, arguments).await,
        Command::Logs(arguments) => logs::run(context, arguments).await,
    }
}

#[cfg(test)]
mod tests;
