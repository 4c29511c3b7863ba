//! What must be survived: kill -9 of each side in mid-stream, model servers that misbehave, a full or wrong environment.

mod disk;
mod kills;
mod model_servers;
mod money;
mod processes;
mod windows;

use aitbc_common::hash::{hash_text, sha256};
use aitbc_tests::harness::{Process, Stream, User};
use serde_json::{Value, json};

/// A job whose answer takes some seconds: a list of at least 600 numbers, cut at 700 tokens.
pub fn long_job() -> String {
    json!({
        "prompt": "Numbers.",
        "format": {"type": "array", "items": {"type": "integer"}, "minItems": 600, "maxItems": 700},
        "options": {"num_predict": 700},
    })
    .to_string()
}

/// Submits the long job and follows it as JSON.
pub fn watch_long_job(user: &User) -> Process {
    let data = long_job();
    user.start(&[
        "client",
        "submit",
        "--type",
        "inference",
        "--model",
        "llama3",
        "--data",
        &data,
        "--watch",
        "--json",
    ])
}

/// Waits until a watcher has seen this many bytes of an attempt's output.
pub fn sees_output(watcher: &Process, attempt: u64, bytes: usize) {
    watcher.wait_for(
        Stream::Stdout,
        &format!("{bytes} bytes of output of attempt {attempt}"),
        |text| (output_of(&events(text), attempt).len() >= bytes).then_some(()),
    );
}

/// Whole lines of JSON.
pub fn events(text: &str) -> Vec<Value> {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// The text of one attempt's output events; they must continue each other.
pub fn output_of(events: &[Value], attempt: u64) -> String {
    let mut output = String::new();
    for event in events
        .iter()
        .filter(|event| event["event"] == "output" && event["attempt"] == attempt)
    {
        assert_eq!(event["offset"], output.len(), "{event}");
        output.push_str(event["text"].as_str().expect("text"));
    }
    output
}

/// Checks that what was watched is what the receipt covers; gives the attempt.
pub fn check_watched(user: &User, watched: &[Value]) -> u64 {
    let job = watched
        .iter()
        .find_map(|event| event["job_id"].as_str())
        .expect("events name the job");
    let result = user
        .run(&["client", "result", job, "--json"])
        .succeeds()
        .json();
    let attempt = result["receipt"]["attempt"].as_u64().expect("a number");
    let output = output_of(watched, attempt);
    assert!(
        !output.is_empty(),
        "nothing was watched of attempt {attempt}"
    );
    assert_eq!(
        result["receipt"]["output_hash"],
        hash_text(&sha256(output.as_bytes())).as_str()
    );
    assert_eq!(result["proof"]["signature"], "valid");
    attempt
}
