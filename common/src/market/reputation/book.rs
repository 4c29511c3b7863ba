//! The reputation of every miner, kept up to date record by record.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::payers::Payers;
use super::{
    DaySums, Explanation, Fault, KEPT_DAYS, MAX_A_DAY, PayerDay, Score, Success, merit, terms_of,
};
use crate::address::Address;
use crate::identity::PublicKey;
use crate::market::FULL_FEE;

/// The reputation of every miner.
///
/// It is fed with successes and faults in the order of the log. What it keeps is bounded: at most 301 days of a miner and a
/// client, 30 of a payer, and none of those that no longer count once [`Self::advance`] and [`Self::forget_payers`] passed.
#[derive(Debug, Clone, Default)]
pub struct Reputations {
    miners: BTreeMap<PublicKey, Miner>,
    payers: Payers,
}

#[derive(Debug, Clone, Default)]
struct Miner {
    clients: BTreeMap<Address, Vec<DaySums>>,
    /// The sum over the clients as of the day that it was brought to.
    standing: Option<(u32, Score)>,
}

/// What an owner stores of [`Reputations`], as one row each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// The days of a miner and a client.
    Pair {
        /// The miner.
        miner: PublicKey,
        /// The client.
        client: Address,
        /// In ascending order.
        days: Vec<DaySums>,
    },
    /// The days of a payer.
    Payer {
        /// The payer.
        payer: Address,
        /// In ascending order.
        days: Vec<PayerDay>,
    },
}

/// A stored entry that no [`Reputations`] gave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEntry {
    /// Two entries are of the same miner and client, or of the same payer.
    #[error("an entry stands twice")]
    Twice,
    /// Days that are out of order or too many.
    #[error("the days of an entry are out of order or too many")]
    Days,
    /// A day's sum over its bound.
    #[error("a day's sum is over {MAX_A_DAY}")]
    Sum,
}

impl Reputations {
    /// Counts a POST record.
    pub fn success(&mut self, success: &Success) {
        let Success {
            miner,
            parties,
            fee,
            day,
        } = success;
        self.payers.paid(parties.payer, *day, *fee);
        if !parties.are_one() {
            self.count(*miner, parties.payer, *day, [merit(*fee), 0]);
        }
    }

    /// Counts a fault and gives its weight: at most that of the fault, [`FULL_FEE`], and what is left of the fees that its
    /// payer paid in the 30 days up to `day` after the weights of its earlier faults in these days. So a bad word costs as
    /// much as a good one. A fault between two that are one weighs nothing.
    pub fn fault(&mut self, fault: &Fault) -> u64 {
        let Fault {
            miner,
            parties,
            weight,
            day,
        } = fault;
        if parties.are_one() {
            return 0;
        }
        let weight = self
            .payers
            .take(parties.payer, *day, (*weight).min(FULL_FEE));
        self.count(*miner, parties.payer, *day, [0, merit(weight)]);
        weight
    }

    /// Counts a finding of an audit: a fault of [`MAX_A_DAY`] with the auditor that paid for it, which no fees need to back.
    pub fn found_wrong(&mut self, miner: PublicKey, auditor: Address, day: u32) {
        self.count(miner, auditor, day, [0, MAX_A_DAY]);
    }

    fn count(&mut self, miner: PublicKey, client: Address, day: u32, [success, fault]: [u16; 2]) {
        if success == 0 && fault == 0 {
            return;
        }
        let miner = self.miners.entry(miner).or_default();
        let days = miner.clients.entry(client).or_default();
        let counted_on = miner.standing.map_or(day, |(day, _)| day);
        let (_, before) = terms_of(days, counted_on);
        days.retain(|sums| day.saturating_sub(sums.day) <= KEPT_DAYS);
        if days.last().is_none_or(|newest| newest.day < day) {
            days.push(DaySums {
                day,
                ..DaySums::default()
            });
        }
        let sums = days.last_mut().expect("one was just there");
        sums.success = (sums.success + success).min(MAX_A_DAY);
        sums.fault = (sums.fault + fault).min(MAX_A_DAY);
        match &mut miner.standing {
            Some((counted_on, score)) if *counted_on >= day => {
                let (_, after) = terms_of(days, *counted_on);
                score.success = score.success + after.success - before.success;
                score.fault = score.fault + after.fault - before.fault;
            }
            standing => *standing = None,
        }
    }

    /// What the records of a miner come to on `day`; nothing for one without records. Days after `day` count in full.
    #[must_use]
    pub fn score(&self, miner: &PublicKey, day: u32) -> Score {
        self.miners
            .get(miner)
            .map(|miner| match miner.standing {
                Some((counted_on, score)) if counted_on == day => score,
                _ => miner.score(day),
            })
            .unwrap_or_default()
    }

