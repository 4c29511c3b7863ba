//! A date, a time of day on a date, or a point in time.

use aitbc_common::nearest::nearest;
use jiff::civil::{Date, DateTime};
use jiff::fmt::friendly::{Designator, Spacing, SpanPrinter};
use jiff::fmt::temporal::Pieces;
use jiff::fmt::{rfc2822, strtime};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};

use super::super::ToolError;
use super::Unit;

/// Fewest digits that are taken as Unix seconds: fewer can be a year or a date without dashes.
const MIN_UNIX_DIGITS: usize = 9;

/// A date, a time of day on a date, or a point in time.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Moment {
    Date(Date),
    DateTime(DateTime),
    Zoned(Zoned),
}

impl Moment {
    /// Reads a value; with a zone, the result is in it unless it is a date alone.
    pub fn read(value: &str, zone_name: Option<&str>) -> Result<Self, ToolError> {
        let zone = zone_name.map(zone).transpose()?;
        let moment = parse(value.trim()).ok_or_else(|| {
            ToolError::failed(format!(
                "{value:?} is no date or time that there is; write it as 2026-07-01 or 2026-07-01T10:00"
            ))
        })?;
        Ok(match (moment, zone) {
            (Self::Zoned(zoned), Some(zone)) => Self::Zoned(zoned.with_time_zone(zone)),
            (Self::DateTime(time), Some(zone)) => {
                Self::Zoned(time.to_zoned(zone).map_err(impossible)?)
            }
            (moment, _) => moment,
        })
    }

    /// Its normal form and what follows from it.
    pub fn describe(&self) -> String {
        let date = self.date();
        let week = date.iso_week_date();
        let (text, unix) = match self {
            Self::Date(date) => (date.to_string(), None),
            Self::DateTime(time) => (time.to_string(), None),
            Self::Zoned(zoned) => (zoned.to_string(), Some(zoned.timestamp().as_second())),
        };
        let weekday = strtime::format("%A", date).unwrap_or_default();
        let unix = unix.map_or_else(String::new, |seconds| format!("\nUnix time: {seconds}"));
        format!(
            "{text}\nweekday: {weekday} (ISO {})\nISO week: {}-W{:02}\nday of the year: {}{unix}",
            date.weekday().to_monday_one_offset(),
            week.year(),
            week.week(),
            date.day_of_year(),
        )
    }

    /// As strftime writes it.
    pub fn format(&self, format: &str) -> Result<String, ToolError> {
        match self {
            Self::Date(date) => strtime::format(format, *date),
            Self::DateTime(time) => strtime::format(format, *time),
            Self::Zoned(zoned) => strtime::format(format, zoned),
        }
        .map_err(|error| ToolError::failed(format!("the format cannot be used: {error}")))
    }

    /// The span to another moment.
    pub fn until(&self, to: &Self) -> Result<String, ToolError> {
        let (calendar, days, seconds) = match (self, to) {
            (Self::Zoned(from), Self::Zoned(to)) => (
                from.until((jiff::Unit::Year, to)),
                from.until((jiff::Unit::Day, to)),
                Some(to.timestamp().as_second() - from.timestamp().as_second()),
            ),
            (Self::Zoned(_), _) | (_, Self::Zoned(_)) => {
                return Err(ToolError::failed(
                    "one has a zone and the other has none; give a zone, and times for both",
                ));
            }
            (Self::Date(from), Self::Date(to)) => (
                from.until((jiff::Unit::Year, *to)),
                from.until((jiff::Unit::Day, *to)),
                None,
            ),
            (from, to) => {
                let (from, to) = (from.date_time(), to.date_time());
                let seconds = from.until((jiff::Unit::Second, to)).map_err(impossible)?;
                (
                    from.until((jiff::Unit::Year, to)),
                    from.until((jiff::Unit::Day, to)),
                    Some(seconds.get_seconds()),
                )
            }
        };
        let calendar = spelled(&calendar.map_err(impossible)?);
        let days = spelled(&days.map_err(impossible)?);
        let mut lines = vec![calendar];
        if days != lines[0] {
            lines.push(days);
        }
        lines.extend(seconds.map(|seconds| format!("{seconds} seconds")));
        Ok(lines.join("\n"))
    }

