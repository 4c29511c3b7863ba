//! The loop of an execution, without clock, I/O or randomness: what the model and the tools answered goes in, what to do
//! next and the execution's events come out.
//!
//! All that decides the next step is derived from the events alone, so that a miner that takes over goes on from the stored
//! events exactly as the former one would have. Two things are not in them: the words of a step that was not valid, and how
//! far the estimate of the context was off; a miner that takes over does without them.

mod context;
mod conversation;
mod format;
mod messages;
mod progress;
#[cfg(test)]
mod property;
mod steps;
#[cfg(test)]
mod tests;
mod types;

use std::collections::VecDeque;

use aitbc_common::agents::{End, Event, MAX_EVENT_BYTES};
use aitbc_common::limits::OUTPUT_BYTES;
use aitbc_common::nearest::nearest;
use serde_json::{Value, json};

use context::Fit;
use conversation::Conversation;
use progress::Progress;
use steps::{Reading, ToolCall};
pub use types::{ChatReply, ChatRequest, Next, Setup, ToolOutcome, ToolSpec};

/// The same call with the same arguments is made this often in a row; further ones are answered without being run.
const CALLS_IN_A_ROW: usize = 2;
/// A model that made the same call so often in a row, whatever it was told, must answer without tools.
const STUCK_CALLS: usize = 4;
/// A request that the server finds too long is made shorter this often, then the execution ends.
const CONTEXT_TRIES: u32 = 4;
/// Room in the output for what one decision can add: a thought or an action, an observation, usage, the answer.
const ROOM_BYTES: u64 = 4 * MAX_EVENT_BYTES as u64;
/// A step may write this many tokens, however little the limit leaves: fewer hold no valid step.
const LEAST_OUTPUT_TOKENS: u64 = 32;
/// Characters of an unknown tool's name that are repeated to the model.
const SHOWN_NAME_CHARS: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Deciding,
    Chatting,
    Calling(u64),
    Done,
}

/// A step that was not valid, for the model to see once more.
#[derive(Debug, Clone)]
struct Repair {
    said: String,
    problem: String,
}

/// The loop of one execution.
///
/// Call [`AgentCore::next`], pass on [`AgentCore::take_events`], do what was said, report it, and so on until
/// [`Next::Done`]. Answers that nobody waits for are ignored. Equal calls give equal answers.
///
/// Limits: `steps` counts the model's steps over all miners, a step that was not valid even when repaired included; the last
/// one is announced to the model and has no tools. `seconds` counts from this core's first `next`: a miner that takes over
/// has all of it again. `tokens` counts those of all miners; it is looked at before each step, and a step may write what
/// is left, so that it is exceeded by at most about one prompt.
#[derive(Debug)]
pub struct AgentCore {
    setup: Setup,
    progress: Progress,
    conversation: Conversation,
    /// Calls of the last reply that are still to be made.
    calls: VecDeque<ToolCall>,
    repair: Option<Repair>,
    state: State,
    started_ms: Option<u64>,
    fit: Fit,
    context_failures: u32,
    new_events: Vec<Event>,
}

impl AgentCore {
    /// A new execution, or with the events of former attempts in `prior`, one that goes on. The bytes of those events are the
    /// beginning of this attempt's output already. A call that was in flight then is answered as interrupted, not run again.
    #[must_use]
    pub fn new(setup: Setup, prior: &[Event]) -> Self {
        let mut core = Self {
            setup,
            progress: Progress::default(),
            conversation: Conversation::default(),
            calls: VecDeque::new(),
            repair: None,
            state: State::Deciding,
            started_ms: None,
            fit: Fit::default(),
            context_failures: 0,
            new_events: Vec::new(),
        };
        for event in prior {
            core.apply(event);
        }
        if core.progress.answered() {
            core.state = State::Done;
        } else {
            core.close_calls(
                "interrupted: the machine that ran this tool stopped; it was not run again",
                true,
            );
        }
        core
    }

    /// What to do at `now_ms`, milliseconds since any fixed origin. While an answer is awaited, the same again.
    pub fn next(&mut self, now_ms: u64) -> Next {
        let started = *self.started_ms.get_or_insert(now_ms);
        let limit_ms = u64::from(self.setup.definition.limits.seconds) * 1000;
        if self.state != State::Done && now_ms.saturating_sub(started) >= limit_ms {
            self.finish(End::TimeLimit);
        }
        match self.state {
            State::Done => Next::Done,
            State::Calling(action) => self.call(action),
            State::Deciding | State::Chatting => self.decide(),
        }
    }

