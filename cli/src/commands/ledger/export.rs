//! `aitbc ledger export`.

use std::path::PathBuf;

use aitbc_common::hash::hash_text;
use aitbc_common::ledger::audit::Edge;
use aitbc_common::ledger::log::leaf_hash;
use aitbc_common::runtime::errors::CommandError;
use clap::Args;
use serde_json::json;

use super::auditor::other_root;
use super::export_file::Writer;
use super::trail::Trail;
use super::{open, progress};
use crate::context::Context;

const EXAMPLES: &str = "\
Examples:
  aitbc ledger export ledger.ndjson
  aitbc ledger export | gzip > ledger.ndjson.gz
  aitbc ledger audit ledger.ndjson             needs no coordinator

One JSON object a line, a record each, then the signed checkpoint: see docs/ledger.md.";

/// Where to.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Write to this file instead of stdout; it appears only once it is whole
    #[arg(value_name = "FILE", conflicts_with = "output")]
    file: Option<PathBuf>,
    /// The same, as where a command has other arguments
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Writes what the newest checkpoint covers, and checks that it is what the checkpoint signs.
pub async fn run(context: &Context, arguments: &Arguments) -> Result<(), CommandError> {
    let mut ledger = open(context).await?;
    let (checkpoint, _) = ledger.checkpoint().await?;
    let head = checkpoint.head;
    let path = arguments.file.as_ref().or(arguments.output.as_ref());
    let mut writer = Writer::create(path.map(PathBuf::as_path))?;
    let mut records = ledger.records(0, head.size).await?;
    let mut edge = Edge::default();
    let mut trail = Trail::from(Edge::default());
    let bar = progress::bar(context, head.size, "exporting");
    while let Some(leaves) = records.next().await? {
        for leaf in &leaves {
            edge.push(leaf_hash(leaf));
            trail.pass(&edge);
            writer.leaf(leaf)?;
        }
        bar.inc(leaves.len() as u64);
    }
    if edge.head() != head {
        let end = edge.clone();
        let records = trail.first_other(&mut ledger, end, &head).await;
        let all = 0..edge.size();
        return Err(other_root(&edge.head(), &head, &records.unwrap_or(all)));
    }
    writer.finish(&checkpoint.text)?;
    bar.finish_and_clear();
    let Some(path) = path else {
        context.note(format_args!("{} records exported", head.size));
        return Ok(());
    };
    let document = json!({
        "file": path.display().to_string(),
        "records": head.size,
        "log_root": hash_text(&head.root),
    });
    let text = format!("Ledger exported: {} records, {}", head.size, path.display());
    context.result(&document, text)?;
    context.next(format_args!("aitbc ledger audit {}", path.display()));
    Ok(())
}
