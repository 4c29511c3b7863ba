//! The genesis file: what makes one network differ from every other.

use serde::{Deserialize, Serialize};

use crate::hash::{Hash, tagged};

/// The genesis file of a network. Its bytes are JSON with sorted keys and no spaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    // Declared in the order of the keys, which is the order they are written in.
    /// The market's fee in hundredths of a percent.
    pub fee_bps: u16,
    /// Public key that signs the log, 64 hexadecimal digits.
    #[serde(with = "hex_key")]
    pub log_key: Hash,
    /// `dev` or `standard`.
    pub profile: String,
    /// 32 random bytes, 64 hexadecimal digits: they make the chain unique.
    #[serde(with = "hex_key")]
    pub random: Hash,
    /// Public key that signs assignments, 64 hexadecimal digits.
    #[serde(with = "hex_key")]
    pub service_key: Hash,
    /// Version of this format: 1.
    pub version: u8,
}

/// A genesis file that does not parse.
#[derive(Debug, thiserror::Error)]
#[error("not a genesis file: {0}")]
pub struct GenesisError(#[from] serde_json::Error);

impl Genesis {
    /// The file's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a genesis has only strings and numbers")
    }

    /// Reads a file's bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, GenesisError> {
        Ok(serde_json::from_slice(bytes)?)
    }
}

/// The chain id: H("aitbc/genesis/v1", the genesis file, byte for byte).
#[must_use]
pub fn chain_id(genesis_file: &[u8]) -> Hash {
    tagged("aitbc/genesis/v1", genesis_file)
}

mod hex_key {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(key: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(key))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut key = [0; 32];
        hex::decode_to_slice(&text, &mut key).map_err(D::Error::custom)?;
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_sorted_without_spaces_and_read_back() {
        let genesis = Genesis {
            fee_bps: 250,
            log_key: [1; 32],
            profile: "dev".into(),
            random: [2; 32],
            service_key: [3; 32],
            version: 1,
        };
        let bytes = genesis.to_bytes();
        let sorted: std::collections::BTreeMap<String, serde_json::Value> =
            serde_json::from_slice(&bytes).unwrap();
        assert_eq!(serde_json::to_vec(&sorted).unwrap(), bytes);
        assert_eq!(Genesis::parse(&bytes).unwrap(), genesis);
    }
}
