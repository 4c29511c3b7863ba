//! The miner's session logic, rule by rule, without a network.

mod ends;
mod paid;
mod property;
mod rules;
mod streams;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use aitbc_common::address::Address;
use aitbc_common::hash::{Hash, sha256};
use aitbc_common::identity::Identity;
use aitbc_common::ids::{JobId, MinerId};
use aitbc_common::job_input::JobType;
use aitbc_common::layouts::{Assignment, JobSpec, NO_MAX_RATE, Requirements};
use aitbc_proto::v1::coordinator_message::Message as Down;
use aitbc_proto::v1::miner_message::Message as Up;
use aitbc_proto::v1::{
    Ack, Assign, Cancel, Challenge, CoordinatorHeartbeat, CoordinatorMessage, Failure,
    FailureReason, Inventory, JobStatus, MinerModel, ResumeAttempt, Welcome,
};
use bytes::Bytes;

use super::{Action, AttemptKey, CoreConfig, End, Event, Notice, SessionCore, SpoolRecord};
use crate::runner::{FinishReason, RunResult};

const CHAIN: Hash = [7; 32];
const INPUT: &[u8] = br#"{"prompt":"Hello AITBC"}"#;

fn service() -> Identity {
    Identity::from_seed(&[1; 32])
}

fn log() -> Identity {
    Identity::from_seed(&[6; 32])
}

fn miner() -> Arc<Identity> {
    Arc::new(Identity::from_seed(&[2; 32]))
}

fn config() -> CoreConfig {
    CoreConfig {
        identity: miner(),
        miner_id: MinerId([3; 16]),
        chain_id: CHAIN,
        service_key: service().public(),
        log_key: log().public(),
        takeover: false,
        version: "0.1.0".to_owned(),
        job_limit: None,
    }
}

fn inventory(slots: u32) -> Inventory {
    let model = MinerModel {
        name: "llama3:latest".to_owned(),
        digest: Bytes::from_static(&[9; 32]),
        context_tokens: 8192,
        prompt_speed: 0,
        output_speed: 0,
        embeddings: false,
    };
    Inventory {
        models: vec![model],
        slots,
        engine: "ollama/0.17.4".to_owned(),
        tools: Vec::new(),
    }
}

fn key(job: u8, attempt: u16) -> AttemptKey {
    AttemptKey {
        job: JobId([job; 16]),
        attempt,
    }
}

fn assign_with(key: AttemptKey, change: impl FnOnce(&mut Assignment, &mut JobSpec)) -> Assign {
    let mut spec = JobSpec {
        job_type: JobType::Inference,
        flags: 0,
        chain_id: CHAIN,
        owner: Identity::from_seed(&[4; 32]).public(),
        salt: [5; 32],
        model_name_hash: sha256(b"llama3:latest"),
        model_digest: [0; 32],
        input_len: INPUT.len() as u64,
        input_hash: sha256(INPUT),
        requirements_hash: Requirements::default().hash(),
        max_rate: NO_MAX_RATE,
        deadline_ms: 3_600_000,
    };
    let mut assignment = Assignment {
        flags: 0,
        attempt: key.attempt,
        chain_id: CHAIN,
        job_id: key.job,
        job_ref: Hash::default(),
        miner_key: miner().public(),
        payee: Address::dev_payee(&miner()),
        rate: 500_000,
        fee_bps: 250,
        locked: 0,
        budget_ms: u64::MAX,
        prompt_speed: 0,
        output_speed: 0,
        issued_ms: 1_000,
        locks_hash: Hash::default(),
    };
    change(&mut assignment, &mut spec);
    if assignment.job_ref == Hash::default() {
        assignment.job_ref = spec.job_ref();
    }
    Assign {
        job_id: key.job.to_string(),
        attempt: u32::from(key.attempt),
        assignment: assignment.encode().into(),
        assignment_signature: Bytes::copy_from_slice(&assignment.sign(&service())),
        spec: spec.encode().into(),
        model: "llama3:latest".to_owned(),
        input: Bytes::from_static(INPUT),
        time_left: Some(prost_types::Duration {
            seconds: 3600,
            nanos: 0,
        }),
    }
}

fn assign(key: AttemptKey) -> Assign {
    assign_with(key, |_, _| {})
}

fn result(content: &str) -> Box<RunResult> {
    Box::new(RunResult {
        content: content.to_owned(),
        thinking: String::new(),
        tool_calls: Vec::new(),
        embeddings: None,
        finish_reason: FinishReason::Stop,
        tokens_in: 14,
        tokens_out: 61,
        prompt_eval_duration: Duration::from_millis(140),
        eval_duration: Duration::from_millis(2000),
        load_duration: Duration::from_secs(9),
    })
}

fn ack(key: AttemptKey) -> Ack {
    Ack {
        job_id: key.job.to_string(),
        attempt: u32::from(key.attempt),
        error: None,
    }
}

/// A core with a clock, and what it did.
struct Rig {
    core: SessionCore,
    now: Duration,
    actions: VecDeque<Action>,
}

