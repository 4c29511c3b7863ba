//! What an audit does next, and what it comes to. Pure.

use aitbc_common::address::Address;
use aitbc_common::hash::Hash;
use aitbc_common::layouts::{FaultEntry, FaultReason, Receipt};
use aitbc_common::ledger::audits;
use aitbc_common::market::FULL_FEE;
use aitbc_common::money::MAX_PRICE_PER_HOUR;

/// Work that was delivered whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// What its miner says.
    pub receipt: Receipt,
    /// The miner's signature over it.
    pub signature: [u8; 64],
}

impl Work {
    fn id(&self) -> Hash {
        self.receipt.id(&self.signature)
    }

    fn agrees_with(&self, other: &Self) -> bool {
        let output = |work: &Self| (work.receipt.output_hash, work.receipt.output_len);
        output(self) == output(other)
    }
}

/// The same job again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Run {
    /// Not over yet.
    Pending,
    /// Delivered whole.
    Done(Work),
    /// It came to nothing: nobody else runs the model, it failed, or its money was used up.
    Failed,
}

/// What an audit does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// It runs the job again, on a miner that is paid at none of these, sorted.
    Run(Vec<Address>),
    /// It waits for its last run.
    Wait,
    /// It is over.
    Over(Verdict),
}

/// What an audit came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Another owner's miner made the same, byte for byte.
    Agreed,
    /// This work differs, and two others agree: what it rests on.
    Wrong(Box<Work>, Hash),
    /// All differ: nothing is proven.
    Undecided,
    /// A run came to nothing.
    Unfinished,
}

/// What follows from the work that was drawn and what running it again gave, in order; at most two runs are ever looked at.
#[must_use]
pub fn next(drawn: &Work, runs: &[Run]) -> Next {
    let (first, second) = match runs {
        [] => return run_elsewhere(&[drawn]),
        [Run::Pending, ..] | [_, Run::Pending, ..] => return Next::Wait,
        [Run::Failed, ..] | [_, Run::Failed, ..] => return Next::Over(Verdict::Unfinished),
        [Run::Done(first), ..] if first.agrees_with(drawn) => return Next::Over(Verdict::Agreed),
        [Run::Done(first)] => return run_elsewhere(&[drawn, first]),
        [Run::Done(first), Run::Done(second), ..] => (first, second),
    };
    let payees = [drawn, first, second].map(|work| work.receipt.payee);
    let is_alone = |payee| payees.iter().filter(|other| *other == payee).count() == 1;
    // Whoever changed its payee meanwhile proves nothing.
    if !payees.iter().all(is_alone) {
        return Next::Over(Verdict::Undecided);
    }
    let wrong = if second.agrees_with(drawn) {
        (first, [drawn.id(), second.id()])
    } else if second.agrees_with(first) {
        (drawn, [first.id(), second.id()])
    } else {
        return Next::Over(Verdict::Undecided);
    };
    let evidence = audits::evidence(&wrong.0.id(), wrong.1);
    Next::Over(Verdict::Wrong(Box::new(wrong.0.clone()), evidence))
}

fn run_elsewhere(than: &[&Work]) -> Next {
    let mut payees: Vec<_> = than.iter().map(|work| work.receipt.payee).collect();
    payees.sort_unstable();
    Next::Run(payees)
}

/// The record of work that was found wrong, as this auditor's.
#[must_use]
pub fn finding(wrong: &Work, evidence: Hash, auditor: Address) -> FaultEntry {
    FaultEntry {
        job_ref: wrong.receipt.job_ref,
        attempt: wrong.receipt.attempt,
        miner: wrong.receipt.miner_key,
        client: auditor,
        reason: FaultReason::Wrong,
        weight: FULL_FEE,
        lock: evidence,
    }
}

/// Micro-AIT that are locked for a run: four times what the drawn work cost, so that a dearer or slower miner can do it too,
/// and what pays 10 s of the highest rate at least, as any lock. What may be spent so is bounded by the payer's fees.
#[must_use]
pub fn amount(paid: u64, highest_rate: u64) -> u64 {
    let least = aitbc_common::price::least_locked(highest_rate);
    paid.saturating_mul(4).max(least).max(1)
}

/// The highest rate of a run in micro-AIT per hour: four times that of the drawn work.
#[must_use]
pub fn highest_rate(rate: u64) -> u64 {
    rate.saturating_mul(4).clamp(1, MAX_PRICE_PER_HOUR.0)
}

