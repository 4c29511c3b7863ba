//! A listed GPU, and the rules of its changes.

use std::sync::Arc;

use aitbc_common::identity::PublicKey;
use aitbc_common::ids::{ListingId, MinerId};
use aitbc_proto::v1::{self, GpuSource};

use crate::jobs::lifecycle::Millis;

/// Listings of one identity, at most.
pub const PER_PROVIDER: usize = 16;
/// Listings in all, at most.
pub const IN_ALL: usize = 2_000_000;

/// A GPU, or several equal ones, for rent. Never changed in place: whoever holds one may read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Its id.
    pub id: ListingId,
    /// Who lists it: the identity of the miner that serves it.
    pub provider: PublicKey,
    /// The GPU's name, normalised where it is known.
    pub gpu: Arc<str>,
    /// What the provider can change.
    pub terms: Terms,
    /// Whether the provider's machine reported it.
    pub detected: bool,
    /// Unix ms.
    pub created_ms: Millis,
    /// Unix ms.
    pub updated_ms: Millis,
}

/// What a provider can change of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Video memory of each in GiB; 0 = not known.
    pub vram_gib: u32,
    /// How many.
    pub count: u32,
    /// Micro-AIT per hour.
    pub rate: u64,
    /// Where it stands; empty = not said.
    pub region: Arc<str>,
}

/// Changes of a listing; `None` leaves a field as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TermsChange {
    /// Video memory of each in GiB.
    pub vram_gib: Option<u32>,
    /// How many.
    pub count: Option<u32>,
    /// Micro-AIT per hour.
    pub rate: Option<u64>,
    /// Where it stands.
    pub region: Option<Arc<str>>,
}

impl TermsChange {
    /// The terms after it.
    #[must_use]
    pub fn apply(self, terms: &Terms) -> Terms {
        Terms {
            vram_gib: self.vram_gib.unwrap_or(terms.vram_gib),
            count: self.count.unwrap_or(terms.count),
            rate: self.rate.unwrap_or(terms.rate),
            region: self.region.unwrap_or_else(|| Arc::clone(&terms.region)),
        }
    }
}

/// What others see of the miner that serves a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// Its id.
    pub miner_id: MinerId,
    /// Its name.
    pub name: Arc<str>,
    /// Where its pay goes.
    pub payee: [u8; 20],
    /// Whether it can be rented.
    pub state: State,
    /// The model that it runs fastest.
    pub fastest: Option<Fastest>,
}

/// A model's measured generation speed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fastest {
    /// Its canonical name.
    pub model: Arc<str>,
    /// Milli-tokens per second, above 0.
    pub speed: u32,
}

/// Whether a miner can be rented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// In session, taking jobs.
    Free,
    /// In session, taking no new jobs.
    Paused,
    /// Not in session since (Unix ms).
    Away(Millis),
}

/// Whether these GPUs of the provider's registered miner bear out a listing of `count` times `gpu`: `Ok(true)` = its machine
/// reports them, `Ok(false)` = nothing supports or contradicts it.
///
/// # Errors
/// In words, what its machine reports instead.
pub fn supported(gpus: &[v1::Gpu], gpu: &str, count: u32) -> Result<bool, String> {
    let detected: Vec<&v1::Gpu> = gpus
        .iter()
        .filter(|known| known.source() == GpuSource::Detected)
        .collect();
    if detected.is_empty() {
        return Ok(false);
    }
    let alike = detected.iter().filter(|known| known.model == gpu);
    let there: u32 = alike.map(|known| known.count).sum();
    if there >= count {
        return Ok(true);
    }
    let names = detected
        .iter()
        .map(|known| format!("{}x {}", known.count, known.model));
    Err(names.collect::<Vec<_>>().join(", "))
}

/// What a million output tokens cost at this rate and speed, in micro-AIT, rounded up:
/// ⌈rate · 10^9 / (3,600 · speed)⌉ with the speed in milli-tokens per second.
#[must_use]
pub fn price_per_million_tokens(rate: u64, speed: u32) -> u64 {
    let speed = u128::from(speed.max(1)) * 3_600;
    u64::try_from((u128::from(rate) * 1_000_000_000).div_ceil(speed)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpu(model: &str, count: u32, source: GpuSource) -> v1::Gpu {
        v1::Gpu {
            model: model.into(),
            count,
            vram_gib: 24,
            source: source.into(),
        }
    }

    #[test]
    fn only_detected_gpus_contradict_a_listing() {
        let declared = [gpu("A", 1, GpuSource::Declared)];
        assert_eq!(supported(&declared, "B", 9), Ok(false));
        assert_eq!(supported(&[], "B", 1), Ok(false));
        let detected = [
            gpu("A", 2, GpuSource::Detected),
            gpu("C", 1, GpuSource::Detected),
        ];
        assert_eq!(supported(&detected, "A", 2), Ok(true));
        assert_eq!(supported(&detected, "A", 3), Err("2x A, 1x C".to_owned()));
        assert_eq!(supported(&detected, "B", 1), Err("2x A, 1x C".to_owned()));
    }

    #[test]
    fn a_million_tokens_cost_the_hours_that_they_take() {
        // 100 tokens/s: a million take 10,000 s, 2.777… hours.
        assert_eq!(price_per_million_tokens(500_000, 100_000), 1_388_889);
        assert_eq!(price_per_million_tokens(0, 100_000), 0);
        assert_eq!(price_per_million_tokens(1, u32::MAX), 1, "rounded up");
        assert_eq!(
            price_per_million_tokens(1_000_000_000_000, 1),
            277_777_777_777_777_778
        );
    }
}