    /// All that [`Self::score`] rests on.
    #[must_use]
    pub fn explain(&self, miner: &PublicKey, day: u32) -> Explanation {
        let clients = self.miners.get(miner).map(|miner| miner.clients.iter());
        Explanation::new(clients.into_iter().flatten(), day)
    }

    /// The miners that have records, in ascending order, after `after`.
    pub fn miners(&self, after: Option<PublicKey>) -> impl Iterator<Item = &PublicKey> {
        self::after(&self.miners, after).map(|(key, _)| key)
    }

    /// Brings a miner to a new day, so that its score need not be added up again at each question until the next one, and
    /// gives the clients of whom nothing counts any more: their entries are gone. Cheap where it was done for this day before.
    pub fn advance(&mut self, miner: &PublicKey, day: u32) -> Vec<Address> {
        let Some(of) = self.miners.get_mut(miner) else {
            return Vec::new();
        };
        if of.standing.is_some_and(|(counted_on, _)| counted_on >= day) {
            return Vec::new();
        }
        let counts = |sums: &DaySums| day.saturating_sub(sums.day) <= KEPT_DAYS;
        let gone = of
            .clients
            .extract_if(.., |_, days| !days.iter().any(counts))
            .map(|(client, _)| client)
            .collect();
        of.standing = Some((day, of.score(day)));
        if of.clients.is_empty() {
            let _miner = self.miners.remove(miner);
        }
        gone
    }

    /// Drops payers whose fees of the 30 days up to `day` are none, looking at most at `at_most` after `after`. Gives those
    /// whose entries are gone, and the last one that it looked at (none at the end).
    pub fn forget_payers(
        &mut self,
        day: u32,
        after: Option<Address>,
        at_most: usize,
    ) -> (Vec<Address>, Option<Address>) {
        self.payers.forget(day, after, at_most)
    }

    /// The entry of a miner and a client, to be stored after each record of theirs; no days for none.
    #[must_use]
    pub fn pair(&self, miner: &PublicKey, client: &Address) -> &[DaySums] {
        self.miners
            .get(miner)
            .and_then(|miner| miner.clients.get(client))
            .map_or(&[], Vec::as_slice)
    }

    /// The entry of a payer, to be stored after each record of it; no days for none.
    #[must_use]
    pub fn payer(&self, payer: &Address) -> &[PayerDay] {
        self.payers.get(payer)
    }

    /// Everything, to be stored.
    pub fn entries(&self) -> impl Iterator<Item = Entry> {
        let pairs = self.miners.iter().flat_map(|(key, miner)| {
            miner.clients.iter().map(|(client, days)| Entry::Pair {
                miner: *key,
                client: *client,
                days: days.clone(),
            })
        });
        let payers = self.payers.iter().map(|(payer, days)| Entry::Payer {
            payer: *payer,
            days: days.clone(),
        });
        pairs.chain(payers)
    }

    /// From what was stored, in any order.
    pub fn load(entries: impl IntoIterator<Item = Entry>) -> Result<Self, InvalidEntry> {
        let mut loaded = Self::default();
        for entry in entries {
            let fresh = match entry {
                Entry::Pair {
                    miner,
                    client,
                    days,
                } => {
                    ascending(days.iter().map(|sums| sums.day), KEPT_DAYS)?;
                    let over = |sums: &DaySums| sums.success > MAX_A_DAY || sums.fault > MAX_A_DAY;
                    if days.iter().any(over) {
                        return Err(InvalidEntry::Sum);
                    }
                    let miner = loaded.miners.entry(miner).or_default();
                    miner.clients.insert(client, days).is_none()
                }
                Entry::Payer { payer, days } => {
                    ascending(days.iter().map(|of| of.day), super::BACKED_DAYS - 1)?;
                    loaded.payers.insert(payer, days)
                }
            };
            if !fresh {
                return Err(InvalidEntry::Twice);
            }
        }
        Ok(loaded)
    }
}

impl Miner {
    fn score(&self, day: u32) -> Score {
        let mut sum = Score::default();
        for days in self.clients.values() {
            let (_, counted) = terms_of(days, day);
            sum.success += counted.success;
            sum.fault += counted.fault;
        }
        sum
    }
}

/// Refuses days that do not rise or reach over more than `reach`.
fn ascending(days: impl Iterator<Item = u32> + Clone, reach: u32) -> Result<(), InvalidEntry> {
    let rising = days.clone().is_sorted_by(|one, next| one < next);
    let first = days.clone().next();
    match (first, days.last()) {
        (Some(first), Some(last)) if rising && last - first <= reach => Ok(()),
        _ => Err(InvalidEntry::Days),
    }
}

/// The entries of a map after a key.
pub(super) fn after<K: Ord + Copy, V>(
    map: &BTreeMap<K, V>,
    key: Option<K>,
) -> impl Iterator<Item = (&K, &V)> {
    let from = key.map_or(Bound::Unbounded, Bound::Excluded);
    map.range((from, Bound::Unbounded))
}