#[cfg(test)]
mod tests {
    use aitbc_common::identity::PublicKey;
    use aitbc_common::ids::JobId;
    use aitbc_common::layouts::Outcome;
    use proptest::prelude::*;

    use super::*;

    fn work(payee: u8, output: u8) -> Work {
        Work {
            receipt: Receipt {
                outcome: Outcome::Complete,
                attempt: 1,
                chain_id: [1; 32],
                job_id: JobId([payee; 16]),
                job_ref: [payee; 32],
                assignment_hash: [0; 32],
                miner_key: PublicKey([payee; 32]),
                payee: Address([payee; 20]),
                model_name_hash: [2; 32],
                model_digest: [3; 32],
                engine_hash: [4; 32],
                output_len: 5,
                output_hash: [output; 32],
                result_hash: [6; 32],
                tokens_in: 1,
                tokens_out: 1,
                work_ms: 1,
                seen_size: 0,
                seen_root: [0; 32],
            },
            signature: [payee; 64],
        }
    }

    fn verdict(drawn: &Work, runs: &[Run]) -> Verdict {
        match next(drawn, runs) {
            Next::Over(verdict) => verdict,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_job_runs_again_elsewhere_until_two_agree() {
        let drawn = work(1, 7);
        let elsewhere =
            |payees: &[u8]| Next::Run(payees.iter().map(|n| Address([*n; 20])).collect());
        assert_eq!(next(&drawn, &[]), elsewhere(&[1]));
        assert_eq!(next(&drawn, &[Run::Pending]), Next::Wait);
        let same = Run::Done(work(2, 7));
        assert_eq!(verdict(&drawn, &[same]), Verdict::Agreed);
        let other = Run::Done(work(2, 8));
        assert_eq!(
            next(&drawn, std::slice::from_ref(&other)),
            elsewhere(&[1, 2])
        );
        assert_eq!(next(&drawn, &[other, Run::Pending]), Next::Wait);
    }

    #[test]
    fn who_differs_from_two_is_wrong_whoever_it_is() {
        let (drawn, first) = (work(1, 7), work(2, 8));
        let runs = |third: u8| [Run::Done(first.clone()), Run::Done(work(3, third))];
        let wrong = |third: u8| match verdict(&drawn, &runs(third)) {
            Verdict::Wrong(work, _) => Some(work.receipt.payee.0[0]),
            _ => None,
        };
        assert_eq!(wrong(8), Some(1), "the drawn work");
        assert_eq!(wrong(7), Some(2), "the first run");
        assert_eq!(verdict(&drawn, &runs(9)), Verdict::Undecided);
        let same_owner = [Run::Done(first.clone()), Run::Done(work(2, 8))];
        assert_eq!(verdict(&drawn, &same_owner), Verdict::Undecided);
        let Verdict::Wrong(found, evidence) = verdict(&drawn, &runs(8)) else {
            panic!()
        };
        let fault = finding(&found, evidence, Address([9; 20]));
        assert_eq!((fault.job_ref, fault.weight), ([1; 32], FULL_FEE));
        let agreed = [first.id(), work(3, 8).id()];
        assert_eq!(fault.lock, audits::evidence(&drawn.id(), agreed));
    }

    proptest! {
        /// Whatever runs come to, whoever made what another owner made too is never found wrong, and an audit needs two
        /// runs at most.
        #[test]
        fn whoever_agrees_with_another_is_not_found(outputs in prop::array::uniform3(0_u8..3), fails in 0_usize..4) {
            let drawn = work(1, outputs[0]);
            let mut runs = Vec::new();
            let outcome = loop {
                match next(&drawn, &runs) {
                    Next::Run(payees) => {
                        prop_assert!(runs.len() < 2);
                        prop_assert_eq!(payees.len(), runs.len() + 1);
                        let n = runs.len() + 1;
                        let done = Run::Done(work(u8::try_from(n).unwrap() + 1, outputs[n]));
                        runs.push(if n == fails { Run::Failed } else { done });
                    }
                    Next::Wait => prop_assert!(false, "nothing is pending"),
                    Next::Over(verdict) => break verdict,
                }
            };
            if let Verdict::Wrong(found, _) = outcome {
                let others = outputs.iter().filter(|output| [**output; 32] == found.receipt.output_hash);
                prop_assert_eq!(others.count(), 1);
            }
        }
    }
}
