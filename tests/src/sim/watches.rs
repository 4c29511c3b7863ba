//! Watching a job, the coordinator's side: over the real hub and streams.

use std::sync::Arc;

use aitbc_common::identity::PublicKey;
use aitbc_common::ids::JobId;
use aitbc_common::runtime::status::ApiError;
use aitbc_coordinator::engine::command::{AttemptId, AttemptInfo, Command, JobSelector, Reply};
use aitbc_coordinator::sessions::core::StreamKind;
use aitbc_coordinator::sessions::hub::JobSubscription;
use aitbc_coordinator::sessions::output_buffer::Read;
use aitbc_coordinator::sessions::stored;
use aitbc_coordinator::sessions::streams::{AttemptFacts, AttemptStream};
use aitbc_coordinator::sessions::watch_job::Position;
use aitbc_coordinator::store::rows::JobRow;
use aitbc_proto::v1::JobStatus;
use bytes::Bytes;

use super::context::Context;
use super::coordinator::{Caller, Coordinator};
use super::network::latency;
use super::world::Event;

/// Number of a watch stream, unique in a run.
pub type WatchId = u64;

/// Most bytes in one message.
const PART_BYTES: usize = 4_096;

/// What a watch stream says.
#[derive(Debug, Clone)]
pub enum WatchItem {
    Started {
        attempt: u32,
        assignment: Bytes,
        signature: [u8; 64],
    },
    Output {
        attempt: u32,
        offset: u64,
        data: Bytes,
    },
    Checkpoint {
        attempt: u32,
        layout: Bytes,
        signature: Bytes,
    },
    Finished {
        row: Box<JobRow>,
        status: JobStatus,
        result: Option<Bytes>,
    },
    /// It was interrupted: come back.
    Ended,
}

/// The coordinator's side of a watch.
pub struct ServerWatch {
    job: usize,
    job_id: JobId,
    owner: PublicKey,
    subscription: JobSubscription,
    asked: Position,
    now: (u32, u64),
    checkpointed: u64,
    live: Option<Arc<AttemptStream>>,
    asking: bool,
    last_due: u64,
}

impl Coordinator {
    /// A watch stream begins at (attempt, offset).
    pub fn watch(
        &mut self,
        ctx: &mut Context,
        id: WatchId,
        job: usize,
        job_id: JobId,
        owner: PublicKey,
        asked: Position,
    ) {
        let subscription = self
            .running
            .as_ref()
            .and_then(|running| running.hub.watch_job(job_id).ok());
        let (Some(running), Some(subscription)) = (&mut self.running, subscription) else {
            return ctx.after(50, Event::WatchLost(id));
        };
        let watch = ServerWatch {
            job,
            job_id,
            owner,
            subscription,
            asked,
            now: (0, 0),
            checkpointed: 0,
            live: None,
            asking: true,
            last_due: 0,
        };
        running.watches.insert(id, watch);
        running.ask(
            ctx,
            vec![Command::GetJob {
                owner,
                job: JobSelector::Id(job_id),
            }],
            Caller::Watch(id),
        );
    }

    /// The engine said where a watched job stands.
    pub fn watch_answered(
        &mut self,
        ctx: &mut Context,
        id: WatchId,
        answer: Result<Reply, ApiError>,
    ) {
        let Some(running) = &mut self.running else {
            return;
        };
        let Some(mut watch) = running.watches.remove(&id) else {
            return;
        };
        watch.asking = false;
        let Ok(Reply::Job(view)) = answer else {
            return watch.send(ctx, id, WatchItem::Ended);
        };
        if view.row.finished_ms > 0 {
            return self.finish_watch(ctx, id, watch, &view.row, view.status);
        }
        if view.status == JobStatus::Processing {
            self.attach(ctx, id, &mut watch, &view.row);
        }
        if let Some(running) = &mut self.running {
            running.watches.insert(id, watch);
        }
        self.pump(ctx);
    }

    /// Sends every watch what is new for it.
    pub fn pump(&mut self, ctx: &mut Context) {
        let ids: Vec<WatchId> = self
            .running
            .iter()
            .flat_map(|running| running.watches.keys().copied())
            .collect();
        for id in ids {
            let Some(running) = &mut self.running else {
                return;
            };
            let Some(mut watch) = running.watches.remove(&id) else {
                continue;
            };
            self.drain(ctx, id, &mut watch);
            match watch.subscription.changes.has_changed() {
                Err(_) => {
                    watch.send(ctx, id, WatchItem::Ended);
                    continue;
                }
                Ok(true) if !watch.asking => {
                    let change = watch.subscription.changes.borrow_and_update().clone();
                    if let Some(row) = change
                        .as_ref()
                        .and_then(|change| change.change.row.as_deref())
                    {
                        let status = change
                            .as_ref()
                            .map_or(JobStatus::Unspecified, |change| change.change.status);
                        self.finish_watch(ctx, id, watch, row, status);
                        continue;
                    }
                    watch.asking = true;
                    let command = Command::GetJob {
                        owner: watch.owner,
                        job: JobSelector::Id(watch.job_id),
                    };
                    self.ask(ctx, vec![command], Caller::Watch(id));
                }
                Ok(_) => {}
            }
            if let Some(running) = &mut self.running {
                running.watches.insert(id, watch);
            }
        }
    }

