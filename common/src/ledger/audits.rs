//! Audits of work: which jobs are drawn, and what the log says of it. A day's seed is committed to in the log before it draws
//! and told two days later, so that anyone who knows a job_ref can check whether the job had to be drawn.

use super::draft::Draft;
use super::entry::{AuditSeed, Entry, StateKey};
use super::position::ChainRules;
use super::settlement::computed;
use super::violation::Violation;
use crate::hash::{Hash, tagged};
use crate::layouts::FaultEntry;
use crate::market::{DAY_MS, FULL_FEE, day_of};

/// The share of a miner whose reputation is 1, in millionths.
const LEAST_SHARE: u64 = 10_000;
/// What is added for one whose reputation is 0.
const MORE_SHARE: u64 = 90_000;
const MILLION: u64 = 1_000_000;

/// What a log says of a day's seed before it tells it: H("aitbc/audit-seed/v1", chain_id ‖ day u32 ‖ seed).
#[must_use]
pub fn commitment(chain_id: &Hash, day: u32, seed: &Hash) -> Hash {
    let day = day.to_be_bytes();
    tagged("aitbc/audit-seed/v1", &[&chain_id[..], &day, seed].concat())
}

/// The share of a miner's jobs that is drawn, in millionths: 10,000 + ⌊90,000 · (10^6 − reputation) / 10^6⌋.
#[must_use]
pub fn share_ppm(reputation_ppm: u32) -> u64 {
    let lacks = MILLION.saturating_sub(reputation_ppm.into());
    LEAST_SHARE + MORE_SHARE * lacks / MILLION
}

/// Whether a job is drawn: the first 8 bytes of H("aitbc/audit-draw/v1", seed ‖ job_ref) mod 10^6 are below the share of its
/// miner, whose reputation is the one at its settlement.
#[must_use]
pub fn is_drawn(seed: &Hash, job_ref: &Hash, reputation_ppm: u32) -> bool {
    let hash = tagged("aitbc/audit-draw/v1", &[&seed[..], job_ref].concat());
    let (first, _) = hash.split_first_chunk().expect("a hash has 32 bytes");
    u64::from_be_bytes(*first) % MILLION < share_ppm(reputation_ppm)
}

/// What a finding rests on: H("aitbc/audit-evidence/v1", receipt_id of the work found wrong ‖ those of the two receipts that
/// agree, ascending).
#[must_use]
pub fn evidence(wrong: &Hash, mut agreed: [Hash; 2]) -> Hash {
    agreed.sort_unstable();
    tagged(
        "aitbc/audit-evidence/v1",
        &[&wrong[..], &agreed[0], &agreed[1]].concat(),
    )
}

impl Draft<'_> {
    /// A day's seed is committed to once, on the day or the day before.
    pub(super) fn commit_seed(
        &mut self,
        day: u32,
        commitment: Hash,
        now: u64,
        rules: &ChainRules,
    ) -> Result<(), Violation> {
        if rules.auditors.is_empty() {
            return Err(Violation::Misplaced("the genesis file names no auditors"));
        }
        let today = day_of(now);
        if day != today && Some(day) != today.checked_add(1) {
            return Err(Violation::Misplaced(
                "a seed is committed to on its day or the day before",
            ));
        }
        let key = StateKey::AuditSeed(day);
        if self.get(&key).is_some() {
            return Err(Violation::Misplaced("the day has its seed"));
        }
        let seed = Hash::default();
        self.put(key, Entry::AuditSeed(AuditSeed { commitment, seed }));
        Ok(())
    }

    /// A seed is told once, when the day after its day is over.
    pub(super) fn reveal_seed(
        &mut self,
        day: u32,
        seed: Hash,
        now: u64,
        rules: &ChainRules,
    ) -> Result<(), Violation> {
        let key = StateKey::AuditSeed(day);
        let committed = match self.get(&key) {
            Some(Entry::AuditSeed(audit)) if audit.seed == Hash::default() => audit.commitment,
            _ => {
                return Err(Violation::Misplaced(
                    "the day has no seed, or it was told before",
                ));
            }
        };
        let from = (u64::from(day) + 2) * DAY_MS;
        if now < from {
            return Err(Violation::TooEarly(from));
        }
        if seed == Hash::default() || commitment(&rules.chain_id, day, &seed) != committed {
            return Err(Violation::Misplaced("it is not the seed committed to"));
        }
        let commitment = committed;
        self.put(key, Entry::AuditSeed(AuditSeed { commitment, seed }));
        Ok(())
    }

    /// An auditor's finding: it stands for its full weight, once per job.
    pub(super) fn found_wrong(
        &mut self,
        fault: &FaultEntry,
        rules: &ChainRules,
    ) -> Result<(), Violation> {
        if rules.auditors.binary_search(&fault.client).is_err() {
            return Err(Violation::Terms("a finding by a wallet that is no auditor"));
        }
        computed("weight", FULL_FEE, fault.weight)?;
        let key = StateKey::FoundWrong(fault.job_ref);
        if self.get(&key).is_some() && !self.broken().find_again {
            return Err(Violation::Misplaced("this job was found wrong before"));
        }
        self.put(key, Entry::FoundWrong(fault.lock));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_better_reputation_is_drawn_less_often() {
        assert_eq!(share_ppm(0), 100_000);
        assert_eq!(share_ppm(25_000), 97_750);
        assert_eq!(share_ppm(790_500), 28_855);
        assert_eq!(share_ppm(1_000_000), 10_000);
        let drawn = |reputation| {
            let jobs = (0..20_000_u32).map(|job| crate::hash::sha256(&job.to_be_bytes()));
            jobs.filter(|job| is_drawn(&[7; 32], job, reputation))
                .count()
        };
        let (new, good) = (drawn(0), drawn(900_000));
        assert!((1_800..2_200).contains(&new), "{new} of about 2,000");
        assert!((300..460).contains(&good), "{good} of about 380");
    }

    #[test]
    fn the_order_of_those_that_agree_changes_nothing() {
        let (a, b, c) = ([1; 32], [2; 32], [3; 32]);
        assert_eq!(evidence(&a, [b, c]), evidence(&a, [c, b]));
        assert_ne!(evidence(&a, [b, c]), evidence(&b, [a, c]));
    }
}
