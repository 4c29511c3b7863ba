//! The adapter for servers that speak Ollama's HTTP API.

mod answer;
mod progress;
mod request;
mod stream;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aitbc_common::job_input::JobInput;
use aitbc_common::names::canonical_model;
use reqwest::{Method, Response, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::lines::{Lines, read_all};
use super::{LocalModel, Patience, RunError, RunEvent, RunRequest, RunResult, Runner};

/// Most bytes of an answer that is no output: a list of models, or a model's description with its licence.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;
/// Most bytes of an error that are read.
const MAX_ERROR_BYTES: usize = 64 * 1024;

/// A client of one server. Cheap to clone; clones share their connections.
#[derive(Debug, Clone)]
pub struct OllamaClient {
    http: reqwest::Client,
    url: Url,
    patience: Patience,
    /// Models that the server listed but could not describe at the last look.
    undescribed: Arc<Mutex<BTreeSet<String>>>,
}

/// How far a download is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PullProgress {
    /// What is being done, in the server's words.
    #[serde(default)]
    pub status: String,
    /// Bytes that are there, of this part.
    #[serde(default)]
    pub completed: u64,
    /// Bytes of this part; 0 where it has no size.
    #[serde(default)]
    pub total: u64,
}

impl OllamaClient {
    /// A client of the server at this address ([`super::server_url`]). Does not connect yet.
    pub fn new(url: Url) -> Self {
        Self::with_patience(url, Patience::default())
    }

