//! A client library for programs with many jobs: coalesces what waits into `SubmitJobs` and follows all jobs on one
//! `WatchJobs` stream.
//!
//! Submissions are sent as soon as one of at most two calls may be in flight; nothing waits on a timer, so that a lone
//! job is not delayed and a crowd shares its calls.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aitbc_proto::v1::submit_jobs_result::Result as SubmitResult;
use aitbc_proto::v1::{
    ErrorReason, JobEvent, JobStatus, SubmitJobRequest, SubmitJobResponse, SubmitJobsRequest,
    WatchJobsRequest,
};
use prost::Message;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::backoff::FullJitter;
use super::channel::Connection;
use super::status::ApiError;
use crate::limits::{JOBS_PER_BATCH, MESSAGE_BYTES};

/// Submissions that may wait; further callers wait for room.
const WAITING: usize = 4_096;
/// Calls in flight at once.
const CALLS: usize = 2;
/// Bytes of jobs in one call; the rest of a message is headers.
const BATCH_BYTES: usize = MESSAGE_BYTES - 64 * 1_024;
/// Waits between attempts to open the watch stream again.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

type Submitted = Result<SubmitJobResponse, ApiError>;
type Waiters = Arc<Mutex<HashMap<String, oneshot::Sender<JobEvent>>>>;

struct Waiting {
    request: SubmitJobRequest,
    answer: oneshot::Sender<Submitted>,
}

/// Submits and follows many jobs. Dropping it ends its tasks; the jobs go on.
pub struct Submitter {
    queue: mpsc::Sender<Waiting>,
    waiters: Waiters,
    /// Whether the watch stream was open once: from then on its cursor covers everything.
    watching: watch::Receiver<bool>,
    tasks: [JoinHandle<()>; 2],
}

impl Submitter {
    /// Starts on an open connection (scope client). Events carry results of at most `inline_result_bytes` (0 to 65,536).
    #[must_use]
    pub fn start(connection: &Connection, inline_result_bytes: u32) -> Self {
        let (queue, waiting) = mpsc::channel(WAITING);
        let waiters = Waiters::default();
        let (opened, watching) = watch::channel(false);
        let submit = tokio::spawn(submit_all(connection.clone(), waiting));
        let watch = tokio::spawn(watch_all(
            connection.clone(),
            inline_result_bytes,
            Arc::clone(&waiters),
            opened,
        ));
        Self {
            queue,
            waiters,
            watching,
            tasks: [submit, watch],
        }
    }

    /// Submits one job.
    pub async fn submit(&self, request: SubmitJobRequest) -> Submitted {
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting { request, answer };
        if self.queue.send(waiting).await.is_err() {
            return Err(stopped());
        }
        answered.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Submits one job and waits for its final event. The request id must not be in use in this submitter.
    pub async fn run(&self, request: SubmitJobRequest) -> Result<JobEvent, ApiError> {
        let (_, finished) = self.begin(request).await?;
        finished.await.map_err(|_| stopped())
    }

    /// As [`Submitter::run`], but gives the answer at once, and what brings the final event: for who pays in between.
    pub async fn begin(
        &self,
        request: SubmitJobRequest,
    ) -> Result<(SubmitJobResponse, oneshot::Receiver<JobEvent>), ApiError> {
        // A job that ended before the first watch would never be heard of.
        let mut watching = self.watching.clone();
        if watching.wait_for(|opened| *opened).await.is_err() {
            return Err(stopped());
        }
        let request_id = request.request_id.clone();
        let (done, finished) = oneshot::channel();
        self.lock().insert(request_id.clone(), done);
        match self.submit(request).await {
            Ok(submitted) => Ok((submitted, finished)),
            Err(error) => {
                self.lock().remove(&request_id);
                Err(error)
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, oneshot::Sender<JobEvent>>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Submitter {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn submit_all(connection: Connection, mut waiting: mpsc::Receiver<Waiting>) {
    let calls = Arc::new(Semaphore::new(CALLS));
    let mut next = None;
    loop {
        let first = match next.take() {
            Some(first) => first,
            None => match waiting.recv().await {
                Some(first) => first,
                None => return,
            },
        };
        let Ok(permit) = Arc::clone(&calls).acquire_owned().await else {
            return;
        };
        let mut bytes = first.request.encoded_len();
        let mut batch = vec![first];
        while batch.len() < JOBS_PER_BATCH {
            let Ok(more) = waiting.try_recv() else { break };
            bytes += more.request.encoded_len() + 8;
            if bytes > BATCH_BYTES {
                next = Some(more);
                break;
            }
            batch.push(more);
        }
        let connection = connection.clone();
        tokio::spawn(async move {
            submit_batch(&connection, batch).await;
            drop(permit);
        });
    }
}

async fn submit_batch(connection: &Connection, batch: Vec<Waiting>) {
    let (jobs, answers): (Vec<_>, Vec<_>) = batch
        .into_iter()
        .map(|waiting| (waiting.request, waiting.answer))
        .unzip();
    let results = match connection
        .jobs()
        .submit_jobs(SubmitJobsRequest { jobs })
        .await
    {
        Ok(response) => response.into_inner().results,
        Err(status) => {
            let error = ApiError::from_status(&status)
                .unwrap_or_else(|| ApiError::new(ErrorReason::Unavailable, status.message()));
            for answer in answers {
                // Who asked may have gone.
                let _ = answer.send(Err(error.clone()));
            }
            return;
        }
    };
    for (answer, result) in answers.into_iter().zip(results) {
        let result = match result.result {
            Some(SubmitResult::Submitted(submitted)) => Ok(submitted),
            Some(SubmitResult::Error(error)) => Err(ApiError::from(&error)),
            None => Err(ApiError::new(
                ErrorReason::Internal,
                "the coordinator gave no result for this job",
            )),
        };
        let _ = answer.send(result);
    }
}

/// Follows all jobs of this identity, over reconnects: the cursor makes sure that no change is missed.
async fn watch_all(
    connection: Connection,
    inline_result_bytes: u32,
    waiters: Waiters,
    opened: watch::Sender<bool>,
) {
    let mut cursor = bytes::Bytes::new();
    let mut backoff = FullJitter::new(RECONNECT.0, RECONNECT.1);
    loop {
        let request = WatchJobsRequest {
            cursor: cursor.clone(),
            inline_result_bytes,
        };
        if let Ok(response) = connection.jobs().watch_jobs(request).await {
            let mut stream = response.into_inner();
            while let Ok(Some(batch)) = stream.message().await {
                backoff.reset();
                deliver(batch.events, &waiters);
                cursor = batch.cursor;
                opened.send_replace(true);
            }
        }
        backoff.wait().await;
    }
}

fn deliver(events: Vec<JobEvent>, waiters: &Waiters) {
    let mut waiters = waiters.lock().unwrap_or_else(PoisonError::into_inner);
    for event in events {
        let last = matches!(
            event.status(),
            JobStatus::Completed | JobStatus::Failed | JobStatus::Cancelled | JobStatus::Expired
        );
        if !last {
            continue;
        }
        if let Some(waiter) = waiters.remove(&event.request_id) {
            let _ = waiter.send(event);
        }
    }
}

fn stopped() -> ApiError {
    ApiError::new(ErrorReason::Unavailable, "the submitter has stopped")
}
