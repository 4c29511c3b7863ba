//! `aitbc ledger audit`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aitbc_common::ledger::checkpoint::CheckpointError;
use aitbc_common::ledger::log::TreeHead;
use aitbc_common::market::day_of;
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::runtime::ledger::VerifiedLedger;
use aitbc_common::runtime::unix_ms;
use aitbc_common::token::Scope;
use clap::Args;

use super::auditor::{Auditor, Summary, other_root};
use super::export_file::{Line, Reader};
use super::progress;
use super::reputations::{self, Claims};
use super::trail::Trail;
use crate::context::Context;

/// How often the coordinator is asked again while its reputations and its checkpoint are not of the same records.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(200);

const EXAMPLES: &str = "\
Examples:
  aitbc ledger audit                     what the network's coordinator has
  aitbc ledger audit ledger.ndjson       an export; needs no coordinator

Every record is checked by the rules of docs/ledger.md: signatures, nonces, balances, payments, the state root of
each seal, and at the end the signed checkpoint. The first bad record is named. The reputations are recomputed by
docs/market.md; those that the coordinator states must be the same.";

/// What to check.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// A file that aitbc ledger export wrote, - for standard input [default: ask the coordinator]
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
    let connection = context.connect(Scope::Read).await?;
    let mut ledger = VerifiedLedger::open(&connection, &context.home)?;
    let mut auditor = Auditor::of(*ledger.log());
    let mut claims = Claims::default();
    let mut head = follow(context, &mut ledger, &mut auditor, &mut claims).await?;
    for tried in 1.. {
        let miners = reputations::providers(&connection, auditor.reputations()).await?;
        claims = Claims::ask(&connection, miners, day_of(unix_ms())).await?;
        claims.compare(head.size, auditor.reputations());
        let lags = claims.first().is_some_and(|first| first < head.size);
        if !lags || tried == TRIES {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    // Some rest on records that came since.
    for _ in 0..TRIES {
        if claims.last() <= head.size {
            break;
        }
        tokio::time::sleep(PAUSE).await;
        head = follow(context, &mut ledger, &mut auditor, &mut claims).await?;
    }
    let mut summary = auditor.finish(Some(&head))?;
    summary.compared = Some(claims.finish()?);
    Ok(summary)
}

/// Audits the records up to the newest checkpoint, which they must come to.
async fn follow(
    context: &Context,
    ledger: &mut VerifiedLedger,
    auditor: &mut Auditor,
    claims: &mut Claims,
) -> Result<TreeHead, CommandError> {
    let (checkpoint, _) = ledger.checkpoint().await?;
    let head = checkpoint.head;
    let begin = auditor.edge().clone();
    let mut trail = Trail::from(begin.clone());
    let mut records = ledger.records(begin.size(), head.size).await?;
    let bar = progress::bar(context, head.size, "checking records");
    while let Some(leaves) = records.next().await? {
        for leaf in &leaves {
            auditor.record(&context.home, leaf)?;
            trail.pass(auditor.edge());
            claims.compare(auditor.edge().size(), auditor.reputations());
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    let found = auditor.edge().head();
    if found != head {
        let all = begin.size()..found.size;
        let end = auditor.edge().clone();
        let records = trail.first_other(ledger, end, &head).await;
        return Err(other_root(&found, &head, &records.unwrap_or(all)));
    }
    Ok(head)
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