    /// The same with other time limits.
    pub fn with_patience(url: Url, patience: Patience) -> Self {
        let http = reqwest::Client::builder()
            .connect_timeout(patience.connect)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true)
            .build()
            .expect("a client without TLS needs nothing from the system");
        Self {
            http,
            url,
            patience,
            undescribed: Arc::default(),
        }
    }

    /// The address of the server.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Names of the models that are in the server's memory now.
    pub async fn loaded_models(&self) -> Result<Vec<String>, RunError> {
        let list: answer::ModelList = self.ask(Method::GET, "api/ps", None, "").await?;
        Ok(list
            .models
            .into_iter()
            .filter_map(|model| canonical_model(&model.name).ok())
            .collect())
    }

    /// Lets the server download a model. `progress` is called for each step; `cancel` ends the download.
    pub async fn pull(
        &self,
        model: &str,
        cancel: &CancellationToken,
        mut progress: impl FnMut(PullProgress) + Send,
    ) -> Result<(), RunError> {
        let cancelled = || RunError::Cancelled(Box::new(progress::nothing_yet()));
        let body = json!({"model": model, "stream": true});
        let start = self.start("api/pull", &body, model, self.patience.first_token);
        let response = tokio::select! {
            () = cancel.cancelled() => return Err(cancelled()),
            response = start => response?,
        };
        let mut lines = Lines::new(response);
        let mut succeeded = false;
        loop {
            let line = tokio::select! {
                () = cancel.cancelled() => return Err(cancelled()),
                line = timeout(self.patience.next_token, lines.next()) => line.map_err(|_| self.away("the download stalled"))??,
            };
            let Some(line) = line else { break };
            let step: answer::PullStep = answer::parse(&line)?;
            if let Some(error) = step.error {
                return Err(RunError::from_answer(500, &error, model, false));
            }
            succeeded = step.progress.status == "success";
            progress(step.progress);
        }
        if succeeded {
            Ok(())
        } else {
            Err(RunError::StreamCut {
                detail: "the download ended early".to_owned(),
            })
        }
    }

    /// The models with these canonical names that the server has here; no names = all of them. A model that the server
    /// cannot describe is left out; an error only if there is no other.
    pub async fn models_named(&self, names: &[String]) -> Result<Vec<LocalModel>, RunError> {
        let list: answer::ModelList = self.ask(Method::GET, "api/tags", None, "").await?;
        let wanted = |listed: &answer::ListedModel| {
            canonical_model(&listed.name)
                .is_ok_and(|name| names.is_empty() || names.contains(&name))
        };
        let mut models = Vec::new();
        let mut failed = Vec::new();
        for listed in list.models.into_iter().filter(wanted) {
            let name = listed.name.clone();
            match self.describe(listed).await {
                Ok(model) => models.extend(model),
                Err(error) if error.closes_slots() => return Err(error),
                Err(error) => failed.push((name, error)),
            }
        }
        self.note_undescribed(&failed);
        if models.is_empty()
            && let Some((_, error)) = failed.into_iter().next()
        {
            return Err(error);
        }
        models.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(models)
    }

    /// Logs the models that could be described before.
    fn note_undescribed(&self, failed: &[(String, RunError)]) {
        let mut known = self
            .undescribed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for (model, error) in failed.iter().filter(|(model, _)| !known.contains(model)) {
            tracing::debug!(model, %error, "a model is left out: the server cannot describe it");
        }
        *known = failed.iter().map(|(model, _)| model.clone()).collect();
    }

    fn away(&self, detail: &str) -> RunError {
        RunError::ServerAway {
            detail: detail.to_owned(),
        }
    }

    fn endpoint(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(&format!("{}/{path}", self.url.path().trim_end_matches('/')));
        url
    }

    /// Asks what is answered at once.
    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        model: &str,
    ) -> Result<T, RunError> {
        let exchange = async {
            let mut request = self.http.request(method, self.endpoint(path));
            if let Some(body) = body {
                request = request.json(&body);
            }
            let response = request
                .send()
                .await
                .map_err(|error| RunError::from_transport(&error, false))?;
            let response = check_status(response, model).await?;
            match read_all(response, MAX_ANSWER_BYTES).await? {
                Some(body) => answer::parse(&body),
                None => Err(RunError::Garbage {
                    detail: format!("more than {MAX_ANSWER_BYTES} bytes from {path}"),
                }),
            }
        };
        let waited = self.patience.connect;
        timeout(waited, exchange).await.unwrap_or_else(|_| {
            Err(self.away(&format!(
                "no answer to {path} within {} s",
                waited.as_secs_f64()
            )))
        })
    }

    /// Sends a request whose answer takes its time, and waits at most `patience` for the answer to begin.
    async fn start(
        &self,
        path: &str,
        body: &Value,
        model: &str,
        patience: Duration,
    ) -> Result<Response, RunError> {
        let exchange = async {
            let send = self.http.post(self.endpoint(path)).json(body).send();
            let response = send
                .await
                .map_err(|error| RunError::from_transport(&error, false))?;
            check_status(response, model).await
        };
        timeout(patience, exchange)
            .await
            .unwrap_or(Err(RunError::Stall {
                waited: patience,
                first_token: true,
            }))
    }

    async fn describe(&self, listed: answer::ListedModel) -> Result<Option<LocalModel>, RunError> {
        let (Ok(name), Some(digest)) = (canonical_model(&listed.name), listed.digest()) else {
            return Ok(None);
        };
        if listed.is_remote() {
            return Ok(None);
        }
        let show = self
            .ask(
                Method::POST,
                "api/show",
                Some(json!({"model": listed.name})),
                &name,
            )
            .await;
        let description: answer::Description = match show {
            Ok(description) => description,
            // Deleted since it was listed.
            Err(RunError::ModelMissing { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Some(LocalModel {
            max_context_tokens: description.max_context_tokens(),
            configured_context_tokens: description.configured_context_tokens(),
            capabilities: description.capabilities,
            size_bytes: listed.size,
            name,
            digest,
        }))
    }
}

/// Turns an answer that is no success into an error.
async fn check_status(response: Response, model: &str) -> Result<Response, RunError> {
    let status = response.status();
    if status == StatusCode::OK {
        return Ok(response);
    }
    let body = read_all(response, MAX_ERROR_BYTES)
        .await
        .ok()
        .flatten()
        .unwrap_or_default();
    let text = String::from_utf8_lossy(&body);
    let stated = serde_json::from_str::<Map<String, Value>>(&text).ok();
    let message = stated
        .as_ref()
        .and_then(|object| object.get("error"))
        .and_then(Value::as_str);
    Err(RunError::from_answer(
        status.as_u16(),
        message.unwrap_or(&text),
        model,
        false,
    ))
}

impl Runner for OllamaClient {
    async fn version(&self) -> Result<String, RunError> {
        let answer: answer::Version = self.ask(Method::GET, "api/version", None, "").await?;
        Ok(super::error::shortened(&answer.version))
    }

    async fn models(&self) -> Result<Vec<LocalModel>, RunError> {
        self.models_named(&[]).await
    }

    async fn run(
        &self,
        request: RunRequest,
        cancel: CancellationToken,
        events: mpsc::Sender<RunEvent>,
    ) -> Result<RunResult, RunError> {
        let estimate = request::check_context(&request)?;
        match &request.input {
            JobInput::Inference(input) => {
                self.generate(&request, input, estimate, &cancel, &events)
                    .await
            }
            JobInput::Embedding(texts) => self.embed(&request, texts, estimate, &cancel).await,
        }
    }
}
