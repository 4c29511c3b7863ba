//! Fractions with a bound on their size.

use num_bigint::{BigInt, Sign};
use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{One, Signed, Zero};
use std::fmt;

/// Most bits of a numerator or denominator: about 4,900 digits.
const MAX_BITS: u64 = 16_384;
/// Greatest exponent, of powers and of numbers such as `1e9`.
const MAX_EXPONENT: i64 = 10_000;
/// Most places after the point that are written out as a decimal.
const MAX_PLACES: usize = 1000;
/// Places of what cannot be written out.
const ROUNDED_PLACES: usize = 30;

/// Why something cannot be computed.
pub(super) type Failure = String;

/// A number, exact unless `rounded`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Number {
    value: BigRational,
    rounded: bool,
}

impl Number {
    /// Reads digits with an optional point and exponent; `None` if that is something else.
    pub fn read(text: &str) -> Option<Result<Self, Failure>> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = format!("{whole}{fraction}");
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let mantissa = BigInt::parse_bytes(digits.as_bytes(), 10)?;
        let exponent = exponent.saturating_sub(i64::try_from(fraction.len()).ok()?);
        if exponent.abs() > MAX_EXPONENT {
            return Some(Err(too_large()));
        }
        let scale = ten_to(usize::try_from(exponent.unsigned_abs()).ok()?);
        Some(Self::new(
            if exponent < 0 {
                BigRational::new(mantissa, scale)
            } else {
                BigRational::from(mantissa * scale)
            },
            false,
        ))
    }

    fn new(value: BigRational, rounded: bool) -> Result<Self, Failure> {
        if value.numer().bits() > MAX_BITS || value.denom().bits() > MAX_BITS {
            return Err(too_large());
        }
        Ok(Self { value, rounded })
    }

    pub fn add(&self, other: &Self) -> Result<Self, Failure> {
        Self::new(&self.value + &other.value, self.rounded || other.rounded)
    }

    pub fn subtract(&self, other: &Self) -> Result<Self, Failure> {
        Self::new(&self.value - &other.value, self.rounded || other.rounded)
    }

    pub fn multiply(&self, other: &Self) -> Result<Self, Failure> {
        Self::new(&self.value * &other.value, self.rounded || other.rounded)
    }

    pub fn divide(&self, other: &Self) -> Result<Self, Failure> {
        if other.value.is_zero() {
            return Err("division by zero".to_owned());
        }
        Self::new(&self.value / &other.value, self.rounded || other.rounded)
    }

    /// The remainder with the divisor's sign.
    pub fn modulo(&self, other: &Self) -> Result<Self, Failure> {
        let quotient = self.divide(other)?.floor();
        self.subtract(&quotient.multiply(other)?)
    }

    pub fn negate(&self) -> Self {
        Self {
            value: -&self.value,
            rounded: self.rounded,
        }
    }

    pub fn percent(&self) -> Result<Self, Failure> {
        Self::new(&self.value / BigInt::from(100), self.rounded)
    }

    pub fn power(&self, exponent: &Self) -> Result<Self, Failure> {
        let exponent = exponent
            .whole(MAX_EXPONENT)
            .ok_or("an exponent is a whole number up to 10000; for roots there is sqrt(x)")?;
        let bits = self.value.numer().bits().max(self.value.denom().bits());
        let times = exponent.unsigned_abs();
        if bits.saturating_sub(1).saturating_mul(times) > MAX_BITS {
            return Err(too_large());
        }
        if exponent < 0 && self.value.is_zero() {
            return Err("division by zero".to_owned());
        }
        let times = u32::try_from(times).map_err(|_| too_large())?;
        // Powers of numbers without a common factor have none either.
        let power =
            BigRational::new_raw(self.value.numer().pow(times), self.value.denom().pow(times));
        Self::new(
            if exponent < 0 { power.recip() } else { power },
            self.rounded,
        )
    }

    pub fn absolute(&self) -> Self {
        Self {
            value: self.value.abs(),
            rounded: self.rounded,
        }
    }

    pub fn floor(&self) -> Self {
        Self {
            value: self.value.floor(),
            rounded: self.rounded,
        }
    }

    pub fn ceiling(&self) -> Self {
        Self {
            value: self.value.ceil(),
            rounded: self.rounded,
        }
    }

    /// Rounds halves away from zero.
    pub fn round(&self, places: &Self) -> Result<Self, Failure> {
        let places = places
            .whole(MAX_PLACES as i64)
            .ok_or("round(x, places) takes a whole number of places up to 1000")?;
        let scale = BigRational::from(ten_to(usize::try_from(places.unsigned_abs()).unwrap_or(0)));
        let value = if places < 0 {
            (&self.value / &scale).round() * scale
        } else {
            (&self.value * &scale).round() / scale
        };
        Self::new(value, self.rounded)
    }

    /// Exact for squares of fractions; otherwise rounded to 30 significant digits or more.
    pub fn square_root(&self) -> Result<Self, Failure> {
        if self.value.is_negative() {
            return Err("the square root of a negative number".to_owned());
        }
        let (numerator, denominator) = (self.value.numer(), self.value.denom());
        let root = BigRational::new(numerator.sqrt(), denominator.sqrt());
        if &root * &root == self.value {
            return Self::new(root, self.rounded);
        }
        let zeros = denominator.bits().saturating_sub(numerator.bits()) * 302 / 2000;
        let places = ROUNDED_PLACES + 1 + usize::try_from(zeros).map_err(|_| too_large())?;
        let scaled = numerator * ten_to(2 * places) / denominator;
        Self::new(BigRational::new(scaled.sqrt(), ten_to(places)), true)
    }

    pub fn is_less(&self, other: &Self) -> bool {
        self.value < other.value
    }

    /// The value, if it is a whole number of at most `most` in size.
    fn whole(&self, most: i64) -> Option<i64> {
        let value = i64::try_from(self.value.numer()).ok()?;
        (self.value.is_integer() && value.abs() <= most).then_some(value)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rounded {
            let (text, places) = approximate(&self.value);
            return write!(f, "{text} (rounded to {places} places)");
        }
        if let Some(places) = places(self.value.denom()) {
            return f.write_str(&decimal(&self.value, places));
        }
        let (text, places) = approximate(&self.value);
        write!(f, "{} = {text} (rounded to {places} places)", self.value)
    }
}

