//! The lies. Each is told as well as it can be: offsets and lengths are made to fit, so that only a hash or a signature
//! gives it away.

use aitbc_common::ids::JobId;
use aitbc_common::layouts::Receipt;
use aitbc_proto::v1::get_result_response::Part;
use aitbc_proto::v1::watch_job_event::Event;
use aitbc_proto::v1::{ExecutionProof, GetResultResponse, Job, OutputChunk, WatchJobEvent};
use bytes::Bytes;

/// What the proxy says that is not so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// Nothing.
    None,
    /// One byte of the output is another.
    ByteChanged,
    /// A chunk of the output is left out.
    ChunkDropped,
    /// Two chunks of the output change places.
    ChunksSwapped,
    /// The end of the output is left out.
    Truncated,
    /// One byte of the result document is another.
    ResultChanged,
    /// The receipt names another model's digest.
    DigestChanged,
    /// The proof is the one of another job.
    ReceiptOfAnotherJob,
    /// Whatever is asked for, the answer is about another of the user's jobs.
    AnotherJob,
    /// Whatever is asked for, the answer is about a job that nobody submitted.
    InventedJob,
    /// The coordinator was asked for any model where the client pinned one.
    SpecUnpinned,
    /// The newest checkpoint is an older one.
    Rollback,
    /// Another root of the same size, signed by the log's key.
    Fork,
    /// A checkpoint that another key signed.
    LogKeyChanged,
    /// A proof of inclusion with one bit changed.
    InclusionChanged,
    /// A proof of consistency with one bit changed.
    ConsistencyChanged,
    /// A proof of the state with one bit changed.
    StateChanged,
    /// What the state was before.
    StateStale,
    /// No checkpoint covers what came since the lie began, and no record is shown.
    RecordWithheld,
    /// Record 5 is said to be of another time: no rule and no signature of its own gives that away.
    RecordRetimed,
    /// Of a receipt, the record of an earlier one is shown.
    OtherEvidence,
    /// The record of a receipt with one bit changed.
    EvidenceChanged,
    /// Nothing is recorded of any receipt.
    EvidenceWithheld,
    /// Of what locks paid for a receipt, the last record is left out.
    EvidenceCut,
    /// The records of a receipt come twice.
    EvidenceRepeated,
    /// The records of an account come twice.
    HistoryRepeated,
    /// A stake is told 30 times.
    StakeRepeated,
    /// A job is said to have cost more than the ledger has.
    PaymentOverstated,
    /// A transaction is refused for its nonce and kept for later; the next nonce is told one too high.
    NonceSkipped,
    /// The next nonce is told one too low, until a transaction was refused for it.
    NonceUsed,
    /// A lock may stay open for ever.
    DeadlineFarAway,
    /// No acknowledgement is taken.
    NotAcknowledged,
    /// Every miner has a good reputation, whatever the records say.
    ReputationOverstated,
    /// The same, said of records that nobody has.
    ReputationPostdated,
}

/// Bytes of the chunks that output is cut into, so that there are enough of them to lie about.
const PIECE: usize = 7;

/// Lies about a proof.
pub(super) fn twist_proof(lie: Lie, earlier: Option<&ExecutionProof>, proof: &mut ExecutionProof) {
    match lie {
        Lie::DigestChanged => {
            let mut receipt =
                Receipt::decode(&proof.receipt).expect("the coordinator's receipt is well-formed");
            receipt.model_digest[0] ^= 1;
            proof.receipt = Bytes::from(receipt.encode());
        }
        Lie::ReceiptOfAnotherJob => {
            *proof = earlier
                .expect("another job's result was asked for before")
                .clone();
        }
        _ => {}
    }
}

/// Lies about which job an answer is about.
pub(super) fn twist_job(lie: Lie, earlier: Option<&Job>, job: &mut Job) {
    match lie {
        Lie::AnotherJob => {
            *job = earlier
                .expect("another job's result was asked for before")
                .clone();
        }
        Lie::PaymentOverstated => job.paid_micro_ait += 1,
        Lie::InventedJob => job.job_id = JobId::new(1_795_428_000_000, 0, [7; 10]).to_string(),
        _ => {}
    }
}

