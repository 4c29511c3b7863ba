//! Executes agents: drives [`AgentCore`] with the model, the tools and the coordinator.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aitbc_common::agents::{Definition, End, Event, ExecutionInput, Limits, MAX_AGENT_SECONDS};
use aitbc_common::hash::sha256;
use aitbc_common::identity::Identity;
use aitbc_common::job_input::{JobInput, JobType};
use aitbc_common::layouts::NO_BUDGET;
use aitbc_common::price::budget_ms;
use aitbc_common::runtime::channel::CoordinatorUrl;
use aitbc_proto::v1::FailureReason;
use bytes::Bytes;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::coordinator::Coordinator;
use super::core::{AgentCore, ChatReply, ChatRequest, Next, Setup, ToolOutcome, ToolSpec};
use super::files;
use super::tools::{Tool, Toolbox};
use crate::execution::{RunFailure, failed, refused};
use crate::runner::{
    FinishReason, MAX_OUTPUT_BYTES, RunError, RunEvent, RunRequest, RunResult, Runner,
};
use crate::session::{Event as SessionEvent, JobStart};

/// Events of one chat that may wait.
const RUN_EVENTS: usize = 64;
/// So much of the budget is left for the answer, at least and at most.
const KEPT_FOR_ANSWER: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// No execution takes longer: its limit of time is a day at most.
const LONGEST: Duration = Duration::from_secs(2 * MAX_AGENT_SECONDS as u64);

/// What executions need of this machine.
pub struct Host {
    /// Where the coordinator is.
    pub url: CoordinatorUrl,
    /// The miner's identity.
    pub identity: Arc<Identity>,
    /// Files of agents are kept here, by their hash.
    pub folder: PathBuf,
    /// Tools of the MCP servers that the operator allows.
    pub peers: Vec<Arc<dyn Tool>>,
}

/// One execution under way.
struct Execution<'a, R> {
    runner: &'a R,
    start: JobStart,
    coordinator: Coordinator<'a>,
    toolbox: Toolbox,
    core: AgentCore,
    cancel: CancellationToken,
    events: &'a mpsc::Sender<SessionEvent>,
    origin: Instant,
    /// When the money is used up.
    paid_until: Option<Instant>,
    output: Vec<u8>,
    result: RunResult,
}

/// Executes an agent; what it puts out goes to `events` as it happens.
pub(crate) async fn execute<R: Runner>(
    host: &Host,
    runner: &R,
    start: JobStart,
    cancel: CancellationToken,
    events: &mpsc::Sender<SessionEvent>,
) -> Result<RunResult, RunFailure> {
    let beginning = prepare(host, runner, &start);
    let Prepared {
        coordinator,
        toolbox,
        core,
        prior,
        limits,
    } = tokio::select! {
        prepared = beginning => prepared?,
        () = cancel.cancelled() => return Err(RunFailure::Cancelled),
    };
    let paid_for = limits
        .spend()
        .map(|most| budget_ms(most.0, start.rate))
        .filter(|ms| *ms != NO_BUDGET)
        .map(Duration::from_millis);
    let paid_for = [start.paid_for, paid_for].into_iter().flatten().min();
    let paid_until = paid_for.map(|paid| {
        let kept = (paid / 10).clamp(KEPT_FOR_ANSWER.0, KEPT_FOR_ANSWER.1);
        Instant::now() + paid.saturating_sub(kept).min(LONGEST)
    });
    let mut execution = Execution {
        runner,
        start,
        coordinator,
        toolbox,
        core,
        cancel,
        events,
        origin: Instant::now(),
        paid_until,
        output: Vec::new(),
        result: nothing(),
    };
    // What the former miner put out is the beginning of this one's output, byte for byte.
    execution.put_out(prior.into()).await;
    execution.run().await
}

fn nothing() -> RunResult {
    RunResult {
        content: String::new(),
        thinking: String::new(),
        tool_calls: Vec::new(),
        embeddings: None,
        finish_reason: FinishReason::Stop,
        tokens_in: 0,
        tokens_out: 0,
        prompt_eval_duration: Duration::ZERO,
        eval_duration: Duration::ZERO,
        load_duration: Duration::ZERO,
    }
}

struct Prepared<'a> {
    coordinator: Coordinator<'a>,
    toolbox: Toolbox,
    core: AgentCore,
    /// Whole lines that were put out before.
    prior: Vec<u8>,
    limits: Limits,
}

