//! What the market makes of the ledger's records: how far a miner is to be preferred ([`reputation`]) and what a GPU
//! costs ([`pricing`]); [`book`] follows the records. All in whole numbers, so that anyone who has the records comes to the same.

pub mod book;
pub mod pricing;
pub mod replay;
pub mod reputation;

/// Milliseconds of a day.
pub(crate) const DAY_MS: u64 = 86_400_000;

/// The fee that counts in full, in micro-AIT: 0.05 AIT.
pub const FULL_FEE: u64 = 50_000;

/// The day of a ledger time in Unix milliseconds: days since 1970-01-01 UTC.
#[must_use]
pub fn day_of(time_ms: u64) -> u32 {
    u32::try_from(time_ms / DAY_MS).unwrap_or(u32::MAX)
}
