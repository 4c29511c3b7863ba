//! Miners without a session: people who poll, work, extend, hand back, deliver, or forget about it.

use aitbc_common::hash::sha256;
use aitbc_common::identity::{Identity, PublicKey};
use aitbc_common::layouts::{Outcome, Receipt};
use aitbc_common::runtime::status::ApiError;
use aitbc_coordinator::engine::command::{AttemptInfo, Command, MinerChange, Reply};
use aitbc_coordinator::engine::receipt_hash;
use aitbc_coordinator::sessions::said::signed_receipt;
use aitbc_coordinator::sessions::streams::AttemptFacts;
use aitbc_miner::runner::result_document;
use aitbc_proto::v1::{self, ErrorReason, FailureReason};
use bytes::Bytes;
use rand::Rng;

use super::clients::{Call, PollerCall, call};
use super::context::{Context, one_in};
use super::coordinator::{Caller, Coordinator};
use super::work::{self, ENGINE};
use super::world::Event;

/// What a delivery consists of.
#[derive(Debug, Clone)]
pub struct Parcel {
    pub miner: PublicKey,
    pub output: Bytes,
    pub result: Bytes,
    pub complete: v1::Complete,
}

/// What a poller will do with its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    Deliver,
    ExtendAndDeliver,
    Return,
    Forget,
}

struct Work {
    info: Box<AttemptInfo>,
    parcel: Parcel,
    plan: Plan,
}

/// One of them.
pub struct Poller {
    /// Its number among all miners.
    pub number: usize,
    identity: Identity,
    lease_ms: u64,
    /// Rises with each poll: answers to earlier ones do not count.
    round: u64,
    work: Option<Work>,
}

impl Poller {
    pub fn new(ctx: &mut Context, number: usize) -> Self {
        let lease_ms = [10_000, 20_000, 60_000][ctx.random.people.random_range(0..3)];
        ctx.after(1_000, Event::PollerStep(number));
        Self {
            number,
            identity: work::miner(number),
            lease_ms,
            round: 0,
            work: None,
        }
    }

    /// What it registers: it takes any model.
    pub fn change(&self) -> MinerChange {
        MinerChange {
            slots: Some(1),
            ..Default::default()
        }
    }

    /// It does something, then waits.
    pub fn step(&mut self, ctx: &mut Context) {
        let asked = match self.work.as_mut().map(|work| work.plan) {
            None => {
                self.round += 1;
                Some(PollerCall::Poll)
            }
            Some(Plan::Deliver) => Some(PollerCall::Deliver),
            Some(Plan::ExtendAndDeliver) => {
                self.work
                    .iter_mut()
                    .for_each(|work| work.plan = Plan::Deliver);
                Some(PollerCall::Extend)
            }
            Some(Plan::Return) => Some(PollerCall::Return),
            Some(Plan::Forget) => {
                self.work = None;
                None
            }
        };
        if let Some(asked) = asked {
            call(ctx, Call::Poller(self.number, self.round, asked));
        }
        let pause = ctx.random.people.random_range(500..20_000);
        ctx.after(pause, Event::PollerStep(self.number));
    }

    /// Its call arrived at the coordinator.
    pub fn called(
        &self,
        coordinator: &mut Coordinator,
        ctx: &mut Context,
        round: u64,
        asked: PollerCall,
    ) {
        let miner_key = self.identity.public();
        let attempt = self
            .work
            .as_ref()
            .filter(|_| round == self.round)
            .map(|work| work.info.attempt);
        let command = match (asked, attempt) {
            (PollerCall::Poll, _) => Command::Poll {
                miner_key,
                lease_ms: self.lease_ms,
                request_id: format!("poll {round}"),
            },
            (_, None) => return,
            (PollerCall::Extend, Some(attempt)) => Command::ExtendLease {
                miner_key,
                attempt,
                lease_ms: self.lease_ms,
            },
            (PollerCall::Return, Some(attempt)) => {
                let failure = v1::Failure {
                    reason: FailureReason::Returned.into(),
                    message: "handed back".into(),
                };
                Command::Fail {
                    miner_key,
                    attempt,
                    failure,
                }
            }
            (PollerCall::Deliver | PollerCall::Complete, Some(attempt)) => {
                let work = self.work.as_ref();
                let receipt = work.map(|work| receipt_hash(&work.parcel.complete.receipt));
                Command::GetAttempt {
                    miner_key,
                    attempt,
                    receipt: receipt.unwrap_or_default(),
                    said: work
                        .and_then(|work| signed_receipt(&work.parcel.complete))
                        .map(Box::new),
                }
            }
        };
        coordinator.ask(
            ctx,
            vec![command],
            Caller::Call(Call::Poller(self.number, round, asked)),
        );
    }

