//! `aitbc dev`: a coordinator and a miner on this machine, started and stopped together.

mod children;
mod ollama;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use aitbc_common::runtime::channel::DEFAULT_COORDINATOR;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use clap::Args;

use self::children::{Child, ChildError};
use crate::context::Context;
use crate::interrupt::{Interrupt, interrupted};
use crate::siblings::{COORDINATOR, MINER};

const EXAMPLES: &str = "\
Examples:
  aitbc dev
  aitbc dev --model llama3=SmolLM2-135M-Instruct.Q4_1.gguf
  aitbc dev --listen 127.0.0.1:0 --data-dir /tmp/aitbc

Then, in another terminal: aitbc run llama3 \"Hello\"
Ctrl-C stops both: the miner finishes its jobs first; a second Ctrl-C stops at once.";

/// How long the coordinator may take until it listens: it may have to recover first.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// What to start.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Where the coordinator listens; port 0 picks one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:50051")]
    listen: SocketAddr,
    /// Where the coordinator keeps its data [default: its own]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Mine with this GGUF file on the built-in engine [default: your Ollama, if one runs]
    #[arg(long, value_name = "[NAME=]FILE")]
    model: Option<String>,
    /// Start no miner
    #[arg(long, conflicts_with = "model")]
    no_miner: bool,
}

/// Starts both, shows what they say, and stops them on Ctrl-C, SIGTERM or when one of them ends.
pub async fn run(context: &Context, arguments: Arguments) -> Result<(), CommandError> {
    let mut stop = Interrupt::listen(false);
    let mut coordinator = start_coordinator(context, &arguments)?;
    let listening = tokio::time::timeout(START_TIMEOUT, coordinator.listening());
    let address = tokio::select! {
        address = listening => address.unwrap_or(Err(ChildError::Silent)),
        () = stop.received() => return stop_all(&mut stop, vec![coordinator]).await,
    };
    let address = match address {
        Ok(address) => address,
        Err(error) => {
            coordinator.kill().await;
            return Err(ended(COORDINATOR, &error));
        }
    };
    let mut children = vec![coordinator];
    if let Some(miner) = start_miner(context, &arguments, address).await? {
        children.insert(0, miner);
    }
    let option = if address.to_string() == DEFAULT_COORDINATOR {
        String::new()
    } else {
        format!(" --coordinator {address}")
    };
    context.next(format_args!("aitbc models{option}"));
    let (name, error) = tokio::select! {
        ended = children::first_to_end(&mut children) => ended,
        () = stop.received() => return stop_all(&mut stop, children).await,
    };
    let survivors = children
        .into_iter()
        .filter(|child| child.name() != name)
        .collect();
    stop_all(&mut stop, survivors).await?;
    Err(ended(name, &error))
}

fn start_coordinator(context: &Context, arguments: &Arguments) -> Result<Child, CommandError> {
    let mut options = vec![
        "--dev".into(),
        "--listen".into(),
        arguments.listen.to_string().into(),
    ];
    if let Some(folder) = &arguments.data_dir {
        options.extend(["--data-dir".into(), folder.into()]);
    }
    Child::start(COORDINATOR, &options, context.json)
}

async fn start_miner(
    context: &Context,
    arguments: &Arguments,
    address: SocketAddr,
) -> Result<Option<Child>, CommandError> {
    let mut options: Vec<std::ffi::OsString> = match &arguments.model {
        _ if arguments.no_miner => return Ok(None),
        Some(model) => vec!["mine".into(), "--model".into(), model.into()],
        None if ollama::is_there().await => vec!["mine-ollama".into()],
        None => {
            context.note("no miner: neither --model FILE nor a running Ollama was found");
            return Ok(None);
        }
    };
    options.extend([
        "--continuous".into(),
        "--coordinator".into(),
        address.to_string().into(),
    ]);
    if context.json {
        options.push("--json".into());
    }
    Child::start(MINER, &options, context.json).map(Some)
}

/// Asks each child to stop, in order, and waits; a second signal ends them at once.
async fn stop_all(stop: &mut Interrupt, mut children: Vec<Child>) -> Result<(), CommandError> {
    let drained = async {
        for child in &mut children {
            child.stop().await;
        }
    };
    tokio::select! {
        () = drained => return Ok(()),
        () = stop.received() => {}
    }
    for child in &mut children {
        child.kill().await;
    }
    Err(interrupted("stopped at once; running jobs go elsewhere"))
}

fn ended(name: &str, error: &ChildError) -> CommandError {
    CommandError::new(ExitCode::Failed, "PROGRAM_ENDED", format!("{name} {error}"))
        .with_hint("its own messages stand above; another address: --listen 127.0.0.1:0")
}
