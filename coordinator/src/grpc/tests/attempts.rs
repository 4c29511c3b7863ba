//! What a job tells of attempts that ended.

use aitbc_proto::v1::{self, FailureReason, JobStatus};

use super::{Down, Miner, OutputKind, Running, Up, start, submit};
use aitbc_common::runtime::channel::Connection;

async fn job(client: &Connection, job_id: &str) -> v1::Job {
    let request = v1::GetJobRequest {
        job_id: job_id.into(),
    };
    let answer = client.jobs().get_job(request).await.unwrap().into_inner();
    answer.job.unwrap()
}

async fn events(client: &Connection, job_id: &str) -> Vec<v1::JobLogEntry> {
    let request = v1::ListJobEventsRequest {
        job_id: job_id.into(),
        ..v1::ListJobEventsRequest::default()
    };
    let answer = client.jobs().list_job_events(request).await.unwrap();
    answer.into_inner().events
}

/// A job whose only miner has begun to answer.
async fn begun(running: &Running) -> (Connection, Miner, v1::Assign) {
    let client = running.client().await;
    let (mut miner, _) = Miner::open(running, Vec::new()).await;
    let job_id = submit(&client, "r").await;
    let assign = miner.assigned().await;
    miner.send(&assign, OutputKind::Output, 0, b"Hel").await;
    while job(&client, &job_id).await.output_bytes == 0 {
        tokio::task::yield_now().await;
    }
    (client, miner, assign)
}

async fn fail(miner: &mut Miner, assign: &v1::Assign, reason: FailureReason) {
    let failure = v1::Failure {
        reason: reason.into(),
        message: String::new(),
    };
    let (job_id, attempt) = (assign.job_id.clone(), assign.attempt);
    let fail = v1::Fail {
        job_id,
        attempt,
        failure: Some(failure),
    };
    miner.say(Up::Fail(fail)).await;
    assert_eq!(miner.acknowledged().await, None);
}

#[tokio::test]
async fn a_job_that_waits_again_shows_no_times_of_the_attempt_before() {
    let running = start().await;
    let (client, mut miner, assign) = begun(&running).await;
    let before = job(&client, &assign.job_id).await;
    assert!(before.started_at.is_some() && before.first_token_at.is_some());
    fail(&mut miner, &assign, FailureReason::Returned).await;
    let waits = job(&client, &assign.job_id).await;
    assert_eq!(waits.status(), JobStatus::Queued);
    assert_eq!((waits.started_at, waits.first_token_at), (None, None));
    assert_eq!((waits.output_bytes, waits.miner_id.as_str()), (0, ""));
    let request = v1::ListJobsRequest::default();
    let list = client.jobs().list_jobs(request).await.unwrap();
    let listed = list.into_inner().jobs.remove(0);
    assert_eq!((listed.started_at, listed.first_token_at), (None, None));
}

#[tokio::test]
async fn a_cancelled_job_names_the_miner_that_had_it() {
    let running = start().await;
    let (client, mut miner, assign) = begun(&running).await;
    let request = v1::CancelJobRequest {
        job_id: assign.job_id.clone(),
    };
    client.jobs().cancel_job(request).await.unwrap();
    while !matches!(miner.next().await, Down::Cancel(_)) {}
    let cancelled = job(&client, &assign.job_id).await;
    assert_eq!(cancelled.status(), JobStatus::Cancelled);
    assert_eq!(cancelled.miner_id, cancelled.attempts[0].miner_id);
    let last = events(&client, &assign.job_id).await.pop().unwrap();
    assert_eq!((last.event.as_str(), last.attempt), ("cancelled", 1));
    assert_eq!(last.miner_id, cancelled.miner_id);
}

#[tokio::test]
async fn a_failure_without_a_message_still_says_why() {
    let running = start().await;
    let (client, mut miner, assign) = begun(&running).await;
    fail(&mut miner, &assign, FailureReason::ContextExceeded).await;
    let request = v1::GetResultRequest {
        job_id: assign.job_id.clone(),
        ..v1::GetResultRequest::default()
    };
    let refused = client.jobs().get_result(request).await.unwrap_err();
    let wanted = format!(
        "{} failed and has no result: context exceeded",
        assign.job_id
    );
    assert_eq!(refused.message(), wanted);
    let failed = job(&client, &assign.job_id).await;
    assert_eq!(failed.miner_id, failed.attempts[0].miner_id);
    assert_eq!(failed.retries_spent, 0);
    let last = events(&client, &assign.job_id).await.pop().unwrap();
    assert_eq!(
        (last.event.as_str(), last.message.as_str()),
        ("failed", "context exceeded")
    );
}
