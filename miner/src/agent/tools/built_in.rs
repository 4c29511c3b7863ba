//! The shape of the miner's own tools: a plain function on a thread of its own.

use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::Arc;

use super::{Labels, Stop, Tool, ToolError};

type Run = dyn Fn(&Value, &Stop) -> Result<String, ToolError> + Send + Sync;

/// A tool of the miner itself.
pub(super) struct BuiltIn {
    name: &'static str,
    description: String,
    parameters: Value,
    labels: Labels,
    run: Arc<Run>,
}

impl BuiltIn {
    /// `run` looks at its `Stop` often.
    pub fn new<A: DeserializeOwned>(
        name: &'static str,
        description: String,
        parameters: Value,
        labels: Labels,
        run: impl Fn(A, &Stop) -> Result<String, ToolError> + Send + Sync + 'static,
    ) -> Self {
        let run = move |arguments: &Value, stop: &Stop| {
            let arguments = A::deserialize(arguments)
                .map_err(|error| ToolError::failed(format!("the arguments do not fit: {error}")))?;
            run(arguments, stop)
        };
        Self {
            name,
            description,
            parameters,
            labels,
            run: Arc::new(run),
        }
    }
}

impl Tool for BuiltIn {
    fn name(&self) -> &str {
        self.name
    }

    fn description(&self) -> &str {
        &self.description
    }

    fn parameters(&self) -> &Value {
        &self.parameters
    }

    fn labels(&self) -> Labels {
        self.labels
    }

    fn call<'a>(
        &'a self,
        arguments: &'a Value,
        stop: Stop,
    ) -> BoxFuture<'a, Result<String, ToolError>> {
        let run = Arc::clone(&self.run);
        let arguments = arguments.clone();
        Box::pin(async move {
            let call = tokio::task::spawn_blocking(move || run(&arguments, &stop));
            call.await.unwrap_or_else(|error| {
                tracing::error!(tool = self.name, %error, "a tool broke down");
                Err(ToolError::failed("the tool broke down inside the miner"))
            })
        })
    }
}
