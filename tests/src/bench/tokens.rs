//! A real model's tokens, asked for directly and through a coordinator and a miner, in turn.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::random_bytes;
use aitbc_common::token::Scope;
use aitbc_proto::v1::watch_job_event::Event;
use aitbc_proto::v1::{Job, JobSpec, JobStatus, JobType, SubmitJobRequest, WatchJobRequest};
use anyhow::{Context, anyhow, ensure};
use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};

use super::coordinator::{Coordinator, program};
use super::latency::Spread;
use super::throughput::real;
use super::{Settings, runtime};
use crate::harness::{Process, Stream};

const MODEL: &str = "smollm2";
const PROMPT: &str = "Write a long story about the keeper of a lighthouse.";
const PATIENCE: Duration = Duration::from_secs(300);

/// One answer, as its reader saw it.
#[derive(Debug, Clone, Serialize)]
pub struct Answer {
    /// Generated tokens.
    pub tokens: u32,
    /// From the request to the first text, in milliseconds.
    pub first_ms: f64,
    /// From the request to the end, in milliseconds.
    pub total_ms: f64,
    /// Tokens after the first, per second from the first text to the end.
    pub tokens_per_s: f64,
    #[serde(skip)]
    text: Vec<u8>,
}

impl Answer {
    fn new(
        start: Instant,
        first: Option<Instant>,
        tokens: u32,
        text: Vec<u8>,
    ) -> anyhow::Result<Self> {
        let first = first.ok_or_else(|| anyhow!("the answer is empty"))?;
        ensure!(tokens > 1, "the answer has {tokens} tokens");
        Ok(Self {
            tokens,
            first_ms: milliseconds(first - start),
            total_ms: milliseconds(start.elapsed()),
            tokens_per_s: f64::from(tokens - 1) / first.elapsed().as_secs_f64(),
            text,
        })
    }
}

/// The comparison.
#[derive(Debug, Clone, Serialize)]
pub struct Tokens {
    /// Tokens of each answer.
    pub tokens: u32,
    /// Asked directly: tokens per second.
    pub direct_tokens_per_s: Spread,
    /// Through AITBC.
    pub network_tokens_per_s: Spread,
    /// What AITBC takes of them: percent, pair by pair.
    pub loss_percent: Spread,
    /// Asked directly: milliseconds to the first text.
    pub direct_first_ms: Spread,
    /// Through AITBC.
    pub network_first_ms: Spread,
    /// What AITBC adds: milliseconds, pair by pair.
    pub added_first_ms: Spread,
    /// Whether both gave the same text each time.
    pub same_text: bool,
    /// The pairs: direct, through AITBC.
    pub pairs: Vec<[Answer; 2]>,
}

/// Compares on one model server, which both ways use.
pub fn run(settings: &Settings, folder: &Path, model: &Path) -> anyhow::Result<Tokens> {
    let coordinator = Coordinator::start(folder)?;
    let (_server, url) = model_server(&coordinator, model)?;
    let miner = miner(&coordinator, (MODEL, &url), 1)?;
    let runtime = runtime(settings)?;
    let pairs = runtime.block_on(compare(settings, &coordinator, &url));
    drop(runtime);
    let pairs = pairs.with_context(|| format!("the miner said: {}", miner.stderr()))?;
    drop(miner);
    coordinator.stop()?;
    let of = |value: fn(&[Answer; 2]) -> f64| Spread::of(pairs.iter().map(value));
    Ok(Tokens {
        tokens: pairs.first().map_or(0, |pair| pair[0].tokens),
        direct_tokens_per_s: of(|pair| pair[0].tokens_per_s),
        network_tokens_per_s: of(|pair| pair[1].tokens_per_s),
        loss_percent: of(|[direct, network]| {
            100.0 * (1.0 - network.tokens_per_s / direct.tokens_per_s)
        }),
        direct_first_ms: of(|pair| pair[0].first_ms),
        network_first_ms: of(|pair| pair[1].first_ms),
        added_first_ms: of(|[direct, network]| network.first_ms - direct.first_ms),
        same_text: pairs
            .iter()
            .all(|[direct, network]| direct.text == network.text),
        pairs,
    })
}

fn model_server(coordinator: &Coordinator, model: &Path) -> anyhow::Result<(Process, String)> {
    let mut command = Command::new(program("aitbc-miner")?);
    command
        // Two threads of a busy machine with two cores wait for each other most of the time.
        .args([
            "engine",
            "--threads",
            "1",
            "--listen",
            "127.0.0.1:0",
            "--model",
        ])
        .arg(format!("{MODEL}={}", model.display()))
        .env_clear()
        .env("HOME", coordinator.folder());
    let process = Process::start(command);
    let url = process.wait_for(Stream::Stdout, "address of the engine", |text| {
        let (_, rest) = text.split_once("listening on ")?;
        rest.split_once('\n').map(|(url, _)| url.to_owned())
    });
    Ok((process, url))
}

