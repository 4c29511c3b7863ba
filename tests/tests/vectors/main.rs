//! Test vectors for other languages: everything that is signed or hashed, in `proto/vectors/*.json`.
//!
//! Each file is built here from fixed values and compared with what is stored: a difference means that a frozen format
//! changed. `AITBC_REWRITE_VECTORS=1` writes the files anew, for a format that is not released yet.

mod audits;
mod cast;
mod history;
mod layouts;
mod ledger;
mod merkle;
mod records;
mod renting;
mod slashing;
mod texts;
mod transactions;

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../proto/vectors"))
}

/// Compares one file with what the code gives.
fn check(name: &str, built: &Value) {
    let path = folder().join(name);
    let mut text = serde_json::to_string_pretty(built).expect("vectors are plain JSON");
    text.push('\n');
    if std::env::var_os("AITBC_REWRITE_VECTORS").is_some() {
        fs::write(&path, &text).expect("the folder of the vectors is writable");
    }
    let stored =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(
        stored == text,
        "{} differs from what the code gives:\n{text}",
        path.display()
    );
}

/// Fixed bytes that are recognisable in a dump: `first`, `first` + 1, and so on.
fn counting<const N: usize>(first: u8) -> [u8; N] {
    std::array::from_fn(|index| first.wrapping_add(u8::try_from(index).expect("short arrays")))
}

/// Numbers that JavaScript cannot hold are texts.
fn number(value: u64) -> Value {
    json!(value.to_string())
}

#[test]
fn every_file_has_a_test() {
    let mut files: Vec<String> = fs::read_dir(folder())
        .expect("the folder of the vectors")
        .map(|entry| {
            entry
                .expect("readable")
                .file_name()
                .into_string()
                .expect("UTF-8")
        })
        .collect();
    files.sort();
    assert_eq!(
        files,
        [
            "assignment.json",
            "checkpoint.json",
            "dev_payee.json",
            "genesis.json",
            "ids.json",
            "job_spec.json",
            "ledger.json",
            "log.json",
            "model_name.json",
            "receipt.json",
            "record.json",
            "requirements.json",
            "session_proof.json",
            "state_tree.json",
            "stream_checkpoint.json",
            "tagged_hash.json",
            "token.json",
            "transaction.json",
        ]
    );
}
