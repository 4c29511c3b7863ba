//! `aitbc ledger audit`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use aitbc_common::ledger::audit::Edge;
use aitbc_common::ledger::checkpoint::CheckpointError;
use aitbc_common::ledger::log::TreeHead;
use aitbc_common::runtime::errors::CommandError;
use clap::Args;

use super::auditor::{Auditor, Summary, other_root};
use super::export_file::{Line, Reader};
use super::trail::Trail;
use super::{open, progress};
use crate::context::Context;

const EXAMPLES: &str = "\
Examples:
  aitbc ledger audit                     what the network's coordinator has
  aitbc ledger audit ledger.ndjson       an export; needs no coordinator

Every record is checked by the rules of docs/formats.md: signatures, nonces, balances, payments, the state root of
each seal, and at the end the signed checkpoint. The first bad record is named.";

/// What to check.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// A file that aitbc ledger export wrote [default: ask the coordinator]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Recomputes everything and prints what it comes to.
pub async fn run(context: &Context, arguments: &Arguments) -> Result<(), CommandError> {
    let began = Instant::now();
    let (summary, signed) = match &arguments.file {
        Some(path) => of_file(context, path)?,
        None => (of_network(context).await?, true),
    };
    let seconds = began.elapsed().as_secs_f64();
    if !signed {
        context.warn(
            "CHECKPOINT_MISSING",
            "the file has no signed checkpoint: its end may be missing, and times and receipts may have been changed",
        );
    }
    context.result(
        &summary.document(signed, seconds),
        summary.text(signed, seconds),
    )
}

async fn of_network(context: &Context) -> Result<Summary, CommandError> {
    let mut ledger = open(context).await?;
    let (checkpoint, _) = ledger.checkpoint().await?;
    let head = checkpoint.head;
    let mut auditor = Auditor::of(*ledger.log());
    let mut trail = Trail::from(Edge::default());
    let mut records = ledger.records(0, head.size).await?;
    let bar = progress::bar(context, head.size, "checking records");
    while let Some(leaves) = records.next().await? {
        for leaf in &leaves {
            auditor.record(&context.home, leaf)?;
            trail.pass(auditor.edge());
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    let found = auditor.edge().head();
    if found != head {
        let all = 0..found.size;
        let end = auditor.edge().clone();
        let records = trail.first_other(&mut ledger, end, &head).await;
        return Err(other_root(&found, &head, &records.unwrap_or(all)));
    }
    auditor.finish(Some(&head))
}

fn of_file(context: &Context, path: &Path) -> Result<(Summary, bool), CommandError> {
    let mut reader = Reader::open(path)?;
    let bar = progress::bar(context, reader.length(), "checking bytes");
    let mut auditor = Auditor::default();
    let mut signed: Option<TreeHead> = None;
    while let Some(line) = reader.next()? {
        match line {
            Line::Leaf(leaf) => auditor.record(&context.home, &leaf)?,
            Line::Checkpoint(text) => {
                let log = auditor
                    .log()
                    .ok_or_else(|| reader.damaged("a checkpoint of no records"))?;
                let head = log.open(&text).map_err(|error| match error {
                    CheckpointError::WrongChain { .. } => reader.damaged(&format!(
                        "it or record 0, the genesis file, was changed: {error}"
                    )),
                    _ => reader.damaged(&error.to_string()),
                })?;
                signed = Some(head);
            }
        }
        bar.set_position(reader.read());
    }
    bar.finish_and_clear();
    Ok((auditor.finish(signed.as_ref())?, signed.is_some()))
}
