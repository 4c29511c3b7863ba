//! The people who pay and stake: what they sign is sent until it is answered, twice now and then; and what nobody may send.

use aitbc_common::address::Address;
use aitbc_common::hash::Hash;
use aitbc_common::identity::{Identity, PublicKey};
use aitbc_common::ids::JobId;
use aitbc_common::layouts::{
    BindConsent, LockPurpose, LockTerms, NO_MAX_RATE, SignMode, SignedTransaction, Transaction,
    TransactionKind,
};
use aitbc_common::wallet::WalletKey;
use aitbc_coordinator::engine::command::Submission;
use aitbc_coordinator::ledger::command as ledger;
use aitbc_coordinator::payments::RentalTerms;
use rand::Rng;

use super::clients::ClientJob;
use super::context::{Context, one_in};
use super::coordinator::Coordinator;
use super::genesis::CHAIN;
use super::ledger::Ledger;
use super::work;
use super::world::Event;

/// Micro-AIT of a first lock: enough for every miner.
pub const PLENTY: u64 = 1_000_000_000;
/// Locks in which a job gets it that waits for so much.
const PARTS: u64 = 3;
pub const DAY_MS: u64 = 24 * 3_600_000;

/// Micro-AIT that are staked at once, or locked in passing.
const STAKE: u64 = 1_000;

/// A payment, or what has to do with a stake, that its signer has not heard of yet.
pub struct Payment {
    signed: SignedTransaction,
    /// The job that a lock is for, and its owner.
    job: Option<(JobId, PublicKey)>,
    /// The rental that a lock is for.
    rental: Option<RentalTerms>,
}

