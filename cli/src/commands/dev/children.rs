//! Programs that run below `aitbc dev`: started in groups of their own, so that a terminal's Ctrl-C reaches only this
//! process, which then stops them in order.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use aitbc_common::runtime::errors::CommandError;
use aitbc_common::runtime::terminal::{note_line, print_line};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{self, Command};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::output::{clean, clean_err};
use crate::secrets::PASSWORD_VARIABLE;
use crate::siblings::find;

/// How long a child may take to finish its work.
const STOP_TIMEOUT: Duration = Duration::from_secs(40);
/// Lines that wait to be looked at for an address.
const WAITING_LINES: usize = 64;

/// Why a child is no longer of use.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// It ended.
    #[error("ended: {0}")]
    Ended(ExitStatus),
    /// It cannot be watched.
    #[error("cannot be watched: {0}")]
    Lost(#[from] std::io::Error),
    /// It never said where it listens.
    #[error("did not say where it listens within 60 s")]
    Silent,
}

/// A running program whose lines appear with its name before them.
#[derive(Debug)]
pub struct Child {
    name: &'static str,
    process: process::Child,
    lines: mpsc::Receiver<String>,
    readers: Vec<JoinHandle<()>>,
}

impl Child {
    /// Starts a program that is beside this one or on the PATH.
    pub fn start(
        name: &'static str,
        options: &[OsString],
        json: bool,
    ) -> Result<Self, CommandError> {
        let path = find(name)?;
        let mut process = Command::new(&path)
            .args(options)
            .env_remove(PASSWORD_VARIABLE)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                CommandError::file(format_args!("start {}", path.display()), &error)
            })?;
        let (sender, lines) = mpsc::channel(WAITING_LINES);
        let stdout = process.stdout.take().expect("stdout is piped");
        let stderr = process.stderr.take().expect("stderr is piped");
        let readers = vec![
            tokio::spawn(show(
                stdout,
                Stream {
                    name,
                    json,
                    is_stdout: true,
                },
                sender.clone(),
            )),
            tokio::spawn(show(
                stderr,
                Stream {
                    name,
                    json,
                    is_stdout: false,
                },
                sender,
            )),
        ];
        Ok(Self {
            name,
            process,
            lines,
            readers,
        })
    }

    /// The program's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Waits until it says where it listens.
    pub async fn listening(&mut self) -> Result<SocketAddr, ChildError> {
        while let Some(line) = self.lines.recv().await {
            if let Some(address) = address_in(&line) {
                return Ok(address);
            }
        }
        Err(ChildError::Ended(self.process.wait().await?))
    }

    /// Waits until it ends, and until all it said was shown.
    async fn end(&mut self) -> ChildError {
        let status = self.process.wait().await;
        // A reader that is done must not be waited for twice, should this wait be given up and started again.
        while let Some(reader) = self.readers.last_mut() {
            let _ended_with_its_pipe = reader.await;
            self.readers.pop();
        }
        match status {
            Ok(status) => ChildError::Ended(status),
            Err(error) => ChildError::Lost(error),
        }
    }

    /// Asks it to finish and waits; ends it when it takes too long.
    pub async fn stop(&mut self) {
        if let Some(pid) = self.process.id().and_then(|pid| i32::try_from(pid).ok()) {
            let _already_ended = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        if tokio::time::timeout(STOP_TIMEOUT, self.end())
            .await
            .is_err()
        {
            note_line(format_args!(
                "{} did not stop within {} s",
                self.name,
                STOP_TIMEOUT.as_secs()
            ));
            self.kill().await;
        }
    }

    /// Ends it at once.
    pub async fn kill(&mut self) {
        let _already_ended = self.process.kill().await;
    }
}

/// Waits until one of them ends: its name and how.
pub async fn first_to_end(children: &mut [Child]) -> (&'static str, ChildError) {
    let ends = children.iter_mut().map(|child| {
        Box::pin(async {
            let error = child.end().await;
            (child.name, error)
        })
    });
    futures_util::future::select_all(ends).await.0
}

#[derive(Debug, Clone, Copy)]
struct Stream {
    name: &'static str,
    json: bool,
    is_stdout: bool,
}

async fn show(pipe: impl AsyncRead + Unpin, stream: Stream, lines: mpsc::Sender<String>) {
    let mut reader = BufReader::new(pipe).lines();
    while let Ok(Some(line)) = reader.next_line().await {
        // Nobody looks at lines once the address is known; then the channel is full, and that is fine.
        let _not_needed = lines.try_send(line.clone());
        let name = stream.name.trim_start_matches("aitbc-");
        if stream.json {
            let stream_name = if stream.is_stdout { "stdout" } else { "stderr" };
            let _nobody_reads = print_line(
                json!({"event": "output", "program": name, "stream": stream_name, "line": line}),
            );
        } else if stream.is_stdout {
            let _nobody_reads = print_line(format_args!("{name:<11} | {}", clean(&line)));
        } else {
            note_line(format_args!("{name:<11} | {}", clean_err(&line)));
        }
    }
}

/// The first `ADDRESS:PORT` in a line; port 0 is a wish, not an address.
fn address_in(line: &str) -> Option<SocketAddr> {
    let words = line.split(|c: char| c.is_whitespace() || matches!(c, ',' | '"' | '(' | ')' | '='));
    words.into_iter().find_map(|word| {
        let word = word.split_once("://").map_or(word, |(_, rest)| rest);
        let address: SocketAddr = word.trim_end_matches(['.', ';', '/', '}']).parse().ok()?;
        (address.port() != 0).then_some(address)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_what_a_program_says() {
        for (line, found) in [
            ("listening on 127.0.0.1:50051", Some("127.0.0.1:50051")),
            (
                "aitbc-coordinator: http://127.0.0.1:1, chain x",
                Some("127.0.0.1:1"),
            ),
            (
                r#"{"event":"listening","address":"[::1]:7"}"#,
                Some("[::1]:7"),
            ),
            (r#"{"address": "[::1]:7"}"#, Some("[::1]:7")),
            ("10:00:00.000 nothing here", None),
            ("--listen 127.0.0.1:0", None),
        ] {
            assert_eq!(
                address_in(line),
                found.map(|a| a.parse().unwrap()),
                "{line}"
            );
        }
    }
}
