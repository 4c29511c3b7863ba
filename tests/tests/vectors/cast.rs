//! Who appears in the vectors of transactions and records.

use aitbc_common::address::Address;
use aitbc_common::hash::Hash;
use aitbc_common::identity::Identity;
use aitbc_common::layouts::{
    AllowTerms, BindConsent, LockPurpose, LockTerms, SignMode, SignedTransaction, Transaction,
    TransactionKind,
};
use aitbc_common::wallet::WalletKey;
use serde_json::{Value, json};

/// Secret keys of the wallets.
pub const ALICE: [u8; 32] = [0x51; 32];
pub const BOB: [u8; 32] = [0x52; 32];
pub const CAROL: [u8; 32] = [0x53; 32];
/// Of a wallet that only pays for audits.
pub const AUDITOR: [u8; 32] = [0x54; 32];
/// Seeds of the identities.
pub const AGENT: [u8; 32] = [0x61; 32];
pub const MINER: [u8; 32] = [0x22; 32];
pub const OWNER: [u8; 32] = [0x11; 32];
/// When it all begins.
pub const BEGIN: u64 = 1_795_428_000_000;
pub const HOUR: u64 = 3_600_000;

pub fn key(secret: &[u8; 32]) -> WalletKey {
    WalletKey::from_bytes(secret).expect("a valid secret key")
}

pub fn public_key(secret: &[u8; 32]) -> [u8; 33] {
    key(secret).public().to_bytes()
}

pub fn address(secret: &[u8; 32]) -> Address {
    key(secret).address()
}

pub fn identity(seed: &[u8; 32]) -> Identity {
    Identity::from_seed(seed)
}

/// The secrets, for other languages to sign with.
pub fn keys() -> Value {
    let wallets = [("alice", ALICE), ("bob", BOB), ("carol", CAROL)].map(|(name, secret)| {
        json!({
            "name": name,
            "secret": hex::encode(secret),
            "public_key": hex::encode(public_key(&secret)),
            "address": address(&secret).to_string(),
        })
    });
    let identities = [("agent", AGENT), ("miner", MINER), ("owner", OWNER)].map(|(name, seed)| {
        json!({"name": name, "seed": hex::encode(seed), "public_key": hex::encode(identity(&seed).public().0)})
    });
    json!({"wallets": wallets, "identities": identities})
}

/// A transaction of `chain_id` without signer.
pub fn draft(kind: TransactionKind, chain_id: Hash, amount: u64, target: Hash) -> Transaction {
    Transaction {
        kind,
        sign_mode: SignMode::Wallet,
        chain_id,
        public_key: [0; 33],
        account: Address::default(),
        nonce: 0,
        valid_until: BEGIN + HOUR,
        amount,
        max_fee: 0,
        target,
        payload_hash: Hash::default(),
    }
}

pub fn by_wallet(
    transaction: Transaction,
    payload: Vec<u8>,
    secret: &[u8; 32],
) -> SignedTransaction {
    SignedTransaction::by_wallet(transaction, payload, &key(secret)).expect("a short payload")
}

pub fn by_agent(
    transaction: Transaction,
    payload: Vec<u8>,
    account: &[u8; 32],
) -> SignedTransaction {
    let transaction = Transaction {
        account: address(account),
        ..transaction
    };
    SignedTransaction::by_identity(transaction, payload, &identity(&AGENT))
        .expect("a short payload")
}

/// Terms of a lock that any miner may earn.
pub fn terms(expires_at: u64, max_rate: u64) -> LockTerms {
    LockTerms {
        purpose: LockPurpose::Job,
        expires_at,
        max_rate,
        max_fee_bps: 250,
        miner_key: aitbc_common::identity::PublicKey::default(),
    }
}

pub fn consent(chain_id: &Hash, account: &[u8; 32], seq: u32, valid_until: u64) -> BindConsent {
    BindConsent::sign(
        chain_id,
        address(account),
        &identity(&MINER),
        seq,
        valid_until,
    )
}

pub fn release(seq: u32) -> BindConsent {
    BindConsent {
        seq,
        valid_until: 0,
        consent: [0; 64],
    }
}

pub fn allowance(expires_at: u64, seq: u32) -> AllowTerms {
    AllowTerms { expires_at, seq }
}
