//! Whether an acknowledged transaction is in the ledger.

use aitbc_common::layouts::{Record, RecordBody, SignedTransaction};
use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::runtime::ledger::VerifiedLedger;

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
