//! Ids of jobs, miners, listings, rentals and agents: TypeIDs (`job_…`, `miner_…`), a prefix and a UUIDv7 in Crockford
//! base 32.
//!
//! Their text sorts by creation time. Bits 52–57 of the UUID (the top of `rand_a`) are the data partition (shard) of
//! the owner: the first 6 bits of SHA-256 of the owner's public key.

use std::fmt;
use std::str::FromStr;

use type_safe_id::DynamicType;
use uuid::Uuid;

use crate::hash::sha256;
use crate::identity::PublicKey;

/// Number of data partitions.
pub const SHARDS: u8 = 64;

/// The data partition of an owner: the first 6 bits of SHA-256 of its public key.
#[must_use]
pub fn shard_of(owner: &PublicKey) -> u8 {
    sha256(&owner.0)[0] >> 2
}

/// An id that does not parse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {} {kind} id", article(kind))]
pub struct IdError {
    /// The prefix, such as "job".
    pub kind: &'static str,
    /// What was given, at most 64 characters of it.
    pub text: String,
}

impl IdError {
    /// What to give instead.
    #[must_use]
    pub fn hint(&self) -> String {
        format!(
            "{} {} id is \"{}_\" followed by 26 characters, for example {}",
            article(self.kind),
            self.kind,
            self.kind,
            encode(self.kind, &[1; 16])
        )
    }
}

fn article(kind: &str) -> &'static str {
    if kind.starts_with('a') { "an" } else { "a" }
}

fn encode(prefix: &'static str, bytes: &[u8; 16]) -> String {
    let kind = DynamicType::new(prefix).expect("the prefix is a valid TypeID prefix");
    type_safe_id::TypeSafeId::from_type_and_uuid(kind, Uuid::from_bytes(*bytes)).to_string()
}

fn decode(prefix: &'static str, text: &str) -> Result<[u8; 16], IdError> {
    let error = || IdError {
        kind: prefix,
        text: text.chars().take(64).collect(),
    };
    if text.len() != prefix.len() + 27 {
        return Err(error());
    }
    let id = type_safe_id::TypeSafeId::<DynamicType>::from_str(text).map_err(|_| error())?;
    if id.type_prefix() != prefix {
        return Err(error());
    }
    Ok(*id.uuid().as_bytes())
}

/// The 16 bytes of a UUIDv7 with the shard in bits 52–57: created at `now_ms` (Unix time), the rest from `random`.
fn new_bytes(now_ms: u64, shard: u8, random: [u8; 10]) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&now_ms.to_be_bytes()[2..]);
    bytes[6..].copy_from_slice(&random);
    bytes[6] = 0x70 | (shard & 0x3f) >> 2;
    bytes[7] = (shard & 0x03) << 6 | (random[1] & 0x3f);
    bytes[8] = 0x80 | (random[2] & 0x3f);
    bytes
}

macro_rules! id {
    ($name:ident, $prefix:literal, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// A new id, created at `now_ms` (Unix time in milliseconds); `random` makes it unique.
            #[must_use]
            pub fn new(now_ms: u64, shard: u8, random: [u8; 10]) -> Self {
                Self(new_bytes(now_ms, shard, random))
            }

            /// The 16 bytes of its UUID.
            #[must_use]
            pub fn bytes(&self) -> &[u8; 16] {
                &self.0
            }

            /// From the 16 bytes of its UUID.
            #[must_use]
            pub fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// When it was created: Unix time in milliseconds.
            #[must_use]
            pub fn created_ms(&self) -> u64 {
                let mut ms = [0; 8];
                ms[2..].copy_from_slice(&self.0[..6]);
                u64::from_be_bytes(ms)
            }

            /// The data partition it belongs to, 0 to 63.
            #[must_use]
            pub fn shard(&self) -> u8 {
                (self.0[6] & 0x0f) << 2 | self.0[7] >> 6
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&encode($prefix, &self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                decode($prefix, text).map(Self)
            }
        }
    };
}

id!(JobId, "job", "The id of a job.");
id!(MinerId, "miner", "The id of a registered miner.");
id!(ListingId, "listing", "The id of a listed GPU.");
id!(RentalId, "rental", "The id of a rental.");
id!(AgentId, "agent", "The id of an agent.");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_reads_back_and_sorts_by_time() {
        let early = JobId::new(1_000, 63, [0xff; 10]);
        let late = JobId::new(1_001, 0, [0; 10]);
        assert!(early.to_string() < late.to_string());
        assert_eq!(early.to_string().parse(), Ok(early));
        assert_eq!(early.created_ms(), 1_000);
    }

    #[test]
    fn every_shard_reads_back() {
        for shard in 0..SHARDS {
            let id = MinerId::new(7, shard, [0xa5; 10]);
            assert_eq!(id.shard(), shard);
            assert_eq!(Uuid::from_bytes(id.0).get_version_num(), 7);
        }
    }

    #[test]
    fn other_text_is_refused_with_a_hint() {
        let job = JobId::new(1, 2, [3; 10]).to_string();
        for bad in [
            "",
            "last",
            "job_",
            &job.replace("job", "miner"),
            &job.to_uppercase(),
            &format!("{job}0"),
            "job_zzzzzzzzzzzzzzzzzzzzzzzzzz",
        ] {
            let error = bad.parse::<JobId>().unwrap_err();
            assert!(error.hint().contains("job_"), "{bad}");
        }
    }
}
