//! Where the log stands: what the next record must follow on.

use std::sync::Arc;

use super::settlement::Settling;
use super::violation::Violation;
use crate::address::Address;
use crate::genesis::{Genesis, PROFILES};
use crate::hash::Hash;
use crate::layouts::{Record, RecordBody, Seal};

/// What the genesis file settles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainRules {
    /// The chain.
    pub chain_id: Hash,
    /// The market's fee in hundredths of a percent.
    pub fee_bps: u16,
    /// Micro-AIT that a faucet may make in all; 0 = there is none.
    pub faucet_total: u64,
    /// Micro-AIT that the genesis file gives out.
    pub allocated: u64,
    /// Wallets that pay for audits, ascending; shared, as rules are copied with each record.
    pub auditors: Arc<[Address]>,
}

/// Where the log stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Position {
    /// From the genesis record on.
    pub rules: Option<ChainRules>,
    /// Index of the next record.
    pub next: u64,
    /// Time of the newest record: Unix ms.
    pub time_ms: u64,
    /// Seals so far.
    pub height: u64,
    /// Index of the first record after the newest seal.
    pub first_unsealed: u64,
    /// What the genesis file gives out, in order: shared, as there may be many and a position is copied with each record.
    pub(super) allocations: Arc<[(Address, u64)]>,
    /// How many of them have their record.
    pub(super) allocated: usize,
    /// The job whose locks are being paid out.
    pub(super) settling: Option<Settling>,
}

impl Position {
    /// Where a log stands that was read from a store between two of its batches.
    #[must_use]
    pub fn resumed(
        rules: ChainRules,
        next: u64,
        time_ms: u64,
        height: u64,
        first_unsealed: u64,
    ) -> Self {
        Self {
            rules: Some(rules),
            next,
            time_ms,
            height,
            first_unsealed,
            ..Self::default()
        }
    }

    /// The position after `record`, if that may stand here.
    pub(super) fn follow(&self, record: &Record) -> Result<Self, Violation> {
        if record.index != self.next {
            return Err(Violation::Index {
                expected: self.next,
                given: record.index,
            });
        }
        if record.time_ms < self.time_ms {
            return Err(Violation::Time);
        }
        let mut next = self.clone();
        next.next += 1;
        next.time_ms = record.time_ms;
        if !matches!(record.body, RecordBody::Post(_)) {
            next.settling = None;
        }
        match (&record.body, &self.rules) {
            (RecordBody::Genesis(file), None) => next.begin(file)?,
            (RecordBody::Genesis(_), Some(_)) => {
                return Err(Violation::Misplaced(
                    "a genesis record stands only at the beginning",
                ));
            }
            (_, None) => {
                return Err(Violation::Misplaced(
                    "the log does not begin with a genesis record",
                ));
            }
            (RecordBody::Seal(seal), _) => next.seal(seal, record.index)?,
            _ => {}
        }
        Ok(next)
    }

    /// The rules, once there is a genesis record.
    pub(super) fn chain(&self) -> Result<&ChainRules, Violation> {
        self.rules.as_ref().ok_or(Violation::Misplaced(
            "the log does not begin with a genesis record",
        ))
    }

    /// Whether the genesis file gives out more than the records have.
    pub(super) fn is_allocating(&self) -> bool {
        self.allocated < self.allocations.len()
    }

    fn begin(&mut self, file: &[u8]) -> Result<(), Violation> {
        let genesis = Genesis::parse(file)
            .ok()
            .filter(|genesis| genesis.version == 1 && PROFILES.contains(&&*genesis.profile))
            .ok_or(Violation::Misplaced(
                "the genesis record is not a genesis file of version 1",
            ))?;
        self.allocations = genesis
            .allocations
            .iter()
            .map(|(account, amount)| (*account, *amount))
            .collect();
        self.rules = Some(
            genesis
                .rules(file)
                .ok_or(Violation::Misplaced("the genesis file gives out too much"))?,
        );
        Ok(())
    }

    fn seal(&mut self, seal: &Seal, index: u64) -> Result<(), Violation> {
        let computed = |field, expected: u64, given: u64| {
            if expected == given {
                return Ok(());
            }
            Err(Violation::Computed {
                field,
                expected: expected.into(),
                given: given.into(),
            })
        };
        computed("the seal's height", self.height, seal.height)?;
        computed("the seal's first record", self.first_unsealed, seal.first)?;
        computed(
            "the seal's count",
            index - self.first_unsealed,
            u64::from(seal.count),
        )?;
        if seal.count == 0 {
            return Err(Violation::Misplaced("a seal follows directly on another"));
        }
        self.height += 1;
        self.first_unsealed = index + 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layouts::MintReason;

    #[test]
    fn a_large_genesis_is_not_copied_with_each_record() {
        let all = [(Address([1; 20]), 5), (Address([2; 20]), 7)];
        let position = Position {
            rules: Some(ChainRules {
                chain_id: [0; 32],
                fee_bps: 250,
                faucet_total: 0,
                allocated: 12,
                auditors: Arc::default(),
            }),
            next: 1,
            allocations: Arc::from(all),
            ..Position::default()
        };
        let record = Record {
            index: 1,
            time_ms: 0,
            body: RecordBody::Mint {
                account: all[0].0,
                amount: 5,
                reason: MintReason::Genesis,
            },
        };
        let next = position.follow(&record).unwrap();
        assert!(Arc::ptr_eq(&next.allocations, &position.allocations));
    }
}
