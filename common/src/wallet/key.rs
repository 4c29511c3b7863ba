//! The secp256k1 key of a wallet, and what it signs.

use std::fmt;

use k256::ecdsa::signature::hazmat::{PrehashSigner, PrehashVerifier};
use k256::ecdsa::{Signature, SigningKey, VerifyingKey};
use zeroize::{Zeroize, Zeroizing};

use crate::address::Address;
use crate::hash::{Hash, tagged};
use crate::identity::Identity;

/// Bytes of a signature: r ‖ s.
pub const SIGNATURE_BYTES: usize = 64;
/// Bytes of a compressed public key (SEC 1).
pub const COMPRESSED_KEY_BYTES: usize = 33;

/// The secret key of a wallet; wiped from memory when dropped.
#[derive(Clone)]
pub struct WalletKey {
    key: SigningKey,
}

impl WalletKey {
    /// From the 32 bytes of a secret key; `None` for 0 and for what is not below the group's order.
    #[must_use]
    pub fn from_bytes(secret: &[u8; 32]) -> Option<Self> {
        let key = SigningKey::from_slice(secret).ok()?;
        Some(Self { key })
    }

    pub(super) fn from_signing_key(key: SigningKey) -> Self {
        Self { key }
    }

    /// The key of an identity without a wallet, on development networks: H("aitbc/dev-payee/v1", seed ‖ counter), with the
    /// first counter (from 0) that gives a valid key.
    #[must_use]
    pub fn dev_payee(identity: &Identity) -> Self {
        for counter in 0..=u8::MAX {
            let mut input = Zeroizing::new([0; 33]);
            input[..32].copy_from_slice(&*identity.seed());
            input[32] = counter;
            let secret = Zeroizing::new(tagged("aitbc/dev-payee/v1", &*input));
            if let Some(key) = Self::from_bytes(&secret) {
                return key;
            }
        }
        unreachable!("a hash is a valid secret key with probability 1 − 2^−128")
    }

    /// The 32 bytes of the secret key, wiped from memory when dropped. Whoever has them has the money.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        let mut field = self.key.to_bytes();
        let bytes = Zeroizing::new(field.into());
        field.as_mut_slice().zeroize();
        bytes
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> WalletPublicKey {
        WalletPublicKey(*self.key.verifying_key())
    }

    /// The address that receives money for this key.
    #[must_use]
    pub fn address(&self) -> Address {
        self.public().address()
    }

    /// Signs a hash: r ‖ s, with the nonce of RFC 6979 (SHA-256) and s in the lower half of the group's order. The same
    /// hash always gives the same signature.
    #[must_use]
    pub fn sign(&self, hash: &Hash) -> [u8; SIGNATURE_BYTES] {
        let signature: Signature = self
            .key
            .sign_prehash(hash)
            .expect("a hash of 32 bytes can be signed");
        signature.to_bytes().into()
    }
}

impl fmt::Debug for WalletKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WalletKey({})", self.address())
    }
}

/// The public key of a wallet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct WalletPublicKey(VerifyingKey);

impl WalletPublicKey {
    /// From its compressed form; `None` for what is no point of the curve.
    #[must_use]
    pub fn from_bytes(compressed: &[u8; COMPRESSED_KEY_BYTES]) -> Option<Self> {
        // The library also reads the "compact" form (0x05 ‖ x), which others do not: a key has one form here.
        if !matches!(compressed[0], 2 | 3) {
            return None;
        }
        VerifyingKey::from_sec1_bytes(compressed).ok().map(Self)
    }

    /// Its compressed form: 2 or 3, then the x coordinate.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; COMPRESSED_KEY_BYTES] {
        let mut bytes = [0; COMPRESSED_KEY_BYTES];
        bytes.copy_from_slice(self.0.to_sec1_point(true).as_bytes());
        bytes
    }

    /// The address that receives money for this key.
    #[must_use]
    pub fn address(&self) -> Address {
        Address::of_public(&self.0.into())
    }

    /// Whether `signature` (64 bytes, r ‖ s) is this key's over `hash`. A high s is refused, so that nobody can make a
    /// second signature out of one.
    #[must_use]
    pub fn verify(&self, hash: &Hash, signature: &[u8]) -> bool {
        let Ok(signature) = Signature::from_slice(signature) else {
            return false;
        };
        signature.normalize_s() == signature && self.0.verify_prehash(hash, &signature).is_ok()
    }
}

