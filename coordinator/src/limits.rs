//! How often callers may call. Completions, and everything else that ends work, are never limited.

use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use aitbc_common::identity::PublicKey;
use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1::ErrorReason;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use serde::{Deserialize, Serialize};

/// Entries after which a limiter forgets those that are idle.
const SWEEP_ENTRIES: usize = 10_000;

/// Calls per second; 0 = unlimited. Ten seconds' worth may come at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitConfig {
    /// Of one address before its token is known.
    pub address_calls: u32,
    /// Jobs submitted by one identity.
    pub identity_submits: u32,
    /// Other calls of one identity.
    pub identity_calls: u32,
}

impl LimitConfig {
    /// For networks that strangers use.
    pub const STANDARD: Self = Self {
        address_calls: 100,
        identity_submits: 100,
        identity_calls: 1_000,
    };
}

struct Limiter<K: Hash + Eq + Clone> {
    limiter: Option<DefaultKeyedRateLimiter<K>>,
    what: &'static str,
}

impl<K: Hash + Eq + Clone> Limiter<K> {
    fn new(per_second: u32, what: &'static str) -> Self {
        let limiter = NonZeroU32::new(per_second).map(|rate| {
            let burst = rate.saturating_mul(NonZeroU32::MIN.saturating_add(9));
            RateLimiter::keyed(Quota::per_second(rate).allow_burst(burst))
        });
        Self { limiter, what }
    }

    fn check(&self, key: &K, count: u32) -> Result<(), ApiError> {
        let (Some(limiter), Some(count)) = (&self.limiter, NonZeroU32::new(count)) else {
            return Ok(());
        };
        if limiter.len() > SWEEP_ENTRIES {
            limiter.retain_recent();
        }
        let wait = match limiter.check_key_n(key, count) {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(not_until)) => not_until.wait_time_from(DefaultClock::default().now()),
            Err(_more_than_the_burst) => Duration::from_secs(10),
        };
        let wait = wait.max(Duration::from_millis(10));
        let message = format!(
            "too many {}: come back in {:.1} s",
            self.what,
            wait.as_secs_f64()
        );
        Err(ApiError::new(ErrorReason::RateLimited, message).retry_after(wait))
    }
}

/// The limits of a coordinator.
pub struct Limits {
    addresses: Limiter<IpAddr>,
    submits: Limiter<PublicKey>,
    calls: Limiter<PublicKey>,
}

impl Limits {
    /// With these rates.
    #[must_use]
    pub fn new(config: LimitConfig) -> Self {
        Self {
            addresses: Limiter::new(config.address_calls, "calls from your address"),
            submits: Limiter::new(config.identity_submits, "submitted jobs"),
            calls: Limiter::new(config.identity_calls, "calls"),
        }
    }

    /// A call from an address whose identity is not known.
    pub fn address(&self, address: IpAddr) -> Result<(), ApiError> {
        self.addresses.check(&address, 1)
    }

    /// `count` jobs of an identity.
    pub fn submits(&self, identity: &PublicKey, count: usize) -> Result<(), ApiError> {
        self.submits
            .check(identity, u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// A call of an identity.
    pub fn call(&self, identity: &PublicKey) -> Result<(), ApiError> {
        self.calls.check(identity, 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_says_when_to_come_back() {
        let limits = Limits::new(LimitConfig {
            identity_submits: 1,
            ..LimitConfig::default()
        });
        let (one, two) = (PublicKey([1; 32]), PublicKey([2; 32]));
        for _ in 0..10 {
            limits.submits(&one, 1).unwrap();
        }
        let refused = limits.submits(&one, 1).unwrap_err();
        assert_eq!(refused.code, tonic::Code::ResourceExhausted);
        assert!(
            refused
                .retry_after
                .is_some_and(|wait| wait <= Duration::from_secs(1))
        );
        assert!(limits.submits(&one, 1_000).is_err());
        limits.submits(&two, 10).unwrap();
        for _ in 0..10_000 {
            limits.call(&one).unwrap();
        }
    }
}