    fn attach(&mut self, ctx: &mut Context, id: WatchId, watch: &mut ServerWatch, row: &JobRow) {
        let Some(live) = row.live_attempt() else {
            return;
        };
        if watch.now.0 == live.attempt && watch.live.is_some() {
            return;
        }
        let facts = self.facts(row, live.attempt, live.assignment.clone(), watch.owner);
        let Some(running) = &self.running else { return };
        let stream = match running.streams.get(facts.attempt) {
            Some(stream) => stream,
            None => {
                let stream = AttemptStream::new(facts);
                stored::restore(&self.store, &stream).expect("a store in memory can be read");
                running.streams.insert(stream)
            }
        };
        self.begin(ctx, id, watch, row, live.attempt);
        watch.live = Some(stream);
    }

    fn facts(
        &self,
        row: &JobRow,
        attempt: u32,
        assignment: Bytes,
        owner: PublicKey,
    ) -> AttemptFacts {
        let attempt = u16::try_from(attempt).unwrap_or(u16::MAX);
        let info = AttemptInfo {
            attempt: AttemptId {
                job_id: row.id(),
                attempt,
            },
            spec: row.spec.clone(),
            assignment,
            earlier: Vec::new(),
            model: row.model.clone(),
            input: Bytes::new(),
            deadline_ms: row.deadline_ms,
            owner,
            epoch: self
                .running
                .as_ref()
                .map_or(0, |running| running.fence.epoch()),
        };
        AttemptFacts::sign(&info, &self.service).expect("stored layouts parse")
    }

    fn begin(
        &self,
        ctx: &mut Context,
        id: WatchId,
        watch: &mut ServerWatch,
        row: &JobRow,
        attempt: u32,
    ) {
        let offset = watch.asked.offset_in(attempt);
        watch.now = (attempt, offset);
        watch.checkpointed = offset;
        watch.live = None;
        if let Some(stored) = row
            .attempts
            .iter()
            .rev()
            .find(|stored| stored.attempt == attempt)
        {
            let facts = self.facts(row, attempt, stored.assignment.clone(), watch.owner);
            let started = WatchItem::Started {
                attempt,
                assignment: facts.assignment_bytes.clone(),
                signature: facts.signature,
            };
            watch.send(ctx, id, started);
        }
    }

    fn drain(&self, ctx: &mut Context, id: WatchId, watch: &mut ServerWatch) {
        let Some(stream) = watch.live.clone() else {
            return;
        };
        loop {
            let mut most = PART_BYTES;
            if let Some(checkpoint) = stream
                .checkpoint()
                .filter(|checkpoint| checkpoint.offset > watch.checkpointed)
            {
                let ahead = checkpoint.offset.saturating_sub(watch.now.1);
                if ahead == 0 {
                    watch.checkpointed = checkpoint.offset;
                    if checkpoint.offset == watch.now.1 {
                        let (layout, signature) = (checkpoint.layout, checkpoint.signature);
                        watch.send(
                            ctx,
                            id,
                            WatchItem::Checkpoint {
                                attempt: watch.now.0,
                                layout,
                                signature,
                            },
                        );
                    }
                    continue;
                }
                most = most.min(usize::try_from(ahead).unwrap_or(most));
            }
            match stream.read_output(watch.now.1, most) {
                Read::Memory(data) => watch.output(ctx, id, data),
                Read::Store { .. } => {
                    let chunks = stored::read(
                        &self.store,
                        stream.facts.attempt,
                        StreamKind::Output,
                        watch.now.1,
                    );
                    let Some(first) = chunks.ok().and_then(|chunks| chunks.into_iter().next())
                    else {
                        return;
                    };
                    watch.output(ctx, id, first.slice(..first.len().min(most)));
                }
                Read::End => return,
            }
        }
    }

    fn finish_watch(
        &mut self,
        ctx: &mut Context,
        id: WatchId,
        mut watch: ServerWatch,
        row: &JobRow,
        status: JobStatus,
    ) {
        let mut result = None;
        if let Some(delivery) = row
            .delivery
            .as_ref()
            .filter(|_| status == JobStatus::Completed)
        {
            let attempt = stored::delivered_attempt(row);
            if watch.now.0 != u32::from(attempt.attempt) {
                self.begin(ctx, id, &mut watch, row, attempt.attempt.into());
            }
            self.drain(ctx, id, &mut watch);
            let document = match &delivery.result {
                Some(result) => result.clone(),
                None => stored::read_all(
                    &self.store,
                    attempt,
                    StreamKind::Result,
                    delivery.result_len,
                )
                .unwrap_or_default()
                .into(),
            };
            let content = aitbc_common::result_document::ResultDocument::from_bytes(&document);
            let content = content
                .ok()
                .and_then(|document| document.content)
                .unwrap_or_default();
            while let Some(rest) = content
                .as_bytes()
                .get(usize::try_from(watch.now.1).unwrap_or(usize::MAX)..)
                && !rest.is_empty()
            {
                let part = Bytes::copy_from_slice(&rest[..rest.len().min(PART_BYTES)]);
                watch.output(ctx, id, part);
            }
            result = Some(document);
        }
        watch.send(
            ctx,
            id,
            WatchItem::Finished {
                row: Box::new(row.clone()),
                status,
                result,
            },
        );
    }
}

impl ServerWatch {
    fn output(&mut self, ctx: &mut Context, id: WatchId, data: Bytes) {
        let (attempt, offset) = self.now;
        self.now.1 += data.len() as u64;
        self.send(
            ctx,
            id,
            WatchItem::Output {
                attempt,
                offset,
                data,
            },
        );
    }

    fn send(&mut self, ctx: &mut Context, id: WatchId, item: WatchItem) {
        self.last_due = self.last_due.max(ctx.now + latency(ctx));
        ctx.after(
            self.last_due - ctx.now,
            Event::Watched(id, self.job, Box::new(item)),
        );
    }
}
