//! Collected durations and what is reported of them.

use std::time::Duration;

use serde::Serialize;

/// Durations in microseconds; a longer one than 71 minutes counts as that.
#[derive(Debug, Default, Clone)]
pub struct Latencies {
    microseconds: Vec<u32>,
}

impl Latencies {
    /// Adds one.
    pub fn add(&mut self, duration: Duration) {
        self.microseconds
            .push(u32::try_from(duration.as_micros()).unwrap_or(u32::MAX));
    }

    /// Adds all of another collection.
    pub fn extend(&mut self, other: Self) {
        self.microseconds.extend(other.microseconds);
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.microseconds.clear();
    }

    /// Sorts them and reads the percentiles, in milliseconds.
    #[must_use]
    pub fn summary(mut self) -> Summary {
        self.microseconds.sort_unstable();
        let at = |per_mille| milliseconds(rank(&self.microseconds, per_mille));
        Summary {
            count: self.microseconds.len(),
            p50_ms: at(500),
            p99_ms: at(990),
            p999_ms: at(999),
            max_ms: at(1_000),
        }
    }
}

/// The smallest value that at least this many in a thousand do not exceed; 0 of nothing.
fn rank(sorted: &[u32], per_mille: usize) -> u32 {
    let place = (sorted.len() * per_mille).div_ceil(1_000);
    sorted
        .get(place.saturating_sub(1))
        .copied()
        .unwrap_or_default()
}

fn milliseconds(microseconds: u32) -> f64 {
    f64::from(microseconds) / 1_000.0
}

/// Percentiles in milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Summary {
    /// How many were measured.
    pub count: usize,
    /// Half of them took at most this.
    pub p50_ms: f64,
    /// 99 in 100.
    pub p99_ms: f64,
    /// 999 in 1,000.
    pub p999_ms: f64,
    /// All of them.
    pub max_ms: f64,
}

/// Several measurements of one quantity.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Spread {
    /// The lowest.
    pub min: f64,
    /// The one in the middle (the mean of two where their number is even).
    pub median: f64,
    /// The highest.
    pub max: f64,
}

impl Spread {
    /// Of these values; all zero where there are none.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (Some(min), Some(max)) = (values.first(), values.last()) else {
            return Self::default();
        };
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Self {
            min: *min,
            median,
            max: *max,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_ranks() {
        let mut latencies = Latencies::default();
        (1..=1_000).for_each(|ms| latencies.add(Duration::from_millis(ms)));
        let summary = latencies.summary();
        let found = [
            summary.p50_ms,
            summary.p99_ms,
            summary.p999_ms,
            summary.max_ms,
        ];
        assert_eq!(found, [500.0, 990.0, 999.0, 1_000.0]);
        assert_eq!(Latencies::default().summary().p50_ms, 0.0);
    }

    #[test]
    fn spreads_have_a_middle() {
        let odd = Spread::of([3.0, 1.0, 2.0]);
        assert_eq!([odd.min, odd.median, odd.max], [1.0, 2.0, 3.0]);
        assert_eq!(Spread::of([1.0, 2.0]).median, 1.5);
        assert_eq!(Spread::of([]).median, 0.0);
    }
}
