//! Ctrl-C and SIGTERM: the first asks to finish what runs, the second ends at once.

use std::time::Duration;

use aitbc_common::runtime::errors::CommandError;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::server::interrupted;

/// Signals that come closer together are one request: `timeout` and some terminals send two at once.
const ONE_REQUEST: Duration = Duration::from_millis(200);

/// Both signals.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Listens from now on.
    pub fn listen() -> Result<Self, CommandError> {
        let listen =
            |kind| signal(kind).map_err(|error| CommandError::file("listen for signals", &error));
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// The next one.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Runs something that ends soon after `stop` is cancelled, which the first signal does; a second one gives it up.
    pub async fn guard<T>(
        &mut self,
        stop: &CancellationToken,
        work: impl Future<Output = Result<T, CommandError>>,
    ) -> Result<T, CommandError> {
        let mut work = std::pin::pin!(work);
        tokio::select! {
            done = &mut work => return done,
            () = self.next() => stop.cancel(),
        }
        let again = async {
            loop {
                let first = tokio::time::Instant::now();
                self.next().await;
                if first.elapsed() >= ONE_REQUEST {
                    return;
                }
            }
        };
        tokio::select! {
            done = work => done,
            () = again => Err(interrupted()),
        }
    }
}
