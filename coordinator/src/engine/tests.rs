//! The engine's core, rule by rule, over a store in memory.

mod access;
mod acknowledgements;
mod attempts;
mod leases;
mod listings;
mod money;
mod recovery;
mod sessions;
mod submissions;

use std::sync::Arc;

use aitbc_common::hash::sha256;
use aitbc_common::identity::PublicKey;
use aitbc_common::ids::{JobId, MinerId, shard_of};
use aitbc_common::job_input::JobType;
use aitbc_common::layouts::{JobSpec, NO_MAX_RATE, Outcome, Receipt, Requirements};
use aitbc_proto::v1::{self, ErrorReason, FailureReason, JobStatus};
use bytes::Bytes;

use super::command::*;
use super::core::{EngineConfig, EngineCore};
use crate::store::{Durability, Fence, MemoryStore, SHARDS, Store};

const MODEL: &str = "llama3:latest";
const START: u64 = 1_767_225_600_000;
const LEASE_MS: u64 = 30_000;

fn owner(n: u8) -> PublicKey {
    PublicKey([n; 32])
}

fn miner_key(n: u8) -> PublicKey {
    PublicKey([100 + n; 32])
}

fn miner_id(n: u8) -> MinerId {
    MinerId::new(START, shard_of(&miner_key(n)), [n; 10])
}

fn job_id(n: u8, by: u8) -> JobId {
    JobId::new(START + u64::from(n), shard_of(&owner(by)), [n; 10])
}

fn attempt(job_id: JobId, attempt: u16) -> AttemptId {
    AttemptId { job_id, attempt }
}

fn held(attempt: AttemptId, output_bytes: u64) -> HeldAttempt {
    HeldAttempt {
        attempt,
        output_bytes,
        output_tokens: 0,
        accepted_ago_ms: None,
        first_output_ago_ms: None,
    }
}

fn failure(reason: FailureReason) -> v1::Failure {
    v1::Failure {
        reason: reason.into(),
        message: "as the test wants".into(),
    }
}

/// Job `n` of owner `by`.
fn submission(n: u8, by: u8) -> Submission {
    let input = Bytes::from_static(b"{\"prompt\":\"Hi\"}");
    let requirements = Requirements::default();
    let spec = JobSpec {
        job_type: JobType::Inference,
        flags: 0,
        chain_id: [7; 32],
        owner: owner(by),
        salt: [n; 32],
        model_name_hash: sha256(MODEL.as_bytes()),
        model_digest: [0; 32],
        input_len: input.len() as u64,
        input_hash: sha256(&input),
        requirements_hash: requirements.hash(),
        max_rate: NO_MAX_RATE,
        deadline_ms: 3_600_000,
    };
    Submission {
        job_id: job_id(n, by),
        owner: owner(by),
        request_id: format!("request {n}"),
        body_hash: [n; 32],
        spec,
        model: MODEL.into(),
        requirements,
        input,
        priority: 0,
        max_retries: 3,
        require_miner: false,
        retry_of: None,
        hold: false,
        least_funding: 0,
        not_paid_at: Vec::new(),
        agent: None,
    }
}

fn completion(attempt: AttemptId, by: u8) -> Command {
    completion_of(attempt, by, |_| {})
}

/// What the delivery of [`completion`] is verified against.
fn get_attempt(attempt: AttemptId, by: u8) -> Command {
    let Command::Complete(completion) = completion(attempt, by) else {
        panic!("a completion")
    };
    Command::GetAttempt {
        miner_key: miner_key(by),
        attempt,
        receipt: super::receipt_hash(&completion.receipt.encode()),
        said: None,
    }
}

fn completion_of(attempt: AttemptId, by: u8, change: impl Fn(&mut Receipt)) -> Command {
    let mut receipt = Receipt {
        outcome: Outcome::Complete,
        attempt: attempt.attempt,
        chain_id: [7; 32],
        job_id: attempt.job_id,
        job_ref: [0; 32],
        assignment_hash: [0; 32],
        miner_key: miner_key(by),
        payee: Default::default(),
        model_name_hash: [0; 32],
        model_digest: [0; 32],
        engine_hash: [0; 32],
        output_len: 2,
        output_hash: [0; 32],
        result_hash: [0; 32],
        tokens_in: 1,
        tokens_out: 1,
        work_ms: 17,
        seen_size: 0,
        seen_root: [0; 32],
    };
    change(&mut receipt);
    Command::Complete(Box::new(Completion {
        attempt,
        miner_key: miner_key(by),
        receipt,
        signature: [0; 64],
        served_model: MODEL.into(),
        engine: "test/1".into(),
        finish_reason: v1::FinishReason::Stop,
        result: Some(Bytes::from_static(b"{}")),
        result_len: 2,
        output_in_result: true,
        first_token_ms: 0,
        epoch: 0,
    }))
}

fn models() -> Vec<v1::MinerModel> {
    vec![v1::MinerModel {
        name: MODEL.into(),
        context_tokens: 8_192,
        ..Default::default()
    }]
}

/// An engine over a store, driven by hand.
struct Rig {
    core: EngineCore,
    config: EngineConfig,
    store: Arc<dyn Store>,
    memory: Arc<MemoryStore>,
    fence: Fence,
    now: u64,
    effects: Vec<Effect>,
    commits: usize,
    /// Notices of the ledger so far.
    heard: u64,
}

