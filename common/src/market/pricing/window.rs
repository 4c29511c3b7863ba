//! What the trades of a window come to.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use super::curve::{Curve, Sums};
use super::trades::{OwnersDay, TradingDay};
use super::{BUCKETS, LEAST_FEES, LEAST_OWNERS, OWNERS_SHARE, PERCENTILES, Percentiles};

/// What the trades of a window come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settled {
    /// How many there are.
    pub trades: u64,
    /// Their fees together, in micro-AIT.
    pub weight: u64,
    /// How many wallets were paid.
    pub owners: u64,
    /// How many of them brought [`LEAST_FEES`] each.
    pub weighty_owners: u64,
    /// How many of them are scaled.
    pub scaled_owners: u64,
    /// How many miners worked.
    pub providers: u64,
    /// Milliseconds that were paid for.
    pub billed_ms: u64,
    /// What is kept of them; none where nothing has weight.
    pub kept: Option<Kept>,
}

/// The trades that are near enough to the median.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// How many there are.
    pub trades: u64,
    /// Their scaled weights together.
    pub weight: u64,
    /// The lowest rate.
    pub min: u64,
    /// The highest rate.
    pub max: u64,
    /// The mean rate, rounded down.
    pub mean: u64,
    /// By nearest rank; the median, which is the price, is the 50th.
    pub percentiles: Percentiles,
    /// The median deviation from the median of all trades, from which it follows which are kept.
    pub deviation: u64,
    /// From the lowest to the highest rate: at most [`BUCKETS`], each ⌈(max − min + 1) / 20⌉ wide, the last up to the highest
    /// rate.
    pub histogram: Vec<Bucket>,
}

/// The trades between two rates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// The lowest rate of it.
    pub from: u64,
    /// The highest rate of it.
    pub to: u64,
    /// How many trades it holds.
    pub trades: u64,
    /// Their scaled weights together.
    pub weight: u64,
}

impl Settled {
    /// Whether a price may rest on it.
    #[must_use]
    pub fn is_sufficient(&self) -> bool {
        self.weighty_owners >= LEAST_OWNERS
    }
}

/// The days of a window, with the weights of great owners scaled.
pub(super) struct View<'a> {
    days: Vec<&'a TradingDay>,
    /// What scaling takes away.
    taken: Vec<Curve>,
    owners: u64,
    weighty_owners: u64,
    all: Sums,
    scaled: Sums,
}

impl<'a> View<'a> {
    pub fn new(
        days: &'a VecDeque<TradingDay>,
        owners: impl Iterator<Item = &'a VecDeque<OwnersDay>>,
        window: RangeInclusive<u32>,
    ) -> Self {
        let mut view = Self {
            days: days.iter().filter(|of| window.contains(&of.day)).collect(),
            taken: Vec::new(),
            owners: 0,
            weighty_owners: 0,
            all: Sums::default(),
            scaled: Sums::default(),
        };
        view.all = view.up_to(u64::MAX);
        let most = view.all.weight / OWNERS_SHARE;
        for owner in owners {
            let days = || owner.iter().filter(|of| window.contains(&of.day));
            let weight: u64 = days().map(|of| of.weight).sum();
            view.owners += u64::from(weight > 0);
            view.weighty_owners += u64::from(weight >= LEAST_FEES);
            if weight > most {
                view.taken.push(excess(days().map(|of| &of.all), most));
            }
        }
        view.scaled = view.up_to(u64::MAX);
        view
    }

    fn up_to(&self, rate: u64) -> Sums {
        let whole = self.days.iter().map(|day| day.all.up_to(rate));
        let taken = self.taken.iter().map(|curve| curve.up_to(rate));
        whole
            .fold(Sums::default(), Sums::plus)
            .minus(taken.fold(Sums::default(), Sums::plus))
    }

    fn below(&self, rate: u64) -> Sums {
        let below = rate.checked_sub(1).map(|rate| self.up_to(rate));
        below.unwrap_or_default()
    }

    /// The lowest and the highest rate from `from` to `to`.
    fn ends(&self, from: u64, to: u64) -> Option<(u64, u64)> {
        let days = || self.days.iter().map(|day| &day.all);
        let min = days().filter_map(|curve| curve.first_from(from)).min()?;
        let max = days().filter_map(|curve| curve.last_to(to)).max()?;
        Some((min, max))
    }

