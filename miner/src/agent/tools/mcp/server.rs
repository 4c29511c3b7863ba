//! A server of MCP and the tools that it had when it was started first.

use futures_util::future::BoxFuture;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::super::output::excerpt;
use super::super::{Labels, Stop, Tool, ToolError};
use super::connection::{Connection, MAX_TOOLS};
use super::pin::Pin;
use super::{ServerConfig, answer};

/// How long a server may take to start and to list its tools.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// The pause before a server that ended is started again; doubled each time until a call succeeds.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Most bytes of an error.
const MAX_ERROR_BYTES: usize = 500;

/// A tool that is not offered, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedTool {
    /// Its name, as the server or the operator gave it.
    pub name: String,
    /// What is wrong with it.
    pub reason: String,
}

/// A server that the operator allows. Dropping it and its tools ends its process.
pub struct Server {
    name: String,
    config: ServerConfig,
    pins: Vec<Pin>,
    refused: Vec<RefusedTool>,
    state: Mutex<State>,
}

struct State {
    connection: Option<Arc<Connection>>,
    pause: Duration,
    not_before: Option<Instant>,
    /// What it changed, once it did: it is never called again.
    changed: Option<String>,
}

impl Server {
    /// Starts a server and reads what it offers. The error says what to look at.
    pub async fn start(name: &str, config: ServerConfig) -> Result<Arc<Self>, String> {
        config.check(name).map_err(|error| error.to_string())?;
        let failed = |reason: String| {
            format!(
                "the MCP server {name}: {}",
                excerpt(&reason, MAX_ERROR_BYTES)
            )
        };
        let (connection, all) = connect(name, &config).await.map_err(failed)?;
        if all.len() > MAX_TOOLS {
            return Err(failed(format!("it has more than {MAX_TOOLS} tools")));
        }
        let mut refused: Vec<RefusedTool> = Vec::new();
        let mut refuse = |name: &str, reason: String| {
            let name = excerpt(name, MAX_ERROR_BYTES);
            tracing::warn!(tool = %name.escape_debug(), %reason, "a tool of an MCP server is not offered");
            refused.push(RefusedTool { name, reason });
        };
        for allowed in config.tools.iter().flatten() {
            if all.iter().all(|pin| pin.name != *allowed) {
                refuse(allowed, "the server has no such tool".to_owned());
            }
        }
        let mut pins: Vec<Pin> = Vec::new();
        for pin in all {
            if config
                .tools
                .as_ref()
                .is_some_and(|allowed| !allowed.contains(&pin.name))
            {
                continue;
            }
            match pin.problem() {
                Some(reason) => refuse(&pin.name, reason),
                None if pins.iter().any(|other| other.name == pin.name) => {
                    refuse(&pin.name, "there are two of this name".to_owned());
                }
                None => pins.push(pin),
            }
        }
        Ok(Arc::new(Self {
            name: name.to_owned(),
            config,
            pins,
            refused,
            state: Mutex::new(State {
                connection: Some(Arc::new(connection)),
                pause: FIRST_PAUSE,
                not_before: None,
                changed: None,
            }),
        }))
    }

    /// Its tools, named `mcp:SERVER/TOOL`.
    pub fn tools(self: &Arc<Self>) -> Vec<Arc<dyn Tool>> {
        self.pins
            .iter()
            .map(|pin| {
                let tool = ServerTool {
                    name: format!("mcp:{}/{}", self.name, pin.name),
                    pin: pin.clone(),
                    server: Arc::clone(self),
                };
                Arc::new(tool) as Arc<dyn Tool>
            })
            .collect()
    }

    /// What it has, or was said to have, that is not offered.
    pub fn refused(&self) -> &[RefusedTool] {
        &self.refused
    }

