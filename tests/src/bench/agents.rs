//! What a step of an agent costs beyond the model and the tool that it calls, and how many events the coordinator takes.

use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use aitbc_common::agents::{AgentType, Definition, Event, ExecutionInput, Limits};
use aitbc_common::hash::hash_text;
use aitbc_common::runtime::channel::Connection;
use aitbc_common::token::Scope;
use aitbc_miner::agent::tools::Toolbox;
use aitbc_proto::v1::{CreateAgentRequest, JobType};
use anyhow::{Context, ensure};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::coordinator::Coordinator;
use super::latency::{Latencies, Summary};
use super::throughput::{microseconds, real};
use super::tokens::{job, miner};
use super::{Settings, note, runtime};
use crate::harness::FakeOllama;

/// What the scripted server offers.
const MODEL: &str = "llama3:latest";
const TOOL: &str = "calculator";
/// Before executions at once are counted.
const WARM_UP: Duration = Duration::from_secs(1);
/// How long the model takes to answer: nothing, and long enough that what was put out before is on its way by then.
const PACES: [Duration; 2] = [Duration::ZERO, Duration::from_millis(60)];

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Agents {
    /// Calls of a tool in each execution; the model's answer follows them.
    pub steps: u32,
    /// With each pace of the model.
    pub compared: Vec<Compared>,
    /// Executions at once.
    pub flows: Vec<Flow>,
}

/// Executions in turn with the same calls made directly.
#[derive(Debug, Clone, Serialize)]
pub struct Compared {
    /// How many.
    pub executions: u16,
    /// How long the model takes to answer, in milliseconds.
    pub model_ms: f64,
    /// From one request to the model to the next, with model and tool called directly.
    pub direct: Summary,
    /// The same through coordinator and miner.
    pub network: Summary,
    /// From the submission to the end, of a whole execution.
    pub execution: Summary,
}

/// Events of executions at once, as a watcher gets them.
#[derive(Debug, Clone, Serialize)]
pub struct Flow {
    /// How many.
    pub at_once: usize,
    /// Events per second.
    pub events_per_s: f64,
    /// Processor time of the coordinator per event, in microseconds; jobs and watchers are in it.
    pub processor_us_per_event: f64,
}

/// A network with one miner on a scripted model, and an agent.
struct Bench {
    coordinator: Coordinator,
    connection: Connection,
    model: FakeOllama,
    input: Vec<u8>,
    steps: u32,
}

/// Compares, and then counts events.
pub fn run(settings: &Settings, folder: &Path) -> anyhow::Result<Agents> {
    let most = settings.loops.iter().copied().max().unwrap_or(1);
    ensure!(
        (1..=256).contains(&most),
        "a miner runs at most 256 executions at once: --loops {most}"
    );
    let coordinator = Coordinator::start(folder)?;
    let model = FakeOllama::start_steps(replies(settings.steps));
    let url = format!("http://{}", model.address());
    let miner = miner(&coordinator, ("llama3", &url), most)?;
    let runtime = runtime(settings)?;
    let measured = runtime.block_on(async {
        let bench = Bench::new(settings, coordinator, model).await?;
        // The first one waits for the miner.
        bench.execute().await.context("the first execution")?;
        let bodies = bench.model.chats();
        let mut compared = Vec::new();
        for pace in PACES {
            bench.model.paces(pace);
            let comparison = bench.compare(settings.executions, &bodies).await?;
            compared.push(Compared {
                model_ms: microseconds(pace) / 1_000.0,
                ..comparison
            });
        }
        bench.model.paces(Duration::ZERO);
        let agents = Agents {
            steps: settings.steps,
            compared,
            flows: bench.flows(settings).await?,
        };
        Ok::<_, anyhow::Error>((agents, bench.coordinator))
    });
    drop(runtime);
    let (agents, coordinator) =
        measured.with_context(|| format!("the miner said: {}", miner.stderr()))?;
    drop(miner);
    coordinator.stop()?;
    Ok(agents)
}