/// The miner that the payer stakes on: the first, which may cheat.
fn staked_on() -> Identity {
    work::miner(0)
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
        let job_ref = submission.spec.job_ref();
        self.newest_job = Some(((job, submission.owner), job_ref));
        let signed = self.lock(ctx, amount, job_ref, self.nonce);
        self.nonce += 1;
        ctx.trace
            .note(ctx.now, format_args!("{amount} are locked for {job}"));
        self.unanswered.push(Payment {
            signed,
            job: Some((job, submission.owner)),
            rental: None,
        });
    }

    /// Somebody signs a lock for a term of a rental; it is sent until an answer comes. tx_id of the lock.
    pub fn rent(
        &mut self,
        ctx: &mut Context,
        terms: &RentalTerms,
        amount: u64,
        provider: PublicKey,
    ) -> Hash {
        let lock_terms = LockTerms {
            purpose: LockPurpose::Rental,
            expires_at: ctx.now + 8 * DAY_MS,
            max_rate: terms.rate,
            max_fee_bps: 10_000,
            miner_key: provider,
        };
        let what = (TransactionKind::Lock, amount, terms.reference(&CHAIN));
        let signed = self.sign(ctx, &self.payer, what, lock_terms.encode(), self.nonce);
        self.nonce += 1;
        let lock = signed.transaction.id();
        ctx.trace.note(
            ctx.now,
            format_args!(
                "{amount} are locked for {} ms of {}",
                terms.term_ms, terms.listing
            ),
        );
        ctx.rentals.wants(lock, terms.clone(), amount);
        self.unanswered.push(Payment {
            signed,
            job: None,
            rental: Some(terms.clone()),
        });
        lock
    }

    /// An owner binds the miner, stakes on it, and takes a part back now and then, one after the other.
    pub(super) fn stake(&mut self, ctx: &mut Context) {
        let miner = staked_on();
        let is_staking = |payment: &Payment| payment.signed.transaction.target == miner.public().0;
        if self.unanswered.iter().any(is_staking) {
            return;
        }
        let consent = |payer| {
            let (chain_id, until) = (&self.config.rules.chain_id, ctx.now + DAY_MS);
            BindConsent::sign(chain_id, payer, &miner, 1, until).encode()
        };
        let (kind, amount, payload) = match self.staking {
            0 => (TransactionKind::Bind, 0, consent(self.staker.address())),
            1 => (TransactionKind::Stake, STAKE, Vec::new()),
            _ if !one_in(&mut ctx.random.ledger, 40) => return,
            _ if one_in(&mut ctx.random.ledger, 2) => (TransactionKind::Stake, STAKE, Vec::new()),
            _ => (TransactionKind::Unstake, 1, Vec::new()),
        };
        let target = miner.public().0;
        let (signer, nonce) = (&self.staker, self.staking);
        let signed = self.sign(ctx, signer, (kind, amount, target), payload, nonce);
        self.unanswered.push(Payment {
            signed,
            job: None,
            rental: None,
        });
    }

    /// Somebody else locks money for the newest job until so soon that the jobs do not take it: it returns by what they
    /// decide or by its own end, whichever the faults leave first. Nobody asks again what became of it.
    fn pass_by(&mut self, ctx: &mut Context) -> Option<Payment> {
        let (job, target) = self.newest_job?;
        let rng = &mut ctx.random.ledger;
        if !one_in(rng, 8) {
            return None;
        }
        let lasts = rng.random_range(0..2_000);
        let signer = self.passers_by.pop()?;
        let signed = self.lock_until(ctx, &signer, ctx.now + lasts, STAKE, target, 0);
        Some(Payment {
            signed,
            job: Some(job),
            rental: None,
        })
    }

    fn lock(&self, ctx: &Context, amount: u64, target: Hash, nonce: u64) -> SignedTransaction {
        let until = ctx.now + 8 * DAY_MS;
        self.lock_until(ctx, &self.payer, until, amount, target, nonce)
    }

    fn lock_until(
        &self,
        ctx: &Context,
        signer: &WalletKey,
        expires_at: u64,
        amount: u64,
        target: Hash,
        nonce: u64,
    ) -> SignedTransaction {
        let terms = LockTerms {
            purpose: LockPurpose::Job,
            expires_at,
            max_rate: NO_MAX_RATE,
            max_fee_bps: 10_000,
            miner_key: PublicKey::default(),
        };
        let what = (TransactionKind::Lock, amount, target);
        self.sign(ctx, signer, what, terms.encode(), nonce)
    }

    fn sign(
        &self,
        ctx: &Context,
        signer: &WalletKey,
        (kind, amount, target): (TransactionKind, u64, Hash),
        payload: Vec<u8>,
        nonce: u64,
    ) -> SignedTransaction {
        let transaction = Transaction {
            kind,
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
        SignedTransaction::by_wallet(transaction, payload, signer).expect("a short payload")
    }

    /// Somebody sends what the ledger must not take: a lock that the payer never signed, one that leaves a nonce out, or a
    /// stake on a miner that has not consented.
    fn mischief(&self, ctx: &mut Context) -> Option<SignedTransaction> {
        let rng = &mut ctx.random.ledger;
        let (strikes, forged) = (one_in(rng, 6), rng.random());
        if !strikes {
            return None;
        }
        if one_in(rng, 3) {
            let what = (TransactionKind::Stake, 1, staked_on().public().0);
            return Some(self.sign(ctx, &self.thief, what, Vec::new(), 0));
        }
        let gap = if forged { 0 } else { 1 };
        let mut lock = self.lock(ctx, PLENTY, [9; 32], self.nonce + gap);
        if forged {
            lock.signature[40] ^= 1;
        }
        Some(lock)
    }

    pub(super) fn send_payments(&mut self, ctx: &mut Context, coordinator: &mut Coordinator) {
        let passer_by = self.pass_by(ctx);
        let sent = |payment: &Payment| {
            let (chain_id, broken) = (&self.config.rules.chain_id, self.config.broken);
            let signed = ledger::admit(payment.signed.clone(), chain_id, broken).ok()?;
            let submission = ledger::Submission {
                rental: payment.rental.clone(),
                signed,
                job: payment.job.map(|(job, _)| job),
                owner: payment.job.map(|(_, owner)| owner),
                caller: payment.rental.as_ref().map(|terms| terms.renter),
            };
            Some(ledger::Command::Submit(Box::new(submission)))
        };
        let payments = self.unanswered.iter();
        let mut commands: Vec<_> = payments.filter_map(sent).collect();
        if commands.len() != self.unanswered.len() {
            ctx.checker
                .violated("a lock that its payer signed was refused".into());
        }
        // A replay of what was answered long ago changes nothing; the answer may get lost.
        let lost = one_in(&mut ctx.random.ledger, 8);
        commands.extend(commands.first().cloned());
        let mischief = self.mischief(ctx);
        let stakes = |bad: &SignedTransaction| bad.transaction.kind == TransactionKind::Stake;
        let stranger = mischief.as_ref().is_some_and(stakes);
        commands.extend(passer_by.as_ref().and_then(sent));
        let mischief = mischief.map(|signed| Payment {
            signed,
            job: None,
            rental: None,
        });
        commands.extend(mischief.as_ref().and_then(sent));
        let Some(replies) = self.step(ctx, coordinator, commands) else {
            return;
        };
        let staked = matches!(replies.last(), Some(ledger::Reply::Recorded { .. }));
        if stranger && staked {
            ctx.checker.violated("a stranger staked".into());
        }
        if lost {
            return;
        }
        for (payment, reply) in std::mem::take(&mut self.unanswered)
            .into_iter()
            .zip(replies)
        {
            let signed = payment.signed.transaction;
            match reply {
                ledger::Reply::Recorded { id, index, .. } => {
                    self.staking += u64::from(signed.target == staked_on().public().0);
                    let before = self.recorded.insert(id, index);
                    if before.is_some_and(|before| before != index) {
                        ctx.checker
                            .violated("a transaction was recorded twice".into());
                    }
                }
                // The stake may have been slashed.
                ledger::Reply::Refused(_) if signed.kind == TransactionKind::Unstake => {}
                other => {
                    ctx.checker.violated(format!(
                        "the transaction {} was answered {other:?}",
                        signed.nonce
                    ));
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
