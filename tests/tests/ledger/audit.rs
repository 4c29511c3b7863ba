//! Exports and audits.

use std::path::{Path, PathBuf};

use aitbc_common::ledger::log::leaf_hash;
use aitbc_tests::harness::{Network, Process, User, tool};
use serde_json::Value;

use super::{AIT, Payer};

/// A network with some records, and its export.
fn exported() -> (Network, PathBuf) {
    let network = Network::start();
    let me = network.user("me");
    let mut payer = Payer::new(&me);
    for memo in ["one", "two", "three"] {
        payer.transfers(AIT, memo);
    }
    payer.unstakes();
    let file = network.folder().join("ledger.ndjson");
    let export = format!("aitbc ledger export --output {}", file.display());
    let _written = me.types(&export).succeeds();
    (network, file)
}

fn audit(file: &Path) -> String {
    format!("aitbc ledger audit {} --json", file.display())
}

#[test]
fn the_network_its_export_and_python_come_to_the_same() {
    let (network, file) = exported();
    let me = network.user("me");
    let online = me.types("aitbc ledger audit --json").succeeds().json();
    // Somebody else, without a coordinator.
    let stranger = network
        .user("stranger")
        .with("AITBC_COORDINATOR", "127.0.0.1:1");
    let offline = stranger.types(&audit(&file)).succeeds().json();
    for field in [
        "chain_id",
        "records",
        "log_root",
        "supply_ait",
        "accounts",
        "seals",
    ] {
        assert_eq!(online[field], offline[field], "{field}");
    }
    assert_eq!(
        (&offline["checkpoint"], &offline["supply_ait"]),
        (&"matches".into(), &"100.000000".into())
    );
    let named = network.folder().join("named.ndjson");
    let _written = me
        .types(&format!("aitbc ledger export {}", named.display()))
        .succeeds();
    assert_eq!(
        std::fs::read(&named).expect("it was written"),
        std::fs::read(&file).expect("it was written")
    );
    // A pipe is written to, and what a link names is replaced.
    let piped = me
        .types("mkfifo pipe; (cat pipe & aitbc ledger export pipe >&2; wait)")
        .succeeds();
    assert_eq!(piped.stdout, std::fs::read(&file).expect("it was written"));
    let linked = me
        .types("ln -s real link; aitbc ledger export link >&2 && test -L link && cat real")
        .succeeds();
    assert_eq!(linked.stdout, piped.stdout);
    let read = me
        .types("aitbc ledger export | aitbc ledger audit -")
        .succeeds();
    assert!(read.text().contains('✓'), "{}", read.text());
    me.types("aitbc ledger export one --output two")
        .refuses(2, "--output");
    let streamed = me.types("aitbc ledger export").succeeds();
    assert_eq!(
        streamed.stdout,
        std::fs::read(&file).expect("it was written")
    );

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/replay.py");
    let user = stranger.with("PYTHONDONTWRITEBYTECODE", "1");
    let arguments = [&script, &file].map(|path| path.to_str().expect("UTF-8"));
    let replayed = Process::start(user.command(&tool("AITBC_TEST_PYTHON"), &arguments))
        .wait()
        .succeeds()
        .json();
    let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
    assert_eq!(replayed["size"], offline["records"]);
    assert_eq!(replayed["signed"], true);
    for (theirs, ours) in [("log_root", "log_root"), ("chain_id", "chain_id")] {
        let theirs = format!("sha256:{}", text(&replayed[theirs]));
        assert_eq!(theirs, text(&offline[ours]));
    }
}

#[test]
fn one_changed_byte_anywhere_is_found_and_named() {
    let (network, file) = exported();
    let stranger = network
        .user("stranger")
        .with("AITBC_COORDINATOR", "127.0.0.1:1");
    let good = std::fs::read(&file).expect("it was written");
    let changed = network.folder().join("changed.ndjson");
    let step = good.len() / 60;
    for at in (0..good.len()).step_by(step).chain([good.len() - 1]) {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        std::fs::write(&changed, bytes).expect("a temporary folder is writable");
        let found = stranger.types(&audit(&changed)).exits(8);
        let error = found.json_error();
        let message = error["message"].as_str().expect("a message");
        assert!(
            message.contains("record")
                && error["reason"]
                    .as_str()
                    .is_some_and(|r| r.starts_with("LEDGER_")),
            "byte {at}: {error}"
        );
    }
}

/// The export with the hashes of its records as they are now.
fn rehashed(export: &str) -> String {
    let line = |line: &str| {
        let mut fields: Value = serde_json::from_str(line).expect("JSON");
        if let Some(leaf) = fields["leaf"].as_str() {
            let leaf = hex::decode(leaf).expect("hexadecimal digits");
            fields["hash"] = hex::encode(leaf_hash(&leaf)).into();
        }
        fields.to_string() + "\n"
    };
    export.lines().map(line).collect()
}

