//! Values of the contract as the CLI's JSON shows them.

use aitbc_common::money::MicroAit;
use aitbc_common::runtime::terminal::rfc3339_ms;
use aitbc_proto::v1::{Failure, FailureReason, Warning};
use prost_types::{Duration, Timestamp};
use serde_json::{Value, json};

/// An enum value's name in lower case without its enum's name; `null` for the unspecified one.
pub fn enum_name(name: &str, prefix: &str) -> Value {
    match name.strip_prefix(prefix).unwrap_or(name) {
        "UNSPECIFIED" => Value::Null,
        value => Value::String(value.to_lowercase()),
    }
}

/// The name of an enum field's value, [`enum_name`]; a number that this version does not know is given as it is.
macro_rules! enum_value {
    ($type:ident, $prefix:literal, $number:expr) => {
        match aitbc_proto::v1::$type::try_from($number) {
            Ok(value) => $crate::output::json::enum_name(value.as_str_name(), $prefix),
            Err(_) => serde_json::Value::from($number),
        }
    };
}
pub(crate) use enum_value;

/// The text of a JSON string, for people; `–` for anything else.
pub fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "–".to_owned(),
        other => other.to_string(),
    }
}

/// Text, or `null` where it is empty.
pub fn text_or_null(text: &str) -> Value {
    if text.is_empty() {
        Value::Null
    } else {
        Value::from(text)
    }
}

/// Micro-AIT as a string with six decimals.
pub fn ait(micro: u64) -> Value {
    Value::from(MicroAit(micro).six_decimals())
}

/// Bytes of a hash as `sha256:…`, or `null` where there are none.
pub fn hash_or_null(hash: &[u8]) -> Value {
    if hash.is_empty() {
        Value::Null
    } else {
        Value::from(format!("sha256:{}", hex::encode(hash)))
    }
}

/// A model's digest, or `null` where none is known: a receipt has zeros then.
pub fn digest_or_null(digest: &[u8]) -> Value {
    if digest.iter().all(|byte| *byte == 0) {
        Value::Null
    } else {
        hash_or_null(digest)
    }
}

/// Bytes of a signature, address or transaction as `0x…`, or `null` where there are none.
pub fn hex_or_null(bytes: &[u8]) -> Value {
    if bytes.is_empty() {
        Value::Null
    } else {
        Value::from(format!("0x{}", hex::encode(bytes)))
    }
}

/// Bytes of an identity's key as `ed25519:…`, or `null` where there are none.
pub fn key_or_null(key: &[u8]) -> Value {
    if key.is_empty() {
        Value::Null
    } else {
        Value::from(format!("ed25519:{}", hex::encode(key)))
    }
}

/// A duration in seconds as a number, to the millisecond; `null` where there is none.
pub fn seconds(duration: Option<&Duration>) -> Value {
    duration.map_or(Value::Null, |d| seconds_of_ms(duration_ms(d)))
}

/// Milliseconds as a number of seconds; whole ones without a decimal point.
pub fn seconds_of_ms(ms: u64) -> Value {
    if ms.is_multiple_of(1_000) {
        Value::from(ms / 1_000)
    } else {
        json!(ms as f64 / 1_000.0)
    }
}

/// A duration in milliseconds; negative ones count as zero.
pub fn duration_ms(duration: &Duration) -> u64 {
    let ms = i128::from(duration.seconds) * 1_000 + i128::from(duration.nanos / 1_000_000);
    u64::try_from(ms.max(0)).unwrap_or(u64::MAX)
}

/// A duration for a request, which takes whole milliseconds: the rest is cut off.
pub fn duration_for_request(duration: std::time::Duration) -> Duration {
    let nanos = duration.subsec_millis() * 1_000_000;
    Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(nanos).expect("below one second"),
    }
}

/// A time in RFC 3339, UTC, with milliseconds; `null` where there is none.
pub fn time(time: Option<&Timestamp>) -> Value {
    time.map_or(Value::Null, |t| Value::from(rfc3339_ms(timestamp_ms(t))))
}

/// A time as Unix milliseconds; before 1970 counts as zero.
pub fn timestamp_ms(time: &Timestamp) -> u64 {
    let ms = i128::from(time.seconds) * 1_000 + i128::from(time.nanos / 1_000_000);
    u64::try_from(ms.max(0)).unwrap_or(u64::MAX)
}

