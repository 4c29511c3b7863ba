use aitbc_common::address::Address;
use aitbc_common::hash::Hash;
use aitbc_common::identity::Identity;
use aitbc_common::ids::JobId;
use aitbc_common::layouts::{Outcome, Receipt};
use aitbc_proto::v1::Complete;

use super::*;

fn record(job: u8, output: &[u8]) -> SpoolRecord {
    let identity = Identity::from_seed(&[1; 32]);
    let receipt = Receipt {
        outcome: Outcome::Complete,
        attempt: 1,
        chain_id: Hash::default(),
        job_id: JobId([job; 16]),
        job_ref: Hash::default(),
        assignment_hash: Hash::default(),
        miner_key: identity.public(),
        payee: Address::default(),
        model_name_hash: Hash::default(),
        model_digest: Hash::default(),
        engine_hash: Hash::default(),
        output_len: output.len() as u64,
        output_hash: sha256(output),
        result_hash: sha256(b"{}"),
        tokens_in: 1,
        tokens_out: 2,
        work_ms: 3,
        seen_size: 0,
        seen_root: Hash::default(),
    };
    let complete = Complete {
        job_id: receipt.job_id.to_string(),
        attempt: 1,
        receipt: receipt.encode().into(),
        signature: Bytes::copy_from_slice(&receipt.sign(&identity)),
        served_model: "llama3:latest".to_owned(),
        engine: "ollama/0.17.4".to_owned(),
    };
    SpoolRecord {
        key: AttemptKey {
            job: receipt.job_id,
            attempt: 1,
        },
        output: Bytes::copy_from_slice(output),
        result: Bytes::from_static(b"{}"),
        complete,
        cost: 298,
    }
}

fn store(spool: &mut Spool, records: &[&SpoolRecord]) {
    let encoded: Vec<_> = records
        .iter()
        .map(|record| (record.key, record.encode()))
        .collect();
    spool.store(&encoded).unwrap();
}

/// Another process opens the folder after this one was killed: nothing is flushed or closed properly.
fn reopen(spool: Spool, folder: &Path) -> (Spool, Vec<SpoolRecord>) {
    drop(spool);
    Spool::open(folder).unwrap()
}

#[test]
fn records_survive_and_forgotten_ones_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, found) = Spool::open(folder.path()).unwrap();
    assert!(found.is_empty() && spool.is_empty());
    let records = [record(1, b"one"), record(2, b""), record(3, b"three")];
    store(&mut spool, &[&records[0]]);
    store(&mut spool, &[&records[1], &records[2]]);
    let (mut spool, found) = reopen(spool, folder.path());
    assert_eq!(found, records);
    for record in &records {
        spool.forget(record.key);
    }
    let (spool, found) = reopen(spool, folder.path());
    assert!(found.is_empty() && spool.is_empty());
    assert_eq!(folder.path().join("0.log").metadata().unwrap().len(), 0);
}

#[test]
fn a_torn_or_damaged_end_loses_only_what_was_not_yet_acknowledged_as_stored() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("0.log");
    let (mut spool, _) = Spool::open(folder.path()).unwrap();
    let (first, second) = (record(1, b"one"), record(2, b"two"));
    store(&mut spool, &[&first]);
    let whole = path.metadata().unwrap().len();
    store(&mut spool, &[&second]);
    drop(spool);
    let bytes = std::fs::read(&path).unwrap();
    for cut in (usize::try_from(whole).unwrap()..bytes.len()).step_by(7) {
        std::fs::write(&path, &bytes[..cut]).unwrap();
        let (mut spool, found) = Spool::open(folder.path()).unwrap();
        assert_eq!(found, std::slice::from_ref(&first), "cut at {cut}");
        store(&mut spool, &[&second]);
        assert_eq!(
            reopen(spool, folder.path()).1.len(),
            2,
            "usable after the cut at {cut}"
        );
    }
    let mut damaged = bytes.clone();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    damaged.extend_from_slice(&[0xff; 40]);
    std::fs::write(&path, &damaged).unwrap();
    assert_eq!(Spool::open(folder.path()).unwrap().1, [first]);
}

#[test]
fn a_whole_record_that_nobody_understands_hides_nothing_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = Spool::open(folder.path()).unwrap();
    let (first, second) = (record(1, b"one"), record(2, b"two"));
    store(&mut spool, &[&first]);
    let strange = Bytes::from_static(b"of another version");
    spool.store(&[(record(3, b"").key, strange)]).unwrap();
    store(&mut spool, &[&second]);
    let (mut spool, found) = reopen(spool, folder.path());
    assert_eq!(found, [first.clone(), second.clone()]);
    spool.forget(first.key);
    assert_eq!(reopen(spool, folder.path()).1.last(), Some(&second));
}

#[test]
fn a_second_process_gets_a_log_of_its_own_and_the_next_one_reads_both() {
    let folder = tempfile::tempdir().unwrap();
    let (mut first, _) = Spool::open(folder.path()).unwrap();
    store(&mut first, &[&record(1, b"one")]);
    let (mut second, found) = Spool::open(folder.path()).unwrap();
    assert!(found.is_empty());
    store(&mut second, &[&record(2, b"two")]);
    drop(first);
    let (third, found) = reopen(second, folder.path());
    assert_eq!(found.len(), 2);
    let (_, found) = reopen(third, folder.path());
    assert_eq!(found.len(), 2, "moved into one log");
}

#[test]
fn a_long_log_is_rewritten_when_little_of_it_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = Spool::open(folder.path()).unwrap();
    let large = vec![b'x'; 9 << 20];
    let kept = record(9, b"kept");
    store(&mut spool, &[&record(1, &large), &kept, &record(2, &large)]);
    spool.forget(record(1, &large).key);
    spool.forget(record(2, &large).key);
    assert!(folder.path().join("0.log").metadata().unwrap().len() < 4096);
    let more = record(10, b"more");
    store(&mut spool, &[&more]);
    assert_eq!(reopen(spool, folder.path()).1, [kept, more]);
}

#[test]
fn a_full_spool_and_a_full_disk_are_errors_and_harm_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = Spool::open(folder.path()).unwrap();
    let kept = record(1, b"one");
    store(&mut spool, &[&kept]);
    spool.end = MAX_BYTES;
    assert!(matches!(
        spool.store(&[(kept.key, kept.encode())]),
        Err(SpoolError::Full { .. })
    ));
    let (mut spool, _) = reopen(spool, folder.path());
    // A file that cannot be written behaves as one on a full disk.
    let writable = std::mem::replace(
        &mut spool.file,
        File::open(folder.path().join("0.log")).unwrap(),
    );
    let error = spool
        .store(&[(record(2, b"").key, record(2, b"").encode())])
        .unwrap_err();
    assert!(error.to_string().starts_with("cannot write"), "{error}");
    spool.file = writable;
    assert_eq!(reopen(spool, folder.path()).1, [kept]);
}

#[test]
fn an_unusable_folder_is_a_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("spool");
    std::fs::write(&file, "x").unwrap();
    let error = Spool::open(&file).unwrap_err();
    assert!(error.hint.is_some());
}

#[test]
fn a_record_of_the_version_before_held_the_rate() {
    let record = record(1, b"Hello");
    let mut old = record.encode().to_vec();
    old[0] = 1;
    old[19..27].copy_from_slice(&360_000_000_u64.to_be_bytes());
    let read = SpoolRecord::decode(old.into()).unwrap();
    assert_eq!(
        read,
        SpoolRecord {
            cost: 300,
            ..record
        }
    );
}
