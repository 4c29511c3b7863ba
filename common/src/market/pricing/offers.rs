//! What is asked for in live offers: free to fake, so it stands apart from what was paid.

use std::collections::BTreeMap;

use super::{PERCENTILES, Percentiles};

/// The rates of the live offers of one GPU model.
#[derive(Debug, Clone, Default)]
pub struct Offers {
    rates: BTreeMap<u64, u64>,
    count: u64,
    sum: u128,
}

/// Statistics of live offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfferStatistics {
    /// How many they are.
    pub count: u64,
    /// The lowest rate.
    pub min: u64,
    /// The highest rate.
    pub max: u64,
    /// The mean rate, rounded down.
    pub mean: u64,
    /// By nearest rank; the median is the 50th.
    pub percentiles: Percentiles,
}

impl Offers {
    /// An offer at a rate in micro-AIT per hour is live.
    pub fn add(&mut self, rate: u64) {
        *self.rates.entry(rate).or_default() += 1;
        self.count += 1;
        self.sum += u128::from(rate);
    }

    /// An offer at this rate is not live any more; without effect where there was none.
    pub fn remove(&mut self, rate: u64) {
        let Some(count) = self.rates.get_mut(&rate) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            let _none = self.rates.remove(&rate);
        }
        self.count -= 1;
        self.sum -= u128::from(rate);
    }

    /// None without offers. Takes as long as there are different rates.
    #[must_use]
    pub fn statistics(&self) -> Option<OfferStatistics> {
        let (min, _) = self.rates.first_key_value()?;
        let (max, _) = self.rates.last_key_value()?;
        let mean = self.sum / u128::from(self.count);
        let mut percentiles = Percentiles::default();
        let (mut rates, mut rate, mut up_to) = (self.rates.iter(), *min, 0);
        for (percent, found) in PERCENTILES.into_iter().zip(&mut percentiles.0) {
            while u128::from(up_to) * 100 < u128::from(self.count) * u128::from(percent) {
                let (next, count) = rates.next().expect("the counts add up to all offers");
                (rate, up_to) = (*next, up_to + count);
            }
            *found = rate;
        }
        Some(OfferStatistics {
            count: self.count,
            min: *min,
            max: *max,
            mean: u64::try_from(mean).unwrap_or(u64::MAX),
            percentiles,
        })
    }
}
