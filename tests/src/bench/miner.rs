//! A miner without a model: a real session, real signatures, and an answer that is ready before the job is.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aitbc_common::address::Address;
use aitbc_common::hash::sha256;
use aitbc_common::identity::PublicKey;
use aitbc_common::ids::MinerId;
use aitbc_common::layouts::{Assignment, JobSpec, Outcome, Receipt, SessionProof};
use aitbc_common::limits::SESSION_BATCH_BYTES;
use aitbc_common::result_document::{FinishReason, ResultDocument, Usage};
use aitbc_common::runtime::channel::Connection;
use aitbc_proto::v1::coordinator_message::Message as Down;
use aitbc_proto::v1::miner_message::Message as Up;
use aitbc_proto::v1::{
    self, MinerMessage, MinerModel, OpenSessionRequest, OpenSessionResponse, OutputKind,
    RegisterMinerRequest,
};
use anyhow::{Context, anyhow, bail, ensure};
use bytes::Bytes;
use prost::Message;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

use super::latency::Latencies;

/// The model that jobs ask for.
pub const MODEL: &str = "bench:latest";
/// Bytes of an answer's text.
pub const OUTPUT_BYTES: usize = 1_024;

const ENGINE: &str = "bench/1";
const DIGEST: [u8; 32] = [7; 32];
const TOKENS: u32 = 256;
/// Micro-AIT per hour and slot: 0.5 AIT.
const PRICE: u64 = 500_000;
/// More than any job takes here, so that a paid one is billed for the time that the coordinator observed.
const WORK_MS: u64 = 10_000;
const HEARTBEAT: Duration = Duration::from_secs(10);
const FAREWELL: Duration = Duration::from_secs(10);
/// Batches that may wait for the connection.
const BATCHES: usize = 4;

/// The moment that a job was submitted stands in the first bytes of its salt, in nanoseconds after `origin`.
#[derive(Debug, Clone, Copy)]
pub struct Origin(Instant);

impl Origin {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        Self(Instant::now())
    }

    /// Bytes that name this moment.
    #[must_use]
    pub fn stamp(&self) -> [u8; 8] {
        let elapsed = self.0.elapsed().as_nanos();
        u64::try_from(elapsed).unwrap_or(u64::MAX).to_be_bytes()
    }

    /// Time since a stamp.
    fn since(&self, stamp: [u8; 8]) -> Duration {
        self.0
            .elapsed()
            .saturating_sub(Duration::from_nanos(u64::from_be_bytes(stamp)))
    }
}

/// A miner in session.
#[derive(Debug)]
pub struct Miner {
    task: JoinHandle<anyhow::Result<()>>,
    stop: CancellationToken,
    dispatch: Arc<Mutex<Latencies>>,
}

impl Miner {
    /// Registers the connection's identity and opens its session; `slots` 1 to 256.
    pub async fn open(connection: Connection, slots: u32, origin: Origin) -> anyhow::Result<Self> {
        let miner_id = register(&connection, slots).await?;
        let (up, waiting) = mpsc::channel(BATCHES);
        let response = connection
            .miners()
            .open_session(ReceiverStream::new(waiting))
            .await
            .context("no session")?;
        let mut session = Session {
            down: response.into_inner(),
            up,
            pending: VecDeque::new(),
            answer: Answer::new(&connection),
            slots,
            dispatch: Arc::default(),
            origin,
            connection,
        };
        session.prove(miner_id).await?;
        session.say(Up::Inventory(v1::Inventory {
            models: vec![model()],
            slots,
            engine: ENGINE.to_owned(),
            tools: Vec::new(),
        }));
        let (dispatch, stop) = (Arc::clone(&session.dispatch), CancellationToken::new());
        let task = tokio::spawn(session.run(stop.clone()));
        Ok(Self {
            task,
            stop,
            dispatch,
        })
    }

    /// Times from a job's submission to its assignment's arrival, since the last call.
    #[must_use]
    pub fn take_dispatch(&self) -> Latencies {
        let mut dispatch = self.dispatch.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut dispatch)
    }

    /// Ends the session and reads its stream to the end.
    pub async fn close(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.task.await?
    }
}

