//! What only the store on RocksDB promises: one owner, a full disk, bounded files.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use aitbc_common::hash::sha256;

use super::*;

/// Tells a test of this file, run again as a child process, which folder to use.
const CHILD_FOLDER: &str = "AITBC_STORE_TEST_FOLDER";

fn put(key: Vec<u8>, value: Vec<u8>) -> Batch {
    let mut batch = Batch::new();
    batch.put(Family::Archive, key, value);
    batch
}

/// Runs the ignored test `name` of this file in a process of its own, by way of `wrapper`.
fn run_child(wrapper: &[&str], name: &str, folder: &Path) -> Output {
    let program = std::env::current_exe().unwrap();
    let mut words: Vec<&str> = wrapper.to_vec();
    words.push(program.to_str().unwrap());
    let name = format!("store::rocks_tests::{name}");
    Command::new(words[0])
        .args(&words[1..])
        .args(["--exact", &name, "--ignored", "--nocapture"])
        .env(CHILD_FOLDER, folder)
        .output()
        .unwrap()
}

fn child_folder() -> Option<PathBuf> {
    std::env::var_os(CHILD_FOLDER).map(PathBuf::from)
}

#[test]
fn a_second_coordinator_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let first = RocksStore::open(folder.path()).unwrap();
    let refusal = RocksStore::open(folder.path()).map(drop);
    assert_eq!(refusal, Err(StoreError::InUse(folder.path().to_owned())));
    let error = refusal.unwrap_err();
    let text = format!(
        "data folder {} is used by another coordinator",
        folder.path().display()
    );
    assert_eq!(error.to_string(), text);
    assert!(error.hint().contains("another folder"));

    let other = run_child(&[], "open_in_use", folder.path());
    assert!(other.status.success(), "{other:?}");
    let log = String::from_utf8_lossy(&other.stderr);
    assert!(!log.contains("rocksdb"), "the error says it all: {log}");
    first.claim(0..=63).expect("the first goes on");
    drop(first);
    RocksStore::open(folder.path()).expect("the folder is free again");
}

#[test]
#[ignore = "the second process of a_second_coordinator_is_refused"]
fn open_in_use() {
    let Some(folder) = child_folder() else { return };
    aitbc_common::runtime::telemetry::init(0, false);
    let refusal = RocksStore::open(&folder).map(drop);
    assert_eq!(refusal, Err(StoreError::InUse(folder)));
}

#[test]
fn unusable_folders_are_explained() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    for wrong in [file.clone(), file.join("below")] {
        let error = RocksStore::open(&wrong).map(drop).unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
        assert!(
            error.to_string().contains(file.to_str().unwrap()),
            "{error}"
        );
    }
    let error = RocksStore::open("/proc/self/data").map(drop).unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
}

#[test]
fn damage_is_not_taken_for_a_torn_tail() {
    let folder = tempfile::tempdir().unwrap();
    let store = RocksStore::open(folder.path()).unwrap();
    let fence = store.claim(0..=63).unwrap();
    for count in 0..100_u8 {
        let batch = put(vec![count], vec![count; 1000]);
        store.commit(&fence, batch, Durability::Synced).unwrap();
    }
    drop(store);
    let log = fs::read_dir(folder.path().join("rocks"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "log"))
        .max_by_key(|path| fs::metadata(path).unwrap().len())
        .unwrap();
    let mut bytes = fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&log, bytes).unwrap();
    let error = RocksStore::open(folder.path()).map(drop).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
    assert!(error.hint().contains("backup"));
}

