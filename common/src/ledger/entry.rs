//! What the state holds: accounts, open locks, bindings, allowances, stakes. Each entry has a key and a value of bytes;
//! the state root commits to both.

use crate::address::Address;
use crate::hash::{Hash, tagged};
use crate::identity::PublicKey;
use crate::layouts::{Fields, LayoutError, LockPurpose};

/// An account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AccountId {
    /// A wallet.
    Wallet(Address),
    /// A miner's stake.
    Stake(PublicKey),
    /// Money on its way from locks to payees: zero at rest.
    Settlement,
    /// The market's fees.
    Fees,
    /// Where money comes from: its debits are what was minted, its credits what was burned.
    Issuance,
}

impl AccountId {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Wallet(address) => [&[0], &address.0[..]].concat(),
            Self::Stake(miner) => [&[1], &miner.0[..]].concat(),
            Self::Settlement => vec![2],
            Self::Fees => vec![3],
            Self::Issuance => vec![4],
        }
    }
}

/// Names an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StateKey {
    /// Type 1.
    Account(AccountId),
    /// Type 2: an open lock, by its transaction.
    Lock(Hash),
    /// Type 3: who is paid for an identity's work.
    Binding(PublicKey),
    /// Type 4: what an identity may lock of a wallet's money.
    Allowance(Address, PublicKey),
    /// Type 5: money on its way out of a stake, by its transaction.
    Unstaking(Hash),
    /// Type 6: the wallet that staked on a miner.
    Staker(PublicKey),
    /// Type 7: what is being unstaked from a miner and was slashed.
    Forfeit(PublicKey),
    /// Type 8: a miner was slashed for contradicting itself in this attempt of the job with this job_ref.
    Slashed(PublicKey, Hash, u16),
    /// Type 9, id 1 ‖ day: the seed that draws a day's audits.
    AuditSeed(u32),
    /// Type 9, id 2 ‖ job_ref: work that an audit found wrong.
    FoundWrong(Hash),
}

impl StateKey {
    /// type u8 ‖ id.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Account(id) => [&[1], &id.bytes()[..]].concat(),
            Self::Lock(id) => [&[2], &id[..]].concat(),
            Self::Binding(identity) => [&[3], &identity.0[..]].concat(),
            Self::Allowance(account, identity) => [&[4], &account.0[..], &identity.0[..]].concat(),
            Self::Unstaking(id) => [&[5], &id[..]].concat(),
            Self::Staker(miner) => [&[6], &miner.0[..]].concat(),
            Self::Forfeit(miner) => [&[7], &miner.0[..]].concat(),
            Self::Slashed(miner, job_ref, attempt) => {
                [&[8], &miner.0[..], job_ref, &attempt.to_be_bytes()].concat()
            }
            Self::AuditSeed(day) => [&[9, 1], &day.to_be_bytes()[..]].concat(),
            Self::FoundWrong(job_ref) => [&[9, 2], &job_ref[..]].concat(),
        }
    }

    /// The key in the state tree: H("aitbc/state/v1", type ‖ id).
    #[must_use]
    pub fn tree_key(&self) -> Hash {
        tagged("aitbc/state/v1", &self.bytes())
    }

    /// Reads [`StateKey::bytes`].
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (kind, id) = bytes.split_first()?;
        Some(match (kind, id.len()) {
            (1, 21) if id[0] == 0 => {
                Self::Account(AccountId::Wallet(Address(id[1..].try_into().ok()?)))
            }
            (1, 33) if id[0] == 1 => {
                Self::Account(AccountId::Stake(PublicKey(id[1..].try_into().ok()?)))
            }
            (1, 1) => Self::Account(match id[0] {
                2 => AccountId::Settlement,
                3 => AccountId::Fees,
                4 => AccountId::Issuance,
                _ => return None,
            }),
            (2, 32) => Self::Lock(id.try_into().ok()?),
            (3, 32) => Self::Binding(PublicKey(id.try_into().ok()?)),
            (4, 52) => Self::Allowance(
                Address(id[..20].try_into().ok()?),
                PublicKey(id[20..].try_into().ok()?),
            ),
            (5, 32) => Self::Unstaking(id.try_into().ok()?),
            (6, 32) => Self::Staker(PublicKey(id.try_into().ok()?)),
            (7, 32) => Self::Forfeit(PublicKey(id.try_into().ok()?)),
            (8, 66) => Self::Slashed(
                PublicKey(id[..32].try_into().ok()?),
                id[32..64].try_into().ok()?,
                u16::from_be_bytes(id[64..].try_into().ok()?),
            ),
            (9, 5) if id[0] == 1 => Self::AuditSeed(u32::from_be_bytes(id[1..].try_into().ok()?)),
            (9, 33) if id[0] == 2 => Self::FoundWrong(id[1..].try_into().ok()?),
            _ => return None,
        })
    }
}

