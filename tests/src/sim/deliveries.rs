//! Deliveries: verified as the coordinator's pool does, then given to the engine.

use std::sync::Arc;

use aitbc_common::hash::sha256;
use aitbc_common::identity::PublicKey;
use aitbc_common::layouts::Receipt;
use aitbc_common::runtime::status::ApiError;
use aitbc_coordinator::engine::command::{AttemptInfo, Command, Completion, SessionId};
use aitbc_coordinator::sessions::core::StreamKind;
use aitbc_coordinator::sessions::streams::{AttemptFacts, AttemptStream};
use aitbc_coordinator::sessions::{delivery, stored};
use aitbc_coordinator::store::StoreError;
use aitbc_proto::v1::{self, ErrorReason, FailureReason};
use bytes::Bytes;

use super::clients::Call;
use super::context::Context;
use super::coordinator::{Caller, Coordinator, unavailable};
use super::pollers::Parcel;

/// Largest result document kept in the job's row.
const INLINE_RESULT_BYTES: u64 = 64 << 10;

/// A delivery to verify.
#[derive(Clone)]
pub struct Verification {
    /// Its attempt's streams, complete.
    pub stream: Arc<AttemptStream>,
    pub miner: PublicKey,
    pub complete: Box<v1::Complete>,
    pub session: SessionId,
}

impl Coordinator {
    /// A session's delivery is verified.
    pub fn verify(&mut self, ctx: &mut Context, verification: &Verification) {
        if self.miner_key(verification.session) != Some(verification.miner) {
            return;
        }
        let Verification {
            stream,
            miner,
            complete,
            session,
        } = verification;
        let attempt = stream.facts.attempt;
        match self.completion(stream, *miner, complete) {
            Ok(Ok(completion)) => {
                let commands = vec![Command::Complete(Box::new(completion))];
                self.ask(ctx, commands, Caller::Recorded(*session, attempt, None));
            }
            Ok(Err(problem)) => {
                ctx.checker.refused_delivery(attempt, &problem);
                let failure = v1::Failure {
                    reason: FailureReason::InvalidResult.into(),
                    message: problem.clone(),
                };
                let refusal = ApiError::new(ErrorReason::ReceiptInvalid, problem);
                let commands = vec![Command::Fail {
                    miner_key: *miner,
                    attempt,
                    failure,
                }];
                self.ask(
                    ctx,
                    commands,
                    Caller::Recorded(*session, attempt, Some(refusal)),
                );
            }
            Err(_) => self.session_recorded(ctx, *session, attempt, Err(unavailable())),
        }
    }

    /// The parts of a polled job's delivery have arrived.
    pub fn parcel(&mut self, ctx: &mut Context, call: Call, info: &AttemptInfo, parcel: &Parcel) {
        if self.running.is_none() {
            return;
        }
        let facts = AttemptFacts::sign(info, &self.service).expect("the engine's layouts parse");
        let stream = AttemptStream::new(facts);
        stream.append(StreamKind::Output, 0, &parcel.output, ctx.now);
        stream.append(StreamKind::Result, 0, &parcel.result, ctx.now);
        match self.completion(&stream, parcel.miner, &parcel.complete) {
            Ok(Ok(completion)) => {
                self.ask(
                    ctx,
                    vec![Command::Complete(Box::new(completion))],
                    Caller::Call(call),
                );
            }
            Ok(Err(problem)) => ctx.checker.refused_delivery(info.attempt, &problem),
            Err(_) => {}
        }
    }

    fn completion(
        &self,
        stream: &AttemptStream,
        miner: PublicKey,
        complete: &v1::Complete,
    ) -> Result<Result<Completion, String>, StoreError> {
        let progress = stream.progress();
        let attempt = stream.facts.attempt;
        if let Ok(receipt) = Receipt::decode(&complete.receipt)
            && !delivery::has_result(&receipt)
        {
            return self.partial(stream, miner, complete, &receipt);
        }
        let whole = stream.with(StreamKind::Result, |buffer| {
            buffer.whole().map(Bytes::copy_from_slice)
        });
        let result = match whole {
            Some(result) => result,
            None => {
                self.spill(stream, StreamKind::Result, true)?;
                stored::read_all(
                    &self.store,
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
        let inline = progress.result_len <= INLINE_RESULT_BYTES;
        let output_in_result = inline && checked.output_in_result;
        if !inline {
            self.spill(stream, StreamKind::Result, true)?;
        }
        if !output_in_result {
            self.spill(stream, StreamKind::Output, true)?;
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

    /// A receipt for what was done until the job was stopped, over the first bytes of the output.
    fn partial(
        &self,
        stream: &AttemptStream,
        miner: PublicKey,
        complete: &v1::Complete,
        receipt: &Receipt,
    ) -> Result<Result<Completion, String>, StoreError> {
        let (attempt, len) = (stream.facts.attempt, receipt.output_len);
        let mut progress = stream.progress();
        if len < progress.output_len {
            self.spill(stream, StreamKind::Output, true)?;
            let output = stored::read_all(&self.store, attempt, StreamKind::Output, len)?;
            (progress.output_len, progress.output_hash) = (len, sha256(&output));
        }
        let promise = (&stream.facts, &stream.issued()[..]);
        let checked = match delivery::check(promise, &miner, complete, &progress, b"") {
            Ok(checked) => checked,
            Err(problem) => return Ok(Err(problem)),
        };
        Ok(Ok(Completion {
            attempt,
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
        }))
    }
}
