//! Records as they come, in order and without gaps.

use std::time::Duration;

use aitbc_proto::v1::GetRecordsResponse;
use bytes::Bytes;
use tonic::Streaming;

use super::refusals;
use crate::runtime::errors::{CommandError, ExitCode};

/// How long the next records may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A stream of records, at most 1 MiB or one record at a time. Each has the place that its position gives it; what they say
/// is not proven yet.
#[derive(Debug)]
pub struct Records {
    stream: Streaming<GetRecordsResponse>,
    next: u64,
    end: u64,
}

impl Records {
    pub(super) fn new(stream: Streaming<GetRecordsResponse>, start: u64, end: u64) -> Self {
        Self {
            stream,
            next: start,
            end,
        }
    }

    /// The next leaves; none at the end.
    ///
    /// # Errors
    /// The connection is lost, or records are left out (exit code 8).
    pub async fn next(&mut self) -> Result<Option<Vec<Bytes>>, CommandError> {
        if self.next == self.end {
            return Ok(None);
        }
        let answer = tokio::time::timeout(PATIENCE, self.stream.message())
            .await
            .map_err(|_| self.silent())??;
        let Some(answer) = answer else {
            return Err(refusals::withheld(format_args!(
                "of {} records it shows {}",
                self.end, self.next
            )));
        };
        let after = answer.start.saturating_add(answer.leaves.len() as u64);
        if answer.start != self.next || after == answer.start || after > self.end {
            return Err(refusals::withheld(format_args!(
                "records {} to {after} came where {} comes next",
                answer.start, self.next
            )));
        }
        self.next = after;
        Ok(Some(answer.leaves))
    }

    fn silent(&self) -> CommandError {
        let message = format!("record {} did not come within 60 s", self.next);
        CommandError::new(ExitCode::Unreachable, "TIMEOUT", message)
            .with_hint("try again in a moment; see whether the coordinator runs")
            .as_retryable()
    }
}
