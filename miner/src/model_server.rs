//! What the local model server has, looked at again and again.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aitbc_proto::v1::{Inventory, MinerModel};
use bytes::Bytes;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::runner::{LocalModel, OllamaClient, RunError, Runner, Speeds};
use crate::speeds::SpeedStore;
use crate::text::plain_detail;

/// Time between two looks while it answers.
const READY_INTERVAL: Duration = Duration::from_secs(10);
/// Time between two looks while it does not, or lacks the model.
const AWAY_INTERVAL: Duration = Duration::from_secs(2);
/// Nothing must run for this long before a measurement begins.
const IDLE_TIME: Duration = Duration::from_secs(3);
/// Pause after a measurement that failed.
const RETRY_TIME: Duration = Duration::from_secs(60);
/// Models that are offered at most.
const MAX_MODELS: usize = aitbc_common::limits::MINER_MODELS;
/// Bytes of an engine's name and version, at most.
const ENGINE_BYTES: usize = 64;

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerKind {
    /// The user's own Ollama.
    Ollama,
    /// The embedded engine.
    Embedded,
}

impl ServerKind {
    /// The name in receipts, before the version: `ollama/0.17.4`.
    pub fn engine(self) -> &'static str {
        match self {
            Self::Ollama => "ollama",
            Self::Embedded => "aitbc-engine",
        }
    }

    /// The word in `… away`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ollama => "ollama",
            Self::Embedded => "engine",
        }
    }
}

impl fmt::Display for ServerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ollama => "Ollama",
            Self::Embedded => "the embedded engine",
        })
    }
}

/// What is offered.
#[derive(Debug, Clone)]
pub struct Offer {
    /// Which server.
    pub kind: ServerKind,
    /// Canonical names; none = every local model.
    pub models: Vec<String>,
    /// Jobs at once, 1 to 256.
    pub slots: u32,
    /// The context to announce, in tokens; `None` = the model's own.
    pub context: Option<u32>,
    /// Measured speeds.
    pub speeds: SpeedStore,
    /// The tools that agents may use here; none = it runs no agents.
    pub tools: Vec<String>,
}

/// How the server does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerStatus {
    /// It has what is offered.
    Ready,
    /// It does not answer.
    Away {
        /// What was seen.
        detail: String,
    },
    /// It lacks models that are offered.
    ModelMissing {
        /// Their canonical names.
        missing: Vec<String>,
    },
}

/// What the server has.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerState {
    /// Which server.
    pub kind: ServerKind,
    /// Its version; empty until it was seen.
    pub version: String,
    /// How it does.
    pub status: ServerStatus,
    /// What to announce: no slots while it is away or has none of the models.
    pub inventory: Inventory,
    /// The offered models that are there.
    pub models: Vec<LocalModel>,
}

impl ServerState {
    /// `Ollama 0.17.4`.
    pub fn name(&self) -> String {
        format!("{} {}", self.kind, self.version)
    }
}

/// Looks at the server once.
pub async fn look(client: &OllamaClient, offer: &Offer) -> Result<ServerState, RunError> {
    let version = client.version().await?;
    let mut models = client.models_named(&offer.models).await?;
    models.truncate(MAX_MODELS);
    let is_missing = |name: &&String| !models.iter().any(|model| model.name == **name);
    let missing: Vec<String> = offer.models.iter().filter(is_missing).cloned().collect();
    let status = if missing.is_empty() && !models.is_empty() {
        ServerStatus::Ready
    } else {
        ServerStatus::ModelMissing { missing }
    };
    let mut engine = format!("{}/{version}", offer.kind.engine());
    crate::text::cut(&mut engine, ENGINE_BYTES);
    let inventory = Inventory {
        models: models.iter().map(|model| announce(model, offer)).collect(),
        slots: if models.is_empty() { 0 } else { offer.slots },
        engine,
        tools: offer.tools.clone(),
    };
    Ok(ServerState {
        kind: offer.kind,
        version,
        status,
        inventory,
        models,
    })
}

fn announce(model: &LocalModel, offer: &Offer) -> MinerModel {
    let speeds = offer.speeds.get(&model.digest);
    MinerModel {
        name: model.name.clone(),
        digest: Bytes::copy_from_slice(&model.digest),
        context_tokens: model.context_tokens(offer.context),
        prompt_speed: speeds.prompt,
        output_speed: speeds.output,
        // Any model makes embeddings; the capability is named for those that were trained for it.
        embeddings: model.can("embedding") || model.can("completion"),
    }
}

/// Looks at the server until nobody wants to know; at once when `trouble` is notified.
pub async fn watch(
    client: OllamaClient,
    offer: Offer,
    state: watch::Sender<ServerState>,
    trouble: Arc<Notify>,
) {
    while !state.is_closed() {
        let ready = state.borrow().status == ServerStatus::Ready;
        let interval = if ready { READY_INTERVAL } else { AWAY_INTERVAL };
        let _woken = timeout(interval, trouble.notified()).await;
        let looked = look(&client, &offer).await;
        state.send_if_modified(|state| {
            let next = match looked {
                Ok(next) => next,
                Err(error) => {
                    let mut next = state.clone();
                    next.status = ServerStatus::Away {
                        detail: plain_detail(&error.to_string()),
                    };
                    next.inventory.slots = 0;
                    next
                }
            };
            // The server may describe one and the same trouble in several ways: one line is enough.
            let still_away = matches!(
                (&state.status, &next.status),
                (ServerStatus::Away { .. }, ServerStatus::Away { .. })
            );
            let changed = !still_away && *state != next;
            if changed {
                *state = next;
            }
            changed
        });
    }
}

/// Measures the offered models that were never measured on this machine, while nothing runs; a job interrupts it.
pub async fn measure_when_idle(
    client: OllamaClient,
    offer: Offer,
    mut states: watch::Receiver<ServerState>,
    mut busy: watch::Receiver<usize>,
    measured: Arc<Notify>,
) {
    loop {
        let models = states.borrow_and_update().models.clone();
        let unknown = models
            .into_iter()
            .find(|model| !offer.speeds.knows(&model.digest));
        let Some(model) = unknown else {
            if states.changed().await.is_err() {
                return;
            }
            continue;
        };
        let idle = busy.wait_for(|runs| *runs == 0).await.is_ok();
        if !idle {
            return;
        }
        // A job that waits at the coordinator comes first.
        if timeout(IDLE_TIME, busy.wait_for(|runs| *runs > 0))
            .await
            .is_ok()
        {
            continue;
        }
        let cancel = CancellationToken::new();
        let context_tokens = model.context_tokens(offer.context);
        let speeds = tokio::select! {
            speeds = Speeds::measure(&client, &model, context_tokens, &cancel) => speeds,
            _ = busy.wait_for(|runs| *runs > 0) => continue,
        };
        let kept = speeds
            .map_err(|error| error.to_string())
            .and_then(|speeds| {
                offer
                    .speeds
                    .put(&model.digest, &speeds)
                    .map_err(|error| error.to_string())
            });
        match kept {
            Ok(()) => measured.notify_one(),
            Err(error) => {
                tracing::warn!(
                    model = model.name,
                    error,
                    "cannot measure the model's speeds"
                );
                tokio::time::sleep(RETRY_TIME).await;
            }
        }
    }
}
