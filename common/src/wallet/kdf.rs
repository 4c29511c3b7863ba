//! From a password to a key: scrypt and PBKDF2, within bounds that a hostile file cannot push.

use k256::sha2::Sha256;
use pbkdf2::pbkdf2_hmac;
use zeroize::Zeroizing;

/// Memory that a file may ask for: 512 MiB, twice what this program's own files need.
const MAX_SCRYPT_MEMORY: u64 = 512 << 20;
/// Work that a file may ask for, n · r · p: four times that of this program's own files.
const MAX_SCRYPT_WORK: u64 = 1 << 23;
/// Iterations that a file may ask for: ten times what is usual.
const MAX_PBKDF2_ITERATIONS: u32 = 10_000_000;
/// Bytes of a derived key: 16 for the cipher, 16 for the checksum.
pub(super) const DERIVED_BYTES: usize = 32;

/// What it costs to try one password with scrypt: 128 · n · r bytes of memory and n · r · p steps, n being 2^`log_n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScryptCost {
    /// The base-2 logarithm of n.
    pub log_n: u8,
    /// Size of a block, in 128 bytes.
    pub r: u32,
    /// Passes, one after the other.
    pub p: u32,
}

impl ScryptCost {
    /// Of the files that this program writes: n = 2^18, r = 8, p = 1, which takes 256 MiB and about a second.
    pub const STANDARD: Self = Self {
        log_n: 18,
        r: 8,
        p: 1,
    };

    /// Whether this machine should be asked to do that: at least n = 2, at most 512 MiB and 2^23 steps.
    pub(super) fn is_bearable(self) -> bool {
        let (n, r, p) = (
            1_u64.checked_shl(u32::from(self.log_n)).unwrap_or(0),
            u64::from(self.r),
            u64::from(self.p),
        );
        let memory = n.checked_mul(r).and_then(|blocks| blocks.checked_mul(128));
        let work = n.checked_mul(r).and_then(|steps| steps.checked_mul(p));
        n > 1
            && r > 0
            && p > 0
            && memory.is_some_and(|bytes| bytes <= MAX_SCRYPT_MEMORY)
            && work.is_some_and(|steps| steps <= MAX_SCRYPT_WORK)
    }
}

/// How a file's key is made from its password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kdf {
    /// scrypt.
    Scrypt { cost: ScryptCost, salt: Vec<u8> },
    /// PBKDF2 with HMAC-SHA-256.
    Pbkdf2 { iterations: u32, salt: Vec<u8> },
}

impl Kdf {
    /// Whether this machine should be asked to do that.
    pub fn is_bearable(&self) -> bool {
        match self {
            Self::Scrypt { cost, .. } => cost.is_bearable(),
            Self::Pbkdf2 { iterations, .. } => (1..=MAX_PBKDF2_ITERATIONS).contains(iterations),
        }
    }

    /// The key, for a bearable cost; panics for others.
    pub fn derive(&self, password: &[u8]) -> Zeroizing<[u8; DERIVED_BYTES]> {
        let mut key = Zeroizing::new([0; DERIVED_BYTES]);
        match self {
            Self::Scrypt { cost, salt } => {
                let params = scrypt::Params::new(cost.log_n, cost.r, cost.p)
                    .expect("what is bearable is possible");
                scrypt::scrypt(password, salt, &params, &mut *key).expect("32 bytes can be made");
            }
            Self::Pbkdf2 { iterations, salt } => {
                pbkdf2_hmac::<Sha256>(password, salt, *iterations, &mut *key);
            }
        }
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vector_of_rfc_7914() {
        let cost = ScryptCost {
            log_n: 10,
            r: 8,
            p: 16,
        };
        let kdf = Kdf::Scrypt {
            cost,
            salt: b"NaCl".to_vec(),
        };
        assert_eq!(
            hex::encode(*kdf.derive(b"password")),
            "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162"
        );
    }

    #[test]
    fn files_cannot_ask_for_too_much() {
        let cost = |log_n, r, p| ScryptCost { log_n, r, p };
        for good in [
            ScryptCost::STANDARD,
            cost(18, 1, 8),
            cost(12, 8, 6),
            cost(1, 1, 1),
            cost(19, 8, 1),
        ] {
            assert!(good.is_bearable(), "{good:?}");
        }
        for bad in [
            cost(0, 8, 1),
            cost(18, 0, 1),
            cost(18, 8, 0),
            cost(20, 8, 1),
            cost(18, 8, 5),
            cost(63, u32::MAX, u32::MAX),
            cost(255, 1, 1),
            cost(1, 1, u32::MAX),
        ] {
            assert!(!bad.is_bearable(), "{bad:?}");
        }
        for (iterations, bearable) in [(0, false), (1, true), (1_000_000, true), (u32::MAX, false)]
        {
            let kdf = Kdf::Pbkdf2 {
                iterations,
                salt: vec![],
            };
            assert_eq!(kdf.is_bearable(), bearable, "{iterations}");
        }
    }
}
