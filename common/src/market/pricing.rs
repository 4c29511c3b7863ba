//! The price of a GPU model: what was paid for it lately, robust against single owners and odd prices.
//!
//! - A **trade** is a job that was paid: its chain of POST records. Its rate is that of the records, its weight their fees
//!   together; its owner is the payee's wallet, its provider the miner. Trades without a fee, and those above the highest
//!   price ([`MAX_PRICE_PER_HOUR`]), are none.
//! - A **window** of n days are a day and the n − 1 before it.
//! - W is the sum of the window's weights. The weight of an owner above ⌊W/5⌋ is scaled to it, once: with its trades in
//!   ascending order of the rate and the place in the log, and C the sum of its weights up to one of them, its scaled weights
//!   up to that one are ⌊C·⌊W/5⌋ / its weight⌋.
//! - m is the lower weighted median: the lowest rate up to which the weights are at least half of all. MAD is that of |r − m|.
//!   Kept are the trades with |r − m|·1000 ≤ max(4448·MAD, 100·m); the median of those is the price.
//! - The p-th percentile is the lowest rate up to which the kept weights are at least p/100 of all that are kept (nearest
//!   rank); the mean is ⌊Σ weight·rate / Σ weight⌋.
//!
//! All rates are micro-AIT per hour and slot.

mod curve;
mod offers;
mod trades;
mod window;

#[cfg(test)]
mod tests;

pub use offers::{OfferStatistics, Offers};
pub use trades::{Trade, Trades};
pub use window::{Bucket, Kept, Settled};

use crate::market::FULL_FEE;
use crate::money::MAX_PRICE_PER_HOUR;

/// Days of a window unless another one is asked for.
pub const USUAL_DAYS: u32 = 30;
/// Days that are kept: the longest window.
pub const KEPT_DAYS: u32 = 30;
/// Owners with [`LEAST_FEES`] that a price needs.
pub const LEAST_OWNERS: u64 = 5;
/// Fees in micro-AIT that an owner brought in the window to be one of them: 0.5 AIT.
pub const LEAST_FEES: u64 = 10 * FULL_FEE;
/// An owner's weight is at most 1 / this of all.
pub const OWNERS_SHARE: u64 = 5;
/// The most buckets of a histogram.
pub const BUCKETS: u64 = 20;
/// Which percentiles are given.
pub const PERCENTILES: [u8; 5] = [10, 25, 50, 75, 90];

/// The rates at the [`PERCENTILES`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Percentiles(pub [u64; PERCENTILES.len()]);

impl Percentiles {
    /// The 50th.
    #[must_use]
    pub fn median(&self) -> u64 {
        self.0[2]
    }
}

/// What a suggested price rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// Settled trades.
    Trades,
    /// The median of the live offers: the trades are too few.
    Offers,
    /// Neither trades nor offers.
    Nothing,
}

/// A suggested price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suggestion {
    /// Micro-AIT per hour and slot; none with nothing to rest on.
    pub rate: Option<u64>,
    /// What it rests on.
    pub basis: Basis,
    /// Hundredths of a percent by which the use of the listings moves the trades' median: −2,500 to 2,500.
    pub adjustment_bps: i16,
}

/// What share of their live time listings were paid for, in hundredths of a percent: min(10,000, ⌊10,000·billed / live⌋).
/// None where nothing was live.
#[must_use]
pub fn utilisation_bps(billed_ms: u64, live_ms: u64) -> Option<u16> {
    let share = (u128::from(billed_ms) * 10_000).checked_div(u128::from(live_ms))?;
    Some(u16::try_from(share).map_or(10_000, |share| share.min(10_000)))
}

/// Hundredths of a percent that a utilisation adds to a price: ⌊(utilisation − 5,000) / 2⌋, at least −2,500 and at most 2,500;
/// nothing where it is unknown.
#[must_use]
pub fn adjustment_bps(utilisation_bps: Option<u16>) -> i16 {
    let Some(utilisation) = utilisation_bps else {
        return 0;
    };
    let half = (i32::from(utilisation) - 5_000).div_euclid(2);
    i16::try_from(half.clamp(-2_500, 2_500)).expect("within its bounds")
}

/// ⌊m·(10,000 + adjustment) / 10,000⌋ where [`LEAST_OWNERS`] owners brought [`LEAST_FEES`] each, else the median of the offers.
#[must_use]
pub fn suggest(
    settled: &Settled,
    offers: Option<&OfferStatistics>,
    utilisation_bps: Option<u16>,
) -> Suggestion {
    if let (true, Some(kept)) = (settled.is_sufficient(), &settled.kept) {
        let adjustment = adjustment_bps(utilisation_bps);
        let factor = u128::try_from(10_000 + i32::from(adjustment)).expect("at least 7,500");
        let rate = u128::from(kept.percentiles.median()) * factor / 10_000;
        return Suggestion {
            rate: Some(u64::try_from(rate).unwrap_or(u64::MAX)),
            basis: Basis::Trades,
            adjustment_bps: adjustment,
        };
    }
    Suggestion {
        rate: offers.map(|offers| offers.percentiles.median()),
        basis: offers.map_or(Basis::Nothing, |_| Basis::Offers),
        adjustment_bps: 0,
    }
}

/// Whether a rate is one that the market allows.
fn is_price(rate: u64) -> bool {
    rate <= MAX_PRICE_PER_HOUR.0
}
