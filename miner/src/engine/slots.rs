//! The slots: one thread each with contexts of its own, so that one request never changes the numbers of
//! another. Requests wait in one bounded queue.

use super::error::{ApiError, failure};
use super::generation::{Generation, Interruption, PROMPT_BATCH_TOKENS, Summary, embed, generate};
use super::load_log;
use super::model::{Model, backend};
use anyhow::Context;
use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::{LlamaContextParams, LlamaPoolingType};
use llama_cpp_2::token::LlamaToken;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Requests that may wait for a slot; the next one is answered with 503.
pub(super) const QUEUE_REQUESTS: usize = 64;
/// Tokens a slot may be ahead of a slow client.
const EVENT_CAPACITY: usize = 64;
/// Longest text to embed, in tokens: it is evaluated in one piece.
const MAX_EMBED_TOKENS: u32 = 2048;

/// What a slot reports to the request it serves.
pub(super) enum Event {
    Text(String),
    Done {
        summary: Summary,
        load_duration: Duration,
    },
    Embedded {
        embeddings: Vec<Vec<f32>>,
        load_duration: Duration,
    },
    Failed(ApiError),
}

/// What a slot is asked to do.
pub(super) enum Work {
    Generate(Generation),
    Embed {
        texts: Vec<Vec<LlamaToken>>,
        dimensions: Option<usize>,
    },
}

struct Job {
    model: usize,
    work: Work,
    events: Events,
}

/// A slot's end of the connection to its request.
pub(super) struct Events {
    sender: mpsc::Sender<Event>,
    stopping: CancellationToken,
    runtime: Handle,
}

impl Events {
    /// Whether the work is still wanted: the client is there and the engine is not stopping.
    pub fn check(&self) -> Result<(), Interruption> {
        if self.stopping.is_cancelled() {
            return Err(ApiError::Stopping.into());
        }
        if self.sender.is_closed() {
            Err(Interruption::Cancelled)
        } else {
            Ok(())
        }
    }

    /// Waits while the client is slow, but not beyond the end of the engine.
    pub fn send(&self, event: Event) -> Result<(), Interruption> {
        let event = match self.sender.try_send(event) {
            Ok(()) => return Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(Interruption::Cancelled),
            Err(mpsc::error::TrySendError::Full(event)) => event,
        };
        self.runtime.block_on(async {
            tokio::select! {
                sent = self.sender.send(event) => sent.map_err(|_| Interruption::Cancelled),
                () = self.stopping.cancelled() => Err(ApiError::Stopping.into()),
            }
        })
    }
}

/// The running slots and their queue.
pub(super) struct Slots {
    queue: Mutex<Option<mpsc::Sender<Job>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    stopping: CancellationToken,
    runtime: Handle,
    /// Cancelled when a slot ends although nobody asked it to.
    pub failed: CancellationToken,
}

impl Slots {
    /// Starts `parallel` slots with `threads` threads of computation each; returns once every context is
    /// allocated.
    pub async fn start(
        models: Arc<Vec<Model>>,
        parallel: usize,
        threads: usize,
    ) -> anyhow::Result<Self> {
        let (sender, receiver) = mpsc::channel(QUEUE_REQUESTS);
        let receiver = Arc::new(Mutex::new(receiver));
        let slots = Self {
            queue: Mutex::new(Some(sender)),
            threads: Mutex::default(),
            stopping: CancellationToken::new(),
            runtime: Handle::current(),
            failed: CancellationToken::new(),
        };
        let thread_count = i32::try_from(threads).context("--threads is too large")?;
        for index in 0..parallel {
            let (ready, is_ready) = oneshot::channel();
            let slot = Slot {
                models: Arc::clone(&models),
                threads: thread_count,
                queue: Arc::clone(&receiver),
            };
            let guard = slots.failed.clone().drop_guard();
            let thread = std::thread::Builder::new()
                .name(format!("slot-{index}"))
                .spawn(move || {
                    slot.run(ready);
                    guard.disarm();
                });
            slots
                .lock_threads()
                .push(thread.context("cannot start a thread")?);
            is_ready.await.context("a slot ended while it started")??;
        }
        Ok(slots)
    }

    /// Queues work; the receiver yields its events. Dropping the receiver cancels the work.
    pub fn submit(&self, model: usize, work: Work) -> Result<mpsc::Receiver<Event>, ApiError> {
        let (sender, receiver) = mpsc::channel(EVENT_CAPACITY);
        let events = Events {
            sender,
            stopping: self.stopping.clone(),
            runtime: self.runtime.clone(),
        };
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = queue.as_ref().ok_or(ApiError::Stopping)?;
        queue
            .try_send(Job {
                model,
                work,
                events,
            })
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => ApiError::Busy(QUEUE_REQUESTS),
                mpsc::error::TrySendError::Closed(_) => ApiError::Stopping,
            })?;
        Ok(receiver)
    }

    /// Interrupts all work; no more is taken.
    pub fn stop(&self) {
        self.stopping.cancel();
        self.queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }

    /// Waits for the threads after [`Slots::stop`]: llama.cpp must not run while the process exits.
    pub fn join(&self) {
        for thread in self.lock_threads().drain(..) {
            if thread.join().is_err() {
                tracing::error!("a slot panicked");
            }
        }
    }

    fn lock_threads(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Slot {
    models: Arc<Vec<Model>>,
    threads: i32,
    queue: Arc<Mutex<mpsc::Receiver<Job>>>,
}

/// A model's contexts in one slot.
struct Contexts<'a> {
    generation: Option<LlamaContext<'a>>,
    /// Made when it is first needed.
    embedding: Option<LlamaContext<'a>>,
}

