//! How much one run of the server may lock in all: what is spent, what is locked, what is left.

use aitbc_common::hash::Hash;
use aitbc_common::money::MicroAit;
use aitbc_common::runtime::errors::{CommandError, ExitCode};

/// Locks that are open at a time, at most.
const MOST_LOCKS: usize = 256;

/// Micro-AIT that may be locked, less what was paid; what returned may be locked again.
#[derive(Debug, Default)]
pub struct Budget {
    limit: u64,
    spent: u64,
    locks: Vec<Lock>,
    reservations: u64,
}

/// Money that is reserved for a lock, or locked.
#[derive(Debug, Clone, Copy)]
struct Lock {
    reservation: u64,
    amount: u64,
    /// Where its transaction is known.
    transaction: Option<Hash>,
}

/// Names money that was set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reservation(u64);

impl Budget {
    /// So many micro-AIT in all.
    pub fn new(limit: u64) -> Self {
        Self {
            limit,
            ..Self::default()
        }
    }

    /// The most that may be locked, in micro-AIT.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Micro-AIT that were paid, fees included.
    pub fn spent(&self) -> u64 {
        self.spent
    }

    /// Micro-AIT that are locked, or may be.
    pub fn locked(&self) -> u64 {
        let amounts = self.locks.iter().map(|lock| lock.amount);
        amounts.fold(0, u64::saturating_add)
    }

    /// Micro-AIT that may still be locked.
    pub fn left(&self) -> u64 {
        let used = self.spent.saturating_add(self.locked());
        self.limit.saturating_sub(used)
    }

    /// Sets an amount aside for a lock that is about to be signed.
    pub fn reserve(&mut self, amount: MicroAit) -> Result<Reservation, CommandError> {
        let left = MicroAit(self.left());
        if amount > left {
            return Err(CommandError::new(
                ExitCode::Authentication,
                "SPENDING_LIMIT",
                format!(
                    "asked {amount} AIT, and of the {} AIT that this server may spend {left} AIT are left",
                    MicroAit(self.limit)
                ),
            )
            .with_hint("pay less, or wait until earlier jobs end: what they do not use returns; a higher limit: aitbc mcp --max-spend AIT"));
        }
        if self.locks.len() >= MOST_LOCKS {
            return Err(CommandError::new(
                ExitCode::Failed,
                "TOO_MANY_LOCKS",
                format!("{MOST_LOCKS} jobs that this server paid have not ended"),
            )
            .with_hint("wait until some have ended, or cancel them")
            .as_retryable());
        }
        self.reservations += 1;
        self.locks.push(Lock {
            reservation: self.reservations,
            amount: amount.0,
            transaction: None,
        });
        Ok(Reservation(self.reservations))
    }

    /// The lock is recorded.
    pub fn locked_by(&mut self, of: Reservation, transaction: Hash) {
        let lock = self.locks.iter_mut().find(|lock| lock.reservation == of.0);
        if let Some(lock) = lock {
            lock.transaction = Some(transaction);
        }
    }

    /// The lock was never made.
    pub fn release(&mut self, of: Reservation) {
        self.locks.retain(|lock| lock.reservation != of.0);
    }

    /// Transactions whose locks may have been answered since.
    pub fn open(&self) -> Vec<Hash> {
        self.locks
            .iter()
            .filter_map(|lock| lock.transaction)
            .collect()
    }

    /// A lock was answered: so much of it was paid, in micro-AIT.
    pub fn settle(&mut self, transaction: &Hash, paid: u64) {
        let is_it = |lock: &Lock| lock.transaction == Some(*transaction);
        let Some(at) = self.locks.iter().position(is_it) else {
            return;
        };
        let lock = self.locks.swap_remove(at);
        self.spent = self.spent.saturating_add(paid.min(lock.amount));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_locked_than_the_limit() {
        let mut budget = Budget::new(3_000_000);
        let first = budget.reserve(MicroAit(2_000_000)).unwrap();
        let refused = budget.reserve(MicroAit(1_000_001)).unwrap_err();
        assert_eq!(refused.reason, "SPENDING_LIMIT");
        assert!(refused.message.contains("1 AIT are left"), "{refused:?}");
        let second = budget.reserve(MicroAit(1_000_000)).unwrap();
        assert_eq!((budget.left(), budget.locked()), (0, 3_000_000));
        budget.release(second);
        budget.locked_by(first, [7; 32]);
        assert_eq!(budget.open(), [[7; 32]]);
        // What was paid is gone, the rest may be locked again.
        budget.settle(&[7; 32], 298);
        budget.settle(&[7; 32], 298);
        assert_eq!((budget.spent(), budget.left()), (298, 2_999_702));
        assert!(budget.open().is_empty());
    }

    #[test]
    fn a_lock_of_unknown_fate_stays_counted() {
        let mut budget = Budget::new(10);
        let _unknown = budget.reserve(MicroAit(10)).unwrap();
        budget.settle(&[1; 32], 0);
        assert!(budget.open().is_empty());
        assert!(budget.reserve(MicroAit(1)).is_err());
    }

    #[test]
    fn open_locks_are_bounded() {
        let mut budget = Budget::new(u64::MAX);
        for _ in 0..MOST_LOCKS {
            let _made = budget.reserve(MicroAit(1)).unwrap();
        }
        assert!(budget.reserve(MicroAit(1)).unwrap_err().retryable);
    }
}