fn too_large() -> Failure {
    "the numbers get too large: at most about 4900 digits".to_owned()
}

fn ten_to(exponent: usize) -> BigInt {
    // Callers bound it by MAX_EXPONENT and a little.
    BigInt::from(10).pow(u32::try_from(exponent).unwrap_or(u32::MAX))
}

/// How many places the decimal with this denominator has, if it ends within [`MAX_PLACES`].
fn places(denominator: &BigInt) -> Option<usize> {
    let twos = usize::try_from(denominator.trailing_zeros().unwrap_or(0)).ok()?;
    let five = BigInt::from(5);
    let mut rest: BigInt = denominator >> twos;
    let mut fives = 0;
    while !rest.is_one() {
        let (quotient, remainder) = rest.div_rem(&five);
        fives += 1;
        if !remainder.is_zero() || fives > MAX_PLACES {
            return None;
        }
        rest = quotient;
    }
    Some(twos.max(fives)).filter(|places| *places <= MAX_PLACES)
}

/// Writes a value that has so many places, or more, which are rounded.
fn decimal(value: &BigRational, places: usize) -> String {
    let scaled = (value * ten_to(places)).round().to_integer();
    let sign = if scaled.sign() == Sign::Minus {
        "-"
    } else {
        ""
    };
    let digits = scaled.magnitude().to_string();
    if places == 0 {
        return format!("{sign}{digits}");
    }
    let digits = format!("{digits:0>width$}", width = places + 1);
    let (whole, fraction) = digits.split_at(digits.len() - places);
    format!("{sign}{whole}.{fraction}")
}

/// At least 30 significant digits of a value, and how many places these are.
fn approximate(value: &BigRational) -> (String, usize) {
    let zeros = value.denom().bits().saturating_sub(value.numer().bits()) * 302 / 1000;
    let places = ROUNDED_PLACES + usize::try_from(zeros).unwrap_or(0);
    (decimal(value, places), places)
}
