//! `aitbc ledger`: the log of all payments, as its proofs show it.

mod audit;
mod auditor;
mod checkpoint;
mod export;
mod export_file;
pub mod fate;
mod progress;
mod record;
mod reputations;
mod trail;
mod tx;

use aitbc_common::runtime::errors::CommandError;
use aitbc_common::runtime::ledger::VerifiedLedger;
use aitbc_common::token::Scope;
use clap::Subcommand;

use crate::context::Context;

/// Its verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show a record, and prove that it is in the ledger
    Record(record::Arguments),
    /// Show a transaction and what became of it, proven
    Tx(tx::Arguments),
    /// Print the newest signed checkpoint, once it continues all that was seen
    Checkpoint(checkpoint::Arguments),
    /// Write the whole ledger to a file or to stdout
    Export(export::Arguments),
    /// Recompute the whole ledger, of the network or of an export
    Audit(audit::Arguments),
}

/// Carries out a verb.
pub async fn run(context: &Context, command: Command) -> Result<(), CommandError> {
    match command {
        Command::Record(arguments) => record::run(context, &arguments).await,
        Command::Tx(arguments) => tx::run(context, &arguments).await,
        Command::Checkpoint(arguments) => checkpoint::run(context, &arguments).await,
        Command::Export(arguments) => export::run(context, &arguments).await,
        Command::Audit(arguments) => audit::run(context, &arguments).await,
    }
}

/// The ledger of the network that is pinned for the coordinator.
pub async fn open(context: &Context) -> Result<VerifiedLedger, CommandError> {
    let connection = context.connect(Scope::Read).await?;
    VerifiedLedger::open(&connection, &context.home)
}