#[test]
fn the_folder_holds_few_files_and_no_logs_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..12 {
        let store = RocksStore::open(folder.path()).unwrap();
        let fence = store.claim(0..=63).unwrap();
        store
            .commit(
                &fence,
                put(b"k".to_vec(), vec![1; 5000]),
                Durability::Synced,
            )
            .unwrap();
    }
    let names: Vec<String> = fs::read_dir(folder.path().join("rocks"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let others = |name: &&String| !name.ends_with(".sst") && !name.ends_with(".blob");
    assert!(names.iter().filter(others).count() < 10, "{names:?}");
    assert!(
        !names.iter().any(|name| name.starts_with("LOG")),
        "{names:?}"
    );
    let ballast = fs::metadata(folder.path().join("ballast")).unwrap();
    assert_eq!(ballast.len(), RocksOptions::default().ballast);
}

#[test]
fn a_full_disk_is_survived() {
    let script = "mount -t tmpfs -o size=24m none \"$0\" && exec \"$@\"";
    let mount = |command: &[&str], folder: &Path| {
        let mut wrapper = vec!["unshare", "--mount", "--map-root-user", "sh", "-c", script];
        wrapper.push(folder.to_str().unwrap());
        wrapper.extend(command);
        wrapper.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let folder = tempfile::tempdir().unwrap();
    let trial = mount(&["true"], folder.path());
    let possible = Command::new(&trial[0]).args(&trial[1..]).output();
    if !possible.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: this machine lets no small disk be mounted");
        return;
    }
    let wrapper = mount(&[], folder.path());
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    let child = run_child(&wrapper, "fill_the_disk", folder.path());
    assert!(child.status.success(), "{child:?}");
}

#[test]
#[ignore = "needs a small disk: run by a_full_disk_is_survived"]
fn fill_the_disk() {
    let Some(folder) = child_folder() else { return };
    let options = RocksOptions {
        write_buffer: 2 << 20,
        ballast: 4 << 20,
        ..RocksOptions::default()
    };
    let data = folder.join("data");
    let store = RocksStore::open_with(&data, options.clone()).unwrap();
    let (acknowledged, error) = commit_rows(&store, 1000);
    let error = error.expect("a small disk does not take 1000 rows");
    assert!(matches!(error, StoreError::Full(_)), "{error:?}");
    assert!(acknowledged > 10);
    assert_eq!(rows(&store), acknowledged, "reads go on");

    store.reopen().expect("there is room to open again");
    let kept = rows(&store);
    assert!(
        kept == acknowledged || kept == acknowledged + 1,
        "of {acknowledged} acknowledged rows {kept} are there"
    );
    delete_rows(&store);
    drop(store);

    fs::remove_dir_all(&data).unwrap();
    let store = RocksStore::open_with(&data, options.clone()).unwrap();
    assert_eq!(commit_rows(&store, 20), (20, None));
    drop(store);
    let ballast = data.join("ballast");
    assert!(ballast.exists());
    let filler = folder.join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    while file.write_all(&[7; 4096]).is_ok() {}
    let store = RocksStore::open_with(&data, options).expect("the ballast makes room");
    assert!(!ballast.exists());
    assert!(
        !store.restore_ballast().unwrap(),
        "there is no room for it yet"
    );
    assert_eq!(rows(&store), 20);
    delete_rows(&store);
    drop(file);
    fs::remove_file(&filler).unwrap();
    assert!(store.restore_ballast().unwrap(), "there is room again");
}

fn delete_rows(store: &RocksStore) {
    let fence = store.claim(0..=63).unwrap();
    for key in 0..1000_u32 {
        let mut batch = Batch::new();
        batch.delete(Family::Archive, key.to_be_bytes().to_vec());
        store.commit(&fence, batch, Durability::Synced).unwrap();
    }
    assert_eq!(rows(store), 0, "a full store can be emptied");
}

/// Commits up to `count` rows of 64 KiB that do not compress; how many succeeded, and why no more.
fn commit_rows(store: &RocksStore, count: u32) -> (u32, Option<StoreError>) {
    let fence = store.claim(0..=63).unwrap();
    let mut state = 1_u64;
    for key in 0..count {
        let noise = (0..64 << 10).map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        });
        let batch = put(key.to_be_bytes().to_vec(), noise.collect());
        if let Err(error) = store.commit(&fence, batch, Durability::Synced) {
            return (key, Some(error));
        }
    }
    (count, None)
}

/// How many rows of 64 KiB there are; the failed one may be among them.
fn rows(store: &RocksStore) -> u32 {
    let there = |key: &u32| {
        let key = key.to_be_bytes();
        let values = store.get_many(&[(Family::Archive, &key)]).unwrap();
        values[0].is_some()
    };
    (0..1000).filter(there).count() as u32
}

#[test]
fn compaction_keeps_what_is_there_and_drops_what_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let store = RocksStore::open(folder.path()).unwrap();
    let fence = store.claim(0..=63).unwrap();
    let key = |n: u32| n.to_be_bytes().to_vec();
    for n in 0..8_000 {
        // Nothing that can be compressed away, and too short for a blob file, which goes only once it is all garbage.
        let hash = |part: u32| sha256(&(n * 10 + part).to_be_bytes());
        let value: Vec<u8> = (0..10).flat_map(hash).collect();
        store
            .commit(&fence, put(key(n), value), Durability::Buffered)
            .unwrap();
    }
    store.compact().unwrap();
    let bytes = || -> u64 {
        let files = fs::read_dir(folder.path().join("rocks")).unwrap();
        files
            .map(|file| file.unwrap().metadata().unwrap().len())
            .sum()
    };
    let full = bytes();
    let mut gone = Batch::new();
    gone.delete_range(Family::Archive, key(10), key(8_000));
    store.commit(&fence, gone, Durability::Synced).unwrap();
    store.compact().unwrap();
    let page = store
        .scan(Family::Archive, &key(0)..&key(8_000), usize::MAX)
        .unwrap();
    assert_eq!(page.rows.len(), 10);
    let rest = bytes();
    assert!(rest < full / 2, "{rest} of {full} bytes are left");
}
