//! A coordinator with one job that plays a script.

mod service;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use aitbc_common::address::Address;
use aitbc_common::genesis::{Genesis, chain_id};
use aitbc_common::hash::{Hash, sha256};
use aitbc_common::identity::{Identity, PublicKey};
use aitbc_common::ids::JobId;
use aitbc_common::job_input::JobType as Type;
use aitbc_common::layouts::{
    self, Assignment, NO_MAX_RATE, Outcome, Receipt, Requirements, StreamCheckpoint,
};
use aitbc_common::names::canonical_model;
use aitbc_proto::v1::job_service_server::JobServiceServer;
use aitbc_proto::v1::network_service_server::NetworkServiceServer;
use aitbc_proto::v1::watch_job_event::Event;
use aitbc_proto::v1::*;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Status;
use tonic::transport::Server;

/// What the model answers.
pub const OUTPUT: &[u8] = "Hello! Ünïted we stand. How can I help you today?".as_bytes();

/// One step of a stream.
#[derive(Debug, Clone)]
pub enum Say {
    /// This attempt begins.
    Start(u16),
    /// Output from here to there.
    Output(usize, usize),
    /// The same with one byte changed.
    ChangedByte(usize, usize),
    /// Output to the first place, then the two parts around the second swapped, each with the other's place.
    Swapped(usize, usize),
    /// A checkpoint.
    Checkpoint(usize),
    /// The end, as it should be.
    Finish,
    FinishWithoutResult,
    FinishWithoutProof,
    FinishChangedResult,
    FinishOtherModel,
    FinishOtherJob,
    /// The job failed.
    JobFailed,
    /// The stream breaks.
    Fail(Status),
}

#[derive(Default)]
pub struct Script {
    pub submitted: Vec<SubmitJobRequest>,
    pub submits_that_fail: u32,
    pub wrong_job_ref: bool,
    pub completed: bool,
    pub retries_another: bool,
    /// What new jobs are called, whatever they are.
    pub calls_new_jobs: Option<JobId>,
    positions: Vec<(u32, u64)>,
    streams: VecDeque<Vec<Say>>,
    spec: Option<layouts::JobSpec>,
    attempt: u16,
}

#[derive(Clone, Default)]
pub struct Coordinator(Arc<Mutex<Script>>);

fn service() -> Identity {
    Identity::from_seed(&[1; 32])
}

fn miner() -> Identity {
    Identity::from_seed(&[2; 32])
}

fn id_of(spec: &layouts::JobSpec) -> JobId {
    let job_ref = spec.job_ref();
    let (random, _) = job_ref.split_first_chunk().unwrap();
    JobId::new(1_795_428_000_000, 3, *random)
}

fn genesis() -> Vec<u8> {
    let key = service().public().0;
    Genesis {
        allocations: std::collections::BTreeMap::new(),
        faucet: None,
        previous: None,
        auditors: Vec::new(),
        fee_bps: 250,
        log_key: key,
        profile: "dev".into(),
        random: [7; 32],
        service_key: key,
        version: 1,
    }
    .to_bytes()
}