/// The export with one byte of a record changed, and its hash with it.
fn changed(export: &str, record: usize, change: impl Fn(&mut [u8])) -> String {
    let mut lines: Vec<Value> = export
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let mut leaf = hex::decode(lines[record]["leaf"].as_str().expect("a leaf")).expect("digits");
    change(&mut leaf);
    lines[record]["leaf"] = hex::encode(leaf).into();
    let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
    rehashed(&lines.join("\n"))
}

#[test]
fn a_change_that_no_record_shows_is_told_as_closely_as_it_can_be() {
    let (network, file) = exported();
    let good = std::fs::read_to_string(&file).expect("it was written");
    let copy = network.folder().join("changed.ndjson");
    let (me, stranger) = (network.user("me"), network.user("stranger"));
    let stranger = stranger.with("AITBC_COORDINATOR", "127.0.0.1:1");
    let audited = |user: &User, text: String| {
        std::fs::write(&copy, text).expect("a temporary folder is writable");
        user.types(&format!("aitbc ledger audit {}", copy.display()))
    };
    // The genesis file, in what only the chain id shows: random bytes.
    let random = changed(&good, 0, |leaf| {
        let at = leaf
            .windows(9)
            .position(|window| window == b"\"random\":")
            .expect("the genesis file has random bytes");
        leaf[at + 10] = if leaf[at + 10] == b'0' { b'1' } else { b'0' };
    });
    audited(&stranger, random.clone()).refuses(8, "record 0 or record ");
    audited(&me, random).refuses(8, "record 0 is bad: it is the genesis file of the chain");
    // The time of a transfer: nothing but the log's root shows it. Who saw a checkpoint of what was before knows more.
    let is_third = |line: &str| line.contains(&hex::encode("three"));
    let third = good.lines().position(is_third).expect("it is there");
    let later = changed(&good, third, |leaf| {
        let time: [u8; 8] = leaf[10..18].try_into().expect("8 bytes");
        leaf[10..18].copy_from_slice(&(u64::from_be_bytes(time) + 1).to_be_bytes());
    });
    let last = good.lines().count() - 2;
    let all = format!("one of the records 0 to {last} is not");
    audited(&stranger, later).refuses(8, &all);
}

#[test]
fn the_first_bad_record_is_named_and_missing_ones_are_missed() {
    let (network, file) = exported();
    let stranger = network
        .user("stranger")
        .with("AITBC_COORDINATOR", "127.0.0.1:1");
    let good = std::fs::read_to_string(&file).expect("it was written");
    let lines: Vec<&str> = good.lines().collect();
    let changed = network.folder().join("changed.ndjson");
    let audited = |text: String| {
        std::fs::write(&changed, text).expect("a temporary folder is writable");
        stranger.types(&format!("aitbc ledger audit {}", changed.display()))
    };
    // The last digit of a transaction is of its memo, which is signed.
    let memo = lines
        .iter()
        .position(|line| line.contains(&hex::encode("two")))
        .expect("the memo is there");
    let other = good.replace(&hex::encode("two"), &hex::encode("six"));
    audited(other.clone()).refuses(8, &format!("(record {memo}) is bad: its hash is not"));
    audited(rehashed(&other)).refuses(8, &format!("record {memo} is bad"));
    audited(lines[..lines.len() - 2].join("\n") + "\n" + lines[lines.len() - 1])
        .refuses(8, "checkpoint of");
    audited(lines[1..].join("\n")).refuses(8, "line 1");
    audited(String::new()).refuses(8, "there are no records");
    audited("{\"hello\":1}\n".to_owned()).refuses(8, "line 1");
    audited("\0".repeat(3_000_000)).refuses(8, "longer than any record");
    let unsigned = audited(lines[..lines.len() - 1].join("\n")).succeeds();
    assert!(
        unsigned.stderr.contains("no signed checkpoint"),
        "{unsigned:?}"
    );
    stranger
        .types("aitbc ledger audit nowhere.ndjson")
        .refuses(1, "nowhere.ndjson");
}

#[test]
fn a_file_of_an_earlier_version_has_no_hashes_and_is_audited() {
    let network = aitbc_tests::harness::Network::start();
    let me = network.user("me");
    let file = network.folder().join("earlier.ndjson");
    let export = format!("aitbc ledger export {}", file.display());
    let _exported = me.types(&export).succeeds();
    let text = std::fs::read_to_string(&file).expect("an export");
    let without: String = text
        .lines()
        .map(|line| match line.split_once(",\"hash\"") {
            Some((record, _)) => format!("{record}}}\n"),
            None => format!("{line}\n"),
        })
        .collect();
    assert!(without != text && !without.contains("hash"));
    std::fs::write(&file, without).expect("a file to write to");
    let audit = format!("aitbc ledger audit {} --json", file.display());
    let checked = me.types(&audit).succeeds().json();
    assert_eq!(checked["checkpoint"], "matches", "{checked}");
}
