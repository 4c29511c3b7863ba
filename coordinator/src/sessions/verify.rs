//! A small pool of threads that signs assignments and verifies deliveries and checkpoints, so that the network's thread
//! never does. Verified deliveries go on to the engine a few at a time.

use std::cell::Cell;
use std::sync::Arc;

use aitbc_common::hash::{Hash, sha256};
use aitbc_common::identity::{Identity, PublicKey};
use aitbc_common::layouts::{Receipt, SignedStatement, StreamCheckpoint};
use aitbc_common::ledger::log::{self, LogError};
use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1::{self, ErrorReason};
use bytes::Bytes;
use tokio::sync::mpsc;

use super::core::{Progress, StreamKind};
use super::delivery;
use super::messages;
use super::said;
use super::stored::{self, store_error};
use super::streams::{AttemptFacts, AttemptStream, SignedCheckpoint, Streams};
use crate::engine::command::{AttemptInfo, Command, Completion, Reply};
use crate::engine::handle::EngineHandle;
use crate::ledger::proofs::LogRows;
use crate::store::{StoreError, keys, rows};

/// Threads of the pool.
const THREADS: usize = 2;
/// Tasks that may wait for one thread.
const WAITING: usize = 1_024;
/// Tasks that a thread takes at once: their deliveries reach the engine together.
const CHUNK: usize = 8;
/// Why a receipt is refused that no client would take.
const OTHER_LEDGER: &str = "the receipt says that its miner saw another ledger than this one";
/// Largest result document kept in the job's row; a larger one is kept in chunks.
const INLINE_RESULT_BYTES: u64 = 64 << 10;

/// What is called with the outcome of a delivery.
pub type Recorded = Box<dyn FnOnce(Result<v1::JobStatus, ApiError>) + Send>;

/// A delivery to verify.
pub struct Delivery {
    /// Its attempt's streams, complete.
    pub stream: Arc<AttemptStream>,
    /// Who delivers.
    pub miner: PublicKey,
    /// The receipt and what came with it.
    pub complete: Box<v1::Complete>,
    /// Whether a delivery that does not check ends the attempt; else the miner may deliver again.
    pub final_refusal: bool,
    /// Called once, on any thread; must not block.
    pub recorded: Recorded,
}

/// What is called with a signed assignment; the streams of its attempt are there then.
pub type Signed = Box<dyn FnOnce(v1::Assign) + Send>;

/// What is called with a signed newer assignment.
pub type SignedRenewal = Box<dyn FnOnce(v1::Renew) + Send>;

/// Something for the pool.
pub enum Task {
    /// Sign an assignment and open its attempt's streams.
    Sign {
        /// What to run.
        info: Box<AttemptInfo>,
        /// Time left until the job expires.
        time_left_ms: u64,
        /// Called once unless the assignment does not parse; must not block.
        signed: Signed,
    },
    /// Sign a newer assignment of an attempt.
    Renew {
        /// With the newest assignment.
        info: Box<AttemptInfo>,
        /// Called once unless the assignment does not parse; must not block.
        signed: SignedRenewal,
    },
    /// Verify a delivery and give it to the engine.
    Deliver(Delivery),
    /// Verify a checkpoint and show it to watchers.
    Checkpoint {
        /// Its attempt's streams.
        stream: Arc<AttemptStream>,
        /// The checkpoint.
        checkpoint: v1::Checkpoint,
    },
}

/// The pool. Its threads end when it is dropped.
pub struct VerifyPool {
    threads: Vec<mpsc::Sender<Task>>,
}

impl VerifyPool {
    /// Starts the threads.
    pub fn start(
        engine: &EngineHandle,
        service: &Identity,
        streams: &Arc<Streams>,
    ) -> std::io::Result<Self> {
        let mut pool = Self {
            threads: Vec::new(),
        };
        for number in 0..THREADS {
            let (send, receive) = mpsc::channel(WAITING);
            let worker = Worker {
                engine: engine.clone(),
                service: service.clone(),
                streams: Arc::clone(streams),
                seen: Cell::default(),
            };
            let thread = std::thread::Builder::new().name(format!("verify-{number}"));
            thread.spawn(move || worker.run(receive))?;
            pool.threads.push(send);
        }
        Ok(pool)
    }

