//! The thread that writes the spool: what waits meanwhile shares one sync.

use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use super::Spool;
use crate::session::{AttemptKey, SpoolRecord};

/// Commands that may wait.
const WAITING: usize = 1024;
/// Records that share one sync, at most.
const GROUP: usize = 64;

enum Command {
    Store {
        record: Box<SpoolRecord>,
        done: oneshot::Sender<Result<(), String>>,
    },
    Forget(AttemptKey),
}

/// Writes a spool on a thread of its own. Dropping it waits for what was asked before.
#[derive(Debug)]
pub struct SpoolWriter {
    commands: Option<mpsc::Sender<Command>>,
    thread: Option<JoinHandle<()>>,
}

impl SpoolWriter {
    /// Starts the thread.
    pub fn start(spool: Spool) -> std::io::Result<Self> {
        let (commands, received) = mpsc::channel(WAITING);
        let thread = std::thread::Builder::new()
            .name("spool".to_owned())
            .spawn(move || work(spool, received))?;
        Ok(Self {
            commands: Some(commands),
            thread: Some(thread),
        })
    }

    /// Makes a record durable; the answer comes when it is, or says why not.
    pub async fn store(&self, record: Box<SpoolRecord>) -> oneshot::Receiver<Result<(), String>> {
        let (done, answer) = oneshot::channel();
        self.send(Command::Store { record, done }).await;
        answer
    }

    /// Deletes a record.
    pub async fn forget(&self, key: AttemptKey) {
        self.send(Command::Forget(key)).await;
    }

    async fn send(&self, command: Command) {
        if let Some(commands) = &self.commands {
            // The thread ends only after this sender is gone.
            let _ended = commands.send(command).await;
        }
    }
}

impl Drop for SpoolWriter {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

fn work(mut spool: Spool, mut received: mpsc::Receiver<Command>) {
    while let Some(first) = received.blocking_recv() {
        let mut group = vec![first];
        while group.len() < GROUP
            && let Ok(next) = received.try_recv()
        {
            group.push(next);
        }
        let mut records = Vec::new();
        let mut waiting = Vec::new();
        let mut forgotten = Vec::new();
        for command in group {
            match command {
                Command::Store { record, done } => {
                    records.push((record.key, record.encode()));
                    waiting.push(done);
                }
                Command::Forget(key) => forgotten.push(key),
            }
        }
        if !records.is_empty() {
            let stored = spool.store(&records).map_err(|error| error.to_string());
            for done in waiting {
                let _nobody_waits = done.send(stored.clone());
            }
        }
        for key in forgotten {
            spool.forget(key);
        }
    }
}
