//! The port to a local model server, and its adapter for servers that speak Ollama's API (Ollama itself, and the embedded
//! engine).

mod document;
mod error;
mod estimate;
mod lines;
mod measure;
mod ollama;
mod server_url;

use std::future::Future;
use std::time::Duration;

use aitbc_common::job_input::JobInput;
use aitbc_common::limits::OUTPUT_BYTES;
use bytes::Bytes;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use document::result_document;
pub use error::RunError;
pub use measure::Speeds;
pub use ollama::{OllamaClient, PullProgress};
pub use server_url::{DEFAULT_SERVER_URL, ServerUrlError, server_url};

/// Most bytes of a job's output, 16 MiB: beyond it the run ends with finish reason `length`.
pub const MAX_OUTPUT_BYTES: usize = OUTPUT_BYTES as usize;

/// The context that is announced for a model when nobody says otherwise, in tokens: a server reserves memory for all of it.
pub const DEFAULT_CONTEXT_TOKENS: u32 = 8192;

/// How long a run may be silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// To connect, and for questions that a server answers at once. 5 s by default.
    pub connect: Duration,
    /// Until the first token: the model may have to be loaded. 10 minutes by default.
    pub first_token: Duration,
    /// Between two tokens. 60 s by default.
    pub next_token: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            first_token: Duration::from_secs(600),
            next_token: Duration::from_secs(60),
        }
    }
}

/// A model that a server has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalModel {
    /// Canonical name, with its tag.
    pub name: String,
    /// What the server calls the content of the model.
    pub digest: [u8; 32],
    /// The longest context that the model was made for, in tokens; 0 where the server does not say.
    pub max_context_tokens: u32,
    /// The context that the model's own configuration sets (`PARAMETER num_ctx`), in tokens.
    pub configured_context_tokens: Option<u32>,
    /// What it can do, as `completion`, `embedding`, `tools`, `vision`, `thinking`.
    pub capabilities: Vec<String>,
    /// Bytes on disk.
    pub size_bytes: u64,
}

impl LocalModel {
    /// The context to announce in tokens: what the operator sets, else what the model's configuration sets, else
    /// [`DEFAULT_CONTEXT_TOKENS`]; never more than the model was made for.
    pub fn context_tokens(&self, operator: Option<u32>) -> u32 {
        let wanted = operator
            .or(self.configured_context_tokens)
            .unwrap_or(DEFAULT_CONTEXT_TOKENS)
            .max(1);
        if self.max_context_tokens == 0 {
            wanted
        } else {
            wanted.min(self.max_context_tokens)
        }
    }

    /// Whether it has this capability. A server that lists none is believed to complete texts.
    pub fn can(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|has| has == capability)
            || (self.capabilities.is_empty() && capability == "completion")
    }
}

/// One job for a model.
#[derive(Debug, Clone)]
pub struct RunRequest {
    /// Canonical name of the model.
    pub model: String,
    /// The checked input.
    pub input: JobInput,
    /// The context that was announced for the model, in tokens. It is always used in full: a server would load the model
    /// again for another size.
    pub context_tokens: u32,
    /// Most bytes of the output, normally [`MAX_OUTPUT_BYTES`].
    pub output_limit: usize,
}

/// What happens during a run, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunEvent {
    /// More of the output, never empty.
    Text {
        /// The next bytes of the output, in UTF-8.
        bytes: Bytes,
        /// Tokens generated so far, thinking included.
        output_tokens: u32,
    },
    /// The model generates something that is not output: thoughts or tool calls.
    Progress {
        /// Tokens generated so far, thinking included.
        output_tokens: u32,
    },
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// The model was done, or met a stop text.
    Stop,
    /// A limit was met: of tokens, of the context, or of the output.
    Length,
    /// The model asks for tool calls.
    ToolCalls,
    /// The job's budget was spent.
    Budget,
    /// The job was cancelled.
    Cancelled,
    /// The job's deadline passed.
    Deadline,
}

/// What a run produced.
#[derive(Debug, Clone, PartialEq)]
pub struct RunResult {
    /// The output; empty for an embedding job.
    pub content: String,
    /// What a thinking model thought first.
    pub thinking: String,
    /// Tools that the model wants called.
    pub tool_calls: Vec<Value>,
    /// One vector a text, for an embedding job.
    pub embeddings: Option<Vec<Vec<f32>>>,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// Tokens of the prompt, as the server counted them.
    pub tokens_in: u32,
    /// Tokens generated, thinking included.
    pub tokens_out: u32,
    /// Time to read the prompt. Zero where the run ended before the server said so.
    pub prompt_eval_duration: Duration,
    /// Time to generate.
    pub eval_duration: Duration,
    /// Time to load the model; not billed.
    pub load_duration: Duration,
}

impl RunResult {
    /// The billed time: reading the prompt and generating.
    pub fn work_duration(&self) -> Duration {
        self.prompt_eval_duration.saturating_add(self.eval_duration)
    }
}

/// A local model server.
pub trait Runner: Send + Sync + 'static {
    /// Its version, as `0.17.4`.
    fn version(&self) -> impl Future<Output = Result<String, RunError>> + Send;

    /// The models that it has here; models that it would forward to another machine are left out.
    fn models(&self) -> impl Future<Output = Result<Vec<LocalModel>, RunError>> + Send;

    /// Runs one job. `cancel`, or a receiver of `events` that is dropped, reaches the model and ends the run with
    /// [`RunError::Cancelled`].
    fn run(
        &self,
        request: RunRequest,
        cancel: CancellationToken,
        events: mpsc::Sender<RunEvent>,
    ) -> impl Future<Output = Result<RunResult, RunError>> + Send;
}

#[cfg(test)]
mod faults;
