//! Output through a session and through CompleteJob, small and large.

use aitbc_common::identity::Identity;
use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::status::ApiError;
use aitbc_common::token::Scope;
use aitbc_proto::v1::complete_job_request::Part;
use aitbc_proto::v1::miner_message::Message as Up;
use aitbc_proto::v1::{self, JobStatus, OutputKind};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;

use crate::engine::command::{AttemptId, Command};
use crate::sessions::core::StreamKind;
use crate::sessions::stored::{self, LOADED_KIB};

use super::{Answer, Down, Miner, Running, Seen, register, result, start, submit, watch};

#[tokio::test]
async fn answers_of_any_length_arrive_whole() {
    let running = start().await;
    let client = running.client().await;
    let (mut miner, _) = Miner::open(&running, Vec::new()).await;
    for (number, length) in [0, 1, 60_000, 70_000, 3_000_000].into_iter().enumerate() {
        let job_id = submit(&client, &format!("r{number}")).await;
        let mut stream = watch(&client, &job_id, 0, 0).await;
        let assign = miner.assigned().await;
        assert_eq!(assign.job_id, job_id);
        let answer = Answer::new(length);
        miner.send_all(&assign, &answer).await;
        let complete = answer.complete(&assign, &miner.identity);
        miner.say(Up::Complete(complete)).await;
        assert_eq!(miner.acknowledged().await, None, "{length} bytes");
        let mut seen = Seen::default();
        seen.read(&mut stream, |_| false).await;
        assert_eq!(seen.output, answer.output, "watched {length} bytes");
        let finished = seen.finished.unwrap();
        assert_eq!(finished.job.unwrap().status(), JobStatus::Completed);
        let inline = finished.result.is_some();
        assert_eq!(inline, answer.result.len() <= 64 << 10);
        assert_eq!(
            result(&client, &job_id, 0).await,
            (answer.output.clone(), answer.result.clone())
        );
        let skip = length as u64 / 2;
        assert_eq!(
            result(&client, "last", skip).await.0,
            answer.output[length / 2..]
        );
        // Afterwards too, from the archive and from the middle.
        let mut again = Seen {
            attempt: 1,
            output: answer.output[..length / 2].to_vec(),
            ..Seen::default()
        };
        let mut stream = watch(&client, &job_id, 1, skip).await;
        again.read(&mut stream, |_| false).await;
        assert_eq!(again.output, answer.output, "watched {length} bytes again");
    }
}

#[tokio::test]
async fn a_large_answer_is_kept_in_chunks_that_readers_take_one_by_one() {
    let running = start().await;
    let client = running.client().await;
    let (mut miner, _) = Miner::open(&running, Vec::new()).await;
    let job_id = submit(&client, "r").await;
    let assign = miner.assigned().await;
    let answer = Answer::new(1_000_000);
    miner.send_all(&assign, &answer).await;
    miner
        .say(Up::Complete(answer.complete(&assign, &miner.identity)))
        .await;
    assert_eq!(miner.acknowledged().await, None);
    // Nobody takes what the readers have, and nothing was loaded for them.
    let context = &running.services.context;
    let mut readers = Vec::new();
    for _ in 0..100 {
        let request = v1::GetResultRequest {
            job_id: job_id.clone(),
            output_offset: 0,
        };
        readers.push(client.jobs().get_result(request).await.unwrap());
    }
    assert_eq!(context.loads.available_permits(), LOADED_KIB);
    let attempt = AttemptId {
        job_id: job_id.parse().unwrap(),
        attempt: 1,
    };
    let stored = stored::read_all(
        &context.engine.store(),
        attempt,
        StreamKind::Output,
        answer.output.len() as u64,
    );
    assert!(stored.unwrap() == answer.output);
}

