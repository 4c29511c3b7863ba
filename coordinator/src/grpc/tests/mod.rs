//! A whole coordinator in this process, called over the network.

mod acknowledgements;
mod attempts;
mod audited;
mod funding;
mod lists;
mod streams;
mod watches;

use std::sync::Arc;

use aitbc_common::address::Address;
use aitbc_common::hash::sha256;
use aitbc_common::identity::Identity;
use aitbc_common::layouts::{Assignment, JobSpec, Outcome, Receipt, SessionProof};
use aitbc_common::result_document::{FinishReason, ResultDocument, Usage};
use aitbc_common::runtime::channel::{Connection, CoordinatorUrl};
use aitbc_common::token::Scope;
use aitbc_proto::v1::coordinator_message::Message as Down;
use aitbc_proto::v1::miner_message::Message as Up;
use aitbc_proto::v1::{self, OutputKind};
use bytes::Bytes;
use clap::Parser;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

use super::Services;
use crate::config::{Config, Options};
use crate::coordinator::Coordinator;

const ENGINE: &str = "test/1";

/// A running coordinator with its data in memory.
struct Running {
    url: CoordinatorUrl,
    shutdown: CancellationToken,
    services: Arc<Services>,
    _folder: tempfile::TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

async fn start() -> Running {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let arguments = ["x", "--dev", "--store", "memory", "--data-dir", path];
    let config = Config::load(&Options::parse_from(arguments)).unwrap();
    let shutdown = CancellationToken::new();
    let coordinator = Coordinator::open(&config, shutdown.clone()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let services = Arc::clone(&coordinator.services);
    tokio::spawn(
        coordinator
            .serving
            .run(coordinator.services, listener, None),
    );
    Running {
        url: CoordinatorUrl::parse(&address).unwrap(),
        shutdown,
        services,
        _folder: folder,
    }
}

impl Running {
    async fn connect(&self, seed: u8, scope: Scope) -> Connection {
        let identity = Arc::new(Identity::from_seed(&[seed; 32]));
        Connection::open(&self.url, identity, scope).await.unwrap()
    }

    async fn client(&self) -> Connection {
        self.connect(1, Scope::Client).await
    }
}

async fn submit(client: &Connection, request_id: &str) -> String {
    let spec = v1::JobSpec {
        r#type: v1::JobType::Inference.into(),
        model: "llama3".into(),
        input: Bytes::from_static(br#"{"prompt":"Hello"}"#),
        salt: vec![7; 32].into(),
        ..v1::JobSpec::default()
    };
    let request = v1::SubmitJobRequest {
        request_id: request_id.into(),
        spec: Some(spec),
        ..v1::SubmitJobRequest::default()
    };
    let answer = client.jobs().submit_job(request).await.unwrap();
    answer.into_inner().job_id
}

/// An answer of any length, and the receipt for it.
struct Answer {
    output: Vec<u8>,
    result: Vec<u8>,
}

impl Answer {
    fn new(length: usize) -> Self {
        // Every character of its own offset, so that bytes cannot trade places unnoticed.
        let text: String = (0..length)
            .map(|i| char::from(b'a' + u8::try_from(i * 7 % 26).unwrap()))
            .collect();
        let document = ResultDocument {
            content: Some(text.clone()),
            thinking: None,
            tool_calls: None,
            embeddings: None,
            finish_reason: FinishReason::Stop,
            usage: Usage {
                input_tokens: 3,
                output_tokens: 4,
            },
        };
        Self {
            output: text.into_bytes(),
            result: document.to_bytes(),
        }
    }

    fn complete(&self, assign: &v1::Assign, miner: &Identity) -> v1::Complete {
        let assignment = Assignment::decode(&assign.assignment).unwrap();
        let spec = JobSpec::decode(&assign.spec).unwrap();
        let receipt = Receipt {
            outcome: Outcome::Complete,
            attempt: assignment.attempt,
            chain_id: assignment.chain_id,
            job_id: assignment.job_id,
            job_ref: assignment.job_ref,
            assignment_hash: assignment.id(&assign.assignment_signature),
            miner_key: miner.public(),
            payee: assignment.payee,
            model_name_hash: spec.model_name_hash,
            model_digest: [4; 32],
            engine_hash: sha256(ENGINE.as_bytes()),
            output_len: self.output.len() as u64,
            output_hash: sha256(&self.output),
            result_hash: sha256(&self.result),
            tokens_in: 3,
            tokens_out: 4,
            work_ms: 1,
            seen_size: 0,
            seen_root: [0; 32],
        };
        v1::Complete {
            job_id: assign.job_id.clone(),
            attempt: assign.attempt,
            signature: receipt.sign(miner).to_vec().into(),
            receipt: receipt.encode().into(),
            served_model: assign.model.clone(),
            engine: ENGINE.into(),
        }
    }
}

/// A miner in session.
struct Miner {
    identity: Identity,
    up: mpsc::Sender<v1::OpenSessionRequest>,
    down: Streaming<v1::OpenSessionResponse>,
    waiting: Vec<Down>,
}

async fn register(connection: &Connection, models: Vec<v1::MinerModel>) -> String {
    let request = v1::RegisterMinerRequest {
        name: "rig".into(),
        models,
        slots: 1,
        payout_address: Address([6; 20]).0.to_vec().into(),
        price_per_hour_micro_ait: 500_000,
        engine: ENGINE.into(),
        ..v1::RegisterMinerRequest::default()
    };
    let answer = connection.miners().register_miner(request).await.unwrap();
    answer.into_inner().miner.unwrap().miner_id
}

fn llama3() -> v1::MinerModel {
    v1::MinerModel {
        name: "llama3:latest".into(),
        digest: vec![4; 32].into(),
        context_tokens: 8_192,
        ..v1::MinerModel::default()
    }
}

impl Miner {
    async fn open(running: &Running, held: Vec<v1::RunningAttempt>) -> (Self, v1::Welcome) {
        Self::open_as(running, 2, vec![llama3()], held).await
    }

    async fn open_as(
        running: &Running,
        seed: u8,
        models: Vec<v1::MinerModel>,
        held: Vec<v1::RunningAttempt>,
    ) -> (Self, v1::Welcome) {
        let identity = Identity::from_seed(&[seed; 32]);
        let connection = running.connect(seed, Scope::Miner).await;
        let miner_id = register(&connection, models.clone()).await;
        let (up, requests) = mpsc::channel(64);
        let requests = ReceiverStream::new(requests);
        let down = connection.miners().open_session(requests).await.unwrap();
        let mut miner = Self {
            identity,
            up,
            down: down.into_inner(),
            waiting: Vec::new(),
        };
        let Down::Challenge(challenge) = miner.next().await else {
            panic!("no challenge first");
        };
        let proof = SessionProof {
            chain_id: *connection.chain_id(),
            challenge: challenge.challenge.as_ref().try_into().unwrap(),
            miner_id: miner_id.parse().unwrap(),
        };
        let proof = proof.sign(&miner.identity).to_vec().into();
        let hello = v1::Hello {
            miner_id,
            proof,
            running: held,
            takeover: true,
            ..v1::Hello::default()
        };
        miner.say(Up::Hello(hello)).await;
        let Down::Welcome(welcome) = miner.next().await else {
            panic!("no Welcome");
        };
        let inventory = v1::Inventory {
            models,
            slots: 1,
            engine: ENGINE.into(),
            tools: Vec::new(),
        };
        miner.say(Up::Inventory(inventory)).await;
        (miner, welcome)
    }

    async fn say(&self, message: Up) {
        let message = v1::MinerMessage {
            message: Some(message),
        };
        let messages = vec![message];
        self.up
            .send(v1::OpenSessionRequest { messages })
            .await
            .unwrap();
    }

    async fn next(&mut self) -> Down {
        while self.waiting.is_empty() {
            let batch = self
                .down
                .message()
                .await
                .unwrap()
                .expect("the session goes on");
            self.waiting
                .extend(batch.messages.into_iter().filter_map(|m| m.message));
        }
        self.waiting.remove(0)
    }

    async fn assigned(&mut self) -> v1::Assign {
        let Down::Assign(assign) = self.next().await else {
            panic!("no Assign");
        };
        let (job_id, attempt) = (assign.job_id.clone(), assign.attempt);
        self.say(Up::Accept(v1::Accept { job_id, attempt })).await;
        assign
    }

    async fn send_all(&self, assign: &v1::Assign, answer: &Answer) {
        self.send(assign, OutputKind::Output, 0, &answer.output)
            .await;
        self.send(assign, OutputKind::Result, 0, &answer.result)
            .await;
    }

    async fn send(&self, assign: &v1::Assign, kind: OutputKind, offset: usize, bytes: &[u8]) {
        for (index, chunk) in bytes.chunks(100_000).enumerate() {
            let output = v1::Output {
                job_id: assign.job_id.clone(),
                attempt: assign.attempt,
                kind: kind.into(),
                offset: (offset + index * 100_000) as u64,
                data: Bytes::copy_from_slice(chunk),
            };
            self.say(Up::Output(output)).await;
        }
    }

    async fn acknowledged(&mut self) -> Option<v1::RequestError> {
        loop {
            if let Down::Ack(ack) = self.next().await {
                return ack.error;
            }
        }
    }
}

/// What a watcher saw.
#[derive(Default)]
struct Seen {
    statuses: Vec<v1::JobStatus>,
    attempt: u32,
    output: Vec<u8>,
    finished: Option<v1::JobFinished>,
}

async fn watch(
    client: &Connection,
    job_id: &str,
    attempt: u32,
    offset: u64,
) -> Streaming<v1::WatchJobResponse> {
    let request = v1::WatchJobRequest {
        job_id: job_id.into(),
        attempt,
        offset,
    };
    client.jobs().watch_job(request).await.unwrap().into_inner()
}

impl Seen {
    /// Reads on until `enough`, or to the end.
    async fn read(
        &mut self,
        stream: &mut Streaming<v1::WatchJobResponse>,
        enough: impl Fn(&Self) -> bool,
    ) {
        use v1::watch_job_event::Event;
        while !enough(self) {
            let Some(response) = stream.message().await.unwrap() else {
                return;
            };
            for event in response.events {
                match event.event.unwrap() {
                    Event::Job(job) => self.statuses.push(job.status()),
                    Event::AttemptStarted(started) => self.attempt = started.attempt,
                    Event::Output(chunk) => {
                        assert_eq!(chunk.attempt, self.attempt);
                        assert_eq!(chunk.offset, self.output.len() as u64);
                        self.output.extend_from_slice(&chunk.data);
                    }
                    Event::Finished(finished) => self.finished = Some(finished),
                    Event::Checkpoint(_) | Event::Keepalive(_) => {}
                }
            }
        }
    }
}

async fn result(client: &Connection, job_id: &str, skip: u64) -> (Vec<u8>, Vec<u8>) {
    use v1::get_result_response::Part;
    let request = v1::GetResultRequest {
        job_id: job_id.into(),
        output_offset: skip,
    };
    let mut parts = client
        .jobs()
        .get_result(request)
        .await
        .unwrap()
        .into_inner();
    let (mut output, mut document) = (Vec::new(), Vec::new());
    while let Some(part) = parts.message().await.unwrap() {
        match part.part.unwrap() {
            Part::Header(header) => assert!(header.proof.is_some()),
            Part::Output(bytes) => output.extend_from_slice(&bytes),
            Part::Result(bytes) => document.extend_from_slice(&bytes),
        }
    }
    (output, document)
}
