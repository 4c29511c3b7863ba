//! The file that keeps a wallet's key under a password: Web3 Secret Storage, version 3.

use std::fmt;

use aes::Aes128;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha3::{Digest, Keccak256};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::kdf::{DERIVED_BYTES, Kdf, ScryptCost};
use super::key::WalletKey;
use crate::address::Address;

/// Longer files are not read; usual ones have 500 bytes.
const MAX_BYTES: usize = 64 * 1_024;
/// Longer salts are not read; usual ones have 16 or 32 bytes.
const MAX_SALT_BYTES: usize = 1_024;

/// A wallet's key under a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Keystore {
    address: Option<Address>,
    id: Option<String>,
    kdf: Kdf,
    iv: [u8; 16],
    ciphertext: [u8; 32],
    mac: [u8; 32],
}

/// Random values for a new file. Each file needs its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fresh {
    /// For the derivation of the key.
    pub salt: [u8; 32],
    /// For the cipher.
    pub iv: [u8; 16],
    /// The file's id; its version bits are set here.
    pub id: [u8; 16],
}

/// Why a file or a password is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeystoreError {
    /// Not JSON, or a field is missing or malformed.
    #[error("it is no keystore file: {0}")]
    Malformed(String),
    /// A version, cipher or derivation that is not known here.
    #[error("its {field} is {found:?}; {known} is known here")]
    Unsupported {
        /// The field.
        field: &'static str,
        /// What it says.
        found: String,
        /// What it should say.
        known: &'static str,
    },
    /// Its password derivation asks for more than 512 MiB, or for more than four times the usual time.
    #[error("its password derivation asks for too much memory or time")]
    TooCostly,
    /// Another password, or a damaged file: the two cannot be told apart.
    #[error("the password is wrong, or the file is damaged")]
    WrongPassword,
    /// The password fits, and what it protects is no secp256k1 key.
    #[error("what it holds is no key")]
    NoKey,
    /// The file names another address than that of its key.
    #[error("it says that it is {said}, and its key is that of {is}")]
    OtherAddress {
        /// The address in the file.
        said: Address,
        /// The key's.
        is: Address,
    },
}

#[derive(Serialize, Deserialize)]
struct File {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(alias = "Crypto")]
    crypto: Crypto,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    version: u64,
}

#[derive(Serialize, Deserialize)]
struct Crypto {
    cipher: String,
    cipherparams: CipherParams,
    ciphertext: String,
    kdf: String,
    kdfparams: Value,
    mac: String,
}

#[derive(Serialize, Deserialize)]
struct CipherParams {
    iv: String,
}

#[derive(Deserialize)]
struct ScryptParams {
    dklen: usize,
    n: u64,
    r: u32,
    p: u32,
    salt: String,
}

#[derive(Deserialize)]
struct Pbkdf2Params {
    dklen: usize,
    c: u32,
    prf: String,
    salt: String,
}

impl Keystore {
    /// Puts a key under a password.
    ///
    /// # Panics
    ///
    /// If the cost is beyond what [`Keystore::parse`] accepts.
    #[must_use]
    pub fn encrypt(key: &WalletKey, password: &str, cost: ScryptCost, fresh: &Fresh) -> Self {
        assert!(cost.is_bearable(), "{cost:?} could not be read back");
        let kdf = Kdf::Scrypt {
            cost,
            salt: fresh.salt.to_vec(),
        };
        let derived = kdf.derive(password.as_bytes());
        let mut ciphertext = *key.to_bytes();
        apply_cipher(&derived, &fresh.iv, &mut ciphertext);
        let id = uuid::Builder::from_random_bytes(fresh.id).into_uuid();
        Self {
            address: Some(key.address()),
            id: Some(id.to_string()),
            mac: checksum(&derived, &ciphertext),
            kdf,
            iv: fresh.iv,
            ciphertext,
        }
    }

    /// Reads a file, of this program or of another one. Unknown fields are ignored.
    pub fn parse(bytes: &[u8]) -> Result<Self, KeystoreError> {
        if bytes.len() > MAX_BYTES {
            return Err(malformed("it is longer than 64 KiB"));
        }
        let file: File = serde_json::from_slice(bytes).map_err(malformed)?;
        let crypto = file.crypto;
        expect_known("version", &file.version.to_string(), "3")?;
        expect_known("cipher", &crypto.cipher, "aes-128-ctr")?;
        let kdf = read_kdf(&crypto.kdf, crypto.kdfparams)?;
        if !kdf.is_bearable() {
            return Err(KeystoreError::TooCostly);
        }
        let address = match file.address.as_deref() {
            Some(text) if !text.is_empty() => Some(read_address(text)?),
            _ => None,
        };
        Ok(Self {
            address,
            id: file.id.filter(|id| Uuid::try_parse(id).is_ok()),
            kdf,
            iv: read_iv(&crypto.cipherparams.iv)?,
            ciphertext: read_hex("ciphertext", &crypto.ciphertext)?,
            mac: read_hex("mac", &crypto.mac)?,
        })
    }

