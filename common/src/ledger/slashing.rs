//! What a miner loses that contradicted itself.

use super::draft::{Draft, add};
use super::entry::{AccountId, Entry, Forfeit, StateKey, Unstaking};
use super::position::ChainRules;
use super::settlement::computed;
use super::transactions::UNSTAKING_MS;
use super::violation::Violation;
use crate::layouts::{InvalidTransaction, Slash};

impl Draft<'_> {
    /// Burns all that the stake account has, also what is being unstaked.
    pub(super) fn slash(
        &mut self,
        slash: &Slash,
        now: u64,
        rules: &ChainRules,
        verified: bool,
    ) -> Result<(), Violation> {
        let evidence = &slash.evidence;
        let (chain_id, job_ref, attempt) = evidence.subject();
        if chain_id != rules.chain_id {
            return Err(InvalidTransaction::Chain.into());
        }
        if !evidence.is_sound() {
            return Err(Violation::NoContradiction(
                "they must be of one attempt, give the same number of bytes different hashes, and stand in order",
            ));
        }
        if !verified && !evidence.verify() {
            return Err(InvalidTransaction::Signature.into());
        }
        let miner = evidence.miner;
        let slashed = StateKey::Slashed(miner, job_ref, attempt);
        if self.get(&slashed).is_some() {
            return Err(Violation::Slashed);
        }
        let id = AccountId::Stake(miner);
        let stake = self.account(id);
        let staked = u64::try_from(stake.balance()).map_err(|_| Violation::Overflow)?;
        if staked == 0 {
            return Err(Violation::NoStake);
        }
        computed("amount", staked, slash.amount)?;
        if stake.debits_pending > 0 {
            self.forfeit_pending(slash, now, stake.debits_pending)?;
        }
        self.transfer(id, AccountId::Issuance, staked)?;
        self.remove(StateKey::Staker(miner));
        self.put(slashed, Entry::Slashed(staked));
        Ok(())
    }

    fn forfeit_pending(&mut self, slash: &Slash, now: u64, pending: u128) -> Result<(), Violation> {
        let miner = slash.evidence.miner;
        let before = self.forfeit(miner);
        // Nothing that is being unstaked matures later than this.
        let until = now
            .checked_add(UNSTAKING_MS)
            .and_then(|at| Some(at.max(before.until.checked_add(1)?)))
            .ok_or(Violation::Overflow)?;
        let amount = before
            .amount
            .checked_add(pending)
            .ok_or(Violation::Overflow)?;
        self.change(AccountId::Stake(miner), |account| {
            account.debits_pending = 0;
            Some(())
        })?;
        self.put(
            StateKey::Forfeit(miner),
            Entry::Forfeit(Forfeit { until, amount }),
        );
        Ok(())
    }

    /// The unstaking was slashed: nothing moves.
    pub(super) fn settle_forfeit(&mut self, unstaking: &Unstaking) -> Result<(), Violation> {
        let forfeit = self.forfeit(unstaking.miner);
        let amount = forfeit
            .amount
            .checked_sub(unstaking.amount.into())
            .ok_or(Violation::Overflow)?;
        let left = Forfeit { amount, ..forfeit };
        self.put(StateKey::Forfeit(unstaking.miner), Entry::Forfeit(left));
        if self.broken().pay_forfeits {
            let (from, to) = (
                AccountId::Stake(unstaking.miner),
                AccountId::Wallet(unstaking.account),
            );
            self.change(from, |account| {
                add(&mut account.debits_posted, unstaking.amount)
            })?;
            self.change(to, |account| {
                add(&mut account.credits_posted, unstaking.amount)
            })?;
        }
        Ok(())
    }
}
