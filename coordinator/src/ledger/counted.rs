//! What the log holds, counted record by record beside the state: the two must agree at any time, over restarts too.

use aitbc_common::layouts::{ExpireReason, Outcome, RecordBody, TransactionKind};
use aitbc_common::ledger::totals::{Invariant, Totals};

use super::core::Figures;
use super::rows::CountedRow;

/// Counts of records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// Transactions.
    pub transactions: u64,
    /// Locks among them.
    pub locks: u64,
    /// Records that resolve a lock.
    pub resolved: u64,
    /// Fees of all payments, in micro-AIT.
    pub fees: u64,
}

impl Counted {
    /// A record was appended.
    pub(super) fn count(&mut self, body: &RecordBody) {
        match body {
            RecordBody::Transaction(signed) => {
                self.transactions += 1;
                self.locks += u64::from(signed.transaction.kind == TransactionKind::Lock);
            }
            RecordBody::Post(post) => {
                self.resolved += u64::from(post.outcome != Outcome::Rental);
                self.fees = self.fees.saturating_add(post.fee);
            }
            RecordBody::Void { .. }
            | RecordBody::Expire {
                reason: ExpireReason::Lock,
                ..
            } => self.resolved += 1,
            _ => {}
        }
    }

    /// As stored; a ledger that was written before there were counts goes on from what its state says.
    pub(super) fn stored(row: Option<CountedRow>, totals: &Totals) -> Self {
        match row {
            Some(row) => Self {
                transactions: row.transactions,
                locks: row.locks,
                resolved: row.resolved,
                fees: row.fees,
            },
            None => Self {
                transactions: totals.nonces,
                locks: totals.open_locks,
                resolved: 0,
                fees: u64::try_from(totals.fees).unwrap_or(u64::MAX),
            },
        }
    }

    pub(super) fn row(&self) -> CountedRow {
        CountedRow {
            transactions: self.transactions,
            locks: self.locks,
            resolved: self.resolved,
            fees: self.fees,
        }
    }
}

impl Figures {
    /// The invariants that can be looked at without reading the log, and whether each holds.
    #[must_use]
    pub fn invariants(&self) -> Vec<(&'static str, bool)> {
        let (totals, counted) = (&self.totals, &self.counted);
        let sums = Invariant::ALL.into_iter();
        let sums = sums.map(|invariant| (invariant.name(), totals.holds(invariant)));
        let open = counted.locks.checked_sub(counted.resolved);
        let counts = [
            ("nonces", totals.nonces == counted.transactions),
            ("locks", open == Some(totals.open_locks)),
            ("fees", totals.fees == u128::from(counted.fees)),
            ("mint", totals.minted <= self.mint_bound),
        ];
        sums.chain(counts).collect()
    }

    /// Those that do not hold: none, unless the ledger is broken.
    #[must_use]
    pub fn broken(&self) -> Vec<&'static str> {
        let all = self.invariants().into_iter();
        all.filter(|(_, holds)| !holds)
            .map(|(name, _)| name)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_count_notices_what_the_state_lost_or_made() {
        let mut sound = Figures {
            counted: Counted {
                transactions: 5,
                locks: 3,
                resolved: 2,
                fees: 7,
            },
            ..Figures::default()
        };
        let totals = &mut sound.totals;
        (totals.nonces, totals.open_locks, totals.fees) = (5, 1, 7);
        assert_eq!(sound.broken(), [""; 0]);
        type Bend = fn(&mut Figures);
        let bends: [(&str, Bend); 5] = [
            ("nonces", |f| f.totals.nonces -= 1),
            ("locks", |f| f.totals.open_locks += 1),
            ("locks", |f| f.counted.resolved = 4),
            ("fees", |f| f.totals.fees += 1),
            ("mint", |f| f.mint_bound = 0),
        ];
        for (name, bend) in bends {
            let mut broken = sound;
            if name == "mint" {
                broken.totals.minted = 1;
            }
            bend(&mut broken);
            assert!(broken.broken().contains(&name), "{name}");
        }
    }
}
