//! Bad requests, clients that leave, a full queue, the end of the engine.

use super::{DEADLINE, TestEngine};
use crate::engine::server::MAX_BODY_BYTES;
use crate::engine::slots::QUEUE_REQUESTS;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A request that would keep a slot busy until its context is full.
fn endless() -> Value {
    let format = json!({ "type": "array", "items": { "const": "abcdefghijklmnopqrstuvwxyz" }, "minItems": 900 });
    json!({ "model": "tiny", "prompt": "The alphabet, again and again:", "format": format })
}

/// Sends each body to its path and expects a status and a part of the error.
async fn expect_errors(cases: impl IntoIterator<Item = (&str, Value, u16, &str)>) {
    let engine = TestEngine::start().await;
    for (path, body, expected_status, expected) in cases {
        let (status, answer) = engine.post(path, &body).await;
        let error = answer["error"].as_str().unwrap();
        assert!(
            status == expected_status && error.contains(expected),
            "{path} {body}: {status} {error}"
        );
    }
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_models_and_routes_are_named() {
    let nope = |path| {
        (
            path,
            json!({ "model": "nope", "prompt": "hi" }),
            404,
            "model \"nope\" not found",
        )
    };
    expect_errors([
        nope("/api/generate"),
        nope("/api/chat"),
        nope("/api/embed"),
        nope("/api/embeddings"),
        nope("/api/show"),
        (
            "/api/pull",
            json!({ "model": "tiny" }),
            501,
            "--model NAME=FILE.gguf",
        ),
        ("/api/nothing", json!({}), 404, "/api/nothing not found"),
        ("/api/tags", json!({}), 405, "method not allowed"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_model_cannot_do_is_refused() {
    let with = |key: &str, value: Value, expected| {
        (
            "/api/generate",
            json!({ "model": "tiny", "prompt": "hi", key: value }),
            400,
            expected,
        )
    };
    expect_errors([
        with("model", json!(null), "invalid type: null"),
        with("options", json!({ "temperature": -1 }), "temperature"),
        with("format", json!("xml"), "format: "),
        with("think", json!(true), "does not support thinking"),
        with("images", json!(["aGk="]), "does not support images"),
        with("suffix", json!("x"), "\"suffix\" is not supported"),
        with("context", json!([1]), "\"context\" is not supported"),
        (
            "/api/embed",
            json!({ "model": "tiny", "input": 7 }),
            400,
            "list of strings",
        ),
        (
            "/api/embed",
            json!({ "model": "tiny", "input": "" }),
            400,
            "empty text",
        ),
    ])
    .await;
    let chat = |key: &str, value: Value, expected| {
        let mut message = json!({ "role": "user", "content": "hi" });
        message[key] = value;
        (
            "/api/chat",
            json!({ "model": "tiny", "messages": [message] }),
            400,
            expected,
        )
    };
    let tools = json!({ "model": "tiny", "messages": [], "tools": [{}] });
    expect_errors([
        ("/api/chat", tools, 400, "does not support tools"),
        chat("role", json!("robot"), "role \"robot\" is unknown"),
        chat("role", json!("tool"), "does not support tools"),
        chat("images", json!(["aGk="]), "does not support images"),
        chat("content", json!("a\0b"), "NUL"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_and_huge_bodies_are_refused() {
    let engine = TestEngine::start().await;
    let post = |path: &str| engine.client.post(format!("{}{path}", engine.url));
    let malformed = post("/api/chat")
        .body("{\n \"model\": tiny}")
        .send()
        .await
        .unwrap();
    assert_eq!(malformed.status(), 400);
    let malformed: Value = malformed.json().await.unwrap();
    assert!(
        malformed["error"]
            .as_str()
            .unwrap()
            .contains("line 2 column"),
        "{malformed}"
    );
    let huge = post("/api/generate")
        .body(vec![b' '; MAX_BODY_BYTES + 1])
        .send()
        .await
        .unwrap();
    assert_eq!(huge.status(), 413);
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_is_never_cut() {
    let engine = TestEngine::start().await;
    let body = json!({ "model": "tiny", "prompt": " word".repeat(600), "raw": true });
    let (status, answer) = engine.post("/api/generate", &body).await;
    assert_eq!(
        (status, answer["error"].as_str()),
        (400, Some("context exceeded: 600 of 512 tokens"))
    );
    let (status, answer) = engine
        .post(
            "/api/embed",
            &json!({ "model": "tiny", "input": " word".repeat(600) }),
        )
        .await;
    assert_eq!(status, 400);
    assert!(
        answer["error"]
            .as_str()
            .unwrap()
            .starts_with("context exceeded: 600 of"),
        "{answer}"
    );
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_frees_its_slot() {
    let mut arguments = super::arguments(super::model_path());
    arguments.context = Some(8192);
    let engine = TestEngine::start_with(arguments).await;
    for stream in [true, false] {
        let mut body = endless();
        body["stream"] = json!(stream);
        if stream {
            let mut response = engine.send("/api/generate", &body).await;
            assert!(response.chunk().await.unwrap().is_some());
        } else {
            let request = engine.client.post(format!("{}/api/generate", engine.url));
            let request = request
                .body(body.to_string())
                .timeout(Duration::from_secs(1));
            let error = request.send().await.unwrap_err();
            assert!(error.is_timeout(), "{error}");
        }
        let started = Instant::now();
        engine.text("Now me.", json!({ "num_predict": 1 })).await;
        assert!(started.elapsed().as_secs() < 10, "{:?}", started.elapsed());
    }
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_answers_503() {
    let mut arguments = super::arguments(super::model_path());
    arguments.context = Some(8192);
    let engine = TestEngine::start_with(arguments).await;
    let mut first = engine.send("/api/generate", &endless()).await;
    assert!(first.chunk().await.unwrap().is_some());
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..=QUEUE_REQUESTS {
        let request = engine
            .client
            .post(format!("{}/api/generate", engine.url))
            .body(endless().to_string());
        waiting.spawn(request.send());
    }
    // One more than fit: exactly one is answered, the others wait.
    let refused = tokio::time::timeout(DEADLINE, waiting.join_next())
        .await
        .unwrap()
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(refused.status(), 503);
    let refused: Value = refused.json().await.unwrap();
    assert!(
        refused["error"]
            .as_str()
            .unwrap()
            .contains("64 requests are waiting"),
        "{refused}"
    );
    drop((first, waiting));
    let body = json!({ "model": "tiny", "prompt": "Now me.", "options": { "num_predict": 1 } });
    let started = Instant::now();
    while engine.send("/api/generate", &body).await.status() != 200 {
        assert!(started.elapsed() < DEADLINE, "the queue stays full");
    }
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_engine_is_told_in_the_stream() {
    let mut arguments = super::arguments(super::model_path());
    arguments.context = Some(8192);
    let engine = TestEngine::start_with(arguments).await;
    let mut response = engine.send("/api/generate", &endless()).await;
    let mut received = response.chunk().await.unwrap().unwrap().to_vec();
    engine.stop.cancel();
    while let Some(chunk) = response.chunk().await.unwrap() {
        received.extend_from_slice(&chunk);
    }
    let last = String::from_utf8(received)
        .unwrap()
        .lines()
        .last()
        .map(str::to_owned)
        .unwrap();
    assert_eq!(last, "{\"error\":\"the engine is stopping\"}");
    engine.stop().await;
}