#[tokio::test]
async fn a_miner_that_floods_is_slowed_down_and_stays() {
    const FLOOD: u64 = 6_000;
    let running = start().await;
    let client = running.client().await;
    let (mut miner, _) = Miner::open(&running, Vec::new()).await;
    submit(&client, "r").await;
    let assign = miner.assigned().await;
    // The engine is busy with something else.
    let engine = running.services.context.engine.clone();
    let (go_on, busy) = std::sync::mpsc::sync_channel::<()>(1);
    let stall = move || {
        engine.blocking_call_all(vec![Command::Tick], move |_| {
            let _ = busy.recv();
        })
    };
    tokio::task::spawn_blocking(stall).await.unwrap();
    for _ in 0..FLOOD {
        let (job_id, attempt) = (assign.job_id.clone(), assign.attempt);
        miner.say(Up::Accept(v1::Accept { job_id, attempt })).await;
    }
    // Calls that need no engine: meanwhile the session takes whatever it takes.
    for _ in 0..200 {
        let request = v1::GetNetworkInfoRequest::default();
        client.network().get_network_info(request).await.unwrap();
    }
    let taken = running.services.context.engine.stats().messages_in();
    assert!(
        taken < FLOOD / 2,
        "{taken} messages taken for a busy engine"
    );
    go_on.send(()).unwrap();
    let sequence = 77;
    let heartbeat = v1::MinerHeartbeat {
        sequence,
        ..v1::MinerHeartbeat::default()
    };
    miner.say(Up::Heartbeat(heartbeat)).await;
    let echo = miner.next().await;
    assert!(matches!(echo, Down::Heartbeat(echo) if echo.sequence == sequence));
}

#[tokio::test]
async fn a_miner_that_reconnects_goes_on_where_the_coordinator_is() {
    let running = start().await;
    let client = running.client().await;
    let (mut miner, _) = Miner::open(&running, Vec::new()).await;
    let job_id = submit(&client, "r").await;
    let mut stream = watch(&client, &job_id, 0, 0).await;
    let assign = miner.assigned().await;
    let answer = Answer::new(200_000);
    miner
        .send(&assign, OutputKind::Output, 0, &answer.output[..150_000])
        .await;
    let mut seen = Seen::default();
    seen.read(&mut stream, |seen| seen.output.len() == 150_000)
        .await;
    drop(miner);
    let held = v1::RunningAttempt {
        job_id: job_id.clone(),
        attempt: assign.attempt,
        output_bytes: 200_000,
        output_tokens: 0,
        ..v1::RunningAttempt::default()
    };
    let (mut miner, welcome) = Miner::open(&running, vec![held]).await;
    let resumed = &welcome.attempts[0];
    assert_eq!(resumed.action(), v1::ResumeAction::Continue);
    assert_eq!((resumed.output_offset, resumed.result_offset), (150_000, 0));
    // A receipt before its bytes: what is missing is asked for.
    let complete = answer.complete(&assign, &miner.identity);
    miner.say(Up::Complete(complete.clone())).await;
    let Down::Resend(resend) = miner.next().await else {
        panic!("no Resend");
    };
    assert_eq!(
        (resend.kind(), resend.offset),
        (OutputKind::Output, 150_000)
    );
    miner
        .send(
            &assign,
            OutputKind::Output,
            150_000,
            &answer.output[150_000..],
        )
        .await;
    miner
        .send(&assign, OutputKind::Result, 0, &answer.result)
        .await;
    miner.say(Up::Complete(complete)).await;
    assert_eq!(miner.acknowledged().await, None);
    seen.read(&mut stream, |_| false).await;
    assert_eq!(seen.output, answer.output);
    assert!(
        seen.statuses.starts_with(&[JobStatus::Queued])
            || seen.statuses.starts_with(&[JobStatus::Processing])
    );
}

/// A whole delivery.
fn parts(complete: v1::Complete, answer: &Answer) -> Vec<v1::CompleteJobRequest> {
    let chunks = |bytes: &[u8]| -> Vec<Bytes> {
        bytes.chunks(200_000).map(Bytes::copy_from_slice).collect()
    };
    let mut parts = vec![Part::Complete(complete)];
    parts.extend(chunks(&answer.output).into_iter().map(Part::Output));
    parts.extend(chunks(&answer.result).into_iter().map(Part::Result));
    let request = |part| v1::CompleteJobRequest { part: Some(part) };
    parts.into_iter().map(request).collect()
}

