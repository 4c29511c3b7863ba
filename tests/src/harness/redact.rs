//! Ids, hashes, times and measured numbers differ in each run: snapshots show what kind of thing stands there.

use serde_json::Value;

/// Replaces what differs in each run by its kind: `[job_id]`, `[time]`, `[number]`, ….
#[must_use]
pub fn redact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut before: Option<char> = None;
    while let Some(first) = rest.chars().next() {
        let starts_word = before.is_none_or(|c| !c.is_ascii_alphanumeric() && c != '_' && c != '.');
        let found = if starts_word { kind_of(rest) } else { None };
        if let Some((kind, length)) = found {
            out.push_str(kind);
            before = rest[..length].chars().next_back();
            rest = &rest[length..];
        } else {
            out.push(first);
            before = Some(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

fn run(text: &str, allowed: impl Fn(char) -> bool) -> usize {
    text.find(|c| !allowed(c)).unwrap_or(text.len())
}

fn is_base32(c: char) -> bool {
    c.is_ascii_digit() || c.is_ascii_lowercase() || c == '…'
}

fn is_hexadecimal(c: char) -> bool {
    c.is_ascii_hexdigit() || c == '…'
}

/// A kind of text, what it begins with, and the characters that follow.
type Kind = (&'static str, &'static str, fn(char) -> bool);

const KINDS: [Kind; 8] = [
    ("[job_id]", "job_0", is_base32),
    ("[miner_id]", "miner_0", is_base32),
    ("[hash]", "sha256:", is_hexadecimal),
    ("[key]", "ed25519:", is_hexadecimal),
    ("[0x]", "0x", is_hexadecimal),
    ("[address]", "127.0.0.1:", |c| c.is_ascii_digit()),
    ("leaf [number]", "leaf ", |c| c.is_ascii_digit()),
    ("checkpoint of [number]", "checkpoint of ", |c| {
        c.is_ascii_digit()
    }),
];

/// The kind and length of what stands at the front of `text`, where it differs in each run.
fn kind_of(text: &str) -> Option<(&'static str, usize)> {
    for (kind, prefix, allowed) in KINDS {
        let length = text
            .strip_prefix(prefix)
            .map_or(0, |rest| run(rest, allowed));
        if length > 0 {
            return Some((kind, prefix.len() + length));
        }
    }
    time(text)
        .or_else(|| measured(text))
        .or_else(|| decimal(text))
}

/// Something measured, with its unit: a duration, tokens.
fn measured(text: &str) -> Option<(&'static str, usize)> {
    let digits = run(text, |c| c.is_ascii_digit() || c == '.');
    let ends = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric());
    let unit = &text[digits..];
    let followed_by = |word: &str| unit.strip_prefix(word).is_some_and(ends);
    if digits == 0 || !text.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    [" ms", " s"]
        .into_iter()
        .find(|word| followed_by(word))
        .map(|word| ("[duration]", digits + word.len()))
        .or_else(|| {
            let counts = [" tokens", " out"].into_iter().any(followed_by);
            counts.then_some(("[number]", digits))
        })
}

/// `2026-11-23T10:00:00.000Z`, `10:00:00.000Z`, `10:00:00.000` or `10:10:00Z`.
fn time(text: &str) -> Option<(&'static str, usize)> {
    let matches = |pattern: &str, text: &str| {
        text.len() >= pattern.len()
            && text.bytes().zip(pattern.bytes()).all(|(c, p)| {
                if p == b'0' {
                    c.is_ascii_digit()
                } else {
                    c == p
                }
            })
    };
    [
        "0000-00-00T00:00:00.000Z",
        "0000-00-00T00:00:00Z",
        "00:00:00.000Z",
        "00:00:00.000",
        "00:00:00Z",
        "00:00:00",
    ]
    .into_iter()
    .find(|pattern| matches(pattern, text))
    .map(|pattern| ("[time]", pattern.len()))
}

/// A number with decimals (durations, speeds, costs) or a version with three parts. Whole numbers are often part of what
/// is said and stay.
fn decimal(text: &str) -> Option<(&'static str, usize)> {
    let length = run(text, |c| c.is_ascii_digit() || c == '.');
    let number = text[..length].trim_end_matches('.');
    let parts: Vec<&str> = number.split('.').collect();
    let rest = &text[number.len()..];
    match parts.len() {
        // A price is what its owner says.
        _ if rest.starts_with(" AIT/hour") || rest.starts_with(" -> ") => None,
        _ if parts.iter().any(|part| part.is_empty()) => None,
        2 => Some(("[number]", number.len())),
        3 => Some(("[version]", number.len())),
        _ => None,
    }
}

/// The same for a JSON document: texts as above, and numbers of fields that are measured.
#[must_use]
pub fn redact_json(value: &Value) -> Value {
    redact_field("", value)
}

fn redact_field(name: &str, value: &Value) -> Value {
    let measured = [
        "_tokens",
        "_seconds",
        "per_second",
        "speed",
        "memory_gib",
        "_bytes",
        "estimated_start",
        "leaf",
        "size",
        "index",
    ]
    .iter()
    .any(|end| name.ends_with(end));
    match value {
        Value::Number(_) if measured => Value::from("[number]"),
        Value::Number(number) if !number.is_u64() => Value::from("[number]"),
        Value::String(text) if name == "output" && text != "matches" => Value::from("[text]"),
        Value::String(_) if matches!(name, "request_id" | "finish_reason") => {
            Value::from(format!("[{name}]"))
        }
        Value::String(text) if name.starts_with("price_") => Value::from(text.as_str()),
        Value::String(text) => Value::from(redact(text)),
        Value::Array(items) => items.iter().map(|item| redact_field(name, item)).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), redact_field(name, value)))
            .collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named_by_its_kind() {
        for (text, expected) in [
            (
                "job_01m83xj880emq8k9w39qsaekf4 queued (position 1)",
                "[job_id] queued (position 1)",
            ),
            (
                "job_01m8…ekf4, 2.140 s, 380 ms, 0.000298 AIT",
                "[job_id], [duration], [duration], [number] AIT",
            ),
            ("yours until 10:10:00Z", "yours until [time]"),
            ("10:00:04.215  inference", "[time]  inference"),
            (r#""2026-11-23T10:00:00.000Z""#, r#""[time]""#),
            ("sha256:365c0bd3c000 0x7099…79C8", "[hash] [0x]"),
            (
                "Ollama 0.17.4 at 127.0.0.1:1234",
                "Ollama [version] at [address]",
            ),
            (
                "14 tokens in, 61 out, about 2 s; 0.5 AIT/hour, 1 slot",
                "[number] tokens in, [number] out, about [duration]; 0.5 AIT/hour, 1 slot",
            ),
            (
                "leaf 40, checkpoint of 42",
                "leaf [number], checkpoint of [number]",
            ),
            ("rig-1 1x RTX 4090, 24 GiB", "rig-1 1x RTX 4090, 24 GiB"),
        ] {
            assert_eq!(redact(text), expected);
        }
    }
}
