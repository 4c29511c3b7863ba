//! What is asked of the ledger itself: whether an acknowledged transaction is in it, and what the state is.

use aitbc_common::layouts::{Record, RecordBody, SignedTransaction};
use aitbc_common::ledger::entry::{Entry, StateKey};
use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::runtime::ledger::{ProvenEntries, VerifiedLedger};

use super::Sent;
use crate::context::Context;

/// That it is recorded, where and when the coordinator says: by the log, as its record follows from that. Where the log
/// cannot be asked now, that is said.
pub(super) async fn prove(
    context: &Context,
    connection: &Connection,
    signed: &SignedTransaction,
    sent: &Sent,
) -> Result<(), CommandError> {
    let record = Record {
        index: sent.index,
        time_ms: sent.time_ms,
        body: RecordBody::Transaction(signed.clone()),
    };
    let mut ledger = VerifiedLedger::open(connection, &context.home)?;
    match ledger.included(sent.index, &record.encode()).await {
        Ok(_) => Ok(()),
        Err(error) if error.exit == ExitCode::ProofFailed => Err(error),
        Err(error) => {
            let id = hex::encode(sent.id);
            context.warn(
                "LEDGER_NOT_CHECKED",
                format_args!(
                    "that 0x{id} is recorded is the coordinator's word alone: {}; check it with: aitbc wallet verify 0x{id}",
                    error.message
                ),
            );
            Ok(())
        }
    }
}

/// One entry, as [`proven_entries`] has it; `None` where the state has none.
pub async fn proven_entry(
    context: &Context,
    connection: &Connection,
    key: StateKey,
) -> Result<Option<Entry>, CommandError> {
    let found = proven_entries(context, connection, &[key]).await?;
    Ok(found.entries.into_iter().next().flatten())
}

/// Entries as of a checkpoint that covers all that was recorded when it was asked for.
pub async fn proven_entries(
    context: &Context,
    connection: &Connection,
    keys: &[StateKey],
) -> Result<ProvenEntries, CommandError> {
    let mut ledger = VerifiedLedger::open(connection, &context.home)?;
    let (_, records) = ledger.checkpoint().await?;
    if let Some(last) = records.checked_sub(1) {
        ledger.covers(last).await?;
    }
    ledger.entries(keys).await
}
