//! What goes wrong between a job and a model, and whose fault it is.

use std::time::Duration;

use thiserror::Error;

use super::RunResult;

/// Why a run failed.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum RunError {
    /// Nobody answers, or the server is too busy to.
    #[error("the model server does not answer: {detail}")]
    ServerAway {
        /// What was seen.
        detail: String,
    },
    /// The server lacks the model.
    #[error("the model server has no model {model}")]
    ModelMissing {
        /// Its canonical name.
        model: String,
    },
    /// The model does not fit into memory.
    #[error("out of memory: {detail}")]
    OutOfMemory {
        /// What the server said.
        detail: String,
    },
    /// The job asks for what this model cannot do.
    #[error("the model server refused the job: {detail}")]
    Refused {
        /// What the server said.
        detail: String,
    },
    /// The server failed for a reason of its own.
    #[error("the model server failed: {detail}")]
    ServerFailed {
        /// What the server said.
        detail: String,
    },
    /// The answer broke off.
    #[error("the answer of the model server broke off: {detail}")]
    StreamCut {
        /// What was seen.
        detail: String,
    },
    /// No token came for too long.
    #[error("the model stalled: no token for {} s", waited.as_secs_f64())]
    Stall {
        /// How long was waited.
        waited: Duration,
        /// Whether the first token was awaited.
        first_token: bool,
    },
    /// The server says what no model server says.
    #[error("the model server answers garbage: {detail}")]
    Garbage {
        /// What was seen.
        detail: String,
    },
    /// The prompt does not fit.
    #[error("context exceeded: {}{} of {} tokens", if *estimated { "about " } else { "" }, thousands(*needed), thousands(*available))]
    ContextExceeded {
        /// Tokens of the prompt.
        needed: u32,
        /// Tokens that fit.
        available: u32,
        /// Whether `needed` is an estimate: not every server says how many there were.
        estimated: bool,
    },
    /// The run was cancelled; what was produced until then.
    #[error("the run was cancelled")]
    Cancelled(Box<RunResult>),
}

impl RunError {
    /// The reason in UPPER_SNAKE, for logs and the network.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::ServerAway { .. } => "MODEL_SERVER_AWAY",
            Self::ModelMissing { .. } => "MODEL_MISSING",
            Self::OutOfMemory { .. } => "OUT_OF_MEMORY",
            Self::Refused { .. } => "REQUEST_REFUSED",
            Self::ServerFailed { .. } => "MODEL_SERVER_FAILED",
            Self::StreamCut { .. } => "STREAM_CUT",
            Self::Stall { .. } => "STALL",
            Self::Garbage { .. } => "GARBAGE",
            Self::ContextExceeded { .. } => "CONTEXT_EXCEEDED",
            Self::Cancelled(_) => "CANCELLED",
        }
    }

    /// Whether the job itself is at fault: another miner with the same model would fail as well.
    pub fn is_jobs_fault(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::ContextExceeded { .. })
    }

    /// Whether another attempt elsewhere may succeed.
    pub fn is_retryable(&self) -> bool {
        !self.is_jobs_fault() && !matches!(self, Self::Cancelled(_))
    }

    /// Whether the miner should take no job until its server answers again.
    pub fn closes_slots(&self) -> bool {
        matches!(self, Self::ServerAway { .. })
    }

    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::ServerAway { .. } => {
                "start it (`ollama serve`), or name its address with --ollama-url".to_owned()
            }
            Self::ModelMissing { model } => format!(
                "ollama pull {}",
                model.strip_suffix(":latest").unwrap_or(model)
            ),
            Self::OutOfMemory { .. } => {
                "offer a smaller model, fewer slots or a shorter context".to_owned()
            }
            Self::Refused { .. } => "change the job's input, or ask another model".to_owned(),
            Self::ServerFailed { .. } | Self::StreamCut { .. } => {
                "the log of the model server says more".to_owned()
            }
            Self::Stall { .. } => {
                "the machine may be too slow or out of memory for this model".to_owned()
            }
            Self::Garbage { .. } => "check that the address is that of an Ollama server".to_owned(),
            Self::ContextExceeded { .. } => {
                "shorten the prompt, or ask a model with a longer context".to_owned()
            }
            Self::Cancelled(_) => "submit the job again".to_owned(),
        }
    }

    /// Classifies what a server answered instead of a result. `streaming`: in the middle of an answer.
    pub(super) fn from_answer(status: u16, message: &str, model: &str, streaming: bool) -> Self {
        let detail = shortened(message);
        let lower = detail.to_lowercase();
        let says = |parts: &[&str]| parts.iter().any(|part| lower.contains(part));
        if let Some((needed, available)) = stated_context(&lower) {
            return Self::ContextExceeded {
                needed,
                available,
                estimated: false,
            };
        }
        // Old and new wordings of one error; a chat with a model that is not there is told that one is required.
        let missing = says(&["not found", "try pulling"]) && says(&["model"]);
        if missing && (status == 404 || streaming) || status == 400 && lower == "model is required"
        {
            return Self::ModelMissing {
                model: model.to_owned(),
            };
        }
        if says(&[
            "out of memory",
            "system memory",
            "cudamalloc failed",
            "insufficient memory",
            "not enough memory",
            "failed to allocate",
            "unable to allocate",
        ]) {
            return Self::OutOfMemory { detail };
        }
        let refused = says(&[
            "does not support",
            "invalid format",
            "json schema",
            "must be of type",
            "failed to process inputs",
            "grammar",
            "invalid image",
            "unknown image",
        ]);
        if refused || matches!(status, 400 | 413 | 422) && !streaming {
            return Self::Refused { detail };
        }
        if status == 503 {
            return Self::ServerAway { detail };
        }
        if streaming {
            Self::StreamCut { detail }
        } else {
            Self::ServerFailed {
                detail: format!("{detail} (HTTP {status})"),
            }
        }
    }

    /// Classifies a failure below HTTP. `answering`: the server had begun to answer.
    pub(super) fn from_transport(error: &reqwest::Error, answering: bool) -> Self {
        let detail = shortened(&root_cause(error));
        if answering {
            Self::StreamCut { detail }
        } else {
            Self::ServerAway { detail }
        }
    }
}