async fn register(connection: &Connection, slots: u32) -> anyhow::Result<MinerId> {
    let payee = Address::dev_payee(&connection.identity);
    let request = RegisterMinerRequest {
        name: "bench".to_owned(),
        models: vec![model()],
        slots,
        price_per_hour_micro_ait: PRICE,
        payout_address: payee.0.to_vec().into(),
        engine: ENGINE.to_owned(),
        ..Default::default()
    };
    let registered = connection.miners().register_miner(request).await?;
    let miner = registered.into_inner().miner.unwrap_or_default();
    Ok(miner.miner_id.parse()?)
}

fn model() -> MinerModel {
    MinerModel {
        name: MODEL.to_owned(),
        digest: DIGEST.to_vec().into(),
        context_tokens: 8_192,
        ..Default::default()
    }
}

struct Session {
    connection: Connection,
    down: Streaming<OpenSessionResponse>,
    up: mpsc::Sender<OpenSessionRequest>,
    pending: VecDeque<MinerMessage>,
    answer: Answer,
    slots: u32,
    dispatch: Arc<Mutex<Latencies>>,
    origin: Origin,
}

impl Session {
    /// Answers the challenge and waits for the welcome.
    async fn prove(&mut self, miner_id: MinerId) -> anyhow::Result<()> {
        let Down::Challenge(challenge) = self.first().await? else {
            bail!("a session must begin with a challenge");
        };
        let challenge = challenge.challenge.as_ref().try_into()?;
        let chain_id = *self.connection.chain_id();
        let proof = SessionProof {
            chain_id,
            challenge,
            miner_id,
        };
        let hello = Up::Hello(v1::Hello {
            miner_id: miner_id.to_string(),
            proof: proof.sign(&self.connection.identity).to_vec().into(),
            version: "bench".to_owned(),
            ..Default::default()
        });
        self.say(hello);
        let batch = next_batch(&mut self.pending);
        self.up.send(batch).await.context("the session ended")?;
        match self.first().await? {
            Down::Welcome(_) => Ok(()),
            other => bail!("no welcome but {other:?}"),
        }
    }

    async fn first(&mut self) -> anyhow::Result<Down> {
        let batch = self.down.message().await?;
        batch
            .and_then(|batch| batch.messages.into_iter().next()?.message)
            .ok_or_else(|| anyhow!("the session ended before it began"))
    }

    async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        let up = self.up.clone();
        let mut sequence = 0;
        let mut heartbeat =
            tokio::time::interval_at(tokio::time::Instant::now() + HEARTBEAT, HEARTBEAT);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                batch = self.down.message() => match batch? {
                    Some(batch) => self.received(batch)?,
                    None => bail!("the coordinator ended the session"),
                },
                permit = up.reserve(), if !self.pending.is_empty() => {
                    permit.context("the session ended")?.send(next_batch(&mut self.pending));
                }
                _ = heartbeat.tick() => {
                    sequence += 1;
                    // Jobs end as soon as they arrive: none is running.
                    let (running, free_slots) = (Vec::new(), self.slots);
                    self.say(Up::Heartbeat(v1::MinerHeartbeat { sequence, running, free_slots }));
                }
            }
        }
        drop((up, self.up));
        let rest = async { while let Ok(Some(_)) = self.down.message().await {} };
        let _cut_off = tokio::time::timeout(FAREWELL, rest).await;
        Ok(())
    }

    fn received(&mut self, batch: OpenSessionResponse) -> anyhow::Result<()> {
        for message in batch.messages {
            match message.message {
                Some(Down::Assign(assign)) => self.assigned(assign)?,
                Some(Down::Ack(v1::Ack {
                    error: Some(error), ..
                })) => bail!("a delivery was refused: {}", error.message),
                Some(Down::GoingAway(away)) => bail!("sent away: {}", away.message),
                Some(Down::Cancel(cancel)) => bail!("{} was cancelled", cancel.job_id),
                Some(Down::Resend(resend)) => bail!("{} has to be sent again", resend.job_id),
                _ => {}
            }
        }
        Ok(())
    }

    fn assigned(&mut self, assign: v1::Assign) -> anyhow::Result<()> {
        let spec = JobSpec::decode(&assign.spec)?;
        let stamp = spec.salt.first_chunk().expect("a salt has 32 bytes");
        let waited = self.origin.since(*stamp);
        self.dispatch
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .add(waited);
        let (job_id, attempt) = (assign.job_id.clone(), assign.attempt);
        self.say(Up::Accept(v1::Accept {
            job_id: job_id.clone(),
            attempt,
        }));
        for (kind, data) in [
            (OutputKind::Output, self.answer.output.clone()),
            (OutputKind::Result, self.answer.result.clone()),
        ] {
            self.say(Up::Output(v1::Output {
                job_id: job_id.clone(),
                attempt,
                kind: kind.into(),
                offset: 0,
                data,
            }));
        }
        let complete = self.answer.complete(&self.connection, &assign)?;
        self.say(Up::Complete(complete));
        Ok(())
    }

    fn say(&mut self, message: Up) {
        self.pending.push_back(MinerMessage {
            message: Some(message),
        });
    }
}