    /// When the time is over, on the clock of [`AgentCore::next`]; a chat or a call that still runs then can be given up.
    /// `None` before the first `next`.
    #[must_use]
    pub fn deadline_ms(&self) -> Option<u64> {
        let limit_ms = u64::from(self.setup.definition.limits.seconds) * 1000;
        Some(self.started_ms?.saturating_add(limit_ms))
    }

    /// The model replied.
    pub fn chat_answered(&mut self, reply: &ChatReply) {
        if self.state != State::Chatting {
            return;
        }
        self.state = State::Deciding;
        self.context_failures = 0;
        self.fit.read(reply.tokens_in);
        let (step, may_call) = (self.progress.next_step(), self.may_call());
        self.emit(|seq| Event::Usage {
            seq,
            step,
            tokens_in: reply.tokens_in,
            tokens_out: reply.tokens_out,
        });
        let names: Vec<&str> = self.names().collect();
        match steps::read(reply, self.constrained(), may_call, &names) {
            Ok(Reading {
                thought,
                calls,
                answer,
            }) => {
                self.repair = None;
                if let Some(text) = thought {
                    self.emit(|seq| Event::Thought { seq, text });
                }
                self.calls = calls.into();
                if let Some(text) = answer {
                    self.answer(text, End::Answered);
                }
            }
            Err(malformed) => {
                self.conversation.said(&malformed.words);
                self.repair = Some(Repair {
                    said: malformed.said,
                    problem: malformed.problem,
                });
            }
        }
    }

    /// The server finds the request too long; `needed` is how many tokens it has, where the server says so. The next one is
    /// shorter, or the execution ends. (Any other failure of a server is none of the agent's: the attempt fails.)
    pub fn context_exceeded(&mut self, needed: Option<u64>) {
        if self.state != State::Chatting {
            return;
        }
        self.state = State::Deciding;
        self.context_failures += 1;
        self.fit.exceeded(needed);
        if self.context_failures >= CONTEXT_TRIES {
            self.finish(End::ContextFull);
        }
    }

    /// The tool of the last [`Next::Call`] answered.
    pub fn tool_answered(&mut self, outcome: ToolOutcome) {
        let State::Calling(action) = self.state else {
            return;
        };
        self.state = State::Deciding;
        let Some((tool, _)) = self.conversation.open_call(action) else {
            return;
        };
        self.emit(|seq| Event::Observation {
            seq,
            action,
            tool,
            ok: outcome.ok,
            output: outcome.output,
            truncated: outcome.truncated,
            interrupted: false,
            elapsed_ms: outcome.elapsed_ms,
        });
    }

    /// Ends the execution with what it has, for a reason that is not the core's own, such as [`End::SpendLimit`]. Does
    /// nothing once it has ended.
    pub fn stop(&mut self, end: End) {
        if self.state != State::Done {
            self.finish(end);
        }
    }

