//! What goes when, and how fast.

use aitbc_common::identity::PublicKey;
use aitbc_common::ids::shard_of;
use aitbc_proto::v1::JobStatus;

use super::*;
use crate::engine::core::EngineConfig;
use crate::engine::driver;
use crate::engine::handle::Nobody;
use crate::store::MemoryStore;
use crate::store::rows::{AttemptRow, DeliveryRow};

const KEPT: Retention = Retention {
    content_ms: 100,
    summary_ms: 1_000,
};

fn aged(row: &JobRow, now_ms: u64) -> Option<AgedJob> {
    age(row.clone(), OWNER, KEPT, now_ms, |_| Ok(true)).unwrap()
}

fn row() -> JobRow {
    let delivery = DeliveryRow {
        result: Some(Bytes::from_static(b"{}")),
        receipt: Bytes::from_static(b"r"),
        ..DeliveryRow::default()
    };
    JobRow {
        finished_ms: 10,
        input: Bytes::from_static(b"in"),
        attempts: vec![AttemptRow::default(), AttemptRow::default()],
        delivery: Some(delivery),
        ..JobRow::default()
    }
}

fn kept(aged: Option<AgedJob>) -> JobRow {
    JobRow::decode(aged.unwrap().row.unwrap()).unwrap()
}

#[test]
fn content_goes_first_and_the_proof_stays() {
    assert_eq!(aged(&row(), 109), None);
    let first = aged(&row(), 110);
    assert!(first.as_ref().unwrap().drops_output);
    let first = kept(first);
    assert!(
        first.content_deleted
            && first.input.is_empty()
            && first.delivery.as_ref().unwrap().result.is_none()
    );
    assert_eq!(first.attempts.len(), 2);
    assert_eq!(aged(&first, 500), None, "nothing more to do");
    let last = kept(aged(&first, 1_010));
    assert_eq!(
        (last.attempts.len(), last.delivery.unwrap().receipt),
        (1, Bytes::from_static(b"r"))
    );
}

#[test]
fn a_job_without_a_proof_goes_altogether_once_it_is_paid_out() {
    let failed = JobRow {
        delivery: None,
        content_deleted: true,
        ..row()
    };
    let gone = aged(&failed, 1_010).unwrap();
    assert_eq!((gone.row, gone.owner), (None, OWNER));
    let settling = JobRow {
        payment: PaymentStatus::Settling.into(),
        ..failed.clone()
    };
    assert_eq!(aged(&settling, 1_010), None);
    let stopped = JobRow {
        evidence: Bytes::from_static(b"checkpoint"),
        ..failed
    };
    assert_eq!(kept(aged(&stopped, 1_010)).evidence, stopped.evidence);
    let live = JobRow {
        finished_ms: 0,
        ..row()
    };
    assert_eq!(aged(&live, u64::MAX), None);
}

const OWNER: PublicKey = PublicKey([7; 32]);

/// Job `number` of its owner, finished as it was created.
fn finished(number: u16, at_ms: u64) -> (Vec<u8>, JobRow) {
    let [high, low] = number.to_be_bytes();
    let id = JobId::new(at_ms, shard_of(&OWNER), [0, 0, 0, 0, 0, 0, 0, 0, high, low]);
    let row = JobRow {
        job_id: Bytes::copy_from_slice(&id.0),
        finished_ms: at_ms,
        status: JobStatus::Completed.into(),
        ..row()
    };
    (keys::archived_job(&OWNER, id), row)
}

#[tokio::test(start_paused = true)]
async fn a_sweep_keeps_up_with_thousands_of_jobs_a_second() {
    const OLD: u16 = 20_000;
    const YOUNG: u16 = 1_000;
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let config = EngineConfig::new([1; 32], 250);
    let engine = driver::start(
        Arc::clone(&store),
        config,
        Box::new(Nobody),
        Box::new(|| true),
    );
    let engine = engine.unwrap().handle;
    let now_ms = engine.now_ms();
    let retention = Retention {
        content_ms: 3_600_000,
        summary_ms: 7_200_000,
    };
    let mut batch = Batch::new();
    for number in 0..OLD + YOUNG {
        let age_ms = if number < OLD { 5_000_000 } else { 1_000 };
        let (key, row) = finished(number, now_ms - age_ms);
        let chunk = keys::output(row.id(), 1, 1, 0);
        if number % 1_000 == 0 {
            batch.put(Family::Output, chunk, Bytes::from_static(b"chunk"));
        }
        batch.put(Family::Archive, key, row.encode_to_vec());
    }
    store
        .commit(&engine.fence(), batch, Durability::Buffered)
        .unwrap();
    let shutdown = CancellationToken::new();
    let began = Instant::now();
    let sweeping = tokio::spawn(run(engine.clone(), retention, shutdown.clone()));
    let (oldest, _) = finished(0, now_ms - 5_000_000);
    let swept = |key: &[u8]| {
        let rows = store.get_many(&[(Family::Archive, key)]).unwrap();
        rows::decode::<JobRow>(rows[0].clone().unwrap())
            .unwrap()
            .content_deleted
    };
    // The owner's oldest job comes last.
    while !swept(&oldest) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let pauses = began.elapsed() - REST.0;
    assert!(pauses < Duration::from_secs(4), "{pauses:?} for {OLD} jobs");
    let (young, _) = finished(OLD, now_ms - 1_000);
    assert!(!swept(&young));
    shutdown.cancel();
    sweeping.await.unwrap();
    let all = store
        .scan(Family::Output, &[][..]..&[u8::MAX][..], 100)
        .unwrap();
    assert_eq!(all.rows.len(), 1, "a young job's chunk stays");
}

#[test]
fn young_jobs_of_an_owner_are_skipped_at_once() {
    let key = |at_ms| Bytes::from(finished(0, at_ms).0);
    let (next, last) = (key(8_999), key(9_000));
    let goes_on = behind_young(next.clone(), &last, KEPT, 9_050);
    assert!(goes_on > next && goes_on < key(8_950) && goes_on > key(8_951));
    assert_eq!(
        behind_young(next.clone(), &last, KEPT, 9_200),
        next,
        "nothing is skipped"
    );
}
