//! Runs jobs on the model server and reports what happens.

use std::collections::BTreeMap;
use std::sync::Arc;

use aitbc_common::job_input::{JobInput, JobType};
use aitbc_common::limits::FAILURE_MESSAGE_BYTES;
use aitbc_proto::v1::{Failure, FailureReason};
use bytes::Bytes;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::agent::driver::{self, Host};
use crate::begun::Begun;
use crate::runner::{MAX_OUTPUT_BYTES, RunError, RunEvent, RunRequest, RunResult, Runner};
use crate::session::{AttemptKey, Event, JobStart};

/// Events of all runs that may wait; then the runs wait.
const EVENTS: usize = 256;
/// Events of one run that may wait.
const RUN_EVENTS: usize = 64;

/// Runs jobs, each in a task of its own.
pub struct Executor<R> {
    runner: Arc<R>,
    agents: Option<Arc<Host>>,
    begun: Begun,
    events: mpsc::Sender<Event>,
    trouble: Arc<Notify>,
    running: BTreeMap<AttemptKey, CancellationToken>,
    busy: watch::Sender<usize>,
}

impl<R: Runner> Executor<R> {
    /// An executor and where it reports. `trouble` is notified when the server may be away or changed; what `begun` knows is
    /// not run again.
    pub fn new(
        runner: Arc<R>,
        trouble: Arc<Notify>,
        begun: Begun,
    ) -> (Self, mpsc::Receiver<Event>) {
        let (events, received) = mpsc::channel(EVENTS);
        let busy = watch::Sender::new(0);
        (
            Self {
                runner,
                agents: None,
                begun,
                events,
                trouble,
                running: BTreeMap::new(),
                busy,
            },
            received,
        )
    }

    /// Executes agents too.
    #[must_use]
    pub fn with_agents(mut self, host: Host) -> Self {
        self.agents = Some(Arc::new(host));
        self
    }

    /// How many runs there are, from now on.
    pub fn busy(&self) -> watch::Receiver<usize> {
        self.busy.subscribe()
    }

    /// Starts a run.
    pub fn start(&mut self, start: JobStart) {
        self.running.retain(|_, cancel| !cancel.is_cancelled());
        let cancel = CancellationToken::new();
        self.running.insert(start.key, cancel.clone());
        let (runner, events, trouble) = (
            self.runner.clone(),
            self.events.clone(),
            self.trouble.clone(),
        );
        let (busy, begun, agents) = (self.busy.clone(), self.begun.clone(), self.agents.clone());
        busy.send_modify(|runs| *runs += 1);
        tokio::spawn(async move {
            let key = start.key;
            let executed = match begin(&begun, key).await {
                Err(failure) => Err(RunFailure::Failed {
                    failure,
                    server_in_doubt: false,
                }),
                Ok(()) if start.job_type != JobType::Agent => {
                    execute(&*runner, start, cancel.clone(), &events).await
                }
                Ok(()) => match &agents {
                    Some(host) => {
                        driver::execute(host, &*runner, start, cancel.clone(), &events).await
                    }
                    None => {
                        let message = "this miner executes no agents".to_owned();
                        Err(failed(FailureReason::Operator, message))
                    }
                },
            };
            busy.send_modify(|runs| *runs = runs.saturating_sub(1));
            let event = match executed {
                Ok(result) => Event::Finished {
                    key,
                    result: Box::new(result),
                },
                Err(RunFailure::Cancelled) => return,
                Err(RunFailure::Failed {
                    failure,
                    server_in_doubt,
                }) => {
                    if server_in_doubt {
                        trouble.notify_one();
                    }
                    Event::Failed { key, failure }
                }
            };
            // Marks the run as over; the driver may be gone.
            cancel.cancel();
            let _gone = events.send(event).await;
        });
    }

    /// Stops a run: the request to the model is dropped.
    pub fn stop(&mut self, key: AttemptKey) {
        if let Some(cancel) = self.running.remove(&key) {
            cancel.cancel();
        }
    }
}

impl<R> Drop for Executor<R> {
    fn drop(&mut self) {
        self.running.values().for_each(CancellationToken::cancel);
    }
}

/// Why a run came to nothing.
pub(crate) enum RunFailure {
    /// It was cancelled.
    Cancelled,
    /// It failed.
    Failed {
        /// What the coordinator is told.
        failure: Failure,
        /// The model server may be away or changed.
        server_in_doubt: bool,
    },
}

