//! Wallets: seed phrases (BIP-39), key derivation (BIP-32/44), signatures (secp256k1) and the file that keeps a key under
//! a password (Web3 Secret Storage, version 3). The same words and files work in Ethereum's tools.

mod kdf;
mod key;
mod keystore;
mod seed_phrase;

pub use kdf::ScryptCost;
pub use key::{COMPRESSED_KEY_BYTES, SIGNATURE_BYTES, WalletKey, WalletPublicKey};
pub use keystore::{Fresh, Keystore, KeystoreError};
pub use seed_phrase::{SeedPhrase, SeedPhraseError, is_seed_word, nearest_seed_word};
