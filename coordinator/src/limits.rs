//! How often callers may call. Completions, and everything else that ends work, are never limited.

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use aitbc_common::identity::PublicKey;
use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1::ErrorReason;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use serde::{Deserialize, Serialize};

/// Entries after which a limiter forgets those that are idle.
const SWEEP_ENTRIES: usize = 10_000;
/// A limiter looks at all its entries at most this often.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Calls per second; 0 = unlimited. Ten seconds' worth may come at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitConfig {
    /// Of one address before its token is known.
    pub address_calls: u32,
    /// Jobs submitted by one identity.
    pub identity_submits: u32,
    /// Other calls of one identity.
    pub identity_calls: u32,
    /// Transactions of one address, and of one identity.
    pub transactions: u32,
    /// Transactions that cost nothing and stay in the state for ever: allowances and bindings, of one address, and of one
    /// identity.
    pub grants: u32,
}

impl LimitConfig {
    /// For networks that strangers use.
    pub const STANDARD: Self = Self {
        address_calls: 100,
        identity_submits: 100,
        identity_calls: 1_000,
        transactions: 20,
        grants: 1,
    };
}

struct Limiter<K: Hash + Eq + Clone> {
    limiter: Option<DefaultKeyedRateLimiter<K>>,
    what: &'static str,
    /// When it last looked at all its entries; whoever finds it held goes on without.
    swept: Mutex<Instant>,
}

impl<K: Hash + Eq + Clone> Limiter<K> {
    fn new(per_second: u32, what: &'static str) -> Self {
        let limiter = NonZeroU32::new(per_second).map(|rate| {
            let burst = rate.saturating_mul(NonZeroU32::MIN.saturating_add(9));
            RateLimiter::keyed(Quota::per_second(rate).allow_burst(burst))
        });
        Self {
            limiter,
            what,
            swept: Mutex::new(Instant::now()),
        }
    }

    fn check(&self, key: &K, count: u32) -> Result<(), ApiError> {
        let (Some(limiter), Some(count)) = (&self.limiter, NonZeroU32::new(count)) else {
            return Ok(());
        };
        if limiter.len() > SWEEP_ENTRIES
            && let Ok(mut swept) = self.swept.try_lock()
            && swept.elapsed() >= SWEEP_EVERY
        {
            limiter.retain_recent();
            *swept = Instant::now();
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
    transactions: (Limiter<IpAddr>, Limiter<PublicKey>),
    grants: (Limiter<IpAddr>, Limiter<PublicKey>),
}

/// Who has an IPv6 address has at least the 2^64 that share its first half.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
        v4 => v4,
    }
}

impl Limits {
    /// With these rates.
    #[must_use]
    pub fn new(config: LimitConfig) -> Self {
        Self {
            addresses: Limiter::new(config.address_calls, "calls from your address"),
            submits: Limiter::new(config.identity_submits, "submitted jobs"),
            calls: Limiter::new(config.identity_calls, "calls"),
            transactions: (
                Limiter::new(config.transactions, "transactions from your address"),
                Limiter::new(config.transactions, "transactions"),
            ),
            grants: (
                Limiter::new(config.grants, "allowances and bindings from your address"),
                Limiter::new(config.grants, "allowances and bindings"),
            ),
        }
    }

    /// A call from an address whose identity is not known.
    pub fn address(&self, address: IpAddr) -> Result<(), ApiError> {
        self.addresses.check(&network_of(address), 1)
    }

    /// A transaction that an address sent, and an identity where that is known; `grant`: it is an allowance or a binding.
    pub fn transaction(
        &self,
        address: IpAddr,
        identity: Option<&PublicKey>,
        grant: bool,
    ) -> Result<(), ApiError> {
        let network = network_of(address);
        for (addresses, identities) in [Some(&self.transactions), grant.then_some(&self.grants)]
            .into_iter()
            .flatten()
        {
            addresses.check(&network, 1)?;
            if let Some(identity) = identity {
                identities.check(identity, 1)?;
            }
        }
        Ok(())
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

    fn v6(network: u64, host: u64) -> IpAddr {
        Ipv6Addr::from_bits(u128::from(network) << 64 | u128::from(host)).into()
    }

    #[test]
    fn a_network_of_addresses_is_one_caller() {
        let limits = Limits::new(LimitConfig {
            address_calls: 1,
            ..LimitConfig::default()
        });
        for host in 0..10 {
            limits.address(v6(1, host)).unwrap();
        }
        assert!(limits.address(v6(1, 99)).is_err());
        limits.address(v6(2, 0)).unwrap();
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        for _ in 0..10 {
            limits.address(mapped).unwrap();
        }
        assert!(limits.address("192.0.2.1".parse().unwrap()).is_err());
        limits.address("192.0.2.2".parse().unwrap()).unwrap();
    }

    #[test]
    fn what_stays_for_ever_is_limited_far_below_the_rest() {
        let limits = Limits::new(LimitConfig::STANDARD);
        let (one, two) = (PublicKey([1; 32]), PublicKey([2; 32]));
        let here = v6(1, 0);
        for _ in 0..10 {
            limits.transaction(here, Some(&one), true).unwrap();
        }
        let refused = limits.transaction(here, None, true).unwrap_err();
        assert!(
            refused.message.contains("allowances"),
            "{}",
            refused.message
        );
        assert!(
            limits.transaction(v6(2, 0), Some(&one), true).is_err(),
            "from elsewhere"
        );
        limits.transaction(v6(3, 0), Some(&two), true).unwrap();
        for _ in 0..100 {
            limits.transaction(here, Some(&two), false).unwrap();
        }
        assert!((0..100).any(|_| limits.transaction(here, None, false).is_err()));
    }

    #[test]
    fn all_entries_are_looked_at_once_a_second_at_most() {
        let limiter = Limiter::new(1_000_000, "calls");
        let entries = |limiter: &Limiter<u32>| limiter.limiter.as_ref().unwrap().len();
        for caller in 0..=11_000 {
            limiter.check(&caller, 1).unwrap();
        }
        assert_eq!(entries(&limiter), 11_001, "none was forgotten yet");
        *limiter.swept.lock().unwrap() -= SWEEP_EVERY;
        limiter.check(&0, 1).unwrap();
        assert!(entries(&limiter) < 100, "all that were idle");
    }

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
