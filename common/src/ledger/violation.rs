//! What breaks a rule of the ledger: why a transaction is refused, or what is wrong with a log.

use crate::address::Address;
use crate::layouts::{InvalidTransaction, LayoutError};
use crate::money::MicroAit;

/// A broken rule. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Not signed as it must be.
    #[error(transparent)]
    Invalid(#[from] InvalidTransaction),
    /// Bytes that are not the layout they should be.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// Not the next transaction of its account or allowance.
    #[error("the nonce is {given}, {expected} comes next")]
    Nonce {
        /// The next one.
        expected: u64,
        /// The one given.
        given: u64,
    },
    /// More than there is.
    #[error("insufficient funds: available {} AIT, asked {} AIT", ait(*available), ait(*asked))]
    Funds {
        /// Micro-AIT there are.
        available: u128,
        /// Micro-AIT asked.
        asked: u128,
    },
    /// More than the allowance leaves.
    #[error("the allowance leaves {} AIT, asked {} AIT", MicroAit(*left), MicroAit(*asked))]
    Allowance {
        /// Micro-AIT left.
        left: u64,
        /// Micro-AIT asked.
        asked: u64,
    },
    /// No allowance, or one that has ended.
    #[error("the wallet {0} has given this identity no allowance, or it has ended")]
    NoAllowance(Address),
    /// Its time is over.
    #[error("it was valid until {valid_until} and it is {now} (Unix ms)")]
    Expired {
        /// Until when.
        valid_until: u64,
        /// Ledger time.
        now: u64,
    },
    /// It would be valid for too long.
    #[error("it may be valid for at most {0} hours")]
    TooLong(u64),
    /// An amount out of bounds.
    #[error("the amount must be between {} and {} AIT", MicroAit(*.0), MicroAit(*.1))]
    Amount(u64, u64),
    /// The target does not name what the kind of transaction needs.
    #[error("the target is not {0}")]
    Target(&'static str),
    /// A number that must rise did not.
    #[error("its number is {given}, it must be over {last}")]
    Sequence {
        /// The last one.
        last: u32,
        /// The one given.
        given: u32,
    },
    /// A number is not the next one.
    #[error("its number is {given}, it must be {expected}")]
    Successor {
        /// The next one.
        expected: u32,
        /// The one given.
        given: u32,
    },
    /// The identity's payee is another wallet, which alone can change that.
    #[error("the identity is bound to the wallet {0}, which alone can change that")]
    Bound(Address),
    /// The identity did not consent, or its consent has ended.
    #[error("the identity has not consented to be paid by this wallet, or its consent has ended")]
    Consent,
    /// A stake by another wallet than the one that the miner is bound to, if it is bound.
    #[error("only the wallet that a miner is bound to may stake on it; this one is bound to {}", bound(*.0))]
    NotBound(Option<Address>),
    /// Another wallet staked on this miner.
    #[error("the stake on this miner belongs to the wallet {0}")]
    Staker(Address),
    /// Nothing is staked on this miner.
    #[error("nothing is staked on this miner")]
    NoStake,
    /// Two statements that do not contradict each other.
    #[error("the two statements are no contradiction: {0}")]
    NoContradiction(&'static str),
    /// A miner that was slashed for this attempt.
    #[error("the miner was slashed for this attempt before")]
    Slashed,
    /// An unstaking that ends as if it had not been slashed, or had.
    #[error("the unstaking was {}slashed", if *.0 { "" } else { "not " })]
    Forfeited(bool),
    /// Counters would overflow.
    #[error("the amounts are too large")]
    Overflow,

    /// A record out of place.
    #[error("the record has index {given} where {expected} comes next")]
    Index {
        /// The next one.
        expected: u64,
        /// The one given.
        given: u64,
    },
    /// Ledger time went back.
    #[error("ledger time goes back")]
    Time,
    /// A record that may not stand there.
    #[error("{0}")]
    Misplaced(&'static str),
    /// A lock that is not open.
    #[error("the lock is not open: it was never made, or is resolved")]
    NoLock,
    /// A lock that pays what its signer did not agree to.
    #[error("the lock's terms do not allow {0}")]
    Terms(&'static str),
    /// A number that does not follow from the others.
    #[error("{field} is {given} where {expected} follows from the record")]
    Computed {
        /// Which number.
        field: &'static str,
        /// What follows.
        expected: u128,
        /// What stands there.
        given: u128,
    },
    /// It ended before its time.
    #[error("its time is not over before {0} (Unix ms)")]
    TooEarly(u64),
    /// Money was made that nobody may make.
    #[error("{0}")]
    Mint(&'static str),
}

fn bound(wallet: Option<Address>) -> String {
    wallet.map_or_else(
        || "no wallet".into(),
        |wallet| format!("the wallet {wallet}"),
    )
}

fn ait(micro: u128) -> MicroAit {
    MicroAit(u64::try_from(micro).unwrap_or(u64::MAX))
}
