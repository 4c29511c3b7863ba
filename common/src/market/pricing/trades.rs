//! The trades of the last days of one GPU model.

use std::collections::{BTreeMap, VecDeque};

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
    /// In ascending order; nothing is added to any but the last, here and below.
    days: VecDeque<TradingDay>,
    owners: BTreeMap<Address, VecDeque<OwnersDay>>,
    /// The newest day of each.
    providers: BTreeMap<PublicKey, u32>,
    weight: u64,
}

#[derive(Debug, Clone, Default)]
pub(super) struct TradingDay {
    pub day: u32,
    pub all: Curve,
    pub billed_ms: u64,
}

#[derive(Debug, Clone, Default)]
pub(super) struct OwnersDay {
    pub day: u32,
    pub weight: u64,
    pub all: Curve,
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
        let sums = Sums {
            weight: trade.fee,
            trades: 1,
            moment: u128::from(trade.fee) * u128::from(trade.rate),
        };
        if self.days.back().is_none_or(|newest| newest.day < trade.day) {
            self.settle();
            self.days.push_back(TradingDay {
                day: trade.day,
                ..TradingDay::default()
            });
        }
        let today = self.days.back_mut().expect("one was just there");
        today.all.add(trade.rate, sums);
        today.billed_ms = today.billed_ms.saturating_add(trade.billed_ms);
        let day = today.day;

        let owner = self.owners.entry(trade.owner).or_default();
        if owner.back().is_none_or(|newest| newest.day < day) {
            owner.push_back(OwnersDay {
                day,
                ..OwnersDay::default()
            });
        }
        let today = owner.back_mut().expect("one was just there");
        today.all.add(trade.rate, sums);
        today.weight += trade.fee;
        let _day = self.providers.insert(trade.provider, day);
        true
    }

    /// The newest day ends.
    fn settle(&mut self) {
        let days = self.days.back_mut().map(|day| &mut day.all);
        let owners = self.owners.values_mut().filter_map(VecDeque::back_mut);
        for curve in days.into_iter().chain(owners.map(|day| &mut day.all)) {
            curve.settle();
        }
    }

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.days.is_empty()
    }

    /// Drops the days that no window up to `today` reaches.
    pub fn forget(&mut self, today: u32) {
        let old = |day: u32| today.saturating_sub(day) >= KEPT_DAYS;
        let before = self.weight;
        while let Some(oldest) = self.days.front()
            && old(oldest.day)
        {
            self.weight -= oldest.all.all().weight;
            let _old = self.days.pop_front();
        }
        if self.weight < before {
            self.owners.retain(|_, days| {
                days.retain(|of| !old(of.day));
                !days.is_empty()
            });
            self.providers.retain(|_, day| !old(*day));
        }
    }

    /// What the trades of a window of `days` days up to `today` come to. A day before that of the newest trade counts as that
    /// one; `days` are 1 to [`KEPT_DAYS`], others count as the nearest.
    #[must_use]
    pub fn settled(&self, today: u32, days: u32) -> Settled {
        let newest = self.days.back().map_or(today, |newest| newest.day);
        let today = today.max(newest);
        let first = today.saturating_sub(days.clamp(1, KEPT_DAYS) - 1);
        let providers = self.providers.values().filter(|day| **day >= first);
        self.view(first, today).settled(providers.count() as u64)
    }

    /// The median of each of the [`KEPT_DAYS`] days up to `today`, oldest first: each is that of a window of this day alone.
    #[must_use]
    pub fn daily_medians(&self, today: u32) -> Vec<Option<u64>> {
        let mut medians = vec![None; KEPT_DAYS as usize];
        for TradingDay { day, .. } in &self.days {
            let place = today.checked_sub(*day);
            let place = place.and_then(|age| (KEPT_DAYS - 1).checked_sub(age));
            if let Some(place) = place {
                medians[place as usize] = self.view(*day, *day).median();
            }
        }
        medians
    }

    fn view(&self, first: u32, last: u32) -> View<'_> {
        View::new(&self.days, self.owners.values(), first..=last)
    }
}