/// Lies about the output in pieces.
fn twist_output(lie: Lie, pieces: &mut Vec<Vec<u8>>) {
    match lie {
        Lie::ByteChanged => {
            let middle = pieces.len() / 2;
            if let Some(byte) = pieces.get_mut(middle).and_then(|piece| piece.first_mut()) {
                *byte ^= 1;
            }
        }
        Lie::ChunkDropped => {
            pieces.remove(pieces.len() / 2);
        }
        Lie::ChunksSwapped => {
            let other = (1..pieces.len()).find(|at| pieces[*at] != pieces[0]);
            pieces.swap(
                0,
                other.expect("a text does not repeat its first bytes only"),
            );
        }
        Lie::Truncated => {
            pieces.pop();
        }
        _ => {}
    }
}

fn cut(output: &[u8]) -> Vec<Vec<u8>> {
    output.chunks(PIECE).map(<[u8]>::to_vec).collect()
}

fn twist_document(lie: Lie, document: &[u8]) -> Bytes {
    let mut document = document.to_vec();
    if lie == Lie::ResultChanged {
        let at = document
            .iter()
            .rposition(u8::is_ascii_digit)
            .expect("a result document has counts");
        document[at] = if document[at] == b'1' { b'2' } else { b'1' };
    }
    Bytes::from(document)
}

/// Lies about a result that is fetched: header, output chunks, result chunks.
pub(super) fn twist_parts(lie: Lie, parts: &mut Vec<GetResultResponse>) {
    let (mut header, mut output, mut document) = (None, Vec::new(), Vec::new());
    for part in parts.drain(..) {
        match part.part {
            Some(Part::Header(found)) => header = Some(found),
            Some(Part::Output(bytes)) => output.extend_from_slice(&bytes),
            Some(Part::Result(bytes)) => document.extend_from_slice(&bytes),
            None => {}
        }
    }
    let mut pieces = cut(&output);
    if !pieces.is_empty() {
        twist_output(lie, &mut pieces);
    }
    let document = twist_document(lie, &document);
    if let Some(header) = &mut header {
        header.output_bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
        header.result_bytes = document.len() as u64;
    }
    let answer = |part| GetResultResponse { part: Some(part) };
    parts.extend(header.map(|header| answer(Part::Header(header))));
    parts.extend(
        pieces
            .into_iter()
            .map(|piece| answer(Part::Output(piece.into()))),
    );
    parts.push(answer(Part::Result(document)));
}

/// Lies about a job that is watched. Checkpoints are left out: they may be, and would give most lies away at once.
pub(super) fn twist_events(lie: Lie, events: &mut Vec<WatchJobEvent>) {
    if lie == Lie::None {
        return;
    }
    events.retain(|event| !matches!(event.event, Some(Event::Checkpoint(_))));
    let newest = events.iter().rev().find_map(|event| match &event.event {
        Some(Event::Output(chunk)) => Some(chunk.attempt),
        _ => None,
    });
    let Some(attempt) = newest else { return };
    let (mut output, mut start, mut place) = (Vec::new(), None, None);
    for (index, event) in events.iter().enumerate() {
        if let Some(Event::Output(chunk)) = &event.event
            && chunk.attempt == attempt
        {
            output.extend_from_slice(&chunk.data);
            start.get_or_insert(chunk.offset);
            place.get_or_insert(index);
        }
    }
    let (mut offset, place) = (start.unwrap_or_default(), place.unwrap_or_default());
    let is_output = |event: &WatchJobEvent| matches!(&event.event, Some(Event::Output(chunk)) if chunk.attempt == attempt);
    events.retain(|event| !is_output(event));
    let mut pieces = cut(&output);
    twist_output(lie, &mut pieces);
    let chunks: Vec<WatchJobEvent> = pieces
        .into_iter()
        .map(|piece| {
            let chunk = OutputChunk {
                attempt,
                offset,
                data: Bytes::from(piece),
            };
            offset += chunk.data.len() as u64;
            WatchJobEvent {
                event: Some(Event::Output(chunk)),
            }
        })
        .collect();
    events.splice(place..place, chunks);
    for event in events {
        if let Some(Event::Finished(finished)) = &mut event.event {
            finished.result = finished
                .result
                .take()
                .map(|document| twist_document(lie, &document));
        }
    }
}