/// What the model says: so many calls, each with a result of its own, and an answer.
fn replies(steps: u32) -> Vec<String> {
    let call = |step: u32| {
        let expression = format!("{step} * 1001");
        json!({"thought": "", "tool": TOOL, "arguments": {"expression": expression}}).to_string()
    };
    let answer = json!({"thought": "", "answer": "done"}).to_string();
    (1..=steps).map(call).chain([answer]).collect()
}

impl Bench {
    async fn new(
        settings: &Settings,
        coordinator: Coordinator,
        model: FakeOllama,
    ) -> anyhow::Result<Self> {
        let connection = coordinator.connect(Scope::Client).await?;
        let definition = Definition {
            agent_type: AgentType::Custom,
            model: MODEL.to_owned(),
            model_digest: None,
            system: String::new(),
            tools: vec![TOOL.to_owned()],
            files: Vec::new(),
            limits: Limits {
                steps: settings.steps + 1,
                ..Limits::default()
            },
            options: serde_json::Map::new(),
            egress_after_untrusted: false,
        };
        let request = CreateAgentRequest {
            name: "bench".to_owned(),
            definition: definition.to_bytes().into(),
        };
        let created = connection.agents().create_agent(request).await?;
        let agent = created.into_inner().agent.unwrap_or_default();
        let input = ExecutionInput {
            agent_id: agent.agent_id,
            version: agent.version,
            config_hash: hash_text(&definition.config_hash()),
            input: "Multiply.".to_owned(),
        };
        Ok(Self {
            coordinator,
            connection,
            model,
            input: input.to_bytes(),
            steps: settings.steps,
        })
    }

    /// Executions and direct calls in turn, the order alternating; `bodies` are what an execution asks the model.
    async fn compare(&self, executions: u16, bodies: &[String]) -> anyhow::Result<Compared> {
        let toolbox = Toolbox::new(&[TOOL.to_owned()], &[], &[], false)?;
        let (mut direct, mut network) = (Latencies::default(), Latencies::default());
        let mut execution = Latencies::default();
        for index in 0..2 * executions {
            let before = self.model.chatted_at().len();
            let turn = index % 4;
            let took = if turn == 0 || turn == 3 {
                execution.add(self.execute().await?);
                &mut network
            } else {
                self.call_directly(bodies, &toolbox).await?;
                &mut direct
            };
            let asked = self.model.chatted_at().split_off(before);
            ensure!(
                asked.len() == bodies.len(),
                "the model was asked {} times, and not {}",
                asked.len(),
                bodies.len()
            );
            for pair in asked.windows(2) {
                took.add(pair[1] - pair[0]);
            }
        }
        Ok(Compared {
            executions,
            model_ms: 0.0,
            direct: direct.summary(),
            network: network.summary(),
            execution: execution.summary(),
        })
    }

    /// One execution, whose events are checked; how long it took.
    async fn execute(&self) -> anyhow::Result<Duration> {
        let mut output = Vec::new();
        let start = Instant::now();
        let watched = job(
            &self.connection,
            JobType::Agent,
            MODEL,
            self.input.clone(),
            |data| output.extend_from_slice(data),
        );
        watched.await?;
        let took = start.elapsed();
        let (events, _) = Event::read(&output)?;
        let products = events.iter().filter_map(|event| match event {
            Event::Observation { output, ok, .. } => Some((*ok, output.as_str())),
            _ => None,
        });
        let mut seen = 0;
        for (step, (ok, product)) in (1..).zip(products) {
            let expected = (step * 1_001).to_string();
            ensure!(
                ok && product.contains(&expected),
                "step {step} of an execution gave {product:?} instead of {expected}"
            );
            seen = step;
        }
        ensure!(seen == self.steps, "an execution had {seen} steps");
        Ok(took)
    }

