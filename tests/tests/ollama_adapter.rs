//! The miner's adapter for Ollama's API against real servers: Ollama itself and the embedded engine.

use aitbc_common::job_input::{JobInput, JobType};
use aitbc_miner::runner::{
    LocalModel, MAX_OUTPUT_BYTES, OllamaClient, RunError, RunEvent, RunRequest, RunResult, Runner,
    Speeds, server_url,
};
use aitbc_tests::harness::{Engine, Ollama, Scratch};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

struct Real {
    client: OllamaClient,
    model: LocalModel,
    context_tokens: u32,
}

impl Real {
    async fn at(address: &str) -> Self {
        let client = OllamaClient::new(server_url(address).expect("an address"));
        let models = client.models().await.expect("models");
        let model = models
            .into_iter()
            .find(|model| model.can("completion"))
            .expect("one that completes texts");
        Self {
            context_tokens: model.context_tokens(Some(512)),
            client,
            model,
        }
    }

    fn job(&self, job_type: JobType, document: &Value) -> RunRequest {
        let document = document.to_string();
        RunRequest {
            model: self.model.name.clone(),
            input: JobInput::parse(job_type, document.as_bytes()).expect("a valid input"),
            context_tokens: self.context_tokens,
            output_limit: MAX_OUTPUT_BYTES,
        }
    }
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

async fn everything(address: &str) {
    let real = Real::at(address).await;
    its_models_are_measured(&real).await;
    it_answers_and_embeds(&real).await;
    it_never_cuts_a_prompt(&real).await;
    it_lacks_a_model(&real).await;
}

#[tokio::test]
async fn ollama() {
    let server = Ollama::start();
    everything(server.address()).await;
}

#[tokio::test]
async fn embedded_engine() {
    let folder = Scratch::new();
    let server = Engine::start(folder.path());
    everything(server.address()).await;
}

async fn its_models_are_measured(real: &Real) {
    assert!(!real.client.version().await.expect("a version").is_empty());
    let cancel = CancellationToken::new();
    let speeds = Speeds::measure(&real.client, &real.model, real.context_tokens, &cancel)
        .await
        .expect("measured");
    assert!(speeds.prompt_milli_tokens_per_second > 0, "{speeds:?}");
    assert!(speeds.output_milli_tokens_per_second > 0, "{speeds:?}");
    assert!(
        real.client
            .loaded_models()
            .await
            .expect("a list")
            .contains(&real.model.name)
    );
}

async fn it_answers_and_embeds(real: &Real) {
    let schema =
        json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]});
    let options = json!({"temperature": 0, "num_predict": 64});
    let message = json!({"role": "user", "content": "A number, please."});
    for document in [
        json!({"messages": [message], "format": schema, "options": options}),
        json!({"prompt": "A number, please.", "format": schema, "options": options}),
    ] {
        let (result, output) =
            run_with(&real.client, real.job(JobType::Inference, &document)).await;
        let result = result.expect("an answer");
        assert_eq!(result.content, output);
        assert!(output.trim_start().starts_with('{'), "{output}");
        assert!(result.tokens_in > 0 && result.tokens_out > 0);
        assert!(!result.work_duration().is_zero());
    }
    let texts = json!({"input": ["one", "two"]});
    let (result, output) = run_with(&real.client, real.job(JobType::Embedding, &texts)).await;
    assert_eq!(
        result
            .expect("vectors")
            .embeddings
            .map(|vectors| vectors.len()),
        Some(2)
    );
    assert_eq!(output, "");
}

async fn it_never_cuts_a_prompt(real: &Real) {
    // Signs are not certain to be tokens each: only the server can tell that these do not fit.
    let signs = "a1 !? b2 :; c3 <> d4 [] ".repeat(60);
    let message = json!({"role": "user", "content": signs});
    for (job_type, document) in [
        (JobType::Inference, json!({"prompt": signs})),
        (JobType::Inference, json!({"messages": [message]})),
        (JobType::Embedding, json!({"input": signs})),
    ] {
        let (result, output) = run_with(&real.client, real.job(job_type, &document)).await;
        assert_eq!(result.expect_err("too long").reason(), "CONTEXT_EXCEEDED");
        assert_eq!(output, "");
    }
}

async fn it_lacks_a_model(real: &Real) {
    let message = json!({"role": "user", "content": "Hi"});
    for (job_type, document) in [
        (JobType::Inference, json!({"prompt": "Hi"})),
        (JobType::Inference, json!({"messages": [message]})),
        (JobType::Embedding, json!({"input": "Hi"})),
    ] {
        let job = RunRequest {
            model: "no-such-model:latest".to_owned(),
            ..real.job(job_type, &document)
        };
        let (result, _) = run_with(&real.client, job).await;
        assert_eq!(
            result.expect_err("no such model").hint(),
            "ollama pull no-such-model"
        );
    }
}
