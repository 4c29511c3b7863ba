//! The coordinator's command.

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use aitbc_common::hash::hash_text;
use aitbc_common::runtime::config::environment;
use aitbc_common::runtime::errors::{self, CommandError};
use aitbc_common::runtime::{command_line, telemetry, terminal};
use aitbc_coordinator::config::{Command, Config, LogFormat, Options};
use aitbc_coordinator::coordinator::{Coordinator, store_error};
use aitbc_coordinator::store::StoreError;
use aitbc_coordinator::{init, prometheus};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// File descriptors that are asked for: one for each connection, and the store's.
const DESCRIPTORS: u64 = 65_536;
/// Threads that write: the engine's and the ledger's.
const WRITERS: usize = 2;
/// Time for threads to end after the last call.
const LAST_THREADS: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let raw: Vec<OsString> = std::env::args_os().collect();
    let (options, json) = match command_line::parse::<Options>(&raw) {
        Ok(None) => return ExitCode::SUCCESS,
        Ok(Some(options)) => {
            let json = options.log_format == Some(LogFormat::Json);
            (Ok(options), json)
        }
        Err(error) => (Err(error), false),
    };
    let outcome = options.and_then(|options| match &options.command {
        Some(Command::Init(arguments)) => init::run(arguments).map(|()| ExitCode::SUCCESS),
        None => start(&options),
    });
    match outcome {
        Ok(code) => code,
        Err(error) => {
            error.print(json);
            error.exit.into()
        }
    }
}

fn start(options: &Options) -> Result<ExitCode, CommandError> {
    let config = Config::load(options)?;
    telemetry::init(options.verbose + 1, config.log_format == LogFormat::Json);
    for (name, near) in Config::misspelt_variables(environment().into_keys()) {
        tracing::warn!("{name} is no setting and changes nothing; did you mean {near}?");
    }
    if let Err(error) = rlimit::increase_nofile_limit(DESCRIPTORS) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| {
        failed(
            "NO_RUNTIME",
            format!("the network cannot be used: {error}"),
            "see the system's limits",
        )
    })?;
    let (outcome, writers) = runtime.block_on(serve(&config))?;
    // With the runtime go the last users of the engine and the ledger; they end after what they were given.
    runtime.shutdown_timeout(Duration::from_secs(1));
    for _ in 0..WRITERS {
        if let Ok(Err(error)) = writers.recv_timeout(LAST_THREADS) {
            return Err(store_error(&error, &config.folder()?));
        }
    }
    outcome
}

type Served = (
    Result<ExitCode, CommandError>,
    mpsc::Receiver<Result<(), StoreError>>,
);

async fn serve(config: &Config) -> Result<Served, CommandError> {
    let tls = config.tls()?.map(|files| files.load()).transpose()?;
    let (tls, warnings) = tls.unzip();
    for warning in warnings.into_iter().flatten() {
        tracing::warn!("{warning}");
    }
    let (listener, address) = listen(config.address()?, "--listen").await?;
    let metrics = match config.metrics_address()? {
        Some(address) => Some(listen(address, "--metrics-listen").await?),
        None => None,
    };
    let shutdown = CancellationToken::new();
    let coordinator = Coordinator::open(config, shutdown.clone())?;
    let mut signals = Signals::new()?;
    let (writer_ended, writers) = watch(coordinator.writers)?;
    let network = &coordinator.services.network;
    terminal::note_line(format_args!(
        "chain {}, {} profile",
        hash_text(&network.chain_id),
        network.genesis.profile
    ));
    if let Some((listener, address)) = metrics {
        terminal::note_line(format_args!("metrics on http://{address}/metrics"));
        let served = prometheus::serve(listener, prometheus::Sources::of(&coordinator.services));
        tokio::spawn(served);
    }
    terminal::print_line(format_args!("listening on {address}"))?;
    let serving = coordinator.serving.run(coordinator.services, listener, tls);
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        served = &mut serving => return Ok((served.map(|()| ExitCode::SUCCESS), writers)),
        () = signals.next() => tracing::info!("stopping; once more stops at once"),
        () = writer_ended.cancelled() => tracing::error!("the engine or the ledger ended"),
    }
    shutdown.cancel();
    let outcome = tokio::select! {
        served = &mut serving => served.map(|()| ExitCode::SUCCESS),
        () = signals.next() => Ok(ExitCode::from(errors::ExitCode::Interrupted.number())),
    };
    Ok((outcome, writers))
}

/// Tells when the first of the writers' threads ends, and how each does.
fn watch(
    threads: [JoinHandle<Result<(), StoreError>>; WRITERS],
) -> Result<(CancellationToken, mpsc::Receiver<Result<(), StoreError>>), CommandError> {
    let ended = CancellationToken::new();
    let (send, receive) = mpsc::sync_channel(WRITERS);
    for thread in threads {
        let (send, token) = (send.clone(), ended.clone());
        let watching = std::thread::Builder::new()
            .name("writer-end".into())
            .spawn(move || {
                let outcome = thread
                    .join()
                    .unwrap_or_else(|_| Err(StoreError::Unavailable("a writer panicked".into())));
                // Nobody listens when the process is ending anyway.
                let _ = send.send(outcome);
                token.cancel();
            });
        watching.map_err(|error| {
            failed(
                "NO_THREADS",
                format!("no thread for the writers: {error}"),
                "raise the limit of processes (ulimit -u)",
            )
        })?;
    }
    Ok((ended, receive))
}

async fn listen(
    address: SocketAddr,
    option: &str,
) -> Result<(TcpListener, SocketAddr), CommandError> {
    let listener = TcpListener::bind(address).await.map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => format!("another program listens there, perhaps another coordinator; stop it, or take {option} 127.0.0.1:0"),
            io::ErrorKind::PermissionDenied => format!("ports below 1024 need privileges; take a higher one with {option}"),
            _ => format!("choose another address with {option}"),
        };
        failed("CANNOT_LISTEN", format!("cannot listen on {address}: {}", errors::plain_io_error(&error)), &hint)
    })?;
    let address = listener
        .local_addr()
        .map_err(|error| CommandError::file("read the listener's address", &error))?;
    Ok((listener, address))
}

/// SIGINT and SIGTERM.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> Result<Self, CommandError> {
        let listen =
            |kind| signal(kind).map_err(|error| CommandError::file("listen for signals", &error));
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

fn failed(reason: &str, message: String, hint: &str) -> CommandError {
    CommandError::new(errors::ExitCode::Failed, reason, message).with_hint(hint)
}
