//! Transaction v1: what a wallet, or an identity under a wallet's allowance, signs to move money.

use super::{Fields, LayoutError};
use crate::address::Address;
use crate::hash::{Hash, sha256, tagged};
use crate::identity::{Identity, PublicKey};
use crate::wallet::{WalletKey, WalletPublicKey};

/// Longest payload, in bytes.
pub const MAX_PAYLOAD: usize = 512;

/// What a transaction does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum TransactionKind {
    /// Moves `amount` to the wallet that `target` names.
    Transfer = 1,
    /// Sets `amount` aside for the job that `target` names, under [`super::LockTerms`].
    Lock = 2,
    /// Adds `amount` to the stake of the miner that `target` names.
    Stake = 3,
    /// Begins to take `amount` back from the stake of that miner.
    Unstake = 4,
    /// Makes this wallet the payee of the identity that `target` names, by [`super::BindConsent`].
    Bind = 5,
    /// Lets the identity that `target` names lock up to `amount`, under [`super::AllowTerms`].
    Allow = 6,
}

impl TransactionKind {
    const ALL: [Self; 6] = [
        Self::Transfer,
        Self::Lock,
        Self::Stake,
        Self::Unstake,
        Self::Bind,
        Self::Allow,
    ];
}

/// Who signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum SignMode {
    /// The account's own secp256k1 key.
    Wallet = 0,
    /// An Ed25519 identity under an allowance of the account.
    Identity = 1,
}

/// Transaction v1, 185 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// What it does.
    pub kind: TransactionKind,
    /// Who signs.
    pub sign_mode: SignMode,
    /// The chain.
    pub chain_id: Hash,
    /// The signer: a compressed secp256k1 key, or 0x00 and an Ed25519 key.
    pub public_key: [u8; 33],
    /// Whose money it is.
    pub account: Address,
    /// Count of the account's transactions before it; of the allowance's own where an identity signs.
    pub nonce: u64,
    /// Not valid after this ledger time (Unix ms), which is at most 24 hours ahead when it is recorded.
    pub valid_until: u64,
    /// Micro-AIT.
    pub amount: u64,
    /// Highest fee of the transaction itself in micro-AIT: 0.
    pub max_fee: u64,
    /// What it is about; see [`TransactionKind`].
    pub target: Hash,
    /// SHA-256 of the payload; zero if and only if that is empty.
    pub payload_hash: Hash,
}

impl Transaction {
    /// Bytes of this layout.
    pub const LEN: usize = 185;

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::LEN);
        out.extend([1, self.kind as u8, self.sign_mode as u8, 0]);
        out.extend(self.chain_id);
        out.extend(self.public_key);
        out.extend(self.account.0);
        for number in [self.nonce, self.valid_until, self.amount, self.max_fee] {
            out.extend(number.to_be_bytes());
        }
        out.extend(self.target);
        out.extend(self.payload_hash);
        out
    }

    /// Reads its bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut fields = Fields::new("transaction", bytes, Self::LEN)?;
        fields.version()?;
        let kind = fields.u8();
        let kind = TransactionKind::ALL
            .into_iter()
            .find(|k| *k as u8 == kind)
            .ok_or(LayoutError::Value {
                layout: "transaction",
                field: "kind",
                value: u64::from(kind),
            })?;
        let sign_mode = match fields.u8() {
            0 => SignMode::Wallet,
            1 => SignMode::Identity,
            other => {
                return Err(LayoutError::Value {
                    layout: "transaction",
                    field: "sign_mode",
                    value: u64::from(other),
                });
            }
        };
        let flags = fields.u8();
        fields.check(flags == 0, "flags", u64::from(flags))?;
        let transaction = Self {
            kind,
            sign_mode,
            chain_id: fields.take(),
            public_key: fields.take(),
            account: Address(fields.take()),
            nonce: fields.u64(),
            valid_until: fields.u64(),
            amount: fields.u64(),
            max_fee: fields.u64(),
            target: fields.take(),
            payload_hash: fields.take(),
        };
        fields.check(transaction.max_fee == 0, "max_fee", transaction.max_fee)?;
        Ok(transaction)
    }

    /// tx_id = H("aitbc/tx-id/v1", layout).
    #[must_use]
    pub fn id(&self) -> Hash {
        tagged("aitbc/tx-id/v1", &self.encode())
    }

    /// What is signed: H("aitbc/tx-sign/v1", layout).
    #[must_use]
    pub fn signing_hash(&self) -> Hash {
        tagged("aitbc/tx-sign/v1", &self.encode())
    }

    /// The identity that signs under an allowance.
    #[must_use]
    pub fn signing_identity(&self) -> Option<PublicKey> {
        match (self.sign_mode, self.public_key.split_first()) {
            (SignMode::Identity, Some((0, key))) => key.try_into().ok().map(PublicKey),
            _ => None,
        }
    }
}

/// What a wallet address looks like as a target: 12 zero bytes and the address.
#[must_use]
pub fn address_target(address: Address) -> Hash {
    let mut target = Hash::default();
    target[12..].copy_from_slice(&address.0);
    target
}

/// The address that a target names.
#[must_use]
pub fn target_address(target: &Hash) -> Option<Address> {
    let (zeros, address) = target.split_first_chunk::<12>()?;
    let address = address.try_into().ok()?;
    (*zeros == [0; 12]).then_some(Address(address))
}