    /// The file's bytes: JSON on one line, with a line end.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let (kdf, kdfparams) = match &self.kdf {
            Kdf::Scrypt { cost, salt } => (
                "scrypt",
                json!({"dklen": DERIVED_BYTES, "n": 1_u64 << cost.log_n, "p": cost.p, "r": cost.r, "salt": hex::encode(salt)}),
            ),
            Kdf::Pbkdf2 { iterations, salt } => (
                "pbkdf2",
                json!({"c": iterations, "dklen": DERIVED_BYTES, "prf": "hmac-sha256", "salt": hex::encode(salt)}),
            ),
        };
        let file = File {
            address: self.address.map(|address| hex::encode(address.0)),
            crypto: Crypto {
                cipher: "aes-128-ctr".to_owned(),
                cipherparams: CipherParams {
                    iv: hex::encode(self.iv),
                },
                ciphertext: hex::encode(self.ciphertext),
                kdf: kdf.to_owned(),
                kdfparams,
                mac: hex::encode(self.mac),
            },
            id: self.id.clone(),
            version: 3,
        };
        let mut bytes = serde_json::to_vec(&file).expect("texts and numbers are JSON");
        bytes.push(b'\n');
        bytes
    }

    /// The address that the file names; only [`Keystore::decrypt`] proves it.
    #[must_use]
    pub fn address(&self) -> Option<Address> {
        self.address
    }

    /// The key, for the right password. It is checked against the address that the file names.
    pub fn decrypt(&self, password: &str) -> Result<WalletKey, KeystoreError> {
        let derived = self.kdf.derive(password.as_bytes());
        if checksum(&derived, &self.ciphertext) != self.mac {
            return Err(KeystoreError::WrongPassword);
        }
        let mut secret = Zeroizing::new(self.ciphertext);
        apply_cipher(&derived, &self.iv, &mut secret);
        let key = WalletKey::from_bytes(&secret).ok_or(KeystoreError::NoKey)?;
        match self.address {
            Some(said) if said != key.address() => Err(KeystoreError::OtherAddress {
                said,
                is: key.address(),
            }),
            _ => Ok(key),
        }
    }
}

impl fmt::Debug for Keystore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keystore")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

fn apply_cipher(derived: &[u8; DERIVED_BYTES], iv: &[u8; 16], bytes: &mut [u8; 32]) {
    Ctr128BE::<Aes128>::new_from_slices(&derived[..16], iv)
        .expect("16 bytes each")
        .apply_keystream(bytes);
}

fn checksum(derived: &[u8; DERIVED_BYTES], ciphertext: &[u8; 32]) -> [u8; 32] {
    Keccak256::new()
        .chain_update(&derived[16..])
        .chain_update(ciphertext)
        .finalize()
        .into()
}

fn read_kdf(name: &str, params: Value) -> Result<Kdf, KeystoreError> {
    let (kdf, dklen) = match name {
        "scrypt" => {
            let params: ScryptParams = serde_json::from_value(params).map_err(malformed)?;
            if !params.n.is_power_of_two() {
                return Err(malformed("n is no power of two"));
            }
            let cost = ScryptCost {
                log_n: u8::try_from(params.n.ilog2()).expect("a u64 has 64 bits"),
                r: params.r,
                p: params.p,
            };
            let salt = read_salt(&params.salt)?;
            (Kdf::Scrypt { cost, salt }, params.dklen)
        }
        "pbkdf2" => {
            let params: Pbkdf2Params = serde_json::from_value(params).map_err(malformed)?;
            expect_known("prf", &params.prf, "hmac-sha256")?;
            let kdf = Kdf::Pbkdf2 {
                iterations: params.c,
                salt: read_salt(&params.salt)?,
            };
            (kdf, params.dklen)
        }
        other => {
            expect_known("kdf", other, "scrypt or pbkdf2")?;
            return Err(malformed("kdf"));
        }
    };
    // Both derivations begin alike whatever the length, and only 32 bytes are used.
    if dklen < DERIVED_BYTES {
        return Err(malformed("dklen is below 32"));
    }
    Ok(kdf)
}

fn expect_known(
    field: &'static str,
    found: &str,
    known: &'static str,
) -> Result<(), KeystoreError> {
    if found == known {
        return Ok(());
    }
    Err(KeystoreError::Unsupported {
        field,
        found: found.chars().take(40).collect(),
        known,
    })
}

fn read_hex<const N: usize>(field: &str, text: &str) -> Result<[u8; N], KeystoreError> {
    let mut bytes = [0; N];
    hex::decode_to_slice(without_prefix(text), &mut bytes)
        .map_err(|_| malformed(format_args!("{field} takes {} hexadecimal digits", 2 * N)))?;
    Ok(bytes)
}

/// Some programs leave out zeros at the beginning.
fn read_iv(text: &str) -> Result<[u8; 16], KeystoreError> {
    let digits = without_prefix(text);
    if digits.len() > 32 {
        return Err(malformed("iv takes at most 32 hexadecimal digits"));
    }
    read_hex("iv", &format!("{digits:0>32}"))
}

fn read_salt(text: &str) -> Result<Vec<u8>, KeystoreError> {
    let digits = without_prefix(text);
    if digits.len() > 2 * MAX_SALT_BYTES {
        return Err(malformed("the salt is longer than 1 KiB"));
    }
    hex::decode(digits).map_err(|_| malformed("the salt takes hexadecimal digits"))
}

fn read_address(text: &str) -> Result<Address, KeystoreError> {
    let digits = without_prefix(text).to_ascii_lowercase();
    format!("0x{digits}").parse().map_err(malformed)
}

fn without_prefix(text: &str) -> &str {
    text.strip_prefix("0x").unwrap_or(text)
}

fn malformed(what: impl fmt::Display) -> KeystoreError {
    KeystoreError::Malformed(what.to_string())
}

#[cfg(test)]
mod tests;