/// Whether a server says that the prompt is too long, without saying how long it is.
pub(super) fn is_input_too_long(message: &str) -> bool {
    let lower = message.to_lowercase();
    [
        "exceeds the context length",
        "exceeds maximum context length",
        "exceeds the available context",
    ]
    .iter()
    .any(|part| lower.contains(part))
}

/// Reads `context exceeded: 9120 of 8192 tokens`.
fn stated_context(lower: &str) -> Option<(u32, u32)> {
    let numbers = lower.split_once("context exceeded: ")?.1;
    let (needed, rest) = numbers.split_once(" of ")?;
    let available = rest.split_once(" tokens")?.0;
    let number = |text: &str| text.replace(',', "").parse().ok();
    Some((number(needed)?, number(available)?))
}

/// The innermost cause says what happened; the outer ones repeat the address.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// One line of at most 300 characters, without control characters.
pub(super) fn shortened(text: &str) -> String {
    let line: String = text
        .trim()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let mut short: String = line.chars().take(300).collect();
    if short.len() < line.len() {
        short.push('…');
    }
    short
}

fn thousands(number: u32) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_classified() {
        let reason = |status, message| {
            RunError::from_answer(status, message, "llama3:latest", false).reason()
        };
        for (status, message, expected) in [
            (404, "model 'llama3' not found", "MODEL_MISSING"),
            (
                404,
                "model \"llama3\" not found, try pulling it first",
                "MODEL_MISSING",
            ),
            (400, "model is required", "MODEL_MISSING"),
            (404, "404 page not found", "MODEL_SERVER_FAILED"),
            (
                500,
                "model requires more system memory (5.6 GiB) than is available (1.2 GiB)",
                "OUT_OF_MEMORY",
            ),
            (
                500,
                "llama runner process has terminated: cudaMalloc failed: out of memory",
                "OUT_OF_MEMORY",
            ),
            (
                400,
                "\"smollm2\" does not support thinking",
                "REQUEST_REFUSED",
            ),
            (500, "invalid JSON schema in format", "REQUEST_REFUSED"),
            (
                500,
                "option \"seed\" must be of type integer",
                "REQUEST_REFUSED",
            ),
            (
                400,
                "context exceeded: 9120 of 8192 tokens",
                "CONTEXT_EXCEEDED",
            ),
            (
                503,
                "server busy, please try again.  maximum pending requests exceeded",
                "MODEL_SERVER_AWAY",
            ),
            (500, "something odd", "MODEL_SERVER_FAILED"),
        ] {
            assert_eq!(reason(status, message), expected, "{message}");
        }
    }

    #[test]
    fn a_missing_model_names_the_command() {
        let error = RunError::ModelMissing {
            model: "llama3:latest".to_owned(),
        };
        assert_eq!(error.hint(), "ollama pull llama3");
        assert!(error.is_retryable() && !error.is_jobs_fault());
    }

    #[test]
    fn numbers_are_grouped() {
        let error = RunError::ContextExceeded {
            needed: 9120,
            available: 8192,
            estimated: false,
        };
        assert_eq!(error.to_string(), "context exceeded: 9,120 of 8,192 tokens");
        assert!(error.is_jobs_fault() && !error.is_retryable());
        let about = RunError::ContextExceeded {
            needed: 1_234_567,
            available: 512,
            estimated: true,
        };
        assert_eq!(
            about.to_string(),
            "context exceeded: about 1,234,567 of 512 tokens"
        );
    }

    #[test]
    fn messages_of_servers_are_cut_and_cleaned() {
        assert_eq!(shortened(" a\u{1b}[31mb\nc "), "a [31mb c");
        assert_eq!(shortened(&"é".repeat(1000)).chars().count(), 301);
    }
}