/// Fetches what the execution needs, and reads what was put out before.
async fn prepare<'a, R: Runner>(
    host: &'a Host,
    runner: &R,
    start: &JobStart,
) -> Result<Prepared<'a>, RunFailure> {
    let input = ExecutionInput::read(&start.input)
        .map_err(|error| refused(format!("{error}; {}", error.hint)))?;
    let mut coordinator = Coordinator::new(host, start.key);
    let (definition, mut stored) = coordinator.beginning().await?;
    if input.definition_hash() != Some(sha256(&definition)) {
        return Err(refused(
            "the definition is not the one that was asked for".into(),
        ));
    }
    let definition = Definition::read(&definition)
        .map_err(|error| refused(format!("{error}; {}", error.hint)))?;
    // What the former miner put out carries no proof: what cannot be an execution is none, and this one begins anew.
    let (prior, whole) = Event::read(&stored).unwrap_or_default();
    stored.truncate(whole);
    let attached = files::fetch(host, &mut coordinator, &definition.files).await?;
    let native = has_native_tools(runner, &definition.model).await?;
    let (names, peers, egress) = (
        definition.tools.clone(),
        host.peers.clone(),
        definition.egress_after_untrusted,
    );
    let made = move || Toolbox::new(&names, &attached, &peers, egress);
    let toolbox = tokio::task::spawn_blocking(made)
        .await
        .map_err(|_| failed(FailureReason::Operator, "the tools cannot be set up".into()))?
        .map_err(|missing| failed(FailureReason::Busy, missing.to_string()))?;
    if !prior.is_empty() {
        // Another miner wrote it: it may say anything.
        toolbox.read_untrusted();
    }
    let tools = toolbox.tools().map(|tool| ToolSpec {
        name: tool.name().to_owned(),
        description: tool.description().to_owned(),
        parameters: tool.parameters().clone(),
    });
    let limits = definition.limits.clone();
    let setup = Setup {
        tools: tools.collect(),
        definition,
        input,
        native,
        context_tokens: start.model.context_tokens,
    };
    let core = AgentCore::new(setup, &prior);
    Ok(Prepared {
        coordinator,
        toolbox,
        core,
        prior: stored,
        limits,
    })
}

/// Whether the model has tool calling of its own.
async fn has_native_tools<R: Runner>(runner: &R, model: &str) -> Result<bool, RunFailure> {
    let models = runner.models().await.map_err(RunFailure::of)?;
    Ok(models
        .iter()
        .any(|known| known.name == model && known.can("tools")))
}