/// A registered miner that holds a polled job.
async fn polled(running: &Running, seed: u8) -> (Connection, v1::Complete, Answer) {
    let connection = running.connect(seed, Scope::Miner).await;
    register(&connection, Vec::new()).await;
    let request = v1::PollJobRequest::default();
    let polled = connection.miners().poll_job(request).await.unwrap();
    let assign = polled.into_inner().job.unwrap().assign.unwrap();
    let answer = Answer::new(10);
    let complete = answer.complete(&assign, &Identity::from_seed(&[seed; 32]));
    (connection, complete, answer)
}

#[tokio::test]
async fn slow_deliveries_of_one_identity_leave_places_for_others() {
    let running = start().await;
    let client = running.client().await;
    submit(&client, "r1").await;
    submit(&client, "r2").await;
    let (slow, complete, answer) = polled(&running, 3).await;
    let (other, others, others_answer) = polled(&running, 4).await;
    // Three begin, none goes on: two wait for more, the third is one too many.
    let (begun, rest) = parts(complete, &answer)
        .split_first()
        .map(|(first, rest)| (first.clone(), rest.to_vec()))
        .unwrap();
    let mut calls = JoinSet::new();
    let mut open = Vec::new();
    for number in 0..3 {
        let (send, requests) = mpsc::channel(8);
        send.send(begun.clone()).await.unwrap();
        open.push(send);
        let mut miners = slow.miners();
        calls.spawn(async move {
            let requests = ReceiverStream::new(requests);
            (number, miners.complete_job(requests).await)
        });
    }
    let (refused, answered) = calls.join_next().await.unwrap().unwrap();
    let refusal = ApiError::from_status(&answered.unwrap_err()).unwrap();
    assert_eq!(refusal.code, tonic::Code::ResourceExhausted, "{refusal:?}");
    assert!(refusal.retry_after.is_some());
    open.remove(refused);
    let all = tokio_stream::iter(parts(others, &others_answer));
    let done = other.miners().complete_job(all).await.unwrap();
    assert_eq!(done.into_inner().status(), JobStatus::Completed);
    for send in open {
        for part in rest.clone() {
            send.send(part).await.unwrap();
        }
    }
    while let Some(call) = calls.join_next().await {
        let (_, done) = call.unwrap();
        assert_eq!(done.unwrap().into_inner().status(), JobStatus::Completed);
    }
}

#[tokio::test]
async fn polled_jobs_are_delivered_in_one_call() {
    let running = start().await;
    let client = running.client().await;
    let connection = running.connect(3, Scope::Miner).await;
    register(&connection, Vec::new()).await;
    let miner = Identity::from_seed(&[3; 32]);
    let none = connection
        .miners()
        .poll_job(v1::PollJobRequest::default())
        .await
        .unwrap();
    assert_eq!(none.into_inner().job, None);
    let wait = prost_types::Duration {
        seconds: 20,
        nanos: 0,
    };
    let waiting = v1::PollJobRequest {
        wait: Some(wait),
        request_id: "p".into(),
        ..v1::PollJobRequest::default()
    };
    let (mut miners, request) = (connection.miners(), waiting.clone());
    let poll = tokio::spawn(async move { miners.poll_job(request).await });
    let job_id = submit(&client, "r").await;
    let polled = poll.await.unwrap().unwrap().into_inner().job.unwrap();
    let again = connection.miners().poll_job(waiting).await.unwrap();
    let mut again = again.into_inner().job.unwrap();
    let assign = polled.assign.clone().unwrap();
    // Time passes between the two.
    again.assign.as_mut().unwrap().time_left = assign.time_left;
    assert_eq!(again, polled, "repeated");
    assert_eq!(assign.job_id, job_id);
    let answer = Answer::new(1_000_000);
    let complete = answer.complete(&assign, &miner);
    let deliver = |complete: v1::Complete| {
        let parts = parts(complete, &answer);
        let mut miners = connection.miners();
        async move { miners.complete_job(tokio_stream::iter(parts)).await }
    };
    let mut forged = complete.clone();
    forged.signature = vec![1; 64].into();
    assert_eq!(
        deliver(forged).await.unwrap_err().code(),
        tonic::Code::InvalidArgument
    );
    for _twice in 0..2 {
        let recorded = deliver(complete.clone()).await.unwrap().into_inner();
        assert_eq!(recorded.status(), JobStatus::Completed);
    }
    assert_eq!(
        result(&client, &job_id, 0).await,
        (answer.output.clone(), answer.result.clone())
    );
}
