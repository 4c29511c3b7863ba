//! `aitbc-miner engine`: GGUF models on llama.cpp behind Ollama's HTTP API.
//!
//! A process of its own, so that a crash of the C++ code never takes the miner down; any Ollama client can use it.

mod error;
mod generation;
mod gguf;
mod load_log;
mod model;
mod prepare;
mod reply;
mod request;
mod sampler;
mod server;
mod slots;
#[cfg(test)]
mod tests;
mod text;

pub use model::ModelFile;

use aitbc_common::names::canonical_model;
use aitbc_common::runtime::errors::plain_io_error;
use anyhow::{Context, anyhow};
use axum::serve::ListenerExt;
use error::{ApiError, failure};
use model::Model;
use slots::Slots;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How long open connections may take to end once the engine stops.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// Arguments of `aitbc-miner engine`.
#[derive(Debug, Clone, clap::Args)]
pub struct EngineArgs {
    /// GGUF file to serve, under a name (default: the file's name without its extension); repeatable
    #[arg(long = "model", value_name = "[NAME=]FILE", required = true)]
    pub models: Vec<ModelFile>,
    /// Address to listen on; port 0 takes a free one, the output says which
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Requests served at the same time; each has a context of its own and its share of the threads
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub parallel: u16,
    /// Context in tokens, prompt and answer together (default: 8192, or less if the model was trained with less)
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(16..=16_777_216))]
    pub context: Option<u32>,
    /// Threads per request (default: the processor's cores but one, divided by --parallel)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Stop when standard input is closed, as it is when the parent process ends
    #[arg(long, hide = true)]
    pub stop_with_parent: bool,
}

/// Serves until `shutdown`. Prints one line to standard output as soon as requests are taken:
/// `engine listening on http://127.0.0.1:PORT`.
pub async fn run(args: EngineArgs, shutdown: CancellationToken) -> anyhow::Result<()> {
    let stop = shutdown.child_token();
    if args.stop_with_parent {
        stop_at_end_of_input(stop.clone());
    }
    let engine = tokio::select! {
        engine = Engine::start(args) => engine?,
        () = stop.cancelled() => return Ok(()),
    };
    let mut output = std::io::stdout();
    writeln!(output, "engine listening on http://{}", engine.address)
        .and_then(|()| output.flush())
        .context("cannot write to standard output")?;
    engine.serve(stop).await
}

/// A loaded engine that listens already.
struct Engine {
    address: SocketAddr,
    listener: TcpListener,
    state: Arc<EngineState>,
}

/// What requests share.
struct EngineState {
    models: Arc<Vec<Model>>,
    slots: Slots,
}

impl EngineState {
    /// A model's place by its name; `llama3` is `llama3:latest`.
    fn find(&self, name: &str) -> Result<usize, ApiError> {
        let missing = || ApiError::ModelNotFound(name.to_owned());
        let wanted = canonical_model(name).map_err(|_| missing())?;
        let found = self
            .models
            .iter()
            .position(|model| model.name.eq_ignore_ascii_case(&wanted));
        found.ok_or_else(missing)
    }
}

impl Engine {
    async fn start(args: EngineArgs) -> anyhow::Result<Self> {
        check_processor()?;
        check_names(&args.models)?;
        let listener = TcpListener::bind(args.listen).await.map_err(|error| {
            let message = format!(
                "cannot listen on {}: {}",
                args.listen,
                plain_io_error(&error)
            );
            failure(
                "LISTEN",
                message,
                "choose another address, or port 0 for a free one",
            )
        })?;
        let address = listener
            .local_addr()
            .context("cannot read the address of the listener")?;
        if !address.ip().is_loopback() {
            tracing::warn!(%address, "everyone who reaches this address can use the engine");
        }
        let (files, context) = (args.models, args.context);
        let models = tokio::task::spawn_blocking(move || load_all(&files, context))
            .await
            .context("loading panicked")??;
        let parallel = usize::from(args.parallel);
        let threads = args
            .threads
            .map_or_else(|| default_threads(parallel), usize::from);
        let models = Arc::new(models);
        let slots = Slots::start(Arc::clone(&models), parallel, threads).await?;
        tracing::info!(%address, parallel, threads, "engine ready");
        Ok(Self {
            address,
            listener,
            state: Arc::new(EngineState { models, slots }),
        })
    }