/// A miner on a model server, with this many slots.
pub(super) fn miner(
    coordinator: &Coordinator,
    (model, engine): (&str, &str),
    slots: usize,
) -> anyhow::Result<Process> {
    let mut command = Command::new(program("aitbc-miner")?);
    command
        .args(["--coordinator", &coordinator.address(), "mine-ollama"])
        .args(["--continuous", "--model", model, "--ollama-url", engine])
        .args(["--slots", &slots.to_string()])
        .env_clear()
        .env("HOME", coordinator.folder())
        .env("AITBC_HOME", coordinator.folder().join("miner"));
    Ok(Process::start(command))
}

async fn compare(
    settings: &Settings,
    coordinator: &Coordinator,
    engine: &str,
) -> anyhow::Result<Vec<[Answer; 2]>> {
    let connection = coordinator.connect(Scope::Client).await?;
    let http = reqwest::Client::new();
    let direct = || ask_directly(&http, engine, settings.tokens);
    let network = || ask_network(&connection, settings.tokens);
    // The first of each loads the model, fills the cache of prompts and waits for the miner.
    direct().await.context("the model server, asked directly")?;
    network().await.context("the first job")?;
    let mut pairs = Vec::with_capacity(usize::from(settings.pairs));
    for index in 0..settings.pairs {
        pairs.push(if index % 2 == 0 {
            let first = direct().await?;
            [first, network().await?]
        } else {
            let first = network().await?;
            [direct().await?, first]
        });
    }
    Ok(pairs)
}

fn options(tokens: u32) -> Value {
    json!({ "temperature": 0, "num_predict": tokens })
}

async fn ask_directly(http: &reqwest::Client, engine: &str, tokens: u32) -> anyhow::Result<Answer> {
    let body = json!({ "model": MODEL, "prompt": PROMPT, "options": options(tokens) });
    let start = Instant::now();
    let request = http.post(format!("{engine}/api/generate")).json(&body);
    let mut response = request.timeout(PATIENCE).send().await?.error_for_status()?;
    let (mut first, mut text, mut waiting) = (None, Vec::new(), Vec::new());
    while let Some(part) = response.chunk().await? {
        waiting.extend_from_slice(&part);
        while let Some(end) = waiting.iter().position(|byte| *byte == b'\n') {
            let line: Value = serde_json::from_slice(&waiting[..end])?;
            waiting.drain(..=end);
            let words = line["response"].as_str().unwrap_or_default();
            if !words.is_empty() {
                first.get_or_insert_with(Instant::now);
                text.extend_from_slice(words.as_bytes());
            }
            if line["done"] == true {
                let tokens = line["eval_count"].as_u64().unwrap_or_default();
                return Answer::new(start, first, u32::try_from(tokens)?, text);
            }
        }
    }
    Err(anyhow!("the model server's answer has no end"))
}

async fn ask_network(connection: &Connection, tokens: u32) -> anyhow::Result<Answer> {
    let input = json!({ "prompt": PROMPT, "options": options(tokens) }).to_string();
    let (mut first, mut text) = (None, Vec::new());
    let start = Instant::now();
    let job = job(connection, JobType::Inference, MODEL, input, |data| {
        first.get_or_insert_with(Instant::now);
        text.extend_from_slice(data);
    });
    let tokens = job.await?.output_tokens.unwrap_or_default();
    Answer::new(start, first, tokens, text)
}

/// Submits a job and watches it until it is completed; its output goes to `put_out` as it comes.
pub(super) async fn job(
    connection: &Connection,
    job_type: JobType,
    model: &str,
    input: impl Into<Bytes>,
    put_out: impl FnMut(&[u8]),
) -> anyhow::Result<Job> {
    let salt: [u8; 32] = random_bytes();
    let request = SubmitJobRequest {
        request_id: hex::encode(&salt[..16]),
        spec: Some(JobSpec {
            r#type: job_type.into(),
            model: model.to_owned(),
            input: input.into(),
            salt: salt.to_vec().into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    tokio::time::timeout(PATIENCE, follow(connection, request, put_out))
        .await
        .map_err(|_| anyhow!("a job had no result after {PATIENCE:?}"))?
}

async fn follow(
    connection: &Connection,
    request: SubmitJobRequest,
    mut put_out: impl FnMut(&[u8]),
) -> anyhow::Result<Job> {
    let mut jobs = connection.jobs();
    let job_id = jobs.submit_job(request).await?.into_inner().job_id;
    let request = WatchJobRequest {
        job_id,
        ..Default::default()
    };
    let mut stream = jobs.watch_job(request).await?.into_inner();
    let mut ended = None;
    // Read to the end: a stream that is dropped earlier costs the connection.
    while let Some(batch) = stream.message().await? {
        for event in batch.events.into_iter().filter_map(|event| event.event) {
            match event {
                Event::Output(chunk) if !chunk.data.is_empty() => put_out(&chunk.data),
                Event::Finished(finished) => {
                    let job = finished.job.unwrap_or_default();
                    ensure!(job.status() == JobStatus::Completed, "{:?}", job.failure);
                    ended = Some(job);
                }
                _ => {}
            }
        }
    }
    ended.ok_or_else(|| anyhow!("the watched job never finished"))
}

fn milliseconds(duration: Duration) -> f64 {
    real(usize::try_from(duration.as_micros()).unwrap_or(usize::MAX)) / 1_000.0
}
