//! What every tool is.

use futures_util::future::BoxFuture;
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;
use thiserror::Error;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Labels;

/// How long a call may take, unless its tool says otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Something that a model may call between its steps.
pub trait Tool: Send + Sync {
    /// The name that the agent's definition and the model use.
    fn name(&self) -> &str;
    /// What it does, for the model.
    fn description(&self) -> &str;
    /// The JSON Schema of its arguments, an object.
    fn parameters(&self) -> &Value;
    /// What it can do to an execution.
    fn labels(&self) -> Labels;
    /// How long one call may take.
    fn timeout(&self) -> Duration {
        DEFAULT_TIMEOUT
    }
    /// Runs it with arguments that fit [`Tool::parameters`]. It ends soon after `stop` says so; who calls stops waiting
    /// by then in any case.
    fn call<'a>(
        &'a self,
        arguments: &'a Value,
        stop: Stop,
    ) -> BoxFuture<'a, Result<String, ToolError>>;
}

/// Why a call gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ToolError {
    /// The arguments or the data do not fit; the text tells the model what to change.
    #[error("{0}")]
    Failed(String),
    /// It took too long.
    #[error("the call took longer than {} s", .0.as_secs())]
    Timeout(Duration),
    /// The execution was cancelled.
    #[error("the execution was cancelled")]
    Cancelled,
}

impl ToolError {
    /// An error that the model can act on.
    pub fn failed(text: impl Into<String>) -> Self {
        Self::Failed(text.into())
    }
}

/// When a call has to end.
#[derive(Debug, Clone)]
pub struct Stop {
    timeout: Duration,
    deadline: Instant,
    cancel: CancellationToken,
}

impl Stop {
    /// Ends after `timeout` from now, or when `cancel` is cancelled.
    pub fn after(timeout: Duration, cancel: CancellationToken) -> Self {
        Self {
            timeout,
            deadline: Instant::now() + timeout,
            cancel,
        }
    }

    /// An error once the call has to end. Costs little, but is not for every byte.
    pub fn check(&self) -> Result<(), ToolError> {
        if self.cancel.is_cancelled() {
            return Err(ToolError::Cancelled);
        }
        if Instant::now() >= self.deadline {
            return Err(ToolError::Timeout(self.timeout));
        }
        Ok(())
    }

    /// Waits until the call has to end.
    pub async fn reached(&self) -> ToolError {
        tokio::select! {
            () = self.cancel.cancelled() => ToolError::Cancelled,
            () = tokio::time::sleep_until(self.deadline) => ToolError::Timeout(self.timeout),
        }
    }
}

/// A file of the agent, on this machine's disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachedFile {
    /// Its name as the agent's definition gives it, without folders.
    pub name: String,
    /// Where its bytes are; nothing writes there while the execution runs.
    pub path: PathBuf,
}
