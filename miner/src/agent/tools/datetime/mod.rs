//! `datetime`: dates, times and zones.

mod moment;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::built_in::BuiltIn;
use super::{Labels, Stop, ToolError};
use moment::Moment;

/// Most characters of a date, zone or format.
const MAX_TEXT_CHARS: usize = 200;
/// Greatest amount that is added, either way: a time span in seconds from the first to the last year there is.
const MAX_AMOUNT: i64 = 631_107_417_600;

#[derive(Deserialize)]
#[serde(tag = "operation", rename_all = "snake_case")]
enum Arguments {
    Now {
        zone: Option<String>,
    },
    Parse {
        value: String,
        zone: Option<String>,
    },
    Format {
        value: String,
        format: String,
        zone: Option<String>,
    },
    Difference {
        from: String,
        to: String,
        zone: Option<String>,
    },
    Add {
        value: String,
        amount: i64,
        unit: Unit,
        zone: Option<String>,
    },
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Unit {
    Years,
    Months,
    Weeks,
    Days,
    Hours,
    Minutes,
    Seconds,
}

/// `now` is the clock.
pub(super) fn tool(now: fn() -> Timestamp) -> BuiltIn {
    BuiltIn::new(
        "datetime",
        "Dates and times. Operations: now (the time in a zone); parse (normalise a date or time, with its weekday, ISO week, \
         day of the year and Unix time); format (write it as strftime does, such as %d.%m.%Y); difference (from one to \
         another, in calendar units, days and seconds); add (an amount of a unit, negative to subtract). Values are ISO 8601 \
         (2026-07-01, 2026-07-01T10:00, 2026-07-01T10:00Z, 2026-07-01T10:00+02:00[Europe/Berlin]), RFC 2822, or Unix seconds. \
         A zone is an IANA name such as Europe/Berlin; what has no zone is taken to be in it, what has one is converted."
            .to_owned(),
        parameters(),
        Labels::default(),
        move |arguments: Arguments, _: &Stop| answer(arguments, now),
    )
}

fn parameters() -> Value {
    let text = |description: &str| json!({"type": "string", "description": description, "maxLength": MAX_TEXT_CHARS});
    let needs = |operation: &str, required: &[&str]| {
        json!({
            "if": {"properties": {"operation": {"const": operation}}},
            "then": {"required": required},
        })
    };
    json!({
        "type": "object",
        "properties": {
            "operation": {"type": "string", "enum": ["now", "parse", "format", "difference", "add"]},
            "value": text("the date or time; for parse, format and add"),
            "zone": text("an IANA time zone; UTC for now if there is none"),
            "format": text("a strftime format; for format"),
            "from": text("the earlier date or time; for difference"),
            "to": text("the later date or time; for difference"),
            "amount": {"type": "integer", "minimum": -MAX_AMOUNT, "maximum": MAX_AMOUNT, "description": "for add"},
            "unit": {"type": "string", "enum": ["years", "months", "weeks", "days", "hours", "minutes", "seconds"], "description": "for add"},
        },
        "required": ["operation"],
        "additionalProperties": false,
        "allOf": [
            needs("parse", &["value"]),
            needs("format", &["value", "format"]),
            needs("difference", &["from", "to"]),
            needs("add", &["value", "amount", "unit"]),
        ],
    })
}

fn answer(arguments: Arguments, now: fn() -> Timestamp) -> Result<String, ToolError> {
    let read = |value: &str, zone: &Option<String>| Moment::read(value, zone.as_deref());
    match arguments {
        Arguments::Now { zone } => {
            let zone = moment::zone(zone.as_deref().unwrap_or("UTC"))?;
            Ok(Moment::Zoned(now().to_zoned(zone)).describe())
        }
        Arguments::Parse { value, zone } => Ok(read(&value, &zone)?.describe()),
        Arguments::Format {
            value,
            format,
            zone,
        } => read(&value, &zone)?.format(&format),
        Arguments::Difference { from, to, zone } => read(&from, &zone)?.until(&read(&to, &zone)?),
        Arguments::Add {
            value,
            amount,
            unit,
            zone,
        } => Ok(read(&value, &zone)?.add(amount, unit)?.describe()),
    }
}

#[cfg(test)]
mod tests;