impl Rig {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut EngineConfig)) -> Self {
        let memory = Arc::new(MemoryStore::journaled());
        let store: Arc<dyn Store> = memory.clone();
        let mut config = EngineConfig::new([7; 32], 250);
        change(&mut config);
        let fence = store.claim(0..=SHARDS - 1).unwrap();
        let core = EngineCore::recover(config.clone(), START, &store).unwrap();
        Self {
            core,
            config,
            store,
            memory,
            fence,
            now: START,
            effects: Vec::new(),
            commits: 0,
            heard: 0,
        }
    }

    /// Applies commands in one batch and commits it.
    fn batch(&mut self, commands: Vec<Command>) -> Vec<Reply> {
        let count = commands.len();
        let output = self.core.apply(self.now, commands, &self.store).unwrap();
        assert_eq!(output.replies.len(), count, "one answer for each command");
        if !output.batch.is_empty() {
            self.commits += 1;
            self.store
                .commit(&self.fence, output.batch, Durability::Synced)
                .unwrap();
        }
        self.effects.extend(output.effects);
        self.core.check().unwrap();
        output.replies
    }

    fn ask(&mut self, command: Command) -> Reply {
        self.batch(vec![command]).remove(0)
    }

    /// Lets time pass, in steps, so that every timer fires at about its time.
    fn wait(&mut self, ms: u64) {
        let until = self.now + ms;
        while self.now < until {
            self.now = self
                .core
                .next_timer()
                .map_or(until, |at| at.clamp(self.now + 1, until));
            self.batch(vec![]);
        }
    }

    /// Drops all memory and starts again from the store.
    fn restart(&mut self) {
        self.memory.crash(usize::MAX);
        self.fence = self.store.claim(0..=SHARDS - 1).unwrap();
        self.core = EngineCore::recover(self.config.clone(), self.now, &self.store).unwrap();
        self.effects.clear();
    }

    fn register(&mut self, n: u8, slots: u32) {
        let change = MinerChange {
            slots: Some(slots),
            models: Some(models()),
            ..Default::default()
        };
        let reply = self.ask(Command::Register {
            key: miner_key(n),
            new_id: miner_id(n),
            change: Box::new(change),
        });
        assert!(matches!(reply, Reply::Registered(..)), "{reply:?}");
    }

    fn open(
        &mut self,
        n: u8,
        session: SessionId,
        running: Vec<HeldAttempt>,
        spooled: Vec<HeldAttempt>,
    ) -> Reply {
        self.ask(Command::OpenSession {
            session,
            key: miner_key(n),
            miner_id: miner_id(n),
            peer: format!("peer {session}"),
            takeover: false,
            running,
            spooled,
        })
    }

    fn inventory(&mut self, session: SessionId, slots: u32) {
        self.ask(Command::Inventory {
            session,
            models: models(),
            slots,
            engine: "test/1".into(),
            tools: Vec::new(),
        });
    }

    /// A registered miner in session `n`, ready for jobs.
    fn miner(&mut self, n: u8, slots: u32) {
        self.register(n, slots);
        self.open(n, n.into(), vec![], vec![]);
        self.inventory(n.into(), slots);
    }

    fn submit(&mut self, n: u8, by: u8) -> JobId {
        match self.ask(Command::Submit(Box::new(submission(n, by)))) {
            Reply::Submitted(submitted) => submitted.view.row.id(),
            other => panic!("{other:?}"),
        }
    }

    fn accept(&mut self, n: u8, attempt: AttemptId) {
        self.ask(Command::Accept {
            session: n.into(),
            attempt,
        });
    }

    fn heartbeat(&mut self, n: u8, running: &[AttemptId], free_slots: u32) {
        let running = running.iter().map(|attempt| held(*attempt, 0)).collect();
        self.ask(Command::Heartbeat {
            session: n.into(),
            running,
            free_slots,
        });
    }

    fn fail(&mut self, n: u8, attempt: AttemptId, reason: FailureReason) -> Reply {
        self.ask(Command::Fail {
            miner_key: miner_key(n),
            attempt,
            failure: failure(reason),
        })
    }

    fn view(&mut self, job: JobId, by: u8) -> JobView {
        match self.ask(Command::GetJob {
            owner: owner(by),
            job: JobSelector::Id(job),
        }) {
            Reply::Job(view) => *view,
            other => panic!("{other:?}"),
        }
    }

    fn status(&mut self, job: JobId, by: u8) -> JobStatus {
        self.view(job, by).status
    }

    /// Assignments since the last call: session and attempt.
    fn assigned(&mut self) -> Vec<(SessionId, AttemptId)> {
        let assigned = |effect: &Effect| match effect {
            Effect::Assign { session, info, .. } => Some((*session, info.attempt)),
            _ => None,
        };
        let found = self.effects.iter().filter_map(assigned).collect();
        self.effects
            .retain(|effect| !matches!(effect, Effect::Assign { .. }));
        found
    }

    /// Attempts that sessions were told to stop since the last call.
    fn stopped(&mut self) -> Vec<(SessionId, AttemptId, JobStatus)> {
        let stopped = |effect: &Effect| match effect {
            Effect::CancelAttempt {
                session,
                attempt,
                status,
                ..
            } => Some((*session, *attempt, *status)),
            _ => None,
        };
        let found = self.effects.iter().filter_map(stopped).collect();
        self.effects
            .retain(|effect| !matches!(effect, Effect::CancelAttempt { .. }));
        found
    }

    /// Sessions that were ended since the last call.
    fn ended(&mut self) -> Vec<(SessionId, ErrorReason)> {
        let ended = |effect: &Effect| match effect {
            Effect::EndSession { session, reason } => Some((*session, reason.reason)),
            _ => None,
        };
        let found = self.effects.iter().filter_map(ended).collect();
        self.effects
            .retain(|effect| !matches!(effect, Effect::EndSession { .. }));
        found
    }
}

fn refusal(reply: &Reply) -> Option<ErrorReason> {
    match reply {
        Reply::Refused(error) => Some(error.reason),
        _ => None,
    }
}
