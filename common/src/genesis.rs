//! The genesis file: what makes one network differ from every other.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::hash::{Hash, tagged};
use crate::ledger::position::ChainRules;
use crate::money::MICRO_PER_AIT;

/// The genesis file of a network. Its bytes are JSON with sorted keys and no spaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    // Declared in the order of the keys, which is the order they are written in.
    /// Who owns what from the beginning: micro-AIT by address.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        with = "allocations"
    )]
    pub allocations: BTreeMap<Address, u64>,
    /// Wallets that pay for audits of work: at most [`MAX_AUDITORS`], ascending. Without them there are no audits.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "auditors")]
    pub auditors: Vec<Address>,
    /// What the faucet of a development network gives. Without it: 1,000 AIT an address, 1,000,000,000 AIT in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub faucet: Option<Faucet>,
    /// The market's fee in hundredths of a percent.
    pub fee_bps: u16,
    /// Public key that signs the log, 64 hexadecimal digits.
    #[serde(with = "hex_key")]
    pub log_key: Hash,
    /// The chain that this one takes over from, where a backup was restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<PreviousChain>,
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

/// Bounds of a development network's faucet, in micro-AIT.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Faucet {
    /// For one address.
    pub per_address: u64,
    /// In all.
    pub total: u64,
}

/// The end of an older chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreviousChain {
    /// Its id, 64 hexadecimal digits.
    #[serde(with = "hex_key")]
    pub chain_id: Hash,
    /// Root of its last checkpoint, 64 hexadecimal digits.
    #[serde(with = "hex_key")]
    pub root: Hash,
    /// Size of its last checkpoint.
    pub size: u64,
}

/// Auditors that a genesis file names, at most.
pub const MAX_AUDITORS: usize = 16;

/// The profile of a development network.
pub const DEV: &str = "dev";
/// The profile of a network on which jobs are paid.
pub const STANDARD: &str = "standard";
/// The profiles there are.
pub const PROFILES: [&str; 2] = [DEV, STANDARD];

/// All the money there may be is below this: 2^63 micro-AIT.
pub const SUPPLY_BOUND: u64 = 1 << 63;

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

    /// Bounds of the faucet; `None` where there is none.
    #[must_use]
    pub fn faucet(&self) -> Option<Faucet> {
        let default = Faucet {
            per_address: 1_000 * MICRO_PER_AIT,
            total: 1_000_000_000 * MICRO_PER_AIT,
        };
        (self.profile == DEV).then(|| self.faucet.clone().unwrap_or(default))
    }

    /// What it settles for the ledger, given its bytes; `None` where it gives out 2^63 micro-AIT or more, or asks for a fee
    /// of more than everything.
    #[must_use]
    pub fn rules(&self, file: &[u8]) -> Option<ChainRules> {
        let allocated = self
            .allocations
            .values()
            .try_fold(0_u64, |sum, amount| sum.checked_add(*amount))?;
        let faucet_total = self.faucet().map_or(0, |faucet| faucet.total);
        let all = allocated.checked_add(faucet_total)?;
        (all < SUPPLY_BOUND && self.fee_bps <= 10_000).then(|| ChainRules {
            chain_id: chain_id(file),
            fee_bps: self.fee_bps,
            faucet_total,
            allocated,
            auditors: self.auditors.clone().into(),
        })
    }
}

/// The chain id: H("aitbc/genesis/v1", the genesis file, byte for byte).
#[must_use]
pub fn chain_id(genesis_file: &[u8]) -> Hash {
    tagged("aitbc/genesis/v1", genesis_file)
}

mod auditors {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::MAX_AUDITORS;
    use crate::address::Address;

    pub fn serialize<S: Serializer>(all: &[Address], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(all.iter().map(|of| format!("0x{}", hex::encode(of.0))))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Address>, D::Error> {
        let texts = Vec::<String>::deserialize(from)?;
        let read = |text: &String| text.parse().map_err(D::Error::custom);
        let all: Vec<Address> = texts.iter().map(read).collect::<Result<_, _>>()?;
        if all.len() <= MAX_AUDITORS && all.is_sorted_by(|before, after| before < after) {
            return Ok(all);
        }
        Err(D::Error::custom(
            "the auditors are at most 16, in ascending order, none twice",
        ))
    }
}

mod allocations {
    use std::collections::BTreeMap;
    use std::fmt;

    use serde::de::{Error, MapAccess, Visitor};
    use serde::{Deserializer, Serializer};

    use crate::address::Address;

    pub fn serialize<S: Serializer>(
        all: &BTreeMap<Address, u64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(
            all.iter()
                .map(|(account, amount)| (format!("0x{}", hex::encode(account.0)), amount)),
        )
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<Address, u64>, D::Error> {
        deserializer.deserialize_map(Allocations)
    }

    struct Allocations;

    impl<'de> Visitor<'de> for Allocations {
        type Value = BTreeMap<Address, u64>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("amounts by address")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
            let mut all = BTreeMap::new();
            while let Some((text, amount)) = entries.next_entry::<String, u64>()? {
                let account = text.parse().map_err(A::Error::custom)?;
                // Readers differ in which of two entries they keep.
                if all.insert(account, amount).is_some() {
                    return Err(A::Error::custom(format!("{text} is given something twice")));
                }
            }
            Ok(all)
        }
    }
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
            allocations: BTreeMap::from([(Address([9; 20]), 5)]),
            auditors: vec![Address([1; 20]), Address([2; 20])],
            faucet: Some(Faucet {
                per_address: 1,
                total: 2,
            }),
            previous: None,
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
        let (low, high) = ("01".repeat(20), "02".repeat(20));
        let text = String::from_utf8(bytes).unwrap();
        let ascending = format!(r#""0x{low}","0x{high}""#);
        assert!(text.contains(&ascending), "{text}");
        for bad in [
            format!(r#""0x{high}","0x{low}""#),
            format!(r#""0x{low}","0x{low}""#),
            format!(r#""0x{low}",null"#),
        ] {
            assert!(Genesis::parse(text.replace(&ascending, &bad).as_bytes()).is_err());
        }
    }
}