    /// The same requests to the model, and the calls that it wants.
    async fn call_directly(&self, bodies: &[String], toolbox: &Toolbox) -> anyhow::Result<()> {
        // The scripted server closes each connection after its answer.
        let http = reqwest::Client::builder()
            .pool_max_idle_per_host(0)
            .build()?;
        let url = format!("http://{}/api/chat", self.model.address());
        for body in bodies {
            let sent = http.post(&url).body(body.clone()).send().await?;
            let reply = sent.error_for_status()?.text().await?;
            let mut said = String::new();
            for line in reply.lines() {
                let line: Value = serde_json::from_str(line)?;
                said.push_str(line["message"]["content"].as_str().unwrap_or_default());
            }
            let step: Value = serde_json::from_str(&said)?;
            if let Some(tool) = step["tool"].as_str() {
                let cancel = CancellationToken::new();
                let outcome = toolbox.call(tool, &step["arguments"], &cancel).await;
                ensure!(outcome.ok, "{TOOL} failed: {}", outcome.output);
            }
        }
        Ok(())
    }

    async fn flows(&self, settings: &Settings) -> anyhow::Result<Vec<Flow>> {
        let mut flows = Vec::new();
        for at_once in settings.loops.iter().copied() {
            let flow = self.flow(settings, at_once).await?;
            note(&format!(
                "{at_once} executions at once, {:.0} events/s",
                flow.events_per_s
            ));
            flows.push(flow);
        }
        Ok(flows)
    }

    /// Executions at once, one after the other in each loop; their events are counted as they arrive at a watcher.
    async fn flow(&self, settings: &Settings, at_once: usize) -> anyhow::Result<Flow> {
        let begin = Instant::now() + WARM_UP;
        let end = begin + Duration::from_secs(settings.seconds);
        let mut loops = JoinSet::new();
        for _ in 0..at_once {
            let (connection, input) = (self.connection.clone(), self.input.clone());
            loops.spawn(async move {
                let mut events = 0;
                while Instant::now() < end {
                    let count = |data: &[u8]| {
                        if (begin..end).contains(&Instant::now()) {
                            events += data.iter().filter(|byte| **byte == b'\n').count();
                        }
                    };
                    job(&connection, JobType::Agent, MODEL, input.clone(), count).await?;
                }
                Ok::<_, anyhow::Error>(events)
            });
        }
        tokio::time::sleep_until(begin.into()).await;
        let before = self.coordinator.usage()?;
        tokio::time::sleep_until(end.into()).await;
        let after = self.coordinator.usage()?;
        let mut events = 0;
        while let Some(counted) = loops.join_next().await {
            events += counted??;
        }
        ensure!(events > 0, "no event in {} s", settings.seconds);
        let worked = after.processor.saturating_sub(before.processor);
        Ok(Flow {
            at_once,
            events_per_s: real(events) / (end - begin).as_secs_f64(),
            processor_us_per_event: microseconds(worked) / real(events),
        })
    }
}

/// For people.
pub fn text(agents: &Agents, out: &mut String) -> std::fmt::Result {
    writeln!(
        out,
        "\nexecutions of {} steps, a scripted model and the calculator, beside the same calls made directly; a step is the time \
         from one request to the model to the next",
        agents.steps
    )?;
    for compared in &agents.compared {
        let (direct, network) = (compared.direct, compared.network);
        writeln!(
            out,
            "model of {} ms, {} executions: directly p50 {:.2} ms, p99 {:.2} ms; through AITBC p50 {:.2} ms, p99 {:.2} ms; \
             added to p50 {:.2} ms, ratio {:.2}; a whole execution p50 {:.0} ms",
            compared.model_ms,
            compared.executions,
            direct.p50_ms,
            direct.p99_ms,
            network.p50_ms,
            network.p99_ms,
            network.p50_ms - direct.p50_ms,
            network.p50_ms / direct.p50_ms.max(f64::EPSILON),
            compared.execution.p50_ms
        )?;
    }
    for flow in &agents.flows {
        writeln!(
            out,
            "{:>3} at once: {:.0} events/s, {:.0} µs of the coordinator's processor each",
            flow.at_once, flow.events_per_s, flow.processor_us_per_event
        )?;
    }
    Ok(())
}
