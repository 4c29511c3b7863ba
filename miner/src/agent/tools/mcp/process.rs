//! A server that is a child process: its streams bounded, its environment its own, its end certain.

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::io;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader, ReadBuf};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

use super::super::output::excerpt;
use super::ServerConfig;

/// Most bytes that a server may send for one call, or between two.
const MAX_BYTES: u64 = 8 << 20;
/// Most lines of a server's standard error in the miner's log, from its start on.
const MAX_LOG_LINES: usize = 100;
/// Most bytes of one of them.
const MAX_LOG_BYTES: usize = 500;

/// How much a server may still send.
#[derive(Debug, Clone)]
pub(super) struct Allowance(Arc<AtomicU64>);

impl Allowance {
    pub fn new() -> Self {
        Self(Arc::new(AtomicU64::new(MAX_BYTES)))
    }

    pub fn renew(&self) {
        self.0.store(MAX_BYTES, Ordering::Relaxed);
    }
}

/// A stream that fails once more came than is allowed.
pub(super) struct Bounded<R> {
    inner: R,
    allowance: Allowance,
}

impl<R: AsyncRead + Unpin> AsyncRead for Bounded<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(context, buffer);
        let came = (buffer.filled().len() - before) as u64;
        let left = self.allowance.0.load(Ordering::Relaxed);
        if came > left {
            return Poll::Ready(Err(io::Error::other("the server floods the miner")));
        }
        self.allowance.0.fetch_sub(came, Ordering::Relaxed);
        polled
    }
}

/// A child that is killed, with all its children, at the latest when this is dropped.
pub(super) struct Process {
    child: Child,
    group: Option<Pid>,
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            // It fails where all of them have ended.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

impl Process {
    /// Starts a server's program. Its standard error goes to the log, the beginning of it.
    pub fn start(
        name: &str,
        command: &str,
        config: &ServerConfig,
        allowance: Allowance,
    ) -> io::Result<(Self, Bounded<ChildStdout>, ChildStdin)> {
        let mut child = Command::new(command)
            .args(&config.args)
            .env_clear()
            .envs(&config.env)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let missing = || io::Error::other("a stream of the child is missing");
        let group = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .map(Pid::from_raw);
        let input = child.stdin.take().ok_or_else(missing)?;
        let inner = child.stdout.take().ok_or_else(missing)?;
        let errors = child.stderr.take().ok_or_else(missing)?;
        tokio::spawn(log(name.to_owned(), errors));
        Ok((Self { child, group }, Bounded { inner, allowance }, input))
    }

    /// Waits for its end.
    pub async fn ended(&mut self) {
        let _ = self.child.wait().await;
    }
}

async fn log(server: String, errors: ChildStderr) {
    let mut reader = BufReader::new(errors);
    let mut line = Vec::new();
    for _ in 0..MAX_LOG_LINES {
        line.clear();
        let read = (&mut reader)
            .take(8 * MAX_LOG_BYTES as u64)
            .read_until(b'\n', &mut line)
            .await;
        if !matches!(read, Ok(1..)) {
            return;
        }
        let text = String::from_utf8_lossy(&line);
        let text = excerpt(text.trim_end(), MAX_LOG_BYTES);
        tracing::info!(%server, "the MCP server says: {}", text.escape_debug());
    }
    tracing::info!(%server, "what the MCP server says further is not logged");
    let _ = tokio::io::copy(&mut reader, &mut tokio::io::sink()).await;
}
