//! Money: locks are answered once, paid work is settled once, and nothing runs unfunded where that is required.

mod contradictions;
mod downtime;
mod funding;
mod locks;
mod paid_only;
mod payees;
mod property;
mod rentals;
mod settling;

use aitbc_common::hash::Hash;
use aitbc_common::layouts::{Assignment, LockPurpose, StreamCheckpoint, VoidReason, locks_hash};
use aitbc_common::ledger::settlement::Work;
use aitbc_proto::v1::PaymentStatus;

use super::*;
use crate::payments::{LockOpened, Notice, Order, outbox};

const AIT: u64 = 1_000_000;

fn lock_of(n: u8, job: u8, by: u8, amount: u64) -> LockOpened {
    LockOpened {
        lock: [n; 32],
        target: submission(job, by).spec.job_ref(),
        purpose: LockPurpose::Job,
        payer: Default::default(),
        amount,
        expires_at: START + 100 * 3_600_000,
        max_rate: NO_MAX_RATE,
        max_fee_bps: 250,
        miner_key: PublicKey([0; 32]),
        log_index: n.into(),
        job: Some(job_id(job, by)),
        owner: Some(owner(by)),
        by: Some(owner(by)),
        target_is_paid: false,
        rental: None,
    }
}

impl Rig {
    /// Tells what the ledger tells next.
    fn hear(&mut self, notices: Vec<Notice>) {
        let first = self.heard + 1;
        self.heard += notices.len() as u64;
        let reply = self.ask(Command::Notices { first, notices });
        assert!(matches!(reply, Reply::NoticesApplied(n) if n == self.heard));
    }

    fn lock(&mut self, lock: LockOpened) {
        self.hear(vec![Notice::Locked(lock)]);
    }

    /// All orders so far; their numbers are dense.
    fn orders(&self) -> Vec<Order> {
        let orders = outbox::read(&self.store, 1, 10_000).unwrap();
        for (expected, (number, _)) in (1..).zip(&orders) {
            assert_eq!(*number, expected);
        }
        orders.into_iter().map(|(_, order)| order).collect()
    }

    fn voids(&self) -> Vec<(u8, VoidReason)> {
        let orders = self.orders().into_iter();
        orders
            .filter_map(|order| match order {
                Order::Void { lock, reason } => Some((lock[0], reason)),
                _ => None,
            })
            .collect()
    }

    fn settlements(&self) -> Vec<(Work, Vec<Hash>)> {
        let orders = self.orders().into_iter();
        orders
            .filter_map(|order| match order {
                Order::Settle { work, locks, .. } => Some((work, locks)),
                _ => None,
            })
            .collect()
    }

    fn payment(&mut self, job: JobId) -> PaymentStatus {
        self.view(job, 1).row.payment()
    }

    fn price(&mut self, n: u8, price: u64) {
        let change = MinerChange {
            price: Some(price),
            ..Default::default()
        };
        self.ask(Command::Update {
            key: miner_key(n),
            change: Box::new(change),
        });
    }

    fn hold(&mut self, n: u8) -> JobId {
        self.hold_for(n, 0)
    }

    /// Holds a job until so much is locked for it.
    fn hold_for(&mut self, n: u8, least_funding: u64) -> JobId {
        let held = Submission {
            hold: true,
            least_funding,
            ..submission(n, 1)
        };
        self.ask(Command::Submit(Box::new(held)));
        job_id(n, 1)
    }

    fn cancel(&mut self, job: JobId) {
        self.ask(Command::Cancel {
            owner: owner(1),
            job: JobSelector::Id(job),
        });
    }

    fn assignment(&mut self, job: JobId) -> Assignment {
        let row = self.view(job, 1).row;
        Assignment::decode(&row.attempts.last().unwrap().assignment).unwrap()
    }
}

fn receipt(attempt: AttemptId, by: u8, change: impl FnOnce(&mut Receipt)) -> Command {
    let Command::Complete(mut complete) = completion(attempt, by) else {
        panic!()
    };
    change(&mut complete.receipt);
    Command::Complete(complete)
}

fn checkpoint(attempt: AttemptId, work_ms: u64) -> Command {
    let checkpoint = StreamCheckpoint {
        flags: 0,
        attempt: attempt.attempt,
        chain_id: [7; 32],
        job_id: attempt.job_id,
        job_ref: [0; 32],
        offset: 100,
        hash: [0; 32],
        tokens_out: 20,
        work_ms,
    };
    Command::Checkpointed {
        attempt,
        checkpoint: Box::new(checkpoint),
        signature: [3; 64],
    }
}

/// What a payer is told of a job, who is asked for as its owner.
fn payable(rig: &mut Rig, job: JobId, named: Option<PublicKey>) -> v1::GetPayableResponse {
    let ask = Command::GetPayable {
        job,
        owner: named,
        caller: Some(owner(1)),
    };
    match rig.ask(ask) {
        Reply::Payable(payable) => *payable,
        other => panic!("{other:?}"),
    }
}

/// A miner at half an AIT an hour runs a job that 10 AIT were locked for.
fn paid_and_running() -> (Rig, AttemptId) {
    let mut rig = Rig::new();
    rig.miner(1, 1);
    rig.price(1, AIT / 2);
    let job = rig.hold(1);
    rig.lock(lock_of(1, 1, 1, 10 * AIT));
    rig.accept(1, attempt(job, 1));
    (rig, attempt(job, 1))
}