impl RunFailure {
    /// Of what the model server did.
    pub(crate) fn of(error: RunError) -> Self {
        match failure_reason(&error) {
            None => Self::Cancelled,
            Some(reason) => Self::Failed {
                failure: failure(reason, error.to_string()),
                server_in_doubt: !error.is_jobs_fault(),
            },
        }
    }
}

/// A failure that says nothing of the model server.
pub(crate) fn failed(reason: FailureReason, message: String) -> RunFailure {
    RunFailure::Failed {
        failure: failure(reason, message),
        server_in_doubt: false,
    }
}

/// The job's own fault.
pub(crate) fn refused(message: String) -> RunFailure {
    failed(FailureReason::InputRefused, message)
}

/// An attempt is begun once, ever: the miner signs one output of it.
async fn begin(begun: &Begun, key: AttemptKey) -> Result<(), Failure> {
    let message = match begun.begin(key).await {
        Ok(true) => return Ok(()),
        Ok(false) => "this attempt was begun here before, and is not run a second time".to_owned(),
        Err(error) => error,
    };
    Err(failure(FailureReason::Operator, message))
}

async fn execute<R: Runner>(
    runner: &R,
    start: JobStart,
    cancel: CancellationToken,
    events: &mpsc::Sender<Event>,
) -> Result<RunResult, RunFailure> {
    let JobStart {
        key,
        job_type,
        model,
        input,
        ..
    } = start;
    let input = JobInput::parse(job_type, &input)
        .map_err(|error| refused(format!("{error}; {}", error.hint)))?;
    let request = RunRequest {
        model: model.name,
        input,
        context_tokens: model.context_tokens,
        output_limit: MAX_OUTPUT_BYTES,
    };
    let (sender, mut received) = mpsc::channel(RUN_EVENTS);
    let forward = async {
        while let Some(event) = received.recv().await {
            let (data, output_tokens) = match event {
                RunEvent::Text {
                    bytes,
                    output_tokens,
                } => (bytes, output_tokens),
                RunEvent::Progress { output_tokens } => (Bytes::new(), output_tokens),
            };
            if events
                .send(Event::Output {
                    key,
                    data,
                    output_tokens,
                })
                .await
                .is_err()
            {
                break;
            }
        }
    };
    let (result, ()) = tokio::join!(runner.run(request, cancel.clone(), sender), forward);
    result.map_err(|error| match RunFailure::of(error) {
        RunFailure::Failed { .. } if cancel.is_cancelled() => RunFailure::Cancelled,
        failure => failure,
    })
}

/// The class of a failure on the wire; `None` where the run was cancelled.
fn failure_reason(error: &RunError) -> Option<FailureReason> {
    Some(match error {
        RunError::ServerAway { .. } | RunError::ServerFailed { .. } => {
            FailureReason::EngineUnavailable
        }
        RunError::ModelMissing { .. } => FailureReason::ModelMissing,
        RunError::OutOfMemory { .. } => FailureReason::OutOfMemory,
        RunError::Refused { .. } => FailureReason::InputRefused,
        RunError::StreamCut { .. } => FailureReason::StreamCut,
        RunError::Stall { .. } => FailureReason::Stalled,
        RunError::Garbage { .. } => FailureReason::Garbage,
        RunError::ContextExceeded { .. } => FailureReason::ContextExceeded,
        RunError::Cancelled(_) => return None,
    })
}

