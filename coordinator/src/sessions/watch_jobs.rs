//! Follows all jobs of one owner. The cursor of each response says where to go on: everything that changed since is found
//! again in the store, however long the follower was away.

use std::collections::HashMap;
use std::sync::Arc;

use aitbc_common::identity::PublicKey;
use aitbc_common::ids::JobId;
use aitbc_common::limits::{MAX_TIMEOUT_MS, WATCH_BATCH_BYTES};
use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1::{ErrorReason, JobEvent, WatchJobsResponse};
use bytes::Bytes;
use prost::Message;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use super::driver::SessionContext;
use super::hub::Change;
use super::responses::{ResponseStream, Responses, WATCHER_PATIENCE};
use super::stored;
use super::watch_job::KEEPALIVE;
use crate::grpc::convert;
use crate::store::rows::{self, JobRow};
use crate::store::{Family, Store, StoreError, keys};

/// Rows read at once.
const PAGE_ROWS: usize = 256;
/// Live jobs that are looked at to find the oldest; with more, the longest lifetime of a job is the bound.
const LIVE_ROWS: usize = 1_000;
/// Time by which a job's id may be older than its acceptance.
const ID_SLACK_MS: u64 = 60_000;

/// Where a follower is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Number of the newest change it has.
    pub change: u64,
    /// The oldest job that can still change after it.
    pub oldest: JobId,
}

impl Cursor {
    /// Its opaque form.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(25);
        bytes.push(1);
        bytes.extend(self.change.to_be_bytes());
        bytes.extend(self.oldest.0);
        bytes.into()
    }

    /// Reads its opaque form.
    pub fn decode(bytes: &[u8]) -> Result<Self, ApiError> {
        let wrong = || {
            ApiError::field(
                "cursor",
                "is not one that WatchJobs gave out; leave it empty to begin now",
            )
        };
        let rest = bytes.strip_prefix(&[1]).ok_or_else(wrong)?;
        let (change, oldest) = rest.split_first_chunk::<8>().ok_or_else(wrong)?;
        let oldest = oldest.try_into().map_err(|_| wrong())?;
        Ok(Self {
            change: u64::from_be_bytes(*change),
            oldest: JobId(oldest),
        })
    }
}

/// A job id below every one that is created from `ms` (Unix time) on.
fn first_id_at(ms: u64) -> JobId {
    let mut id = [0; 16];
    id[..6].copy_from_slice(&ms.to_be_bytes()[2..]);
    JobId(id)
}

/// Follows the jobs of `owner`, from `cursor` or from now on, with results of at most `inline` bytes.
pub fn start(
    context: &SessionContext,
    owner: PublicKey,
    cursor: Option<Cursor>,
    inline: u32,
) -> Result<ResponseStream<WatchJobsResponse>, ApiError> {
    let (feed, newest) = context.hub.watch_owner(owner)?;
    let (responses, stream) = Responses::new(WATCHER_PATIENCE);
    let follower = Follower {
        context: context.clone(),
        owner,
        inline: u64::from(inline),
        responses,
        cursor: cursor.unwrap_or(Cursor {
            change: newest,
            oldest: JobId::default(),
        }),
        sent: HashMap::new(),
        scanned: 0,
        events: Vec::new(),
        bytes: 0,
    };
    tokio::spawn(follower.run(feed, newest, cursor.is_some()));
    Ok(stream)
}

struct Follower {
    context: SessionContext,
    owner: PublicKey,
    inline: u64,
    responses: Responses<WatchJobsResponse>,
    cursor: Cursor,
    /// Changes that a scan found, until the feed has passed them.
    sent: HashMap<JobId, u64>,
    /// The newest change that a scan found.
    scanned: u64,
    events: Vec<JobEvent>,
    bytes: usize,
}

impl Follower {
    async fn run(mut self, feed: broadcast::Receiver<Arc<Change>>, newest: u64, resumes: bool) {
        let outcome = self.follow(feed, newest, resumes).await;
        self.responses.end(outcome);
    }

    async fn follow(
        &mut self,
        mut feed: broadcast::Receiver<Arc<Change>>,
        newest: u64,
        resumes: bool,
    ) -> Result<(), ApiError> {
        if resumes {
            self.catch_up(newest).await?;
        } else {
            self.cursor.oldest = self.oldest_live().await?;
        }
        // The first cursor comes at once, so that a follower can resume before anything happened.
        self.flush(true).await?;
        loop {
            let change = tokio::select! {
                change = feed.recv() => change,
                () = self.responses.closed() => return Ok(()),
                () = tokio::time::sleep(KEEPALIVE) => {
                    self.flush(true).await?;
                    continue;
                }
            };
            let mut lagged = false;
            match change {
                Ok(change) => self.take(&change).await?,
                Err(RecvError::Lagged(_)) => lagged = true,
                Err(RecvError::Closed) => return Err(interrupted()),
            }
            while !lagged {
                match feed.try_recv() {
                    Ok(change) => self.take(&change).await?,
                    Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                    Err(TryRecvError::Lagged(_)) => lagged = true,
                }
            }
            if lagged {
                let (again, newest) = self.context.hub.watch_owner(self.owner)?;
                feed = again;
                self.catch_up(newest).await?;
            }
            self.flush(false).await?;
        }
    }

