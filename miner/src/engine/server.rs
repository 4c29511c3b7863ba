//! Routes of Ollama's HTTP API: decode, prepare, submit, encode.

use super::EngineState;
use super::error::ApiError;
use super::model::Model;
use super::prepare::Prepared;
use super::reply::{Reply, Route, nanoseconds};
use super::request::{ChatRequest, EmbedRequest, GenerateRequest, ShowRequest, TextOrList};
use super::slots::Event;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

/// Largest request body in bytes.
pub(super) const MAX_BODY_BYTES: usize = 32 << 20;
/// Models stay loaded; Ollama's clients expect a time.
const NEVER: &str = "9999-12-31T23:59:59Z";

type Engine = State<Arc<EngineState>>;
type Body = Result<Bytes, BytesRejection>;
type Answer = Result<Response, ApiError>;

/// All routes.
pub(super) fn router(engine: Arc<EngineState>) -> Router {
    let manages_models = || any(|uri: Uri| async move { manages_models(&uri) });
    Router::new()
        .route("/", get(|| async { "Ollama is running" }))
        .route(
            "/api/version",
            get(|| async { Json(json!({ "version": env!("CARGO_PKG_VERSION") })) }),
        )
        .route("/api/tags", get(tags))
        .route("/api/ps", get(running))
        .route("/api/show", post(show))
        .route("/api/generate", post(generate))
        .route("/api/chat", post(chat))
        .route("/api/embed", post(embed))
        .route("/api/embeddings", post(embed_one))
        .route("/api/pull", manages_models())
        .route("/api/push", manages_models())
        .route("/api/create", manages_models())
        .route("/api/copy", manages_models())
        .route("/api/delete", manages_models())
        .fallback(|uri: Uri| async move { ApiError::NotFound(format!("{} not found", uri.path())) })
        .method_not_allowed_fallback(|| async { ApiError::MethodNotAllowed })
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(engine)
}

fn manages_models(uri: &Uri) -> ApiError {
    ApiError::NotImplemented(format!(
        "{} is not available: this engine serves the files it was started with; start it with --model NAME=FILE.gguf",
        uri.path()
    ))
}

async fn generate(State(engine): Engine, body: Body) -> Answer {
    let received = Instant::now();
    let request: GenerateRequest = parse(body)?;
    let reply = Reply {
        route: Route::Generate,
        model: request.model.clone(),
        received,
    };
    let streams = request.common.streams();
    let prepared = in_background(&engine, move |engine| engine.prepare_generate(request)).await?;
    answer(&engine, prepared, reply, streams).await
}

async fn chat(State(engine): Engine, body: Body) -> Answer {
    let received = Instant::now();
    let request: ChatRequest = parse(body)?;
    let reply = Reply {
        route: Route::Chat,
        model: request.model.clone(),
        received,
    };
    let streams = request.common.streams();
    let prepared = in_background(&engine, move |engine| engine.prepare_chat(request)).await?;
    answer(&engine, prepared, reply, streams).await
}

async fn answer(engine: &EngineState, prepared: Prepared, reply: Reply, streams: bool) -> Answer {
    match prepared.work {
        None => Ok(Json(reply.loaded()).into_response()),
        Some(work) => {
            reply
                .respond(engine.slots.submit(prepared.model, work)?, streams)
                .await
        }
    }
}

async fn embed(State(engine): Engine, body: Body) -> Answer {
    let received = Instant::now();
    let request: EmbedRequest = parse(body)?;
    let model = request.model.clone();
    let (embeddings, prompt_tokens, load_nanoseconds) = embeddings(&engine, request).await?;
    let object = json!({
        "model": model,
        "embeddings": embeddings,
        "total_duration": nanoseconds(received.elapsed()),
        "load_duration": load_nanoseconds,
        "prompt_eval_count": prompt_tokens,
    });
    Ok(Json(object).into_response())
}

/// The older form of `/api/embed`: one `prompt`.
async fn embed_one(State(engine): Engine, body: Body) -> Answer {
    #[derive(Deserialize)]
    struct Request {
        model: String,
        prompt: String,
    }
    let request: Request = parse(body)?;
    let input = TextOrList::Text(request.prompt);
    let request = EmbedRequest {
        model: request.model,
        input,
        dimensions: None,
        options: None,
    };
    let (mut embeddings, ..) = embeddings(&engine, request).await?;
    Ok(Json(json!({ "embedding": embeddings.pop().unwrap_or_default() })).into_response())
}

async fn embeddings(
    engine: &Arc<EngineState>,
    request: EmbedRequest,
) -> Result<(Vec<Vec<f32>>, usize, u64), ApiError> {
    let prepared = in_background(engine, move |engine| engine.prepare_embed(request)).await?;
    let Some(work) = prepared.work else {
        return Ok((Vec::new(), 0, 0));
    };
    let mut events = engine.slots.submit(prepared.model, work)?;
    match events.recv().await {
        Some(Event::Embedded {
            embeddings,
            load_duration,
        }) => Ok((
            embeddings,
            prepared.prompt_tokens,
            nanoseconds(load_duration),
        )),
        Some(Event::Failed(error)) => Err(error),
        _ => Err(ApiError::Internal(
            "the engine failed while it served this request".into(),
        )),
    }
}

async fn tags(State(engine): Engine) -> Json<Value> {
    Json(json!({ "models": engine.models.iter().map(listed).collect::<Vec<_>>() }))
}

async fn running(State(engine): Engine) -> Json<Value> {
    let running = |model: &Model| {
        let mut entry = listed(model);
        entry["expires_at"] = json!(NEVER);
        entry["size_vram"] = json!(0);
        entry["context_length"] = json!(model.context_tokens);
        entry
    };
    Json(json!({ "models": engine.models.iter().map(running).collect::<Vec<_>>() }))
}

fn listed(model: &Model) -> Value {
    json!({
        "name": model.name,
        "model": model.name,
        "modified_at": model.modified_at.to_string(),
        "size": model.size,
        "digest": model.digest,
        "details": model.details,
    })
}

async fn show(State(engine): Engine, body: Body) -> Answer {
    let request: ShowRequest = parse(body)?;
    let name = if request.model.is_empty() {
        request.name
    } else {
        request.model
    };
    let model = &engine.models[engine.find(&name)?];
    let object = json!({
        "license": model.model_info.get("general.license").and_then(Value::as_str).unwrap_or_default(),
        "parameters": format!("num_ctx {}", model.context_tokens),
        "template": model.template_source,
        "details": model.details,
        "model_info": model.model_info,
        "capabilities": model.capabilities(),
        "modified_at": model.modified_at.to_string(),
    });
    Ok(Json(object).into_response())
}

/// Any content type is taken: clients of Ollama often send none.
fn parse<T: DeserializeOwned>(body: Body) -> Result<T, ApiError> {
    let bytes = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::BodyTooLarge(MAX_BODY_BYTES),
        _ => ApiError::BadRequest(rejection.body_text()),
    })?;
    serde_json::from_slice(&bytes)
        .map_err(|error| ApiError::BadRequest(format!("the request is not valid: {error}")))
}

/// Tokenizing a long prompt takes a while; the server goes on meanwhile.
async fn in_background<T: Send + 'static>(
    engine: &Arc<EngineState>,
    prepare: impl FnOnce(&EngineState) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let engine = Arc::clone(engine);
    tokio::task::spawn_blocking(move || prepare(&engine))
        .await
        .map_err(|_| ApiError::Internal("the engine failed while it read this request".into()))?
}
