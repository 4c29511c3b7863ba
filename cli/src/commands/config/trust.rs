//! `aitbc config trust`.

use std::sync::Arc;

use aitbc_common::hash::hash_text;
use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::token::Scope;
use clap::Args;
use serde_json::json;

use crate::context::Context;

const EXAMPLES: &str = "\
Example:
  aitbc config trust --coordinator coordinator.example.org:50051

The chain and the service key of a coordinator are remembered at first contact; another one at the same address is
refused. Compare what is printed with what its operator publishes.";

/// Nothing to choose: the coordinator is the one that is set.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {}

/// Pins what the coordinator says it is.
pub async fn run(context: &Context, _arguments: &Arguments) -> Result<(), CommandError> {
    let url = context.coordinator()?;
    let connection =
        Connection::open(&url, Arc::new(context.home.identity()?), Scope::Read).await?;
    let (chain_id, service_key) = (connection.chain_id(), connection.service_key());
    context.home.repin(&url, chain_id, service_key)?;
    let document = json!({
        "coordinator": url.to_string(),
        "chain_id": hash_text(chain_id),
        "service_key": service_key.to_string(),
    });
    let text = format!(
        "trusted: {url}\n  chain        {}\n  service key  {service_key}",
        hash_text(chain_id)
    );
    context.result(&document, text)
}
