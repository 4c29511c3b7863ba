//! What `datetime` says.

use super::*;
use crate::agent::tools::toolbox::validator;

fn clock() -> Timestamp {
    "2026-11-25T15:30:00Z".parse().unwrap()
}

fn call(arguments: Value) -> Result<String, String> {
    let schema = validator(&parameters()).unwrap();
    if let Some(mistake) = schema.iter_errors(&arguments).next() {
        return Err(mistake.to_string());
    }
    let arguments = serde_json::from_value(arguments).map_err(|e| e.to_string())?;
    answer(arguments, clock).map_err(|e| e.to_string())
}

fn says(arguments: Value, expected: &str) {
    assert_eq!(
        call(arguments.clone()).as_deref(),
        Ok(expected),
        "{arguments}"
    );
}

fn fails(arguments: Value, expected: &str) {
    let error = call(arguments.clone()).unwrap_err();
    assert!(error.contains(expected), "{arguments}: {error}");
}

#[test]
fn now_is_told_in_a_zone() {
    says(
        json!({"operation": "now", "zone": "Europe/Berlin"}),
        "2026-11-25T16:30:00+01:00[Europe/Berlin]\nweekday: Wednesday (ISO 3)\nISO week: 2026-W48\nday of the year: 329\n\
         Unix time: 1795620600",
    );
    assert!(
        call(json!({"operation": "now"}))
            .unwrap()
            .starts_with("2026-11-25T15:30:00+00:00[UTC]")
    );
}

#[test]
fn many_writings_are_read() {
    for (value, expected) in [
        ("2026-07-01", "2026-07-01\n"),
        (" 2026-07-01T10:00 ", "2026-07-01T10:00:00\n"),
        ("2026-07-01 10:00:30.5", "2026-07-01T10:00:30.5\n"),
        ("2026-07-01T10:00Z", "2026-07-01T10:00:00+00:00[UTC]\n"),
        ("2026-07-01T10:00+02:00", "2026-07-01T08:00:00+00:00[UTC]\n"),
        (
            "2026-07-01T10:00+02:00[Europe/Berlin]",
            "2026-07-01T10:00:00+02:00[Europe/Berlin]\n",
        ),
        (
            "Wed, 25 Nov 2026 15:00:00 +0100",
            "2026-11-25T15:00:00+01:00[+01:00]\n",
        ),
        ("1795620600", "2026-11-25T15:30:00+00:00[UTC]\n"),
    ] {
        let result = call(json!({"operation": "parse", "value": value})).unwrap();
        assert!(result.starts_with(expected), "{value}: {result}");
    }
    // The first days of a year can belong to the last week of the year before.
    assert!(
        call(json!({"operation": "parse", "value": "2027-01-01"}))
            .unwrap()
            .contains("ISO week: 2026-W53")
    );
}

#[test]
fn a_zone_places_or_converts() {
    let parse =
        |value: &str, zone: &str| call(json!({"operation": "parse", "value": value, "zone": zone}));
    assert!(
        parse("2026-07-01T10:00", "America/New_York")
            .unwrap()
            .starts_with("2026-07-01T10:00:00-04:00[America/New_York]")
    );
    assert!(
        parse("2026-07-01T10:00Z", "Asia/Kolkata")
            .unwrap()
            .starts_with("2026-07-01T15:30:00+05:30[Asia/Kolkata]")
    );
    assert!(
        parse("2026-07-01T10:00", "Europe/Berln")
            .unwrap_err()
            .contains("did you mean Europe/Berlin?")
    );
    assert!(
        parse("2026-07-01T10:00", "Mars")
            .unwrap_err()
            .contains("zones are named like")
    );
}

#[test]
fn differences_count_calendar_units_days_and_seconds() {
    says(
        json!({"operation": "difference", "from": "2025-05-01", "to": "2026-07-04"}),
        "1 year, 2 months, 3 days\n429 days",
    );
    says(
        json!({"operation": "difference", "from": "2026-07-04", "to": "2026-07-01"}),
        "3 days ago",
    );
    says(
        json!({"operation": "difference", "from": "2026-07-01T10:00", "to": "2026-07-02T11:30"}),
        "1 day, 1 hour, 30 minutes\n91800 seconds",
    );
    // The day on which clocks go forward has 23 hours.
    says(
        json!({"operation": "difference", "from": "2026-03-29T00:00", "to": "2026-03-30T00:00", "zone": "Europe/Berlin"}),
        "1 day\n82800 seconds",
    );
    fails(
        json!({"operation": "difference", "from": "2026-07-01", "to": "2026-07-02T11:30Z"}),
        "give a zone",
    );
}

#[test]
fn additions_follow_the_calendar() {
    for (value, amount, unit, expected) in [
        ("2024-01-31", 1, "months", "2024-02-29\n"),
        ("2024-02-29", 1, "years", "2025-02-28\n"),
        ("2026-07-01", -7, "days", "2026-06-24\n"),
        ("2026-07-01", 2, "weeks", "2026-07-15\n"),
        ("2026-07-01", 36, "hours", "2026-07-02T12:00:00\n"),
        (
            "2026-03-28T12:00+01:00[Europe/Berlin]",
            1,
            "days",
            "2026-03-29T12:00:00+02:00",
        ),
        (
            "2026-03-28T12:00+01:00[Europe/Berlin]",
            24,
            "hours",
            "2026-03-29T13:00:00+02:00",
        ),
    ] {
        let result =
            call(json!({"operation": "add", "value": value, "amount": amount, "unit": unit}))
                .unwrap();
        assert!(
            result.starts_with(expected),
            "{value} + {amount} {unit}: {result}"
        );
    }
    fails(
        json!({"operation": "add", "value": "9999-12-31", "amount": 1, "unit": "days"}),
        "cannot be computed",
    );
    fails(
        json!({"operation": "add", "value": "2026-07-01", "amount": 600_000_000_000_i64, "unit": "years"}),
        "cannot be computed",
    );
}

#[test]
fn formats_are_those_of_strftime() {
    says(
        json!({"operation": "format", "value": "2026-07-01T10:05", "format": "%d.%m.%Y, %H:%M (%A)"}),
        "01.07.2026, 10:05 (Wednesday)",
    );
    fails(
        json!({"operation": "format", "value": "2026-07-01", "format": "%H"}),
        "the format cannot be used",
    );
    fails(
        json!({"operation": "format", "value": "2026-07-01", "format": "%"}),
        "the format cannot be used",
    );
}

#[test]
fn wrong_arguments_are_told() {
    fails(
        json!({"operation": "parse", "value": "2026-02-30"}),
        "is no date or time",
    );
    fails(
        json!({"operation": "parse", "value": "tomorrow"}),
        "is no date or time",
    );
    fails(
        json!({"operation": "parse", "value": "2026-07-01T10:00+02:00[America/New_York]"}),
        "is no date or time",
    );
    fails(
        json!({"operation": "parse"}),
        "\"value\" is a required property",
    );
    fails(
        json!({"operation": "add", "value": "2026-07-01"}),
        "is a required property",
    );
    fails(json!({"operation": "sleep"}), "is not one of");
}
