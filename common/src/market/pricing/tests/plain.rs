//! The price by its definition: from all trades, one by one.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// A rate and a weight of each.
type Weighted = Vec<(u64, u64)>;

fn total(weighted: &Weighted) -> u128 {
    weighted.iter().map(|(_, weight)| u128::from(*weight)).sum()
}

/// The lowest rate up to which the weights are at least `percent` percent of all.
pub fn percentile(weighted: &Weighted, percent: u8) -> u64 {
    let mut sorted = weighted.clone();
    sorted.sort_unstable();
    let (all, mut up_to) = (total(weighted) * u128::from(percent), 0);
    let reaches = |(_, weight): &&(u64, u64)| {
        up_to += u128::from(*weight) * 100;
        up_to >= all
    };
    sorted.iter().find(reaches).unwrap().0
}

/// The scaled weight of each trade, in the order of the trades.
pub fn scaled(trades: &[Trade]) -> Weighted {
    let all: u64 = trades.iter().map(|trade| trade.fee).sum();
    let most = all / 5;
    let mut order: Vec<usize> = (0..trades.len()).collect();
    order.sort_by_key(|place| (trades[*place].rate, *place));
    let mut weighted: Weighted = trades.iter().map(|trade| (trade.rate, trade.fee)).collect();
    let owners: BTreeSet<Address> = trades.iter().map(|trade| trade.owner).collect();
    for owner in owners {
        let own: Vec<usize> = order
            .iter()
            .copied()
            .filter(|place| trades[*place].owner == owner)
            .collect();
        let weight: u64 = own.iter().map(|place| trades[*place].fee).sum();
        if weight <= most {
            continue;
        }
        let mut up_to = 0_u64;
        for place in own {
            let scale =
                |up_to: u64| (u128::from(up_to) * u128::from(most) / u128::from(weight)) as u64;
            weighted[place].1 = scale(up_to + trades[place].fee) - scale(up_to);
            up_to += trades[place].fee;
        }
    }
    weighted
}

pub fn settled(trades: &[Trade], today: u32, days: u32) -> Settled {
    let in_window = |trade: &&Trade| {
        trade.fee > 0 && trade.rate <= 1_000_000_000_000 && trade.day + days > today
    };
    let trades: Vec<Trade> = trades.iter().filter(in_window).copied().collect();
    let mut owners = BTreeMap::<Address, u64>::new();
    for trade in &trades {
        *owners.entry(trade.owner).or_default() += trade.fee;
    }
    let weight: u64 = owners.values().sum();
    Settled {
        trades: trades.len() as u64,
        weight,
        owners: owners.len() as u64,
        weighty_owners: owners.values().filter(|weight| **weight >= 500_000).count() as u64,
        scaled_owners: owners.values().filter(|of| **of > weight / 5).count() as u64,
        providers: trades
            .iter()
            .map(|trade| trade.provider)
            .collect::<BTreeSet<_>>()
            .len() as u64,
        billed_ms: trades.iter().map(|trade| trade.billed_ms).sum(),
        kept: kept(scaled(&trades)),
    }
}

fn kept(weighted: Weighted) -> Option<Kept> {
    if total(&weighted) == 0 {
        return None;
    }
    let median = percentile(&weighted, 50);
    let deviations = weighted
        .iter()
        .map(|(rate, weight)| (rate.abs_diff(median), *weight));
    let deviation = percentile(&deviations.collect(), 50);
    let spread = (4_448 * u128::from(deviation)).max(100 * u128::from(median));
    let near = |(rate, _): &(u64, u64)| u128::from(rate.abs_diff(median)) * 1_000 <= spread;
    let kept: Weighted = weighted.into_iter().filter(near).collect();
    let rates = || kept.iter().map(|(rate, _)| *rate);
    let moment: u128 = kept
        .iter()
        .map(|(rate, weight)| u128::from(*rate) * u128::from(*weight))
        .sum();
    Some(Kept {
        trades: kept.len() as u64,
        weight: total(&kept) as u64,
        min: rates().min()?,
        max: rates().max()?,
        mean: (moment / total(&kept)) as u64,
        percentiles: Percentiles([10, 25, 50, 75, 90].map(|percent| percentile(&kept, percent))),
        deviation,
        histogram: histogram(&kept, rates().min()?, rates().max()?),
    })
}

fn histogram(kept: &Weighted, min: u64, max: u64) -> Vec<Bucket> {
    let width = (max - min + 1).div_ceil(20);
    let mut buckets = Vec::new();
    let mut from = min;
    while from <= max {
        let to = max.min(from + width - 1);
        let inside: Weighted = kept
            .iter()
            .filter(|(rate, _)| (from..=to).contains(rate))
            .copied()
            .collect();
        buckets.push(Bucket {
            from,
            to,
            trades: inside.len() as u64,
            weight: total(&inside) as u64,
        });
        from += width;
    }
    buckets
}
