//! Following a job until it is final: its output is checked as it arrives, through any number of reconnections.

use std::time::{Duration, Instant};

use aitbc_common::runtime::backoff::FullJitter;
use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::runtime::status::ApiError;
use aitbc_common::verify::{AttemptStart, StreamVerifier, Trust, VerifyError};
use aitbc_proto::v1::watch_job_event::Event;
use aitbc_proto::v1::{
    AttemptStarted, CancelJobRequest, ErrorReason, Job, JobFinished, JobStatus, WatchJobRequest,
};
use tonic::{Code, Status};

use super::delivery::{
    Delivery, check_model_name, missing_proof, other_job, proof_failed, proof_parts,
};
use super::fetch;
use crate::interrupt::{Interrupt, interrupted};
use crate::retries::is_away;

/// How long a job is waited for while the coordinator is away.
const PATIENCE: Duration = Duration::from_secs(300);
/// The coordinator speaks at least every 10 s; after this long without a word the stream is dead.
const SILENCE: Duration = Duration::from_secs(30);
/// A stream that lasted this long was a good one.
const HEALTHY: Duration = Duration::from_secs(15);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Takes what happens to a followed job. An error ends the following.
pub trait Watcher {
    /// Its state: first, and at each change.
    fn job(&mut self, _job: &Job) -> Result<(), CommandError> {
        Ok(())
    }

    /// An attempt begins, or goes on; where it is a new one, output of earlier ones is void.
    fn attempt(
        &mut self,
        _start: AttemptStart,
        _attempt: &AttemptStarted,
    ) -> Result<(), CommandError> {
        Ok(())
    }

    /// Output; `offset` bytes of the attempt's came before.
    fn output(&mut self, _attempt: u32, _offset: u64, _data: &[u8]) -> Result<(), CommandError> {
        Ok(())
    }

    /// The coordinator is away; said once until it is back.
    fn away(&mut self, _error: &CommandError) {}

    /// It is back.
    fn back(&mut self) {}
}

/// How a job ended.
#[derive(Debug)]
pub enum Followed {
    /// With a result that checked.
    Completed(Box<Delivery>),
    /// Without one.
    Ended(Box<Job>),
}

/// What is to be followed.
#[derive(Debug)]
pub struct Target {
    /// The job's id.
    pub job_id: String,
    /// What the user knows of it.
    pub trust: Trust,
    /// What ends the following early.
    pub interrupt: Interrupt,
}

/// Follows a job to its end. Ctrl-C or SIGTERM detaches: the job goes on, unless it is to be cancelled.
pub async fn follow(
    connection: &Connection,
    target: Target,
    watcher: &mut (dyn Watcher + Send),
) -> Result<Followed, CommandError> {
    let (job_id, mut interrupt) = (target.job_id.clone(), target.interrupt);
    let mut following = Following {
        connection,
        job_id: target.job_id,
        verifier: StreamVerifier::new(target.trust),
        output: Vec::new(),
        finished: None,
        ended: None,
        away: false,
        watcher,
    };
    tokio::select! {
        followed = following.until_final() => followed,
        () = interrupt.received() => Err(detach(connection, &job_id, interrupt.cancels).await),
    }
}

/// Why one stream ended before the job did.
enum Broken {
    /// It can be resumed.
    Lost(CommandError),
    /// It cannot.
    Fatal(CommandError),
}

impl From<CommandError> for Broken {
    fn from(error: CommandError) -> Self {
        Self::Fatal(error)
    }
}

impl From<VerifyError> for Broken {
    fn from(error: VerifyError) -> Self {
        Self::Fatal(proof_failed(&error))
    }
}

impl From<Status> for Broken {
    fn from(status: Status) -> Self {
        let too_slow = ApiError::from_status(&status).is_some_and(|error| {
            matches!(
                error.reason,
                ErrorReason::WatcherTooSlow | ErrorReason::RateLimited
            )
        });
        let resumable = too_slow || is_away(&status) || status.code() == Code::Aborted;
        let error = CommandError::from(status);
        if resumable {
            Self::Lost(error)
        } else {
            Self::Fatal(error)
        }
    }
}

struct Following<'a> {
    connection: &'a Connection,
    job_id: String,
    verifier: StreamVerifier,
    // The current attempt's output; its bound is the verifier's.
    output: Vec<u8>,
    finished: Option<JobFinished>,
    ended: Option<Job>,
    // Whether the user was told that the coordinator is away.
    away: bool,
    watcher: &'a mut (dyn Watcher + Send),
}