impl Rig {
    fn new(config: CoreConfig, slots: u32, spooled: Vec<SpoolRecord>) -> Self {
        let core = SessionCore::new(config, inventory(slots), spooled);
        Self {
            core,
            now: Duration::from_secs(100),
            actions: VecDeque::new(),
        }
    }

    /// One whose session is open and that has said so.
    fn open(slots: u32) -> Self {
        Self::open_with(config(), slots)
    }

    fn open_with(config: CoreConfig, slots: u32) -> Self {
        let mut rig = Self::new(config, slots, Vec::new());
        rig.connect(Vec::new());
        rig.sent();
        rig.actions.clear();
        rig
    }

    fn connect(&mut self, attempts: Vec<ResumeAttempt>) -> aitbc_proto::v1::Hello {
        self.handle(Event::Connected);
        self.down(Down::Challenge(Challenge {
            challenge: Bytes::from_static(&[8; 32]),
            chain_id: Bytes::from_static(&CHAIN),
        }));
        let mut sent = self.sent();
        assert_eq!(sent.len(), 1, "only Hello before Welcome: {sent:?}");
        let Some(Up::Hello(hello)) = sent.pop() else {
            panic!("no Hello")
        };
        self.down(Down::Welcome(Welcome {
            session_id: 1,
            attempts,
            heartbeat_interval: Some(prost_types::Duration {
                seconds: 10,
                nanos: 0,
            }),
            lease: Some(prost_types::Duration {
                seconds: 30,
                nanos: 0,
            }),
            accept_within: Some(prost_types::Duration {
                seconds: 5,
                nanos: 0,
            }),
            ..Welcome::default()
        }));
        hello
    }

    fn handle(&mut self, event: Event) {
        self.actions.extend(self.core.handle(self.now, event));
    }

    fn down(&mut self, message: Down) {
        self.handle(Event::Message(CoordinatorMessage {
            message: Some(message),
        }));
    }

    /// Lets time pass; ticks come when they are due.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(deadline) = self
            .core
            .next_deadline()
            .filter(|deadline| *deadline <= end)
        {
            self.now = self.now.max(deadline);
            self.handle(Event::Tick);
        }
        self.now = end;
        self.handle(Event::Tick);
    }

    /// Everything that waits to be sent.
    fn sent(&mut self) -> Vec<Up> {
        let mut sent = Vec::new();
        while let Some(batch) = self.core.outgoing(self.now) {
            sent.extend(batch.into_iter().filter_map(|message| message.message));
        }
        sent
    }

    fn output(&mut self, key: AttemptKey, data: &str, output_tokens: u32) {
        self.handle(Event::Output {
            key,
            data: Bytes::copy_from_slice(data.as_bytes()),
            output_tokens,
        });
    }

    /// Performs every Store; the records.
    fn store(&mut self) -> Vec<SpoolRecord> {
        let actions = std::mem::take(&mut self.actions);
        let mut records = Vec::new();
        for action in actions {
            match action {
                Action::Store(record) => records.push(*record),
                other => self.actions.push_back(other),
            }
        }
        for record in &records {
            self.handle(Event::Stored(record.key));
        }
        records
    }

    fn started(&self) -> Vec<AttemptKey> {
        self.actions
            .iter()
            .filter_map(|action| {
                if let Action::Start(start) = action {
                    Some(start.key)
                } else {
                    None
                }
            })
            .collect()
    }

    fn stopped(&self) -> Vec<AttemptKey> {
        self.actions
            .iter()
            .filter_map(|action| {
                if let Action::Stop(key) = action {
                    Some(*key)
                } else {
                    None
                }
            })
            .collect()
    }

    /// Accepts a job, generates an answer, and stores it.
    fn finish_job(&mut self, key: AttemptKey) -> SpoolRecord {
        self.down(Down::Assign(assign(key)));
        self.output(key, "Hello!", 2);
        self.handle(Event::Finished {
            key,
            result: result("Hello!"),
        });
        self.store().remove(0)
    }
}

fn cancel(key: AttemptKey) -> Down {
    Down::Cancel(Cancel {
        job_id: key.job.to_string(),
        attempt: u32::from(key.attempt),
        status: JobStatus::Cancelled as i32,
        ..Cancel::default()
    })
}

fn echo(rig: &mut Rig, sequence: u64) {
    rig.down(Down::Heartbeat(CoordinatorHeartbeat {
        sequence,
        ..CoordinatorHeartbeat::default()
    }));
}

fn ends(rig: &Rig) -> Vec<End> {
    rig.actions
        .iter()
        .filter_map(|a| {
            if let Action::End(end) = a {
                Some(end.clone())
            } else {
                None
            }
        })
        .collect()
}

fn rejects(sent: &[Up]) -> Vec<FailureReason> {
    let reason = |up: &Up| {
        if let Up::Reject(r) = up {
            r.failure.as_ref().map(Failure::reason)
        } else {
            None
        }
    };
    sent.iter().filter_map(reason).collect()
}