/// Warnings as a list of their kinds.
pub fn warnings(warnings: &[Warning]) -> Value {
    warnings
        .iter()
        .map(|w| Value::from(warning_name(w)))
        .collect()
}

/// A warning's kind: `GPU_NOT_DETECTED`.
pub fn warning_name(warning: &Warning) -> String {
    warning
        .reason()
        .as_str_name()
        .trim_start_matches("ERROR_REASON_")
        .to_owned()
}

/// A failure as `{"reason","message"}`, or `null`.
pub fn failure(failure: Option<&Failure>) -> Value {
    failure.map_or(
        Value::Null,
        |f| json!({"reason": failure_name(f.reason()), "message": f.message}),
    )
}

/// A failure's kind: `OUT_OF_MEMORY`.
pub fn failure_name(reason: FailureReason) -> &'static str {
    reason.as_str_name().trim_start_matches("FAILURE_REASON_")
}

/// One page of a list: `{"jobs":[…],"next_page_token":null}`.
pub fn page(name: &str, items: Vec<Value>, next_page_token: &str) -> Value {
    json!({name: items, "next_page_token": text_or_null(next_page_token)})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enums_lose_their_prefix() {
        assert_eq!(enum_value!(JobStatus, "JOB_STATUS_", 3), "queued");
        assert_eq!(enum_value!(FinishReason, "FINISH_REASON_", 4), "tool_calls");
        assert_eq!(enum_value!(JobStatus, "JOB_STATUS_", 0), Value::Null);
        assert_eq!(enum_value!(JobStatus, "JOB_STATUS_", 99), 99);
    }

    #[test]
    fn money_is_text_and_durations_are_numbers() {
        assert_eq!(ait(298), "0.000298");
        assert_eq!(
            seconds(Some(&Duration {
                seconds: 2,
                nanos: 140_999_999
            }))
            .to_string(),
            "2.14"
        );
        assert_eq!(
            seconds(Some(&Duration {
                seconds: 12,
                nanos: 0
            }))
            .to_string(),
            "12"
        );
        assert_eq!(
            seconds(Some(&Duration {
                seconds: -3,
                nanos: 0
            }))
            .to_string(),
            "0"
        );
        assert_eq!(seconds(None), Value::Null);
    }

    #[test]
    fn absent_values_are_null() {
        for absent in [
            text_or_null(""),
            hash_or_null(&[]),
            hex_or_null(&[]),
            key_or_null(&[]),
            time(None),
            failure(None),
        ] {
            assert_eq!(absent, Value::Null);
        }
        assert_eq!(
            page("jobs", vec![], "").to_string(),
            r#"{"jobs":[],"next_page_token":null}"#
        );
    }

    #[test]
    fn hashes_keys_and_times_have_their_forms() {
        assert_eq!(hash_or_null(&[0xab, 1]), "sha256:ab01");
        assert_eq!(hex_or_null(&[0xab, 1]), "0xab01");
        assert_eq!(key_or_null(&[0xab, 1]), "ed25519:ab01");
        assert_eq!(
            time(Some(&Timestamp {
                seconds: 1_795_428_000,
                nanos: 7_900_000
            })),
            "2026-11-23T10:00:00.007Z"
        );
        assert!(
            time(Some(&Timestamp {
                seconds: i64::MAX,
                nanos: -5
            }))
            .is_string()
        );
    }

    #[test]
    fn a_requests_duration_reads_back() {
        let duration = std::time::Duration::from_nanos(90_250_999_999);
        assert_eq!(duration_ms(&duration_for_request(duration)), 90_250);
        assert_eq!(
            duration_for_request(std::time::Duration::MAX).seconds,
            i64::MAX
        );
    }

    #[test]
    fn failures_and_warnings_are_upper_case() {
        let fault = Failure {
            reason: FailureReason::OutOfMemory.into(),
            message: "m".into(),
        };
        assert_eq!(
            failure(Some(&fault)).to_string(),
            r#"{"reason":"OUT_OF_MEMORY","message":"m"}"#
        );
        let warning = Warning {
            reason: aitbc_proto::v1::ErrorReason::GpuNotDetected.into(),
            message: String::new(),
        };
        assert_eq!(warnings(&[warning]).to_string(), r#"["GPU_NOT_DETECTED"]"#);
    }
}
