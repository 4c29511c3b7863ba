//! The trades of the last days of one GPU model.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::curve::{Curve, Sums};
use super::window::{Settled, View};
use super::{KEPT_DAYS, is_price};
use crate::address::Address;
use crate::identity::PublicKey;

/// The weights that are kept at once stay below this, as all money does.
const MOST_WEIGHT: u64 = 1 << 63;

/// A job that was paid: one chain of POST records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trade {
    /// [`crate::market::day_of`] its first record.
    pub day: u32,
    /// The payee's wallet.
    pub owner: Address,
    /// The miner.
    pub provider: PublicKey,
    /// Micro-AIT per hour and slot.
    pub rate: u64,
    /// The fees of its records together, in micro-AIT: its weight.
    pub fee: u64,
    /// Milliseconds that were paid for.
    pub billed_ms: u64,
}

/// The trades of one GPU model in the last [`KEPT_DAYS`] days.
///
/// A trade is added in O(log n) on average. A price is found without looking at each trade: its time grows with the owners
/// and providers, with the logarithm of the number of different rates, and with the different rates of the owners (at most
/// four) that are scaled.
#[derive(Debug, Clone, Default)]
pub struct Trades {
    /// In ascending order; nothing is added to any but the last.
    days: VecDeque<TradingDay>,
    weight: u64,
}

#[derive(Debug, Clone, Default)]
pub(super) struct TradingDay {
    pub day: u32,
    pub all: Curve,
    pub owners: BTreeMap<Address, Curve>,
    pub providers: BTreeSet<PublicKey>,
    pub billed_ms: u64,
}

impl Trades {
    /// Takes a trade, in the order of the log. Says whether it counts: not without a fee, above the highest price, or where
    /// the kept weights would reach 2^63 (more than all money of a sound ledger).
    pub fn add(&mut self, trade: &Trade) -> bool {
        self.forget(trade.day);
        let weight = self.weight.checked_add(trade.fee);
        let Some(weight) = weight.filter(|weight| *weight < MOST_WEIGHT) else {
            return false;
        };
        if trade.fee == 0 || !is_price(trade.rate) {
            return false;
        }
        self.weight = weight;
        if self.days.back().is_none_or(|newest| newest.day < trade.day) {
            if let Some(yesterday) = self.days.back_mut() {
                yesterday.settle();
            }
            self.days.push_back(TradingDay {
                day: trade.day,
                ..TradingDay::default()
            });
        }
        let today = self.days.back_mut().expect("one was just there");
        today.add(trade);
        true
    }

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.days.is_empty()
    }

    /// Drops the days that no window up to `today` reaches.
    pub fn forget(&mut self, today: u32) {
        while let Some(oldest) = self.days.front()
            && today.saturating_sub(oldest.day) >= KEPT_DAYS
        {
            self.weight -= oldest.all.all().weight;
            let _old = self.days.pop_front();
        }
    }

    /// What the trades of a window of `days` days up to `today` (1 to [`KEPT_DAYS`]; others count as the nearest) come to.
    #[must_use]
    pub fn settled(&self, today: u32, days: u32) -> Settled {
        let days = days.clamp(1, KEPT_DAYS);
        let in_window = |of: &&TradingDay| of.day <= today && today - of.day < days;
        View::new(self.days.iter().filter(in_window)).settled()
    }

    /// The median of each of the [`KEPT_DAYS`] days up to `today`, oldest first: each is that of a window of this day alone.
    #[must_use]
    pub fn daily_medians(&self, today: u32) -> Vec<Option<u64>> {
        let mut medians = vec![None; KEPT_DAYS as usize];
        for of in &self.days {
            let place = today.checked_sub(of.day);
            let place = place.and_then(|age| (KEPT_DAYS - 1).checked_sub(age));
            if let Some(place) = place {
                medians[place as usize] = View::new([of].into_iter()).median();
            }
        }
        medians
    }
}

impl TradingDay {
    fn add(&mut self, trade: &Trade) {
        let sums = Sums {
            weight: trade.fee,
            trades: 1,
            moment: u128::from(trade.fee) * u128::from(trade.rate),
        };
        self.all.add(trade.rate, sums);
        let owner = self.owners.entry(trade.owner).or_default();
        owner.add(trade.rate, sums);
        let _new = self.providers.insert(trade.provider);
        self.billed_ms = self.billed_ms.saturating_add(trade.billed_ms);
    }

    fn settle(&mut self) {
        self.all.settle();
        for owner in self.owners.values_mut() {
            owner.settle();
        }
    }
}
