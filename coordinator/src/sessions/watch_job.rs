//! Follows one job: its states, the output of its attempts as it arrives, and its end.

use std::sync::Arc;
use std::time::Duration;

use aitbc_common::identity::PublicKey;
use aitbc_common::ids::JobId;
use aitbc_common::limits::WATCH_BATCH_BYTES;
use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1::watch_job_event::Event;
use aitbc_proto::v1::{self, ErrorReason, WatchJobEvent, WatchJobResponse};
use bytes::Bytes;
use prost::Message;
use tokio::sync::watch;

use super::core::StreamKind;
use super::driver::SessionContext;
use super::hub::{Change, JobSubscription};
use super::output_buffer::Read;
use super::responses::{ResponseStream, Responses, WATCHER_PATIENCE};
use super::stored::{self, Archived};
use super::streams::{AttemptFacts, AttemptStream};
use crate::engine::command::{AttemptId, AttemptInfo, Command, JobSelector, JobView, Reply};
use crate::grpc::convert;
use crate::store::rows::{AttemptRow, JobRow};

/// A stream without news says so this often.
pub const KEEPALIVE: Duration = Duration::from_secs(10);
/// Largest result document that comes with the end.
const INLINE_RESULT_BYTES: u64 = 64 << 10;

/// From where a watcher goes on.
#[derive(Debug, Clone, Copy)]
pub struct Position {
    /// The attempt it saw last; 0 = none.
    pub attempt: u32,
    /// Bytes of that attempt's output that it has.
    pub offset: u64,
}

impl Position {
    /// Where a watcher that was here goes on in an attempt's output; at the beginning of one that it has not seen.
    #[must_use]
    pub fn offset_in(self, attempt: u32) -> u64 {
        if self.attempt == attempt {
            self.offset
        } else {
            0
        }
    }
}

/// Follows a job of `owner` from `position` on.
pub async fn start(
    context: &SessionContext,
    owner: PublicKey,
    job: JobSelector,
    position: Position,
) -> Result<ResponseStream<WatchJobResponse>, ApiError> {
    let job_id = match job {
        JobSelector::Id(job_id) => job_id,
        JobSelector::Last => get_job(context, owner, job).await?.row.id(),
    };
    let subscription = context.hub.watch_job(job_id)?;
    let view = get_job(context, owner, JobSelector::Id(job_id)).await?;
    let (responses, stream) = Responses::new(WATCHER_PATIENCE);
    let watcher = Watcher {
        context: context.clone(),
        owner,
        job_id,
        subscription,
        responses,
        asked: position,
        now: Position {
            attempt: 0,
            offset: 0,
        },
        checkpointed: 0,
        live: None,
        events: Vec::new(),
        bytes: 0,
    };
    tokio::spawn(watcher.run(view));
    Ok(stream)
}

async fn get_job(
    context: &SessionContext,
    owner: PublicKey,
    job: JobSelector,
) -> Result<JobView, ApiError> {
    match context.engine.call(Command::GetJob { owner, job }).await? {
        Reply::Job(view) => Ok(*view),
        _ => Err(ApiError::new(
            ErrorReason::Internal,
            "the engine gave another answer",
        )),
    }
}

struct Watcher {
    context: SessionContext,
    owner: PublicKey,
    job_id: JobId,
    subscription: JobSubscription,
    responses: Responses<WatchJobResponse>,
    asked: Position,
    now: Position,
    checkpointed: u64,
    live: Option<(Arc<AttemptStream>, watch::Receiver<u64>)>,
    events: Vec<WatchJobEvent>,
    bytes: usize,
}

impl Watcher {
    async fn run(mut self, view: JobView) {
        let outcome = self.follow(view).await;
        self.responses.end(outcome);
    }

