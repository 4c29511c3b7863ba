//! The engine with a real model, over HTTP. `AITBC_TEST_MODEL` names a small GGUF file with a chat template.

mod faults;
mod generation;
mod models;

use super::{Engine, EngineArgs, ModelFile};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longest time any single answer in these tests may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// An engine on a free port, stopped by [`TestEngine::stop`].
struct TestEngine {
    url: String,
    client: reqwest::Client,
    stop: CancellationToken,
    serving: JoinHandle<anyhow::Result<()>>,
}

fn model_path() -> PathBuf {
    match std::env::var_os("AITBC_TEST_MODEL") {
        Some(path) => path.into(),
        None => {
            panic!("AITBC_TEST_MODEL does not name a GGUF file: run the tests through `make test`")
        }
    }
}

fn arguments(path: PathBuf) -> EngineArgs {
    EngineArgs {
        models: vec![ModelFile {
            name: "tiny:latest".into(),
            path,
        }],
        listen: ([127, 0, 0, 1], 0).into(),
        parallel: 1,
        context: Some(512),
        // Several engines with several threads each would wait for each other's cores.
        threads: Some(1),
        stop_with_parent: false,
    }
}

impl TestEngine {
    async fn start() -> Self {
        Self::start_with(arguments(model_path())).await
    }

    async fn start_with(arguments: EngineArgs) -> Self {
        let engine = Engine::start(arguments).await.unwrap();
        let stop = CancellationToken::new();
        let url = format!("http://{}", engine.address);
        let serving = tokio::spawn(engine.serve(stop.clone()));
        let client = reqwest::Client::builder()
            .timeout(DEADLINE)
            .build()
            .unwrap();
        Self {
            url,
            client,
            stop,
            serving,
        }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.serving.await.unwrap().unwrap();
    }

    async fn get(&self, path: &str) -> Value {
        let response = self
            .client
            .get(format!("{}{path}", self.url))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
        response.json().await.unwrap()
    }

    async fn send(&self, path: &str, body: &Value) -> reqwest::Response {
        self.client
            .post(format!("{}{path}", self.url))
            .body(body.to_string())
            .send()
            .await
            .unwrap()
    }

    /// Status and body of a request that is answered in one piece.
    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let response = self.send(path, body).await;
        (response.status().as_u16(), response.json().await.unwrap())
    }

    /// The lines of a stream.
    async fn stream(&self, path: &str, body: &Value) -> Vec<Value> {
        let response = self.send(path, body).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/x-ndjson");
        let text = response.text().await.unwrap();
        assert!(text.ends_with('\n'));
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The text that `/api/generate` answers with.
    async fn text(&self, prompt: &str, options: Value) -> String {
        let body =
            json!({ "model": "tiny", "prompt": prompt, "options": options, "stream": false });
        let (status, body) = self.post("/api/generate", &body).await;
        assert_eq!(status, 200, "{body}");
        body["response"].as_str().unwrap().to_owned()
    }
}