    /// The session, a new one if the last ended; never one with a server that changed what it said.
    async fn connection(&self) -> Result<Arc<Connection>, ToolError> {
        let mut state = self.state.lock().await;
        if let Some(changed) = &state.changed {
            return Err(ToolError::failed(changed.clone()));
        }
        if let Some(connection) = state.connection.take() {
            if !connection.is_over() {
                if connection.take_changed() {
                    let all = timeout(START_TIMEOUT, connection.list()).await;
                    let all = all.unwrap_or_else(|_| Err("it does not list its tools".to_owned()));
                    self.compare(&mut state, all.map_err(|reason| self.failed(&reason))?)?;
                }
                state.connection = Some(Arc::clone(&connection));
                return Ok(connection);
            }
            state.not_before = Some(Instant::now() + state.pause);
            state.pause = (2 * state.pause).min(LONGEST_PAUSE);
        }
        if let Some(left) = state
            .not_before
            .and_then(|at| at.checked_duration_since(Instant::now()))
            && !left.is_zero()
        {
            let seconds = left.as_secs() + 1;
            return Err(self.failed(&format!("it ended and starts again in {seconds} s")));
        }
        match connect(&self.name, &self.config).await {
            Ok((connection, all)) => {
                self.compare(&mut state, all)?;
                let connection = Arc::new(connection);
                state.connection = Some(Arc::clone(&connection));
                Ok(connection)
            }
            Err(reason) => {
                state.not_before = Some(Instant::now() + state.pause);
                state.pause = (2 * state.pause).min(LONGEST_PAUSE);
                Err(self.failed(&reason))
            }
        }
    }

    /// Whether the server still says what it said at first about the tools that are offered.
    fn compare(&self, state: &mut State, all: Vec<Pin>) -> Result<(), ToolError> {
        let Some(changed) = self.pins.iter().find(|pin| !all.contains(pin)) else {
            return Ok(());
        };
        let tool = &changed.name;
        tracing::warn!(server = %self.name, tool, "an MCP server changed a tool and is not called any more");
        let reason = format!(
            "the MCP server {} changed its tool {tool} after it was started, so none of its tools are called any more",
            self.name
        );
        state.changed = Some(reason.clone());
        Err(ToolError::Failed(reason))
    }

    async fn succeeded(&self) {
        self.state.lock().await.pause = FIRST_PAUSE;
    }

    fn failed(&self, reason: &str) -> ToolError {
        let reason = excerpt(reason, MAX_ERROR_BYTES);
        ToolError::failed(format!("the MCP server {} failed: {reason}", self.name))
    }
}

async fn connect(name: &str, config: &ServerConfig) -> Result<(Connection, Vec<Pin>), String> {
    let limit = config.timeout().min(START_TIMEOUT);
    let connected = timeout(limit, async {
        let connection = Connection::open(name, config).await?;
        let all = connection.list().await?;
        Ok((connection, all))
    });
    connected.await.unwrap_or_else(|_| {
        let seconds = limit.as_secs();
        Err(format!(
            "it did not start and list its tools within {seconds} s"
        ))
    })
}

struct ServerTool {
    name: String,
    pin: Pin,
    server: Arc<Server>,
}

/// Ends the session of a call that was given up because it took too long: who hangs once hangs again.
struct EndOnTimeout {
    connection: Arc<Connection>,
    stop: Stop,
}

impl Drop for EndOnTimeout {
    fn drop(&mut self) {
        if matches!(self.stop.check(), Err(ToolError::Timeout(_))) {
            self.connection.end();
        }
    }
}

impl Tool for ServerTool {
    fn name(&self) -> &str {
        &self.name
    }

    fn description(&self) -> &str {
        &self.pin.description
    }

    fn parameters(&self) -> &Value {
        &self.pin.schema
    }

    fn labels(&self) -> Labels {
        Labels {
            egress: self.server.config.egress,
            reads_untrusted: self.server.config.reads_untrusted,
        }
    }

    fn timeout(&self) -> Duration {
        self.server.config.timeout()
    }

    fn call<'a>(
        &'a self,
        arguments: &'a Value,
        stop: Stop,
    ) -> BoxFuture<'a, Result<String, ToolError>> {
        Box::pin(async move {
            let Value::Object(arguments) = arguments.clone() else {
                return Err(ToolError::failed("the arguments are no object"));
            };
            let connection = self.server.connection().await?;
            let _end = EndOnTimeout {
                connection: Arc::clone(&connection),
                stop,
            };
            let result = connection
                .call(&self.pin.name, arguments)
                .await
                .map_err(|error| self.server.failed(&error.to_string()))?;
            self.server.succeeded().await;
            answer::read(result)
        })
    }
}
