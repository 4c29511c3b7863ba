//! One session with a server.

use rmcp::model::{CallToolRequestParams, CallToolResult, JsonObject, PaginatedRequestParams};
use rmcp::service::{NotificationContext, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientHandler, Peer, RoleClient, ServiceError, serve_client};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::ServerConfig;
use super::pin::Pin;
use super::process::{Allowance, Process};

/// Most bytes of one answer over HTTP.
const MAX_ANSWER_BYTES: usize = 4 << 20;
/// Most tools of a server.
pub(super) const MAX_TOOLS: usize = 64;
/// Most pages of a server's list of tools.
const MAX_PAGES: usize = 16;
/// How long a server may take to connect to.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A session; it ends, and its process with it, when this is dropped.
pub(super) struct Connection {
    peer: Peer<RoleClient>,
    changed: Arc<AtomicBool>,
    allowance: Allowance,
    end: CancellationToken,
    _guard: DropGuard,
}

/// Hears that the server's tools changed; refuses all that a server may ask of a client.
struct Listener {
    changed: Arc<AtomicBool>,
}

impl ClientHandler for Listener {
    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.changed.store(true, Ordering::Relaxed);
    }
}

impl Connection {
    pub async fn open(name: &str, config: &ServerConfig) -> Result<Self, String> {
        let changed = Arc::new(AtomicBool::new(false));
        let listener = Listener {
            changed: Arc::clone(&changed),
        };
        let allowance = Allowance::new();
        let end = CancellationToken::new();
        let (service, process) = match (&config.command, &config.url) {
            (Some(command), _) => {
                let (process, output, input) =
                    Process::start(name, command, config, allowance.clone())
                        .map_err(|error| format!("{command} cannot be started: {error}"))?;
                let service = serve_client(listener, (output, input)).await;
                (service, Some(process))
            }
            (None, url) => {
                let url = url.as_deref().unwrap_or_default();
                let service = serve_client(listener, http(url)?).await;
                (service, None)
            }
        };
        let service = service.map_err(|error| error.to_string())?;
        let peer = service.peer().clone();
        tokio::spawn(keep(service, process, end.clone()));
        Ok(Self {
            peer,
            changed,
            allowance,
            _guard: end.clone().drop_guard(),
            end,
        })
    }

    /// Whether the session is over.
    pub fn is_over(&self) -> bool {
        self.end.is_cancelled() || self.peer.is_transport_closed()
    }

    /// Ends it, whatever is under way.
    pub fn end(&self) {
        self.end.cancel();
    }

    /// Whether the server said, since this was asked last, that its tools changed.
    pub fn take_changed(&self) -> bool {
        self.changed.swap(false, Ordering::Relaxed)
    }

    /// What the server says it offers, a little more than it may.
    pub async fn list(&self) -> Result<Vec<Pin>, String> {
        self.allowance.renew();
        let mut pins = Vec::new();
        let mut cursor = None;
        for _ in 0..MAX_PAGES {
            let page = PaginatedRequestParams::default().with_cursor(cursor.take());
            let page = self
                .peer
                .list_tools(Some(page))
                .await
                .map_err(|error| error.to_string())?;
            pins.extend(page.tools.iter().take(MAX_TOOLS + 1).map(Pin::of));
            cursor = page.next_cursor;
            if cursor.is_none() || pins.len() > MAX_TOOLS {
                return Ok(pins);
            }
        }
        Err(format!("its list of tools has more than {MAX_PAGES} pages"))
    }

    pub async fn call(
        &self,
        tool: &str,
        arguments: JsonObject,
    ) -> Result<CallToolResult, ServiceError> {
        self.allowance.renew();
        let call = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        self.peer.call_tool(call).await
    }
}

fn http(url: &str) -> Result<StreamableHttpClientTransport<reqwest::Client>, String> {
    let client = reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| error.to_string())?;
    let mut config = StreamableHttpClientTransportConfig::with_uri(url);
    config.max_json_response_size = MAX_ANSWER_BYTES;
    config.max_sse_event_size = MAX_ANSWER_BYTES;
    Ok(StreamableHttpClientTransport::with_client(client, config))
}

/// Holds a session until it ends, of itself or because it has to.
async fn keep(
    service: RunningService<RoleClient, Listener>,
    process: Option<Process>,
    end: CancellationToken,
) {
    let stop = service.cancellation_token();
    let ended = async {
        match process {
            Some(mut process) => process.ended().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = service.waiting() => {}
        () = ended => {}
        () = end.cancelled() => {}
    }
    stop.cancel();
    end.cancel();
}