/// An account's counters, in micro-AIT; they never fall, but for the pending ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Account {
    /// Taken.
    pub debits_posted: u128,
    /// Received.
    pub credits_posted: u128,
    /// Set aside.
    pub debits_pending: u128,
    /// Set aside for it.
    pub credits_pending: u128,
    /// Transactions of its own key so far.
    pub nonce: u64,
}

impl Account {
    /// What it has and has not set aside: posted credits − posted debits − pending debits. Zero for the issuance account.
    #[must_use]
    pub fn available(&self) -> u128 {
        self.credits_posted
            .saturating_sub(self.debits_posted)
            .saturating_sub(self.debits_pending)
    }

    /// What it has: posted credits − posted debits.
    #[must_use]
    pub fn balance(&self) -> u128 {
        self.credits_posted.saturating_sub(self.debits_posted)
    }
}

/// A lock that is not resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenLock {
    /// Whose money it is.
    pub payer: Address,
    /// The identity that locked it under an allowance; zero = the wallet itself.
    pub signer: PublicKey,
    /// The allowance's number then.
    pub allowance_seq: u32,
    /// job_ref or rental_ref.
    pub target: Hash,
    /// What it is for.
    pub purpose: LockPurpose,
    /// Micro-AIT.
    pub amount: u64,
    /// When it returns by itself: ledger time, Unix ms.
    pub expires_at: u64,
    /// Highest rate it pays: micro-AIT per hour and slot.
    pub max_rate: u64,
    /// Highest fee it pays, in hundredths of a percent.
    pub max_fee_bps: u16,
    /// The one miner it pays; zero = any.
    pub miner_key: PublicKey,
    /// Index of its transaction in the log.
    pub log_index: u64,
    /// Number of a rental's newest payment; of a job the newest attempt that failed because of its miner.
    pub newest: u16,
}

/// Who is paid for an identity's work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Binding {
    /// The wallet; zero = released.
    pub account: Address,
    /// Number of the newest binding.
    pub seq: u32,
}

/// What an identity may lock of a wallet's money.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allowance {
    /// Number of the newest allowance.
    pub seq: u32,
    /// Until when: ledger time, Unix ms.
    pub expires_at: u64,
    /// Limit in micro-AIT; 0 = revoked.
    pub amount: u64,
    /// Locked or spent of it.
    pub used: u64,
    /// Transactions under it so far; never restarts.
    pub nonce: u64,
}

/// Money on its way out of a stake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unstaking {
    /// Where it goes.
    pub account: Address,
    /// Whose stake.
    pub miner: PublicKey,
    /// Micro-AIT.
    pub amount: u64,
    /// When: ledger time, Unix ms.
    pub matures_at: u64,
}

/// What is being unstaked and was slashed: it goes nowhere when it matures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forfeit {
    /// The unstakings that mature until then are forfeited: ledger time, Unix ms.
    pub until: u64,
    /// What those that have not matured hold, in micro-AIT.
    pub amount: u128,
}

/// The seed that draws a day's audits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditSeed {
    /// [`super::audits::commitment`] of it.
    pub commitment: Hash,
    /// The seed; zero = not told yet.
    pub seed: Hash,
}

/// A value of the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// Of [`StateKey::Account`]: 72 bytes.
    Account(Account),
    /// Of [`StateKey::Lock`]: 157 bytes.
    Lock(OpenLock),
    /// Of [`StateKey::Binding`]: 24 bytes.
    Binding(Binding),
    /// Of [`StateKey::Allowance`]: 36 bytes.
    Allowance(Allowance),
    /// Of [`StateKey::Unstaking`]: 68 bytes.
    Unstaking(Unstaking),
    /// Of [`StateKey::Staker`]: 20 bytes.
    Staker(Address),
    /// Of [`StateKey::Forfeit`]: 24 bytes; none without an amount.
    Forfeit(Forfeit),
    /// Of [`StateKey::Slashed`]: micro-AIT burned, 8 bytes.
    Slashed(u64),
    /// Of [`StateKey::AuditSeed`]: 64 bytes.
    AuditSeed(AuditSeed),
    /// Of [`StateKey::FoundWrong`]: 32 bytes, the evidence.
    FoundWrong(Hash),
}

