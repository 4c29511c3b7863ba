//! Payloads of transactions: the terms that their signer agreed to.

use super::{Fields, LayoutError};
use crate::address::Address;
use crate::hash::{Hash, tagged};
use crate::identity::{Identity, PublicKey};
use crate::ids::ListingId;

/// What a lock is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum LockPurpose {
    /// A job; the target is its job_ref.
    Job = 1,
    /// A rental; the target is its rental_ref.
    Rental = 2,
}

impl LockPurpose {
    /// From its byte.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        [Self::Job, Self::Rental]
            .into_iter()
            .find(|p| *p as u8 == byte)
    }
}

/// rental_ref, the target of a rental's lock:
/// H("aitbc/rental/v1", chain_id ‖ listing 16 ‖ renter 32 ‖ salt 32 ‖ term_ms u64 ‖ rate u64).
#[must_use]
pub fn rental_ref(
    chain_id: &Hash,
    listing: &ListingId,
    renter: &PublicKey,
    salt: &[u8; 32],
    term_ms: u64,
    rate: u64,
) -> Hash {
    let parts: [&[u8]; 6] = [
        chain_id,
        &listing.0,
        &renter.0,
        salt,
        &term_ms.to_be_bytes(),
        &rate.to_be_bytes(),
    ];
    tagged("aitbc/rental/v1", &parts.concat())
}

/// Terms of a lock v1, 52 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockTerms {
    /// What it is for.
    pub purpose: LockPurpose,
    /// When what is still locked returns by itself: ledger time, Unix ms.
    pub expires_at: u64,
    /// The highest rate it pays, in micro-AIT per hour and slot.
    pub max_rate: u64,
    /// The highest fee of the market it pays, in hundredths of a percent; at most 10,000.
    pub max_fee_bps: u16,
    /// The one miner it pays; zero = any.
    pub miner_key: PublicKey,
}

impl LockTerms {
    /// Bytes of this layout.
    pub const LEN: usize = 52;

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![1, self.purpose as u8];
        out.extend(self.expires_at.to_be_bytes());
        out.extend(self.max_rate.to_be_bytes());
        out.extend(self.max_fee_bps.to_be_bytes());
        out.extend(self.miner_key.0);
        out
    }

    /// Reads its bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut fields = Fields::new("lock terms", bytes, Self::LEN)?;
        fields.version()?;
        let purpose = fields.u8();
        let terms = Self {
            purpose: LockPurpose::from_byte(purpose).ok_or(LayoutError::Value {
                layout: "lock terms",
                field: "purpose",
                value: u64::from(purpose),
            })?,
            expires_at: fields.u64(),
            max_rate: fields.u64(),
            max_fee_bps: fields.u16(),
            miner_key: PublicKey(fields.take()),
        };
        fields.check(
            terms.max_fee_bps <= 10_000,
            "max_fee_bps",
            u64::from(terms.max_fee_bps),
        )?;
        Ok(terms)
    }
}

/// An identity's consent to be paid by a wallet v1, 77 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindConsent {
    /// The number of this binding of the identity: 1, 2, 3 and so on.
    pub seq: u32,
    /// The consent holds until this ledger time: Unix ms.
    pub valid_until: u64,
    /// The identity's signature; zero = the wallet that holds the binding releases it.
    pub consent: [u8; 64],
}

impl BindConsent {
    /// Bytes of this layout.
    pub const LEN: usize = 77;

    /// The identity consents: a signature over H("aitbc/bind/v1", chain_id ‖ account ‖ identity ‖ seq ‖ valid_until).
    #[must_use]
    pub fn sign(
        chain_id: &Hash,
        account: Address,
        identity: &Identity,
        seq: u32,
        valid_until: u64,
    ) -> Self {
        let message = consent_hash(chain_id, account, &identity.public(), seq, valid_until);
        Self {
            seq,
            valid_until,
            consent: identity.sign(&message),
        }
    }

    /// Whether it is a release instead of a consent.
    #[must_use]
    pub fn is_release(&self) -> bool {
        self.consent == [0; 64]
    }

    /// Whether this identity consented to this account.
    #[must_use]
    pub fn verify(&self, chain_id: &Hash, account: Address, identity: &PublicKey) -> bool {
        let message = consent_hash(chain_id, account, identity, self.seq, self.valid_until);
        identity.verify(&message, &self.consent)
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![1];
        out.extend(self.seq.to_be_bytes());
        out.extend(self.valid_until.to_be_bytes());
        out.extend(self.consent);
        out
    }

    /// Reads its bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut fields = Fields::new("bind consent", bytes, Self::LEN)?;
        fields.version()?;
        Ok(Self {
            seq: fields.u32(),
            valid_until: fields.u64(),
            consent: fields.take(),
        })
    }
}

fn consent_hash(
    chain_id: &Hash,
    account: Address,
    identity: &PublicKey,
    seq: u32,
    valid_until: u64,
) -> Hash {
    let message = [
        &chain_id[..],
        &account.0,
        &identity.0,
        &seq.to_be_bytes(),
        &valid_until.to_be_bytes(),
    ];
    tagged("aitbc/bind/v1", &message.concat())
}

/// Terms of an allowance v1, 13 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowTerms {
    /// Until when it may be used: ledger time, Unix ms.
    pub expires_at: u64,
    /// Rises with every allowance of this wallet for this identity.
    pub seq: u32,
}

impl AllowTerms {
    /// Bytes of this layout.
    pub const LEN: usize = 13;

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![1];
        out.extend(self.expires_at.to_be_bytes());
        out.extend(self.seq.to_be_bytes());
        out
    }

    /// Reads its bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut fields = Fields::new("allowance terms", bytes, Self::LEN)?;
        fields.version()?;
        Ok(Self {
            expires_at: fields.u64(),
            seq: fields.u32(),
        })
    }
}
