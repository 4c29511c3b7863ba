//! What each wallet paid in fees of late, which bounds what its faults weigh.

use std::collections::BTreeMap;

use super::BACKED_DAYS;
use crate::address::Address;

/// One day of a payer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PayerDay {
    /// [`crate::market::day_of`] the records.
    pub day: u32,
    /// Fees that it paid, to whomever, in micro-AIT.
    pub fees: u64,
    /// What its faults weighed, in micro-AIT.
    pub faults: u64,
}

impl PayerDay {
    fn backs(&self, day: u32) -> bool {
        day.saturating_sub(self.day) < BACKED_DAYS
    }
}

/// The payers of the last 30 days.
#[derive(Debug, Clone, Default)]
pub(super) struct Payers {
    payers: BTreeMap<Address, Vec<PayerDay>>,
}

impl Payers {
    pub fn paid(&mut self, payer: Address, day: u32, fee: u64) {
        if fee > 0 {
            let today = self.on(payer, day);
            today.fees = today.fees.saturating_add(fee);
        }
    }

    /// Takes up to `weight` from what the payer's fees still back, and says how much.
    pub fn take(&mut self, payer: Address, day: u32, weight: u64) -> u64 {
        let days = self.payers.get(&payer).map_or(&[][..], Vec::as_slice);
        let recent = || days.iter().filter(|of| of.backs(day));
        let paid: u128 = recent().map(|of| u128::from(of.fees)).sum();
        let used: u128 = recent().map(|of| u128::from(of.faults)).sum();
        let left = u64::try_from(paid.saturating_sub(used)).unwrap_or(u64::MAX);
        let weight = weight.min(left);
        if weight > 0 {
            let today = self.on(payer, day);
            today.faults = today.faults.saturating_add(weight);
        }
        weight
    }

    fn on(&mut self, payer: Address, day: u32) -> &mut PayerDay {
        let days = self.payers.entry(payer).or_default();
        days.retain(|of| of.backs(day));
        if days.last().is_none_or(|newest| newest.day < day) {
            days.push(PayerDay {
                day,
                ..PayerDay::default()
            });
        }
        days.last_mut().expect("one was just there")
    }

    pub fn get(&self, payer: &Address) -> &[PayerDay] {
        self.payers.get(payer).map_or(&[], Vec::as_slice)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Address, &Vec<PayerDay>)> {
        self.payers.iter()
    }

    /// Whether these were the payer's first days here.
    pub fn insert(&mut self, payer: Address, days: Vec<PayerDay>) -> bool {
        self.payers.insert(payer, days).is_none()
    }

    /// Drops those that backed nothing since 30 days, among `at_most` after `after`.
    pub fn forget(
        &mut self,
        day: u32,
        after: Option<Address>,
        at_most: usize,
    ) -> (Vec<Address>, Option<Address>) {
        let mut next = None;
        let mut gone = Vec::new();
        for (payer, days) in super::book::after(&self.payers, after).take(at_most) {
            next = Some(*payer);
            if !days.iter().any(|of| of.backs(day)) {
                gone.push(*payer);
            }
        }
        for payer in &gone {
            let _days = self.payers.remove(payer);
        }
        (gone, next)
    }
}
