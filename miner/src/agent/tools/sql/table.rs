//! What a file is as a table: names, and each column's type over the whole file.

use std::borrow::Cow;
use std::collections::BTreeSet;

/// Most significant digits of a decimal that floating point keeps apart from every other; more stay text.
const MAX_DIGITS: usize = 15;

/// One value of a file.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell<'a> {
    Null,
    Boolean(bool),
    /// What may be a number: a field of a CSV file, a number of a JSON file.
    Plain(Cow<'a, str>),
    Text(Cow<'a, str>),
}

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Kind {
    /// No value yet.
    #[default]
    Empty,
    Integer,
    /// An integer that floating point may not keep.
    LongInteger,
    Real,
    Text,
}

impl Kind {
    pub fn of(cell: &Cell<'_>) -> Self {
        match cell {
            Cell::Null => Self::Empty,
            Cell::Boolean(_) => Self::Integer,
            Cell::Text(_) => Self::Text,
            Cell::Plain(text) => Self::of_number(text.trim()),
        }
    }

    /// Numbers with leading zeros are codes; what would not come out as it went in stays text.
    fn of_number(text: &str) -> Self {
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, Some(exponent)),
            None => (unsigned, None),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (mantissa, None),
        };
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        let is_number = digits(whole)
            && fraction.is_none_or(|fraction| digits(fraction) && !fraction.is_empty())
            && !(whole.is_empty() && fraction.is_none())
            && !(whole.len() > 1 && whole.starts_with('0'))
            && exponent.is_none_or(|e| {
                let e = e.strip_prefix(['+', '-']).unwrap_or(e);
                digits(e) && (1..=3).contains(&e.len())
            });
        if !is_number {
            return Self::Text;
        }
        if fraction.is_none() && exponent.is_none() {
            return match text.parse::<i64>() {
                Ok(_) if whole.len() <= MAX_DIGITS => Self::Integer,
                Ok(_) => Self::LongInteger,
                Err(_) => Self::Text,
            };
        }
        let all = format!("{whole}{}", fraction.unwrap_or_default());
        let significant = all.trim_start_matches('0').len();
        let finite = text
            .parse::<f64>()
            .is_ok_and(|value| value.is_normal() || significant == 0);
        if significant <= MAX_DIGITS && finite {
            Self::Real
        } else {
            Self::Text
        }
    }

    /// The type that holds both.
    pub fn with(self, other: Self) -> Self {
        use Kind::{Empty, Integer, LongInteger, Real};
        match (self, other) {
            (Empty, kind) | (kind, Empty) => kind,
            (Integer, Integer) => Integer,
            (Integer | LongInteger, Integer | LongInteger) => LongInteger,
            (Integer | Real, Integer | Real) => Real,
            _ => Self::Text,
        }
    }

    /// Its name in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Self::Integer | Self::LongInteger => "integer",
            Self::Real => "real",
            Self::Empty | Self::Text => "text",
        }
    }
}

/// A table's name from a file's: its stem, of letters, digits and `_`.
pub(super) fn table_name(file: &str) -> String {
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    let name: String = stem
        .chars()
        .take(64)
        .map(|c| {
            if c.is_alphanumeric() || c == '_' {
                c
            } else {
                '_'
            }
        })
        .collect();
    let begins_well = name.starts_with(|c: char| c.is_alphabetic() || c == '_');
    if !begins_well || name.to_lowercase().starts_with("sqlite_") {
        return format!("t_{name}");
    }
    name
}

/// A name that is not taken yet, whatever its case; numbered if need be.
pub(super) fn unique(name: &str, taken: &mut BTreeSet<String>) -> String {
    let mut candidate = name.to_owned();
    let mut number = 2;
    while !taken.insert(candidate.to_lowercase()) {
        candidate = format!("{name}_{number}");
        number += 1;
    }
    candidate
}

/// A name between quotes.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_would_change_stay_text() {
        for (text, kind) in [
            ("12", Kind::Integer),
            ("-9223372036854775808", Kind::LongInteger),
            ("9223372036854775808", Kind::Text),
            ("007", Kind::Text),
            ("0", Kind::Integer),
            ("120400.00", Kind::Real),
            (".5", Kind::Real),
            ("0.000000000000001", Kind::Real),
            ("1e3", Kind::Real),
            ("1e400", Kind::Text),
            ("1e-400", Kind::Text),
            ("1234567890.1234567", Kind::Text),
            ("1,234.50", Kind::Text),
            ("+1", Kind::Text),
            ("1.", Kind::Text),
            ("-", Kind::Text),
            ("0x1f", Kind::Text),
            ("nan", Kind::Text),
            ("inf", Kind::Text),
            ("1e", Kind::Text),
            ("٣", Kind::Text),
        ] {
            assert_eq!(Kind::of(&Cell::Plain(text.into())), kind, "{text}");
        }
    }

    #[test]
    fn a_column_has_the_type_that_holds_all_of_it() {
        use Kind::{Empty, Integer, LongInteger, Real, Text};
        for (kinds, expected) in [
            (vec![Empty, Integer, Empty], Integer),
            (vec![Integer, Real], Real),
            (vec![Integer, LongInteger], LongInteger),
            (vec![Integer, LongInteger, Real], Text),
            (vec![Real, Text, Integer], Text),
        ] {
            assert_eq!(kinds.into_iter().fold(Empty, Kind::with), expected);
        }
    }

    #[test]
    fn names_are_safe_and_unique() {
        assert_eq!(table_name("q3.csv"), "q3");
        assert_eq!(table_name("2026 sales (EU).v2.csv"), "t_2026_sales__EU__v2");
        assert_eq!(
            table_name("x\"; DROP TABLE y; --.csv"),
            "x___DROP_TABLE_y____"
        );
        assert_eq!(table_name("sqlite_master.csv"), "t_sqlite_master");
        let mut taken = BTreeSet::new();
        let names = ["q3", "Q3", "q3"].map(|name| unique(name, &mut taken));
        assert_eq!(names, ["q3", "Q3_2", "q3_3"]);
    }
}