/// A transaction with its signature and payload: layout ‖ signature 64 ‖ payload length u16 ‖ payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedTransaction {
    /// What was signed.
    pub transaction: Transaction,
    /// r ‖ s, or an Ed25519 signature.
    pub signature: [u8; 64],
    /// At most 512 bytes.
    pub payload: Vec<u8>,
}

/// A transaction that proves nothing, whoever sends it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTransaction {
    /// Its bytes are not the layout.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// For another network.
    #[error("the transaction is for another chain")]
    Chain,
    /// The payload is not the one that was signed.
    #[error("the payload does not match the signed hash")]
    Payload,
    /// The account is not the address of the public key.
    #[error("the account is not the address of the public key")]
    Account,
    /// An identity signed what only a wallet may.
    #[error("an identity may sign nothing but a lock")]
    Mode,
    /// Not a signature of that key, or one with a high s.
    #[error("the signature is not valid")]
    Signature,
}

impl SignedTransaction {
    /// Most bytes of the stored form.
    pub const MAX_LEN: usize = Transaction::LEN + 64 + 2 + MAX_PAYLOAD;

    /// Signs with a wallet's key; sets public key, account and payload hash.
    ///
    /// # Errors
    /// A payload over 512 bytes.
    pub fn by_wallet(
        mut transaction: Transaction,
        payload: Vec<u8>,
        key: &WalletKey,
    ) -> Result<Self, InvalidTransaction> {
        transaction.public_key = key.public().to_bytes();
        transaction.sign_mode = SignMode::Wallet;
        transaction.account = key.address();
        transaction.payload_hash = payload_hash(&payload)?;
        let signature = key.sign(&transaction.signing_hash());
        Ok(Self {
            transaction,
            signature,
            payload,
        })
    }

    /// Signs with an identity under an allowance; sets public key and payload hash.
    ///
    /// # Errors
    /// A payload over 512 bytes.
    pub fn by_identity(
        mut transaction: Transaction,
        payload: Vec<u8>,
        identity: &Identity,
    ) -> Result<Self, InvalidTransaction> {
        transaction.public_key[0] = 0;
        transaction.public_key[1..].copy_from_slice(&identity.public().0);
        transaction.sign_mode = SignMode::Identity;
        transaction.payload_hash = payload_hash(&payload)?;
        let signature = identity.sign(&transaction.signing_hash());
        Ok(Self {
            transaction,
            signature,
            payload,
        })
    }

    /// Its stored bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.transaction.encode();
        out.extend(self.signature);
        let len = u16::try_from(self.payload.len()).expect("a payload has at most 512 bytes");
        out.extend(len.to_be_bytes());
        out.extend(&self.payload);
        out
    }

    /// Reads its stored bytes; nothing may follow them.
    pub fn decode(bytes: &[u8]) -> Result<Self, LayoutError> {
        let short = |wanted| LayoutError::Length {
            layout: "stored transaction",
            given: bytes.len(),
            wanted,
        };
        let (layout, rest) = bytes
            .split_first_chunk::<{ Transaction::LEN }>()
            .ok_or_else(|| short(Transaction::LEN + 66))?;
        let (signature, rest) = rest
            .split_first_chunk::<64>()
            .ok_or_else(|| short(Transaction::LEN + 66))?;
        let (len, payload) = rest
            .split_first_chunk::<2>()
            .ok_or_else(|| short(Transaction::LEN + 66))?;
        let len = usize::from(u16::from_be_bytes(*len));
        if len > MAX_PAYLOAD {
            return Err(LayoutError::Value {
                layout: "stored transaction",
                field: "payload length",
                value: len as u64,
            });
        }
        if payload.len() != len {
            return Err(short(Transaction::LEN + 66 + len));
        }
        Ok(Self {
            transaction: Transaction::decode(layout)?,
            signature: *signature,
            payload: payload.to_vec(),
        })
    }

    /// Everything that can be told without the ledger: chain, payload, account and signature.
    pub fn verify(&self, chain_id: &Hash) -> Result<(), InvalidTransaction> {
        let transaction = &self.transaction;
        if transaction.chain_id != *chain_id {
            return Err(InvalidTransaction::Chain);
        }
        if payload_hash(&self.payload)? != transaction.payload_hash {
            return Err(InvalidTransaction::Payload);
        }
        let signed = transaction.signing_hash();
        let valid = match transaction.sign_mode {
            SignMode::Wallet => {
                let key = WalletPublicKey::from_bytes(&transaction.public_key)
                    .filter(|key| key.address() == transaction.account)
                    .ok_or(InvalidTransaction::Account)?;
                key.verify(&signed, &self.signature)
            }
            SignMode::Identity if transaction.kind != TransactionKind::Lock => {
                return Err(InvalidTransaction::Mode);
            }
            SignMode::Identity => transaction
                .signing_identity()
                .is_some_and(|key| key.verify(&signed, &self.signature)),
        };
        if valid {
            Ok(())
        } else {
            Err(InvalidTransaction::Signature)
        }
    }
}

fn payload_hash(payload: &[u8]) -> Result<Hash, LayoutError> {
    match payload.len() {
        0 => Ok(Hash::default()),
        1..=MAX_PAYLOAD => Ok(sha256(payload)),
        len => Err(LayoutError::Value {
            layout: "transaction",
            field: "payload length",
            value: len as u64,
        }),
    }
}