    /// Gives the pool a task, waiting while it is busy. Tasks of one `key` are done in their order.
    pub async fn submit(&self, key: u64, task: Task) {
        // The threads end only after every sender is gone.
        let _ = self.thread(key).send(task).await;
    }

    /// Gives the pool a task unless it is busy.
    pub fn offer(&self, key: u64, task: Task) {
        let _dropped = self.thread(key).try_send(task);
    }

    fn thread(&self, key: u64) -> &mpsc::Sender<Task> {
        &self.threads[usize::try_from(key % self.threads.len() as u64).unwrap_or_default()]
    }
}

struct Worker {
    engine: EngineHandle,
    service: Identity,
    streams: Arc<Streams>,
    /// What the last miner had seen of the ledger, and had right: most have seen the same.
    seen: Cell<(u64, Hash)>,
}

impl Worker {
    fn run(self, mut tasks: mpsc::Receiver<Task>) {
        let mut commands = Vec::with_capacity(CHUNK);
        while let Some(task) = tasks.blocking_recv() {
            self.carry_out(task, &mut commands);
            for _ in 1..CHUNK {
                match tasks.try_recv() {
                    Ok(task) => self.carry_out(task, &mut commands),
                    Err(_) => break,
                }
            }
            self.hand_on(&mut commands);
        }
    }

    fn carry_out(&self, task: Task, commands: &mut Vec<(Command, Option<ApiError>, Recorded)>) {
        match task {
            Task::Sign {
                info,
                time_left_ms,
                signed,
            } => match AttemptFacts::sign(&info, &self.service) {
                Ok(facts) => {
                    let signature = facts.signature;
                    self.streams.insert(AttemptStream::new(facts));
                    signed(messages::assign(*info, signature, time_left_ms));
                }
                Err(error) => {
                    tracing::error!(job_id = %info.attempt.job_id, %error, "an assignment of ours does not parse")
                }
            },
            Task::Renew { info, signed } => match AttemptFacts::sign(&info, &self.service) {
                Ok(facts) => {
                    if let Some(stream) = self.streams.get(info.attempt) {
                        stream.renew(&facts);
                    }
                    signed(messages::renew(&info, facts.signature));
                }
                Err(error) => {
                    tracing::error!(job_id = %info.attempt.job_id, %error, "an assignment of ours does not parse")
                }
            },
            Task::Deliver(delivery) => commands.extend(self.deliver(delivery)),
            Task::Checkpoint { stream, checkpoint } => {
                if let Some(command) = check_checkpoint(&stream, &checkpoint) {
                    self.engine.blocking_call_all(vec![command], |_| ());
                }
            }
        }
    }

    /// Verifies and flushes; what comes back is for the engine.
    fn deliver(&self, delivery: Delivery) -> Option<(Command, Option<ApiError>, Recorded)> {
        let Delivery {
            stream,
            miner,
            complete,
            final_refusal,
            recorded,
        } = delivery;
        let said = said::receipt_of(&stream.facts.assignment, &complete);
        if let Some(command) = said.as_ref().and_then(|said| contradiction(&stream, said)) {
            return Some((command, None, recorded));
        }
        let checked = self.completion(&stream, miner, &complete);
        // A receipt that is refused is as binding.
        if let (Ok(Err(_)), Some(said)) = (&checked, said)
            && said.verify(&miner)
        {
            stream.with_said(|known| known.keep(said));
        }
        match checked {
            Ok(Ok(completion)) => Some((Command::Complete(Box::new(completion)), None, recorded)),
            Ok(Err(problem)) if !final_refusal => {
                recorded(Err(ApiError::new(
                    ErrorReason::ReceiptInvalid,
                    format!("{problem}; correct it and deliver again"),
                )));
                None
            }
            Ok(Err(problem)) => {
                tracing::info!(job_id = %stream.facts.attempt.job_id, problem, "a delivery was refused");
                let failure = v1::Failure {
                    reason: v1::FailureReason::InvalidResult.into(),
                    message: problem.clone(),
                };
                let command = Command::Fail {
                    miner_key: miner,
                    attempt: stream.facts.attempt,
                    failure,
                };
                let message = format!("{problem}; the attempt counts as failed");
                Some((
                    command,
                    Some(ApiError::new(ErrorReason::ReceiptInvalid, message)),
                    recorded,
                ))
            }
            Err(error) => {
                recorded(Err(store_error(&error)));
                None
            }
        }
    }

