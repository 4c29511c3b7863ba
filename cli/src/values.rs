//! Values on the command line: durations, ids, prices.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use aitbc_common::address::{Address, AddressError};
use aitbc_common::genesis::SUPPLY_BOUND;
use aitbc_common::hash::Hash;
use aitbc_common::identity::PublicKey;
use aitbc_common::ids::{AgentId, IdError, JobId, ListingId, MinerId, RentalId};
use aitbc_common::limits::{MAX_POLL_LEASE_MS, MAX_VRAM_GIB, MIN_POLL_LEASE_MS};
use aitbc_common::money::{MAX_PRICE_PER_HOUR, MICRO_PER_AIT, MicroAit};
use aitbc_common::runtime::errors::CommandError;
use jiff::SignedDuration;

/// A job on the command line: its id, or `last` for the newest of this identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobSelector {
    /// The newest; the coordinator knows which.
    Last,
    /// This one.
    Id(JobId),
}

impl FromStr for JobSelector {
    type Err = CommandError;

    fn from_str(text: &str) -> Result<Self, CommandError> {
        if text == "last" {
            return Ok(Self::Last);
        }
        text.parse().map(Self::Id).map_err(|error| {
            let hint = format!("{}; \"last\" is your newest job", IdError::hint(&error));
            CommandError::usage(error.to_string()).with_hint(hint)
        })
    }
}

impl fmt::Display for JobSelector {
    /// As requests name it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Last => f.write_str("last"),
            Self::Id(id) => id.fmt(f),
        }
    }
}

/// An agent on the command line: its id, or `last` for the newest of this identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentSelector {
    /// The newest.
    Last,
    /// This one.
    Id(AgentId),
}

impl FromStr for AgentSelector {
    type Err = CommandError;

    fn from_str(text: &str) -> Result<Self, CommandError> {
        if text == "last" {
            return Ok(Self::Last);
        }
        text.parse().map(Self::Id).map_err(|error| {
            let hint = format!("{}; \"last\" is your newest agent", IdError::hint(&error));
            CommandError::usage(error.to_string()).with_hint(hint)
        })
    }
}

impl fmt::Display for AgentSelector {
    /// As requests name it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Last => f.write_str("last"),
            Self::Id(id) => id.fmt(f),
        }
    }
}

/// Reads a miner's id.
pub fn miner_id(text: &str) -> Result<MinerId, CommandError> {
    text.parse()
        .map_err(|error: IdError| CommandError::usage(error.to_string()).with_hint(error.hint()))
}

/// A listing on the command line: its id, or `last` for the newest of this identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListingSelector {
    /// The newest.
    Last,
    /// This one.
    Id(ListingId),
}

impl FromStr for ListingSelector {
    type Err = CommandError;

    fn from_str(text: &str) -> Result<Self, CommandError> {
        if text == "last" {
            return Ok(Self::Last);
        }
        text.parse().map(Self::Id).map_err(|error| {
            let hint = format!("{}; \"last\" is your newest listing", IdError::hint(&error));
            CommandError::usage(error.to_string()).with_hint(hint)
        })
    }
}

/// Reads a size of video memory: 1 to 4096 GiB, as `24`, `24GB` or `24 GiB`.
pub fn vram_gib(text: &str) -> Result<u32, CommandError> {
    let lower = text.to_ascii_lowercase();
    let digits = lower
        .strip_suffix("gib")
        .or_else(|| lower.strip_suffix("gb"));
    let digits = digits.unwrap_or(&lower).trim();
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let gib = digits.parse::<u32>().ok().filter(|_| plain);
    gib.filter(|gib| (1..=MAX_VRAM_GIB).contains(gib))
        .ok_or_else(|| {
            let shown: String = text.chars().take(40).collect();
            CommandError::usage(format!("{shown:?} is no size of video memory")).with_hint(format!(
                "give whole GiB, 1 to {MAX_VRAM_GIB}, for example 24"
            ))
        })
}

/// Reads a reputation, 0 to 1 with at most 6 decimals, as millionths.
pub fn reputation(text: &str) -> Result<u32, CommandError> {
    let one = MicroAit(MICRO_PER_AIT);
    let read = MicroAit::parse(text, one)
        .ok()
        .and_then(|parsed| u32::try_from(parsed.0).ok());
    read.ok_or_else(|| {
        let shown: String = text.chars().take(40).collect();
        CommandError::usage(format!("{shown:?} is no reputation"))
            .with_hint("give a number from 0 to 1 with at most 6 decimals, for example 0.9")
    })
}

/// Reads a listing's id.
pub fn listing_id(text: &str) -> Result<ListingId, CommandError> {
    text.parse()
        .map_err(|error: IdError| CommandError::usage(error.to_string()).with_hint(error.hint()))
}

/// A rental on the command line: its id, or `last` for the newest of this identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RentalSelector {
    /// The newest.
    Last,
    /// This one.
    Id(RentalId),
}