impl Following<'_> {
    async fn until_final(&mut self) -> Result<Followed, CommandError> {
        let mut backoff = FullJitter::new(FIRST_PAUSE, LONGEST_PAUSE);
        let mut trouble_since: Option<Instant> = None;
        loop {
            let (position, begun) = (self.verifier.position(), Instant::now());
            match self.one_stream().await {
                Ok(()) => return self.end().await,
                Err(Broken::Fatal(error)) => return Err(error),
                Err(Broken::Lost(error)) => {
                    // A stream that brought nothing and broke at once is no sign of health.
                    if self.verifier.position() != position || begun.elapsed() > HEALTHY {
                        backoff.reset();
                        trouble_since = None;
                    }
                    if !self.away {
                        self.away = true;
                        self.watcher.away(&error);
                    }
                    if trouble_since.get_or_insert_with(Instant::now).elapsed() >= PATIENCE {
                        let hint =
                            format!("come back with: aitbc client result {} --wait", self.job_id);
                        return Err(error.with_hint(hint).as_retryable());
                    }
                    backoff.wait().await;
                }
            }
        }
    }

    /// Reads one stream to its end, its trailers included; `Ok` where the job is final.
    async fn one_stream(&mut self) -> Result<(), Broken> {
        let (attempt, offset) = self.verifier.position();
        let request = WatchJobRequest {
            job_id: self.job_id.clone(),
            attempt,
            offset,
        };
        let mut jobs = self.connection.jobs();
        let mut stream = tokio::time::timeout(SILENCE, jobs.watch_job(request))
            .await
            .map_err(|_| silent())??
            .into_inner();
        loop {
            let message = tokio::time::timeout(SILENCE, stream.message()).await;
            let is_final = self.finished.is_some() || self.ended.is_some();
            let batch = match message {
                Ok(Ok(Some(batch))) => batch,
                Ok(Ok(None)) if is_final => return Ok(()),
                Ok(Ok(None)) => return Err(Broken::Lost(ended_early())),
                // All that matters has arrived.
                Ok(Err(_)) | Err(_) if is_final => return Ok(()),
                Ok(Err(status)) => return Err(status.into()),
                Err(_) => return Err(silent()),
            };
            if self.away {
                self.away = false;
                self.watcher.back();
            }
            for event in batch.events.into_iter().filter_map(|event| event.event) {
                self.event(event)?;
            }
        }
    }

    fn event(&mut self, event: Event) -> Result<(), Broken> {
        match event {
            Event::Job(job) => self.job(job)?,
            Event::AttemptStarted(started) => {
                let start = self.verifier.start(
                    started.attempt,
                    &started.assignment,
                    &started.assignment_signature,
                )?;
                if start == AttemptStart::New {
                    self.output.clear();
                }
                self.watcher.attempt(start, &started)?;
            }
            Event::Output(chunk) => {
                self.verifier
                    .output(chunk.attempt, chunk.offset, &chunk.data)?;
                self.output.extend_from_slice(&chunk.data);
                self.watcher
                    .output(chunk.attempt, chunk.offset, &chunk.data)?;
            }
            Event::Checkpoint(signed) => {
                self.verifier
                    .checkpoint(signed.attempt, &signed.checkpoint, &signed.signature)?;
            }
            Event::Finished(finished) => {
                if let Some(job) = finished.job.clone() {
                    self.job(job)?;
                }
                if self.ended.is_none() {
                    self.finished = Some(finished);
                }
            }
            Event::Keepalive(_) => {}
        }
        Ok(())
    }

    fn job(&mut self, job: Job) -> Result<(), CommandError> {
        if job.job_id != self.job_id {
            return Err(other_job(&self.job_id, &job.job_id));
        }
        self.watcher.job(&job)?;
        if matches!(
            job.status(),
            JobStatus::Failed | JobStatus::Cancelled | JobStatus::Expired
        ) {
            self.ended = Some(job);
        }
        Ok(())
    }

    async fn end(&mut self) -> Result<Followed, CommandError> {
        if let Some(job) = self.ended.take() {
            return Ok(Followed::Ended(Box::new(job)));
        }
        let finished = self
            .finished
            .take()
            .expect("a stream ends well only when the job is final");
        let (Some(job), Some(proof)) = (finished.job, finished.proof) else {
            return Err(missing_proof());
        };
        let result = match finished.result {
            Some(result) => result.to_vec(),
            None => {
                fetch::result_document(self.connection, &self.job_id, self.output.len() as u64)
                    .await?
            }
        };
        let verified = self
            .verifier
            .finish(&proof_parts(&proof), &result)
            .and_then(|verified| check_model_name(&verified, &proof).map(|()| verified))
            .map_err(|error| proof_failed(&error))?;
        let output = std::mem::take(&mut self.output);
        Ok(Followed::Completed(Box::new(Delivery {
            job,
            proof,
            verified,
            output,
        })))
    }
}

fn ended_early() -> CommandError {
    CommandError::new(
        ExitCode::Unreachable,
        "UNAVAILABLE",
        "the coordinator ended the stream",
    )
    .as_retryable()
}

fn silent() -> Broken {
    let message = format!("no word from the coordinator for {} s", SILENCE.as_secs());
    Broken::Lost(CommandError::new(ExitCode::Unreachable, "UNAVAILABLE", message).as_retryable())
}

/// How a command ends that was following a job.
async fn detach(connection: &Connection, job_id: &str, cancel: bool) -> CommandError {
    if !cancel {
        return interrupted(format!("detached; {job_id} goes on")).with_hint(format!(
            "come back with: aitbc client result {job_id} --wait"
        ));
    }
    let request = CancelJobRequest {
        job_id: job_id.to_owned(),
    };
    let answer = tokio::time::timeout(LONGEST_PAUSE, connection.jobs().cancel_job(request)).await;
    match answer {
        Ok(Ok(answer)) if answer.get_ref().cancelled => {
            interrupted(format!("{job_id} is cancelled"))
        }
        Ok(Ok(_)) => interrupted(format!("{job_id} had ended already"))
            .with_hint(format!("see how: aitbc client status {job_id}")),
        _ => interrupted(format!("{job_id} could not be cancelled; it goes on"))
            .with_hint(format!("try again: aitbc client cancel {job_id}")),
    }
}