fn failure(reason: FailureReason, mut message: String) -> Failure {
    crate::text::cut(&mut message, FAILURE_MESSAGE_BYTES);
    Failure {
        reason: reason as i32,
        message,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aitbc_common::ids::JobId;
    use aitbc_common::job_input::JobType;
    use aitbc_proto::v1::MinerModel;

    use super::*;
    use crate::runner::{FinishReason, LocalModel};

    /// A model server that answers as it is told to.
    struct Scripted(fn() -> Result<RunResult, RunError>);

    impl Runner for Scripted {
        async fn version(&self) -> Result<String, RunError> {
            Ok("1".to_owned())
        }

        async fn models(&self) -> Result<Vec<LocalModel>, RunError> {
            Ok(Vec::new())
        }

        async fn run(
            &self,
            _: RunRequest,
            cancel: CancellationToken,
            events: mpsc::Sender<RunEvent>,
        ) -> Result<RunResult, RunError> {
            let text = RunEvent::Text {
                bytes: Bytes::from_static(b"Hi"),
                output_tokens: 1,
            };
            events.send(text).await.unwrap();
            match (self.0)() {
                Ok(result) => Ok(result),
                Err(RunError::Cancelled(partial)) => {
                    cancel.cancelled().await;
                    Err(RunError::Cancelled(partial))
                }
                Err(error) => Err(error),
            }
        }
    }

    fn result() -> RunResult {
        RunResult {
            content: "Hi".to_owned(),
            thinking: String::new(),
            tool_calls: Vec::new(),
            embeddings: None,
            finish_reason: FinishReason::Stop,
            tokens_in: 1,
            tokens_out: 1,
            prompt_eval_duration: Duration::ZERO,
            eval_duration: Duration::ZERO,
            load_duration: Duration::ZERO,
        }
    }

    fn job(input: &'static [u8]) -> JobStart {
        JobStart {
            key: AttemptKey {
                job: JobId([1; 16]),
                attempt: 1,
            },
            job_type: JobType::Inference,
            model: MinerModel {
                name: "llama3:latest".to_owned(),
                context_tokens: 8192,
                ..MinerModel::default()
            },
            input: Bytes::from_static(input),
            paid_for: None,
            rate: 0,
        }
    }

    async fn events(
        input: &'static [u8],
        answer: fn() -> Result<RunResult, RunError>,
    ) -> Vec<Event> {
        let folder = tempfile::tempdir().unwrap();
        events_where(begun_in(&folder), input, answer).await
    }

    fn begun_in(folder: &tempfile::TempDir) -> Begun {
        Begun::open(folder.path().join("begun")).unwrap()
    }

    async fn events_where(
        begun: Begun,
        input: &'static [u8],
        answer: fn() -> Result<RunResult, RunError>,
    ) -> Vec<Event> {
        let (mut executor, mut received) =
            Executor::new(Arc::new(Scripted(answer)), Arc::new(Notify::new()), begun);
        executor.start(job(input));
        let mut events = Vec::new();
        while let Some(event) = received.recv().await {
            let last = !matches!(event, Event::Output { .. });
            events.push(event);
            if last {
                break;
            }
        }
        events
    }

    #[tokio::test]
    async fn output_comes_before_the_result() {
        let events = events(br#"{"prompt":"Hello"}"#, || Ok(result())).await;
        assert!(
            matches!(&events[..], [Event::Output { data, .. }, Event::Finished { .. }] if data == "Hi")
        );
    }

    #[tokio::test]
    async fn an_attempt_runs_once_ever() {
        let folder = tempfile::tempdir().unwrap();
        let input = br#"{"prompt":"Hello"}"#;
        let first = events_where(begun_in(&folder), input, || Ok(result())).await;
        assert!(matches!(first.last(), Some(Event::Finished { .. })));
        let again = events_where(begun_in(&folder), input, || panic!("it ran")).await;
        let [Event::Failed { failure, .. }] = &again[..] else {
            panic!("{again:?}")
        };
        assert_eq!(failure.reason(), FailureReason::Operator);
    }

    #[tokio::test]
    async fn a_bad_input_is_the_jobs_fault_and_never_reaches_the_model() {
        let events = events(br#"{"promt":"Hello"}"#, || panic!("it ran")).await;
        let [Event::Failed { failure, .. }] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!(failure.reason(), FailureReason::InputRefused);
        assert!(failure.message.contains("prompt"), "{}", failure.message);
    }

    #[tokio::test]
    async fn failures_keep_their_class() {
        let events = events(br#"{"prompt":"Hello"}"#, || {
            Err(RunError::StreamCut {
                detail: "x".to_owned(),
            })
        })
        .await;
        assert!(
            matches!(&events[1], Event::Failed { failure, .. } if failure.reason() == FailureReason::StreamCut)
        );
    }

    #[tokio::test]
    async fn a_stopped_run_says_nothing_and_its_request_is_cancelled() {
        let folder = tempfile::tempdir().unwrap();
        let cancelled = || Err(RunError::Cancelled(Box::new(result())));
        let (mut executor, mut received) = Executor::new(
            Arc::new(Scripted(cancelled)),
            Arc::new(Notify::new()),
            begun_in(&folder),
        );
        let mut busy = executor.busy();
        executor.start(job(br#"{"prompt":"Hello"}"#));
        assert!(matches!(received.recv().await, Some(Event::Output { .. })));
        executor.stop(job(b"").key);
        busy.wait_for(|runs| *runs == 0).await.unwrap();
        drop(executor);
        assert!(received.recv().await.is_none());
    }
}