    async fn follow(&mut self, view: JobView) -> Result<(), ApiError> {
        if self.show(view).await? {
            return Ok(());
        }
        loop {
            self.drain().await?;
            self.flush().await?;
            let news = {
                let live = async {
                    match &mut self.live {
                        Some((_, version)) => version.changed().await.is_ok(),
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    changed = self.subscription.changes.changed() => match changed {
                        Ok(()) => self.subscription.changes.borrow_and_update().clone(),
                        Err(_) => return Err(interrupted()),
                    },
                    _ = live => None,
                    () = self.responses.closed() => return Ok(()),
                    () = tokio::time::sleep(KEEPALIVE) => {
                        self.push(Event::Keepalive(v1::Keepalive {})).await?;
                        None
                    }
                }
            };
            if let Some(change) = news
                && self.changed(&change).await?
            {
                return Ok(());
            }
        }
    }

    /// Tells about a change; whether it was the last one.
    async fn changed(&mut self, change: &Change) -> Result<bool, ApiError> {
        match &change.change.row {
            Some(row) => {
                let status = change.change.status;
                self.finish(row, status, change.signature).await?;
                Ok(true)
            }
            None => {
                let view = get_job(&self.context, self.owner, JobSelector::Id(self.job_id)).await?;
                self.show(view).await
            }
        }
    }

    /// Tells where the job stands; whether that is its end.
    async fn show(&mut self, view: JobView) -> Result<bool, ApiError> {
        let job = convert::job_view(&view, &self.context.streams);
        let is_final = convert::is_final(view.status);
        self.push(Event::Job(job)).await?;
        if is_final {
            self.finish(&view.row, view.status, None).await?;
        } else if view.status == v1::JobStatus::Processing {
            self.attach(&view.row).await?;
        }
        Ok(is_final)
    }

    /// Begins with the live attempt, unless it is the one that is followed already.
    async fn attach(&mut self, row: &JobRow) -> Result<(), ApiError> {
        let Some(live) = row.live_attempt() else {
            return Ok(());
        };
        if self.now.attempt == live.attempt && self.live.is_some() {
            return Ok(());
        }
        // What the attempt before still had to show is void.
        let id = AttemptId {
            job_id: self.job_id,
            attempt: u16::try_from(live.attempt).unwrap_or(u16::MAX),
        };
        let stream = match self.context.streams.get(id) {
            Some(stream) => stream,
            None => {
                let facts = self.facts(row, id, live)?;
                stored::resume(&self.context.engine.store(), &self.context.streams, facts).await?
            }
        };
        let same = stream.facts.assignment_bytes == live.assignment;
        let signature = same.then_some(stream.facts.signature);
        self.begin(row, live.attempt, signature).await?;
        let version = stream.subscribe();
        self.live = Some((stream, version));
        Ok(())
    }

    fn facts(
        &self,
        row: &JobRow,
        attempt: AttemptId,
        live: &AttemptRow,
    ) -> Result<AttemptFacts, ApiError> {
        let info = AttemptInfo {
            attempt,
            spec: row.spec.clone(),
            assignment: live.assignment.clone(),
            earlier: live.earlier.clone(),
            model: row.model.clone(),
            input: Bytes::new(),
            deadline_ms: row.deadline_ms,
            owner: self.owner,
            // Before anything is read out of the store.
            epoch: self.context.engine.fence().epoch(),
        };
        AttemptFacts::sign(&info, &self.context.service).map_err(|error| {
            ApiError::new(
                ErrorReason::Internal,
                format!("a stored assignment: {error}"),
            )
        })
    }

    /// Announces an attempt and sets the position in its output.
    async fn begin(
        &mut self,
        row: &JobRow,
        attempt: u32,
        signature: Option<[u8; 64]>,
    ) -> Result<(), ApiError> {
        let offset = self.asked.offset_in(attempt);
        self.now = Position { attempt, offset };
        self.checkpointed = offset;
        self.live = None;
        let Some(row) = row.attempts.iter().rev().find(|row| row.attempt == attempt) else {
            return Ok(());
        };
        let started = convert::attempt_started(row, signature, &self.context.service);
        self.push(Event::AttemptStarted(started)).await
    }

    /// Sends what the live attempt has beyond the position.
    async fn drain(&mut self) -> Result<(), ApiError> {
        let Some((stream, _)) = &mut self.live else {
            return Ok(());
        };
        let stream = Arc::clone(stream);
        loop {
            let checkpoint = stream
                .checkpoint()
                .filter(|checkpoint| checkpoint.offset > self.checkpointed);
            let mut max = WATCH_BATCH_BYTES;
            if let Some(checkpoint) = checkpoint {
                let ahead = checkpoint.offset.saturating_sub(self.now.offset);
                if ahead == 0 {
                    self.checkpointed = checkpoint.offset;
                    if checkpoint.offset == self.now.offset {
                        let event = convert::checkpoint(self.now.attempt, checkpoint);
                        self.push(Event::Checkpoint(event)).await?;
                    }
                    continue;
                }
                max = max.min(usize::try_from(ahead).unwrap_or(usize::MAX));
            }
            match stream.read_output(self.now.offset, max) {
                Read::Memory(data) => self.output(data).await?,
                Read::Store { .. } => {
                    let source = Archived::Chunks(stream.facts.attempt, StreamKind::Output);
                    let chunks = source
                        .read(&self.context.engine.store(), self.now.offset)
                        .await?;
                    let Some(first) = chunks.into_iter().next() else {
                        return Ok(());
                    };
                    self.output(first.slice(..first.len().min(max))).await?;
                }
                Read::End => return Ok(()),
            }
        }
    }

    async fn output(&mut self, data: Bytes) -> Result<(), ApiError> {
        let Position { attempt, offset } = self.now;
        self.now.offset += data.len() as u64;
        self.push(Event::Output(v1::OutputChunk {
            attempt,
            offset,
            data,
        }))
        .await
    }

    /// Sends the rest of the output, and the end.
    async fn finish(
        &mut self,
        row: &JobRow,
        status: v1::JobStatus,
        signature: Option<[u8; 64]>,
    ) -> Result<(), ApiError> {
        let store = self.context.engine.store();
        let mut result = None;
        let delivery = row
            .delivery
            .as_ref()
            .filter(|_| status == v1::JobStatus::Completed);
        if let Some(delivery) = delivery.filter(|_| !row.content_deleted) {
            let attempt = u32::from(stored::delivered_attempt(row).attempt);
            if self.now.attempt != attempt {
                self.begin(row, attempt, signature).await?;
            }
            self.drain().await?;
            let length = convert::output_len(delivery);
            if self.now.offset < length {
                let output = Archived::output(&store, &self.context.loads, row).await?;
                while self.now.offset < length {
                    let chunks = output.read(&store, self.now.offset).await?;
                    if chunks.is_empty() {
                        return Err(interrupted());
                    }
                    for chunk in chunks {
                        self.output(chunk).await?;
                    }
                }
            }
            if delivery.result_len <= INLINE_RESULT_BYTES {
                result = Archived::result(row)
                    .read(&store, 0)
                    .await?
                    .into_iter()
                    .next();
            }
        }
        let job = convert::job(row, status);
        let proof = delivery.map(|_| convert::proof(row, signature, &self.context.service));
        self.push(Event::Finished(v1::JobFinished {
            job: Some(job),
            proof,
            result,
        }))
        .await?;
        self.flush().await
    }

    async fn push(&mut self, event: Event) -> Result<(), ApiError> {
        let event = WatchJobEvent { event: Some(event) };
        let bytes = event.encoded_len() + 8;
        if self.bytes + bytes > WATCH_BATCH_BYTES {
            self.flush().await?;
        }
        self.bytes += bytes;
        self.events.push(event);
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), ApiError> {
        if self.events.is_empty() {
            return Ok(());
        }
        self.bytes = 0;
        let events = std::mem::take(&mut self.events);
        self.responses.send(WatchJobResponse { events }).await
    }
}

fn interrupted() -> ApiError {
    ApiError::new(
        ErrorReason::Unavailable,
        "the stream was interrupted; call again and go on from the last attempt and offset",
    )
    .retry_after(Duration::from_millis(500))
}
