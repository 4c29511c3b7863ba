//! Wallet addresses: the last 20 bytes of Keccak-256 of a secp256k1 public key, as in Ethereum.

use std::fmt;
use std::str::FromStr;

use k256::PublicKey;
use k256::elliptic_curve::sec1::ToSec1Point;
use sha3::{Digest, Keccak256};

use crate::identity::Identity;
use crate::wallet::WalletKey;

/// A wallet's address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Address(pub [u8; 20]);

/// Text that is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not `0x` and 40 hexadecimal digits.
    #[error("{0:?} is not an address: it takes 0x and 40 hexadecimal digits")]
    Malformed(String),
    /// Upper and lower case do not match the digits: a typing error.
    #[error("{0:?} is mistyped: its EIP-55 checksum does not match")]
    Checksum(String),
}

impl Address {
    /// The address of a secp256k1 public key.
    pub(crate) fn of_public(key: &PublicKey) -> Self {
        let point = key.to_sec1_point(false);
        let hash = Keccak256::digest(&point.as_bytes()[1..]);
        let mut address = [0; 20];
        address.copy_from_slice(&hash[12..]);
        Self(address)
    }

    /// The payee of an identity without a wallet, on development networks: the address of the secret key
    /// H("aitbc/dev-payee/v1", seed ‖ counter), with the first counter (from 0) that gives a valid key.
    #[must_use]
    pub fn dev_payee(identity: &Identity) -> Self {
        WalletKey::dev_payee(identity).address()
    }
}

impl fmt::Display for Address {
    /// With the mixed-case checksum of EIP-55.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = hex::encode(self.0);
        let hash = Keccak256::digest(digits.as_bytes());
        f.write_str("0x")?;
        for (i, digit) in digits.chars().enumerate() {
            let nibble = hash[i / 2] >> (4 * (1 - i % 2)) & 0x0f;
            let digit = if nibble >= 8 {
                digit.to_ascii_uppercase()
            } else {
                digit
            };
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    /// Reads `0x` and 40 digits; where they mix upper and lower case, the checksum must match.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let given = || text.chars().take(64).collect::<String>();
        let digits = text
            .strip_prefix("0x")
            .ok_or_else(|| AddressError::Malformed(given()))?;
        let mut bytes = [0; 20];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| AddressError::Malformed(given()))?;
        let address = Self(bytes);
        let mixed = digits.contains(|c: char| c.is_ascii_uppercase())
            && digits.contains(|c: char| c.is_ascii_lowercase());
        if mixed && address.to_string() != text {
            return Err(AddressError::Checksum(given()));
        }
        Ok(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_catches_a_typing_error() {
        let good = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
        assert_eq!(good.parse::<Address>().unwrap().to_string(), good);
        assert!(good.to_lowercase().parse::<Address>().is_ok());
        assert!(matches!(
            good.replace('F', "f")
                .replacen("f3", "F3", 1)
                .parse::<Address>(),
            Err(AddressError::Checksum(_))
        ));
        assert!(matches!(
            "0x12".parse::<Address>(),
            Err(AddressError::Malformed(_))
        ));
    }

    #[test]
    fn dev_payee_is_fixed_by_the_identity() {
        let one = Identity::from_seed(&[1; 32]);
        assert_eq!(Address::dev_payee(&one), Address::dev_payee(&one.clone()));
        assert_ne!(
            Address::dev_payee(&one),
            Address::dev_payee(&Identity::from_seed(&[2; 32]))
        );
    }
}
