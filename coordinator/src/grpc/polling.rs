//! PollJob and ExtendLease: work without a session.

use std::time::Duration;

use aitbc_common::identity::PublicKey;
use aitbc_common::limits::{MAX_POLL_LEASE_MS, MIN_POLL_LEASE_MS};
use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1::{self, ErrorReason};
use tokio::time::Instant;

use super::{Services, convert, unexpected, validate};
use crate::engine::command::{AttemptInfo, Command, Reply};
use crate::sessions::streams::{AttemptFacts, AttemptStream};

/// The lease of a polled job where the miner does not say: 10 minutes.
const DEFAULT_LEASE_MS: u64 = 600_000;
/// Shortest and longest lease.
const LEASE_BOUNDS_MS: (u64, u64) = (MIN_POLL_LEASE_MS, MAX_POLL_LEASE_MS);
/// Longest wait for a job.
const MAX_WAIT_MS: u64 = 20_000;
/// The engine is asked at most this often for one waiting poll.
const PAUSE: Duration = Duration::from_millis(50);
/// It is asked at least this often: backoffs end without a change.
const AT_LEAST: Duration = Duration::from_secs(1);

/// Takes a job, waiting for one if that is asked for.
pub(super) async fn poll(
    services: &Services,
    miner: PublicKey,
    request: v1::PollJobRequest,
) -> Result<v1::PollJobResponse, ApiError> {
    let lease_ms =
        validate::duration_ms("lease", request.lease, DEFAULT_LEASE_MS, LEASE_BOUNDS_MS)?;
    if !request.request_id.is_empty() {
        validate::request_id(&request.request_id)?;
    }
    let wait_ms = validate::duration_ms("wait", request.wait, 0, (0, MAX_WAIT_MS))?;
    let until = Instant::now() + Duration::from_millis(wait_ms);
    let mut activity = services.context.hub.activity();
    loop {
        activity.mark_unchanged();
        let Reply::Polled(polled) = services
            .call(Command::Poll {
                miner_key: miner,
                lease_ms,
                request_id: request.request_id.clone(),
            })
            .await?
        else {
            return Err(unexpected());
        };
        if let Some(polled) = polled {
            let (info, lease_until_ms) = *polled;
            return Ok(v1::PollJobResponse {
                job: Some(taken(services, info, lease_until_ms)?),
            });
        }
        let now = Instant::now();
        if now >= until || services.context.shutdown.is_cancelled() {
            return Ok(v1::PollJobResponse { job: None });
        }
        tokio::time::sleep_until(until.min(now + PAUSE)).await;
        tokio::select! {
            _ = activity.changed() => {}
            () = services.context.shutdown.cancelled() => {}
            () = tokio::time::sleep_until(until.min(now + AT_LEAST)) => {}
        }
    }
}

fn taken(
    services: &Services,
    info: AttemptInfo,
    lease_until_ms: u64,
) -> Result<v1::PolledJob, ApiError> {
    let facts = AttemptFacts::sign(&info, &services.context.service).map_err(|error| {
        ApiError::new(
            ErrorReason::Internal,
            format!("an assignment of ours: {error}"),
        )
    })?;
    let signature = facts.signature;
    services
        .context
        .streams
        .insert(AttemptStream::new(facts))
        .accept();
    Ok(convert::polled(
        info,
        signature,
        lease_until_ms,
        services.context.engine.now_ms(),
    ))
}

/// Prolongs a lease.
pub(super) async fn extend(
    services: &Services,
    miner_key: PublicKey,
    request: &v1::ExtendLeaseRequest,
) -> Result<v1::ExtendLeaseResponse, ApiError> {
    let attempt = validate::attempt(&request.job_id, request.attempt)?;
    let lease_ms =
        validate::duration_ms("lease", request.lease, DEFAULT_LEASE_MS, LEASE_BOUNDS_MS)?;
    match services
        .call(Command::ExtendLease {
            miner_key,
            attempt,
            lease_ms,
        })
        .await?
    {
        Reply::LeaseExtended(until_ms) => Ok(v1::ExtendLeaseResponse {
            lease_until: convert::timestamp(until_ms),
        }),
        _ => Err(unexpected()),
    }
}
