//! Text, chat, structured output and embeddings.

use super::TestEngine;
use serde_json::{Value, json};

const PROMPT: &str = "List three colours of the rainbow.";

fn joined(lines: &[Value], text: impl Fn(&Value) -> &Value) -> String {
    lines
        .iter()
        .map(|line| text(line).as_str().unwrap())
        .collect()
}

fn check_last(last: &Value) {
    assert_eq!(last["done"], true);
    for key in [
        "total_duration",
        "prompt_eval_count",
        "prompt_eval_duration",
        "eval_count",
        "eval_duration",
    ] {
        assert!(last[key].as_u64().unwrap() > 0, "{key} in {last}");
    }
    assert!(last["load_duration"].is_u64());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_and_an_answer_in_one_piece_are_the_same() {
    let engine = TestEngine::start().await;
    let options = json!({ "temperature": 0, "num_predict": 24 });
    let body =
        json!({ "model": "tiny", "prompt": PROMPT, "system": "Be brief.", "options": options });
    let lines = engine.stream("/api/generate", &body).await;
    let (last, parts) = lines.split_last().unwrap();
    assert!(
        parts
            .iter()
            .all(|part| part["done"] == false && part["model"] == "tiny")
    );
    check_last(last);
    assert!(matches!(
        last["done_reason"].as_str(),
        Some("stop" | "length")
    ));

    let messages = json!([{ "role": "system", "content": "Be brief." }, { "role": "user", "content": PROMPT }]);
    let chat = json!({ "model": "tiny:latest", "messages": messages, "options": options });
    let chat_lines = engine.stream("/api/chat", &chat).await;
    check_last(chat_lines.last().unwrap());
    assert_eq!(chat_lines[0]["message"]["role"], "assistant");

    let mut whole = body.clone();
    whole["stream"] = json!(false);
    let (status, whole) = engine.post("/api/generate", &whole).await;
    assert_eq!(status, 200);
    check_last(&whole);
    let text = whole["response"].as_str().unwrap();
    assert!(!text.is_empty());
    assert_eq!(joined(&lines, |line| &line["response"]), text);
    assert_eq!(
        joined(&chat_lines, |line| &line["message"]["content"]),
        text
    );
    assert_eq!(whole["eval_count"], last["eval_count"]);
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_gives_the_same_text() {
    let engine = TestEngine::start().await;
    for options in [
        json!({ "temperature": 0, "seed": 7, "num_predict": 32 }),
        json!({ "temperature": 1.5, "seed": 7, "num_predict": 32 }),
    ] {
        let first = engine.text(PROMPT, options.clone()).await;
        engine
            .text(
                "Something else, and quite a bit longer.",
                json!({ "num_predict": 8 }),
            )
            .await;
        assert_eq!(engine.text(PROMPT, options).await, first);
    }
    let other_seed = json!({ "temperature": 1.5, "seed": 8, "num_predict": 32 });
    let same_seed = json!({ "temperature": 1.5, "seed": 7, "num_predict": 32 });
    assert_ne!(
        engine.text(PROMPT, other_seed).await,
        engine.text(PROMPT, same_seed).await
    );
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_at_the_same_time_do_not_change_each_other() {
    let mut arguments = super::arguments(super::model_path());
    arguments.parallel = 2;
    let engine = TestEngine::start_with(arguments).await;
    let options = json!({ "temperature": 0, "num_predict": 24 });
    let alone = engine.text(PROMPT, options.clone()).await;
    let (first, _, third) = tokio::join!(
        engine.text(PROMPT, options.clone()),
        engine.text("Tell me about the sea.", options.clone()),
        engine.text(PROMPT, options.clone()),
    );
    assert_eq!(
        (first.as_str(), third.as_str()),
        (alone.as_str(), alone.as_str())
    );
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn output_ends_at_num_predict_or_before_a_stop_sequence() {
    let engine = TestEngine::start().await;
    let body = |options: Value| json!({ "model": "tiny", "prompt": PROMPT, "options": options, "stream": false });
    let (_, short) = engine
        .post(
            "/api/generate",
            &body(json!({ "temperature": 0, "num_predict": 5 })),
        )
        .await;
    assert_eq!(
        (&short["done_reason"], &short["eval_count"]),
        (&json!("length"), &json!(5))
    );

    let text = engine
        .text(PROMPT, json!({ "temperature": 0, "num_predict": 24 }))
        .await;
    let middle: String = text
        .chars()
        .skip(text.chars().count() / 3)
        .take(5)
        .collect();
    let before = text.split(&middle).next().unwrap();
    for stop in [json!(middle), json!(["never in there", middle])] {
        let options = json!({ "temperature": 0, "num_predict": 24, "stop": stop });
        let (_, stopped) = engine.post("/api/generate", &body(options)).await;
        assert_eq!(
            (stopped["response"].as_str(), &stopped["done_reason"]),
            (Some(before), &json!("stop"))
        );
    }
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_that_is_full_ends_the_output() {
    let engine = TestEngine::start().await;
    let body = json!({ "model": "tiny", "prompt": "one two three", "raw": true, "stream": false,
        "options": { "num_ctx": 3, "temperature": 0 } });
    let (status, full) = engine.post("/api/generate", &body).await;
    assert_eq!((status, &full["prompt_eval_count"]), (200, &json!(3)));
    assert_eq!(
        (&full["eval_count"], &full["done_reason"]),
        (&json!(1), &json!("length"))
    );
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn output_follows_a_json_schema() {
    let engine = TestEngine::start().await;
    let schema = json!({
        "type": "object",
        "properties": {
            "colour": { "enum": ["red", "green"] },
            "count": { "type": "integer", "minimum": 1, "maximum": 9 },
        },
        "required": ["colour", "count"],
        "additionalProperties": false,
    });
    let body = |format: Value| {
        json!({ "model": "tiny", "stream": false, "format": format, "options": { "seed": 3, "num_predict": 200 },
            "messages": [{ "role": "user", "content": "A colour and a count, as JSON." }] })
    };
    let (status, answer) = engine.post("/api/chat", &body(schema)).await;
    assert_eq!(status, 200, "{answer}");
    let object: Value =
        serde_json::from_str(answer["message"]["content"].as_str().unwrap()).unwrap();
    assert!(["red", "green"].contains(&object["colour"].as_str().unwrap()));
    assert!((1..=9).contains(&object["count"].as_i64().unwrap()));

    let (status, answer) = engine.post("/api/chat", &body(json!("json"))).await;
    assert_eq!(status, 200, "{answer}");
    assert!(
        answer["message"]["content"]
            .as_str()
            .unwrap()
            .trim_start()
            .starts_with('{')
    );
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn characters_of_several_tokens_arrive_whole() {
    let engine = TestEngine::start().await;
    let text = "😀é漢字🦀";
    let body = json!({ "model": "tiny", "prompt": "Anything.", "format": { "const": text }, "options": { "seed": 1 } });
    let lines = engine.stream("/api/generate", &body).await;
    let last = lines.last().unwrap();
    assert!(
        last["eval_count"].as_u64().unwrap() > text.chars().count() as u64 + 2,
        "{last}"
    );
    assert_eq!(
        joined(&lines, |line| &line["response"]),
        format!("\"{text}\"")
    );
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_are_embedded() {
    let engine = TestEngine::start().await;
    let body = json!({ "model": "tiny", "input": ["the sea", "a spreadsheet", "the sea"] });
    let (status, answer) = engine.post("/api/embed", &body).await;
    assert_eq!(status, 200, "{answer}");
    let embeddings: Vec<Vec<f32>> = serde_json::from_value(answer["embeddings"].clone()).unwrap();
    assert_eq!(embeddings.len(), 3);
    for embedding in &embeddings {
        let length = embedding.iter().map(|value| value * value).sum::<f32>();
        assert!((length - 1.0).abs() < 1e-3, "{length}");
    }
    assert_eq!(embeddings[0], embeddings[2]);
    assert_ne!(embeddings[0], embeddings[1]);
    assert!(answer["prompt_eval_count"].as_u64().unwrap() >= 6);

    let (_, short) = engine
        .post(
            "/api/embed",
            &json!({ "model": "tiny", "input": "the sea", "dimensions": 8 }),
        )
        .await;
    assert_eq!(short["embeddings"][0].as_array().unwrap().len(), 8);
    let (_, old) = engine
        .post(
            "/api/embeddings",
            &json!({ "model": "tiny", "prompt": "the sea" }),
        )
        .await;
    assert_eq!(
        old["embedding"].as_array().unwrap().len(),
        embeddings[0].len()
    );
    let (_, none) = engine
        .post("/api/embed", &json!({ "model": "tiny", "input": [] }))
        .await;
    assert_eq!(none["embeddings"], json!([]));
    engine.stop().await;
}
