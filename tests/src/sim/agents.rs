//! Executions of agents on the simulated miners: the real loop, a model that plays its part, and a tool that is called once.

use std::collections::BTreeSet;
use std::sync::Arc;

use aitbc_common::agents::{AgentType, Definition, Event, ExecutionInput, Limits};
use aitbc_common::hash::hash_text;
use aitbc_common::ids::{AgentId, JobId};
use aitbc_coordinator::engine::command::{AgentRun, AttemptId};
use aitbc_coordinator::sessions::core::StreamKind;
use aitbc_coordinator::sessions::stored;
use aitbc_coordinator::store::{Batch, Durability, Store};
use aitbc_miner::agent::{AgentCore, ChatReply, ChatRequest, Next, Setup, ToolOutcome, ToolSpec};
use aitbc_miner::session::AttemptKey;
use bytes::Bytes;
use serde_json::{Value, json};

use super::context::{Context, Rule};
use super::coordinator::Coordinator;

/// The tool that the simulated agents call.
pub const TOOL: &str = "calculator";
/// Calls of an execution.
const CALLS: usize = 4;

/// The agent that all executions are of.
pub fn agent() -> AgentRun {
    AgentRun {
        id: AgentId([7; 16]),
        version: 1,
        tools: vec![TOOL.into()],
    }
}

fn definition(model: &str) -> Definition {
    Definition {
        agent_type: AgentType::Custom,
        model: model.into(),
        model_digest: None,
        system: String::new(),
        tools: vec![TOOL.into()],
        files: Vec::new(),
        limits: Limits::default(),
        options: serde_json::Map::new(),
        egress_after_untrusted: false,
    }
}

/// The input of execution `n`.
pub fn input(model: &str, n: usize) -> Bytes {
    let input = ExecutionInput {
        agent_id: agent().id.to_string(),
        version: 1,
        config_hash: hash_text(&definition(model).config_hash()),
        input: format!("execution {n}"),
    };
    input.to_bytes().into()
}

/// Tools that were called, so that none is called again.
#[derive(Debug, Default)]
pub struct Calls(BTreeSet<(JobId, String)>);

/// An execution on a miner.
pub struct Execution {
    core: Option<AgentCore>,
    model: String,
    input: Bytes,
    output: Vec<u8>,
}

/// What comes next of an execution.
pub enum Step {
    /// These bytes are put out; it goes on.
    Output(Bytes),
    /// It waits for the coordinator.
    Wait,
    /// It is over: all that it put out.
    Done(String),
}

impl Execution {
    pub fn new(model: &str, input: Bytes) -> Self {
        Self {
            core: None,
            model: model.into(),
            input,
            output: Vec::new(),
        }
    }

    /// A little more of it.
    pub fn step(&mut self, ctx: &mut Context, key: AttemptKey, coordinator: &Coordinator) -> Step {
        let before = self.output.len();
        let now = ctx.now;
        let Some(core) = &mut self.core else {
            let Some(prior) = former(coordinator, key) else {
                return Step::Wait;
            };
            return self.begin(ctx, key, prior);
        };
        let next = core.next(now);
        for event in core.take_events() {
            let line = event.to_line().expect("small events fit a line");
            self.output.extend_from_slice(&line);
        }
        let news = Bytes::copy_from_slice(&self.output[before..]);
        match next {
            // What it says is put out before it is done.
            _ if !news.is_empty() => return Step::Output(news),
            Next::Done => {
                return Step::Done(String::from_utf8_lossy(&self.output).into_owned());
            }
            Next::Chat(request) => core.chat_answered(&reply(&request)),
            Next::Call {
                tool, arguments, ..
            } => {
                let length = self.output.len() as u64;
                let confirms = !ctx.broken(Rule::CallConfirmed);
                if confirms && !is_stored(coordinator, key, length) {
                    return Step::Wait;
                }
                let call = format!("{tool} {arguments}");
                if !ctx.calls.0.insert((key.job, call.clone())) {
                    let problem = format!("{key:?} calls {call} a second time");
                    ctx.checker.violated(problem);
                }
                ctx.trace.totals.tool_calls += 1;
                core.tool_answered(ToolOutcome {
                    ok: true,
                    output: "7".into(),
                    truncated: false,
                    elapsed_ms: 1,
                });
            }
        }
        Step::Output(Bytes::new())
    }

    fn begin(&mut self, ctx: &mut Context, key: AttemptKey, mut prior: Vec<u8>) -> Step {
        let (events, whole) = match Event::read(&prior) {
            Ok(read) => read,
            Err(problem) => {
                ctx.checker.violated(format!(
                    "{key:?} goes on from what is no execution: {problem}"
                ));
                return Step::Wait;
            }
        };
        prior.truncate(whole);
        ctx.trace.totals.handovers += u64::from(!events.is_empty());
        let setup = Setup {
            definition: definition(&self.model),
            input: ExecutionInput::read(&self.input).expect("the client wrote it"),
            tools: vec![ToolSpec {
                name: TOOL.into(),
                description: "computes".into(),
                parameters: json!({"type": "object"}),
            }],
            native: false,
            context_tokens: 8_192,
        };
        self.core = Some(AgentCore::new(setup, &events));
        self.output = prior;
        Step::Output(Bytes::copy_from_slice(&self.output))
    }
}

/// The model makes four calls, each another one, and answers then.
fn reply(request: &ChatRequest) -> ChatReply {
    let said = request.messages.iter();
    let said = said
        .filter(|message| message["role"] == "assistant")
        .count();
    let step: Value = if said < CALLS {
        json!({"thought": "I go on.", "tool": TOOL, "arguments": {"expression": said.to_string()}})
    } else {
        json!({"thought": "", "answer": "It is 7."})
    };
    ChatReply {
        content: step.to_string(),
        tokens_in: 100,
        tokens_out: 20,
        ..ChatReply::default()
    }
}

/// The output of the newest attempt before this one that stored any; `None` = nobody can be asked.
fn former(coordinator: &Coordinator, key: AttemptKey) -> Option<Vec<u8>> {
    coordinator.running.as_ref()?;
    for attempt in (1..key.attempt).rev() {
        let former = AttemptId {
            job_id: key.job,
            attempt,
        };
        let mut bytes = Vec::new();
        loop {
            let offset = bytes.len() as u64;
            let chunks =
                stored::read(&coordinator.store, former, StreamKind::Output, offset).ok()?;
            if chunks.is_empty() {
                break;
            }
            chunks
                .iter()
                .for_each(|chunk| bytes.extend_from_slice(chunk));
        }
        if !bytes.is_empty() {
            return Some(bytes);
        }
    }
    Some(Vec::new())
}

/// Whether so many bytes of an attempt's output are stored for good.
fn is_stored(coordinator: &Coordinator, key: AttemptKey, bytes: u64) -> bool {
    let attempt = AttemptId {
        job_id: key.job,
        attempt: key.attempt,
    };
    let Some(running) = &coordinator.running else {
        return false;
    };
    let Some(stream) = running.streams.get(attempt) else {
        return false;
    };
    let stored = stream.with(StreamKind::Output, |output| output.stored()) >= bytes;
    let store: &Arc<dyn Store> = &coordinator.store;
    stored
        && store
            .commit(&running.fence, Batch::new(), Durability::Synced)
            .is_ok()
}
