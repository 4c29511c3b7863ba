//! What a job's locks pay: one chain of POST records, in the order of the locks in the log.

use super::entry::OpenLock;
use super::position::ChainRules;
use super::violation::Violation;
use crate::address::Address;
use crate::hash::Hash;
use crate::identity::PublicKey;
use crate::layouts::{LockPurpose, Outcome, Post};
use crate::money::cost;

/// Work that is to be paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// The job.
    pub job_ref: Hash,
    /// The attempt.
    pub attempt: u16,
    /// How it ended.
    pub outcome: Outcome,
    /// Who ran it.
    pub miner: PublicKey,
    /// Who is paid.
    pub payee: Address,
    /// Id of the receipt, or of the checkpoint, that proves it.
    pub evidence_id: Hash,
    /// SHA-256 of the GPU's catalogue name; zero = none.
    pub gpu: Hash,
    /// Micro-AIT per hour.
    pub rate: u64,
    /// Milliseconds from acceptance to completion, by the coordinator's clock.
    pub observed_ms: u64,
    /// Milliseconds by the evidence.
    pub work_ms: u64,
    /// Milliseconds to be paid: at most either of these.
    pub billed_ms: u64,
}

/// The records that pay for work from its locks (ids and amounts, in log order): min(⌈rate·billed_ms / 3,600,000⌉, Σ locks),
/// the first lock first. The fee of each is what it adds to ⌈paid so far·fee_bps / 10,000⌉.
#[must_use]
pub fn posts(work: &Work, locks: &[(Hash, u64)], fee_bps: u16) -> Vec<Post> {
    let wanted = cost(work.rate, work.billed_ms);
    let mut paid = 0;
    let pay = |(lock, amount): &(Hash, u64)| {
        let posted = (*amount).min(wanted - paid);
        let fee = fee_of(paid + posted, fee_bps) - fee_of(paid, fee_bps);
        paid += posted;
        Post {
            lock: *lock,
            job_ref: work.job_ref,
            attempt: work.attempt,
            outcome: work.outcome,
            miner: work.miner,
            payee: work.payee,
            evidence_id: work.evidence_id,
            gpu: work.gpu,
            rate: work.rate,
            observed_ms: work.observed_ms,
            work_ms: work.work_ms,
            billed_ms: work.billed_ms,
            posted,
            fee,
        }
    };
    locks.iter().map(pay).collect()
}

/// ⌈posted·fee_bps / 10,000⌉, for at most 10,000 hundredths of a percent.
#[must_use]
pub fn fee_of(posted: u64, fee_bps: u16) -> u64 {
    let fee = (u128::from(posted) * u128::from(fee_bps)).div_ceil(10_000);
    u64::try_from(fee).unwrap_or(u64::MAX)
}

/// A job whose locks are being paid out, between two of its POST records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settling {
    work: Work,
    paid: u64,
    newest_lock: u64,
}

impl Settling {
    /// The chain after `post`, if that follows from the work and the lock.
    pub fn follow(
        before: Option<&Self>,
        post: &Post,
        lock: &OpenLock,
        rules: &ChainRules,
    ) -> Result<Self, Violation> {
        let work = work_of(post);
        let paid = match before {
            Some(chain) if chain.work.job_ref == post.job_ref => {
                if chain.work != work {
                    return Err(Violation::Misplaced(
                        "two payments of one job differ in what they pay for",
                    ));
                }
                if chain.newest_lock >= lock.log_index {
                    return Err(Violation::Misplaced(
                        "a job's locks are not paid in their order",
                    ));
                }
                chain.paid
            }
            _ => 0,
        };
        check_terms(post, lock, LockPurpose::Job, rules)?;
        let most = post.observed_ms.min(post.work_ms);
        computed("billed_ms", post.billed_ms.min(most), post.billed_ms)?;
        let wanted = cost(post.rate, post.billed_ms);
        let left = wanted.checked_sub(paid).ok_or(Violation::Overflow)?;
        computed("posted", left.min(lock.amount), post.posted)?;
        let total = paid.checked_add(post.posted).ok_or(Violation::Overflow)?;
        let fee = fee_of(total, rules.fee_bps) - fee_of(paid, rules.fee_bps);
        computed("fee", fee, post.fee)?;
        Ok(Self {
            work,
            paid: total,
            newest_lock: lock.log_index,
        })
    }
}

/// A beat of a rental in milliseconds: what counts is counted in these.
pub const BEAT_MS: u64 = 10_000;
/// Milliseconds of a rental that may be paid for at its end though fewer counted.
pub const LEAST_RENTAL_MS: u64 = 60_000;

/// The record that pays for a time of a rental from its lock, which has this amount left.
#[must_use]
pub fn rental_post(work: &Work, lock: Hash, amount: u64, fee_bps: u16) -> Post {
    let [post] = &posts(work, &[(lock, amount)], fee_bps)[..] else {
        unreachable!("one lock has one record")
    };
    post.clone()
}

/// A rental's payment stands alone: it follows from its time, its number and what the lock has left.
pub(super) fn check_rental(
    post: &Post,
    lock: &OpenLock,
    rules: &ChainRules,
) -> Result<(), Violation> {
    check_terms(post, lock, LockPurpose::Rental, rules)?;
    if post.evidence_id != Hash::default() {
        return Err(Violation::Misplaced(
            "a rental's payment rests on no evidence",
        ));
    }
    computed("attempt", u64::from(lock.newest) + 1, post.attempt.into())?;
    let counted = post.work_ms.min(post.observed_ms) / BEAT_MS * BEAT_MS;
    computed("work_ms", counted, post.work_ms)?;
    let least = match post.outcome {
        Outcome::RentalEnd if post.billed_ms <= LEAST_RENTAL_MS => post.billed_ms,
        _ => 0,
    };
    computed("billed_ms", post.work_ms.max(least), post.billed_ms)?;
    let posted = cost(post.rate, post.billed_ms).min(lock.amount);
    computed("posted", posted, post.posted)?;
    computed("fee", fee_of(posted, rules.fee_bps), post.fee)
}

/// A number that follows from others.
pub(super) fn computed(field: &'static str, expected: u64, given: u64) -> Result<(), Violation> {
    if expected == given {
        return Ok(());
    }
    Err(Violation::Computed {
        field,
        expected: expected.into(),
        given: given.into(),
    })
}

/// Whether the lock's signer agreed to this job or rental, rate, fee and miner.
fn check_terms(
    post: &Post,
    lock: &OpenLock,
    purpose: LockPurpose,
    rules: &ChainRules,
) -> Result<(), Violation> {
    let terms = [
        (
            lock.purpose == purpose && lock.target == post.job_ref,
            "this job or rental",
        ),
        (post.rate <= lock.max_rate, "this rate"),
        (rules.fee_bps <= lock.max_fee_bps, "this fee"),
        (
            lock.miner_key.0 == [0; 32] || lock.miner_key == post.miner,
            "this miner",
        ),
    ];
    match terms.into_iter().find(|(kept, _)| !kept) {
        Some((_, what)) => Err(Violation::Terms(what)),
        None => Ok(()),
    }
}

fn work_of(post: &Post) -> Work {
    Work {
        job_ref: post.job_ref,
        attempt: post.attempt,
        outcome: post.outcome,
        miner: post.miner,
        payee: post.payee,
        evidence_id: post.evidence_id,
        gpu: post.gpu,
        rate: post.rate,
        observed_ms: post.observed_ms,
        work_ms: post.work_ms,
        billed_ms: post.billed_ms,
    }
}
