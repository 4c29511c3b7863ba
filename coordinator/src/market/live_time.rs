//! How long listings were live, by day and GPU: what the use of listings is measured against. The coordinator's word.

use std::collections::BTreeMap;

use aitbc_common::hash::Hash;
use aitbc_common::market::pricing::KEPT_DAYS;

/// Milliseconds by day and by the hash of the GPU's name.
#[derive(Debug, Default)]
pub struct LiveTime(BTreeMap<u32, BTreeMap<Hash, u64>>);

impl LiveTime {
    /// Listings of a GPU were live for so long on a day; what it comes to for that day.
    pub fn add(&mut self, day: u32, gpu: Hash, live_ms: u64) -> u64 {
        let of_day = self.0.entry(day).or_default();
        let sum = of_day.entry(gpu).or_default();
        *sum = sum.saturating_add(live_ms);
        let sum = *sum;
        self.0 = self.0.split_off(&day.saturating_sub(KEPT_DAYS));
        sum
    }

    /// In the `days` days up to `today`.
    #[must_use]
    pub fn of(&self, gpu: &Hash, today: u32, days: u32) -> u64 {
        let first = today.saturating_sub(days.saturating_sub(1));
        let of_days = self.0.range(first..=today);
        let times = of_days.filter_map(|(_, of_day)| of_day.get(gpu));
        times.fold(0, |sum, time| sum.saturating_add(*time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_ends_today_and_old_days_are_forgotten() {
        let mut live = LiveTime::default();
        let gpu = [1; 32];
        for day in 0..100 {
            assert_eq!(live.add(day, gpu, 10), 10);
        }
        assert_eq!(live.add(99, gpu, 5), 15);
        assert_eq!(live.of(&gpu, 99, 1), 15);
        assert_eq!(live.of(&gpu, 99, 7), 75);
        assert_eq!(live.of(&gpu, 98, 1), 10);
        assert_eq!(live.of(&[2; 32], 99, 7), 0);
        assert!(live.0.len() <= KEPT_DAYS as usize + 1);
    }
}
