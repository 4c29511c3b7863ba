//! Models: listing, showing, loading.

use super::{TestEngine, arguments, model_path};
use crate::engine::{Engine, ModelFile};
use aitbc_common::runtime::errors::CommandError;
use serde_json::json;
use std::fs;

#[tokio::test(flavor = "multi_thread")]
async fn models_are_listed_with_name_and_digest() {
    let engine = TestEngine::start().await;
    assert!(engine.get("/api/version").await["version"].is_string());
    let tags = engine.get("/api/tags").await;
    let model = &tags["models"][0];
    assert_eq!(
        (&model["name"], &model["model"]),
        (&json!("tiny:latest"), &json!("tiny:latest"))
    );
    assert_eq!(model["size"], fs::metadata(model_path()).unwrap().len());
    let digest = model["digest"].as_str().unwrap();
    assert!(
        digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{digest}"
    );
    assert_eq!(
        (
            &model["details"]["format"],
            &model["details"]["context_length"]
        ),
        (&json!("gguf"), &json!(512))
    );

    let running = engine.get("/api/ps").await;
    assert_eq!(
        (
            &running["models"][0]["digest"],
            &running["models"][0]["context_length"]
        ),
        (&json!(digest), &json!(512))
    );

    let (status, shown) = engine.post("/api/show", &json!({ "model": "Tiny" })).await;
    assert_eq!(status, 200);
    let family = shown["details"]["family"].as_str().unwrap();
    assert!(
        shown["model_info"][format!("{family}.context_length")]
            .as_u64()
            .unwrap()
            >= 512
    );
    assert_eq!(
        (&shown["parameters"], &shown["capabilities"]),
        (&json!("num_ctx 512"), &json!(["completion"]))
    );
    assert!(!shown["template"].as_str().unwrap().is_empty());

    let (status, loaded) = engine
        .post(
            "/api/generate",
            &json!({ "model": "tiny", "keep_alive": "5m" }),
        )
        .await;
    assert_eq!(
        (status, &loaded["done_reason"], &loaded["done"]),
        (200, &json!("load"), &json!(true))
    );
    let head = engine.client.head(&engine.url).send().await.unwrap();
    assert_eq!(head.status(), 200);
    engine.stop().await;
}

/// Message and hint.
async fn start_error(arguments: crate::engine::EngineArgs) -> String {
    let error = Engine::start(arguments)
        .await
        .err()
        .expect("the engine does not start");
    let error: CommandError = error.downcast().expect("an error with a hint");
    format!("{error}; hint: {}", error.hint.as_deref().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_files_are_refused_with_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let whole = fs::read(model_path()).unwrap();
    let mut scrambled = whole.clone();
    scrambled[8..4096].fill(0xff);
    let cases: [(&str, &[u8], &str); 5] = [
        ("empty", b"", "is not a GGUF file"),
        ("text", b"not a model", "is not a GGUF file"),
        ("magic", b"GGUF", "cannot load the model file"),
        (
            "half",
            &whole[..whole.len() / 2],
            "cannot load the model file",
        ),
        ("scrambled", &scrambled, "cannot load the model file"),
    ];
    for (name, bytes, expected) in cases {
        let path = folder.path().join(format!("{name}.gguf"));
        fs::write(&path, bytes).unwrap();
        let error = start_error(arguments(path)).await;
        assert!(error.contains(expected), "{name}: {error}");
    }
    let error = start_error(arguments(folder.path().join("missing.gguf"))).await;
    assert!(error.contains("cannot open"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_addresses_are_taken_once() {
    let mut twice = arguments(model_path());
    twice.models.push(ModelFile {
        name: "TINY:latest".into(),
        path: model_path(),
    });
    let error = start_error(twice).await;
    assert!(
        error.contains("two models are named TINY:latest"),
        "{error}"
    );

    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let mut arguments = arguments(model_path());
    arguments.listen = taken.local_addr().unwrap();
    let error = start_error(arguments).await;
    assert!(error.contains("cannot listen on"), "{error}");
}