/// What waits, up to the bound of a batch.
fn next_batch(pending: &mut VecDeque<MinerMessage>) -> OpenSessionRequest {
    let mut messages = Vec::new();
    let mut bytes = 0;
    while let Some(message) = pending.front() {
        bytes += message.encoded_len() + 5;
        if bytes > SESSION_BATCH_BYTES && !messages.is_empty() {
            break;
        }
        messages.extend(pending.pop_front());
    }
    OpenSessionRequest { messages }
}

/// The same answer for every job.
struct Answer {
    output: Bytes,
    result: Bytes,
    hashes: [[u8; 32]; 4],
    miner_key: PublicKey,
}

impl Answer {
    fn new(connection: &Connection) -> Self {
        let content: String = "answer. ".chars().cycle().take(OUTPUT_BYTES).collect();
        let document = ResultDocument {
            content: Some(content.clone()),
            thinking: None,
            tool_calls: None,
            embeddings: None,
            finish_reason: FinishReason::Stop,
            usage: Usage {
                input_tokens: TOKENS,
                output_tokens: TOKENS,
            },
        };
        let (output, result) = (Bytes::from(content), Bytes::from(document.to_bytes()));
        Self {
            hashes: [
                &output[..],
                &result[..],
                MODEL.as_bytes(),
                ENGINE.as_bytes(),
            ]
            .map(sha256),
            output,
            result,
            miner_key: connection.identity.public(),
        }
    }

    fn complete(
        &self,
        connection: &Connection,
        assign: &v1::Assign,
    ) -> anyhow::Result<v1::Complete> {
        let assignment = Assignment::decode(&assign.assignment)?;
        ensure!(
            assignment.miner_key == self.miner_key,
            "another miner's job"
        );
        let [output_hash, result_hash, model_name_hash, engine_hash] = self.hashes;
        let receipt = Receipt {
            outcome: Outcome::Complete,
            attempt: assignment.attempt,
            chain_id: assignment.chain_id,
            job_id: assignment.job_id,
            job_ref: assignment.job_ref,
            assignment_hash: assignment.id(&assign.assignment_signature),
            miner_key: assignment.miner_key,
            payee: assignment.payee,
            model_name_hash,
            model_digest: DIGEST,
            engine_hash,
            output_len: OUTPUT_BYTES as u64,
            output_hash,
            result_hash,
            tokens_in: TOKENS,
            tokens_out: TOKENS,
            work_ms: WORK_MS,
            seen_size: 0,
            seen_root: [0; 32],
        };
        Ok(v1::Complete {
            job_id: assign.job_id.clone(),
            attempt: assign.attempt,
            signature: receipt.sign(&connection.identity).to_vec().into(),
            receipt: receipt.encode().into(),
            served_model: MODEL.to_owned(),
            engine: ENGINE.to_owned(),
        })
    }
}