    async fn serve(self, stop: CancellationToken) -> anyhow::Result<()> {
        let slots = &self.state.slots;
        // A token should not wait until the previous one is acknowledged.
        let listener = self.listener.tap_io(|connection| {
            if let Err(error) = connection.set_nodelay(true) {
                tracing::debug!(%error, "cannot switch off Nagle's algorithm");
            }
        });
        let stopping = CancellationToken::new();
        let server = axum::serve(listener, server::router(Arc::clone(&self.state)))
            .with_graceful_shutdown(stopping.clone().cancelled_owned());
        let mut server = tokio::spawn(server.into_future());
        let served = tokio::select! {
            () = stop.cancelled() => Ok(()),
            () = slots.failed.cancelled() => Err(anyhow!("a slot of the engine failed; its log says why")),
            ended = &mut server => match ended {
                Ok(ended) => ended.context("the server failed"),
                Err(error) => Err(anyhow!("the server panicked: {error}")),
            },
        };
        stopping.cancel();
        slots.stop();
        if !server.is_finished() && tokio::time::timeout(STOP_GRACE, &mut server).await.is_err() {
            server.abort();
        }
        let state = Arc::clone(&self.state);
        tokio::task::spawn_blocking(move || state.slots.join())
            .await
            .context("joining the slots panicked")?;
        served
    }
}

fn load_all(files: &[ModelFile], context: Option<u32>) -> anyhow::Result<Vec<Model>> {
    let mut models = Vec::with_capacity(files.len());
    for file in files {
        let started = std::time::Instant::now();
        let model = Model::load(&file.name, &file.path, context)?;
        tracing::info!(
            model = model.name,
            sha256 = model.digest,
            context_tokens = model.context_tokens,
            elapsed = ?started.elapsed(),
            "model loaded"
        );
        models.push(model);
    }
    Ok(models)
}

fn check_names(files: &[ModelFile]) -> anyhow::Result<()> {
    for (index, file) in files.iter().enumerate() {
        if files[..index]
            .iter()
            .any(|other| other.name.eq_ignore_ascii_case(&file.name))
        {
            let hint = format!("name one of them: --model NAME={}", file.path.display());
            return Err(failure(
                "USAGE",
                format!("two models are named {}", file.name),
                hint,
            ));
        }
    }
    Ok(())
}

/// llama.cpp is compiled for these instructions; without them it would die of an illegal one.
fn check_processor() -> anyhow::Result<()> {
    let missing = missing_instructions();
    if missing.is_empty() {
        return Ok(());
    }
    let message = format!(
        "this processor lacks {}, which the embedded engine is compiled for",
        missing.join(", ")
    );
    Err(failure(
        "PROCESSOR",
        message,
        "install Ollama and use `aitbc miner mine-ollama` instead",
    ))
}

#[cfg(target_arch = "x86_64")]
fn missing_instructions() -> Vec<&'static str> {
    let instructions = [
        ("AVX", std::is_x86_feature_detected!("avx")),
        ("AVX2", std::is_x86_feature_detected!("avx2")),
        ("FMA", std::is_x86_feature_detected!("fma")),
        ("F16C", std::is_x86_feature_detected!("f16c")),
        ("BMI2", std::is_x86_feature_detected!("bmi2")),
    ];
    instructions
        .iter()
        .filter(|(_, present)| !present)
        .map(|(name, _)| *name)
        .collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn missing_instructions() -> Vec<&'static str> {
    Vec::new()
}

/// One core is left to the rest of the machine: llama.cpp's threads spin while they wait for each other, so that
/// a single busy core slows all of them down many times over.
fn default_threads(parallel: usize) -> usize {
    let available = std::thread::available_parallelism().map_or(1, usize::from);
    let cores =
        sysinfo::System::physical_core_count().map_or(available, |cores| cores.min(available));
    (cores.saturating_sub(1) / parallel).max(1)
}

fn stop_at_end_of_input(stop: CancellationToken) {
    std::thread::spawn(move || {
        // An unreadable input has ended too.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        stop.cancel();
    });
}
