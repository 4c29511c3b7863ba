//! `aitbc mcp`: the network as tools of the Model Context Protocol, over stdin and stdout.
//!
//! Nothing here opens a wallet: jobs are submitted as this user's identity, and paid under an allowance or not at all.

mod answer;
mod arguments;
mod budget;
mod outcome;
mod server;
mod spending;
mod stdin;
mod submit;
mod tools;
mod waiting;

use std::pin::pin;
use std::sync::Arc;

use aitbc_common::address::Address;
use aitbc_common::money::MicroAit;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::runtime::terminal::is_terminal_stdin;
use clap::Args;
use rmcp::ServiceExt;
use rmcp::service::ServerInitializeError;
use rmcp::transport::async_rw::AsyncRwTransport;
use tokio_util::sync::CancellationToken;

use self::server::Server;
use self::spending::Spending;
use self::stdin::UntilClosed;
use crate::context::Context;
use crate::interrupt::Interrupt;
use crate::values;

/// A message of the client that is longer than this is dropped: a job's input has 3 MiB, which may be escaped.
const MOST_LINE_BYTES: usize = 16 << 20;

const EXAMPLES: &str = "\
Examples:
  aitbc mcp
  aitbc mcp --coordinator market.example.org:443 --allowance 0x7099…79C8 --max-spend 5

A client such as an agent or an editor starts it; it speaks JSON-RPC on stdin and stdout. In a client's configuration:
  {\"mcpServers\": {\"aitbc\": {\"command\": \"aitbc\", \"args\": [\"mcp\"]}}}

Tools: submit, result, status, cancel, models, offers, pricing, balance. It opens no wallet. Without --allowance only unpaid
jobs on a development network run; a wallet's owner gives one with: aitbc wallet allow IDENTITY AMOUNT";

/// What may be spent.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Pay for jobs with the allowance that this wallet gave your identity (aitbc wallet allow)
    #[arg(long, value_name = "ADDRESS", value_parser = values::address, requires = "max_spend")]
    allowance: Option<Address>,
    /// The most that this run may spend in all, in AIT, however much the allowance leaves
    #[arg(long, value_name = "AIT", value_parser = values::amount, requires = "allowance", allow_hyphen_values = true)]
    max_spend: Option<MicroAit>,
}

/// Serves one client until it closes stdin, or Ctrl-C or SIGTERM.
pub async fn run(context: &Context, arguments: Arguments) -> Result<(), CommandError> {
    let mut interrupt = Interrupt::listen(false);
    let spending = arguments.allowance.zip(arguments.max_spend);
    let spending = spending.map(|(payer, limit)| Arc::new(Spending::new(payer, limit)));
    // What makes no sense is said before a client waits for an answer.
    let _url = context.coordinator()?;
    let _made = context.home.identity()?;
    if is_terminal_stdin() {
        context.note("waiting for an MCP client on stdin; end with Ctrl-C");
    }
    let closing = CancellationToken::new();
    let (stdin, stdout) = rmcp::transport::stdio();
    let transport = AsyncRwTransport::new_server(UntilClosed::new(stdin, closing.clone()), stdout)
        .with_max_line_length(MOST_LINE_BYTES);
    let server = Server::new(context.clone(), spending, closing.clone());
    let running = tokio::select! {
        running = server.serve(transport) => running,
        () = interrupt.received() => return Ok(()),
    };
    let running = match running {
        Ok(running) => running,
        Err(ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
        Err(error) => return Err(no_client(&error)),
    };
    let cancel = running.cancellation_token();
    let mut ended = pin!(running.waiting());
    let ended = tokio::select! {
        ended = &mut ended => ended,
        () = interrupt.received() => {
            closing.cancel();
            cancel.cancel();
            // Answers that are under way get two seconds.
            ended.await
        }
    };
    ended.map(|_reason| ()).map_err(|_| {
        CommandError::new(ExitCode::Failed, "INTERNAL", "the server's task stopped")
            .with_hint("start it again")
    })
}

fn no_client(error: &ServerInitializeError) -> CommandError {
    CommandError::new(
        ExitCode::Failed,
        "MCP_HANDSHAKE",
        format!("what came on stdin is no MCP client: {error}"),
    )
    .with_hint("start it from an MCP client; see: aitbc mcp --help")
}
