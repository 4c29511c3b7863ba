//! What the trace says about messages and effects.

use aitbc_coordinator::engine::command::{AttemptId, Effect, SessionId};
use aitbc_proto::v1::miner_message::Message as Up;

use super::context::Context;

/// An effect is durable.
pub fn effect(ctx: &mut Context, effect: &Effect) {
    match effect {
        Effect::Assign { session, info, .. } => {
            ctx.trace.totals.attempts += 1;
            let AttemptId { job_id, attempt } = info.attempt;
            ctx.trace.note(
                ctx.now,
                format_args!("session {session} gets {job_id}/{attempt}"),
            );
        }
        Effect::CancelAttempt {
            session,
            attempt,
            status,
            receipt,
        } => {
            let AttemptId { job_id, attempt } = *attempt;
            ctx.trace.note(
                ctx.now,
                format_args!(
                    "session {session} stops {job_id}/{attempt}: {status:?}, receipt {receipt}"
                ),
            );
        }
        Effect::Renew { session, info } => {
            let AttemptId { job_id, attempt } = info.attempt;
            ctx.trace.note(
                ctx.now,
                format_args!("session {session} gets a new budget for {job_id}/{attempt}"),
            );
        }
        Effect::Attend { session, each } => ctx.trace.note(
            ctx.now,
            format_args!("session {session} tells each heartbeat: {each}"),
        ),
        Effect::OrdersPending(through) => ctx
            .trace
            .note(ctx.now, format_args!("orders up to {through}")),
        Effect::EndSession { session, reason } => {
            ctx.trace.note(
                ctx.now,
                format_args!("session {session} ends: {}", reason.message),
            );
        }
        Effect::Changed(change) => {
            ctx.trace.note(
                ctx.now,
                format_args!(
                    "{}/{} is {:?}",
                    change.job_id, change.attempt, change.status
                ),
            );
        }
    }
}

/// A miner's message arrived.
pub fn up(ctx: &mut Context, id: SessionId, message: &Up) {
    let (now, trace) = (ctx.now, &mut ctx.trace);
    match message {
        Up::Hello(hello) => trace.note(
            now,
            format_args!(
                "session {id}: Hello, {} running, {} spooled",
                hello.running.len(),
                hello.spooled.len()
            ),
        ),
        Up::Output(part) => trace.note(
            now,
            format_args!(
                "session {id}: {}/{} +{} at {}",
                part.job_id,
                part.attempt,
                part.data.len(),
                part.offset
            ),
        ),
        Up::Accept(accept) => trace.note(
            now,
            format_args!("session {id}: Accept {}/{}", accept.job_id, accept.attempt),
        ),
        Up::Reject(reject) => trace.note(
            now,
            format_args!("session {id}: Reject {}/{}", reject.job_id, reject.attempt),
        ),
        Up::Complete(done) => trace.note(
            now,
            format_args!("session {id}: Complete {}/{}", done.job_id, done.attempt),
        ),
        Up::Fail(fail) => trace.note(
            now,
            format_args!("session {id}: Fail {}/{}", fail.job_id, fail.attempt),
        ),
        Up::Heartbeat(beat) => trace.note(
            now,
            format_args!(
                "session {id}: Heartbeat {}, {} running, {} free",
                beat.sequence,
                beat.running.len(),
                beat.free_slots
            ),
        ),
        Up::Inventory(inventory) => trace.note(
            now,
            format_args!("session {id}: Inventory, {} slots", inventory.slots),
        ),
        Up::Checkpoint(_) => trace.note(now, format_args!("session {id}: Checkpoint")),
        Up::Drain(_) => trace.note(now, format_args!("session {id}: Drain")),
    }
}