fn result() -> Vec<u8> {
    let content = serde_json::Value::from(std::str::from_utf8(OUTPUT).unwrap());
    format!(r#"{{"content":{content},"finish_reason":"stop","usage":{{"input_tokens":14,"output_tokens":61}}}}"#).into_bytes()
}

impl Coordinator {
    pub async fn serve() -> (Self, SocketAddr) {
        let coordinator = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server::builder()
            .add_service(NetworkServiceServer::new(coordinator.clone()))
            .add_service(JobServiceServer::new(coordinator.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        (coordinator, address)
    }

    pub fn change<T>(&self, change: impl FnOnce(&mut Script) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }

    pub fn play(&self, streams: Vec<Vec<Say>>) {
        self.change(|script| script.streams = streams.into());
    }

    pub fn service_key(&self) -> String {
        hex::encode(service().public().0)
    }

    /// Where each stream was asked to begin.
    pub fn positions(&self) -> Vec<(u32, u64)> {
        self.change(|script| script.positions.clone())
    }
}

impl Script {
    fn understood(&self, spec: &JobSpec, owner: PublicKey) -> layouts::JobSpec {
        let requirements = spec.requirements.clone().unwrap_or_default();
        layouts::JobSpec {
            job_type: Type::try_from(u8::try_from(spec.r#type).unwrap()).unwrap(),
            flags: u16::from(spec.allow_audit),
            chain_id: chain_id(&genesis()),
            owner,
            salt: spec.salt[..].try_into().unwrap(),
            model_name_hash: sha256(canonical_model(&spec.model).unwrap().as_bytes()),
            model_digest: spec.model_digest[..].try_into().unwrap_or_default(),
            input_len: spec.input.len() as u64,
            input_hash: sha256(&spec.input),
            requirements_hash: Requirements {
                min_vram_gib: requirements.min_vram_gib,
                ..Requirements::default()
            }
            .hash(),
            max_rate: spec.max_price_per_hour_micro_ait.unwrap_or(NO_MAX_RATE),
            deadline_ms: u64::try_from(spec.timeout.unwrap().seconds).unwrap() * 1_000,
        }
    }

    /// The newest job's id; results and proofs are this one's, whatever is asked for.
    pub fn job_id(&self) -> JobId {
        id_of(self.spec.as_ref().unwrap())
    }

    fn answer(&self, spec: &layouts::JobSpec) -> SubmitJobResponse {
        let mut job_ref = spec.job_ref();
        job_ref[0] ^= u8::from(self.wrong_job_ref);
        SubmitJobResponse {
            job_id: self
                .calls_new_jobs
                .unwrap_or_else(|| id_of(spec))
                .to_string(),
            job_ref: job_ref.to_vec().into(),
            status: 3,
            payment_status: 1,
            ..Default::default()
        }
    }

    fn job(&self) -> Job {
        let status = if self.completed {
            JobStatus::Completed
        } else {
            JobStatus::Queued
        };
        Job {
            job_id: self.job_id().to_string(),
            status: status.into(),
            payment_status: 1,
            model: "llama3".into(),
            miner_name: "rig-1".into(),
            ..Default::default()
        }
    }

    fn assignment(&self) -> (Assignment, Vec<u8>) {
        let spec = self.spec.clone().unwrap();
        let assignment = Assignment {
            flags: 0,
            attempt: self.attempt.max(1),
            chain_id: spec.chain_id,
            job_id: self.job_id(),
            job_ref: spec.job_ref(),
            miner_key: miner().public(),
            payee: Address([8; 20]),
            rate: 500_000,
            fee_bps: 250,
            locked: 0,
            budget_ms: u64::MAX,
            prompt_speed: 0,
            output_speed: 0,
            issued_ms: 1_000 + u64::from(self.attempt),
            locks_hash: Hash::default(),
        };
        let signature = assignment.sign(&service()).to_vec();
        (assignment, signature)
    }

    fn proof(&self, change: impl FnOnce(&mut Receipt)) -> ExecutionProof {
        let (assignment, signature) = self.assignment();
        let spec = self.spec.clone().unwrap();
        let mut receipt = Receipt {
            outcome: Outcome::Complete,
            attempt: assignment.attempt,
            chain_id: spec.chain_id,
            job_id: self.job_id(),
            job_ref: assignment.job_ref,
            assignment_hash: assignment.id(&signature),
            miner_key: assignment.miner_key,
            payee: assignment.payee,
            model_name_hash: spec.model_name_hash,
            model_digest: [5; 32],
            engine_hash: sha256(b"ollama/0.17.4"),
            output_len: OUTPUT.len() as u64,
            output_hash: sha256(OUTPUT),
            result_hash: sha256(&result()),
            tokens_in: 14,
            tokens_out: 61,
            work_ms: 2_140,
            seen_size: 0,
            seen_root: Hash::default(),
        };
        change(&mut receipt);
        ExecutionProof {
            spec: spec.encode().into(),
            assignment: assignment.encode().into(),
            assignment_signature: signature.into(),
            receipt_signature: receipt.sign(&miner()).to_vec().into(),
            receipt: receipt.encode().into(),
            service_key: service().public().0.to_vec().into(),
            served_model: "llama3:latest".into(),
            ..ExecutionProof::default()
        }
    }

    fn finished(&self, proof: Option<ExecutionProof>, result: Option<Vec<u8>>) -> Vec<Event> {
        let job = Job {
            status: JobStatus::Completed.into(),
            ..self.job()
        };
        vec![Event::Finished(JobFinished {
            job: Some(job),
            proof,
            result: result.map(Into::into),
        })]
    }

    fn chunk(&self, offset: usize, data: &[u8]) -> Event {
        Event::Output(OutputChunk {
            attempt: self.attempt.into(),
            offset: offset as u64,
            data: data.to_vec().into(),
        })
    }

    fn checkpoint(&self, offset: usize) -> Event {
        let (assignment, _) = self.assignment();
        let checkpoint = StreamCheckpoint {
            flags: 0,
            attempt: assignment.attempt,
            chain_id: assignment.chain_id,
            job_id: assignment.job_id,
            job_ref: assignment.job_ref,
            offset: offset as u64,
            hash: sha256(&OUTPUT[..offset]),
            tokens_out: 3,
            work_ms: 900,
        };
        Event::Checkpoint(OutputCheckpoint {
            attempt: self.attempt.into(),
            checkpoint: checkpoint.encode().into(),
            signature: checkpoint.sign(&miner()).to_vec().into(),
        })
    }

    fn events(&mut self, say: Say) -> Result<Vec<Event>, Status> {
        let honest = |_: &mut Receipt| {};
        Ok(match say {
            Say::Start(attempt) => {
                self.attempt = attempt;
                let (assignment, signature) = self.assignment();
                vec![Event::AttemptStarted(AttemptStarted {
                    attempt: attempt.into(),
                    miner_name: "rig-1".into(),
                    assignment: assignment.encode().into(),
                    assignment_signature: signature.into(),
                    ..Default::default()
                })]
            }
            Say::Output(from, to) => vec![self.chunk(from, &OUTPUT[from..to])],
            Say::ChangedByte(from, to) => {
                let mut data = OUTPUT[from..to].to_vec();
                data[0] ^= 1;
                vec![self.chunk(from, &data)]
            }
            Say::Swapped(from, middle) => {
                let second = OUTPUT.len() - middle;
                vec![
                    self.chunk(0, &OUTPUT[..from]),
                    self.chunk(from, &OUTPUT[middle..]),
                    self.chunk(from + second, &OUTPUT[from..middle]),
                ]
            }
            Say::Checkpoint(offset) => vec![self.checkpoint(offset)],
            Say::Finish => self.finished(Some(self.proof(honest)), Some(result())),
            Say::FinishWithoutResult => self.finished(Some(self.proof(honest)), None),
            Say::FinishWithoutProof => self.finished(None, Some(result())),
            Say::FinishChangedResult => self.finished(
                Some(self.proof(honest)),
                Some([&result()[..], b" "].concat()),
            ),
            Say::FinishOtherModel => self.finished(
                Some(self.proof(|receipt| receipt.model_name_hash = [0; 32])),
                Some(result()),
            ),
            Say::FinishOtherJob => self.finished(
                Some(self.proof(|receipt| receipt.job_ref = [0; 32])),
                Some(result()),
            ),
            Say::JobFailed => {
                let failure = Some(Failure {
                    reason: FailureReason::Stalled.into(),
                    message: "no token".into(),
                });
                let job = Job {
                    status: JobStatus::Failed.into(),
                    failure,
                    ..self.job()
                };
                let finished = JobFinished {
                    job: Some(job.clone()),
                    ..Default::default()
                };
                vec![Event::Job(job), Event::Finished(finished)]
            }
            Say::Fail(status) => return Err(status),
        })
    }
}
