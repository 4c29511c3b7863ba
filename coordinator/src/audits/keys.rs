//! The auditors' wallets, all from one seed that is kept as the network's other keys are.

use aitbc_common::address::Address;
use aitbc_common::hash::{Hash, tagged};
use aitbc_common::wallet::WalletKey;

/// Wallets of a new network. Findings of one auditor count once a day for a miner: with eight of them, 15 findings on two
/// days take a reputation of 0.90 below 0.5.
pub const WALLETS: u8 = 8;

/// The wallets of a seed, ascending by address: H("aitbc/auditor/v1", seed ‖ number u8) each.
#[must_use]
pub fn wallets(seed: &Hash) -> Vec<WalletKey> {
    let wallet = |number: u8| {
        let key = tagged("aitbc/auditor/v1", &[&seed[..], &[number]].concat());
        WalletKey::from_bytes(&key).expect("one hash in 2^128 is no key")
    };
    let mut wallets: Vec<_> = (0..WALLETS).map(wallet).collect();
    wallets.sort_unstable_by_key(WalletKey::address);
    wallets
}

/// Their addresses.
#[must_use]
pub fn addresses(wallets: &[WalletKey]) -> Vec<Address> {
    wallets.iter().map(WalletKey::address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_the_same_wallets_in_the_order_of_a_genesis_file() {
        let (one, again, other) = (wallets(&[1; 32]), wallets(&[1; 32]), wallets(&[2; 32]));
        let named = addresses(&one);
        assert_eq!(named, addresses(&again));
        assert_ne!(named, addresses(&other));
        assert!(named.is_sorted() && named.len() == usize::from(WALLETS));
    }
}
