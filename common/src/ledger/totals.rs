//! Sums over all entries of a state, kept up to date with every change, and what must hold between them.

use super::entry::{Account, AccountId, Entry, StateKey};
use crate::genesis::SUPPLY_BOUND;

/// Sums over all entries of a state, in micro-AIT. All arithmetic is modulo 2^128, so that taking away undoes adding.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Wallets that ever had something or signed something.
    pub wallets: u64,
    /// Locks that are not resolved.
    pub open_locks: u64,
    /// What they hold.
    pub locked: u128,
    /// What is on its way out of stakes.
    pub unstaking: u128,
    /// Of that, what was slashed: it goes nowhere.
    pub forfeited: u128,
    /// Slashed so far, by the miners that were.
    pub slashed: u128,
    /// Minted so far, by the issuance account.
    pub minted: u128,
    /// Burned so far, by the issuance account.
    pub burned: u128,
    /// Nonces of all wallets and allowances: how many transactions were carried out.
    pub nonces: u64,
    /// What the fees account received.
    pub fees: u128,
    debits_posted: u128,
    credits_posted: u128,
    debits_pending: u128,
    credits_pending: u128,
    /// Accounts that gave or set aside more than they had; issuance may.
    overdrawn: u64,
    /// What the settlement account received, less what it gave.
    settling: u128,
}

/// What must hold between the sums after every record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// Posted credits and debits of all accounts are equal: money is only moved.
    Conservation,
    /// No account but issuance gives or sets aside more than it has.
    Overdraft,
    /// What is set aside is what open locks and unstakings hold.
    Pending,
    /// The settlement account is empty.
    Settlement,
    /// What was burned is what was slashed, and what is forfeited is being unstaked.
    Slashes,
    /// Supply is below 2^63 micro-AIT and nothing is burned that was not minted.
    Supply,
}

impl Invariant {
    /// All there are.
    pub const ALL: [Self; 6] = [
        Self::Conservation,
        Self::Overdraft,
        Self::Pending,
        Self::Settlement,
        Self::Slashes,
        Self::Supply,
    ];

    /// Its name, for metrics and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Conservation => "conservation",
            Self::Overdraft => "overdraft",
            Self::Pending => "pending",
            Self::Settlement => "settlement",
            Self::Slashes => "slashes",
            Self::Supply => "supply",
        }
    }
}

impl Totals {
    /// An entry is there now.
    pub fn add(&mut self, key: &StateKey, entry: &Entry) {
        match (key, entry) {
            (StateKey::Account(id), Entry::Account(account)) => self.account(*id, account, true),
            (_, Entry::Lock(lock)) => {
                self.open_locks = self.open_locks.wrapping_add(1);
                self.locked = self.locked.wrapping_add(lock.amount.into());
            }
            (_, Entry::Unstaking(unstaking)) => {
                self.unstaking = self.unstaking.wrapping_add(unstaking.amount.into());
            }
            (_, Entry::Forfeit(forfeit)) => {
                self.forfeited = self.forfeited.wrapping_add(forfeit.amount);
            }
            (_, Entry::Slashed(amount)) => {
                self.slashed = self.slashed.wrapping_add((*amount).into());
            }
            (_, Entry::Allowance(allowance)) => {
                self.nonces = self.nonces.wrapping_add(allowance.nonce);
            }
            _ => {}
        }
    }

    /// An entry that was added is there no more.
    pub fn remove(&mut self, key: &StateKey, entry: &Entry) {
        match (key, entry) {
            (StateKey::Account(id), Entry::Account(account)) => self.account(*id, account, false),
            (_, Entry::Lock(lock)) => {
                self.open_locks = self.open_locks.wrapping_sub(1);
                self.locked = self.locked.wrapping_sub(lock.amount.into());
            }
            (_, Entry::Unstaking(unstaking)) => {
                self.unstaking = self.unstaking.wrapping_sub(unstaking.amount.into());
            }
            (_, Entry::Forfeit(forfeit)) => {
                self.forfeited = self.forfeited.wrapping_sub(forfeit.amount);
            }
            (_, Entry::Slashed(amount)) => {
                self.slashed = self.slashed.wrapping_sub((*amount).into());
            }
            (_, Entry::Allowance(allowance)) => {
                self.nonces = self.nonces.wrapping_sub(allowance.nonce);
            }
            _ => {}
        }
    }

    fn account(&mut self, id: AccountId, account: &Account, comes: bool) {
        let shift = |sum: &mut u128, by: u128| {
            *sum = if comes {
                sum.wrapping_add(by)
            } else {
                sum.wrapping_sub(by)
            };
        };
        let count = |sum: &mut u64, holds: bool| {
            *sum = if comes {
                sum.wrapping_add(holds.into())
            } else {
                sum.wrapping_sub(holds.into())
            };
        };
        shift(&mut self.debits_posted, account.debits_posted);
        shift(&mut self.credits_posted, account.credits_posted);
        shift(&mut self.debits_pending, account.debits_pending);
        shift(&mut self.credits_pending, account.credits_pending);
        count(&mut self.wallets, matches!(id, AccountId::Wallet(_)));
        self.nonces = if comes {
            self.nonces.wrapping_add(account.nonce)
        } else {
            self.nonces.wrapping_sub(account.nonce)
        };
        if id == AccountId::Fees {
            shift(&mut self.fees, account.credits_posted);
        }
        if id == AccountId::Issuance {
            shift(&mut self.minted, account.debits_posted);
            shift(&mut self.burned, account.credits_posted);
            return;
        }
        let given = account.debits_posted.checked_add(account.debits_pending);
        let over = given.is_none_or(|given| given > account.credits_posted);
        count(&mut self.overdrawn, over);
        if id == AccountId::Settlement {
            let net = account.credits_posted.wrapping_sub(account.debits_posted);
            shift(&mut self.settling, net);
        }
    }

