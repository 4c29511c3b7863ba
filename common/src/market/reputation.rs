//! Reputation: what a miner's clients paid for and what failed them, weighed by the market's fees and fading by half every
//! 30 days. It orders choices; no money rests on it alone.
//!
//! - A **client** is the wallet that paid or would have paid (a lock's payer). What a wallet pays to itself does not count
//!   ([`Parties::are_one`]).
//! - Each POST record is a success of [`merit`] of its fee, each fault one of its weight, where a payer's faults of 30 days
//!   weigh together at most what it paid in fees in these 30 days: see [`Reputations::fault`].
//! - Of one miner, client and day at most [`MAX_A_DAY`] of either count; days fade by [`faded`]; of one client at most
//!   [`MAX_PER_CLIENT`] of either count after that. S and F are the sums over the clients, and [`Score::ppm`] is the
//!   reputation.

mod book;
mod explain;
mod payers;

#[cfg(test)]
mod tests;

pub use book::{Entry, InvalidEntry, Reputations};
pub use explain::{ClientTerms, DayTerms, Explanation};
pub use payers::PayerDay;

use crate::address::Address;
use crate::identity::PublicKey;
use crate::market::FULL_FEE;

/// The most that one miner, client and day count.
pub const MAX_A_DAY: u16 = 1_000;
/// The most that one client counts for one miner.
pub const MAX_PER_CLIENT: u64 = 3_000;
/// Days after which nothing is left of a day.
pub const KEPT_DAYS: u32 = 300;
/// Days in which a payer's fees back its faults, the day of the fault included.
pub const BACKED_DAYS: u32 = 30;

/// What is counted for a miner before anything happened, on either side.
const PRIOR: u64 = 1_000;
/// 1,000 times the square of 1.645, the 95 % point of the normal distribution.
const SQUARED_QUANTILE: u128 = 2_706;
/// Days in which a day's sums fade by half.
const HALF_LIFE: u32 = 30;
/// ⌊2^(32 − r/30)⌋ for r = 0 to 29.
const FADING: [u64; HALF_LIFE as usize] = [
    4_294_967_296,
    4_196_870_107,
    4_101_013_461,
    4_007_346_184,
    3_915_818_271,
    3_826_380_858,
    3_738_986_198,
    3_653_587_636,
    3_570_139_579,
    3_488_597_478,
    3_408_917_801,
    3_331_058_011,
    3_254_976_541,
    3_180_632_774,
    3_107_987_021,
    3_037_000_499,
    2_967_635_312,
    2_899_854_428,
    2_833_621_661,
    2_768_901_653,
    2_705_659_852,
    2_643_862_495,
    2_583_476_593,
    2_524_469_906,
    2_466_810_933,
    2_410_468_894,
    2_355_413_708,
    2_301_615_985,
    2_249_047_003,
    2_197_678_698,
];

/// The wallets behind a payment, or behind one that failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Parties {
    /// Whose money was locked.
    pub payer: Address,
    /// The wallet that the identity is bound to which signed the lock; none where the wallet itself signed, or where it is
    /// not bound.
    pub signer_wallet: Option<Address>,
    /// Who is paid; none for a fault.
    pub payee: Option<Address>,
    /// The wallet that the miner's identity is bound to.
    pub miner_wallet: Option<Address>,
}

impl Parties {
    /// Whether a wallet of the paying side is one of the paid side: that says nothing about a miner.
    #[must_use]
    pub fn are_one(&self) -> bool {
        let paid = [self.payee, self.miner_wallet];
        [Some(self.payer), self.signer_wallet]
            .into_iter()
            .flatten()
            .any(|wallet| paid.contains(&Some(wallet)))
    }
}

/// A POST record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Success {
    /// Who ran the job.
    pub miner: PublicKey,
    /// Who paid whom.
    pub parties: Parties,
    /// The record's fee in micro-AIT.
    pub fee: u64,
    /// [`super::day_of`] its time.
    pub day: u32,
}

/// A lock that paid nothing because of its miner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Who failed.
    pub miner: PublicKey,
    /// Who would have paid whom.
    pub parties: Parties,
    /// The fee in micro-AIT that the lock would have brought.
    pub weight: u64,
    /// [`super::day_of`] its time.
    pub day: u32,
}

/// One day of a miner and a client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DaySums {
    /// [`super::day_of`] the records.
    pub day: u32,
    /// What succeeded, at most [`MAX_A_DAY`].
    pub success: u16,
    /// What failed, at most [`MAX_A_DAY`].
    pub fault: u16,
}

/// What a fee in micro-AIT counts: min(1000, ⌊fee·1000 / 50,000⌋).
#[must_use]
pub fn merit(fee: u64) -> u16 {
    let counted = u128::from(fee) * 1_000 / u128::from(FULL_FEE);
    u16::try_from(counted).map_or(MAX_A_DAY, |counted| counted.min(MAX_A_DAY))
}

/// What is left of a day's sum after `days`: `(sum·T[days mod 30]) >> (32 + ⌊days/30⌋)` with `T[r]` = ⌊2^(32 − r/30)⌋, and
/// nothing after 300 days.
#[must_use]
pub fn faded(sum: u16, days: u32) -> u64 {
    if days > KEPT_DAYS {
        return 0;
    }
    let factor = FADING[(days % HALF_LIFE) as usize];
    (u64::from(sum) * factor) >> (32 + days / HALF_LIFE)
}

/// What a miner's records come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Score {
    /// S: the faded successes of all clients.
    pub success: u64,
    /// F: the faded faults of all clients.
    pub fault: u64,
}

impl Score {
    /// 1000 + S.
    #[must_use]
    pub fn alpha(self) -> u64 {
        self.success.saturating_add(PRIOR)
    }

    /// 1000 + F.
    #[must_use]
    pub fn beta(self) -> u64 {
        self.fault.saturating_add(PRIOR)
    }

    /// How far the bound lies below α, in thousandths of a success: isqrt(⌊2706·α·β / (α + β + 1000)⌋).
    #[must_use]
    pub fn margin(self) -> u128 {
        let (alpha, beta) = (u128::from(self.alpha()), u128::from(self.beta()));
        let product = SQUARED_QUANTILE.saturating_mul(alpha.saturating_mul(beta));
        (product / (alpha + beta + 1_000)).isqrt()
    }

    /// The reputation in millionths: ⌊10^6·max(0, α − 1 − margin) / (α + β)⌋, the lower 95 % bound of a Beta posterior.
    #[must_use]
    pub fn ppm(self) -> u32 {
        let (alpha, beta) = (u128::from(self.alpha()), u128::from(self.beta()));
        let bound = (alpha - 1).saturating_sub(self.margin());
        u32::try_from(bound * 1_000_000 / (alpha + beta)).expect("the bound is below alpha")
    }
}

/// What of a client's days counts on `day`, before and after the client's bound.
fn terms_of(days: &[DaySums], day: u32) -> (Score, Score) {
    let mut all = Score::default();
    for sums in days {
        let age = day.saturating_sub(sums.day);
        all.success += faded(sums.success, age);
        all.fault += faded(sums.fault, age);
    }
    let counted = Score {
        success: all.success.min(MAX_PER_CLIENT),
        fault: all.fault.min(MAX_PER_CLIENT),
    };
    (all, counted)
}