    fn completion(
        &self,
        stream: &Arc<AttemptStream>,
        miner: PublicKey,
        complete: &v1::Complete,
    ) -> Result<Result<Completion, String>, StoreError> {
        let mut progress = stream.progress();
        let attempt = stream.facts.attempt;
        if let Some(receipt) = partial_receipt(complete) {
            if !self.has_seen_ours(&receipt)? {
                return Ok(Err(OTHER_LEDGER.to_owned()));
            }
            self.cut(stream, &mut progress, receipt.output_len)?;
            return Ok(self.partial(stream, miner, complete, &progress));
        }
        let whole = stream.with(StreamKind::Result, |buffer| {
            buffer.whole().map(Bytes::copy_from_slice)
        });
        let result = match whole {
            Some(result) => result,
            None => {
                stored::spill(&self.engine, stream, StreamKind::Result, true)?;
                stored::read_all(
                    &self.engine.store(),
                    attempt,
                    StreamKind::Result,
                    progress.result_len,
                )?
                .into()
            }
        };
        let promise = (&stream.facts, &stream.issued()[..]);
        let checked = match delivery::check(promise, &miner, complete, &progress, &result) {
            Ok(checked) => checked,
            Err(problem) => return Ok(Err(problem)),
        };
        if !self.has_seen_ours(&checked.receipt)? {
            return Ok(Err(OTHER_LEDGER.to_owned()));
        }
        let inline = progress.result_len <= INLINE_RESULT_BYTES;
        // Out of a result in chunks no reader could take the output a piece at a time.
        let output_in_result = inline && checked.output_in_result;
        if !self.is_archived(stream)? {
            if !inline {
                stored::spill(&self.engine, stream, StreamKind::Result, true)?;
            }
            if !output_in_result {
                stored::spill(&self.engine, stream, StreamKind::Output, true)?;
            }
        }
        Ok(Ok(Completion {
            attempt,
            miner_key: miner,
            receipt: checked.receipt,
            signature: checked.signature,
            served_model: complete.served_model.clone(),
            engine: complete.engine.clone(),
            finish_reason: checked.finish_reason,
            result: inline.then_some(result),
            result_len: progress.result_len,
            output_in_result,
            first_token_ms: stream.first_ms(),
            epoch: stream.facts.epoch,
        }))
    }

    /// Whether this ledger begins with the one that the miner says to have seen: its client holds the same against it.
    fn has_seen_ours(&self, receipt: &Receipt) -> Result<bool, StoreError> {
        let seen = (receipt.seen_size, receipt.seen_root);
        if seen == Default::default() || seen == self.seen.get() {
            return Ok(true);
        }
        let store = self.engine.store();
        match log::root(&LogRows(&store), seen.0) {
            Ok(root) if seen.0 > 0 && root == seen.1 => {
                self.seen.set(seen);
                Ok(true)
            }
            Err(LogError::Store(error)) => Err(error),
            _ => Ok(false),
        }
    }

    /// A receipt without a result: for what was done until the job was stopped.
    fn partial(
        &self,
        stream: &AttemptStream,
        miner: PublicKey,
        complete: &v1::Complete,
        progress: &Progress,
    ) -> Result<Completion, String> {
        let promise = (&stream.facts, &stream.issued()[..]);
        let checked = delivery::check(promise, &miner, complete, progress, b"")?;
        Ok(Completion {
            attempt: stream.facts.attempt,
            miner_key: miner,
            receipt: checked.receipt,
            signature: checked.signature,
            served_model: complete.served_model.clone(),
            engine: complete.engine.clone(),
            finish_reason: checked.finish_reason,
            result: None,
            result_len: 0,
            output_in_result: false,
            first_token_ms: stream.first_ms(),
            epoch: stream.facts.epoch,
        })
    }

    /// The progress as it was after `len` bytes of output, where there are more.
    fn cut(
        &self,
        stream: &AttemptStream,
        progress: &mut Progress,
        len: u64,
    ) -> Result<(), StoreError> {
        if len >= progress.output_len {
            return Ok(());
        }
        stored::spill(&self.engine, stream, StreamKind::Output, true)?;
        let (store, attempt) = (self.engine.store(), stream.facts.attempt);
        let output = stored::read_all(&store, attempt, StreamKind::Output, len)?;
        (progress.output_len, progress.output_hash) = (len, sha256(&output));
        Ok(())
    }

