//! What a session does that takes time: asking the engine, storing, handing a delivery to the pool.

use std::collections::BTreeMap;

use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1::{self, ErrorReason};

use super::{Driver, report};
use crate::engine::command::{AttemptId, Command, Reply, Resume};
use crate::sessions::core::{Action, StreamKind};
use crate::sessions::hub::SessionEvent;
use crate::sessions::messages;
use crate::sessions::stored::{self, store_error};
use crate::sessions::streams::{AttemptFacts, StreamsNow};
use crate::sessions::verify::{Delivery, Task};

/// How many milliseconds ago the attempts that a miner names had their first output.
fn first_outputs(command: &Command) -> BTreeMap<AttemptId, u64> {
    let Command::OpenSession {
        running, spooled, ..
    } = command
    else {
        return BTreeMap::new();
    };
    let named = running.iter().chain(spooled);
    named
        .filter_map(|held| Some((held.attempt, held.first_output_ago_ms?)))
        .collect()
}

impl Driver {
    /// Does what [`Driver::act`] gave back.
    pub(super) async fn act_slowly(&mut self, action: Action) {
        match action {
            Action::Open(command) => self.open_at_engine(command).await,
            Action::Complete(attempt, complete) => self.deliver(attempt, complete).await,
            Action::Arrived(attempt, kind) => self.spill(attempt, kind).await,
            _ => {}
        }
    }

    async fn open_at_engine(&mut self, command: Command) {
        let first_outputs = first_outputs(&command);
        let answer = self.context.engine.call(command).await;
        let now_ms = self.context.engine.now_ms();
        let mut renewals = Vec::new();
        if let Ok(Reply::SessionOpened(resumes)) = &answer {
            for resume in resumes {
                let Resume::Continue(info) = resume else {
                    continue;
                };
                let resumed = match AttemptFacts::sign(info, &self.context.service) {
                    Ok(facts) => {
                        if facts.assignment.flags == 1 {
                            // It may have been renewed while the miner was away.
                            renewals.push((info.attempt, messages::renew(info, facts.signature)));
                        }
                        stored::resume(&self.context.engine.store(), &self.context.streams, facts)
                            .await
                    }
                    Err(error) => Err(ApiError::new(
                        ErrorReason::Internal,
                        format!("a stored assignment: {error}"),
                    )),
                };
                match resumed {
                    Ok(stream) => {
                        if let Some(ago) = first_outputs.get(&info.attempt) {
                            stream.recall_first(now_ms.saturating_sub(*ago));
                        }
                    }
                    Err(error) => return self.core.close(error),
                }
            }
        }
        let streams = StreamsNow {
            streams: &self.context.streams,
            now_ms,
        };
        self.core.opened(answer, &streams, now_ms);
        for (attempt, renew) in renewals {
            self.core.renewed(attempt, renew);
        }
    }

    async fn deliver(&mut self, attempt: AttemptId, complete: Box<v1::Complete>) {
        let Some(stream) = self.context.streams.get(attempt) else {
            let gone = ApiError::new(
                ErrorReason::StaleAttempt,
                "the job has ended or is elsewhere: forget this attempt",
            );
            return self.core.recorded(attempt, Err(gone));
        };
        let (events, end) = (self.events_in.clone(), self.end.clone());
        let recorded = Box::new(move |outcome: Result<v1::JobStatus, ApiError>| {
            report(
                &events,
                &end,
                SessionEvent::Recorded(attempt, outcome.map(|_| ())),
            );
        });
        // An Accept that waits comes before the delivery.
        self.tell();
        let delivery = Delivery {
            stream,
            miner: self.key,
            complete,
            final_refusal: true,
            recorded,
        };
        self.context
            .pool
            .submit(self.id, Task::Deliver(delivery))
            .await;
    }

    async fn spill(&mut self, attempt: AttemptId, kind: StreamKind) {
        let Some(stream) = self.context.streams.get(attempt) else {
            return;
        };
        let engine = self.context.engine.clone();
        let all = stream.is_handed_over(kind);
        let spilled =
            tokio::task::spawn_blocking(move || stored::spill(&engine, &stream, kind, all)).await;
        if let Ok(Err(error)) = spilled {
            // What is in memory may not be what the store has: the miner sends again from what the store has.
            self.context.streams.remove(attempt);
            self.core.close(store_error(&error));
        }
    }
}
