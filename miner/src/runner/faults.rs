//! The adapter against a scripted server: what a real one does rarely.

mod scripted;

use std::time::Duration;

use aitbc_common::job_input::JobType;
use reqwest::Url;
use tokio::net::TcpListener;

use self::scripted::{DONE, Step, answer, begin, end, serve, serve_each, token};
use super::*;

const QUICK: Patience = Patience {
    connect: Duration::from_millis(500),
    first_token: Duration::from_secs(3),
    next_token: Duration::from_millis(300),
};

fn request(job_type: JobType, document: &str) -> RunRequest {
    RunRequest {
        model: "llama3:latest".to_owned(),
        input: JobInput::parse(job_type, document.as_bytes()).expect(document),
        context_tokens: 512,
        output_limit: MAX_OUTPUT_BYTES,
    }
}

async fn run_request(url: Url, request: RunRequest) -> (Result<RunResult, RunError>, String) {
    run_with(&OllamaClient::with_patience(url, QUICK), request).await
}

/// Runs a job; the result, and the output as it was streamed.
async fn run_with(
    client: &OllamaClient,
    request: RunRequest,
) -> (Result<RunResult, RunError>, String) {
    let (events, mut received) = mpsc::channel(4);
    let collect = async {
        let mut output = Vec::new();
        while let Some(event) = received.recv().await {
            if let RunEvent::Text { bytes, .. } = event {
                output.extend_from_slice(&bytes);
            }
        }
        String::from_utf8(output).expect("UTF-8")
    };
    tokio::join!(
        client.run(request, CancellationToken::new(), events),
        collect
    )
}

