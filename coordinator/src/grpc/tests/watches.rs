//! Following jobs: all of an owner's, from a cursor, and those of others not at all.

use aitbc_common::runtime::status::ApiError;
use aitbc_common::token::Scope;
use aitbc_proto::v1::miner_message::Message as Up;
use aitbc_proto::v1::{self, ErrorReason, JobEvent, JobStatus};
use bytes::Bytes;
use tonic::Streaming;

use super::{Answer, Miner, start, submit};
use crate::grpc::tests::Connection;

async fn follow(client: &Connection, cursor: Bytes) -> Streaming<v1::WatchJobsResponse> {
    let request = v1::WatchJobsRequest {
        cursor,
        inline_result_bytes: 65_536,
    };
    client
        .jobs()
        .watch_jobs(request)
        .await
        .unwrap()
        .into_inner()
}

/// Reads events until one has this status; the cursor after them.
async fn until(
    stream: &mut Streaming<v1::WatchJobsResponse>,
    events: &mut Vec<JobEvent>,
    status: JobStatus,
) -> Bytes {
    loop {
        let response = stream.message().await.unwrap().expect("the stream goes on");
        events.extend(response.events);
        if events.iter().any(|event| event.status() == status) {
            return response.cursor;
        }
    }
}

async fn run_one(client: &Connection, miner: &mut Miner, request_id: &str) -> String {
    let job_id = submit(client, request_id).await;
    let assign = miner.assigned().await;
    let answer = Answer::new(100);
    miner.send_all(&assign, &answer).await;
    miner
        .say(Up::Complete(answer.complete(&assign, &miner.identity)))
        .await;
    assert_eq!(miner.acknowledged().await, None);
    job_id
}

#[tokio::test]
async fn all_changes_are_seen_live_and_after_an_absence() {
    let running = start().await;
    let client = running.client().await;
    let (mut miner, _) = Miner::open(&running, Vec::new()).await;
    let mut stream = follow(&client, Bytes::new()).await;
    let first = stream.message().await.unwrap().unwrap();
    assert!(first.events.is_empty() && !first.cursor.is_empty());
    let one = run_one(&client, &mut miner, "one").await;
    let mut events = Vec::new();
    let after_one = until(&mut stream, &mut events, JobStatus::Completed).await;
    let last = events.last().unwrap();
    assert_eq!(
        (last.job_id.as_str(), last.request_id.as_str()),
        (one.as_str(), "one")
    );
    assert!(last.proof.is_some() && last.result.is_some());
    drop(stream);
    let two = run_one(&client, &mut miner, "two").await;
    let waiting = submit(&client, "three").await;
    for (cursor, mut expected) in [
        (after_one, vec![&two, &waiting]),
        (first.cursor, vec![&one, &two, &waiting]),
    ] {
        let mut stream = follow(&client, cursor).await;
        let response = stream.message().await.unwrap().unwrap();
        let mut ids: Vec<&String> = response.events.iter().map(|event| &event.job_id).collect();
        ids.sort();
        expected.sort();
        assert_eq!(ids, expected, "each once, with its newest change");
        let mut events = Vec::new();
        until_quiet(&mut stream, &mut events).await;
        assert!(events.is_empty(), "{events:?}");
    }
}

/// What more comes before a change that the test makes itself would.
async fn until_quiet(stream: &mut Streaming<v1::WatchJobsResponse>, events: &mut Vec<JobEvent>) {
    let quiet = std::time::Duration::from_millis(200);
    while let Ok(Ok(Some(response))) = tokio::time::timeout(quiet, stream.message()).await {
        events.extend(response.events);
    }
}

#[tokio::test]
async fn lists_go_through_live_and_finished_jobs_newest_first() {
    let running = start().await;
    let client = running.client().await;
    let mut expected = Vec::new();
    for number in 0..7 {
        let job_id = submit(&client, &format!("r{number}")).await;
        if number % 2 == 0 {
            let cancel = v1::CancelJobRequest {
                job_id: job_id.clone(),
            };
            assert!(
                client
                    .jobs()
                    .cancel_job(cancel)
                    .await
                    .unwrap()
                    .into_inner()
                    .cancelled
            );
        }
        expected.insert(0, job_id);
    }
    expected.sort_by(|a, b| b.cmp(a));
    for page_size in [1, 3, 50] {
        let mut found = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = v1::ListJobsRequest {
                page_size,
                page_token: page_token.clone(),
                statuses: Vec::new(),
            };
            let page = client.jobs().list_jobs(request).await.unwrap().into_inner();
            assert!(page.jobs.len() <= page_size as usize);
            found.extend(page.jobs.into_iter().map(|job| job.job_id));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(found, expected, "pages of {page_size}");
    }
    let request = v1::ListJobsRequest {
        statuses: vec![JobStatus::Cancelled.into()],
        ..v1::ListJobsRequest::default()
    };
    assert_eq!(
        client
            .jobs()
            .list_jobs(request)
            .await
            .unwrap()
            .into_inner()
            .jobs
            .len(),
        4
    );
}

#[tokio::test]
async fn jobs_of_others_are_not_there() {
    let running = start().await;
    let (client, stranger) = (
        running.client().await,
        running.connect(9, Scope::Client).await,
    );
    let job_id = submit(&client, "r").await;
    let unknown = "job_01m83xj880emq8k9w39qsaekf4".to_owned();
    let mut answers = Vec::new();
    for job_id in [job_id, unknown] {
        let get = v1::GetJobRequest {
            job_id: job_id.clone(),
        };
        answers.push(stranger.jobs().get_job(get).await.unwrap_err());
        let watch = v1::WatchJobRequest {
            job_id: job_id.clone(),
            ..v1::WatchJobRequest::default()
        };
        answers.push(stranger.jobs().watch_job(watch).await.unwrap_err());
        let request = v1::CancelJobRequest { job_id };
        answers.push(stranger.jobs().cancel_job(request).await.unwrap_err());
    }
    for status in answers {
        let error = ApiError::from_status(&status).unwrap();
        assert_eq!(error.reason, ErrorReason::JobNotFound);
    }
}

/// The status that ends a stream, after what may still come.
async fn ending<T>(stream: &mut tonic::Streaming<T>) -> tonic::Status {
    loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ended as if all had been said"),
            Err(status) => return status,
        }
    }
}

#[tokio::test]
async fn watchers_end_with_something_to_resume_from_when_the_coordinator_stops() {
    let running = start().await;
    let client = running.client().await;
    let job_id = submit(&client, "r").await;
    let mut one = super::watch(&client, &job_id, 0, 0).await;
    let mut all = follow(&client, Bytes::new()).await;
    one.message().await.unwrap();
    all.message().await.unwrap();
    running.shutdown.cancel();
    for status in [ending(&mut one).await, ending(&mut all).await] {
        assert_eq!(
            ApiError::from_status(&status).unwrap().reason,
            ErrorReason::Unavailable
        );
    }
}
