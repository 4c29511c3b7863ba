//! The embedded engine as a child process: started, watched, started again, stopped.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;

use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::runtime::terminal::note_line;
use reqwest::Url;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::engine::ModelFile;

/// What the engine says first.
const READY: &str = "engine listening on ";
/// How long it may take to end once it was asked to.
const STOP_TIME: Duration = Duration::from_secs(6);
/// Pause before it is started again.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// What a child process sees of the environment.
const ENVIRONMENT: [&str; 7] = [
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "AITBC_LOG",
    "RUST_BACKTRACE",
];

/// A started engine. Waiting for a child closes its standard input, which would ask it to end: so it is kept apart.
struct Started {
    child: Child,
    input: Option<ChildStdin>,
    address: SocketAddr,
}

/// A running engine. It ends with this process, however that ends: it watches its standard input.
#[derive(Debug)]
pub struct EngineProcess {
    url: Url,
    stop: CancellationToken,
    supervisor: JoinHandle<()>,
}

impl EngineProcess {
    /// Starts it and waits until it takes requests.
    pub async fn start(
        models: &[ModelFile],
        slots: u32,
        context: Option<u32>,
        threads: Option<u16>,
    ) -> Result<Self, CommandError> {
        let mut arguments = Vec::new();
        for model in models {
            let mut value = std::ffi::OsString::from(format!("{}=", model.name));
            value.push(&model.path);
            arguments.extend(["--model".into(), value]);
        }
        arguments.extend(["--parallel".into(), slots.to_string().into()]);
        if let Some(context) = context {
            arguments.extend(["--context".into(), context.to_string().into()]);
        }
        if let Some(threads) = threads {
            arguments.extend(["--threads".into(), threads.to_string().into()]);
        }
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let started = spawn(&arguments, any_port).await?;
        let url = Url::parse(&format!("http://{}", started.address)).map_err(|_| {
            failed(format!(
                "the engine names an odd address: {}",
                started.address
            ))
        })?;
        let stop = CancellationToken::new();
        let supervisor = tokio::spawn(supervise(started, arguments, stop.clone()));
        Ok(Self {
            url,
            stop,
            supervisor,
        })
    }

    /// Where it listens. The address stays the same when it is started again.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Stops it and waits for its end.
    pub async fn stop(self) {
        self.stop.cancel();
        let _panicked = self.supervisor.await;
    }
}

async fn supervise(
    mut running: Started,
    arguments: Vec<std::ffi::OsString>,
    stop: CancellationToken,
) {
    let address = running.address;
    loop {
        tokio::select! {
            () = stop.cancelled() => return end(running).await,
            ended = running.child.wait() => {
                let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
                tracing::warn!("the engine ended ({how}); starting it again");
            }
        }
        running = loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(RESTART_PAUSE) => {}
            }
            match spawn(&arguments, address).await {
                Ok(started) => break started,
                Err(error) => tracing::warn!("the engine does not start: {error}"),
            }
        };
    }
}

/// Closing its standard input asks it to end.
async fn end(running: Started) {
    let Started {
        mut child, input, ..
    } = running;
    drop(input);
    if timeout(STOP_TIME, child.wait()).await.is_err() {
        let _ended_meanwhile = child.kill().await;
    }
}

async fn spawn(
    arguments: &[std::ffi::OsString],
    listen: SocketAddr,
) -> Result<Started, CommandError> {
    let program =
        std::env::current_exe().map_err(|error| CommandError::file("find this program", &error))?;
    let environment = ENVIRONMENT
        .into_iter()
        .filter_map(|name| Some((name, std::env::var_os(name)?)));
    let mut child = Command::new(program)
        .args([
            "engine",
            "--json",
            "--stop-with-parent",
            "--listen",
            &listen.to_string(),
        ])
        .args(arguments)
        .env_clear()
        .envs(environment)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Ctrl-C is for the miner, which lets running jobs finish first.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| CommandError::file("start the engine", &error))?;
    let input = child.stdin.take();
    let errors = child
        .stderr
        .take()
        .map(|stderr| tokio::spawn(forward(stderr)));
    let stdout = child
        .stdout
        .take()
        .ok_or_else(|| failed("the engine has no output".to_owned()))?;
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some(address) = line
            .strip_prefix(READY)
            .and_then(|url| url.strip_prefix("http://"))
        {
            let address = address
                .trim_end_matches('/')
                .parse()
                .map_err(|_| failed(format!("the engine says: {line}")))?;
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Ok(Started {
                child,
                input,
                address,
            });
        }
    }
    let status = child
        .wait()
        .await
        .map_or_else(|error| error.to_string(), |status| status.to_string());
    let said = match errors {
        Some(errors) => errors.await.ok().flatten(),
        None => None,
    };
    Err(said.unwrap_or_else(|| failed(format!("the engine ended before it was ready ({status})"))))
}

fn failed(message: String) -> CommandError {
    CommandError::new(ExitCode::Failed, "ENGINE_FAILED", message)
        .with_hint("see more with -vv; or install Ollama and use: aitbc miner mine-ollama")
}

#[derive(Deserialize)]
struct Said {
    error: SaidError,
}

#[derive(Deserialize)]
struct SaidError {
    reason: String,
    message: String,
    hint: Option<String>,
}

/// Passes on what the engine logs; the error that it ends with, if there is one.
async fn forward(stderr: impl AsyncRead + Unpin) -> Option<CommandError> {
    let mut said = None;
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        match serde_json::from_str::<Said>(&line) {
            Ok(Said { error }) => {
                let mut failure = CommandError::new(ExitCode::Failed, error.reason, error.message);
                failure.hint = error.hint;
                said = Some(failure);
            }
            Err(_) => note_line(line),
        }
    }
    said
}