impl FromStr for RentalSelector {
    type Err = CommandError;

    fn from_str(text: &str) -> Result<Self, CommandError> {
        if text == "last" {
            return Ok(Self::Last);
        }
        text.parse().map(Self::Id).map_err(|error| {
            let hint = format!("{}; \"last\" is your newest rental", IdError::hint(&error));
            CommandError::usage(error.to_string()).with_hint(hint)
        })
    }
}

/// Reads a transaction's hash: `0x` and 64 hexadecimal digits.
pub fn transaction_id(text: &str) -> Result<Hash, CommandError> {
    let mut id = Hash::default();
    let digits = text.strip_prefix("0x").unwrap_or(text);
    hex::decode_to_slice(digits, &mut id).map_err(|_| {
        let shown: String = text.chars().take(80).collect();
        CommandError::usage(format!("{shown:?} is no transaction's hash"))
            .with_hint("give 0x and 64 hexadecimal digits, as the command printed that sent it")
    })?;
    Ok(id)
}

/// Reads a duration such as `90s`, `10m`, `1h30m`; a plain number counts seconds.
pub fn duration(text: &str) -> Result<Duration, CommandError> {
    let shown: String = text.chars().take(40).collect();
    let refuse = |why: &str| {
        CommandError::usage(format!("{shown:?} is no duration{why}"))
            .with_hint("give a number with a unit, for example 90s, 10m, 1h30m or 2d; a plain number counts seconds")
    };
    if text.len() > 64 {
        return Err(refuse(""));
    }
    if text.starts_with('-') {
        return Err(refuse(": it is negative"));
    }
    if text.chars().all(|c| c.is_ascii_digit() || c == '.')
        && let Ok(seconds) = text.parse::<f64>()
    {
        return Duration::try_from_secs_f64(seconds).map_err(|_| refuse(": it is too long"));
    }
    let days = text
        .strip_suffix('d')
        .and_then(|days| days.trim_end().parse::<u32>().ok());
    if let Some(days) = days {
        return Ok(Duration::from_secs(u64::from(days) * 86_400));
    }
    let parsed: SignedDuration = text.parse().map_err(|_| refuse(""))?;
    Duration::try_from(parsed).map_err(|_| refuse(": it is negative"))
}

/// Reads how long a polled job is a miner's: 10 s to 1 hour.
pub fn lease(text: &str) -> Result<Duration, CommandError> {
    let lease = duration(text)?;
    if (Duration::from_millis(MIN_POLL_LEASE_MS)..=Duration::from_millis(MAX_POLL_LEASE_MS))
        .contains(&lease)
    {
        return Ok(lease);
    }
    Err(
        CommandError::usage(format!("a polled job cannot be yours for {text}"))
            .with_hint("give 10s to 1h, for example --lease 30m"),
    )
}

/// Reads a wallet's address.
pub fn address(text: &str) -> Result<Address, CommandError> {
    text.parse().map_err(|error: AddressError| {
        CommandError::usage(error.to_string())
            .with_hint("copy it again, for example from: aitbc wallet show")
    })
}

/// Whether nobody can have the key of an address: all its bytes are equal, or it begins with ten that are zero, as zero itself
/// and those do that other chains use for themselves.
pub fn is_nobodys(address: &Address) -> bool {
    let bytes = &address.0;
    bytes.iter().all(|byte| *byte == bytes[0]) || bytes.starts_with(&[0; 10])
}

/// Reads an identity's public key: `ed25519:` and 64 hexadecimal digits.
pub fn identity_key(text: &str) -> Result<PublicKey, CommandError> {
    let mut key = [0; 32];
    let digits = text.strip_prefix("ed25519:").unwrap_or_default();
    hex::decode_to_slice(digits, &mut key).map_err(|_| {
        let shown: String = text.chars().take(80).collect();
        CommandError::usage(format!("{shown:?} is no identity's key")).with_hint(
            "it is ed25519: and 64 hexadecimal digits, as its owner sees it with: aitbc identity show",
        )
    })?;
    Ok(PublicKey(key))
}

/// Reads an amount of money above zero, in AIT with at most 6 decimals.
pub fn amount(text: &str) -> Result<MicroAit, CommandError> {
    match amount_or_zero(text)? {
        MicroAit(0) => Err(CommandError::usage("the amount is zero")
            .with_hint("give at least 0.000001 AIT, for example 0.5")),
        amount => Ok(amount),
    }
}

/// Reads an amount of money that may be zero, in AIT with at most 6 decimals.
pub fn amount_or_zero(text: &str) -> Result<MicroAit, CommandError> {
    MicroAit::parse(text, MicroAit(SUPPLY_BOUND - 1))
        .map_err(|error| CommandError::usage(error.to_string()).with_hint(error.hint()))
}

