//! What a record may do to balances and what holds after each, said from the outside.

use super::super::entry::{Account, OpenLock, Unstaking};
use super::super::totals::Totals;
use super::history::{ALLOCATED, FAUCET, World};
use super::*;
use crate::layouts::{LockPurpose, Outcome, Slash};

impl World {
    /// Each fall of a balance carries its owner's signature, its allowance's, or a lock's terms; what is posted goes to payee
    /// and fees, the rest back to the payer.
    pub fn check_balances(&self, before: &[Account], record: &Record, lock: Option<&OpenLock>) {
        for (wallet, was) in self.wallets.iter().zip(before) {
            let is = self.state.account(AccountId::Wallet(*wallet));
            let (posted, available) = match &record.body {
                RecordBody::Transaction(signed) if signed.transaction.account == *wallet => {
                    let amount = u128::from(signed.transaction.amount);
                    match signed.transaction.kind {
                        TransactionKind::Transfer | TransactionKind::Stake => (amount, amount),
                        TransactionKind::Lock => (0, amount),
                        _ => (0, 0),
                    }
                }
                RecordBody::Post(post) => match lock {
                    Some(lock) if lock.payer == *wallet => (post.posted.min(lock.amount).into(), 0),
                    _ => (0, 0),
                },
                _ => (0, 0),
            };
            assert!(was.balance() <= is.balance() + posted, "{record:?}");
            assert!(was.available() <= is.available() + available, "{record:?}");
        }
        if let RecordBody::Transaction(signed) = &record.body
            && signed.transaction.kind == TransactionKind::Stake
        {
            let (wallet, miner) = (signed.transaction.account, signed.transaction.target);
            assert_eq!(self.binding(PublicKey(miner)).account, wallet);
            let staker = self.state.get(&StateKey::Staker(PublicKey(miner)));
            assert_eq!(staker, Some(&Entry::Staker(wallet)));
        }
        if let RecordBody::Expire { lock, .. } = &record.body
            && self.lost.contains(lock)
        {
            let balances = |all: Vec<Account>| all.iter().map(Account::balance).sum::<u128>();
            assert_eq!(
                balances(self.accounts()),
                balances(before.to_vec()),
                "{record:?}"
            );
        }
        let settlement = self.state.account(AccountId::Settlement);
        assert_eq!(settlement.credits_posted, settlement.debits_posted);
        if let (RecordBody::Post(post), Some(lock)) = (&record.body, lock) {
            assert!(post.posted <= lock.amount && post.rate <= lock.max_rate);
            let purpose = match post.outcome.is_rental() {
                true => LockPurpose::Rental,
                false => LockPurpose::Job,
            };
            assert!(lock.target == post.job_ref && lock.purpose == purpose);
            if post.outcome == Outcome::Rental {
                let key = StateKey::Lock(post.lock);
                let Some(Entry::Lock(left)) = self.state.get(&key) else {
                    panic!("a rental's lock is gone")
                };
                assert_eq!(left.amount, lock.amount - post.posted);
                assert_eq!(left.newest, lock.newest + 1);
            }
            let (fees, through) = (&before[self.wallets.len()], &before[self.wallets.len() + 1]);
            let fee = self.state.account(AccountId::Fees).balance() - fees.balance();
            assert_eq!(fee, u128::from(post.fee));
            let moved = settlement.debits_posted - through.debits_posted;
            assert_eq!(moved, u128::from(post.posted));
        }
    }

    /// I15: a slash takes what is staked, no more, and leaves nothing that could still be paid out; what is burned, nobody has.
    pub fn check_slash(&mut self, before: &Account, slash: &Slash) {
        let (miner, amount) = (slash.evidence.miner, u128::from(slash.amount));
        assert!(amount > 0 && amount == before.balance());
        let stake = self.state.account(AccountId::Stake(miner));
        assert_eq!((stake.balance(), stake.debits_pending), (0, 0));
        let (_, job_ref, attempt) = slash.evidence.subject();
        assert!(
            self.slashed.insert((miner, job_ref, attempt)),
            "slashed twice"
        );
        self.burned += amount;
        for entry in self.state.entries() {
            if let (StateKey::Unstaking(id), Entry::Unstaking(unstaking)) = entry
                && unstaking.miner == miner
            {
                self.lost.insert(*id);
            }
        }
    }