impl Slot {
    /// Serves jobs until the queue is closed.
    fn run(self, ready: oneshot::Sender<anyhow::Result<()>>) {
        let mut contexts = match self.open_contexts() {
            Ok(contexts) => contexts,
            Err(error) => {
                // The receiver reports the error; if it is gone, so is the engine.
                let _ = ready.send(Err(error));
                return;
            }
        };
        if ready.send(Ok(())).is_err() {
            return;
        }
        while let Some(job) = self.next_job() {
            self.serve(&mut contexts, job);
        }
    }

    fn next_job(&self) -> Option<Job> {
        self.queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .blocking_recv()
    }

    fn open_contexts<'a>(&'a self) -> anyhow::Result<Vec<Contexts<'a>>> {
        let open = |model: &'a Model| {
            let generation = (!model.pools_embeddings)
                .then(|| generation_context(model, self.threads))
                .transpose()?;
            Ok(Contexts {
                generation,
                embedding: None,
            })
        };
        self.models.iter().map(open).collect()
    }

    fn serve<'a>(&'a self, contexts: &mut [Contexts<'a>], job: Job) {
        if job.events.sender.is_closed() {
            return;
        }
        let started = Instant::now();
        let model = &self.models[job.model];
        let contexts = &mut contexts[job.model];
        let result = match &job.work {
            Work::Generate(generation) => match &mut contexts.generation {
                Some(context) => {
                    let load_duration = started.elapsed();
                    generate(context, model, generation, &job.events).map(|summary| Event::Done {
                        summary,
                        load_duration,
                    })
                }
                None => Err(ApiError::BadRequest(format!(
                    "\"{}\" only makes embeddings",
                    model.name
                ))
                .into()),
            },
            Work::Embed { texts, dimensions } => {
                self.embed_all(contexts, model, texts, *dimensions, &job.events, started)
            }
        };
        let sent = match result {
            Ok(event) => job.events.send(event),
            Err(Interruption::Failed(error)) => job.events.send(Event::Failed(error)),
            Err(Interruption::Cancelled) => Err(Interruption::Cancelled),
        };
        if sent.is_err() {
            tracing::debug!(model = model.name, "cancelled: the client is gone");
        }
    }

    fn embed_all<'a>(
        &'a self,
        contexts: &mut Contexts<'a>,
        model: &'a Model,
        texts: &[Vec<LlamaToken>],
        dimensions: Option<usize>,
        events: &Events,
        started: Instant,
    ) -> Result<Event, Interruption> {
        let context = match &mut contexts.embedding {
            Some(context) => context,
            none => {
                let opened = embedding_context(model, self.threads);
                none.insert(opened.map_err(|error| ApiError::Internal(error.to_string()))?)
            }
        };
        let load_duration = started.elapsed();
        let mut embeddings = Vec::with_capacity(texts.len());
        for tokens in texts {
            events.check()?;
            embeddings.push(embed(context, tokens, dimensions)?);
        }
        Ok(Event::Embedded {
            embeddings,
            load_duration,
        })
    }
}

/// Most tokens in one text to embed with this model.
pub(super) fn embed_context_tokens(model: &Model) -> u32 {
    model.context_tokens.min(MAX_EMBED_TOKENS)
}

fn generation_context(model: &Model, threads: i32) -> anyhow::Result<LlamaContext<'_>> {
    let parameters = LlamaContextParams::default()
        .with_n_ctx(NonZeroU32::new(model.context_tokens))
        .with_n_batch(PROMPT_BATCH_TOKENS)
        .with_n_ubatch(PROMPT_BATCH_TOKENS);
    open_context(model, parameters, threads)
}

fn embedding_context(model: &Model, threads: i32) -> anyhow::Result<LlamaContext<'_>> {
    let tokens = embed_context_tokens(model);
    // A model that was not trained for embeddings gives its last token's, as Ollama does.
    let pooling = if model.pools_embeddings {
        LlamaPoolingType::Unspecified
    } else {
        LlamaPoolingType::Last
    };
    let parameters = LlamaContextParams::default()
        .with_n_ctx(NonZeroU32::new(tokens))
        .with_n_batch(tokens)
        .with_n_ubatch(tokens)
        .with_embeddings(true)
        .with_pooling_type(pooling);
    open_context(model, parameters, threads)
}

fn open_context(
    model: &Model,
    parameters: LlamaContextParams,
    threads: i32,
) -> anyhow::Result<LlamaContext<'_>> {
    // llama.cpp changes the model while it makes a context.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let parameters = parameters
        .with_n_threads(threads)
        .with_n_threads_batch(threads)
        .with_no_perf(true);
    let (context, log) = load_log::capture(|| model.weights.new_context(backend(), parameters));
    context.map_err(|error| {
        let reason = if log.is_empty() {
            error.to_string()
        } else {
            log
        };
        failure(
            "OUT_OF_MEMORY",
            format!(
                "cannot allocate a context of {} tokens for {}: {reason}",
                model.context_tokens, model.name
            ),
            "lower --context or --parallel, or use a smaller model",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_client_does_not_hold_up_the_end() {
        let (sender, mut receiver) = mpsc::channel(1);
        let stopping = CancellationToken::new();
        let events = Events {
            sender,
            stopping: stopping.clone(),
            runtime: Handle::current(),
        };
        let slot = std::thread::spawn(move || {
            assert!(events.send(Event::Text("one".into())).is_ok());
            events.send(Event::Text("two".into()))
        });
        stopping.cancel();
        let joined = tokio::task::spawn_blocking(|| slot.join())
            .await
            .unwrap()
            .unwrap();
        assert!(matches!(
            joined,
            Err(Interruption::Failed(ApiError::Stopping))
        ));
        assert!(matches!(receiver.recv().await, Some(Event::Text(text)) if text == "one"));
    }
}
