//! How much must be locked for a job: in all before it starts, and in each lock.

use aitbc_common::ledger::transactions::MIN_LOCK;

/// Each lock holds at least this part of what is locked already.
const PART: u64 = 16;

/// What is locked for a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Funding {
    /// Micro-AIT that must be locked before it starts; 0 = any lock starts it.
    pub least: u64,
    /// Micro-AIT in its open locks.
    pub open: u64,
    /// Locks that it still takes.
    pub places: u64,
}

impl Funding {
    /// Whether it may start.
    #[must_use]
    pub fn is_enough(&self) -> bool {
        self.open > 0 && self.rest() == 0
    }

    /// Micro-AIT that must be locked beside what is.
    #[must_use]
    pub fn rest(&self) -> u64 {
        self.least.saturating_sub(self.open)
    }

    /// The least micro-AIT of its next lock; `None` = it takes none. Small ones must not use its places up: where the rest is
    /// missing, the locks that it still takes bring it; afterwards each holds a sixteenth of what is locked.
    #[must_use]
    pub fn least_lock(&self) -> Option<u64> {
        let least = match (self.places, self.rest()) {
            (0, _) => return None,
            (_, 0) => self.open.div_ceil(PART),
            (places, rest) => rest.div_ceil(places),
        };
        Some(least.max(MIN_LOCK))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn new(least: u64, places: u64) -> Funding {
        Funding {
            least,
            open: 0,
            places,
        }
    }

    /// With one more lock, where it is taken.
    fn with(funding: Funding, amount: u64) -> Option<Funding> {
        let taken = funding.least_lock().is_some_and(|least| amount >= least);
        taken.then(|| Funding {
            open: funding.open.saturating_add(amount),
            places: funding.places - 1,
            ..funding
        })
    }

    #[test]
    fn the_least_lock_follows_what_is_missing_and_then_what_is_there() {
        let job = new(10_000_000, 16);
        assert_eq!(job.least_lock(), Some(625_000));
        assert!(with(job, 624_999).is_none());
        let some = with(job, 4_000_000).unwrap();
        assert_eq!((some.rest(), some.least_lock()), (6_000_000, Some(400_000)));
        assert!(!some.is_enough());
        let enough = with(some, 6_000_000).unwrap();
        assert!(enough.is_enough());
        assert_eq!(enough.least_lock(), Some(625_000));
        let full = Funding {
            places: 0,
            ..enough
        };
        assert_eq!(full.least_lock(), None);
        let any = new(0, 16);
        assert_eq!((any.is_enough(), any.least_lock()), (false, Some(1_000)));
        assert!(with(any, 1_000).unwrap().is_enough());
    }

    proptest! {
        /// Whoever fills a job's places pays for it, whatever was locked when.
        #[test]
        fn the_places_are_not_filled_for_less_than_the_job(
            least in prop_oneof![Just(0u64), 0u64..20_000, 0u64..1 << 62],
            extra in proptest::collection::vec(prop_oneof![2 => Just(0u64), 1 => 0u64..1 << 40], 16),
        ) {
            let (mut job, mut reached) = (new(least, 16), None);
            for extra in extra {
                let smallest = job.least_lock().unwrap();
                prop_assert!(with(job, smallest - 1).is_none());
                job = with(job, smallest.saturating_add(extra)).unwrap();
                prop_assert_eq!(job.is_enough(), job.open >= least);
                if job.is_enough() && reached.is_none() {
                    reached = Some(job);
                }
            }
            prop_assert!(job.least_lock().is_none() && job.is_enough());
            // It was enough at some lock; the ones after it add up to what their number is worth.
            let reached = reached.unwrap();
            let worth = reached.open / PART * reached.places;
            prop_assert!(job.open - reached.open >= worth);
        }
    }
}
