//! The network of every run: who owns what when it begins.

use std::sync::LazyLock;

use aitbc_common::genesis::{self, Genesis};
use aitbc_common::hash::Hash;
use aitbc_common::identity::Identity;
use aitbc_common::wallet::WalletKey;

/// Micro-AIT that each wallet owns: enough for all locks of a run.
pub const OWNED: u64 = 1 << 56;
const PASSERS_BY: u8 = 32;

/// The chain that everybody is on.
pub static CHAIN: LazyLock<Hash> = LazyLock::new(|| genesis::chain_id(&genesis().to_bytes()));

fn wallet(seed: u8) -> WalletKey {
    WalletKey::from_bytes(&[seed; 32]).expect("a valid key")
}

/// Pays for jobs and rentals.
pub fn payer() -> WalletKey {
    wallet(5)
}

/// Signs what it may not.
pub fn thief() -> WalletKey {
    wallet(6)
}

/// Owns the first miner, and stakes on it.
pub fn staker() -> WalletKey {
    wallet(8)
}

/// Pay for audits and say what they find, ascending by address.
pub fn auditors() -> Vec<WalletKey> {
    let mut wallets: Vec<_> = (9..12).map(wallet).collect();
    wallets.sort_unstable_by_key(WalletKey::address);
    wallets
}

/// Each signs once.
pub fn passers_by() -> Vec<WalletKey> {
    (0..PASSERS_BY).map(|n| wallet(64 + n)).collect()
}

/// Signs checkpoints of the log.
pub fn log_key() -> Identity {
    Identity::from_seed(&[6; 32])
}

/// The genesis file.
pub fn genesis() -> Genesis {
    let owners = passers_by().into_iter();
    Genesis {
        allocations: owners
            .chain([payer(), staker(), thief()])
            .chain(auditors())
            .map(|wallet| (wallet.address(), OWNED))
            .collect(),
        faucet: None,
        auditors: auditors().iter().map(WalletKey::address).collect(),
        fee_bps: 250,
        log_key: log_key().public().0,
        previous: None,
        profile: "standard".into(),
        random: [7; 32],
        service_key: [8; 32],
        version: 1,
    }
}
