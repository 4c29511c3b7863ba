//! The people who pay: locks that are sent until they are answered, twice now and then, and what nobody may send.

use aitbc_common::address::Address;
use aitbc_common::hash::Hash;
use aitbc_common::identity::PublicKey;
use aitbc_common::ids::JobId;
use aitbc_common::layouts::{
    LockPurpose, LockTerms, NO_MAX_RATE, SignMode, SignedTransaction, Transaction, TransactionKind,
};
use aitbc_coordinator::engine::command::Submission;
use aitbc_coordinator::ledger::command as ledger;
use rand::Rng;

use super::clients::ClientJob;
use super::context::{Context, one_in};
use super::coordinator::Coordinator;
use super::ledger::Ledger;
use super::world::Event;

/// Micro-AIT of a first lock: enough for every miner.
pub const PLENTY: u64 = 1_000_000_000;
/// Locks in which a job gets it that waits for so much.
const PARTS: u64 = 3;
const DAY_MS: u64 = 24 * 3_600_000;

/// A payment that its payer has not heard of yet.
pub struct Payment {
    signed: SignedTransaction,
    job: JobId,
    owner: PublicKey,
}

impl Ledger {
    /// Somebody signs a lock for a job; it is sent until an answer comes.
    pub fn pay(&mut self, ctx: &mut Context, job: JobId, submission: &Submission) {
        let small = one_in(&mut ctx.random.ledger, 4);
        let little = ctx.random.ledger.random_range(1_000..1_000_000);
        let amount = if submission.least_funding > 0 {
            if small {
                // It wants more, and takes no such lock.
                self.pay_amount(ctx, job, submission, little);
            }
            PLENTY.div_ceil(PARTS)
        } else if small && !submission.hold {
            little
        } else {
            PLENTY
        };
        self.pay_amount(ctx, job, submission, amount);
    }

    fn pay_amount(&mut self, ctx: &mut Context, job: JobId, submission: &Submission, amount: u64) {
        let signed = self.lock(ctx, amount, submission.spec.job_ref(), self.nonce);
        self.nonce += 1;
        ctx.trace
            .note(ctx.now, format_args!("{amount} are locked for {job}"));
        self.unanswered.push(Payment {
            signed,
            job,
            owner: submission.owner,
        });
    }

    fn lock(&self, ctx: &Context, amount: u64, target: Hash, nonce: u64) -> SignedTransaction {
        let terms = LockTerms {
            purpose: LockPurpose::Job,
            expires_at: ctx.now + 8 * DAY_MS,
            max_rate: NO_MAX_RATE,
            max_fee_bps: 10_000,
            miner_key: PublicKey::default(),
        };
        let transaction = Transaction {
            kind: TransactionKind::Lock,
            sign_mode: SignMode::Wallet,
            chain_id: self.config.rules.chain_id,
            public_key: [0; 33],
            account: Address::default(),
            nonce,
            valid_until: ctx.now + DAY_MS / 2,
            amount,
            max_fee: 0,
            target,
            payload_hash: Hash::default(),
        };
        SignedTransaction::by_wallet(transaction, terms.encode(), &self.payer)
            .expect("the terms fit")
    }

    /// Somebody sends what the ledger must not take: a lock that the payer never signed, or one that leaves a nonce out.
    fn mischief(&self, ctx: &mut Context) -> Option<SignedTransaction> {
        let rng = &mut ctx.random.ledger;
        let (strikes, forged) = (one_in(rng, 6), rng.random());
        if !strikes {
            return None;
        }
        let gap = if forged { 0 } else { 1 };
        let mut lock = self.lock(ctx, PLENTY, [9; 32], self.nonce + gap);
        if forged {
            lock.signature[40] ^= 1;
        }
        Some(lock)
    }

    pub(super) fn send_payments(&mut self, ctx: &mut Context, coordinator: &mut Coordinator) {
        let sent = |signed: &SignedTransaction, job, owner| {
            let (chain_id, broken) = (&self.config.rules.chain_id, self.config.broken);
            let signed = ledger::admit(signed.clone(), chain_id, broken).ok()?;
            let submission = ledger::Submission { signed, job, owner };
            Some(ledger::Command::Submit(Box::new(submission)))
        };
        let payments = self.unanswered.iter();
        let mut commands: Vec<_> = payments
            .filter_map(|payment| sent(&payment.signed, Some(payment.job), Some(payment.owner)))
            .collect();
        if commands.len() != self.unanswered.len() {
            ctx.checker
                .violated("a lock that its payer signed was refused".into());
        }
        // A replay of what was answered long ago changes nothing; the answer may get lost.
        let lost = one_in(&mut ctx.random.ledger, 8);
        commands.extend(commands.first().cloned());
        let mischief = self.mischief(ctx);
        commands.extend(mischief.and_then(|lock| sent(&lock, None, None)));
        let Some(replies) = self.step(ctx, coordinator, commands) else {
            return;
        };
        if lost {
            return;
        }
        for (payment, reply) in std::mem::take(&mut self.unanswered)
            .into_iter()
            .zip(replies)
        {
            match reply {
                ledger::Reply::Recorded { id, index, .. } => {
                    let before = self.recorded.insert(id, index);
                    if before.is_some_and(|before| before != index) {
                        ctx.checker
                            .violated("a transaction was recorded twice".into());
                    }
                }
                other => {
                    let signed = payment.signed.transaction;
                    ctx.checker
                        .violated(format!("the lock {} was answered {other:?}", signed.nonce));
                }
            }
        }
    }
}

/// A client whose job is known may pay for it; one that waits for funds always does.
pub fn plan(ctx: &mut Context, n: usize, job: &ClientJob) {
    let rng = &mut ctx.random.ledger;
    let times = if job.submission.least_funding > 0 {
        rng.random_range(PARTS..=PARTS + 2)
    } else if job.submission.hold || one_in(rng, 3) {
        rng.random_range(1..=3)
    } else {
        0
    };
    for _ in 0..times {
        let delay = ctx.random.ledger.random_range(0..30_000);
        ctx.after(delay, Event::Pay(n));
    }
}
