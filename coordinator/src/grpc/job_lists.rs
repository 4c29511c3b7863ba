//! An owner's jobs, live and finished, newest first.

use std::collections::BTreeMap;
use std::sync::Arc;

use aitbc_common::identity::PublicKey;
use aitbc_common::ids::JobId;
use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1;

use super::{convert, validate};
use crate::engine::command::{Command, Reply};
use crate::sessions::driver::SessionContext;
use crate::sessions::stored::blocking;
use crate::sessions::streams::Streams;
use crate::store::rows::{self, JobRow};
use crate::store::{Family, Store, StoreError, keys};

/// Rows that one call looks at; a page may be short for it, and goes on with its token.
const ROWS_PER_CALL: usize = 10_000;
/// Rows read at once.
const PAGE_ROWS: usize = 128;

/// One page.
pub(super) async fn list(
    context: &SessionContext,
    owner: PublicKey,
    request: v1::ListJobsRequest,
) -> Result<v1::ListJobsResponse, ApiError> {
    let size = validate::page_size(request.page_size, 50)?;
    let after = match request.page_token.as_str() {
        "" => None,
        token => Some(
            token
                .parse::<JobId>()
                .map_err(|_| validate::bad_page_token())?,
        ),
    };
    for status in &request.statuses {
        if v1::JobStatus::try_from(*status).is_err() || *status == 0 {
            return Err(ApiError::field(
                "statuses",
                format!("has {status}, which is no status"),
            ));
        }
    }
    let (store, streams) = (context.engine.store(), Arc::clone(&context.streams));
    let page = move || page(&store, &streams, &owner, after, size, &request.statuses);
    let mut answer = blocking(page).await?;
    add_missing(context, &mut answer.jobs).await?;
    Ok(answer)
}

/// What jobs lack that wait for money: only the engine knows what miners ask.
async fn add_missing(context: &SessionContext, jobs: &mut [v1::Job]) -> Result<(), ApiError> {
    let waiting = jobs
        .iter()
        .filter(|job| matches!(job.status(), v1::JobStatus::Pending | v1::JobStatus::Funded));
    let waiting: Vec<JobId> = waiting.filter_map(|job| job.job_id.parse().ok()).collect();
    if waiting.is_empty() {
        return Ok(());
    }
    let asked = context.engine.call(Command::GetMissing(waiting)).await?;
    let Reply::Missing(missing) = asked else {
        return Err(super::unexpected());
    };
    let missing: BTreeMap<String, u64> = missing
        .into_iter()
        .map(|(job, missing)| (job.to_string(), missing))
        .collect();
    for job in jobs {
        job.missing_micro_ait = missing.get(&job.job_id).copied();
    }
    Ok(())
}

fn page(
    store: &Arc<dyn Store>,
    streams: &Streams,
    owner: &PublicKey,
    mut after: Option<JobId>,
    size: usize,
    statuses: &[i32],
) -> Result<v1::ListJobsResponse, StoreError> {
    let mut jobs = Vec::new();
    let mut looked_at = 0;
    loop {
        let (rows, more) = next_rows(store, owner, after)?;
        for row in rows.into_values().rev() {
            looked_at += 1;
            after = Some(row.id());
            let status = convert::row_status(&row, streams);
            if statuses.is_empty() || statuses.contains(&status.into()) {
                jobs.push(convert::listed_job(&row, status, streams));
            }
            if jobs.len() == size || looked_at >= ROWS_PER_CALL {
                let (left, _) = next_rows(store, owner, after)?;
                return Ok(answer(jobs, after.filter(|_| !left.is_empty())));
            }
        }
        if !more {
            return Ok(answer(jobs, None));
        }
    }
}

fn answer(jobs: Vec<v1::Job>, next: Option<JobId>) -> v1::ListJobsResponse {
    v1::ListJobsResponse {
        jobs,
        next_page_token: next.map(|id| id.to_string()).unwrap_or_default(),
    }
}

/// The next rows after a job, by id: complete down to the oldest of them; and whether more follow.
fn next_rows(
    store: &Arc<dyn Store>,
    owner: &PublicKey,
    after: Option<JobId>,
) -> Result<(BTreeMap<JobId, JobRow>, bool), StoreError> {
    let mut rows = BTreeMap::new();
    let mut complete_to = None;
    // Live rows first: a job that is archived meanwhile is then found twice, not missed, and the archived row wins.
    for (family, prefix, key) in [
        (
            Family::Active,
            keys::active_jobs_of(owner),
            after.map(|id| keys::active_job(owner, id)),
        ),
        (
            Family::Archive,
            keys::archived_jobs_of(owner),
            after.map(|id| keys::archived_job(owner, id)),
        ),
    ] {
        let end = keys::prefix_end(&prefix);
        // The key itself with one more byte is the first key behind it.
        let first = key.map_or(prefix, |mut key| {
            key.push(0);
            key
        });
        let page = store.scan(family, first.as_slice()..end.as_slice(), PAGE_ROWS)?;
        let mut last = None;
        for (_, value) in page.rows {
            let row: JobRow = rows::decode(value)?;
            last = Some(row.id());
            rows.insert(row.id(), row);
        }
        if page.next.is_some() {
            complete_to = complete_to.max(last);
        }
    }
    if let Some(oldest) = complete_to {
        rows = rows.split_off(&oldest);
    }
    Ok((rows, complete_to.is_some()))
}