    fn is_forfeited(&self, unstaking: &Unstaking) -> bool {
        matches!(self.state.get(&StateKey::Forfeit(unstaking.miner)),
            Some(Entry::Forfeit(forfeit)) if unstaking.matures_at <= forfeit.until)
    }

    /// What holds after every record.
    pub fn check_state(&self) {
        let mut totals = Totals::default();
        for (key, entry) in self.state.entries() {
            totals.add(key, entry);
        }
        assert_eq!((self.state.totals(), totals.broken()), (&totals, vec![]));
        let (mut debits, mut credits) = (0, 0);
        let mut pending: BTreeMap<AccountId, u128> = BTreeMap::new();
        let mut forfeited: BTreeMap<PublicKey, u128> = BTreeMap::new();
        let mut under: BTreeMap<StateKey, u64> = BTreeMap::new();
        for (_, entry) in self.state.entries() {
            match entry {
                Entry::Lock(lock) => {
                    for id in [AccountId::Wallet(lock.payer), AccountId::Settlement] {
                        *pending.entry(id).or_default() += u128::from(lock.amount);
                    }
                    let key = StateKey::Allowance(lock.payer, lock.signer);
                    if matches!(self.state.get(&key), Some(Entry::Allowance(a)) if a.seq == lock.allowance_seq)
                    {
                        *under.entry(key).or_default() += lock.amount;
                    }
                }
                Entry::Unstaking(unstaking) if self.is_forfeited(unstaking) => {
                    *forfeited.entry(unstaking.miner).or_default() += u128::from(unstaking.amount);
                }
                Entry::Unstaking(unstaking) => {
                    let id = AccountId::Stake(unstaking.miner);
                    *pending.entry(id).or_default() += u128::from(unstaking.amount);
                }
                _ => {}
            }
        }
        for (key, entry) in self.state.entries() {
            match (key, entry) {
                (StateKey::Account(id), Entry::Account(account)) => {
                    debits += account.debits_posted;
                    credits += account.credits_posted;
                    let set_aside = pending.get(id).copied().unwrap_or_default();
                    let expected = match id {
                        AccountId::Settlement => (0, set_aside),
                        _ => (set_aside, 0),
                    };
                    let found = (account.debits_pending, account.credits_pending);
                    assert_eq!(found, expected, "{id:?}");
                    if *id != AccountId::Issuance {
                        let gone = account.debits_posted + account.debits_pending;
                        assert!(account.credits_posted >= gone, "{id:?}");
                    }
                    if let AccountId::Wallet(wallet) = id {
                        let signed = self.signed.get(wallet).copied().unwrap_or_default();
                        assert_eq!(account.nonce, signed, "{id:?}");
                    }
                    if let AccountId::Stake(miner) = id {
                        let staker = self.state.get(&StateKey::Staker(*miner));
                        assert_eq!(staker.is_some(), account.balance() > 0, "{id:?}");
                    }
                }
                (StateKey::Forfeit(miner), Entry::Forfeit(forfeit)) => {
                    assert!(forfeit.amount > 0);
                    assert_eq!(forfeited.remove(miner), Some(forfeit.amount));
                }
                (_, Entry::Allowance(allowance)) => {
                    assert!(allowance.used <= allowance.amount);
                    assert!(allowance.used >= under.get(key).copied().unwrap_or_default());
                }
                _ => {}
            }
        }
        assert!(forfeited.is_empty());
        assert_eq!(debits, credits, "all accounts sum to zero");
        self.check_supply();
    }

    fn check_supply(&self) {
        let issuance = self.state.account(AccountId::Issuance);
        assert_eq!(issuance.credits_posted, self.burned, "burned is slashed");
        let minted = issuance.debits_posted;
        assert!(minted <= u128::from(ALLOCATED + FAUCET));
        let resting = self.state.account(AccountId::Settlement).credits_pending;
        assert!(resting == 0 || !self.open.is_empty());
    }
}
