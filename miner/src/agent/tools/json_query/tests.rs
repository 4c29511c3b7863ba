//! What `json_query` selects.

use super::*;
use crate::agent::tools::Tool;
use crate::agent::tools::files::tests::Folder;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

fn call(files: &[AttachedFile], arguments: Value) -> Result<String, String> {
    let stop = Stop::after(Duration::from_secs(5), CancellationToken::new());
    let arguments = serde_json::from_value(arguments).unwrap();
    query(files, arguments, &stop).map_err(|error| error.to_string())
}

fn orders() -> Value {
    json!({"orders": [
        {"id": 1, "total": 99.90, "items": [{"name": "pen"}], "paid": true},
        {"id": 2, "total": 120.00, "items": [{"name": "ink"}, {"name": "paper"}]},
        {"id": 12345678901234567_u64, "total": 100.005, "items": []},
    ]})
}

fn selects(path: &str, expected: &str) {
    let result = call(&[], json!({"path": path, "document": orders()}));
    assert_eq!(result.as_deref(), Ok(expected), "{path}");
}

#[test]
fn paths_select_as_the_standard_says() {
    selects("$.orders[0].total", "1 result\n99.9");
    selects("$.orders[-1].id", "1 result\n12345678901234567");
    selects(
        "$.orders[*].items[*].name",
        "3 results\n\"pen\"\n\"ink\"\n\"paper\"",
    );
    selects("$..name", "3 results\n\"pen\"\n\"ink\"\n\"paper\"");
    selects(
        "$.orders[?@.total > 100].id",
        "2 results\n2\n12345678901234567",
    );
    selects("$.orders[?@.paid].id", "1 result\n1");
    selects(
        "$.orders[?!@.paid && @.items[0].name == 'ink'].id",
        "1 result\n2",
    );
    selects("$.orders[1:3].id", "2 results\n2\n12345678901234567");
    selects("$.orders[0]['id', 'total']", "2 results\n1\n99.9");
    selects("$.nothing", "no results");
    selects(
        "$.orders[2]",
        "1 result\n{\"id\":12345678901234567,\"total\":100.005,\"items\":[]}",
    );
}

#[test]
fn a_document_comes_from_a_file_or_the_call() {
    let folder = Folder::new();
    let one = [
        folder.file("a.json", "\u{feff}{\"a\": 1}"),
        folder.file("b.txt", ""),
    ];
    let offered: Vec<AttachedFile> = one[..1].to_vec();
    assert_eq!(
        call(&offered, json!({"path": "$.a"})).unwrap(),
        "1 result\n1"
    );
    assert_eq!(
        call(&offered, json!({"path": "$.a", "file": "a.json"})).unwrap(),
        "1 result\n1"
    );
    assert_eq!(
        call(&[], json!({"path": "$.a", "document": "{\"a\": 2}"})).unwrap(),
        "1 result\n2"
    );
    assert!(tool(&one).description().ends_with("Files: a.json"));
    for (arguments, expected) in [
        (
            json!({"path": "$", "file": "b.json"}),
            "did you mean \"a.json\"?",
        ),
        (
            json!({"path": "$", "file": "a.json", "document": {}}),
            "not both",
        ),
        (
            json!({"path": "$", "document": "{"}),
            "the document is no JSON: EOF",
        ),
    ] {
        let error = call(&offered, arguments).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
    assert!(
        call(&[], json!({"path": "$"}))
            .unwrap_err()
            .starts_with("name a file")
    );
}

#[test]
fn wrong_paths_are_told() {
    for (path, expected) in [
        ("orders", "is no JSONPath"),
        ("$[?length(@.a) > 1]", "functions, other paths and $"),
        ("$[?@..a]", "functions, other paths and $"),
        ("$[?@.a == $.b]", "functions, other paths and $"),
        ("$[?search(@.a, '(a*)*')]", "functions, other paths and $"),
    ] {
        let error = call(&[], json!({"path": path, "document": {}})).unwrap_err();
        assert!(error.contains(expected), "{path}: {error}");
    }
}

#[test]
fn no_query_takes_long_or_much() {
    let folder = Folder::new();
    let started = Instant::now();
    let wide = folder.file("wide.json", format!("[{}0]", "0,".repeat(900_000)));
    let deep = folder.file(
        "deep.json",
        format!("{}{}", "[".repeat(100), "]".repeat(100)),
    );
    let nested = folder.file(
        "nested.json",
        format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)),
    );
    let many = folder.file("many.json", format!("[{}0]", "0,".repeat(2_000_000)));
    let files = [wide, deep, nested, many];
    for (file, path, expected) in [
        ("wide.json", "$[*]".to_owned(), "more than 100000 values"),
        (
            "deep.json",
            format!("$..*{}", "..*".repeat(20)),
            "more than 100000 values",
        ),
        (
            "deep.json",
            format!("$[0]{}", "[0,0,0,0]".repeat(40)),
            "more than 100000 values",
        ),
        ("nested.json", "$".to_owned(), "recursion limit"),
        ("many.json", "$".to_owned(), "more than 1000000 values"),
        (
            "deep.json",
            format!("$[?{}@.a", "(".repeat(300)),
            "nested too deep",
        ),
        (
            "deep.json",
            format!("$[?{}@.a", "(".repeat(5)),
            "is no JSONPath",
        ),
        (
            "deep.json",
            format!("$[?{}@.a]", "!".repeat(300)),
            "is no JSONPath",
        ),
    ] {
        let error = call(&files, json!({"path": path, "file": file})).unwrap_err();
        assert!(error.contains(expected), "{path}: {error}");
    }
    assert!(
        started.elapsed() < Duration::from_secs(30),
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn a_large_result_is_not_written_out() {
    let text = "x".repeat(1 << 20);
    let result = call(&[], json!({"path": "$[*]", "document": [text, text]})).unwrap();
    assert!(result.len() > MAX_OUTPUT_BYTES && result.len() < 2 * MAX_OUTPUT_BYTES);
    assert!(result.starts_with("2 results\n\"xxx"));
}