    /// So much later; calendar units keep the time of day, hours and less are elapsed time.
    pub fn add(&self, amount: i64, unit: Unit) -> Result<Self, ToolError> {
        let span = Span::new();
        let (span, within_day) = match unit {
            Unit::Years => (span.try_years(amount), false),
            Unit::Months => (span.try_months(amount), false),
            Unit::Weeks => (span.try_weeks(amount), false),
            Unit::Days => (span.try_days(amount), false),
            Unit::Hours => (span.try_hours(amount), true),
            Unit::Minutes => (span.try_minutes(amount), true),
            Unit::Seconds => (span.try_seconds(amount), true),
        };
        let span = span.map_err(impossible)?;
        Ok(match self {
            Self::Date(date) if !within_day => {
                Self::Date(date.checked_add(span).map_err(impossible)?)
            }
            Self::Zoned(zoned) => Self::Zoned(zoned.checked_add(span).map_err(impossible)?),
            other => Self::DateTime(other.date_time().checked_add(span).map_err(impossible)?),
        })
    }

    fn date(&self) -> Date {
        self.date_time().date()
    }

    fn date_time(&self) -> DateTime {
        match self {
            Self::Date(date) => date.to_datetime(jiff::civil::Time::midnight()),
            Self::DateTime(time) => *time,
            Self::Zoned(zoned) => zoned.datetime(),
        }
    }
}

/// The time zone of a name.
pub(super) fn zone(name: &str) -> Result<TimeZone, ToolError> {
    let database = jiff::tz::db();
    database.get(name.trim()).map_err(|_| {
        let known: Vec<String> = database.available().map(|zone| zone.to_string()).collect();
        let hint = match nearest(name, known.iter().map(String::as_str)) {
            Some(nearest) => format!("did you mean {nearest}?"),
            None => "zones are named like Europe/Berlin or UTC".to_owned(),
        };
        ToolError::failed(format!("{name:?} is no time zone; {hint}"))
    })
}

fn parse(value: &str) -> Option<Moment> {
    let digits = value.strip_prefix('-').unwrap_or(value);
    if digits.len() >= MIN_UNIX_DIGITS && digits.bytes().all(|b| b.is_ascii_digit()) {
        let timestamp = Timestamp::from_second(value.parse().ok()?).ok()?;
        return Some(Moment::Zoned(timestamp.to_zoned(TimeZone::UTC)));
    }
    if let Ok(zoned) = value.parse::<Zoned>() {
        return Some(Moment::Zoned(zoned));
    }
    if let Ok(pieces) = Pieces::parse(value) {
        // With a zone's name it would have been read above, were it right.
        if pieces.time_zone_annotation().is_some() {
            return None;
        }
        if pieces.offset().is_some() {
            let timestamp = value.parse::<Timestamp>().ok()?;
            return Some(Moment::Zoned(timestamp.to_zoned(TimeZone::UTC)));
        }
        return Some(match pieces.time() {
            Some(time) => Moment::DateTime(pieces.date().to_datetime(time)),
            None => Moment::Date(pieces.date()),
        });
    }
    rfc2822::parse(value).ok().map(Moment::Zoned)
}

fn spelled(span: &Span) -> String {
    SpanPrinter::new()
        .designator(Designator::Verbose)
        .spacing(Spacing::BetweenUnitsAndDesignators)
        .comma_after_designator(true)
        .span_to_string(span)
}

fn impossible(error: jiff::Error) -> ToolError {
    ToolError::failed(format!("that cannot be computed: {error}"))
}