    /// The lowest rate from `min` to `max` up to which there are `percent` percent of the weight between them.
    fn percentile(&self, min: u64, max: u64, percent: u8) -> u64 {
        let below = self.below(min).weight;
        let between = |rate| u128::from(self.up_to(rate).weight - below);
        let wanted = between(max) * u128::from(percent);
        lowest(min, max, |rate| between(rate) * 100 >= wanted)
    }

    /// The lower weighted median of |r − m|.
    fn deviation(&self, median: u64, min: u64, max: u64) -> u64 {
        let all = u128::from(self.scaled.weight);
        lowest(0, (median - min).max(max - median), |by| {
            let up_to = self.up_to(median.saturating_add(by)).weight;
            let near = up_to - self.below(median.saturating_sub(by)).weight;
            2 * u128::from(near) >= all
        })
    }

    /// The deviation, and the lowest and the highest rate that are kept; none where nothing has weight.
    fn range(&self) -> Option<(u64, u64, u64)> {
        let (min, max) = self.ends(0, u64::MAX)?;
        if self.scaled.weight == 0 {
            return None;
        }
        let median = self.percentile(min, max, 50);
        let deviation = self.deviation(median, min, max);
        let spread = (4_448 * u128::from(deviation)).max(100 * u128::from(median)) / 1_000;
        let spread = u64::try_from(spread).unwrap_or(u64::MAX);
        let (min, max) = self.ends(median.saturating_sub(spread), median.saturating_add(spread))?;
        Some((deviation, min, max))
    }

    pub fn median(&self) -> Option<u64> {
        let (_, min, max) = self.range()?;
        Some(self.percentile(min, max, 50))
    }

    pub fn settled(&self, providers: u64) -> Settled {
        let billed = self.days.iter().map(|day| day.billed_ms);
        Settled {
            trades: self.all.trades,
            weight: self.all.weight,
            owners: self.owners,
            weighty_owners: self.weighty_owners,
            scaled_owners: self.taken.len() as u64,
            providers,
            billed_ms: billed.fold(0, u64::saturating_add),
            kept: self.kept(),
        }
    }

    fn kept(&self) -> Option<Kept> {
        let (deviation, min, max) = self.range()?;
        let sums = self.up_to(max).minus(self.below(min));
        let mean = sums.moment.checked_div(u128::from(sums.weight))?;
        Some(Kept {
            trades: sums.trades,
            weight: sums.weight,
            min,
            max,
            mean: u64::try_from(mean).unwrap_or(u64::MAX),
            percentiles: Percentiles(PERCENTILES.map(|of| self.percentile(min, max, of))),
            deviation,
            histogram: self.histogram(min, max),
        })
    }

    fn histogram(&self, min: u64, max: u64) -> Vec<Bucket> {
        let width = (max - min) / BUCKETS + 1;
        let bucket = |place| {
            let from = min + place * width;
            let to = max.min(from + (width - 1));
            let sums = self.up_to(to).minus(self.below(from));
            Bucket {
                from,
                to,
                trades: sums.trades,
                weight: sums.weight,
            }
        };
        (0..=(max - min) / width).map(bucket).collect()
    }
}

/// What is to be taken from the weights of an owner's trades so that they are `most` together.
fn excess<'a>(days: impl Iterator<Item = &'a Curve>, most: u64) -> Curve {
    let trades = Curve::of_all(days);
    let all = u128::from(trades.all().weight);
    let (mut up_to, mut taken) = (0, 0);
    let excess = trades.at_each().map(|(rate, sums)| {
        up_to += sums.weight;
        let left = u128::from(up_to) * u128::from(most) / all;
        let left = u64::try_from(left).expect("it is at most the weight");
        let here = up_to - left - taken;
        taken += here;
        (rate, here)
    });
    Curve::of_weights(excess)
}

/// The lowest number from `from` to `to` of which `enough` is true; it is true of `to` and of all above the one sought.
fn lowest(from: u64, to: u64, enough: impl Fn(u64) -> bool) -> u64 {
    let (mut from, mut to) = (from, to);
    while from < to {
        let middle = from + (to - from) / 2;
        if enough(middle) {
            to = middle;
        } else {
            from = middle + 1;
        }
    }
    from
}
