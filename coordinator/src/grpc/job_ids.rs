//! Ids of new jobs, in the order in which they are made: an owner's newest job is the one with the highest id, also where
//! several are made in one millisecond.

use std::sync::atomic::{AtomicU64, Ordering};

use aitbc_common::identity::PublicKey;
use aitbc_common::ids::{JobId, shard_of};
use aitbc_common::runtime::random_bytes;

/// Bits of the number within a millisecond.
const NUMBER_BITS: u32 = 12;

/// The millisecond and the number in it of the newest id of this process.
static NEWEST: AtomicU64 = AtomicU64::new(0);

/// An id that is above all before; with more than 4,096 in a millisecond, of the next one.
pub fn new_job_id(now_ms: u64, owner: &PublicKey) -> JobId {
    let place = next(&NEWEST, now_ms);
    let mut random: [u8; 10] = random_bytes();
    random[1] = (place >> 6 & 0x3f) as u8;
    random[2] = (place & 0x3f) as u8;
    JobId::new(place >> NUMBER_BITS, shard_of(owner), random)
}

fn next(newest: &AtomicU64, now_ms: u64) -> u64 {
    let after = |newest: u64| (newest + 1).max(now_ms << NUMBER_BITS);
    let before = newest.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |newest| {
        Some(after(newest))
    });
    before.map_or_else(after, after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_rise_within_a_millisecond_and_when_the_clock_goes_back() {
        let owner = PublicKey([7; 32]);
        let times = (0..10_000_u64).map(|n| 1_767_225_600_000 + n / 5_000 - n % 2);
        let ids: Vec<_> = times.map(|now_ms| new_job_id(now_ms, &owner)).collect();
        assert!(ids.is_sorted_by(|a, b| a < b));
        assert!(ids.iter().all(|id| id.shard() == shard_of(&owner)));
        let newest = AtomicU64::new(0);
        assert_eq!(next(&newest, 5) >> NUMBER_BITS, 5);
        assert_eq!(next(&newest, 9) >> NUMBER_BITS, 9);
    }
}
