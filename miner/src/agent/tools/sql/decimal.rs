//! Decimals of any length, for sums.

use num_bigint::BigInt;
use num_traits::Zero;

/// Greatest power of ten, either way: a little beyond that of floating point.
const MAX_SCALE: u32 = 400;

/// `digits` divided by ten to the power of `scale`.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Decimal {
    digits: BigInt,
    scale: u32,
}

impl Decimal {
    /// Reads a decimal, such as `-12.50` or `1.25e-7`; `None` for anything else, or what is out of bounds.
    pub fn read(text: &str) -> Option<Self> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let unsigned = whole.strip_prefix('-').unwrap_or(whole);
        let is_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        let length = unsigned.len() + fraction.len();
        if !is_digits(unsigned) || !is_digits(fraction) || !(1..=1000).contains(&length) {
            return None;
        }
        let digits = format!("{whole}{fraction}").parse::<BigInt>().ok()?;
        let scale = i64::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
        let size = u32::try_from(scale.unsigned_abs())
            .ok()
            .filter(|size| *size <= MAX_SCALE)?;
        Some(if scale < 0 {
            Self {
                digits: digits * ten_to(size),
                scale: 0,
            }
        } else {
            Self {
                digits,
                scale: size,
            }
        })
    }

    pub fn add(&mut self, other: &Self) {
        let scale = self.scale.max(other.scale);
        if self.scale < scale {
            self.digits *= ten_to(scale - self.scale);
            self.scale = scale;
        }
        if other.scale < scale {
            self.digits += &other.digits * ten_to(scale - other.scale);
        } else {
            self.digits += &other.digits;
        }
    }

    pub fn subtract(&mut self, other: &Self) {
        self.add(&Self {
            digits: -&other.digits,
            scale: other.scale,
        });
    }

    /// The value, if it is a whole number that fits.
    pub fn to_integer(&self) -> Option<i64> {
        let scale = ten_to(self.scale);
        (&self.digits % &scale).is_zero().then_some(())?;
        i64::try_from(&self.digits / &scale).ok()
    }

    /// The nearest floating-point number.
    pub fn to_real(&self) -> f64 {
        // Rust rounds what it parses correctly.
        let text = format!("{}e-{}", self.digits, self.scale);
        text.parse().unwrap_or(f64::NAN)
    }

    /// The floating-point number nearest to a part of it.
    pub fn divided(&self, count: i64) -> f64 {
        let wide = Self {
            digits: &self.digits * ten_to(MORE_DIGITS) / count,
            scale: self.scale + MORE_DIGITS,
        };
        wide.to_real()
    }
}

/// Digits of a quotient beyond those of its dividend.
const MORE_DIGITS: u32 = 40;

fn ten_to(exponent: u32) -> BigInt {
    BigInt::from(10).pow(exponent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decimals_are_read_exactly() {
        for (text, real) in [
            ("12.50", 12.5),
            ("-0.1", -0.1),
            ("1.25e-7", 1.25e-7),
            ("3e5", 3e5),
            ("-.5", -0.5),
        ] {
            assert_eq!(
                Decimal::read(text).map(|d| d.to_real()),
                Some(real),
                "{text}"
            );
        }
        for text in [
            "", "-", "1,5", "n/a", "1e9999", "--1", "1.2.3", "NaN", "inf", "+1",
        ] {
            assert_eq!(Decimal::read(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_sum_forgets_what_left_it(values in prop::collection::vec(-1e300_f64..1e300, 1..20)) {
            let mut sum = Decimal::default();
            let all: Vec<Decimal> = values.iter().map(|v| Decimal::read(&format!("{v:e}")).unwrap()).collect();
            all.iter().for_each(|value| sum.add(value));
            all[1..].iter().for_each(|value| sum.subtract(value));
            prop_assert_eq!(sum.to_real(), values[0]);
        }
    }
}
