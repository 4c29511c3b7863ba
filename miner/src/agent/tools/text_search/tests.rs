//! What `text_search` finds.

use super::*;
use crate::agent::tools::files::tests::Folder;
use serde_json::Value;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

fn call(files: &[AttachedFile], arguments: Value) -> Result<String, String> {
    let stop = Stop::after(Duration::from_secs(2), CancellationToken::new());
    let arguments = serde_json::from_value(arguments).unwrap();
    search(files, &arguments, &stop).map_err(|error| error.to_string())
}

#[test]
fn lines_are_found_with_their_numbers() {
    let folder = Folder::new();
    let files = [
        folder.file("a.txt", "one\ntwo (2)\r\nthree"),
        folder.file("b.txt", "TWO\n\ntwo (2) again\n"),
    ];
    assert_eq!(
        call(&files, json!({"pattern": "two (2)"})).unwrap(),
        "2 lines match in 2 files\na.txt:2: two (2)\nb.txt:3: two (2) again"
    );
    assert_eq!(
        call(
            &files,
            json!({"pattern": "^t(wo|hree)$", "regex": true, "ignore_case": true})
        )
        .unwrap(),
        "2 lines match in 2 files\na.txt:3: three\nb.txt:1: TWO"
    );
    assert_eq!(
        call(&files, json!({"pattern": "two", "file": "b.txt"})).unwrap(),
        "1 line matches\nb.txt:3: two (2) again"
    );
    assert_eq!(
        call(&files, json!({"pattern": "four"})).unwrap(),
        "no line matches"
    );
}

#[test]
fn only_attached_files_are_read() {
    let folder = Folder::new();
    let files = [folder.file("a.txt", "one")];
    for name in ["/etc/passwd", "../a.txt", "./a.txt"] {
        let error = call(&files, json!({"pattern": "root", "file": name})).unwrap_err();
        assert!(error.starts_with("there is no file"), "{error}");
    }
}

#[test]
fn what_is_not_shown_is_said() {
    let folder = Folder::new();
    let files = [
        folder.file("many.txt", "line\n".repeat(1000)),
        folder.file("image.png", b"\x89PNG\0line"),
    ];
    let result = call(&files, json!({"pattern": "line", "most": 2})).unwrap();
    assert_eq!(
        result,
        "1000 lines match\nmany.txt:1: line\nmany.txt:2: line\n[998 more are not shown]\n\
         [not searched, as they are no text: image.png]"
    );
}

#[test]
fn long_and_broken_lines_are_shown_in_part() {
    let folder = Folder::new();
    let mut long = vec![b'x'; 200_000];
    long.extend_from_slice(b"needle\xff");
    long.extend_from_slice(&[b'y'; 1000]);
    long.extend_from_slice(b"\nneedle");
    let result = call(
        &[folder.file("long.txt", long)],
        json!({"pattern": "needle"}),
    )
    .unwrap();
    assert!(
        result.len() < 500 && result.contains("xneedle\u{fffd}yy"),
        "{result}"
    );
    assert!(
        result.starts_with("2 lines match\nlong.txt:1: …x")
            && result.ends_with("long.txt:2: needle")
    );
}

#[test]
fn no_pattern_takes_long() {
    let folder = Folder::new();
    let files = [folder.file("a.txt", "a".repeat(8 << 20))];
    let started = Instant::now();
    for pattern in ["(a*)*b", "(a|a)*b", "(x+x+)+y", "(.*a){12}b"] {
        let _ = call(&files, json!({"pattern": pattern, "regex": true}));
    }
    assert!(
        started.elapsed() < Duration::from_secs(30),
        "{:?}",
        started.elapsed()
    );
    for pattern in ["(", "(a{1000}){1000}", "(?=a)"] {
        let error = call(&files, json!({"pattern": pattern, "regex": true})).unwrap_err();
        assert!(error.starts_with("the pattern cannot be used: "), "{error}");
    }
}

#[test]
fn a_search_ends_when_it_is_cancelled() {
    let folder = Folder::new();
    let files = [folder.file("a.txt", "a\n")];
    let cancel = CancellationToken::new();
    cancel.cancel();
    let stop = Stop::after(Duration::from_secs(60), cancel);
    let arguments = serde_json::from_value(json!({"pattern": "a"})).unwrap();
    assert_eq!(search(&files, &arguments, &stop), Err(ToolError::Cancelled));
}
