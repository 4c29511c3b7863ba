//! A stand-in for the ledger: it records locks, tells of them, and carries out what the jobs order. It forgets nothing.

use std::collections::BTreeMap;

use aitbc_common::hash::{Hash, sha256};
use aitbc_common::ids::JobId;
use aitbc_common::layouts::{LockPurpose, NO_MAX_RATE};
use aitbc_common::ledger::settlement::posts;
use aitbc_coordinator::engine::command::{Command, Reply, Submission};
use aitbc_coordinator::payments::{LockOpened, Notice, Order, outbox};
use rand::Rng;

use super::clients::ClientJob;
use super::context::{Context, one_in};
use super::coordinator::{Caller, Coordinator};
use super::world::Event;

/// Micro-AIT of a first lock: enough for every miner.
const PLENTY: u64 = 1_000_000_000;
/// The market's fee in hundredths of a percent.
const FEE_BPS: u16 = 250;

/// The stand-in.
#[derive(Debug, Default)]
pub struct Ledger {
    /// What it has to tell, from number 1 on.
    notices: Vec<Notice>,
    /// Notices that the engine said it has.
    heard: u64,
    /// Orders that were carried out.
    applied: u64,
    /// Locks that no order answered yet, with their amounts.
    open: BTreeMap<Hash, u64>,
}

impl Ledger {
    /// Somebody locks funds for a job.
    pub fn pay(&mut self, ctx: &mut Context, job: JobId, submission: &Submission) {
        let number = self.notices.len() as u64;
        let small = !submission.hold && one_in(&mut ctx.random.ledger, 4);
        let amount = if small {
            ctx.random.ledger.random_range(1_000..1_000_000)
        } else {
            PLENTY
        };
        let lock = sha256(&number.to_be_bytes());
        self.open.insert(lock, amount);
        ctx.trace
            .note(ctx.now, format_args!("{amount} are locked for {job}"));
        self.notices.push(Notice::Locked(LockOpened {
            lock,
            target: submission.spec.job_ref(),
            purpose: LockPurpose::Job,
            payer: Default::default(),
            amount,
            expires_at: u64::MAX,
            max_rate: NO_MAX_RATE,
            max_fee_bps: 10_000,
            miner_key: Default::default(),
            log_index: number,
            job: Some(job),
            owner: Some(submission.owner),
        }));
    }

    /// Carries orders and notices between the two, at its own pace.
    pub fn relay(&mut self, ctx: &mut Context, coordinator: &mut Coordinator) {
        let pause = ctx.random.ledger.random_range(50..3_000);
        ctx.after(pause, Event::Relay);
        if coordinator.running.is_none() {
            return;
        }
        let orders = outbox::read(&coordinator.store, self.applied + 1, 2);
        for (number, order) in orders.expect("a store in memory can be read") {
            if number != self.applied + 1 {
                ctx.checker
                    .violated(format!("order {number} follows {}", self.applied));
            }
            self.applied = number;
            self.carry_out(ctx, order);
        }
        let mut commands = Vec::new();
        let told = usize::try_from(self.heard).unwrap_or(usize::MAX);
        // What was told before is told again now and then.
        let from = told.saturating_sub(usize::from(one_in(&mut ctx.random.ledger, 3)));
        if told < self.notices.len() {
            commands.push(Command::Notices {
                first: from as u64 + 1,
                notices: self.notices[from..].to_vec(),
            });
        }
        if one_in(&mut ctx.random.ledger, 4) {
            let through = self.applied;
            commands.push(Command::TrimOrders { through });
        }
        if !commands.is_empty() {
            coordinator.ask(ctx, commands, Caller::Ledger);
        }
    }

    fn carry_out(&mut self, ctx: &mut Context, order: Order) {
        match order {
            Order::LogReceipt(_) => {}
            Order::Void { lock, .. } => {
                self.close(ctx, lock);
            }
            Order::Settle {
                job,
                owner,
                work,
                locks,
            } => {
                if work.billed_ms > work.observed_ms.min(work.work_ms) {
                    ctx.checker
                        .violated(format!("{job} is billed more than was worked"));
                }
                let amounts: Vec<_> = locks
                    .iter()
                    .map(|lock| (*lock, self.close(ctx, *lock)))
                    .collect();
                let posts = posts(&work, &amounts, FEE_BPS);
                let posted = posts.iter().map(|post| post.posted).sum();
                let locked: u64 = amounts.iter().map(|(_, amount)| amount).sum();
                self.notices.push(Notice::Settled {
                    job,
                    owner,
                    posted,
                    fee: posts.iter().map(|post| post.fee).sum(),
                    returned: locked - posted,
                });
            }
        }
    }

    /// A lock is answered; what was in it.
    fn close(&mut self, ctx: &mut Context, lock: Hash) -> u64 {
        self.open.remove(&lock).unwrap_or_else(|| {
            ctx.checker.violated("a lock was answered twice".to_owned());
            0
        })
    }

    /// The engine said what it has.
    pub fn told(&mut self, reply: Reply) {
        if let Reply::NoticesApplied(through) = reply {
            self.heard = self.heard.max(through);
        }
    }

    /// What is not answered or not told yet.
    pub fn unsettled(&self) -> usize {
        self.open.len() + self.notices.len() - usize::try_from(self.heard).unwrap_or(0)
    }
}

/// A client whose job is known may pay for it; one that waits for funds always does.
pub fn plan(ctx: &mut Context, n: usize, job: &ClientJob) {
    let rng = &mut ctx.random.ledger;
    let times = if job.submission.hold || one_in(rng, 3) {
        rng.random_range(1..=3)
    } else {
        0
    };
    for _ in 0..times {
        let delay = ctx.random.ledger.random_range(0..30_000);
        ctx.after(delay, Event::Pay(n));
    }
}
