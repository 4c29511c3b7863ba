//! What an execution puts out: one event a line, as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

/// Most bytes of one event's line, with its newline: 64 KiB.
pub const MAX_EVENT_BYTES: usize = 64 << 10;

/// Actions without an observation at a time, at most.
const MAX_OPEN_ACTIONS: usize = 16;

/// Stands at the end of a text that was cut to fit its line.
const CUT: &str = " … (cut)";

/// One line of an execution's output. `seq` counts the events of an execution from 1 without gaps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// What the model said beside a tool call.
    Thought {
        /// Which event of the execution it is.
        seq: u64,
        /// What it said.
        text: String,
    },
    /// The model calls a tool.
    Action {
        /// Which event of the execution it is.
        seq: u64,
        /// The model's step that decided it, from 1.
        step: u32,
        /// The tool.
        tool: String,
        /// Its arguments.
        arguments: Value,
    },
    /// What a tool answered.
    Observation {
        /// Which event of the execution it is.
        seq: u64,
        /// `seq` of the action that it answers.
        action: u64,
        /// The tool.
        tool: String,
        /// Whether it did what it was asked.
        ok: bool,
        /// What it answered, or why it did not.
        output: String,
        /// Whether the answer was longer and was cut.
        truncated: bool,
        /// The miner died while the tool ran: it is not run again, and what it did is not known.
        interrupted: bool,
        /// How long it ran, in milliseconds.
        elapsed_ms: u64,
    },
    /// What a step of the model consumed.
    Usage {
        /// Which event of the execution it is.
        seq: u64,
        /// The step, from 1.
        step: u32,
        /// Tokens that the model read.
        tokens_in: u64,
        /// Tokens that the model wrote.
        tokens_out: u64,
    },
    /// The end of an execution.
    Answer {
        /// Which event of the execution it is.
        seq: u64,
        /// The answer, or what there is of it where a limit ended the execution.
        text: String,
        /// Why it ended.
        end: End,
    },
}

/// Why an execution ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The model answered.
    Answered,
    /// It had all steps that its limits allow.
    StepLimit,
    /// It had all the time that its limits allow.
    TimeLimit,
    /// It had all tokens that its limits allow.
    TokenLimit,
    /// It spent what its limits or the job's locks allow.
    SpendLimit,
    /// The model twice gave no valid step.
    Malformed,
    /// What must be kept does not fit into the model's context.
    ContextFull,
}

/// Why bytes are not the output of an execution, or an event is not a line of it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EventError {
    /// Longer than [`MAX_EVENT_BYTES`].
    #[error("line {line} has more than {MAX_EVENT_BYTES} bytes")]
    TooLong {
        /// Which line, from 1.
        line: u64,
    },
    /// No event.
    #[error("line {line} is no event: {problem}")]
    NoEvent {
        /// Which line, from 1.
        line: u64,
        /// What the JSON parser says.
        problem: String,
    },
    /// An event that does not follow from those before it.
    #[error("line {line} is out of order: {problem}")]
    Order {
        /// Which line, from 1.
        line: u64,
        /// What is wrong.
        problem: &'static str,
    },
}

impl Event {
    /// Which event of the execution it is, from 1.
    #[must_use]
    pub fn seq(&self) -> u64 {
        match self {
            Self::Thought { seq, .. }
            | Self::Action { seq, .. }
            | Self::Observation { seq, .. }
            | Self::Usage { seq, .. }
            | Self::Answer { seq, .. } => *seq,
        }
    }

    /// Its line: compact JSON and a newline, at most [`MAX_EVENT_BYTES`].
    pub fn to_line(&self) -> Result<Vec<u8>, EventError> {
        let mut line = serde_json::to_vec(self).expect("texts and numbers always serialize");
        line.push(b'\n');
        if line.len() > MAX_EVENT_BYTES {
            return Err(EventError::TooLong { line: self.seq() });
        }
        Ok(line)
    }

    /// The same event, its text cut at its end where its line would be longer than [`MAX_EVENT_BYTES`]: an observation says
    /// so with `truncated`, other texts end with ` … (cut)`. The arguments of an action are never cut.
    #[must_use]
    pub fn fitted(mut self) -> Self {
        let over = match self.to_line() {
            Ok(_) => return self,
            Err(_) => serde_json::to_vec(&self).map_or(0, |line| line.len() + 1 - MAX_EVENT_BYTES),
        };
        match &mut self {
            Self::Thought { text, .. } | Self::Answer { text, .. } => {
                cut(text, over + CUT.len());
                text.push_str(CUT);
            }
            Self::Observation {
                output, truncated, ..
            } => {
                cut(output, over);
                *truncated = true;
            }
            Self::Action { .. } | Self::Usage { .. } => {}
        }
        self
    }

    /// Reads one line, with or without its newline; `line` counts from 1, for the error.
    pub fn read_line(line: u64, bytes: &[u8]) -> Result<Self, EventError> {
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        if bytes.len() >= MAX_EVENT_BYTES {
            return Err(EventError::TooLong { line });
        }
        serde_json::from_slice(bytes).map_err(|error| EventError::NoEvent {
            line,
            problem: error.to_string(),
        })
    }

    /// Reads the whole lines of an execution's output from its beginning, and says how many bytes they have. A last line
    /// without its newline is left out: whoever wrote it died in it.
    ///
    /// Refused are lines that are no events or too long, gaps in `seq`, an observation whose action is missing, answered
    /// already or of another tool, and anything after an answer.
    pub fn read(bytes: &[u8]) -> Result<(Vec<Self>, usize), EventError> {
        let mut events = Vec::new();
        let mut order = Order::default();
        let mut whole = 0;
        for (line, text) in (1_u64..).zip(bytes.split_inclusive(|byte| *byte == b'\n')) {
            if !text.ends_with(b"\n") {
                if text.len() >= MAX_EVENT_BYTES {
                    return Err(EventError::TooLong { line });
                }
                break;
            }
            let event = Self::read_line(line, text)?;
            order
                .take(&event)
                .map_err(|problem| EventError::Order { line, problem })?;
            events.push(event);
            whole += text.len();
        }
        Ok((events, whole))
    }
}

/// What the events so far allow as the next one.
#[derive(Default)]
struct Order {
    last_seq: u64,
    answered: bool,
    open: BTreeMap<u64, String>,
}

impl Order {
    fn take(&mut self, event: &Event) -> Result<(), &'static str> {
        if self.answered {
            return Err("nothing follows an answer");
        }
        if event.seq() != self.last_seq + 1 {
            return Err("seq does not count on");
        }
        self.last_seq += 1;
        match event {
            Event::Action { .. } if self.open.len() >= MAX_OPEN_ACTIONS => {
                return Err("too many actions are open");
            }
            Event::Action { seq, tool, .. } => {
                self.open.insert(*seq, tool.clone());
            }
            Event::Observation { action, tool, .. } => {
                if self.open.remove(action).as_ref() != Some(tool) {
                    return Err("it answers no open action of that tool");
                }
            }
            Event::Answer { .. } => self.answered = true,
            Event::Thought { .. } | Event::Usage { .. } => {}
        }
        Ok(())
    }
}

/// Takes at least `bytes` bytes of JSON off the end of a text, as few characters as that needs.
fn cut(text: &mut String, bytes: usize) {
    let mut taken = 0;
    while taken < bytes {
        let Some(last) = text.pop() else { return };
        taken += json_bytes(last);
    }
}

/// Bytes of a character within a JSON text.
fn json_bytes(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        _ => c.len_utf8(),
    }
}