impl fmt::Debug for WalletPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WalletPublicKey({})", hex::encode(self.to_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use k256::elliptic_curve::ops::Neg;
    use proptest::prelude::*;

    use super::*;
    use crate::hash::sha256;

    /// The first account of the well-known "test test … junk" seed phrase.
    fn known() -> WalletKey {
        let mut secret = [0; 32];
        hex::decode_to_slice(
            "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
            &mut secret,
        )
        .unwrap();
        WalletKey::from_bytes(&secret).unwrap()
    }

    #[test]
    fn known_key_gives_its_known_address() {
        assert_eq!(
            known().address().to_string(),
            "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
        );
    }

    #[test]
    fn what_is_no_key_is_refused() {
        assert!(WalletKey::from_bytes(&[0; 32]).is_none());
        assert!(WalletKey::from_bytes(&[0xff; 32]).is_none());
        assert!(WalletPublicKey::from_bytes(&[0; 33]).is_none());
        let mut bytes = known().public().to_bytes();
        bytes[0] = 4;
        assert!(WalletPublicKey::from_bytes(&bytes).is_none());
    }

    #[test]
    fn signatures_are_those_of_rfc_6979() {
        // The well-known vector for secp256k1 and SHA-256: key 1, "Satoshi Nakamoto".
        let mut one = [0; 32];
        one[31] = 1;
        let key = WalletKey::from_bytes(&one).unwrap();
        let signature = key.sign(&sha256(b"Satoshi Nakamoto"));
        assert_eq!(
            hex::encode(signature),
            "934b1ea10a4b3c1757e2b0c017d0b6143ce3c9a7e6a4a49860d7a6ab210ee3d8\
             2442ce9d2b916064108014783e923ec36b49743e2ffa1c4496f01a512aafd9e5"
        );
    }

    #[test]
    fn the_mirrored_signature_is_refused() {
        let (key, hash) = (known(), sha256(b"m"));
        let low = Signature::from_slice(&key.sign(&hash)).unwrap();
        let (r, s) = low.split_scalars();
        let high = Signature::from_scalars(*r, (*s).neg()).unwrap();
        assert!(key.public().verify(&hash, &low.to_bytes()));
        assert!(!key.public().verify(&hash, &high.to_bytes()));
    }

    #[test]
    fn debug_never_shows_the_secret() {
        let shown = format!("{:?} {:?}", known(), known().public());
        assert!(!shown.contains("ac0974be") && shown.contains("0xf39F"));
    }

    proptest! {
        #[test]
        fn only_the_right_key_hash_and_signature_verify(
            secret in any::<[u8; 32]>(), other in any::<[u8; 32]>(), hash in any::<[u8; 32]>(), at in 0..64usize, flip in 1..=255u8,
        ) {
            let (Some(key), Some(other)) = (WalletKey::from_bytes(&secret), WalletKey::from_bytes(&other)) else {
                return Ok(());
            };
            let signature = key.sign(&hash);
            prop_assert_eq!(signature, key.sign(&hash));
            let public = WalletPublicKey::from_bytes(&key.public().to_bytes()).unwrap();
            prop_assert_eq!(public.address(), key.address());
            prop_assert!(public.verify(&hash, &signature));
            prop_assert!(!public.verify(&sha256(&hash), &signature));
            prop_assert!(!public.verify(&hash, &signature[..63]));
            prop_assert!(secret == *other.to_bytes() || !other.public().verify(&hash, &signature));
            let mut changed = signature;
            changed[at] ^= flip;
            prop_assert!(!public.verify(&hash, &changed));
        }
    }
}
