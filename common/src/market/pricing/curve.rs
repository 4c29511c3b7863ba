//! Sums over the trades up to any rate.

use std::cmp::Reverse;

/// Sums over trades.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sums {
    /// Of their weights.
    pub weight: u64,
    /// How many they are.
    pub trades: u64,
    /// Of weight·rate.
    pub moment: u128,
}

impl Sums {
    pub fn plus(self, other: Self) -> Self {
        Self {
            weight: self.weight + other.weight,
            trades: self.trades + other.trades,
            moment: self.moment + other.moment,
        }
    }

    pub fn minus(self, other: Self) -> Self {
        Self {
            weight: self.weight - other.weight,
            trades: self.trades - other.trades,
            moment: self.moment - other.moment,
        }
    }
}

/// A rate that was traded, and the sums over all trades of its run up to it.
#[derive(Debug, Clone, Copy)]
struct Point {
    rate: u64,
    up_to: Sums,
}

/// Trades by rate. A trade is added in O(log n) on average, the sums up to a rate are found in O(log² n), in O(log n) once
/// nothing is added any more, where n is the number of different rates.
///
/// Its runs, each sorted, are at least twice as long as the one after them (the logarithmic method of Bentley and Saxe).
#[derive(Debug, Clone, Default)]
pub(super) struct Curve {
    runs: Vec<Vec<Point>>,
}

impl Curve {
    /// From the weights at rates in ascending order, without counting trades.
    pub fn of_weights(weights: impl IntoIterator<Item = (u64, u64)>) -> Self {
        let mut up_to = Sums::default();
        let point = |(rate, weight): (u64, u64)| {
            up_to.weight += weight;
            up_to.moment += u128::from(weight) * u128::from(rate);
            Point { rate, up_to }
        };
        Self {
            runs: vec![weights.into_iter().map(point).collect()],
        }
    }

    pub fn add(&mut self, rate: u64, up_to: Sums) {
        let mut run = vec![Point { rate, up_to }];
        while let Some(last) = self.runs.pop_if(|last| last.len() < 2 * run.len()) {
            run = merge(&last, &run);
        }
        self.runs.push(run);
    }

    /// Nothing will be added for now: one run is the quickest to ask.
    pub fn settle(&mut self) {
        while let Some(last) = self.runs.pop() {
            let Some(before) = self.runs.pop() else {
                self.runs.push(last);
                return;
            };
            self.runs.push(merge(&before, &last));
        }
    }

    /// All trades of some curves in one run.
    pub fn of_all<'a>(curves: impl Iterator<Item = &'a Self>) -> Self {
        let mut runs: Vec<Vec<Point>> = curves.flat_map(|curve| curve.runs.clone()).collect();
        runs.sort_by_key(|run| Reverse(run.len()));
        let mut all = Self { runs };
        all.settle();
        all
    }

    pub fn up_to(&self, rate: u64) -> Sums {
        let up_to = |run: &Vec<Point>| {
            let count = run.partition_point(|point| point.rate <= rate);
            count.checked_sub(1).map(|last| run[last].up_to)
        };
        let sums = self.runs.iter().filter_map(up_to);
        sums.fold(Sums::default(), Sums::plus)
    }

    pub fn all(&self) -> Sums {
        self.up_to(u64::MAX)
    }

    /// The lowest rate from `rate` on.
    pub fn first_from(&self, rate: u64) -> Option<u64> {
        let first = |run: &Vec<Point>| {
            let at = run.partition_point(|point| point.rate < rate);
            run.get(at).map(|point| point.rate)
        };
        self.runs.iter().filter_map(first).min()
    }

    /// The highest rate up to `rate`.
    pub fn last_to(&self, rate: u64) -> Option<u64> {
        let last = |run: &Vec<Point>| {
            let count = run.partition_point(|point| point.rate <= rate);
            count.checked_sub(1).map(|at| run[at].rate)
        };
        self.runs.iter().filter_map(last).max()
    }

    /// The sums at each rate, run by run.
    pub fn at_each(&self) -> impl Iterator<Item = (u64, Sums)> {
        self.runs.iter().flat_map(|run| differences(run))
    }
}

fn differences(run: &[Point]) -> impl Iterator<Item = (u64, Sums)> {
    let mut before = Sums::default();
    run.iter().map(move |point| {
        let at = point.up_to.minus(before);
        before = point.up_to;
        (point.rate, at)
    })
}

fn merge(one: &[Point], other: &[Point]) -> Vec<Point> {
    let mut merged: Vec<Point> = Vec::with_capacity(one.len() + other.len());
    let mut ones = differences(one).peekable();
    let mut others = differences(other).peekable();
    let mut up_to = Sums::default();
    loop {
        let from_one = match (ones.peek(), others.peek()) {
            (Some((rate, _)), Some((other, _))) => rate <= other,
            (one, _) => one.is_some(),
        };
        let next = if from_one { ones.next() } else { others.next() };
        let Some((rate, sums)) = next else {
            return merged;
        };
        up_to = up_to.plus(sums);
        match merged.last_mut() {
            Some(last) if last.rate == rate => last.up_to = up_to,
            _ => merged.push(Point { rate, up_to }),
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn many_rates_make_few_runs_and_are_all_counted() {
        for rates in [1_u64, 30, 1_000, 1 << 40] {
            let mut random = SmallRng::seed_from_u64(rates);
            let (mut curve, mut plain) = (Curve::default(), vec![]);
            for place in 0..3_000_u64 {
                let (rate, weight) = (random.random_range(0..rates), random.random_range(1..99));
                let moment = u128::from(rate * weight);
                let sums = Sums {
                    weight,
                    trades: 1,
                    moment,
                };
                curve.add(rate, sums);
                plain.push((rate, sums));
                assert!(curve.runs.len() <= 12, "{} runs", curve.runs.len());
                if place % 100 != 99 {
                    continue;
                }
                let at = random.random_range(0..=rates);
                let up_to = plain.iter().filter(|(rate, _)| *rate <= at);
                let up_to = up_to.fold(Sums::default(), |all, (_, sums)| all.plus(*sums));
                let of_plain = || plain.iter().map(|(rate, _)| *rate);
                let mut settled = curve.clone();
                settled.settle();
                assert_eq!(settled.runs.len(), 1);
                for curve in [&curve, &settled] {
                    assert_eq!(curve.up_to(at), up_to);
                    assert_eq!(
                        curve.first_from(at),
                        of_plain().filter(|rate| *rate >= at).min()
                    );
                    assert_eq!(
                        curve.last_to(at),
                        of_plain().filter(|rate| *rate <= at).max()
                    );
                    let each = curve.at_each().map(|(_, sums)| sums);
                    assert_eq!(each.fold(Sums::default(), Sums::plus), curve.all());
                }
            }
        }
    }
}