impl Entry {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(160);
        match self {
            Self::Account(account) => {
                for counter in [
                    account.debits_posted,
                    account.credits_posted,
                    account.debits_pending,
                    account.credits_pending,
                ] {
                    out.extend(counter.to_be_bytes());
                }
                out.extend(account.nonce.to_be_bytes());
            }
            Self::Lock(lock) => {
                out.extend(lock.payer.0);
                out.extend(lock.signer.0);
                out.extend(lock.allowance_seq.to_be_bytes());
                out.extend(lock.target);
                out.push(lock.purpose as u8);
                out.extend(lock.amount.to_be_bytes());
                out.extend(lock.expires_at.to_be_bytes());
                out.extend(lock.max_rate.to_be_bytes());
                out.extend(lock.max_fee_bps.to_be_bytes());
                out.extend(lock.miner_key.0);
                out.extend(lock.log_index.to_be_bytes());
                out.extend(lock.newest.to_be_bytes());
            }
            Self::Binding(binding) => {
                out.extend(binding.account.0);
                out.extend(binding.seq.to_be_bytes());
            }
            Self::Allowance(allowance) => {
                out.extend(allowance.seq.to_be_bytes());
                for number in [
                    allowance.expires_at,
                    allowance.amount,
                    allowance.used,
                    allowance.nonce,
                ] {
                    out.extend(number.to_be_bytes());
                }
            }
            Self::Unstaking(unstaking) => {
                out.extend(unstaking.account.0);
                out.extend(unstaking.miner.0);
                out.extend(unstaking.amount.to_be_bytes());
                out.extend(unstaking.matures_at.to_be_bytes());
            }
            Self::Staker(account) => out.extend(account.0),
            Self::Forfeit(forfeit) => {
                out.extend(forfeit.until.to_be_bytes());
                out.extend(forfeit.amount.to_be_bytes());
            }
            Self::Slashed(amount) => out.extend(amount.to_be_bytes()),
            Self::AuditSeed(audit) => out.extend([audit.commitment, audit.seed].concat()),
            Self::FoundWrong(evidence) => out.extend(evidence),
        }
        out
    }

    /// Reads the bytes of the value of `key`.
    pub fn decode(key: &StateKey, bytes: &[u8]) -> Result<Self, LayoutError> {
        let fields = |layout, wanted| Fields::new(layout, bytes, wanted);
        Ok(match key {
            StateKey::Account(_) => {
                let mut fields = fields("account", 72)?;
                Self::Account(Account {
                    debits_posted: fields.u128(),
                    credits_posted: fields.u128(),
                    debits_pending: fields.u128(),
                    credits_pending: fields.u128(),
                    nonce: fields.u64(),
                })
            }
            StateKey::Lock(_) => Self::Lock(decode_lock(fields("open lock", 157)?)?),
            StateKey::Binding(_) => {
                let mut fields = fields("binding", 24)?;
                Self::Binding(Binding {
                    account: Address(fields.take()),
                    seq: fields.u32(),
                })
            }
            StateKey::Allowance(..) => {
                let mut fields = fields("allowance", 36)?;
                Self::Allowance(Allowance {
                    seq: fields.u32(),
                    expires_at: fields.u64(),
                    amount: fields.u64(),
                    used: fields.u64(),
                    nonce: fields.u64(),
                })
            }
            StateKey::Unstaking(_) => {
                let mut fields = fields("unstaking", 68)?;
                Self::Unstaking(Unstaking {
                    account: Address(fields.take()),
                    miner: PublicKey(fields.take()),
                    amount: fields.u64(),
                    matures_at: fields.u64(),
                })
            }
            StateKey::Staker(_) => Self::Staker(Address(fields("staker", 20)?.take())),
            StateKey::Forfeit(_) => {
                let mut fields = fields("forfeit", 24)?;
                Self::Forfeit(Forfeit {
                    until: fields.u64(),
                    amount: fields.u128(),
                })
            }
            StateKey::Slashed(..) => Self::Slashed(fields("slashed", 8)?.u64()),
            StateKey::AuditSeed(_) => {
                let mut fields = fields("audit seed", 64)?;
                Self::AuditSeed(AuditSeed {
                    commitment: fields.take(),
                    seed: fields.take(),
                })
            }
            StateKey::FoundWrong(_) => Self::FoundWrong(fields("found wrong", 32)?.take()),
        })
    }

    /// Whether it is as good as none: such entries are not in the state.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Account(account) => *account == Account::default(),
            Self::Forfeit(forfeit) => forfeit.amount == 0,
            _ => false,
        }
    }
}

fn decode_lock(mut fields: Fields<'_>) -> Result<OpenLock, LayoutError> {
    let payer = Address(fields.take());
    let signer = PublicKey(fields.take());
    let allowance_seq = fields.u32();
    let target = fields.take();
    let purpose = fields.u8();
    let purpose = LockPurpose::from_byte(purpose)
        .ok_or_else(|| fields.undefined("purpose", u64::from(purpose)))?;
    Ok(OpenLock {
        payer,
        signer,
        allowance_seq,
        target,
        purpose,
        amount: fields.u64(),
        expires_at: fields.u64(),
        max_rate: fields.u64(),
        max_fee_bps: fields.u16(),
        miner_key: PublicKey(fields.take()),
        log_index: fields.u64(),
        newest: fields.u16(),
    })
}
