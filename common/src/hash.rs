//! SHA-256, plain and domain-separated.

use sha2::{Digest, Sha256};

/// 32 bytes: a SHA-256 hash, a chain id, a public key.
pub type Hash = [u8; 32];

/// SHA-256 of `bytes`.
#[must_use]
pub fn sha256(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

/// `SHA-256(SHA-256(tag) ‖ SHA-256(tag) ‖ bytes)`: one use of a hash can never be taken for another.
#[must_use]
pub fn tagged(tag: &str, bytes: &[u8]) -> Hash {
    let tag = sha256(tag.as_bytes());
    Sha256::new()
        .chain_update(tag)
        .chain_update(tag)
        .chain_update(bytes)
        .finalize()
        .into()
}

/// `sha256:` and 64 hexadecimal digits.
#[must_use]
pub fn hash_text(hash: &Hash) -> String {
    format!("sha256:{}", hex::encode(hash))
}

/// Reads 64 hexadecimal digits, with or without `sha256:` before them.
#[must_use]
pub fn parse_hash_text(text: &str) -> Option<Hash> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    let mut hash = Hash::default();
    hex::decode_to_slice(digits, &mut hash).ok()?;
    Some(hash)
}

/// The hash and length of a byte stream so far, whatever its chunking.
#[derive(Clone, Default, Debug)]
pub struct Sha256Stream {
    state: Sha256,
    len: u64,
}

impl Sha256Stream {
    /// Takes more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
        self.len += bytes.len() as u64;
    }

    /// SHA-256 of all bytes so far; more may follow.
    #[must_use]
    pub fn digest(&self) -> Hash {
        self.state.clone().finalize().into()
    }

    /// Bytes so far.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether no byte came yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunking_does_not_matter() {
        let mut stream = Sha256Stream::default();
        stream.update(b"ab");
        stream.update(b"");
        stream.update(b"c");
        assert_eq!(stream.digest(), sha256(b"abc"));
        assert_eq!(stream.len(), 3);
    }

    #[test]
    fn hash_text_reads_back() {
        let hash = sha256(b"abc");
        assert_eq!(parse_hash_text(&hash_text(&hash)), Some(hash));
        assert_eq!(parse_hash_text(&hex::encode(hash)), Some(hash));
        assert_eq!(parse_hash_text("sha256:00"), None);
    }
}
