//! What the spool keeps of a finished attempt until the coordinator has acknowledged it.

use aitbc_common::ids::JobId;
use aitbc_common::layouts::Receipt;
use aitbc_common::limits::{OUTPUT_BYTES, RESULT_BYTES};
use aitbc_common::money::cost;
use aitbc_proto::v1::Complete;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;

use super::AttemptKey;

/// Version of the encoding.
const VERSION: u8 = 2;
/// The one before: it held the rate per hour in place of the cost.
const VERSION_WITH_RATE: u8 = 1;
/// Version, job, attempt, cost and three lengths.
const HEADER_BYTES: usize = 1 + 16 + 2 + 8 + 3 * 4;

/// A finished attempt that was not yet acknowledged.
#[derive(Debug, Clone, PartialEq)]
pub struct SpoolRecord {
    /// Which attempt.
    pub key: AttemptKey,
    /// The whole output.
    pub output: Bytes,
    /// The result document.
    pub result: Bytes,
    /// The message that delivers it, with the signed receipt.
    pub complete: Complete,
    /// Micro-AIT that it is worth by the assignment, at most.
    pub cost: u64,
}

/// Bytes that are no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a spool record: {0}")]
pub struct RecordError(&'static str);

impl SpoolRecord {
    /// The receipt; `None` where the record is damaged.
    pub fn receipt(&self) -> Option<Receipt> {
        Receipt::decode(&self.complete.receipt).ok()
    }

    /// Its bytes.
    pub fn encode(&self) -> Bytes {
        let complete = self.complete.encode_to_vec();
        let mut out = BytesMut::with_capacity(
            HEADER_BYTES + complete.len() + self.output.len() + self.result.len(),
        );
        out.put_u8(VERSION);
        out.put_slice(&self.key.job.0);
        out.put_u16(self.key.attempt);
        out.put_u64(self.cost);
        for part in [complete.len(), self.output.len(), self.result.len()] {
            out.put_u32(
                u32::try_from(part).expect("outputs and results are bounded far below 4 GiB"),
            );
        }
        out.put_slice(&complete);
        out.put_slice(&self.output);
        out.put_slice(&self.result);
        out.freeze()
    }

    /// Reads its bytes.
    pub fn decode(mut bytes: Bytes) -> Result<Self, RecordError> {
        if bytes.len() < HEADER_BYTES {
            return Err(RecordError("it is too short"));
        }
        let version = bytes.get_u8();
        if !matches!(version, VERSION | VERSION_WITH_RATE) {
            return Err(RecordError("another version wrote it"));
        }
        let mut job = [0; 16];
        bytes.copy_to_slice(&mut job);
        let key = AttemptKey {
            job: JobId(job),
            attempt: bytes.get_u16(),
        };
        let amount = bytes.get_u64();
        let lengths =
            [bytes.get_u32(), bytes.get_u32(), bytes.get_u32()].map(|length| length as usize);
        if lengths.iter().sum::<usize>() != bytes.len() {
            return Err(RecordError("its lengths do not add up"));
        }
        if lengths[1] as u64 > OUTPUT_BYTES || lengths[2] as u64 > RESULT_BYTES {
            return Err(RecordError("it is over the bounds of output and result"));
        }
        let complete = Complete::decode(bytes.split_to(lengths[0]))
            .map_err(|_| RecordError("its receipt is damaged"))?;
        let output = bytes.split_to(lengths[1]);
        let mut record = Self {
            key,
            output,
            result: bytes,
            complete,
            cost: amount,
        };
        match record.receipt() {
            Some(receipt) if receipt.job_id == key.job && receipt.attempt == key.attempt => {
                if version == VERSION_WITH_RATE {
                    record.cost = cost(amount, receipt.work_ms);
                }
                Ok(record)
            }
            _ => Err(RecordError("its receipt is damaged")),
        }
    }
}