    /// The parts of its delivery have arrived at the coordinator.
    pub fn parcel(
        &self,
        coordinator: &mut Coordinator,
        ctx: &mut Context,
        round: u64,
        info: &AttemptInfo,
    ) {
        if let Some(work) = self
            .work
            .as_ref()
            .filter(|work| round == self.round && work.info.attempt == info.attempt)
        {
            let call = Call::Poller(self.number, round, PollerCall::Complete);
            coordinator.parcel(ctx, call, info, &work.parcel);
        }
    }

    /// An answer arrived.
    pub fn answered(
        &mut self,
        ctx: &mut Context,
        service: &Identity,
        round: u64,
        answer: Result<Reply, ApiError>,
    ) {
        if round != self.round {
            return;
        }
        match answer {
            Ok(Reply::Polled(Some(polled))) if self.work.is_none() => {
                let info = Box::new(polled.0);
                let plan = match ctx.random.people.random_range(0..10) {
                    0 => Plan::Forget,
                    1 => Plan::Return,
                    2 | 3 => Plan::ExtendAndDeliver,
                    _ => Plan::Deliver,
                };
                let facts = AttemptFacts::sign(&info, service).expect("the engine's layouts parse");
                ctx.wire
                    .assigned(facts.assignment.clone(), &facts.signature);
                let parcel = self.parcel_for(&info, &facts);
                let (layout, signature) = (&parcel.complete.receipt, &parcel.complete.signature);
                ctx.wire.signs_receipt(parcel.miner, layout, signature);
                self.work = Some(Work { info, parcel, plan });
            }
            Ok(Reply::Completed(_) | Reply::Failed(_)) => self.work = None,
            Err(error) if error.reason == ErrorReason::StaleAttempt => self.work = None,
            _ => {}
        }
        if self.work.is_none() && one_in(&mut ctx.random.people, 2) {
            self.round += 1;
        }
    }

    fn parcel_for(&self, info: &AttemptInfo, facts: &AttemptFacts) -> Parcel {
        let assignment = &facts.assignment;
        let text = work::text(
            &info.input,
            info.attempt.job_id,
            info.attempt.attempt,
            &self.identity.public(),
        );
        let run = work::run_result(text.clone());
        let result = result_document(&run);
        let receipt = Receipt {
            outcome: Outcome::Complete,
            attempt: assignment.attempt,
            chain_id: assignment.chain_id,
            job_id: assignment.job_id,
            job_ref: assignment.job_ref,
            assignment_hash: assignment.id(&facts.signature),
            miner_key: assignment.miner_key,
            payee: assignment.payee,
            model_name_hash: sha256(info.model.as_bytes()),
            model_digest: [9; 32],
            engine_hash: sha256(ENGINE.as_bytes()),
            output_len: text.len() as u64,
            output_hash: sha256(text.as_bytes()),
            result_hash: sha256(&result),
            tokens_in: run.tokens_in,
            tokens_out: run.tokens_out,
            work_ms: 900,
            seen_size: 0,
            seen_root: [0; 32],
        };
        let complete = v1::Complete {
            job_id: info.attempt.job_id.to_string(),
            attempt: info.attempt.attempt.into(),
            receipt: receipt.encode().into(),
            signature: receipt.sign(&self.identity).to_vec().into(),
            served_model: info.model.clone(),
            engine: ENGINE.into(),
        };
        Parcel {
            miner: self.identity.public(),
            output: text.into_bytes().into(),
            result: result.into(),
            complete,
        }
    }
}
