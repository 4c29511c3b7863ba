//! Ctrl-C and SIGTERM of commands that end in their own way.

use std::future::poll_fn;
use std::task::Poll;

use aitbc_common::runtime::errors::{CommandError, ExitCode};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How a command ends that a signal cut short.
pub fn interrupted(message: impl Into<String>) -> CommandError {
    CommandError::new(ExitCode::Interrupted, "INTERRUPTED", message)
}

/// Hears the signals from the moment it is made, so that one that comes before anybody waits is not lost.
#[derive(Debug)]
pub struct Interrupt {
    signals: Vec<Signal>,
    /// It cancels the job that is followed; else that goes on.
    pub cancels: bool,
}

impl Interrupt {
    /// From now on the signals no longer end the process.
    pub fn listen(cancels: bool) -> Self {
        // One that cannot be listened to ends the process as it always does.
        let signals = [SignalKind::interrupt(), SignalKind::terminate()]
            .into_iter()
            .filter_map(|kind| signal(kind).ok())
            .collect();
        Self { signals, cancels }
    }

    /// Waits for the first of them.
    pub async fn received(&mut self) {
        poll_fn(|context| {
            let heard = |signal: &mut Signal| signal.poll_recv(context).is_ready();
            if self.signals.iter_mut().any(heard) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}