    /// The events since the last call, in order; `seq` counts on from those of former attempts.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.new_events)
    }

    fn decide(&mut self) -> Next {
        while self.state != State::Done {
            if self.progress.bytes() + ROOM_BYTES > OUTPUT_BYTES {
                self.finish(End::StepLimit);
            } else if let Some(call) = self.calls.pop_front() {
                if let Some(next) = self.begin(call) {
                    return next;
                }
            } else if let Some(end) = self.progress.end(&self.setup.definition.limits) {
                self.finish(end);
            } else if let Some(request) = self.request() {
                self.state = State::Chatting;
                return Next::Chat(request);
            } else {
                self.finish(End::ContextFull);
            }
        }
        Next::Done
    }

    /// Makes a call known, and answers it at once where it is not to be run.
    fn begin(&mut self, call: ToolCall) -> Option<Next> {
        let refusal = self.refusal(&call);
        let step = self.progress.step();
        let tool = call.tool.clone();
        self.emit(|seq| Event::Action {
            seq,
            step,
            tool: call.tool,
            arguments: call.arguments,
        });
        let action = self.progress.seq();
        let Some(output) = refusal else {
            self.state = State::Calling(action);
            return Some(self.call(action));
        };
        self.emit(|seq| Event::Observation {
            seq,
            action,
            tool,
            ok: false,
            output,
            truncated: false,
            interrupted: false,
            elapsed_ms: 0,
        });
        None
    }

    fn refusal(&self, call: &ToolCall) -> Option<String> {
        if !self.names().any(|name| name == call.tool) {
            let shown: String = call.tool.chars().take(SHOWN_NAME_CHARS).collect();
            let hint = match nearest(&call.tool, self.names()) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("tools: {}", self.names().collect::<Vec<_>>().join(", ")),
            };
            return Some(format!("no tool is called {shown:?}; {hint}"));
        }
        (self.conversation.calls_in_a_row(call) >= CALLS_IN_A_ROW).then(|| {
            format!(
                "not run: the same call was made {CALLS_IN_A_ROW} times before; use what it answered, call something \
                 else, or answer"
            )
        })
    }

    fn call(&self, action: u64) -> Next {
        let (tool, arguments) = self
            .conversation
            .open_call(action)
            .expect("a call is open while its answer is awaited");
        Next::Call {
            action,
            tool,
            arguments,
        }
    }

    fn request(&mut self) -> Option<ChatRequest> {
        let may_call = self.may_call();
        let tools = if self.setup.native && may_call {
            messages::native_tools(&self.setup.tools)
        } else {
            Vec::new()
        };
        let format = self
            .constrained()
            .then(|| format::of_steps(&self.setup.tools, may_call));
        let asked = self.setup.definition.options.get("num_predict");
        let asked = asked.and_then(Value::as_u64).filter(|tokens| *tokens > 0);
        let draft = messages::Draft {
            setup: &self.setup,
            constrained: self.constrained(),
            last: !may_call && !self.setup.tools.is_empty(),
            repair: self
                .repair
                .as_ref()
                .map(|repair| (&*repair.said, &*repair.problem)),
        };
        let budget = context::prompt_tokens(self.setup.context_tokens, asked);
        let messages = self.fit.fit(&draft, &self.conversation, &tools, budget)?;
        let left = self
            .setup
            .definition
            .limits
            .tokens
            .saturating_sub(self.progress.tokens());
        let most = left
            .saturating_sub(self.fit.asked())
            .max(LEAST_OUTPUT_TOKENS);
        let mut options = self.setup.definition.options.clone();
        options.insert(
            "num_predict".to_owned(),
            json!(asked.map_or(most, |asked| asked.min(most))),
        );
        options.insert("num_ctx".to_owned(), json!(self.setup.context_tokens));
        Some(ChatRequest {
            messages,
            tools,
            format,
            options,
        })
    }

    /// Whether the coming step may use tools: not the last one, nor one of a model that makes the same call again and again.
    fn may_call(&self) -> bool {
        let last = self.progress.next_step() >= self.setup.definition.limits.steps;
        let stuck = self.conversation.last_call_in_a_row() >= STUCK_CALLS;
        !self.setup.tools.is_empty() && !last && !stuck
    }

    fn constrained(&self) -> bool {
        !self.setup.native && !self.setup.tools.is_empty()
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.setup.tools.iter().map(|tool| tool.name.as_str())
    }

    fn finish(&mut self, end: End) {
        self.close_calls("not finished: the execution ended", false);
        self.answer(self.conversation.last_text().to_owned(), end);
    }

    fn answer(&mut self, text: String, end: End) {
        self.calls.clear();
        self.emit(|seq| Event::Answer { seq, text, end });
        self.state = State::Done;
    }

    fn close_calls(&mut self, why: &str, interrupted: bool) {
        for (action, tool) in self.conversation.open_calls() {
            self.emit(|seq| Event::Observation {
                seq,
                action,
                tool,
                ok: false,
                output: why.to_owned(),
                truncated: false,
                interrupted,
                elapsed_ms: 0,
            });
        }
    }

    fn emit(&mut self, event: impl FnOnce(u64) -> Event) {
        let event = event(self.progress.seq() + 1).fitted();
        self.apply(&event);
        self.new_events.push(event);
    }

    fn apply(&mut self, event: &Event) {
        self.progress.apply(event);
        self.conversation.apply(event);
    }
}
