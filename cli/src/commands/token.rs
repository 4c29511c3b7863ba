//! `aitbc token`: a bearer token for other clients.

use std::time::Duration;

use aitbc_common::runtime::errors::CommandError;
use aitbc_common::runtime::terminal::rfc3339_ms;
use aitbc_common::runtime::{random_bytes, unix_ms};
use aitbc_common::token::{self, MAX_LIFETIME_S, Scope};
use clap::{Args, ValueEnum};
use serde_json::json;

use crate::context::Context;
use crate::values;

const EXAMPLES: &str = "\
Examples:
  aitbc token
  aitbc token --scope client --lifetime 15m
  grpcurl -plaintext -H \"authorization: Bearer $(aitbc token)\" 127.0.0.1:50051 aitbc.v1.JobService/ListJobs

Whoever has the token is you until it ends.";

/// What the token allows.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Calls that it allows
    #[arg(long, value_enum, default_value = "read")]
    scope: TokenScope,
    /// How long it holds, 1 s to 15 min
    #[arg(long, value_name = "DURATION", default_value = "120s", value_parser = values::duration, allow_hyphen_values = true)]
    lifetime: Duration,
    /// As this miner of yours, not as the client [default with --scope miner: the miner that is set]
    #[arg(long, value_name = "NAME")]
    miner: Option<String>,
}

/// Calls that a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TokenScope {
    /// Get, list and watch
    Read,
    /// Read, submit, cancel, retry, delete
    Client,
    /// The miner's calls
    Miner,
}

/// Issues and prints it. The coordinator is asked which chain the token is for.
pub async fn run(context: &Context, arguments: Arguments) -> Result<(), CommandError> {
    let lifetime_s = arguments.lifetime.as_secs();
    if !(1..=MAX_LIFETIME_S).contains(&lifetime_s) {
        return Err(
            CommandError::usage(format!("a token cannot hold for {lifetime_s} s")).with_hint(
                format!("give 1 s to {MAX_LIFETIME_S} s, for example --lifetime 15m"),
            ),
        );
    }
    let scope = match arguments.scope {
        TokenScope::Read => Scope::Read,
        TokenScope::Client => Scope::Client,
        TokenScope::Miner => Scope::Miner,
    };
    let as_miner = arguments.miner.is_some() || arguments.scope == TokenScope::Miner;
    let identity = if as_miner {
        context
            .home
            .miner_identity(&context.miner_name(arguments.miner.as_deref())?)?
    } else {
        context.home.identity()?
    };
    let connection = context.connect_as(identity, scope).await?;
    let now_ms = unix_ms();
    let token = token::issue(
        &connection.identity,
        connection.chain_id(),
        scope,
        now_ms / 1_000,
        lifetime_s,
        random_bytes(),
    );
    let document = json!({
        "token": token,
        "scope": scope.name(),
        "identity": connection.identity.public().to_string(),
        "expires_at": rfc3339_ms((now_ms / 1_000 + lifetime_s) * 1_000),
    });
    context.result(&document, &token)
}