    /// Whether the job has ended: then nothing more may be stored for it, whatever a repeated delivery brings.
    fn is_archived(&self, stream: &AttemptStream) -> Result<bool, StoreError> {
        let small = stream.with(StreamKind::Result, |buffer| {
            buffer.len() <= INLINE_RESULT_BYTES && buffer.stored() == 0
        });
        if small {
            return Ok(false);
        }
        let key = keys::archived_job(&stream.facts.owner, stream.facts.attempt.job_id);
        let rows = self
            .engine
            .store()
            .get_many(&[(crate::store::Family::Archive, &key)])?;
        match rows.into_iter().next().flatten() {
            Some(row) => Ok(rows::decode::<rows::JobRow>(row)?.finished_ms > 0),
            None => Ok(false),
        }
    }

    fn hand_on(&self, commands: &mut Vec<(Command, Option<ApiError>, Recorded)>) {
        if commands.is_empty() {
            return;
        }
        let mut asked = Vec::with_capacity(commands.len());
        let mut callers = Vec::with_capacity(commands.len());
        for (command, refusal, recorded) in commands.drain(..) {
            asked.push(command);
            callers.push((refusal, recorded));
        }
        self.engine.blocking_call_all(asked, move |replies| {
            for (reply, (refusal, recorded)) in replies.into_iter().zip(callers) {
                recorded(outcome(reply, refusal));
            }
        });
    }
}

fn outcome(
    reply: Result<Reply, ApiError>,
    refusal: Option<ApiError>,
) -> Result<v1::JobStatus, ApiError> {
    match (reply?, refusal) {
        (_, Some(refusal)) => Err(refusal),
        (Reply::Completed(status) | Reply::Failed(status), None) => Ok(status),
        _ => Err(ApiError::new(
            ErrorReason::Internal,
            "the engine gave another answer",
        )),
    }
}

/// The receipt of a delivery that has no result.
fn partial_receipt(complete: &v1::Complete) -> Option<Receipt> {
    let receipt = Receipt::decode(&complete.receipt).ok()?;
    (!delivery::has_result(&receipt)).then_some(receipt)
}

/// What follows where a statement of the attempt's miner contradicts an earlier one.
fn contradiction(stream: &AttemptStream, statement: &SignedStatement) -> Option<Command> {
    let miner = stream.facts.assignment.miner_key;
    let found = stream.with_said(|said| said.against(miner, statement))?;
    tracing::warn!(job_id = %stream.facts.attempt.job_id, %miner, "a miner signed two different outputs of one attempt");
    Some(Command::Contradicted {
        attempt: stream.facts.attempt,
        evidence: Box::new(found),
    })
}

/// Shows a checkpoint to watchers where it checks; the engine keeps the newest of a paid attempt, and hears where one
/// contradicts what its miner signed before.
pub fn check_checkpoint(stream: &AttemptStream, checkpoint: &v1::Checkpoint) -> Option<Command> {
    let facts = &stream.facts;
    let layout = StreamCheckpoint::decode(&checkpoint.checkpoint).ok()?;
    let assignment = &facts.assignment;
    let signature = checkpoint.signature.as_ref().try_into().ok()?;
    let statement = SignedStatement::Checkpoint(Box::new(layout.clone()), signature);
    let newer = stream
        .checkpoint()
        .is_none_or(|known| known.offset < layout.offset);
    let ours = layout.chain_id == assignment.chain_id
        && layout.job_id == assignment.job_id
        && layout.attempt == assignment.attempt
        && layout.job_ref == assignment.job_ref;
    if ours && let Some(command) = contradiction(stream, &statement) {
        return Some(command);
    }
    if !newer {
        return None;
    }
    if !ours || !layout.verify(&assignment.miner_key, &checkpoint.signature) {
        tracing::info!(job_id = %facts.attempt.job_id, "a checkpoint was refused");
        return None;
    }
    let kept = stream.set_checkpoint(SignedCheckpoint {
        offset: layout.offset,
        hash: layout.hash,
        layout: checkpoint.checkpoint.clone(),
        signature: checkpoint.signature.clone(),
    });
    // What does not fit the bytes that are here is as binding.
    stream.with_said(|said| said.keep(statement));
    (kept && stream.is_paid()).then(|| Command::Checkpointed {
        attempt: facts.attempt,
        checkpoint: Box::new(layout),
        signature,
    })
}
