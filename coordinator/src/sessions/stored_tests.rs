//! What readers of stored streams hold in memory.

use aitbc_common::ids::JobId;
use aitbc_common::result_document::{FinishReason, Usage};
use aitbc_proto::v1::JobStatus;

use super::*;
use crate::store::rows::DeliveryRow;
use crate::store::{MemoryStore, SHARDS};

const JOB: JobId = JobId([7; 16]);
const ATTEMPT: AttemptId = AttemptId {
    job_id: JOB,
    attempt: 1,
};

/// A store with a stream of the attempt, in chunks of these lengths.
fn store_with(
    kind: StreamKind,
    data: &[u8],
    lengths: impl IntoIterator<Item = usize>,
) -> Arc<dyn Store> {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let fence = store.claim(0..=SHARDS - 1).unwrap();
    let mut batch = Batch::new();
    let mut offset = 0;
    for length in lengths {
        let chunk = Bytes::copy_from_slice(&data[offset..offset + length]);
        let key = keys::output(JOB, 1, kind as u8, offset as u64);
        batch.put(Family::Output, key, chunk);
        offset += length;
    }
    assert_eq!(offset, data.len());
    store.commit(&fence, batch, Durability::Buffered).unwrap();
    store
}

#[test]
fn a_stream_is_read_a_little_at_a_time_from_any_offset() {
    let lengths: Vec<usize> = (0..40).map(|i| (64 << 10) + (i % 4) * (64 << 10)).collect();
    let data: Vec<u8> = (0..lengths.iter().sum::<usize>())
        .map(|i| (i * 31 % 251) as u8)
        .collect();
    let store = store_with(StreamKind::Output, &data, lengths);
    for start in [0, 1, 65_536, 300_000, data.len() - 1, data.len()] {
        let mut read_back = Vec::new();
        loop {
            let offset = (start + read_back.len()) as u64;
            let chunks = read(&store, ATTEMPT, StreamKind::Output, offset).unwrap();
            let held: usize = chunks.iter().map(Bytes::len).sum();
            assert!(held <= 2 * CHUNK_BYTES, "{held} bytes at once");
            if chunks.is_empty() {
                break;
            }
            chunks
                .iter()
                .for_each(|chunk| read_back.extend_from_slice(chunk));
        }
        assert!(read_back == data[start..], "from {start}");
    }
}

#[tokio::test]
async fn results_that_must_be_loaded_whole_share_a_bound() {
    let text = "x".repeat(300_000);
    let document = ResultDocument {
        content: Some(text.clone()),
        thinking: None,
        tool_calls: None,
        embeddings: None,
        finish_reason: FinishReason::Stop,
        usage: Usage {
            input_tokens: 1,
            output_tokens: 1,
        },
    }
    .to_bytes();
    let len = document.len();
    let store = store_with(StreamKind::Result, &document, [200_000, len - 200_000]);
    let delivery = DeliveryRow {
        result_len: len as u64,
        output_in_result: true,
        ..DeliveryRow::default()
    };
    let row = JobRow {
        job_id: Bytes::copy_from_slice(&JOB.0),
        attempt: 1,
        status: JobStatus::Completed.into(),
        delivery: Some(delivery),
        ..JobRow::default()
    };
    // Room for one while it is loaded, and for the output of one more.
    let loads = Arc::new(Semaphore::new(900));
    let first = Archived::output(&store, &loads, &row).await.unwrap();
    let slow = first.clone();
    let second = Archived::output(&store, &loads, &row).await.unwrap();
    let refused = Archived::output(&store, &loads, &row).await.unwrap_err();
    assert_eq!(refused.code, tonic::Code::ResourceExhausted);
    assert!(refused.retry_after.is_some());
    drop(first);
    assert!(
        Archived::output(&store, &loads, &row).await.is_err(),
        "one is still read"
    );
    drop((slow, second));
    let third = Archived::output(&store, &loads, &row).await.unwrap();
    let bytes = third.read(&store, 299_990).await.unwrap().concat();
    assert_eq!(bytes, [b'x'; 10]);
    drop(third);
    assert_eq!(loads.available_permits(), 900);
}
