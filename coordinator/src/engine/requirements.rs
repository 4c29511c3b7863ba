//! How many different requirements an owner's live jobs have: each may be a class of its own in the queue, and every
//! change of a miner looks at all classes that it might serve.

use std::collections::BTreeMap;
use std::sync::Arc;

use aitbc_common::identity::PublicKey;
use aitbc_common::ids::{JobId, MinerId};

use super::core::EngineCore;
use super::dispatch::excluding;
use super::edits::Edit;
use super::turn::Turn;
use crate::jobs::matching::Requirement;

/// Different requirements that one owner's live jobs may have as they were submitted, and as many with miners excluded.
pub(super) const PER_OWNER: usize = 256;

/// The live jobs of each owner, counted by their requirements.
#[derive(Debug, Default)]
pub(super) struct OwnerRequirements(BTreeMap<PublicKey, BTreeMap<Arc<Requirement>, usize>>);

impl OwnerRequirements {
    /// Whether one more job of this owner may have these requirements. At recovery nobody asks: what was stored stays.
    pub fn has_room(&self, owner: &PublicKey, requirement: &Requirement) -> bool {
        let Some(known) = self.0.get(owner) else {
            return true;
        };
        let alike = |other: &&Arc<Requirement>| {
            other.excluded.is_empty() == requirement.excluded.is_empty()
        };
        known.len() < PER_OWNER
            || known.contains_key(requirement)
            || known.keys().filter(alike).count() < PER_OWNER
    }

    /// A live job has these requirements now.
    pub fn add(&mut self, owner: PublicKey, requirement: &Arc<Requirement>) {
        let known = self.0.entry(owner).or_default();
        *known.entry(Arc::clone(requirement)).or_default() += 1;
    }

    /// A live job does not have them any more.
    pub fn remove(&mut self, owner: &PublicKey, requirement: &Requirement) {
        let Some(known) = self.0.get_mut(owner) else {
            return;
        };
        if let Some(count) = known.get_mut(requirement) {
            *count -= 1;
            if *count == 0 {
                known.remove(requirement);
            }
        }
        if known.is_empty() {
            self.0.remove(owner);
        }
    }

    /// Live jobs that are counted.
    pub fn jobs(&self) -> usize {
        self.0.values().flat_map(BTreeMap::values).sum()
    }
}

impl EngineCore {
    /// A job's retry should go to another miner than this one. Beyond the bound it may have the job again.
    pub(super) fn exclude(&mut self, turn: &mut Turn, job_id: JobId, miner: MinerId) {
        let Some(live) = self.jobs.get_mut(&job_id) else {
            return;
        };
        let next = self.queue.shared(excluding(&live.requirement, miner));
        if self.requirements.has_room(&live.owner, &next) {
            self.requirements.remove(&live.owner, &live.requirement);
            self.requirements.add(live.owner, &next);
            live.requirement = next;
            turn.edit(job_id, live.owner, Edit::Exclude(miner));
        }
    }
}

#[cfg(test)]
mod tests {
    use aitbc_common::job_input::JobType;

    use super::*;

    #[test]
    fn sets_with_miners_excluded_have_a_bound_of_their_own() {
        let owner = PublicKey([1; 32]);
        let with = |max_rate: usize, excluded: &[u8]| {
            Arc::new(Requirement {
                job_type: JobType::Inference,
                model: "llama3:latest".into(),
                digest: [0; 32],
                min_vram_gib: 0,
                max_rate: max_rate as u64,
                only_miner: None,
                min_reputation_ppm: 0,
                rate: None,
                rental: None,
                excluded: excluded.iter().map(|n| MinerId([*n; 16])).collect(),
                not_paid_at: Vec::new(),
                tools: Vec::new(),
                paid: false,
            })
        };
        let mut counted = OwnerRequirements::default();
        for rate in 0..PER_OWNER {
            assert!(counted.has_room(&owner, &with(rate, &[1])));
            counted.add(owner, &with(rate, &[1]));
        }
        assert!(!counted.has_room(&owner, &with(PER_OWNER, &[1])));
        assert!(counted.has_room(&owner, &with(7, &[1])), "not a new one");
        assert!(counted.has_room(&owner, &with(0, &[])), "as submitted");
        assert!(counted.has_room(&PublicKey([2; 32]), &with(0, &[1, 2])));
        counted.add(owner, &with(7, &[1]));
        counted.remove(&owner, &with(7, &[1]));
        assert!(
            !counted.has_room(&owner, &with(0, &[1, 2])),
            "one of two is left"
        );
        counted.remove(&owner, &with(7, &[1]));
        assert!(counted.has_room(&owner, &with(0, &[1, 2])));
    }
}