    async fn take(&mut self, change: &Change) -> Result<(), ApiError> {
        let number = change.change.change;
        if number <= self.cursor.change
            || self
                .sent
                .get(&change.change.job_id)
                .is_some_and(|sent| *sent >= number)
        {
            return Ok(());
        }
        if number > self.scanned {
            self.sent.clear();
        }
        let event = convert::job_event(change, self.inline, &self.context.service);
        self.push(event).await?;
        self.cursor.change = number;
        // Ids of one moment are in no order: the cursor goes back a little behind the oldest live job.
        let oldest_ms = match change.change.oldest_live {
            Some(job_id) => job_id.created_ms().min(change.change.at_ms),
            None => change.change.at_ms,
        };
        self.cursor.oldest = first_id_at(oldest_ms.saturating_sub(ID_SLACK_MS));
        Ok(())
    }

    /// Sends the newest change of each job that changed since the cursor, from the store. The feed begins after change
    /// `newest`: all up to it is stored.
    async fn catch_up(&mut self, newest: u64) -> Result<(), ApiError> {
        let Cursor {
            change: since,
            oldest,
        } = self.cursor;
        for (family, first, last) in [
            (
                Family::Active,
                keys::active_jobs_of(&self.owner),
                keys::active_job(&self.owner, oldest),
            ),
            (
                Family::Archive,
                keys::archived_jobs_of(&self.owner),
                keys::archived_job(&self.owner, oldest),
            ),
        ] {
            let mut next = Some(Bytes::from(first));
            // Keys hold inverted ids: the oldest job comes last, and belongs to the range.
            let end = keys::prefix_end(&last);
            while let Some(from) = next.take() {
                let (store, end) = (self.context.engine.store(), end.clone());
                let page =
                    stored::blocking(move || store.scan(family, &from..end.as_slice(), PAGE_ROWS))
                        .await?;
                next = page.next;
                for (_, value) in page.rows {
                    let row: JobRow =
                        rows::decode(value).map_err(|error| stored::store_error(&error))?;
                    self.found(row, since).await?;
                }
            }
        }
        self.cursor.change = self.cursor.change.max(newest);
        Ok(())
    }

    async fn found(&mut self, row: JobRow, since: u64) -> Result<(), ApiError> {
        let newer = row.change > since
            && self
                .sent
                .get(&row.id())
                .is_none_or(|sent| *sent < row.change);
        if !newer {
            return Ok(());
        }
        self.sent.insert(row.id(), row.change);
        self.scanned = self.scanned.max(row.change);
        let event = convert::job_event_of_row(
            &row,
            self.inline,
            &self.context.service,
            &self.context.streams,
        );
        self.push(event).await
    }

    async fn oldest_live(&self) -> Result<JobId, ApiError> {
        let (store, owner) = (self.context.engine.store(), self.owner);
        let now_ms = self.context.engine.now_ms();
        stored::blocking(move || oldest_live(&store, &owner, now_ms)).await
    }

    async fn push(&mut self, event: JobEvent) -> Result<(), ApiError> {
        let bytes = event.encoded_len() + 8;
        if self.bytes + bytes > WATCH_BATCH_BYTES {
            self.flush(false).await?;
        }
        self.bytes += bytes;
        self.events.push(event);
        Ok(())
    }

    async fn flush(&mut self, even_empty: bool) -> Result<(), ApiError> {
        if self.events.is_empty() && !even_empty {
            return Ok(());
        }
        self.bytes = 0;
        let events = std::mem::take(&mut self.events);
        self.context.engine.stats().message_out();
        self.responses
            .send(WatchJobsResponse {
                events,
                cursor: self.cursor.encode(),
            })
            .await
    }
}

fn oldest_live(
    store: &Arc<dyn Store>,
    owner: &PublicKey,
    now_ms: u64,
) -> Result<JobId, StoreError> {
    let first = keys::active_jobs_of(owner);
    let end = keys::prefix_end(&first);
    let mut oldest = first_id_at(now_ms.saturating_sub(ID_SLACK_MS));
    let (mut from, mut left) = (Bytes::from(first), LIVE_ROWS);
    loop {
        let page = store.scan(Family::Active, &from..end.as_slice(), left)?;
        left = left.saturating_sub(page.rows.len());
        if let Some((_, job_id)) = page.rows.last().and_then(|(key, _)| keys::parse_job(key)) {
            oldest = oldest.min(job_id);
        }
        match page.next {
            None => return Ok(oldest),
            Some(_) if left == 0 => {
                return Ok(first_id_at(
                    now_ms.saturating_sub(MAX_TIMEOUT_MS + ID_SLACK_MS),
                ));
            }
            Some(next) => from = next,
        }
    }
}

fn interrupted() -> ApiError {
    ApiError::new(
        ErrorReason::Unavailable,
        "the stream was interrupted; call again with the last cursor",
    )
    .retry_after(std::time::Duration::from_millis(500))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_read_back_and_others_are_refused() {
        let cursor = Cursor {
            change: 7,
            oldest: JobId::new(1_000, 3, [9; 10]),
        };
        assert_eq!(Cursor::decode(&cursor.encode()), Ok(cursor));
        for bad in [&b""[..], b"\x01", &[0; 25], &[1; 24], &[1; 26]] {
            assert!(Cursor::decode(bad).is_err());
        }
    }

    #[test]
    fn ids_compare_with_times() {
        let job = JobId::new(1_000, 0, [0; 10]);
        assert!(first_id_at(1_000) < job && job < first_id_at(1_001));
    }
}