async fn run(script: Vec<Step>) -> (Result<RunResult, RunError>, String) {
    let server = serve(script).await;
    run_request(
        server.url,
        request(JobType::Inference, r#"{"prompt":"Hi"}"#),
    )
    .await
}

async fn fails_with(script: Vec<Step>, reason: &str) -> RunError {
    let error = run(script).await.0.expect_err(reason);
    assert_eq!(error.reason(), reason, "{error}");
    assert!(!error.hint().is_empty());
    error
}

#[tokio::test]
async fn an_answer_arrives_in_order_with_its_counts() {
    let script = vec![begin(&[&token("Hel"), &token("lö"), DONE]), end()];
    let (result, output) = run(script).await;
    let result = result.expect("complete");
    assert_eq!(
        (result.content.as_str(), output.as_str()),
        ("Hellö", "Hellö")
    );
    assert_eq!((result.tokens_in, result.tokens_out), (9, 2));
    assert_eq!(result.work_duration(), Duration::from_millis(50));
    assert_eq!(result.load_duration, Duration::from_millis(40));
    assert_eq!(result.finish_reason, FinishReason::Stop);
}

#[tokio::test]
async fn thoughts_and_tool_calls_are_no_output() {
    let server = serve(vec![
        begin(&[
            r#"{"message":{"role":"assistant","content":"","thinking":"hm"},"done":false}"#,
            r#"{"message":{"role":"assistant","content":"","tool_calls":[{"function":{"name":"look","arguments":{}}}]},"done":false}"#,
            r#"{"message":{"role":"assistant","content":"Ok"},"done":false}"#,
            r#"{"message":{"role":"assistant","content":""},"done":true,"done_reason":"length"}"#,
        ]),
        end(),
    ])
    .await;
    let job = request(
        JobType::Inference,
        r#"{"messages":[{"role":"user","content":"Hi"}]}"#,
    );
    let (result, output) = run_request(server.url, job).await;
    let result = result.expect("complete");
    assert_eq!(
        (
            output.as_str(),
            result.thinking.as_str(),
            result.tool_calls.len()
        ),
        ("Ok", "hm", 1)
    );
    assert_eq!(result.finish_reason, FinishReason::Length);
    let requests = server.requests.lock().expect("no panic");
    assert_eq!(requests[0].0, "/api/chat");
    assert!(
        requests[0].1.contains(r#""truncate":false"#) && requests[0].1.contains(r#""num_ctx":512"#)
    );
}

#[tokio::test]
async fn nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = server_url(&listener.local_addr().expect("bound").to_string()).expect("valid");
    drop(listener);
    let client = OllamaClient::with_patience(url.clone(), QUICK);
    let error = client.version().await.expect_err("nobody");
    assert_eq!(error.reason(), "MODEL_SERVER_AWAY");
    assert!(error.closes_slots() && error.is_retryable());
    let (result, _) = run_request(url, request(JobType::Inference, r#"{"prompt":"Hi"}"#)).await;
    assert_eq!(result.expect_err("nobody").reason(), "MODEL_SERVER_AWAY");
}

#[tokio::test]
async fn a_hanging_server_is_away_or_stalls() {
    let server = serve(vec![Step::Hang]).await;
    let client = OllamaClient::with_patience(server.url, QUICK);
    assert_eq!(
        client.version().await.expect_err("silence").reason(),
        "MODEL_SERVER_AWAY"
    );
    let before = fails_with(vec![Step::Hang], "STALL").await;
    assert!(matches!(
        before,
        RunError::Stall {
            first_token: true,
            ..
        }
    ));
    let between = fails_with(vec![begin(&[&token("a")]), Step::Hang], "STALL").await;
    assert!(matches!(
        between,
        RunError::Stall {
            first_token: false,
            ..
        }
    ));
}

#[tokio::test]
async fn the_first_token_may_be_slow() {
    let slow = Step::Pause(QUICK.next_token * 3);
    let (result, output) = run(vec![slow, begin(&[&token("Hi"), DONE]), end()]).await;
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(output, "Hi");
}

#[tokio::test]
async fn broken_answers() {
    let cut = fails_with(vec![begin(&[&token("a")])], "STREAM_CUT").await;
    assert!(cut.is_retryable());
    fails_with(vec![begin(&[&token("a")]), end()], "STREAM_CUT").await;
    fails_with(vec![], "MODEL_SERVER_AWAY").await;
    fails_with(
        vec![begin(&["<html>not a model server</html>"]), end()],
        "GARBAGE",
    )
    .await;
    fails_with(vec![begin(&[r#"{"hello":"world"}"#]), end()], "GARBAGE").await;
    fails_with(
        vec![begin(&[r#"{"response":7,"done":false}"#]), end()],
        "GARBAGE",
    )
    .await;
    fails_with(answer("200 OK", "\u{0}\u{1}\u{2}"), "GARBAGE").await;
    let endless = "a".repeat(lines::MAX_LINE_BYTES + 2);
    fails_with(vec![begin(&[&endless]), Step::Hang], "GARBAGE").await;
}

#[tokio::test]
async fn errors_of_the_server_are_classified() {
    fails_with(
        answer("500 Internal Server Error", "oops"),
        "MODEL_SERVER_FAILED",
    )
    .await;
    let missing = fails_with(
        answer("404 Not Found", r#"{"error":"model 'llama3' not found"}"#),
        "MODEL_MISSING",
    )
    .await;
    assert_eq!(missing.hint(), "ollama pull llama3");
    let memory =
        r#"{"error":"model requires more system memory (5 GiB) than is available (1 GiB)"}"#;
    fails_with(answer("500 Internal Server Error", memory), "OUT_OF_MEMORY").await;
    let thinking = r#"{"error":"\"llama3\" does not support thinking"}"#;
    assert!(
        fails_with(answer("400 Bad Request", thinking), "REQUEST_REFUSED")
            .await
            .is_jobs_fault()
    );
    let stopped = r#"{"error":"an error was encountered while running the model: unexpected EOF"}"#;
    fails_with(vec![begin(&[&token("a"), stopped]), end()], "STREAM_CUT").await;
}

#[tokio::test]
async fn a_long_prompt_is_never_cut_silently() {
    let said = fails_with(
        answer(
            "400 Bad Request",
            r#"{"error":"the input length exceeds the context length"}"#,
        ),
        "CONTEXT_EXCEEDED",
    )
    .await;
    assert_eq!(
        said.to_string(),
        "context exceeded: about 513 of 512 tokens"
    );
    let counted = answer(
        "400 Bad Request",
        r#"{"error":"context exceeded: 9120 of 8192 tokens"}"#,
    );
    assert_eq!(
        fails_with(counted, "CONTEXT_EXCEEDED").await.to_string(),
        "context exceeded: 9,120 of 8,192 tokens"
    );
    let silent = DONE.replace(r#""prompt_eval_count":9"#, r#""prompt_eval_count":512"#);
    fails_with(
        vec![begin(&[&token("a"), &silent]), end()],
        "CONTEXT_EXCEEDED",
    )
    .await;
}

#[tokio::test]
async fn a_model_that_repeats_itself_is_ended_by_the_server() {
    let tokens = vec![token("\n"); 30];
    let (result, output) = run(vec![
        begin(&tokens.iter().map(String::as_str).collect::<Vec<_>>()),
        end(),
    ])
    .await;
    let result = result.expect("an end without a last record");
    assert_eq!(
        (output.len(), result.tokens_out, result.finish_reason),
        (30, 30, FinishReason::Length)
    );
    assert!(result.tokens_in > 0);
}

#[tokio::test]
async fn the_output_is_bounded() {
    let server = serve(vec![
        begin(&[&token("12345"), &token("678ä"), &token("x")]),
        Step::Hang,
    ])
    .await;
    let mut left = server.left.clone();
    let job = RunRequest {
        output_limit: 9,
        ..request(JobType::Inference, r#"{"prompt":"Hi"}"#)
    };
    let (result, output) = run_request(server.url, job).await;
    let result = result.expect("ended");
    assert_eq!(
        (output.as_str(), result.finish_reason),
        ("12345678", FinishReason::Length),
        "no half character"
    );
    assert_eq!(result.content, output);
    left.wait_for(|count| *count == 1)
        .await
        .expect("the server is told");
}

#[tokio::test]
async fn a_cancel_reaches_the_server() {
    let server = serve(vec![begin(&[&token("a")]), Step::Hang]).await;
    let client = OllamaClient::new(server.url);
    let (events, mut received) = mpsc::channel(4);
    let cancel = CancellationToken::new();
    let job = request(JobType::Inference, r#"{"prompt":"Hi"}"#);
    let running = tokio::spawn({
        let cancel = cancel.clone();
        async move { client.run(job, cancel, events).await }
    });
    assert!(received.recv().await.is_some());
    cancel.cancel();
    let error = running.await.expect("no panic").expect_err("cancelled");
    let RunError::Cancelled(partial) = error else {
        panic!("{error}")
    };
    assert_eq!((partial.content.as_str(), partial.tokens_out), ("a", 1));
    let mut left = server.left;
    tokio::time::timeout(Duration::from_secs(10), left.wait_for(|count| *count == 1))
        .await
        .expect("in time")
        .expect("the server is told");
}

#[tokio::test]
async fn a_dropped_receiver_cancels() {
    let server = serve(vec![Step::Hang]).await;
    let client = OllamaClient::new(server.url);
    let (events, received) = mpsc::channel(1);
    drop(received);
    let job = request(JobType::Inference, r#"{"prompt":"Hi"}"#);
    let result = client.run(job, CancellationToken::new(), events).await;
    assert!(matches!(result, Err(RunError::Cancelled(_))), "{result:?}");
}

#[tokio::test]
async fn embeddings_are_one_for_each_text() {
    let job = || request(JobType::Embedding, r#"{"input":["a","b"]}"#);
    let good = r#"{"embeddings":[[0.5,1],[0.25,2]],"total_duration":90,"load_duration":40,"prompt_eval_count":4}"#;
    let server = serve(answer("200 OK", good)).await;
    let (result, output) = run_request(server.url, job()).await;
    let result = result.expect("complete");
    assert_eq!(
        result.embeddings,
        Some(vec![vec![0.5, 1.0], vec![0.25, 2.0]])
    );
    assert_eq!(
        (result.tokens_in, result.work_duration(), output.as_str()),
        (4, Duration::from_nanos(50), "")
    );
    for (body, reason) in [
        (r#"{"embeddings":[[0.5]]}"#, "GARBAGE"),
        (r#"{"embeddings":[[],[]]}"#, "GARBAGE"),
        ("[]", "GARBAGE"),
    ] {
        let server = serve(answer("200 OK", body)).await;
        assert_eq!(
            run_request(server.url, job())
                .await
                .0
                .expect_err(body)
                .reason(),
            reason
        );
    }
}

#[tokio::test]
async fn a_model_that_cannot_be_described_is_left_out_and_one_that_nobody_wants_is_not_asked_for() {
    let listed = |name: &str| {
        format!(
            r#"{{"name":"{name}:latest","digest":"{}"}}"#,
            "ab".repeat(32)
        )
    };
    let tags = format!(
        r#"{{"models":[{},{}]}}"#,
        listed("broken"),
        listed("llama3")
    );
    let server = serve_each(move |path, body| match path {
        "/api/tags" => answer("200 OK", &tags),
        _ if body.contains("broken") => answer("500 Internal Server Error", "oops"),
        _ => answer("200 OK", r#"{"capabilities":["completion"]}"#),
    })
    .await;
    let client = OllamaClient::with_patience(server.url, QUICK);
    let names = |models: Vec<LocalModel>| -> Vec<String> {
        models.into_iter().map(|model| model.name).collect()
    };
    assert_eq!(
        names(client.models().await.expect("one")),
        ["llama3:latest"]
    );
    server.requests.lock().expect("no panic").clear();
    let wanted = client.models_named(&["llama3:latest".to_owned()]).await;
    assert_eq!(names(wanted.expect("one")), ["llama3:latest"]);
    assert_eq!(server.requests.lock().expect("no panic").len(), 2);
    let broken = client.models_named(&["broken:latest".to_owned()]).await;
    assert_eq!(broken.expect_err("none").reason(), "MODEL_SERVER_FAILED");
}

#[tokio::test]
async fn a_download_shows_its_progress() {
    let steps = [
        r#"{"status":"pulling manifest"}"#,
        r#"{"status":"pulling 365c0bd3c000","digest":"sha256:365c","total":100,"completed":40}"#,
        r#"{"status":"success"}"#,
    ];
    let server = serve(vec![begin(&steps), end()]).await;
    let client = OllamaClient::with_patience(server.url, QUICK);
    let mut seen = Vec::new();
    let cancel = CancellationToken::new();
    client
        .pull("llama3", &cancel, |step| seen.push(step.completed))
        .await
        .expect("downloaded");
    assert_eq!(seen, [0, 40, 0]);
    let failed = serve(vec![
        begin(&[
            steps[0],
            r#"{"error":"pull model manifest: file does not exist"}"#,
        ]),
        end(),
    ])
    .await;
    let client = OllamaClient::with_patience(failed.url, QUICK);
    assert!(client.pull("llama3", &cancel, |_| {}).await.is_err());
}