impl<R: Runner> Execution<'_, R> {
    async fn run(mut self) -> Result<RunResult, RunFailure> {
        loop {
            if self.paid_until.is_some_and(|until| Instant::now() >= until) {
                self.core.stop(End::SpendLimit);
            }
            let next = self.core.next(self.now_ms());
            let last = self.emit().await?;
            match next {
                Next::Done => return Ok(self.finished(last)),
                Next::Chat(request) => self.chat(request).await?,
                Next::Call {
                    tool, arguments, ..
                } => self.call(&tool, &arguments).await?,
            }
            if self.cancel.is_cancelled() {
                return Err(RunFailure::Cancelled);
            }
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// When what runs now is given up, for want of time or money.
    fn given_up(&self) -> Instant {
        let limit = self
            .core
            .deadline_ms()
            .map_or(LONGEST, Duration::from_millis);
        let limit = self.origin + limit;
        self.paid_until.map_or(limit, |paid| paid.min(limit))
    }

    /// Puts the new events out; how the execution ended, where it did.
    async fn emit(&mut self) -> Result<Option<End>, RunFailure> {
        let (mut lines, mut last) = (Vec::new(), None);
        for event in self.core.take_events() {
            if let Event::Answer { end, .. } = event {
                last = Some(end);
            }
            let line = event
                .to_line()
                .map_err(|error| failed(FailureReason::Garbage, error.to_string()))?;
            lines.extend_from_slice(&line);
        }
        self.put_out(lines.into()).await;
        Ok(last)
    }

    async fn put_out(&mut self, data: Bytes) {
        if data.is_empty() {
            return;
        }
        self.output.extend_from_slice(&data);
        self.say(data, self.result.tokens_out).await;
    }

    async fn say(&self, data: Bytes, output_tokens: u32) {
        let key = self.start.key;
        // The driver may be gone; then the run is cancelled too.
        let _gone = self
            .events
            .send(SessionEvent::Output {
                key,
                data,
                output_tokens,
            })
            .await;
    }

    async fn chat(&mut self, request: ChatRequest) -> Result<(), RunFailure> {
        let document = document(&request);
        let input = JobInput::parse(JobType::Inference, document.to_string().as_bytes())
            .map_err(|error| refused(format!("{error}; {}", error.hint)))?;
        let request = RunRequest {
            model: self.start.model.name.clone(),
            input,
            context_tokens: self.start.model.context_tokens,
            output_limit: MAX_OUTPUT_BYTES,
        };
        match self.ask_model(request).await {
            Ok(result) => {
                self.count(&result);
                self.core.chat_answered(&ChatReply {
                    content: result.content,
                    thinking: result.thinking,
                    tool_calls: result.tool_calls,
                    tokens_in: result.tokens_in.into(),
                    tokens_out: result.tokens_out.into(),
                });
                Ok(())
            }
            Err(RunError::ContextExceeded { needed, .. }) => {
                self.core.context_exceeded(Some(needed.into()));
                Ok(())
            }
            // Its time or its money was over: the core says so next.
            Err(RunError::Cancelled(partial)) if !self.cancel.is_cancelled() => {
                self.count(&partial);
                Ok(())
            }
            Err(error) => Err(RunFailure::of(error)),
        }
    }

    /// One run of the model, given up where time or money is over.
    async fn ask_model(&self, request: RunRequest) -> Result<RunResult, RunError> {
        let given_up = self.cancel.child_token();
        let (sender, mut received) = mpsc::channel(RUN_EVENTS);
        let before = self.result.tokens_out;
        let forward = async {
            while let Some(event) = received.recv().await {
                let (RunEvent::Text { output_tokens, .. } | RunEvent::Progress { output_tokens }) =
                    event;
                let so_far = before.saturating_add(output_tokens);
                self.say(Bytes::new(), so_far).await;
            }
        };
        let asked = async {
            let run = self.runner.run(request, given_up.clone(), sender);
            tokio::join!(run, forward).0
        };
        tokio::pin!(asked);
        tokio::select! {
            answered = &mut asked => answered,
            () = tokio::time::sleep_until(self.given_up()) => {
                given_up.cancel();
                asked.await
            }
        }
    }

    fn count(&mut self, run: &RunResult) {
        let total = &mut self.result;
        total.tokens_in = total.tokens_in.saturating_add(run.tokens_in);
        total.tokens_out = total.tokens_out.saturating_add(run.tokens_out);
        total.prompt_eval_duration += run.prompt_eval_duration;
        total.eval_duration += run.eval_duration;
        total.load_duration += run.load_duration;
    }

    /// Calls a tool once the coordinator has its action: the next miner would know that it was begun.
    async fn call(&mut self, tool: &str, arguments: &Value) -> Result<(), RunFailure> {
        let stored = self.coordinator.confirm(self.output.len() as u64);
        tokio::select! {
            stored = stored => stored?,
            () = self.cancel.cancelled() => return Err(RunFailure::Cancelled),
        }
        let given_up = self.cancel.child_token();
        let deadline = self.given_up();
        let called = self.toolbox.call(tool, arguments, &given_up);
        tokio::pin!(called);
        let outcome = tokio::select! {
            outcome = &mut called => outcome,
            () = tokio::time::sleep_until(deadline) => {
                given_up.cancel();
                called.await
            }
        };
        self.core.tool_answered(ToolOutcome {
            ok: outcome.ok,
            output: outcome.output,
            truncated: outcome.truncated,
            elapsed_ms: u64::try_from(outcome.elapsed.as_millis()).unwrap_or(u64::MAX),
        });
        Ok(())
    }

    fn finished(self, end: Option<End>) -> RunResult {
        let answered = end.is_none_or(|end| end == End::Answered);
        RunResult {
            content: String::from_utf8_lossy(&self.output).into_owned(),
            finish_reason: if answered {
                FinishReason::Stop
            } else {
                FinishReason::Length
            },
            ..self.result
        }
    }
}

/// A request as a job's input.
fn document(request: &ChatRequest) -> Value {
    let mut document = Map::new();
    document.insert("messages".into(), Value::Array(request.messages.clone()));
    if !request.tools.is_empty() {
        document.insert("tools".into(), Value::Array(request.tools.clone()));
    }
    if let Some(format) = &request.format {
        document.insert("format".into(), format.clone());
    }
    document.insert("options".into(), json!(request.options));
    Value::Object(document)
}

/// The tools that this miner offers to agents, as definitions name them, sorted.
#[must_use]
pub fn offered(peers: &[Arc<dyn Tool>]) -> Vec<String> {
    let mut names: Vec<String> = aitbc_common::agents::BUILT_IN_TOOLS
        .iter()
        .map(|name| (*name).to_owned())
        .collect();
    for peer in peers {
        names.push(peer.name().to_owned());
        names.extend(
            peer.name()
                .rsplit_once('/')
                .map(|(server, _)| server.to_owned()),
        );
    }
    names.sort_unstable();
    names.dedup();
    names
}
