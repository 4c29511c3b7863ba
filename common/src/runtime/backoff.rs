//! Waiting between attempts: exponential with full jitter, so that many clients never come back together.

use std::time::Duration;

use rand::Rng;

/// Pauses drawn evenly between zero and a bound that doubles with each attempt.
#[derive(Debug, Clone)]
pub struct FullJitter {
    base: Duration,
    max: Duration,
    attempts: u32,
}

impl FullJitter {
    /// The first pause is at most `base` (at least 1 ms is taken), none is longer than `max` (at least `base` is taken).
    #[must_use]
    pub fn new(base: Duration, max: Duration) -> Self {
        let base = base.max(Duration::from_millis(1));
        Self {
            base,
            max: max.max(base),
            attempts: 0,
        }
    }

    /// The longest that the next pause can be.
    #[must_use]
    pub fn bound(&self) -> Duration {
        let factor = 2_u32.saturating_pow(self.attempts);
        self.base.saturating_mul(factor).min(self.max)
    }

    /// The next pause.
    pub fn next<R: Rng + ?Sized>(&mut self, rng: &mut R) -> Duration {
        let bound = self.bound();
        self.attempts = self.attempts.saturating_add(1);
        bound.mul_f64(rng.random::<f64>())
    }

    /// Waits out the next pause.
    pub async fn wait(&mut self) {
        let pause = self.next(&mut rand::rng());
        tokio::time::sleep(pause).await;
    }

    /// Starts over; for after a success.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    #[test]
    fn pauses_stay_below_a_bound_that_doubles() {
        let mut rng = SmallRng::seed_from_u64(1);
        let mut backoff = FullJitter::new(Duration::from_millis(100), Duration::from_secs(1));
        for bound in [100, 200, 400, 800, 1_000, 1_000] {
            assert_eq!(backoff.bound(), Duration::from_millis(bound));
            assert!(backoff.next(&mut rng) <= Duration::from_millis(bound));
        }
        backoff.reset();
        assert_eq!(backoff.bound(), Duration::from_millis(100));
    }

    #[test]
    fn many_attempts_and_odd_bounds_do_no_harm() {
        let mut rng = SmallRng::seed_from_u64(2);
        let mut backoff = FullJitter::new(Duration::from_secs(5), Duration::ZERO);
        for _ in 0..100 {
            assert!(backoff.next(&mut rng) <= Duration::from_secs(5));
        }
    }
}