/// Reads a price in AIT per hour, 0 to 1,000,000 with at most 6 decimals.
pub fn price_per_hour(text: &str) -> Result<MicroAit, CommandError> {
    MicroAit::parse(text, MAX_PRICE_PER_HOUR)
        .map_err(|error| CommandError::usage(error.to_string()).with_hint(error.hint()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_ten_seconds_to_an_hour() {
        for (text, fits) in [("10s", true), ("1h", true), ("9s", false), ("2h", false)] {
            assert_eq!(lease(text).is_ok(), fits, "{text}");
        }
        let error = lease("2h").unwrap_err();
        assert_eq!(error.message, "a polled job cannot be yours for 2h");
        assert!(error.hint.unwrap().starts_with("give 10s to 1h"));
    }

    #[test]
    fn durations_have_units_or_count_seconds() {
        for (text, ms) in [
            ("90", 90_000),
            ("0.5", 500),
            ("10m", 600_000),
            ("1h30m", 5_400_000),
            ("250ms", 250),
            ("2d", 172_800_000),
            ("1 hour", 3_600_000),
        ] {
            assert_eq!(duration(text).unwrap(), Duration::from_millis(ms), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_a_hint() {
        for bad in [
            "",
            ".",
            "NaN",
            "inf",
            "-5",
            "-5m",
            "5 parsecs",
            "1e9",
            "99999999999999999999999999999",
            "9".repeat(400).as_str(),
            "m",
        ] {
            assert!(duration(bad).unwrap_err().hint.is_some(), "{bad}");
        }
    }

    #[test]
    fn a_transactions_hash_has_64_digits() {
        let digits = "5c".repeat(32);
        assert_eq!(transaction_id(&digits), Ok([0x5c; 32]));
        assert_eq!(transaction_id(&format!("0x{digits}")), Ok([0x5c; 32]));
        for bad in ["", "0x", &digits[1..], &format!("0x0x{digits}"), "last"] {
            assert!(transaction_id(bad).unwrap_err().hint.is_some(), "{bad}");
        }
    }

    #[test]
    fn addresses_that_nobody_can_have_are_known() {
        let address = |text: &str| text.parse::<Address>().unwrap();
        for nobodys in [
            "0x0000000000000000000000000000000000000000",
            "0x0000000000000000000000000000000000000001",
            "0x000000000000000000000000000000000000dead",
            "0xffffffffffffffffffffffffffffffffffffffff",
            "0x1111111111111111111111111111111111111111",
        ] {
            assert!(is_nobodys(&address(nobodys)), "{nobodys}");
        }
        for somebodys in [
            "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
            "0x00000000219ab540356cbb839cbe05303d7705fa",
        ] {
            assert!(!is_nobodys(&address(somebodys)), "{somebodys}");
        }
    }

    #[test]
    fn amounts_parse_exactly_or_not_at_all() {
        assert_eq!(amount("10").unwrap(), MicroAit(10_000_000));
        assert_eq!(amount_or_zero("0").unwrap(), MicroAit(0));
        for bad in [
            "0",
            "1e3",
            "-1",
            "0.0000001",
            "NaN",
            "1,000",
            "1_000",
            "1 000",
            "1'000",
            "+1",
            "",
            "inf",
            "0x1",
            "9223372036854775807",
        ] {
            let error = amount(bad).unwrap_err();
            assert!(error.hint.is_some() && error.exit.number() == 2, "{bad}");
        }
    }

    #[test]
    fn identities_are_named_by_their_keys() {
        let text = format!("ed25519:{}", "ab".repeat(32));
        assert_eq!(identity_key(&text).unwrap(), PublicKey([0xab; 32]));
        for bad in ["", "ed25519:", &text[8..], &text[..70], "ed25519:zz"] {
            assert!(identity_key(bad).unwrap_err().hint.is_some(), "{bad}");
        }
    }

    #[test]
    fn video_memory_and_reputation_have_bounds() {
        for text in ["24", "24GB", "24 GiB", "24gb"] {
            assert_eq!(vram_gib(text), Ok(24), "{text}");
        }
        for bad in [
            "0",
            "-1",
            "4097",
            "24.5",
            "+24",
            "",
            "GB",
            "NaN",
            "99999999999",
        ] {
            assert!(vram_gib(bad).unwrap_err().hint.is_some(), "{bad}");
        }
        assert_eq!(reputation("0.9"), Ok(900_000));
        assert_eq!(reputation("1"), Ok(1_000_000));
        for bad in ["1.1", "-0.1", "90%", "NaN", "", "0.0000001"] {
            assert!(reputation(bad).unwrap_err().hint.is_some(), "{bad}");
        }
    }

    #[test]
    fn jobs_are_ids_or_last() {
        let id = JobId::new(1_000, 3, [9; 10]);
        assert_eq!(
            id.to_string().parse::<JobSelector>().unwrap(),
            JobSelector::Id(id)
        );
        assert_eq!("last".parse::<JobSelector>().unwrap().to_string(), "last");
        let error = "Last".parse::<JobSelector>().unwrap_err();
        assert!(error.hint.unwrap().contains("last"));
    }
}