    /// Posted credits less posted debits of all accounts: 0, else money was made or lost.
    #[must_use]
    pub fn sum_of_accounts(&self) -> i128 {
        // Two's complement: how much one exceeds the other, modulo 2^128.
        self.credits_posted
            .wrapping_sub(self.debits_posted)
            .cast_signed()
    }

    /// Minted less burned.
    #[must_use]
    pub fn supply(&self) -> u128 {
        self.minted.saturating_sub(self.burned)
    }

    /// Whether it holds.
    #[must_use]
    pub fn holds(&self, invariant: Invariant) -> bool {
        match invariant {
            Invariant::Conservation => self.credits_posted == self.debits_posted,
            Invariant::Overdraft => self.overdrawn == 0,
            Invariant::Pending => {
                self.credits_pending == self.locked
                    && self.debits_pending.wrapping_add(self.forfeited)
                        == self.locked.wrapping_add(self.unstaking)
            }
            Invariant::Settlement => self.settling == 0,
            Invariant::Slashes => self.burned == self.slashed && self.forfeited <= self.unstaking,
            Invariant::Supply => {
                self.minted >= self.burned && self.supply() < u128::from(SUPPLY_BOUND)
            }
        }
    }

    /// Those that do not hold: none, unless the ledger is broken.
    #[must_use]
    pub fn broken(&self) -> Vec<Invariant> {
        let mut all = Invariant::ALL.to_vec();
        all.retain(|invariant| !self.holds(*invariant));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Address;
    use crate::layouts::LockPurpose;
    use crate::ledger::entry::OpenLock;

    const PAYER: AccountId = AccountId::Wallet(Address([1; 20]));

    fn account(debits_posted: u128, credits_posted: u128, debits_pending: u128) -> Entry {
        Entry::Account(Account {
            debits_posted,
            credits_posted,
            debits_pending,
            ..Account::default()
        })
    }

    fn add(totals: &mut Totals, id: AccountId, entry: &Entry) {
        totals.add(&StateKey::Account(id), entry);
    }

    fn sound() -> Totals {
        let mut totals = Totals::default();
        add(&mut totals, AccountId::Issuance, &account(100, 0, 0));
        add(&mut totals, PAYER, &account(0, 100, 0));
        totals
    }

    #[test]
    fn a_sound_state_breaks_nothing_and_removing_undoes_adding() {
        let mut totals = sound();
        assert_eq!(totals.broken(), []);
        assert_eq!((totals.supply(), totals.wallets), (100, 1));
        totals.remove(&StateKey::Account(PAYER), &account(0, 100, 0));
        assert_eq!(totals.sum_of_accounts(), -100);
        add(&mut totals, PAYER, &account(0, 100, 0));
        assert_eq!(totals, sound());
    }

    #[test]
    fn each_invariant_notices_what_breaks_it() {
        let second = AccountId::Wallet(Address([2; 20]));
        let mut made = sound();
        add(&mut made, second, &account(0, 5, 0));
        assert_eq!(made.broken(), [Invariant::Conservation]);
        assert_eq!(made.sum_of_accounts(), 5);

        let mut overdrawn = sound();
        add(&mut overdrawn, second, &account(5, 0, 0));
        add(&mut overdrawn, AccountId::Fees, &account(0, 5, 0));
        assert_eq!(overdrawn.broken(), [Invariant::Overdraft]);

        let mut forgotten = sound();
        let lock = Entry::Lock(OpenLock {
            payer: Address([1; 20]),
            signer: crate::identity::PublicKey([0; 32]),
            allowance_seq: 0,
            target: [0; 32],
            purpose: LockPurpose::Job,
            amount: 7,
            expires_at: 0,
            max_rate: 0,
            max_fee_bps: 0,
            miner_key: crate::identity::PublicKey([0; 32]),
            log_index: 0,
            newest: 0,
        });
        forgotten.add(&StateKey::Lock([3; 32]), &lock);
        assert_eq!(forgotten.broken(), [Invariant::Pending]);

        let mut stuck = sound();
        stuck.remove(&StateKey::Account(PAYER), &account(0, 100, 0));
        add(&mut stuck, PAYER, &account(3, 100, 0));
        add(&mut stuck, AccountId::Settlement, &account(0, 3, 0));
        assert_eq!(stuck.broken(), [Invariant::Settlement]);

        let mut burned = sound();
        burned.remove(&StateKey::Account(PAYER), &account(0, 100, 0));
        add(&mut burned, PAYER, &account(3, 100, 0));
        burned.remove(&StateKey::Account(AccountId::Issuance), &account(100, 0, 0));
        add(&mut burned, AccountId::Issuance, &account(100, 3, 0));
        assert_eq!(burned.broken(), [Invariant::Slashes]);
        let rig = crate::identity::PublicKey([4; 32]);
        burned.add(&StateKey::Slashed(rig, [5; 32], 1), &Entry::Slashed(3));
        assert_eq!((burned.broken(), burned.supply()), (vec![], 97));

        let mut inflated = Totals::default();
        add(&mut inflated, AccountId::Issuance, &account(1 << 63, 0, 0));
        add(&mut inflated, PAYER, &account(0, 1 << 63, 0));
        assert_eq!(inflated.broken(), [Invariant::Supply]);
    }
}
