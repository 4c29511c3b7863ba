//! Money: integer micro-AIT. 1 AIT = 1,000,000 micro-AIT.

use std::fmt;

/// Micro-AIT in one AIT.
pub const MICRO_PER_AIT: u64 = 1_000_000;

/// The highest price: 1,000,000 AIT per hour and slot.
pub const MAX_PRICE_PER_HOUR: MicroAit = MicroAit(1_000_000 * MICRO_PER_AIT);

/// An amount in micro-AIT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MicroAit(pub u64);

/// An amount that does not parse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Not a plain decimal number, and what it has that such a number has not.
    #[error("{0:?} is not an amount: {1}")]
    NotANumber(String, &'static str),
    /// Below zero.
    #[error("{0:?} is negative")]
    Negative(String),
    /// More than six decimals.
    #[error("{0:?} has more than 6 decimals")]
    TooPrecise(String),
    /// Over the bound.
    #[error("{0:?} is too much: the bound is {1} AIT")]
    TooMuch(String, MicroAit),
}

impl AmountError {
    /// What to give instead.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        "give AIT as a plain decimal number with at most 6 decimals, for example 0.5"
    }
}

impl MicroAit {
    /// Reads a plain decimal number of AIT such as `0.5`: no sign, exponent or separators, at most 6 decimals, at most
    /// `bound`.
    pub fn parse(text: &str, bound: MicroAit) -> Result<Self, AmountError> {
        let given = || text.chars().take(40).collect::<String>();
        if let Some(rest) = text.strip_prefix('-')
            && rest.starts_with(|c: char| c.is_ascii_digit())
        {
            return Err(AmountError::Negative(given()));
        }
        let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        let bare_point = text.contains('.') && decimals.is_empty();
        if whole.is_empty() || !digits(whole) || !digits(decimals) || bare_point {
            return Err(AmountError::NotANumber(given(), why_no_number(text)));
        }
        if decimals.len() > 6 {
            return Err(AmountError::TooPrecise(given()));
        }
        let micro = format!("{whole}{decimals:0<6}").parse().unwrap_or(u64::MAX);
        if micro > bound.0 {
            return Err(AmountError::TooMuch(given(), bound));
        }
        Ok(Self(micro))
    }

    /// With exactly six decimals, as in JSON: `0.500000`.
    #[must_use]
    pub fn six_decimals(self) -> String {
        format!("{}.{:06}", self.0 / MICRO_PER_AIT, self.0 % MICRO_PER_AIT)
    }
}

impl fmt::Display for MicroAit {
    /// Without trailing zeros: `0.5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.six_decimals();
        f.pad(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// What `ms` of work cost at `rate` micro-AIT per hour: ⌈rate·ms / 3,600,000⌉, at most 2^64 − 1.
#[must_use]
pub fn cost(rate: u64, ms: u64) -> u64 {
    let micro = (u128::from(rate) * u128::from(ms)).div_ceil(3_600_000);
    u64::try_from(micro).unwrap_or(u64::MAX)
}

fn why_no_number(text: &str) -> &'static str {
    let number = text.trim_start_matches(['+', '-']);
    let starts = number.starts_with(|c: char| c.is_ascii_digit());
    if text.is_empty() {
        "it is empty"
    } else if starts && number.contains(['e', 'E']) {
        "exponents are not read"
    } else if starts && number.contains([',', '_', '\'', ' ', '\u{a0}', '\u{202f}']) {
        "separators between digits are not read, and the decimals follow a point"
    } else if text.starts_with('+') {
        "a sign is not read"
    } else if number.starts_with('.') || number.ends_with('.') {
        "a point has digits on both sides"
    } else {
        "it is no decimal number"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_back() {
        for (text, micro) in [
            ("0", 0),
            ("0.5", 500_000),
            ("12.000001", 12_000_001),
            ("007", 7_000_000),
        ] {
            assert_eq!(
                MicroAit::parse(text, MAX_PRICE_PER_HOUR),
                Ok(MicroAit(micro))
            );
        }
        assert_eq!(MicroAit(500_000).to_string(), "0.5");
        assert_eq!(MicroAit(10_000_000).to_string(), "10");
        assert_eq!(MicroAit(298).six_decimals(), "0.000298");
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for bad in [
            "", ".", "1.", ".5", "NaN", "inf", "1e3", "+1", "1,5", " 1", "0x1", "-", "--1", "１",
        ] {
            assert!(
                matches!(
                    MicroAit::parse(bad, MAX_PRICE_PER_HOUR),
                    Err(AmountError::NotANumber(..))
                ),
                "{bad}"
            );
        }
        for (bad, reason) in [
            ("1e3", "exponents"),
            ("1,000", "separators"),
            ("1 000.5", "separators"),
            ("+1", "sign"),
            (".5", "both sides"),
            ("NaN", "decimal number"),
        ] {
            let error = MicroAit::parse(bad, MAX_PRICE_PER_HOUR).unwrap_err();
            assert!(error.to_string().contains(reason), "{error}");
        }
        assert!(matches!(
            MicroAit::parse("-1", MAX_PRICE_PER_HOUR),
            Err(AmountError::Negative(_))
        ));
        assert!(matches!(
            MicroAit::parse("0.0000001", MAX_PRICE_PER_HOUR),
            Err(AmountError::TooPrecise(_))
        ));
        for huge in ["1000000.000001", "99999999999999999999999999"] {
            assert!(
                matches!(
                    MicroAit::parse(huge, MAX_PRICE_PER_HOUR),
                    Err(AmountError::TooMuch(..))
                ),
                "{huge}"
            );
        }
    }

    #[test]
    fn cost_rounds_up_and_never_overflows() {
        assert_eq!(cost(500_000, 2_140), 298);
        assert_eq!(cost(0, 1), 0);
        assert_eq!(cost(1, 1), 1);
        assert_eq!(cost(u64::MAX, u64::MAX), u64::MAX);
    }
}
